//! Open vSwitch.

use std::collections::BTreeSet;

use kube_ovn::ovs::BRIDGE;

use super::{one, renew_pods};
use crate::doctor::facts::{Database, Facts};
use crate::doctor::verdict::{Check, Finding, few, word};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "ovsdb-server",
        what: "Open vSwitch' database answers",
        look: ovsdb_server,
    },
    Check {
        id: "ovs-vswitchd",
        what: "ovs-vswitchd answers",
        look: ovs_vswitchd,
    },
    Check {
        id: "br-int",
        what: "there is br-int, in the kernel's data path",
        look: br_int,
    },
    Check {
        id: "ovs-hw-offload",
        what: "Open vSwitch is told to offload",
        look: hw_offload,
    },
    Check {
        id: "ovs-restarted",
        what: "ovs-vswitchd has taken that, and does offload",
        look: restarted,
    },
    Check {
        id: "tc-policy",
        what: "flows may go into hardware and into software",
        look: tc_policy,
    },
    Check {
        id: "mirror",
        what: "br-int mirrors nothing",
        look: mirror,
    },
    Check {
        id: "tunnel-type",
        what: "tunnels are of a kind that NICs offload",
        look: tunnel_type,
    },
    Check {
        id: "mtu",
        what: "what pods send fits into a tunnel",
        look: mtu,
    },
];

/// Kube-OVN's `DaemonSet` ovs-ovn.
const POD: &str = "app=ovs";

/// A line that restarts Open vSwitch on this node.
fn restart(facts: &Facts) -> String {
    if facts.ovs.is_in_pod {
        renew_pods(facts, POD)
    } else {
        "/usr/share/openvswitch/scripts/ovs-ctl --no-ovsdb-server --system-id=random restart".to_owned()
    }
}

/// Nobody answers: it may run in a pod that is gone.
fn start(facts: &Facts, finding: Finding) -> Finding {
    finding.remedy(renew_pods(facts, POD)).note(
        "where Open vSwitch is a service of the host and not Kube-OVN's pod: systemctl restart openvswitch-switch",
    )
}

/// What a look says of the database; what can't be read is another check's problem.
fn with(facts: &Facts, look: impl FnOnce(&Database) -> Finding) -> Vec<Finding> {
    one(match &facts.ovs.database {
        Ok(database) => look(database),
        Err(_) => Finding::unknown("Open vSwitch' database does not answer: see ovsdb-server"),
    })
}

fn ovsdb_server(facts: &Facts) -> Vec<Finding> {
    one(match &facts.ovs.database {
        Ok(_) => Finding::ok("it answers at /run/openvswitch/db.sock"),
        Err(why) => start(facts, Finding::problem(why)),
    })
}

fn ovs_vswitchd(facts: &Facts) -> Vec<Finding> {
    one(match &facts.ovs.vswitchd {
        Ok(version) => Finding::ok(version),
        Err(why) => start(facts, Finding::problem(why)),
    })
}

fn br_int(facts: &Facts) -> Vec<Finding> {
    with(facts, |database| match &database.bridge {
        // Kube-OVN's guide for Yunsilicon: Open vSwitch with DPDK, whose flows do not go through tc
        Some(bridge) if bridge.datapath_type == "netdev" && has_dpdk_nic(facts) => Finding::ok(format!(
            "{BRIDGE} has datapath_type=netdev, as a NIC of Yunsilicon's needs it: what is said of tc does not apply to it"
        )),
        Some(bridge) if bridge.datapath_type == "netdev" => Finding::problem(format!(
            "{BRIDGE} has datapath_type=netdev: its flows are in user space, where only DPDK's NICs offload"
        ))
        .note("in Kube-OVN the image with DPDK makes it so: use the other one on nodes whose NICs are the kernel's"),
        Some(bridge) => Finding::ok(format!("{} ports in the kernel's data path", bridge.ports.len())),
        None => Finding::problem(format!("there is no bridge {BRIDGE}, which ovn-controller makes"))
            .remedy(renew_pods(facts, POD))
            .note("ovn-controller's log says why: /var/log/ovn/ovn-controller.log"),
    })
}

/// A NIC that Open vSwitch with DPDK offloads to.
fn has_dpdk_nic(facts: &Facts) -> bool {
    let drivers = facts.nics.iter().flatten().filter_map(|nic| nic.pf.driver.as_deref());
    drivers.into_iter().any(|driver| driver == "xsc-pci")
}

/// As Open vSwitch reads a boolean (`smap_get_bool`, lib/smap.c).
fn is_told(database: &Database) -> bool {
    let value = database.other_config.get("hw-offload");
    value.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn hw_offload(facts: &Facts) -> Vec<Finding> {
    with(facts, |database| {
        if is_told(database) {
            return Finding::ok("Open_vSwitch other_config:hw-offload=true");
        }
        let found = match database.other_config.get("hw-offload") {
            Some(other) => format!("{other:?}"),
            None => "not set".to_owned(),
        };
        let ingress = facts.ovs.ingress.as_ref();
        let still = ingress.is_ok_and(|ingress| !telling(facts, database, ingress).0.is_empty());
        let finding = Finding::problem(format!(
            "Open_vSwitch other_config:hw-offload is {found}, expected true{}",
            if still {
                "; ports still have the ingress qdisc of an ovs-vswitchd that offloads, which ends when that is started anew"
            } else {
                ""
            }
        ));
        if facts.ovs.is_in_pod {
            // its script sets the key anew whenever it starts (dist/images/start-ovs.sh), so the pod must be told
            finding
                .remedy("kubectl -n kube-system set env daemonset/ovs-ovn HW_OFFLOAD=true")
                .note(
                    "restarts Open vSwitch on every node, one after the other; traffic of pods stands still meanwhile",
                )
        } else {
            finding
                .remedy("ovs-vsctl --no-wait set Open_vSwitch . other_config:hw-offload=true")
                .remedy(restart(facts))
                .note("where Open vSwitch is Kube-OVN's pod: kubectl -n kube-system set env daemonset/ovs-ovn HW_OFFLOAD=true")
        }
    })
}

/// The ports of br-int by whose ingress qdiscs it can be told whether ovs-vswitchd offloads: with and without.
///
/// When it offloads, it gives one to each port, at once (`netdev_tc_init_flow_api`, lib/netdev-offload-tc.c). One that does not takes
/// those away that an earlier one has left, when it configures the port (`netdev_linux_set_policing`, lib/netdev-linux.c), except from
/// ports that it made itself (the lab shows both); and it gives one to a port that is to be policed.
fn telling<'a>(facts: &'a Facts, database: &'a Database, ingress: &BTreeSet<String>) -> (Vec<&'a str>, Vec<&'a str>) {
    let ports = database.bridge.iter().flat_map(|bridge| &bridge.ports);
    ports
        .filter(|port| !port.is_internal && !port.is_policed && facts.ovs.netdevs.contains_key(&port.name))
        .map(|port| port.name.as_str())
        .partition(|name| ingress.contains(*name))
}

/// ovs-vswitchd looks at hw-offload all the time until it is true, whatever its manual says of restarts, and never again afterwards
/// (`netdev_set_flow_api_enabled`, lib/netdev-offload.c, from 2.17 to 3.6; `dpif_offload_set_global_cfg` in 3.7).
fn restarted(facts: &Facts) -> Vec<Finding> {
    with(facts, |database| {
        if !is_told(database) {
            return Finding::irrelevant("hw-offload is not set: see ovs-hw-offload");
        }
        if database
            .bridge
            .as_ref()
            .is_some_and(|bridge| bridge.datapath_type == "netdev")
        {
            return Finding::irrelevant(format!("{BRIDGE} is not in the kernel's data path: see br-int"));
        }
        if facts.ovs.vswitchd.is_err() {
            return Finding::unknown("ovs-vswitchd does not answer: see ovs-vswitchd");
        }
        let wrong = |what: String| {
            Finding::problem(what)
                .remedy(restart(facts))
                .note("flows of pods without offload stand still for a moment, too")
        };
        if facts.ovs.offloads == Some(false) {
            return wrong(
                "hw-offload is set, but ovs-vswitchd says that it does not offload (dpif/offload/show)".to_owned(),
            );
        }
        let ingress = match &facts.ovs.ingress {
            Ok(ingress) => ingress,
            Err(why) => return Finding::unknown(why),
        };
        match telling(facts, database, ingress) {
            (with, without) if with.is_empty() && without.is_empty() => Finding::ok(format!(
                "ovs-vswitchd runs and sees hw-offload; {BRIDGE} has no port as pods have, by which more could be told"
            )),
            (with, without) if without.is_empty() => Finding::ok(format!(
                "each of {} ports of {BRIDGE} has the ingress qdisc of an ovs-vswitchd that offloads",
                with.len()
            )),
            (with, without) if with.is_empty() => wrong(format!(
                "hw-offload is set, but none of {} has the ingress qdisc that ovs-vswitchd gives to ports when it offloads: it has not taken \
                 the key, or they were removed",
                few(&without)
            )),
            (_, without) => wrong(format!(
                "the ingress qdisc that ovs-vswitchd gives to ports was removed from {}, and what comes in there stays in the kernel's data path",
                few(&without)
            )),
        }
    })
}

fn tc_policy(facts: &Facts) -> Vec<Finding> {
    with(facts, |database| {
        let finding = match database.other_config.get("tc-policy").map(String::as_str) {
            None | Some("none") => return Finding::ok("Open_vSwitch other_config:tc-policy is none: both"),
            Some("skip_hw") => Finding::problem(
                "Open_vSwitch other_config:tc-policy is skip_hw: flows go into tc, and never into hardware",
            ),
            Some("skip_sw") => Finding::warning(
                "Open_vSwitch other_config:tc-policy is skip_sw: what the NIC refuses goes to Open vSwitch' own data path and not to tc's \
                 software, which is slower for some flows and faster for others",
            ),
            Some(other) => Finding::warning(format!(
                "Open_vSwitch other_config:tc-policy is {other:?}, which is none of none, skip_sw, skip_hw; it counts as none"
            )),
        };
        finding
            .remedy("ovs-vsctl --no-wait remove Open_vSwitch . other_config tc-policy")
            .remedy(restart(facts))
    })
}

fn mirror(facts: &Facts) -> Vec<Finding> {
    with(facts, |database| {
        let mirrors = database.bridge.as_ref().map(|bridge| bridge.mirrors.as_slice());
        let mirrors = mirrors.unwrap_or_default();
        if mirrors.is_empty() {
            return Finding::ok(format!("{BRIDGE} has no mirror that copies anything"));
        }
        let names = few(mirrors.iter().map(|(name, what)| format!("{name} copies {what}")));
        Finding::problem(format!(
            "{BRIDGE}: {names}: each flow that is copied to an internal port is refused by the NIC"
        ))
        .remedy(format!("ovs-vsctl --no-wait clear Bridge {BRIDGE} mirrors"))
        .note("Kube-OVN makes it again unless ENABLE_MIRROR=false (kube-ovn-cni's --enable-mirror=false), and for pods with the annotation ovn.kubernetes.io/mirror")
    })
}

fn tunnel_type(facts: &Facts) -> Vec<Finding> {
    with(facts, |database| {
        match database.external_ids.get("ovn-encap-type").map(String::as_str) {
            None => Finding::irrelevant("external_ids:ovn-encap-type is not set: this node has no tunnels"),
            Some(kinds) if kinds.split(',').any(|kind| kind == "stt") => Finding::problem(format!(
                "external_ids:ovn-encap-type is {kinds:?}: no NIC offloads stt"
            ))
            .remedy("ovs-vsctl --no-wait set Open_vSwitch . external_ids:ovn-encap-type=geneve")
            .note(
                "all nodes must have the same, and Kube-OVN's setting is TUNNEL_TYPE=geneve; pods' MTU changes with it",
            ),
            Some(kinds) => Finding::ok(format!("external_ids:ovn-encap-type is {kinds}")),
        }
    })
}

/// What a tunnel adds to a packet of IPv4: Ethernet, IP, UDP, and for geneve its header with OVN's option of 8 bytes. Kube-OVN keeps 100
/// for geneve when it computes the MTU of pods (pkg/util/const.go).
fn overhead(kind: &str) -> u32 {
    match kind {
        "vxlan" => 50,
        "stt" => 72,
        _ => 58,
    }
}

fn mtu(facts: &Facts) -> Vec<Finding> {
    with(facts, |database| {
        let tunnel = match &facts.ovs.tunnel {
            Ok(Some(tunnel)) => tunnel,
            Ok(None) => {
                return Finding::irrelevant("no netdev here has external_ids:ovn-encap-ip: this node has no tunnels");
            }
            Err(why) => return Finding::unknown(why),
        };
        let kind = database
            .external_ids
            .get("ovn-encap-type")
            .map_or("geneve", String::as_str);
        let ports = database.bridge.iter().flat_map(|bridge| &bridge.ports);
        let largest = ports
            .filter(|port| port.is_pods())
            .filter_map(|port| Some((facts.ovs.netdevs.get(&port.name)?.mtu, port.name.as_str())))
            .max();
        let Some((mtu, name)) = largest else {
            return Finding::irrelevant(format!("no pod's port is in {BRIDGE}"));
        };
        let needed = mtu + overhead(kind);
        let text = format!(
            "port {name} has MTU {mtu}, with {kind} {needed}; {} has {}",
            tunnel.netdev, tunnel.mtu
        );
        if needed <= tunnel.mtu {
            return Finding::ok(text);
        }
        Finding::warning(format!("{text}: large packets to other nodes are cut or lost, and no NIC cuts packets"))
            .remedy(format!("ip link set {} mtu {needed}", word(&tunnel.netdev)))
            .note("switches and the other nodes must take it, too; else give the Subnet a smaller mtu. Ports of underlay subnets use no tunnel")
    })
}
