//! Why a device has no representor that we can name, said to the operator of the node.

use std::fmt;

use crate::device::{self, list};
use crate::net::{self, EswitchMode};
use crate::types::{IfName, PciAddress};

/// Why a representor could not be found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Facts about the device.
    #[error(transparent)]
    Device(#[from] device::Error),
    /// devlink.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// The eswitch is in legacy mode.
    #[error("PF {pf}{} is in legacy mode, offload needs switchdev: devlink dev eswitch set pci/{pf} mode switchdev", Name(.uplink))]
    Legacy {
        /// The PF.
        pf: PciAddress,
        /// Its netdev, if there is one.
        uplink: Option<IfName>,
    },
    /// The eswitch is in a mode that this program does not know.
    #[error("the eswitch of PF {pf}{} is in mode {mode}, offload needs switchdev: devlink dev eswitch set pci/{pf} mode switchdev", Name(.uplink))]
    Mode {
        /// The PF.
        pf: PciAddress,
        /// Its netdev, if there is one.
        uplink: Option<IfName>,
        /// The mode.
        mode: EswitchMode,
    },
    /// The PF does not manage the eswitch that its VFs are connected to.
    #[error(
        "PF {pf} (driver {driver}) does not manage the eswitch of its VFs: on the host of a DPU it belongs to the DPU, where the \
         representors and Open vSwitch must be then; for offload on this host, set the card to NIC mode (or an InfiniBand port to \
         Ethernet) with the vendor's tool"
    )]
    NotManaged {
        /// The PF.
        pf: PciAddress,
        /// Its driver.
        driver: String,
    },
    /// The NIC has no eswitch, as far as the kernel shows.
    #[error(
        "PF {pf}{} has no eswitch that the kernel shows: expected switchdev mode, found {found}; this NIC or this version of its \
         driver ({}) can't offload, or its representors belong to another PCI function (octeontx2), which is not supported", Name(.uplink), .driver.as_deref().unwrap_or("none")
    )]
    NoEswitch {
        /// The PF.
        pf: PciAddress,
        /// Its netdev, if there is one.
        uplink: Option<IfName>,
        /// Its driver, if one is bound.
        driver: Option<String>,
        /// What was found instead.
        found: &'static str,
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
        seen: Vec<String>,
    },
    /// Nothing is the function's representor.
    #[error("{what} has no representor: looked {looked}, found {}; were the VFs created before switchdev mode (then create \
             them again), or is the representor in another network namespace?", List(.seen))]
    NoRepresentor {
        /// The function.
        what: String,
        /// Where, and for what.
        looked: String,
        /// What is there instead.
        seen: Vec<String>,
    },
    /// devlink has the port, but the port has no netdev.
    #[error(
        "the representor of {what} has no netdev: devlink has its port, {port}, but no netdev for it after {milliseconds} ms; is it \
         in another network namespace, or being created?"
    )]
    NoNetdev {
        /// The function.
        what: String,
        /// The port.
        port: String,
        /// How long was waited.
        milliseconds: u128,
    },
    /// Several fit, and a wrong one would carry another pod's traffic.
    #[error("cannot tell which is {wanted}: found {}; {because}", List(.candidates))]
    Ambiguous {
        /// What was looked for.
        wanted: String,
        /// All that fit.
        candidates: Vec<String>,
        /// Why none of them is better than the others.
        because: &'static str,
    },
}

impl Error {
    /// The question was not answered at all, so it says nothing about the device: ask again.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Net(_) | Self::Device(device::Error::Io { .. }))
    }
}

struct Name<'a>(&'a Option<IfName>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(f, " ({name})"))
    }
}

struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.0, |f, seen| f.write_str(seen))
    }
}
