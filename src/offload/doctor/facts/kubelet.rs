//! What kubelet knows of the node's devices, and what the device plugin has told it.

use std::path::Path;

use kube_ovn::node::{Allocations, allocations};

use super::{Asked, Place};

/// Where device plugins and kubelet meet (`DevicePluginPath` of the device plugin API).
pub(in super::super) const DIRECTORY: &str = "/var/lib/kubelet/device-plugins";
/// Where the SR-IOV device plugin reads what it offers, in its own pod and, from the SR-IOV operator, on the host.
const CONFIGURATIONS: [&str; 2] = ["/etc/pcidp/config.json", "/etc/pcidp"];

/// kubelet's side.
pub(in super::super) struct Kubelet {
    /// kubelet's socket for device plugins is there.
    pub(in super::super) has_socket: bool,
    /// The sockets of device plugins.
    pub(in super::super) plugins: Vec<String>,
    /// A configuration of the SR-IOV device plugin is on the host.
    pub(in super::super) configuration: Option<&'static str>,
    /// What kubelet's checkpoint says; `None` without one.
    pub(in super::super) checkpoint: Asked<Option<Allocations>>,
}

pub(super) fn gather(place: &Place) -> Kubelet {
    let names = place.names(DIRECTORY).unwrap_or_default();
    let is_socket = |name: &&String| Path::new(name).extension().is_some_and(|ending| ending == "sock");
    let sockets = names.iter().filter(is_socket).filter(|name| *name != "kubelet.sock");
    let file = place.path(&format!("{DIRECTORY}/kubelet_internal_checkpoint"));
    Kubelet {
        has_socket: names.iter().any(|name| name == "kubelet.sock"),
        plugins: sockets.cloned().collect(),
        configuration: CONFIGURATIONS.into_iter().find(|path| place.exists(path)),
        checkpoint: allocations(&file),
    }
}
