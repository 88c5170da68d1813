//! What can be wrong with a device, said to the operator of the node.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::types::{AuxName, PciAddress};

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
    /// No auxiliary device has this name.
    #[error("no auxiliary device {name} on this node: was the sub-function removed since the pod was given it?")]
    NoSuchAuxiliary {
        /// The name that was looked for.
        name: AuxName,
    },
    /// The auxiliary device exists but is no sub-function.
    #[error("{name} is not a sub-function: it has no sfnum; give one that has, such as mlx5_core.sf.4")]
    NotASubFunction {
        /// The device.
        name: AuxName,
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

/// Writes the first few of `items`: a PF can have hundreds of netdevs, and the message ends up in a pod's events.
pub(crate) fn list<T>(
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
