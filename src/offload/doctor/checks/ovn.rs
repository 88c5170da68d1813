//! OVN: what of its pipeline goes through connection tracking.

use super::one;
use crate::doctor::facts::{Facts, North};
use crate::doctor::verdict::{Check, Finding, few, word};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "ovn-northbound",
        what: "OVN's northbound database can be asked",
        look: northbound,
    },
    Check {
        id: "ovn-load-balancer",
        what: "no logical switch has load balancers, whose flows use connection tracking and dp_hash",
        look: load_balancer,
    },
    Check {
        id: "ovn-acl",
        what: "no ACL is stateful",
        look: acl,
    },
    Check {
        id: "ovn-dnat-mac",
        what: "ls_dnat_mod_dl_dst is off where there are load balancers",
        look: dnat_mac,
    },
];

/// The kernel can put flows with connection tracking into tc, as far as is known.
fn tracks_in_tc(facts: &Facts) -> bool {
    let by_options = facts
        .kernel
        .options
        .as_ref()
        .is_ok_and(|options| options.set.contains_key("CONFIG_NET_TC_SKB_EXT"));
    facts.shares_recirculation == Ok(Some(true)) || by_options
}

fn with(facts: &Facts, look: impl FnOnce(&North) -> Vec<Finding>) -> Vec<Finding> {
    match &facts.ovn.north {
        _ if !facts.ovn.is_here => one(Finding::irrelevant(
            "external_ids:ovn-remote is not set: this node is no chassis of OVN's",
        )),
        Ok(north) => look(north),
        Err(_) => one(Finding::unknown(
            "OVN's northbound database could not be asked: see ovn-northbound",
        )),
    }
}

/// `ovn-nbctl`, for where the database is.
fn nbctl(north: &North) -> String {
    if north.is_default {
        "ovn-nbctl".to_owned()
    } else {
        format!("ovn-nbctl --db={}", word(&north.address))
    }
}

fn northbound(facts: &Facts) -> Vec<Finding> {
    if !facts.ovn.is_here {
        return with(facts, |_| Vec::new());
    }
    one(match &facts.ovn.north {
        Ok(north) => Finding::ok(format!("it answers at {}", north.address)),
        Err(why) => Finding::unknown(why).note(
            "run doctor where the database is (a node with the label kube-ovn/role=master), or give its address with --nb tcp:IP:6641; \
             kubectl ko nbctl asks it, too",
        ),
    })
}

fn load_balancer(facts: &Facts) -> Vec<Finding> {
    const WHY: &str = "all their pods' IP traffic goes through connection tracking, and the choice of a backend is dp_hash or hash, \
                       which no NIC offloads";
    // a node far from the northbound database is still told what its own asks
    if let (true, Err(_), Ok(count)) = (facts.ovn.is_here, &facts.ovn.north, &facts.ovn.south) {
        return one(match count {
            0 => Finding::ok("OVN's southbound database has no load balancer"),
            _ => Finding::warning(format!("OVN's southbound database has {count} load balancers, on switches that have them {WHY}"))
                .note("Kube-OVN makes none with ENABLE_LB=false (kube-ovn-controller's --enable-lb=false); --nb shows which switches have them"),
        });
    }
    with(facts, |north| {
        if north.balanced.is_empty() {
            return one(Finding::ok("no logical switch has a load balancer"));
        }
        let names = few(north
            .balanced
            .iter()
            .map(|one| format!("{} ({})", one.switch, one.count)));
        let text = format!("logical switches with load balancers: {names}; {WHY}");
        let mut finding = if tracks_in_tc(facts) {
            Finding::warning(text)
        } else {
            Finding::problem(format!(
                "{text}, nor does this kernel track in tc: see kernel-ct-offload"
            ))
        };
        for one in &north.balanced {
            let switch = word(&one.switch);
            finding.remedy.push(if one.is_subnet {
                format!("kubectl patch subnet {switch} --type=merge -p '{{\"spec\":{{\"enableLb\":false}}}}'")
            } else {
                format!(
                    "{nbctl} ls-lb-del {switch}; {nbctl} clear Logical_Switch {switch} load_balancer_group",
                    nbctl = nbctl(north)
                )
            });
        }
        one(finding.note(
            "Services then need kube-proxy; the switch \"join\" carries no pods' traffic to each other. For the whole cluster: ENABLE_LB=false",
        ))
    })
}

fn acl(facts: &Facts) -> Vec<Finding> {
    with(facts, |north| {
        if north.stateful.is_empty() {
            return one(Finding::ok("no ACL has the action allow-related"));
        }
        let names = few(north.stateful.iter().map(|(name, count)| format!("{name} ({count})")));
        let text = format!(
            "ACLs with the action allow-related: {names}; their pods' IP traffic goes through connection tracking"
        );
        let finding = if tracks_in_tc(facts) {
            Finding::warning(format!("{text}, which not every NIC offloads"))
        } else {
            Finding::problem(format!("{text}, which this kernel can't in tc: see kernel-ct-offload"))
        };
        one(finding.note(
            "they come from NetworkPolicies, SecurityGroups and Subnets' acls; those of a Subnet can have the action allow-stateless, with \
             one for each direction",
        ))
    })
}

/// With this option of OVN's the load balancer's flows also rewrite the destination's MAC before they track. Kube-OVN sets it by default
/// (its issue 1880: no flow in tc with it).
fn dnat_mac(facts: &Facts) -> Vec<Finding> {
    with(facts, |north| {
        const OPTION: &str = "ls_dnat_mod_dl_dst";
        let is_on = north.options.get(OPTION).is_some_and(|value| value == "true");
        one(match (is_on, north.balanced.is_empty()) {
            (false, _) => Finding::ok(format!("NB_Global options:{OPTION} is not true")),
            (true, true) => Finding::ok(format!("NB_Global options:{OPTION}=true has no effect without load balancers")),
            (true, false) => Finding::warning(format!(
                "NB_Global options:{OPTION}=true: flows to Services also rewrite the destination's MAC, and were seen not to get into tc"
            ))
            .remedy(format!("{} set NB_Global . options:{OPTION}=false", nbctl(north)))
            .note("kube-ovn-controller sets it again when it starts, unless it is run with --ls-dnat-mod-dl-dst=false (LS_DNAT_MOD_DL_DST)"),
        })
    })
}
