//! SR-IOV facts from a sysfs tree: functions, what drives them, their netdevs and what these say of themselves.
//!
//! Only reads, except for what `write` has for the operator's tool, and only files below the root that is given; no netlink.
//! Every path under /sys that this crate uses is in this module. The facts are those of the moment: a netdev can be renamed at any time, so whoever acts on
//! one does so by its index. Which netdev is a VF's representor is decided in `resolve`.

use std::path::PathBuf;

mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod function;
mod netdev;
mod pf;
mod port_name;
mod ports;
mod read;
mod write;

pub(crate) use error::list;
pub use error::{Error, NotAVf};
pub use netdev::NetdevState;
pub use pf::Pf;
pub use port_name::PortName;
pub use ports::NetdevPort;
#[cfg(test)]
pub(crate) use read::Dir;
pub use write::WriteError;

pub use crate::types::Netdev;
use crate::types::{DeviceId, PciAddress};

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

/// A function that a pod can be given: a VF or a sub-function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// What it is called.
    pub device: DeviceId,
    /// The address of its PF.
    pub pf: PciAddress,
    /// For a VF its index among the VFs of the PF, from 0; for a sub-function the number that it was created with.
    pub number: u32,
    /// What a pod gets with it.
    pub kind: Kind,
    /// The driver that is bound to it, if any.
    pub driver: Option<String>,
    /// Its netdevs in the network namespace of this sysfs: none while it is in a pod.
    pub netdevs: Vec<Netdev>,
}

/// What a pod gets with a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A VF with the NIC's own driver, which gives it a netdev.
    Vf,
    /// A VF that a driver hands to user space as it is: vfio-pci, a variant of it, or one for DPDK. No netdev.
    Userspace,
    /// A function that carries a vDPA device.
    Vdpa {
        /// The vDPA device.
        name: String,
        /// Who uses it: `vhost_vdpa` for a virtual machine, `virtio_vdpa` for a virtio netdev on this host.
        driver: Option<String>,
    },
    /// A VF without a driver.
    Unbound,
    /// A sub-function.
    Sf,
}

impl Kind {
    /// What a VF with this driver is. Variant drivers have "vfio" in their names (drivers/vfio/pci in the kernel:
    /// `mlx5_vfio_pci`, `nvgrace-gpu-vfio-pci` …).
    #[must_use]
    pub fn of_driver(driver: Option<&str>) -> Self {
        match driver {
            None => Self::Unbound,
            Some(name) if name.contains("vfio") || matches!(name, "uio_pci_generic" | "igb_uio") => Self::Userspace,
            Some(_) => Self::Vf,
        }
    }
}
