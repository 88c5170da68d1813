//! What there is to know of a PF, its VFs and their representors, at one moment.

use std::collections::HashMap;

use kube_ovn::device::{Kind, Pf};
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
        Ok(Self {
            by_index: links.into_iter().map(|link| (link.index, link)).collect(),
        })
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Link> {
        self.by_index.get(&index)
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
        let netdevs = machine.sysfs.netdevs(address).map_err(|error| error.to_string())?;
        let driver = machine.sysfs.driver(address).map_err(|error| error.to_string())?;
        let is_away = netdevs.is_empty() && Kind::of_driver(driver.as_deref()) == Kind::Vf;
        let resolved = in_switchdev.then(|| resolve(&machine.sysfs, &devlink, &address.clone().into()));
        let admin_mac = resolved.as_ref().and_then(|resolved| resolved.as_ref().ok()?.admin_mac);
        let representor = resolved.map(|resolved| match resolved {
            Ok(resolved) => Ok(port(machine, links, &resolved.representor.netdev, true)),
            Err(error) => Err(error.to_string()),
        });
        vfs.push(Vf {
            index: *index,
            address: address.clone(),
            driver,
            netdevs: netdevs
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
