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
    let instance = Handle::pci(pf);
    // first what can be had without the ports of all VFs
    if sysfs.driver(pf)?.as_deref() == Some(MLX5) {
        let port = devlink.port(&instance, mlx5_index(pf, MLX5_UPLINK))?;
        let found = match wire(sysfs, pf, port.as_slice())? {
            None => by_children(sysfs, devlink, pf)?,
            found => found,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    match wire(sysfs, pf, &devlink.ports(&instance)?)? {
        None => by_children(sysfs, devlink, pf),
        found => Ok(found),
    }
}

/// A physical port that has an instance of its own: kernels from 6.6 on answer for one instance only.
fn by_children(sysfs: &Sysfs, devlink: &impl Devlink, pf: &PciAddress) -> Result<Option<Netdev>, Error> {
    for child in sysfs.ethernet_children(pf)? {
        if let Some(netdev) = wire(sysfs, pf, &devlink.ports(&Handle::auxiliary(&child))?)? {
            return Ok(Some(netdev));
        }
    }
    Ok(None)
}

/// The driver of `ConnectX` and `BlueField`.
pub(super) const MLX5: &str = "mlx5_core";

/// The uplink's vport (`MLX5_VPORT_UPLINK` of linux/mlx5/vport.h).
pub(super) const MLX5_UPLINK: u32 = 0xffff;

/// The index that a port of a PF has as a rule with mlx5, by its vport: `vhca_id << 16 | vport`
/// (`mlx5_esw_vport_to_devlink_port_index` in mlx5/core/eswitch.h), and `vhca_id` is the PCI function.
pub(super) fn mlx5_index(pf: &PciAddress, vport: u32) -> u32 {
    pf.function() << 16 | vport
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
