//! How a pod's device comes to the plugin.

use super::{one, renew_pods};
use crate::doctor::facts::{Configuration, DAEMON, Facts};
use crate::doctor::verdict::{Check, Finding, few, word};
use crate::install::Whose;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "multus",
        what: "the runtime calls Multus, which hands a pod's device on",
        look: multus,
    },
    Check {
        id: "cni-conf",
        what: "Multus finds Kube-OVN's configuration, and it names the daemon's socket",
        look: configuration,
    },
    Check {
        id: "plugin",
        what: "the plugin kube-ovn is this project's, not the stock one",
        look: plugin,
    },
];

/// This program's, and that of the plugin that was built with it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn name_of(configuration: &Configuration) -> &str {
    configuration.file.rsplit('/').next().unwrap_or_default()
}

fn multus(facts: &Facts) -> Vec<Finding> {
    let directory = &facts.cni.configurations_dir;
    let all = match &facts.cni.configurations {
        Ok(all) => all,
        Err(why) => return one(Finding::unknown(why)),
    };
    let place = all.iter().position(Configuration::is_multus);
    one(match (all.first(), place) {
        (None, _) => Finding::problem(format!("there is no configuration in {directory}"))
            .note("the runtime may read another directory (--cni-conf); Kube-OVN and Multus put theirs there when their pods start"),
        (Some(first), Some(0)) if first.is_thin() => Finding::ok(format!(
            "{} is the first of {} in {directory}, and calls the thin Multus; Kube-OVN's guide has the thick one",
            name_of(first),
            all.len()
        )),
        (Some(first), Some(0)) => Finding::ok(format!("{} is the first of {} in {directory}", name_of(first), all.len())),
        (Some(first), Some(place)) => {
            let Some(multus) = all.get(place) else { return Vec::new() };
            let new = format!("{directory}/00-{}", name_of(multus).trim_start_matches(|c: char| c.is_ascii_digit() || c == '-'));
            let finding = Finding::problem(format!(
                "the runtime uses {}, the first in {directory}; that of Multus is {}: no pod's device reaches the plugin",
                name_of(first),
                name_of(multus)
            ));
            finding
                .remedy(format!("mv {} {}", word(&multus.file), word(&new)))
                .note("for good: Multus' --multus-conf-file=auto with a prefix, or multusConfigFile in its DaemonSet's ConfigMap")
        }
        (Some(first), None) => Finding::problem(format!(
            "no configuration in {directory} calls Multus (the first is {}): no pod's device reaches the plugin",
            name_of(first)
        ))
        .remedy("kubectl apply -f https://raw.githubusercontent.com/k8snetworkplumbingwg/multus-cni/master/deployments/multus-daemonset-thick.yml"),
    })
}

fn configuration(facts: &Facts) -> Vec<Finding> {
    let directory = &facts.cni.configurations_dir;
    let all = match &facts.cni.configurations {
        Ok(all) => all,
        Err(why) => return one(Finding::unknown(why)),
    };
    let mut findings: Vec<Finding> = all
        .iter()
        .filter_map(|configuration| Some((configuration, configuration.types.as_ref().err()?)))
        .map(|(configuration, why)| {
            let aside = format!("{}.bad", configuration.file);
            Finding::warning(format!("{why}; the runtime may refuse every pod because of it")).remedy(format!(
                "mv {} {}",
                word(&configuration.file),
                word(&aside)
            ))
        })
        .collect();
    let ours: Vec<&Configuration> = all.iter().filter(|configuration| configuration.is_kube_ovn()).collect();
    if ours.is_empty() {
        findings.push(
            Finding::problem(format!("no configuration in {directory} calls kube-ovn"))
                .remedy(renew_pods(facts, "app=kube-ovn-cni"))
                .note("its init container writes it; kube-ovn-offload install --conflist does so without Kube-OVN"),
        );
    }
    for configuration in &ours {
        for socket in configuration.sockets.iter().filter(|socket| *socket != DAEMON) {
            findings.push(
                Finding::warning(format!("{}: server_socket is {socket:?}, and not {DAEMON}", configuration.file))
                    .note("daemon-socket looked at the usual one; the plugin believes another only below /run/openvswitch or a directory of socket_directories"),
            );
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(few(ours.iter().map(|configuration| &configuration.file))));
    }
    findings
}

fn plugin(facts: &Facts) -> Vec<Finding> {
    let cni = &facts.cni;
    let file = format!("{}/kube-ovn", cni.plugins_dir);
    let install = if cni.plugins_dir == crate::doctor::facts::PLUGINS {
        "kube-ovn-offload install".to_owned()
    } else {
        format!("kube-ovn-offload install --bin-dir {}", word(&cni.plugins_dir))
    };
    one(match &cni.plugin {
        Err(why) => Finding::unknown(why),
        Ok(None) => Finding::problem(format!("{file} does not exist"))
            .remedy(install)
            .note("the runtime may look in another directory: --cni-bin"),
        Ok(Some(Whose::Another)) => Finding::problem(format!(
            "{file} is another one's: Kube-OVN's pod kube-ovn-cni puts the stock plugin there whenever it starts"
        ))
        .remedy(install)
        .note("kube-ovn-offload install --stay goes on watching"),
        Ok(Some(Whose::Ours { version })) if version != VERSION => Finding::warning(format!(
            "{file} is this project's, version {version}, and this program is {VERSION}"
        ))
        .remedy(install),
        Ok(Some(Whose::Ours { version })) => Finding::ok(format!("{file} is this project's, version {version}")),
    })
}
