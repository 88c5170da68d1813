//! Representors and the ports of br-int: what should be there and is not, and what is there and should not be.

use kube_ovn::ovs::BRIDGE;

use super::one;
use super::representor::for_each_link;
use crate::doctor::facts::{Facts, Link, Nic};
use crate::doctor::verdict::{Check, Finding, few, word};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "representor-port",
        what: "the representor of each VF that a pod has is a port of br-int",
        look: representor_port,
    },
    Check {
        id: "representor-up",
        what: "each representor in br-int is up",
        look: representor_up,
    },
    Check {
        id: "stale-ports",
        what: "no port of br-int is of a pod that is gone",
        look: stale_ports,
    },
];

fn all(facts: &Facts) -> impl Iterator<Item = &Nic> {
    facts.nics.iter().flatten()
}

fn representor_port(facts: &Facts) -> Vec<Finding> {
    let (records, database) = match (&facts.node.records, &facts.ovs.database) {
        (Ok(records), Ok(database)) => (records, database),
        (Err(why), _) => return one(Finding::unknown(why)),
        (_, Err(_)) => {
            return one(Finding::unknown(
                "Open vSwitch' database does not answer: see ovsdb-server",
            ));
        }
    };
    let held: Vec<_> = records
        .iter()
        .filter_map(|recorded| Some((&recorded.device, recorded.record.as_ref().ok()?)))
        .filter(|(_, record)| !record.ending)
        .collect();
    if held.is_empty() {
        return one(Finding::irrelevant("no VF is recorded as a pod's"));
    }
    let ports = || database.bridge.iter().flat_map(|bridge| &bridge.ports);
    let mut findings = Vec::new();
    for (device, record) in &held {
        let vf = all(facts).flat_map(|nic| &nic.vfs).find(|vf| vf.address == **device);
        let Some(representor) = vf.and_then(|vf| vf.representor.as_ref().ok()) else {
            continue; // representor says why
        };
        let name = representor.netdev.name.as_str();
        let port = ports().find(|port| port.name == name);
        let why = match (port, &representor.state) {
            (None, _) => format!("is no port of {BRIDGE}"),
            (Some(port), _) if !port.error.is_empty() => {
                format!("is a port of {BRIDGE}, and ovs-vswitchd says: {}", port.error)
            }
            (Some(_), Some(state)) if state.master.is_none() => {
                format!("is a port of {BRIDGE} in OVSDB, and in no data path (/sys/class/net/{name}/master)")
            }
            (Some(_), _) => continue,
        };
        let pod = &record.claim.pod;
        findings.push(
            Finding::problem(format!(
                "{name}, the representor of VF {device} of {}, {why}: the pod is cut off",
                record.holder()
            ))
            .remedy(format!(
                "kubectl -n {} delete pod {}",
                word(&pod.namespace),
                word(&pod.name)
            ))
            .note("its next sandbox gets a new port; see ovs-vswitchd and daemon-socket first"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("{} VFs of pods, each with its port", held.len())));
    }
    findings
}

fn representor_up(facts: &Facts) -> Vec<Finding> {
    let links = all(facts).flat_map(Nic::representors);
    let ports: Vec<&Link> = links
        .filter(|link| facts.ovs.netdevs.contains_key(link.netdev.name.as_str()))
        .collect();
    if ports.is_empty() {
        return one(Finding::irrelevant(format!("no representor is a port of {BRIDGE}")));
    }
    let is_down = |link: &&&Link| link.state.as_ref().is_some_and(|state| !state.up);
    let down: Vec<&str> = ports
        .iter()
        .filter(is_down)
        .map(|link| link.netdev.name.as_str())
        .collect();
    one(match down.len() {
        0 => Finding::ok(few(ports.iter().map(|link| &link.netdev.name))),
        _ => Finding::problem(format!(
            "{} in {BRIDGE} and down: their VFs have no carrier",
            few(&down)
        ))
        .remedy(for_each_link(&down, "ip link set $dev up")),
    })
}

fn stale_ports(facts: &Facts) -> Vec<Finding> {
    let Ok(database) = &facts.ovs.database else {
        return one(Finding::unknown(
            "Open vSwitch' database does not answer: see ovsdb-server",
        ));
    };
    let ports = || {
        database
            .bridge
            .iter()
            .flat_map(|bridge| &bridge.ports)
            .filter(|port| port.is_pods())
    };
    let mut findings = Vec::new();
    for port in ports() {
        let why = if port.error.contains("No such device") {
            "its netdev is gone".to_owned()
        } else if port.has_netns == Some(false) {
            let netns = port.external_ids.get("pod_netns").map_or("", String::as_str);
            format!("the network namespace {netns} is gone")
        } else {
            continue;
        };
        let pod = port
            .pod()
            .map_or(String::new(), |(namespace, name)| format!(" of pod {namespace}/{name}"));
        findings.push(
            Finding::warning(format!("port {}{pod}: {why}", port.name))
                .remedy(format!("ovs-vsctl --no-wait --if-exists del-port {BRIDGE} {}", word(&port.name)))
                .note("kube-ovn-daemon removes some of these within a minute, and never one whose representor kept its name"),
        );
    }
    if findings.is_empty() {
        findings.push(match ports().count() {
            0 => Finding::irrelevant(format!("no pod's port is in {BRIDGE}")),
            count => Finding::ok(format!("{count} ports of pods")),
        });
    }
    findings
}
