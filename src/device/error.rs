//! What can be wrong with a device, said to the operator of the node.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::types::{IfName, PciAddress};

/// Why a fact about a device could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No PCI function has this address.
    #[error(
        "no PCI device {address} on this node: was it removed, or sriov_numvfs changed, since the pod was given it?"
    )]
    NoSuchDevice {
        /// The address that was looked for.
        address: PciAddress,
    },
    /// The function exists but is no VF.
    #[error("{address} is not a VF: {reason}")]
    NotAVf {
        /// The function.
        address: PciAddress,
        /// What it is.
        reason: NotAVf,
    },
    /// The VF names a PF that does not name the VF.
    #[error(
        "PF {pf} has no virtfnN link to its VF {vf}: its VFs are being created or removed; try again when that is done"
    )]
    Unlisted {
        /// The VF.
        vf: PciAddress,
        /// Its PF.
        pf: PciAddress,
    },
    /// No netdev of the PF is its uplink.
    #[error("PF {pf} (driver: {}) has no uplink in this network namespace: expected one netdev with a port name such as p0 \
             or with none, found {}; bind the PF's driver, or move its netdev back", .driver.as_deref().unwrap_or("none"),
             List(.seen))]
    NoUplink {
        /// The PF.
        pf: PciAddress,
        /// Its driver, if one is bound.
        driver: Option<String>,
        /// The netdevs that it has.
        seen: Vec<Seen>,
    },
    /// The eswitch is not in switchdev mode. Built by [`Error::legacy`].
    #[error(
        "PF {pf} ({uplink}) is in legacy mode, offload needs switchdev: devlink dev eswitch set pci/{pf} mode switchdev"
    )]
    Legacy {
        /// The PF.
        pf: PciAddress,
        /// Its netdev.
        uplink: IfName,
    },
    /// No netdev of the PF is the representor of the VF.
    #[error("VF {vf} has no representor: looked among the netdevs of PF {pf} ({uplink}) for port name pfNvf{index} with \
             switch id {switch_id}, found {}; were the VFs created before switchdev mode (then create them again), is the \
             representor in another network namespace, or does the driver not make it a child of the PF?", List(.seen))]
    NoRepresentor {
        /// The VF.
        vf: PciAddress,
        /// Its PF.
        pf: PciAddress,
        /// The index of the VF.
        index: u32,
        /// The uplink of the PF.
        uplink: IfName,
        /// The switch id of the uplink.
        switch_id: String,
        /// The other netdevs of the PF.
        seen: Vec<Seen>,
    },
    /// Several netdevs fit, and a wrong one would carry another pod's traffic.
    #[error("cannot tell which netdev is {wanted}: found {}; {because}", List(.candidates))]
    Ambiguous {
        /// What was looked for.
        wanted: String,
        /// All that fit.
        candidates: Vec<Seen>,
        /// Why none of them is better than the others.
        because: &'static str,
    },
    /// A file under /sys says something that the kernel does not say.
    #[error("{}: expected {expected}, found {found}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// A file under /sys could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Error {
    /// The PF is in legacy mode. A readable switch id does not prove the contrary (mlx5 has one in either mode), so
    /// whoever learns the mode from devlink makes the same error with this.
    #[must_use]
    pub fn legacy(pf: &PciAddress, uplink: &IfName) -> Self {
        Self::Legacy {
            pf: pf.clone(),
            uplink: uplink.clone(),
        }
    }
}

/// What a function is that is no VF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAVf {
    /// A PF; with its VFs, as `virtfnN` lists them.
    Pf(Vec<(u32, PciAddress)>),
    /// A function without SR-IOV.
    NoSriov,
}

impl fmt::Display for NotAVf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // a VF that is passed through to a virtual machine has no physfn there
            Self::NoSriov => f.write_str(
                "it has neither physfn nor sriov_totalvfs; give the address of a VF whose PF this node has as well",
            ),
            Self::Pf(vfs) if vfs.is_empty() => {
                f.write_str("it is a PF, and has no VFs; create them by writing their number to its sriov_numvfs")
            }
            Self::Pf(vfs) => {
                f.write_str("it is a PF; give one of its VFs: ")?;
                list(f, vfs, |f, (index, address)| write!(f, "{address} (virtfn{index})"))
            }
        }
    }
}

/// A netdev that was looked at, and what told its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The netdev.
    pub name: IfName,
    /// Its `phys_port_name`, understood or not.
    pub port: Option<String>,
    /// Its `phys_switch_id`, where that was asked.
    pub switch_id: Option<String>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port.as_deref().unwrap_or("no port name");
        match &self.switch_id {
            Some(id) => write!(f, "{} ({port}, switch id {id})", self.name),
            None => write!(f, "{} ({port})", self.name),
        }
    }
}

struct List<'a>(&'a [Seen]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.0, |f, seen| write!(f, "{seen}"))
    }
}

/// Writes the first few of `items`: a PF can have hundreds of netdevs, and the message ends up in a pod's events.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    item: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    const SHOWN: usize = 8;
    if items.is_empty() {
        return f.write_str("none");
    }
    for (i, one) in items.iter().take(SHOWN).enumerate() {
        f.write_str(if i == 0 { "" } else { ", " })?;
        item(f, one)?;
    }
    match items.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}
