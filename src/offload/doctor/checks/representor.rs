//! The netdevs that stand for VFs in the eswitch.

use super::nic::each;
use super::one;
use crate::doctor::facts::{Facts, Link, Nic};
use crate::doctor::verdict::{Check, Finding, few, word};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "representor",
        what: "each VF has a representor, and only one",
        look: representor,
    },
    Check {
        id: "hw-tc-offload",
        what: "uplink and representors take flows from tc for their hardware",
        look: hw_tc_offload,
    },
];

/// A line that runs `command` for each netdev, by its name.
pub(super) fn for_each_link(names: &[&str], command: &str) -> String {
    match names {
        [one] => command.replace("$dev", &word(one)),
        _ => {
            let words: Vec<String> = names.iter().map(|name| word(name)).collect();
            format!(
                "for dev in {}; do {}; done",
                words.join(" "),
                command.replace("$dev", "\"$dev\"")
            )
        }
    }
}

fn representor(facts: &Facts) -> Vec<Finding> {
    each(facts, |nic| {
        if nic.vfs.is_empty() {
            return one(Finding::irrelevant(format!("{}: it has no VFs", nic.name())));
        }
        if !nic.is_switchdev() && nic.representors().next().is_none() {
            return one(Finding::irrelevant(format!(
                "{}: it is not in switchdev mode: see eswitch-mode",
                nic.name()
            )));
        }
        let mut findings: Vec<Finding> = nic
            .vfs
            .iter()
            .filter_map(|vf| vf.representor.as_ref().err().map(|why| (vf, why)))
            .map(|(vf, why)| {
                Finding::problem(why).note(format!("kube-ovn-offload vf {} shows what was looked at", vf.address))
            })
            .collect();
        if findings.is_empty() {
            let names = few(nic.representors().map(|link| &link.netdev.name));
            findings.push(Finding::ok(format!("{}: {names}", nic.name())));
        }
        findings
    })
}

fn hw_tc_offload(facts: &Facts) -> Vec<Finding> {
    each(facts, |nic: &Nic| {
        let name = nic.name();
        let links: Vec<&Link> = nic.uplink.as_ref().into_iter().chain(nic.representors()).collect();
        let named = |wanted: fn(&Link) -> bool| {
            let all = links.iter().filter(|link| wanted(link));
            all.map(|link| link.netdev.name.as_str()).collect::<Vec<_>>()
        };
        let off = named(|link| link.offload == Ok(Some(false)));
        let silent = named(|link| !matches!(link.offload, Ok(Some(_))));
        let mut findings = Vec::new();
        if !off.is_empty() {
            findings.push(
                Finding::problem(format!("{name}: hw-tc-offload is off on {} (ethtool -k)", few(&off)))
                    .remedy(for_each_link(&off, "ethtool -K $dev hw-tc-offload on")),
            );
        }
        if !silent.is_empty() {
            let why = links.iter().find_map(|link| link.offload.as_ref().err());
            let why = why.map_or("the kernel does not tell", String::as_str);
            findings.push(Finding::unknown(format!(
                "{name}: hw-tc-offload of {}: {why}",
                few(&silent)
            )));
        }
        if findings.is_empty() {
            findings.push(match links.len() {
                0 => Finding::irrelevant(format!("{name}: it has neither uplink nor representors here")),
                _ => Finding::ok(format!(
                    "{name}: on for {}",
                    few(links.iter().map(|link| &link.netdev.name))
                )),
            });
        }
        findings
    })
}
