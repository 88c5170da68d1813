//! The kernel.

use super::one;
use crate::doctor::facts::{Facts, MODULES, Module};
use crate::doctor::verdict::{Check, Finding, few};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "kernel-version",
        what: "Linux 5.7 or later, or CentOS 8 Stream's kernel (Kube-OVN's guide)",
        look: version,
    },
    Check {
        id: "kernel-options",
        what: "the kernel is built with representors, tc flower and Open vSwitch",
        look: options,
    },
    Check {
        id: "tc-modules",
        what: "the modules that flows in tc are made of are there, or can be loaded",
        look: tc_modules,
    },
    Check {
        id: "kernel-ct-offload",
        what: "CONFIG_NET_TC_SKB_EXT, without which no flow with connection tracking gets into tc",
        look: ct_offload,
    },
];

/// From the prerequisites of Kube-OVN's guide, docs/advance/offload-mellanox.md.
const LEAST: (u32, u32) = (5, 7);

fn version(facts: &Facts) -> Vec<Finding> {
    const NOTE: &str = "boot a newer kernel of your distribution";
    one(match &facts.kernel.release {
        Err(why) => Finding::unknown(why),
        Ok(release) => match number(release) {
            None => Finding::unknown(format!(
                "{release:?} of /proc/sys/kernel/osrelease is no kernel version"
            )),
            Some(number) if number >= LEAST => Finding::ok(format!("Linux {release}")),
            // Red Hat put the offload of later kernels into this one
            Some((4, 18)) if release.contains(".el8") => {
                Finding::ok(format!("Linux {release}, of CentOS 8 or a sibling"))
            }
            Some(_) => Finding::problem(format!("Linux {release}, expected 5.7 or later")).note(NOTE),
        },
    })
}

fn number(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What nothing works without, and what it is for.
const NEEDED: [(&str, &str); 6] = [
    ("CONFIG_PCI_IOV", "VFs"),
    ("CONFIG_NET_SWITCHDEV", "representors"),
    ("CONFIG_NET_CLS_ACT", "actions of tc"),
    ("CONFIG_NET_CLS_FLOWER", "tc flower"),
    ("CONFIG_NET_ACT_MIRRED", "output in tc"),
    ("CONFIG_OPENVSWITCH", "Open vSwitch"),
];

fn options(facts: &Facts) -> Vec<Finding> {
    let options = match &facts.kernel.options {
        Ok(options) => options,
        Err(why) => return one(Finding::unknown(why)),
    };
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(option, _)| !options.set.contains_key(*option))
        .map(|(option, what)| format!("{option} ({what})"))
        .collect();
    if missing.is_empty() {
        let names = NEEDED.map(|(option, _)| option.trim_start_matches("CONFIG_"));
        return one(Finding::ok(format!("{}: {} are set", options.file, names.join(", "))));
    }
    let missing = missing.join(", ");
    one(Finding::problem(format!("{}: {missing} not set", options.file)).note("boot a kernel that has them"))
}

/// Without these no flow at all gets into tc; the others are needed by some flows only.
const ESSENTIAL: [&str; 5] = ["sch_ingress", "cls_flower", "act_mirred", "act_gact", "openvswitch"];

/// Which flows need a module.
fn needed_for(module: &str) -> &'static str {
    match module {
        "act_tunnel_key" => "to and from other nodes (geneve, vxlan)",
        "act_vlan" => "of underlay subnets with a VLAN",
        "act_pedit" | "act_csum" => "that are routed",
        "act_ct" => "with connection tracking",
        "act_skbedit" => "to internal ports",
        "act_police" => "with a bandwidth limit",
        _ => "of any kind",
    }
}

fn tc_modules(facts: &Facts) -> Vec<Finding> {
    let modules = match &facts.kernel.modules {
        Ok(modules) => modules,
        Err(why) => return one(Finding::unknown(why)),
    };
    let are = |state| {
        let all = MODULES.iter().map(|(module, _)| *module);
        all.filter(|module| modules.get(module) == Some(&state))
            .collect::<Vec<_>>()
    };
    let missing = are(Module::Missing);
    let available = are(Module::Available);
    let mut findings = Vec::new();
    for module in &missing {
        let text = format!(
            "there is no module {module}: flows {} stay out of tc",
            needed_for(module)
        );
        let finding = if ESSENTIAL.contains(module) {
            Finding::problem(text)
        } else {
            Finding::warning(text)
        };
        findings.push(finding.note(
            "it is in the package of the distribution's extra modules (linux-modules-extra, kernel-modules-extra), or in another kernel",
        ));
    }
    if let (Err(why), false) = (&facts.kernel.loads_modules, available.is_empty()) {
        let text = format!("{} not loaded, and the kernel loads none: {why}", available.join(", "));
        let finding = if available.iter().any(|module| ESSENTIAL.contains(module)) {
            Finding::problem(text)
        } else {
            Finding::warning(text)
        };
        findings.push(finding.remedy(format!("modprobe -a {}", available.join(" "))));
    }
    if !findings.is_empty() {
        return findings;
    }
    let mut parts = Vec::new();
    for (modules, text) in [
        (are(Module::Loaded), "loaded"),
        (are(Module::BuiltIn), "built in"),
        (available, "loaded when first used"),
    ] {
        if !modules.is_empty() {
            parts.push(format!("{} {text}", few(modules)));
        }
    }
    one(Finding::ok(parts.join("; ")))
}

fn ct_offload(facts: &Facts) -> Vec<Finding> {
    const OPTION: &str = "CONFIG_NET_TC_SKB_EXT";
    let lacking = |evidence: String| {
        Finding::warning(format!(
            "{evidence}: Open vSwitch puts no flow that recirculates into tc (\"recirc_id sharing not supported\" in its log), so what \
             goes through connection tracking (stateful ACLs, network policies, load balancers) is never offloaded"
        ))
        .note("boot a kernel with CONFIG_NET_TC_SKB_EXT=y (Debian's 6.1 and 6.12 lack it), or do without connection tracking: see ovn-load-balancer and ovn-acl")
    };
    // what the running Open vSwitch has reached counts more than what the kernel could
    match &facts.shares_recirculation {
        Ok(Some(true)) => {
            return one(Finding::ok(
                "the data path ovs-system shares its recirculation IDs with tc",
            ));
        }
        Ok(Some(false)) if facts.kernel.options.is_err() => {
            return one(lacking(
                "the data path ovs-system does not share its recirculation IDs with tc".to_owned(),
            ));
        }
        _ => {}
    }
    one(match &facts.kernel.options {
        Ok(options) if options.set.contains_key(OPTION) => Finding::ok(format!("{OPTION} is set in {}", options.file)),
        Ok(options) => lacking(format!("{OPTION} is not set in {}", options.file)),
        Err(why) => Finding::unknown(why),
    })
}
