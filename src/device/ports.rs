//! What netdevs say about the port of an eswitch that they are.

use std::fmt;
use std::fs;

use super::function::each_netdev;
use super::read::{Dir, ancestors, entries, link};
use super::{Error, Netdev, PortName, Sysfs};
use crate::types::{AuxName, IfName, PciAddress};

/// A netdev and what tells which port of which eswitch it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetdevPort {
    /// The netdev.
    pub netdev: Netdev,
    /// `phys_port_name` as it stands.
    pub text: Option<String>,
    /// The same, understood.
    pub name: Option<PortName>,
    /// `phys_switch_id`, where it was asked for.
    pub switch_id: Option<String>,
}

impl fmt::Display for NetdevPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.text.as_deref().unwrap_or("no port name");
        match &self.switch_id {
            Some(id) => write!(f, "{} ({port}, switch id {id})", self.netdev.name),
            None => write!(f, "{} ({port})", self.netdev.name),
        }
    }
}

impl Sysfs {
    /// The netdevs under a PF: its own, and with most drivers its representors. `relevant` says whose switch id is wanted:
    /// each read of a `phys_*` attribute takes the kernel's one lock for network configuration, and there are many VFs.
    pub fn ports(&self, pf: &PciAddress, relevant: impl Fn(&NetdevPort) -> bool) -> Result<Vec<NetdevPort>, Error> {
        let found = each_netdev(&self.function_dir(pf).join("net"), |dir, name| {
            let dir = Dir::open(dir.to_owned());
            self.port(&dir, name, |port| {
                if relevant(port) {
                    port.switch_id = self.attribute(&dir, "phys_switch_id")?;
                }
                Ok(())
            })
        })?;
        match found {
            Some(ports) => Ok(ports),
            None => self.require_function(pf).map(|()| Vec::new()),
        }
    }

    /// The netdevs of this network namespace that are ports of the eswitch with this ID, and how many netdevs were looked at.
    /// It reads an attribute of every netdev there is, of which nodes have thousands: the last resort. What can't be read is
    /// left out, as most of them are nobody's business here.
    pub fn ports_of_eswitch(&self, switch_id: &str) -> Result<(Vec<NetdevPort>, usize), Error> {
        let all = self.class_net();
        let names = entries(&all)?.unwrap_or_default();
        let looked_at = names.len();
        let mut found = Vec::new();
        for text in names {
            let dir = Dir::closed(all.join(&text));
            let Ok(Some(id)) = self.attribute(&dir, "phys_switch_id") else {
                continue;
            };
            if id != switch_id {
                continue;
            }
            let Ok(name) = text.parse() else { continue };
            let port = self.port(&dir, name, |port| {
                port.switch_id = Some(id);
                Ok(())
            });
            found.extend(port.ok().flatten());
        }
        Ok((found, looked_at))
    }

    /// A netdev with its eswitch; nothing when it is gone.
    pub fn port_of(&self, netdev: &IfName) -> Result<Option<NetdevPort>, Error> {
        let dir = Dir::open(self.class_net().join(netdev.as_str()));
        self.port(&dir, netdev.clone(), |port| {
            port.switch_id = self.attribute(&dir, "phys_switch_id")?;
            Ok(())
        })
    }

    /// The PCI function that a netdev belongs to, if it belongs to one.
    pub fn function_of(&self, netdev: &IfName) -> Result<Option<PciAddress>, Error> {
        let dir = Dir::closed(self.class_net().join(netdev.as_str()));
        // a device on another bus has no PCI address
        Ok(link::<PciAddress>(&dir, "device", "a link to a PCI device").unwrap_or_default())
    }

    /// The PCI function that a netdev lies below, whether it belongs to that itself or to a device on another bus that does.
    pub fn function_above(&self, netdev: &IfName) -> Result<Option<PciAddress>, Error> {
        let above = ancestors(&self.class_net().join(netdev.as_str()))?.unwrap_or_default();
        Ok(above.iter().find_map(|name| name.parse().ok()))
    }

    /// One netdev; nothing when it is gone.
    fn port(
        &self,
        dir: &Dir,
        name: IfName,
        more: impl FnOnce(&mut NetdevPort) -> Result<(), Error>,
    ) -> Result<Option<NetdevPort>, Error> {
        let Some(ifindex) = self.ifindex(dir)? else {
            return Ok(None);
        };
        let text = self.attribute(dir, "phys_port_name")?;
        let mut port = NetdevPort {
            netdev: Netdev { name, ifindex },
            name: text.as_deref().and_then(|text| text.parse().ok()),
            text,
            switch_id: None,
        };
        more(&mut port)?;
        // a name can pass from one netdev to another between two reads
        Ok((self.ifindex(dir)? == Some(ifindex)).then_some(port))
    }

    /// The bond that a netdev is a part of, or whatever else it is enslaved to.
    pub fn master(&self, netdev: &IfName) -> Result<Option<IfName>, Error> {
        let dir = Dir::closed(self.class_net().join(netdev.as_str()));
        link(&dir, "master", "a link to a network interface")
    }

    /// The ID of the eswitch that a netdev is a port of, if it is one.
    pub fn switch_id(&self, netdev: &IfName) -> Result<Option<String>, Error> {
        self.attribute(&Dir::closed(self.class_net().join(netdev.as_str())), "phys_switch_id")
    }

    /// Whether there is a netdev of this name in this network namespace.
    #[must_use]
    pub fn has_netdev(&self, name: &IfName) -> bool {
        // what is no directory is no netdev: `bonding_masters`
        self.class_net().join(name.as_str()).is_dir()
    }

    /// Whether a netdev is a bond: only these have such a directory.
    #[must_use]
    pub fn is_bond(&self, netdev: &IfName) -> bool {
        self.class_net().join(netdev.as_str()).join("bonding").is_dir()
    }

    /// The devices of a PF on the auxiliary bus that are Ethernet ports: since 6.3 mlx5's physical port belongs to the devlink
    /// instance of such a one.
    pub fn ethernet_children(&self, pf: &PciAddress) -> Result<Vec<AuxName>, Error> {
        let names = entries(&self.function_dir(pf))?.unwrap_or_default();
        let names = names.into_iter().filter(|name| name.contains(".eth."));
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// Whether a device of the auxiliary bus is a child of this function.
    #[must_use]
    pub fn is_child(&self, pf: &PciAddress, name: &AuxName) -> bool {
        fs::metadata(self.function_dir(pf).join(name.as_str())).is_ok()
    }
}
