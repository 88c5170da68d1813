//! SR-IOV facts from a sysfs tree: VF, PF, netdevs, uplink, representor.
//!
//! Only reads, and only files below the root that is given; no netlink, no root rights. Every path under /sys that this
//! crate uses is in this module. The facts are those of the moment: a netdev can be renamed at any time, so whoever acts on
//! one does so by its index.

use std::path::PathBuf;

mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod function;
mod port_name;
mod read;
mod representor;
#[cfg(test)]
mod tests;

pub use error::{Error, NotAVf, Seen};
pub use port_name::PortName;

use crate::types::{IfName, PciAddress};

/// A sysfs. It shows the netdevs of the network namespace that it was mounted in.
#[derive(Debug, Clone)]
pub struct Sysfs {
    root: PathBuf,
    read: read::ReadFile,
}

impl Sysfs {
    /// This machine's sysfs.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::new("/sys")
    }

    /// The sysfs that is mounted at `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            read: read::read_file,
        }
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netdev {
    /// Its name.
    pub name: IfName,
    /// Its index, which stays when the name changes.
    pub ifindex: u32,
}

/// A virtual function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vf {
    /// Its address.
    pub address: PciAddress,
    /// The address of its PF.
    pub pf: PciAddress,
    /// Its index among the VFs of the PF, from 0.
    pub index: u32,
    /// The driver that is bound to it, if any.
    pub driver: Option<String>,
}

/// The netdev of a PF, which is also the port by which its eswitch reaches the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The netdev.
    pub netdev: Netdev,
    /// The eswitch that it is a port of. Some drivers have none in legacy mode; others have one in either mode.
    pub switch_id: Option<String>,
    /// Which port it is.
    pub port: Option<PortName>,
}

/// The netdev that stands for a VF in the eswitch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Representor {
    /// The netdev.
    pub netdev: Netdev,
    /// Which port it is.
    pub port: PortName,
}
