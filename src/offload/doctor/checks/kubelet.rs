//! What kubelet and the device plugin know of the VFs.

use std::collections::BTreeMap;

use kube_ovn::node::Allocations;

use super::nic::meant;
use super::{one, renew_pods};
use crate::doctor::facts::{DEVICE_PLUGINS, Facts};
use crate::doctor::verdict::{Check, Finding, few};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "device-plugin",
        what: "a device plugin offers the VFs",
        look: device_plugin,
    },
    Check {
        id: "kubelet-checkpoint",
        what: "what kubelet has given to pods agrees with the records",
        look: checkpoint,
    },
];

/// The SR-IOV device plugin's pods, as its deployment labels them.
const POD: &str = "app=sriovdp";

/// What a look says of the checkpoint; a node without kubelet has none.
fn with(facts: &Facts, look: impl FnOnce(&Allocations) -> Vec<Finding>) -> Vec<Finding> {
    match &facts.kubelet.checkpoint {
        Ok(Some(found)) => look(found),
        Ok(None) if facts.kubelet.has_socket => one(Finding::problem(format!(
            "{DEVICE_PLUGINS} has kubelet's socket and no checkpoint: kubelet knows no device"
        ))
        .remedy(renew_pods(facts, POD))),
        Ok(None) => one(Finding::irrelevant(format!(
            "{DEVICE_PLUGINS} has no socket of kubelet's: none runs here"
        ))),
        Err(why) => one(Finding::unknown(why)),
    }
}

fn device_plugin(facts: &Facts) -> Vec<Finding> {
    let nics = match meant(facts) {
        Ok(nics) => nics,
        Err(finding) => return one(finding),
    };
    let vfs: Vec<&str> = nics
        .iter()
        .flat_map(|nic| &nic.vfs)
        .map(|vf| vf.address.as_str())
        .collect();
    if vfs.is_empty() {
        return one(Finding::irrelevant("no NIC that is meant to offload has VFs: see vfs"));
    }
    with(facts, |found| {
        let offers = |vf: &str| {
            let has_it = |(_, ids): &&(String, Vec<String>)| ids.iter().any(|id| id.eq_ignore_ascii_case(vf));
            found.registered.iter().find(has_it).map(|(resource, _)| resource)
        };
        let mut offered: BTreeMap<&String, usize> = BTreeMap::new();
        for resource in vfs.iter().filter_map(|vf| offers(vf)) {
            *offered.entry(resource).or_default() += 1;
        }
        let missing: Vec<&str> = vfs.iter().filter(|vf| offers(vf).is_none()).copied().collect();
        let configured = facts
            .kubelet
            .configuration
            .map_or(String::new(), |file| format!(", {file} is here"));
        if offered.is_empty() {
            let sockets = if facts.kubelet.plugins.is_empty() {
                "no device plugin's socket".to_owned()
            } else {
                format!("only the sockets {}", few(&facts.kubelet.plugins))
            };
            return one(Finding::problem(format!(
                "kubelet has registered none of the VFs {} as a resource ({DEVICE_PLUGINS} has {sockets}{configured}): no pod gets one",
                few(&vfs)
            ))
            .remedy(renew_pods(facts, POD))
            .note("its ConfigMap sriovdp-config must select them by vendor, device and driver (conf/ has one for each vendor)"));
        }
        let names = few(offered.iter().map(|(resource, count)| format!("{count} as {resource}")));
        one(if missing.is_empty() {
            Finding::ok(format!("kubelet has registered {names}"))
        } else {
            Finding::warning(format!("kubelet has registered {names}, and not {}", few(missing)))
                .remedy(renew_pods(facts, POD))
                .note("the device plugin looks for devices when it starts; else its ConfigMap does not select them")
        })
    })
}

fn checkpoint(facts: &Facts) -> Vec<Finding> {
    let records = match &facts.node.records {
        Ok(records) => records,
        Err(why) => return one(Finding::unknown(why)),
    };
    let held: Vec<_> = records
        .iter()
        .filter_map(|recorded| Some((&recorded.device, recorded.record.as_ref().ok()?)))
        .filter(|(_, record)| !record.ending)
        .collect();
    if held.is_empty() {
        return one(Finding::irrelevant("no VF is recorded as a pod's"));
    }
    with(facts, |found| {
        let mut findings = Vec::new();
        for (device, record) in &held {
            let mut given = found.given.iter().filter(|given| given.device == **device).peekable();
            let uid = &record.claim.pod.uid;
            let holder = record.holder();
            if given.peek().is_none() {
                findings.push(Finding::warning(format!(
                    "VF {device} is recorded as that of {holder}, and kubelet has given it to no pod: it may give it to another one"
                ))
                .note("its network names the device itself (deviceID in the NetworkAttachmentDefinition), or it came by DRA; the pod should request the resource"));
            } else if !uid.is_empty() && !given.any(|given| given.uid == *uid) {
                findings.push(Finding::warning(format!(
                    "VF {device} is recorded as that of {holder} with UID {uid}, and kubelet has given it to a pod with another UID"
                ))
                .note("the next ADD of that pod is refused while the first one lives; when that is gone already, ADD takes the VF back"));
            }
        }
        if findings.is_empty() {
            findings.push(Finding::ok(format!(
                "{} VFs of pods, as kubelet has given them",
                held.len()
            )));
        }
        findings
    })
}
