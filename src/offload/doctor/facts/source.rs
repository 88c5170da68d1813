//! What only the kernel can say: by netlink from this machine's, or from lines that were written down on another one.
//!
//! ```text
//! devlink pci/0000:03:00.0 eswitch switchdev         as src/net/devlink/recorded.rs has it
//! hw-tc-offload eth0 on
//! ingress br-int                                     it has an ingress qdisc
//! address 10.0.0.1 p0
//! steering pci/0000:03:00.0 smfs                     mlx5's devlink parameter flow_steering_mode
//! recirculation shared                               or "own": see kube_ovn::net::shares_recirculation
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use kube_ovn::device::Sysfs;
use kube_ovn::net::devlink::{Recorded, Session};
use kube_ovn::net::{Netlink, Stack, shares_recirculation, tc_offload};
use kube_ovn::types::{IfName, Netdev, PciAddress};

use super::{Asked, Place};
use crate::machine::Answers;

/// Where the lines are, on a place that is not this machine.
const RECORDED: &str = "/recorded.txt";
/// The one data path of the kernel that ovs-vswitchd makes for all its bridges, and the netdev of that name.
const DATAPATH: &str = "ovs-system";
const MAX_RECORDED: u64 = 1024 * 1024;

/// A kernel, or what one said.
pub(super) struct Source {
    pub(super) devlink: Answers,
    /// `None`: it is this machine's.
    lines: Option<Lines>,
}

#[derive(Default)]
struct Lines {
    offload: BTreeMap<String, bool>,
    ingress: BTreeSet<String>,
    addresses: Vec<(IpAddr, String)>,
    steering: BTreeMap<String, String>,
    shares_recirculation: Option<bool>,
}

impl Source {
    pub(super) fn of(place: &Place) -> Asked<Self> {
        if place.is_this_machine() {
            return Ok(Self {
                devlink: Answers::Kernel(Session::open().map_err(|error| error.to_string())?),
                lines: None,
            });
        }
        let mut lines = Lines::default();
        let mut recorded = Recorded::default();
        for line in place.text(RECORDED, MAX_RECORDED)?.unwrap_or_default().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["devlink", ..] => {
                    let line = line.strip_prefix("devlink ").unwrap_or_default();
                    recorded.add(line).map_err(|error| error.to_string())?;
                }
                ["hw-tc-offload", name, state] => {
                    lines.offload.insert((*name).to_owned(), *state == "on");
                }
                ["ingress", name] => {
                    lines.ingress.insert((*name).to_owned());
                }
                ["address", address, name] => {
                    let address = address.parse().map_err(|_| format!("{line:?} has no address"))?;
                    lines.addresses.push((address, (*name).to_owned()));
                }
                ["steering", instance, mode] => {
                    lines.steering.insert((*instance).to_owned(), (*mode).to_owned());
                }
                ["recirculation", whose] => lines.shares_recirculation = Some(*whose == "shared"),
                [] | ["#", ..] => {}
                _ => return Err(format!("{line:?} of {RECORDED} has no meaning")),
            }
        }
        Ok(Self {
            devlink: Answers::Recorded(recorded),
            lines: Some(lines),
        })
    }

    /// Whether a netdev takes flows from tc for its hardware; `None` when it does not tell.
    pub(super) fn offload(&self, netdev: &Netdev) -> Asked<Option<bool>> {
        match &self.lines {
            None => tc_offload(netdev.ifindex).map_err(|error| error.to_string()),
            Some(lines) => Ok(lines.offload.get(netdev.name.as_str()).copied()),
        }
    }

    /// How mlx5 puts rules into its NIC; `None` for other drivers, and for kernels that do not tell.
    pub(super) fn steering(&self, pf: &PciAddress) -> Asked<Option<String>> {
        match (&self.lines, &self.devlink) {
            (None, Answers::Kernel(session)) => {
                let mode = session.parameter(pf, "flow_steering_mode");
                mode.map_err(|error| error.to_string())
            }
            (Some(lines), _) => Ok(lines.steering.get(&format!("pci/{pf}")).cloned()),
            (None, Answers::Recorded(_)) => Ok(None),
        }
    }

    /// Whether the kernel's data path shares recirculation IDs with tc; `None` when there is none.
    pub(super) fn shares_recirculation(&self, sysfs: &Sysfs) -> Asked<Option<bool>> {
        match &self.lines {
            None => {
                // without this netdev there is no data path, and asking for it would load Open vSwitch' module
                let netdev: IfName = DATAPATH.parse().map_err(|error| format!("{DATAPATH}: {error}"))?;
                match sysfs.netdev_state(&netdev) {
                    Ok(Some(_)) => shares_recirculation(DATAPATH).map_err(|error| error.to_string()),
                    Ok(None) => Ok(None),
                    Err(error) => Err(error.to_string()),
                }
            }
            Some(lines) => Ok(lines.shares_recirculation),
        }
    }

    /// The names of the netdevs, out of these, that have an ingress qdisc.
    pub(super) async fn ingress(&self, netdevs: &[Netdev]) -> Asked<BTreeSet<String>> {
        let name = |netdev: &Netdev| netdev.name.to_string();
        match &self.lines {
            None => {
                let netlink = Netlink::own().map_err(|error| error.to_string())?;
                let indices = netlink.links_with_ingress().await.map_err(|error| error.to_string())?;
                let with = netdevs.iter().filter(|netdev| indices.contains(&netdev.ifindex));
                Ok(with.map(name).collect())
            }
            Some(lines) => Ok(netdevs
                .iter()
                .map(name)
                .filter(|name| lines.ingress.contains(name))
                .collect()),
        }
    }

    /// Whether the absence of a network namespace at a path means that there is none.
    pub(super) fn sees_namespaces_at(&self, path: &str) -> Asked<bool> {
        match &self.lines {
            None => {
                let netlink = Netlink::own().map_err(|error| error.to_string())?;
                let sees = netlink.sees_namespaces_at(Path::new(path));
                sees.map_err(|error| error.to_string())
            }
            Some(_) => Ok(true),
        }
    }

    /// The name of the netdev that has an address.
    pub(super) fn with_address(&self, address: IpAddr) -> Asked<Option<String>> {
        match &self.lines {
            None => {
                let all = nix::ifaddrs::getifaddrs().map_err(|error| format!("cannot list addresses: {error}"))?;
                let mut all = all.filter(|one| {
                    one.address.is_some_and(|found| {
                        let v4 = found.as_sockaddr_in().map(|found| IpAddr::V4(found.ip()));
                        let v6 = found.as_sockaddr_in6().map(|found| IpAddr::V6(found.ip()));
                        v4.or(v6) == Some(address)
                    })
                });
                Ok(all.next().map(|one| one.interface_name))
            }
            Some(lines) => {
                let mut found = lines.addresses.iter().filter(|(one, _)| *one == address);
                Ok(found.next().map(|(_, name)| name.clone()))
            }
        }
    }
}
