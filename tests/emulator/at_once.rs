//! `--answer-at-once --bridge NAME`: of the work on a VF only what the kernel shows of it afterwards, for measurements of whoever
//! asks. The representor is a port of a Linux bridge, so that neither Open vSwitch nor OVN nor a gateway is waited for.

use crate::kernel::{Change, Place};
use crate::nic::Plan;

/// The representor, which has its port's name already, goes into the bridge and up; and unless the extension leaves it to the
/// plugin, the VF into the pod.
pub(crate) fn attach(plan: &Plan, bridge: &str, port: &str, vf: &str) -> Result<(), String> {
    Place::Host.set(port, Change::Mtu(plan.mtu))?;
    Place::Host.set(port, Change::Bridge(bridge))?;
    Place::Host.set(port, Change::Up)?;
    if plan.attach_only || vf.is_empty() {
        return Ok(());
    }
    let netns = plan.request.net_ns.as_str();
    let (pod, name) = (Place::Pod(netns), plan.if_name);
    Place::Host.set(vf, Change::Alias(vf))?;
    Place::Host.set(vf, Change::Netns(netns))?;
    pod.set(vf, Change::Name(name))?;
    pod.set(name, Change::Mac(plan.mac))?;
    pod.set(name, Change::Mtu(plan.mtu))?;
    pod.set(name, Change::Up)?;
    for address in plan.addresses.split(',').filter(|address| !address.is_empty()) {
        pod.add_address(name, address, true)?;
    }
    Ok(())
}

/// The port out of its bridge, and down.
pub(crate) fn detach(port: &str) -> Result<(), String> {
    if Place::Host.link(port).is_err() {
        return Ok(());
    }
    Place::Host.set(port, Change::Down)?;
    Place::Host.set(port, Change::NoBridge)
}
