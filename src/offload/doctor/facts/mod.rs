//! What is known of a node: read once, judged afterwards. Nothing here says what is good or bad.

mod cni;
mod host;
mod kernel;
mod kubelet;
mod nic;
mod node;
mod ovn;
mod ovs;
mod place;
mod source;

use kube_ovn::device::Sysfs;

pub(super) use cni::{CONFIGURATIONS, Cni, Configuration, PLUGINS};
pub(super) use host::Host;
pub(super) use kernel::{Kernel, MODULES, Module};
pub(super) use kubelet::{DIRECTORY as DEVICE_PLUGINS, Kubelet};
pub(super) use nic::{DRIVERS, Link, Nic, Vf};
pub(super) use node::{DAEMON, Node};
pub(super) use ovn::{North, Ovn};
pub(super) use ovs::{Database, Ovs};
pub(super) use place::Place;
use source::Source;

use crate::output::Progress;

/// A fact, or why it could not be asked.
pub(super) type Asked<T> = Result<T, String>;

/// All facts.
pub(super) struct Facts {
    pub(super) kernel: Kernel,
    /// The NICs with SR-IOV.
    pub(super) nics: Asked<Vec<Nic>>,
    /// Whether the kernel's data path shares recirculation IDs with tc; `None` when there is none.
    pub(super) shares_recirculation: Asked<Option<bool>>,
    pub(super) ovs: Ovs,
    pub(super) ovn: Ovn,
    pub(super) cni: Cni,
    pub(super) kubelet: Kubelet,
    pub(super) host: Host,
    pub(super) node: Node,
}

/// How many times [`gather`] says what it asks.
const STEPS: usize = 5;

/// What a person knows better.
pub(super) struct Told<'a> {
    /// The northbound database's address.
    pub(super) north: Option<&'a str>,
    /// The directory of the runtime's configurations.
    pub(super) configurations: &'a str,
    /// That of its plugins.
    pub(super) plugins: &'a str,
}

/// Reads them all; `progress` is told what is being asked.
pub(super) async fn gather(place: &Place, told: &Told<'_>, progress: &mut Progress) -> Facts {
    let sysfs = Sysfs::new(place.path("/sys"));
    let source = Source::of(place);
    let asked = source.as_ref().map_err(Clone::clone);
    progress.step(1, STEPS, "the kernel");
    let kernel = kernel::gather(place);
    progress.step(2, STEPS, "the NICs");
    let nics = asked.clone().and_then(|source| nic::gather(&sysfs, source));
    let shares_recirculation = asked.and_then(|source| source.shares_recirculation(&sysfs));
    progress.step(3, STEPS, "Open vSwitch");
    let ovs = ovs::gather(place, &sysfs, &source).await;
    progress.step(4, STEPS, "OVN");
    let ovn = ovn::gather(place, &ovs.database, told.north).await;
    progress.step(5, STEPS, "the plugin's records and kube-ovn-daemon");
    let node = node::gather(place, &source).await;
    Facts {
        kernel,
        nics,
        shares_recirculation,
        ovs,
        ovn,
        cni: cni::gather(place, told.configurations, told.plugins),
        kubelet: kubelet::gather(place),
        host: host::gather(place),
        node,
    }
}
