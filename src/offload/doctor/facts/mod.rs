//! What is known of a node: read once, judged afterwards. Nothing here says what is good or bad.

mod kernel;
mod nic;
mod node;
mod ovs;
mod place;
mod source;

use kube_ovn::device::Sysfs;

pub(super) use kernel::{Kernel, MODULES, Module};
pub(super) use nic::{DRIVERS, Link, Nic, Vf};
pub(super) use node::{DAEMON, Node};
pub(super) use ovs::{Database, Ovs};
pub(super) use place::Place;
use source::Source;

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
    pub(super) node: Node,
}

/// Reads them all.
pub(super) async fn gather(place: &Place) -> Facts {
    let sysfs = Sysfs::new(place.path("/sys"));
    let source = Source::of(place);
    let asked = source.as_ref().map_err(Clone::clone);
    Facts {
        shares_recirculation: asked.clone().and_then(|source| source.shares_recirculation(&sysfs)),
        kernel: kernel::gather(place),
        nics: asked.and_then(|source| nic::gather(&sysfs, source)),
        ovs: ovs::gather(place, &sysfs, &source).await,
        node: node::gather(place).await,
    }
}
