//! The netdev of a PF, which is also the port by which its eswitch reaches the wire.

use super::Error;
use crate::device::{NetdevPort, PortName, Sysfs};
use crate::net::devlink::{Devlink, Flavour, Handle, Port};
use crate::types::{IfName, Netdev, PciAddress};

/// A PF's netdev.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The netdev.
    pub netdev: Netdev,
    /// The eswitch that it is a port of. Some drivers have none in legacy mode; others have one in either mode.
    pub switch_id: Option<String>,
    /// Which port it is, if that was asked.
    pub port: Option<PortName>,
    /// The bond that it is a part of, or whatever else it is enslaved to.
    pub bond: Option<IfName>,
}

/// Finds the uplink of a PF: devlink's physical port, else the netdev of the PF that is no representor.
pub fn uplink(sysfs: &Sysfs, devlink: &impl Devlink, pf: &PciAddress) -> Result<Uplink, Error> {
    let found = match by_devlink(sysfs, devlink, pf)? {
        Some(netdev) => Uplink {
            netdev,
            switch_id: None,
            port: None,
            bond: None,
        },
        None => by_netdevs(sysfs, pf)?,
    };
    Ok(Uplink {
        bond: sysfs.master(&found.netdev.name)?,
        ..found
    })
}

fn by_devlink(sysfs: &Sysfs, devlink: &impl Devlink, pf: &PciAddress) -> Result<Option<Netdev>, Error> {
    if let Some(netdev) = wire(sysfs, pf, &devlink.ports(&Handle::pci(pf))?)? {
        return Ok(Some(netdev));
    }
    // kernels from 6.6 answer for one instance only, and this port has its own
    for child in sysfs.ethernet_children(pf)? {
        if let Some(netdev) = wire(sysfs, pf, &devlink.ports(&Handle::auxiliary(&child))?)? {
            return Ok(Some(netdev));
        }
    }
    Ok(None)
}

/// The netdev of the PF's physical port, out of these ports. It is a port of the PF's own instance, or, with mlx5 since 6.3,
/// of an instance of its own, that of the PF's device on the auxiliary bus (`mlx5e_create_devlink`, ee75f1fc44dd).
pub(super) fn wire(sysfs: &Sysfs, pf: &PciAddress, ports: &[Port]) -> Result<Option<Netdev>, Error> {
    let instance = Handle::pci(pf);
    let physical = |port: &&Port| matches!(port.flavour, Flavour::Physical { .. }) && port.netdev.is_some();
    let is_child = |port: &&Port| {
        port.handle.bus == "auxiliary" && port.handle.name.parse().is_ok_and(|name| sysfs.is_child(pf, &name))
    };
    let mut found: Vec<&Port> = ports
        .iter()
        .filter(physical)
        .filter(|port| port.handle == instance)
        .collect();
    if found.is_empty() {
        found = ports.iter().filter(physical).filter(is_child).collect();
    }
    match found.as_slice() {
        [] => Ok(None),
        [port] => Ok(port.netdev.clone()),
        several => Err(ambiguous(pf, several.iter().map(ToString::to_string).collect())),
    }
}

fn ambiguous(pf: &PciAddress, candidates: Vec<String>) -> Error {
    Error::Ambiguous {
        wanted: format!("the uplink of PF {pf}"),
        candidates,
        because: "nothing tells which of the function's ports its VFs use",
    }
}

/// The one netdev of the PF that is a physical port, or, as some drivers give it no port name, the only one without. Netdevs
/// with any other port name are representors.
pub(super) fn by_netdevs(sysfs: &Sysfs, pf: &PciAddress) -> Result<Uplink, Error> {
    among(sysfs, pf, &sysfs.ports(pf, may_be_uplink)?)
}

/// Whether a netdev of a PF can be its uplink.
pub(super) fn may_be_uplink(port: &NetdevPort) -> bool {
    port.text.is_none() || is_physical(port)
}

fn is_physical(port: &NetdevPort) -> bool {
    matches!(port.name, Some(PortName::Physical { .. }))
}

/// The same, out of these netdevs of the PF.
pub(super) fn among(sysfs: &Sysfs, pf: &PciAddress, ports: &[NetdevPort]) -> Result<Uplink, Error> {
    let mut candidates: Vec<&NetdevPort> = ports.iter().filter(|port| is_physical(port)).collect();
    if candidates.is_empty() {
        candidates = ports.iter().filter(|port| port.text.is_none()).collect();
    }
    match candidates.as_slice() {
        [port] => Ok(Uplink {
            netdev: port.netdev.clone(),
            switch_id: port.switch_id.clone(),
            port: port.name,
            bond: None,
        }),
        [] => Err(Error::NoUplink {
            pf: pf.clone(),
            driver: sysfs.driver(pf)?,
            seen: ports.iter().map(ToString::to_string).collect(),
        }),
        several => Err(ambiguous(pf, several.iter().map(ToString::to_string).collect())),
    }
}
