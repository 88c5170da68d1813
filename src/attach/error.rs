use crate::types::{IfName, Mac, PciAddress};
use crate::{daemon, device, net, resolve, state};

/// Why a VF could not be attached or given back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Facts about the device.
    #[error(transparent)]
    Device(#[from] device::Error),
    /// From the device to its representor.
    #[error(transparent)]
    Resolve(#[from] resolve::Error),
    /// The kernel.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// The state directory.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The daemon.
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
    /// `CNI_NETNS` is the namespace that we run in.
    #[error(
        "CNI_NETNS {path} is the plugin's own network namespace, expected the pod's; attaching would take VF {device} nowhere"
    )]
    OwnNetns {
        /// The path.
        path: String,
        /// The VF.
        device: PciAddress,
    },
    /// The pod has an interface of that name.
    #[error(
        "the pod's network namespace {netns} has an interface {ifname} already, expected none: another network or an earlier ADD made it"
    )]
    NameTaken {
        /// The namespace.
        netns: String,
        /// The name.
        ifname: IfName,
    },
    /// A live attachment has the VF.
    #[error("VF {device} is held by {holder}, whose network namespace {netns} is alive; {hint}")]
    Held {
        /// The VF.
        device: PciAddress,
        /// Who.
        holder: String,
        /// Its namespace.
        netns: String,
        /// What to look for.
        hint: &'static str,
    },
    /// The VF has no driver.
    #[error(
        "VF {0} has no driver bound, expected the NIC's, so it has no netdev: echo {0} > /sys/bus/pci/drivers_probe"
    )]
    NoDriver(PciAddress),
    /// The VF has a driver that makes no netdev and is none of VFIO's.
    #[error(
        "VF {device} is bound to {driver}, which gives it no netdev; expected the NIC's own driver, or vfio-pci for a virtual machine: choose another device plugin pool"
    )]
    UserspaceDriver {
        /// The VF.
        device: PciAddress,
        /// Its driver.
        driver: String,
    },
    /// The VF carries a vDPA device.
    #[error(
        "VF {device} carries the vDPA device {name} ({driver}); kube-ovn-daemon attaches the netdev of a VF only: vdpa dev del {name}, or choose a device plugin pool without vdpaType"
    )]
    Vdpa {
        /// The VF.
        device: PciAddress,
        /// The vDPA device.
        name: String,
        /// Who uses it.
        driver: String,
    },
    /// The daemon's name for the port belongs to another.
    #[error(
        "kube-ovn-daemon would name the host's side of {ifname} {name}, and the host has an interface of that name already: the longer the interface's name, the less of the container ID is in it; choose one of up to 8 characters"
    )]
    PortNameTaken {
        /// The port's name.
        name: IfName,
        /// The interface.
        ifname: IfName,
    },
    /// Netconf and VF are not of one kind.
    #[error(
        "VF {device} is bound to {driver}, but the NetworkAttachmentDefinition says vf_driver {vf_driver:?}: name a device plugin pool whose VFs have that driver, or change vf_driver ({})",
        if .driver.contains("vfio") { "vfio-pci, for virtual machines" } else { "none, for a VF with a netdev" }
    )]
    OtherDriver {
        /// The VF.
        device: PciAddress,
        /// Its driver.
        driver: String,
        /// What the netconf says.
        vf_driver: String,
    },
    /// The port of a VF without a netdev, of which we have no record.
    #[error(
        "representor {name} of VF {device} is a port of another sandbox, of which there is no record, and nothing tells whether a virtual machine of it uses the VF; if none does: ovs-vsctl del-port {name}"
    )]
    MachinesPort {
        /// The representor.
        name: IfName,
        /// The VF.
        device: PciAddress,
    },
    /// The PF has another MAC for the VF.
    #[error(
        "the PF of VF {device} has MAC {found} for it after it was set, expected {expected}: does the driver refuse it?"
    )]
    AdminMac {
        /// The VF.
        device: PciAddress,
        /// What it has.
        found: String,
        /// What it should have.
        expected: Mac,
    },
    /// The VF's netdev is in no namespace that we can see.
    #[error(
        "VF {device} (driver {driver}) has no netdev in the host's network namespace after {seconds} s, expected one: it is in the namespace of a process or pod that no record tells of, or of one that is still ending; look for it with: lsns -t net"
    )]
    Elsewhere {
        /// The VF.
        device: PciAddress,
        /// Its driver.
        driver: String,
        /// How long we waited.
        seconds: u64,
    },
    /// More than one netdev.
    #[error("VF {device} has {found} netdevs ({names}), expected one; kube-ovn-daemon can't attach such a device")]
    ManyNetdevs {
        /// The VF.
        device: PciAddress,
        /// How many.
        found: usize,
        /// Which.
        names: String,
    },
    /// The representor belongs to somebody else.
    #[error(
        "representor {name} of VF {device} is a port of {master} already, under a name that kube-ovn-daemon does not give; take it out first: ovs-vsctl del-port {name}"
    )]
    ForeignPort {
        /// The representor.
        name: IfName,
        /// The VF.
        device: PciAddress,
        /// The link that it is a port of.
        master: String,
    },
    /// The daemon may still begin with an earlier request.
    #[error(
        "kube-ovn-daemon has never answered an ADD of VF {device} for {holder} {ago} s ago and may still begin with it; expected an answer or {left} s more; try again then"
    )]
    LateDaemon {
        /// The VF.
        device: PciAddress,
        /// For whom it was asked.
        holder: String,
        /// Since when, in seconds.
        ago: u64,
        /// How long that may still be, in seconds.
        left: u64,
    },
    /// A port that should be gone is not.
    #[error(
        "representor {name} of VF {device} is still a port of an OVS bridge {seconds} s after its port was removed; is ovs-vswitchd running?"
    )]
    PortRemains {
        /// The representor.
        name: IfName,
        /// The VF.
        device: PciAddress,
        /// How long we waited.
        seconds: u64,
    },
    /// Two interfaces of the pod got the same.
    #[error(
        "kube-ovn-daemon gave {ifname} the MAC {mac} that {other} of the same pod has: both are of provider {provider}, and before v1.16.2 kube-ovn can't tell two interfaces of one NetworkAttachmentDefinition apart; give each VF a definition of its own, or upgrade"
    )]
    Twins {
        /// The interface that was to be added.
        ifname: IfName,
        /// What it got.
        mac: Mac,
        /// The interface that had it.
        other: IfName,
        /// The provider of both.
        provider: String,
    },
    /// Neither the daemon nor OVSDB can be asked.
    #[error("its port stays in Open vSwitch: {daemon}; and {ovs}")]
    PortStays {
        /// What the daemon said.
        daemon: String,
        /// What OVSDB said.
        ovs: String,
    },
    /// The kernel does not show what the daemon said.
    #[error("kube-ovn-daemon said that it attached VF {device} as {ifname}, but {}", .findings.join("; "))]
    NotAsSaid {
        /// The VF.
        device: PciAddress,
        /// The interface in the pod.
        ifname: IfName,
        /// What is not so.
        findings: Vec<String>,
    },
    /// Not everything could be given back; the record stays.
    #[error("VF {device} is not wholly given back: {}; the record stays, and the next DEL, or ADD on this VF, goes on with it", .problems.join("; "))]
    Unfinished {
        /// The VF.
        device: PciAddress,
        /// What is left, and why.
        problems: Vec<String>,
    },
}

/// What kind of failure it is, which is what a CNI error code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The runtime's environment variables.
    Environment,
    /// The runtime's `CNI_NETNS` is the plugin's own.
    OwnNetns,
    /// The netconf names a device that can't be meant.
    Config,
    /// The node is not set up for offload; the same call fails until somebody changes that.
    NodeNotReady,
    /// Another attachment has the VF.
    Held,
    /// The daemon's work does not stand up to a look at the kernel.
    NotAsSaid,
    /// The same call may succeed later.
    TryAgain,
    /// Files of ours.
    Io,
    /// The kernel said no.
    Internal,
}

impl Error {
    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Device(error) | Self::Resolve(resolve::Error::Device(error)) => of_device(error),
            Self::OtherDriver { .. } => Kind::Config,
            Self::Resolve(resolve::Error::NoNetdev { .. } | resolve::Error::Net(net::Error::Late { .. }))
            | Self::Net(net::Error::Late { .. }) => Kind::TryAgain,
            Self::Resolve(resolve::Error::Net(_)) => Kind::Internal,
            Self::Resolve(_)
            | Self::Vdpa { .. }
            | Self::NoDriver(_)
            | Self::UserspaceDriver { .. }
            | Self::ManyNetdevs { .. }
            | Self::ForeignPort { .. }
            | Self::MachinesPort { .. } => Kind::NodeNotReady,
            Self::Net(net::Error::NoNetns { .. } | net::Error::NotANetns { .. }) => Kind::Environment,
            Self::Net(_) => Kind::Internal,
            Self::State(state::Error::Busy { .. }) => Kind::TryAgain,
            Self::State(state::Error::KeyTooLong(_)) => Kind::Environment,
            Self::State(state::Error::TooLarge { .. }) => Kind::Config,
            Self::State(_) => Kind::Io,
            Self::Daemon(daemon::Error::Foreign { .. }) | Self::Twins { .. } => Kind::Config,
            Self::Daemon(_)
            | Self::Elsewhere { .. }
            | Self::LateDaemon { .. }
            | Self::PortStays { .. }
            | Self::PortRemains { .. }
            | Self::Unfinished { .. } => Kind::TryAgain,
            Self::OwnNetns { .. } => Kind::OwnNetns,
            Self::NameTaken { .. } | Self::PortNameTaken { .. } => Kind::Environment,
            Self::Held { .. } => Kind::Held,
            Self::NotAsSaid { .. } | Self::AdminMac { .. } => Kind::NotAsSaid,
        }
    }
}

fn of_device(error: &device::Error) -> Kind {
    match error {
        device::Error::NoSuchDevice { .. }
        | device::Error::NotAVf { .. }
        | device::Error::NoSuchAuxiliary { .. }
        | device::Error::NotASubFunction { .. } => Kind::Config,
        device::Error::Io { .. } => Kind::Io,
        device::Error::Unlisted { .. } => Kind::TryAgain,
        device::Error::Malformed { .. } => Kind::NodeNotReady,
    }
}
