//! From the address that a device plugin gave a pod to the representor: the one place that decides which netdev it is.
//!
//! ```text
//! sysfs     address → PF, number, driver, netdevs            links of the PCI tree, 1 readlink for the number
//! devlink   PF → mode of its eswitch                         asked: a readable phys_switch_id proves nothing
//! devlink   PF, number → port of the eswitch → netdev        one dump, whatever the number of VFs
//! sysfs     PF → its netdevs → port name and switch ID       drivers without such ports
//! sysfs     switch ID → all netdevs → port name              and without representors below the PF: kernels before 5.9
//! ```
//!
//! Each source is asked only if the one before has nothing to say. What it finds must be the only one that fits: a wrong
//! representor carries another pod's traffic. docs/devices.md has the table of layouts and answers.

mod devlink;
mod error;
mod netdevs;
mod notes;
#[cfg(test)]
mod tests;
mod uplink;

use std::fmt;

use crate::device::{Function, Kind, PortName, Sysfs};
use crate::net::devlink::{Devlink, Handle};
use crate::net::{Eswitch, EswitchMode};
use crate::types::{DeviceId, Mac, Netdev, PciAddress};

pub use error::Error;
pub use notes::{Note, Source, Verdict};
pub use uplink::{Uplink, uplink};

use notes::Notes;

/// A function of a NIC, and the netdev that stands for it in the NIC's eswitch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// What the device plugin calls it.
    pub device: DeviceId,
    /// What a pod gets with it.
    pub kind: Kind,
    /// Its PF.
    pub pf: PciAddress,
    /// For a VF its index among the VFs of the PF, from 0; for a sub-function the number that it was created with.
    pub number: u32,
    /// The driver that is bound to it, if any.
    pub driver: Option<String>,
    /// Its netdevs in the network namespace that was looked at: none while it is in a pod, or when its driver makes none.
    pub netdevs: Vec<Netdev>,
    /// Its representor.
    pub representor: Representor,
    /// The uplink of the PF, if it was seen on the way; [`uplink()`] looks for it.
    pub uplink: Option<Netdev>,
    /// The MAC that the PF administers for it, if devlink told.
    pub admin_mac: Option<Mac>,
    /// Where the representor was found.
    pub found: Found,
}

/// The netdev that stands for a function in the eswitch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Representor {
    /// The netdev.
    pub netdev: Netdev,
    /// Which port it is.
    pub port: PortName,
}

/// By which source a representor was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// devlink has this port.
    Port {
        /// The instance.
        handle: Handle,
        /// The port's index.
        index: u32,
    },
    /// Among the netdevs below the PF.
    BelowPf,
    /// Among all netdevs of the eswitch.
    Scan {
        /// How many netdevs were looked at.
        looked_at: usize,
    },
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { handle, index } => write!(f, "devlink port {handle}/{index}"),
            Self::BelowPf => f.write_str("netdevs below the PF"),
            Self::Scan { looked_at } => write!(f, "all {looked_at} netdevs"),
        }
    }
}

/// Finds the representor of a function.
pub fn resolve(sysfs: &Sysfs, devlink: &impl Devlink, device: &DeviceId) -> Result<Resolved, Error> {
    search(sysfs, devlink, device, &mut Notes::none())
}

/// The same, with every step and everything that was ruled out.
pub fn explain(sysfs: &Sysfs, devlink: &impl Devlink, device: &DeviceId) -> (Result<Resolved, Error>, Vec<Note>) {
    let mut notes = Notes::all();
    let result = search(sysfs, devlink, device, &mut notes);
    (result, notes.into())
}

/// What is being looked for, and where.
struct Search<'a, D> {
    sysfs: &'a Sysfs,
    devlink: &'a D,
    function: &'a Function,
}

/// What a source has found.
struct Answer {
    representor: Representor,
    uplink: Option<Netdev>,
    admin_mac: Option<Mac>,
    found: Found,
}

fn search(sysfs: &Sysfs, devlink: &impl Devlink, device: &DeviceId, notes: &mut Notes) -> Result<Resolved, Error> {
    let function = sysfs.function(device)?;
    notes.add(Source::Sysfs, Verdict::Says, || {
        let number = if matches!(device, DeviceId::Aux(_)) {
            "sub-function"
        } else {
            "VF"
        };
        let driver = function.driver.as_deref().unwrap_or("none");
        format!(
            "{device} is {number} {} of PF {}, driver {driver}",
            function.number, function.pf
        )
    });
    let search = Search {
        sysfs,
        devlink,
        function: &function,
    };
    let eswitch = search.eswitch(notes)?;
    let answer = match search.by_devlink(eswitch, notes)? {
        Some(answer) => answer,
        None => search.by_netdevs(eswitch, notes)?,
    };
    Ok(Resolved {
        device: function.device,
        kind: function.kind,
        pf: function.pf,
        number: function.number,
        driver: function.driver,
        netdevs: function.netdevs,
        representor: answer.representor,
        uplink: answer.uplink,
        admin_mac: answer.admin_mac,
        found: answer.found,
    })
}

impl<D: Devlink> Search<'_, D> {
    /// The eswitch of the PF, unless it is in a mode without representors.
    fn eswitch(&self, notes: &mut Notes) -> Result<Eswitch, Error> {
        let pf = &self.function.pf;
        let eswitch = self.devlink.eswitch(pf)?;
        notes.add(Source::Devlink, Verdict::Says, || match eswitch {
            Eswitch::Mode(mode) => format!("the eswitch of pci/{pf} is in mode {mode}"),
            Eswitch::NotManaged => format!("pci/{pf} manages no eswitch"),
            Eswitch::Unknown => format!("there is no instance pci/{pf}"),
        });
        let uplink = || {
            uplink(self.sysfs, self.devlink, pf)
                .ok()
                .map(|uplink| uplink.netdev.name)
        };
        match eswitch {
            Eswitch::Mode(EswitchMode::Legacy) => Err(Error::Legacy {
                pf: pf.clone(),
                uplink: uplink(),
            }),
            Eswitch::Mode(mode @ EswitchMode::Other(_)) => Err(Error::Mode {
                pf: pf.clone(),
                uplink: uplink(),
                mode,
            }),
            _ => Ok(eswitch),
        }
    }

    /// The function, for messages.
    fn what(&self) -> String {
        let Function { device, number, pf, .. } = self.function;
        match device {
            DeviceId::Pci(_) => format!("VF {device} (VF {number} of PF {pf})"),
            DeviceId::Aux(_) => format!("sub-function {device} (sub-function {number} of PF {pf})"),
        }
    }

    fn is_sub_function(&self) -> bool {
        matches!(self.function.device, DeviceId::Aux(_))
    }
}

/// The number that the PF has in port names, out of those that its ports show.
///
/// A single number is the PF's own when the ports are its own, whatever it is: drivers count PFs in many ways. With several
/// (mlx5 also gives a PF the VFs that a neighbour delegated to it), or ports that may be another PF's, it is the one that is the
/// uplink's port number or the PCI function; where these two name different PFs, drivers and versions differ in which is
/// right (mlx5 went from the one to the other in 6.16), so neither is believed.
fn own_number(
    numbers: &std::collections::BTreeSet<u32>,
    port: Option<u32>,
    pf: &PciAddress,
    all_are_its_own: bool,
) -> Option<u32> {
    let mut likely = numbers.clone();
    if numbers.len() > 1 || !all_are_its_own {
        likely.retain(|number| Some(*number) == port || *number == pf.function());
    }
    match likely.len() {
        1 => likely.first().copied(),
        _ => None,
    }
}
