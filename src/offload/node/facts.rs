//! What there is to know of a PF, its VFs and their representors, at one moment.

use std::collections::HashMap;

use kube_ovn::device::{self, Kind, Pf};
use kube_ovn::net::{self, Eswitch, EswitchMode, Link, Netlink, Stack, tc_offload};
use kube_ovn::resolve::{resolve, uplink};
use kube_ovn::types::{IfName, Mac, Netdev, PciAddress};

use super::holders::{Holder, Holders};
use crate::machine::{Machine, Once, block_on};

/// A netdev and its switches; `None` where that can't be told, as of another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) netdev: Netdev,
    pub(crate) up: Option<bool>,
    pub(crate) mac: Option<Mac>,
    /// hw-tc-offload.
    pub(crate) tc: Option<bool>,
    /// What it is enslaved to.
    pub(crate) master: Option<String>,
}

/// A VF.
#[derive(Debug, Clone)]
pub(crate) struct Vf {
    pub(crate) index: u32,
    pub(crate) address: PciAddress,
    pub(crate) driver: Option<String>,
    pub(crate) kind: Kind,
    /// Its netdevs in the host's namespace.
    pub(crate) netdevs: Vec<Port>,
    /// The MAC that the PF administers for it.
    pub(crate) admin_mac: Option<Mac>,
    /// Its representor, or why none was found; `None` outside of switchdev mode.
    pub(crate) representor: Option<Result<Port, String>>,
    pub(crate) holder: Option<Holder>,
}

/// A PF with its VFs.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) pf: Pf,
    pub(crate) eswitch: Eswitch,
    /// Its own netdev, or why none was found.
    pub(crate) uplink: Result<Port, String>,
    /// The master of the uplink is a bond.
    pub(crate) bond: Option<IfName>,
    pub(crate) vfs: Vec<Vf>,
}

impl Facts {
    pub(crate) fn is_switchdev(&self) -> bool {
        self.eswitch == Eswitch::Mode(EswitchMode::Switchdev)
    }

    /// What the PF is called: by its netdev as well, when it has one.
    pub(crate) fn name(&self) -> String {
        match &self.uplink {
            Ok(uplink) => format!("{} ({})", self.pf.address, uplink.netdev.name),
            Err(_) => self.pf.address.to_string(),
        }
    }
}

/// The host's links, all in one dump.
pub(crate) struct Links {
    by_index: HashMap<u32, Link>,
}

impl Links {
    /// Of this machine's namespace; of another machine there are none.
    pub(crate) fn of(machine: &Machine) -> Result<Self, String> {
        let links = if machine.is_this {
            block_on(async { Netlink::own()?.links().await })?.map_err(|error: net::Error| error.to_string())?
        } else {
            Vec::new()
        };
        Ok(links.into_iter().collect())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Link> {
        self.by_index.values()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Link> {
        self.by_index.get(&index)
    }
}

impl FromIterator<Link> for Links {
    fn from_iter<I: IntoIterator<Item = Link>>(links: I) -> Self {
        Self {
            by_index: links.into_iter().map(|link| (link.index, link)).collect(),
        }
    }
}

/// A netdev with its switches.
fn port(machine: &Machine, links: &Links, netdev: &Netdev, asks_tc: bool) -> Port {
    let link = links.get(netdev.ifindex);
    let tc = (machine.is_this && asks_tc).then(|| tc_offload(netdev.ifindex).ok().flatten());
    let master = link.and_then(|link| links.get(link.master?));
    Port {
        netdev: Netdev {
            // the newest name
            name: link.map_or(&netdev.name, |link| &link.name).clone(),
            ifindex: netdev.ifindex,
        },
        up: link.map(|link| link.up),
        mac: link.and_then(|link| link.mac),
        tc: tc.flatten(),
        master: master.map(|master| master.name.to_string()),
    }
}

/// Looks at a PF and all that belongs to it.
pub(crate) fn gather(machine: &Machine, links: &Links, holders: &Holders, pf: Pf) -> Result<Facts, String> {
    let devlink = Once::new(&machine.devlink);
    let eswitch = net::Devlink::eswitch(&devlink, &pf.address).map_err(|error| error.to_string())?;
    let found = uplink(&machine.sysfs, &devlink, &pf.address);
    let bond = found.as_ref().ok().and_then(|uplink| uplink.bond.clone());
    let bond = bond.filter(|master| machine.sysfs.is_bond(master));
    let in_switchdev = eswitch == Eswitch::Mode(EswitchMode::Switchdev);
    let mut vfs = Vec::with_capacity(pf.vfs.len());
    for (index, address) in &pf.vfs {
        let function = match machine.sysfs.function(&address.clone().into()) {
            Ok(function) => function,
            // removed meanwhile
            Err(device::Error::NoSuchDevice { .. }) => continue,
            Err(error) => return Err(error.to_string()),
        };
        let is_away = function.netdevs.is_empty() && function.kind == Kind::Vf;
        let resolved = in_switchdev.then(|| resolve(&machine.sysfs, &devlink, &address.clone().into()));
        let admin_mac = resolved.as_ref().and_then(|resolved| resolved.as_ref().ok()?.admin_mac);
        let representor = resolved.map(|resolved| match resolved {
            Ok(resolved) => Ok(port(machine, links, &resolved.representor.netdev, true)),
            Err(error) => Err(error.to_string()),
        });
        vfs.push(Vf {
            index: *index,
            address: address.clone(),
            driver: function.driver,
            kind: function.kind,
            netdevs: function
                .netdevs
                .iter()
                .map(|netdev| port(machine, links, netdev, false))
                .collect(),
            admin_mac,
            representor,
            holder: holders.of_vf(address, is_away)?,
        });
    }
    Ok(Facts {
        uplink: match found {
            Ok(found) => Ok(port(machine, links, &found.netdev, true)),
            Err(error) => Err(error.to_string()),
        },
        bond,
        eswitch,
        vfs,
        pf,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.parse().unwrap(),
            mac: None,
            mtu: 1500,
            up: false,
            carrier: false,
            flags: 0,
            txqlen: 1000,
            xdp: 0,
            alias: String::new(),
            alt_names: Vec::new(),
            master: None,
            lower: None,
            software: false,
            parent: None,
        }
    }

    fn port(name: &str, ifindex: u32, tc: bool) -> Port {
        Port {
            netdev: Netdev {
                name: name.parse().unwrap(),
                ifindex,
            },
            up: Some(false),
            mac: None,
            tc: Some(tc),
            master: None,
        }
    }

    pub(in super::super) fn representor(index: u32, tc: bool) -> Port {
        port(&format!("rep{index}"), 20 + index, tc)
    }

    pub(in super::super) fn vf(index: u32) -> Vf {
        Vf {
            index,
            address: format!("0000:03:00.{}", index + 2).parse().unwrap(),
            driver: Some("mlx5_core".to_owned()),
            kind: Kind::Vf,
            netdevs: vec![port(&format!("ens1f0v{index}"), 10 + index, false)],
            admin_mac: None,
            representor: None,
            holder: None,
        }
    }

    /// A PF as it comes: legacy mode, no VFs, down.
    pub(in super::super) fn facts() -> Facts {
        Facts {
            pf: Pf {
                address: "0000:03:00.0".parse().unwrap(),
                driver: Some("mlx5_core".to_owned()),
                vf_count: 0,
                most_vfs: 8,
                vfs: Vec::new(),
            },
            eswitch: Eswitch::Mode(EswitchMode::Legacy),
            uplink: Ok(port("ens1f0np0", 2, false)),
            bond: None,
            vfs: Vec::new(),
        }
    }
}
