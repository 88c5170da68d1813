//! What the node's settings say about a device that a pod is to get.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::attach::World;
use crate::cni::{Call, Code, Failure};
use crate::net::{self, Ethtool, Netlink};
use crate::node::{self, Allocation, DeviceFacts, Offload, Unallocated};
use crate::resolve::{self, Resolved};
use crate::state::Record;
use crate::text::quoted;
use crate::types::{IfName, Netdev, PciAddress};

/// How long the question to OVSDB may take: an answer takes a few milliseconds.
const OVS_PATIENCE: Duration = Duration::from_secs(1);

/// Whether kubelet allocated the device to this pod, as far as the node wants to know.
pub(super) fn allocation(call: &Call, device: &PciAddress, policy: Allocation) -> Result<(), Failure> {
    if policy == Allocation::Off {
        return Ok(());
    }
    let Err(why) = node::is_allocated(device, &call.pod.uid) else {
        return Ok(());
    };
    if policy == Allocation::Warn {
        log::warn!("{why}");
        return Ok(());
    }
    let code = match why {
        Unallocated::Others { .. } | Unallocated::Nobodys { .. } => Code::InvalidConfig,
        Unallocated::Unknown { .. } => Code::NodeNotReady,
    };
    Err(Failure::new(
        code,
        why.to_string(),
        format!("the node's settings have \"allocation\": \"require\" ({})", node::PATH),
    ))
}

/// Tells Multus of the representor, if the netconf names a file for it. A pod does not fail for that.
pub(super) fn device_info(call: &Call, record: &Record, representor: &IfName) {
    let Some(path) = &call.conf.device_info_file else {
        return;
    };
    let facts = DeviceFacts {
        device: &record.claim.device,
        pf: &record.pf,
        representor,
    };
    if let Err(ignored) = node::update_device_info(path, &facts) {
        log::warn!("{ignored}");
    }
}

/// Whether the traffic of the device would be offloaded, as far as that can be seen before: hw-tc-offload of the uplink and
/// of the representor, and hw-offload of Open vSwitch. What keeps the device from being attached at all is told later.
pub(super) async fn offload(world: &World<Netlink>, found: &Resolved, policy: Offload) -> Result<(), Failure> {
    let device = &found.device;
    let uplink = match &found.uplink {
        Some(netdev) => Ok(netdev.clone()),
        None => resolve::uplink(&world.sysfs, &world.host, &found.pf).map(|uplink| uplink.netdev),
    };
    let ethtool = Ethtool::open();
    let mut findings = Vec::new();
    match &uplink {
        Ok(netdev) => findings.extend(tc(&ethtool, netdev, "uplink", &found.pf)),
        Err(why) => findings.push(format!("the uplink of PF {} can't be told: {why}", found.pf)),
    }
    findings.extend(tc(&ethtool, &found.representor.netdev, "representor", device));
    let deadline = Instant::now() + OVS_PATIENCE;
    findings.extend(match world.ovs.offload(deadline).await {
        // as Open vSwitch reads a boolean (smap_get_bool, lib/smap.c)
        Ok(state)
            if state
                .hw_offload
                .as_deref()
                .is_some_and(|value| value.eq_ignore_ascii_case("true")) =>
        {
            None
        }
        Ok(state) => Some(format!(
            "other_config:hw-offload of Open vSwitch is {}, expected true: ovs-vsctl set Open_vSwitch . \
             other_config:hw-offload=true",
            state
                .hw_offload
                .map_or_else(|| "not set".to_owned(), |value| quoted(&value, 20)),
        )),
        Err(why) => Some(format!("other_config:hw-offload of Open vSwitch can't be told: {why}")),
    });
    if findings.is_empty() {
        return Ok(());
    }
    let what = format!("VF {device} would not be offloaded: {}", findings.join("; "));
    if policy == Offload::Warn {
        log::warn!("{what}");
        return Ok(());
    }
    let details = format!("the node's settings have \"offload\": \"require\" ({})", node::PATH);
    Err(Failure::new(Code::NodeNotReady, what, details))
}

/// What is wrong with hw-tc-offload of a netdev.
fn tc(ethtool: &Result<Ethtool, net::Error>, netdev: &Netdev, role: &str, of: &impl Display) -> Option<String> {
    let name = &netdev.name;
    let untold = |why: &dyn Display| format!("hw-tc-offload of {role} {name} of {of} can't be told: {why}");
    let ethtool = match ethtool {
        Ok(ethtool) => ethtool,
        Err(why) => return Some(untold(why)),
    };
    match ethtool.tc_offload(netdev.ifindex) {
        Ok(Some(true)) => None,
        Ok(Some(false)) => Some(format!(
            "hw-tc-offload is off on {role} {name} of {of}: ethtool -K {name} hw-tc-offload on"
        )),
        Ok(None) => Some(untold(&"the kernel has no ethtool netlink")),
        Err(why) => Some(untold(&why)),
    }
}
