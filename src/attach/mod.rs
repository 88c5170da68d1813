//! Taking a VF to a pod and giving it back: the steps, their order, and what is written down before each.
//!
//! ```text
//! hold      lock the VF, end a dead holder, resolve
//!           … the verb asks whether the node wants it …
//! take      snapshot, write the record   (nothing is changed yet)
//! prepare   pod's IPv6 sysctls, stale port of the representor, the attempt's name
//!           … the verb asks the daemon …
//! plumb     only when the daemon left the VF to us: one move, then MAC, MTU, addresses, routes
//!           a VF on a vfio driver has no netdev: nothing moves, its MAC is the one that the PF administers
//! verify    look at the kernel: is it as the daemon said?
//! undo      from any of these points, and from a finished attachment: everything back, then drop the record
//! ```
//!
//! A failed ADD, DEL and the repair of what a killed call left are one function, [`undo()`]. It goes by what it
//! finds, not by what should have been done, so it can be repeated and can start from any point.

mod adopt;
mod error;
mod locate;
mod machine;
mod plumb;
mod port;
mod prepare;
mod restore;
mod take;
mod undo;
mod verify;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::device::Sysfs;
use crate::net::{self, Stack};
use crate::ovs::Ovs;
use crate::resolve::{self, Resolved, Uplink};
use crate::state::{self, Record, Store};
use crate::types::PciAddress;

pub use adopt::adopt;
pub use error::{Error, Kind};
pub use locate::vf_of_interface;
pub use machine::{administer_mac, administered_mac};
pub use plumb::plumb;
pub use port::{NO_NETNS, expected_port};
pub use prepare::{prepare, prepare_netns};
pub use take::{Held, Taken, hold, refuse_taken_port_name, take};
pub use undo::undo;
pub use verify::{Expectation, Inspection, inspect, interface, representor_of, verify};

/// The host that we work on.
pub struct World<S> {
    /// The stack of the host's network namespace.
    pub host: S,
    /// The host's sysfs, which must show that same namespace.
    pub sysfs: Sysfs,
    /// Records and locks.
    pub store: Store,
    /// Open vSwitch, for what the daemon can't be asked.
    pub ovs: Ovs,
    /// How long things that happen by themselves may take.
    pub patience: Patience,
    /// When the call must have ended.
    pub end: Instant,
}

/// What is kept of the time for the steps after the daemon's: the port by way of OVSDB, and the rest of the way back.
pub const RESERVE: Duration = Duration::from_secs(5);

impl<S> World<S> {
    /// The end of something that may take so long, as far as there is time for it.
    fn until(&self, patience: Duration) -> Instant {
        let last = self.end.checked_sub(RESERVE).unwrap_or(self.end);
        last.min(Instant::now() + patience)
    }
}

impl<S: Stack> World<S> {
    /// The VF and its representor as they are now.
    pub(crate) fn resolve(&self, device: &PciAddress) -> Result<Resolved, resolve::Error> {
        resolve::resolve(&self.sysfs, &self.host, &device.clone().into())
    }

    /// The netdev of a PF.
    pub(crate) fn uplink(&self, pf: &PciAddress) -> Result<Uplink, resolve::Error> {
        resolve::uplink(&self.sysfs, &self.host, pf)
    }
}

impl<S> World<S> {
    /// How long the daemon may still begin with the request of a record; `None` when it can't any more.
    #[must_use]
    pub fn may_be_at_work(&self, record: &Record) -> Option<Duration> {
        let left = self.patience.late_daemon.checked_sub(record.asked?.elapsed())?;
        Some(left).filter(|left| !left.is_zero())
    }
}

/// How long to wait for what others do.
#[derive(Debug, Clone)]
pub struct Patience {
    /// The kernel brings a VF home when its pod's namespace dies, some time after the last process has gone.
    pub vf_return: Duration,
    /// ovs-vswitchd takes a port off the datapath after it has gone from OVSDB.
    pub port_gone: Duration,
    /// OVSDB answers from memory.
    pub ovsdb: Duration,
    /// The daemon's DEL: a handful of ovs-vsctl calls, each of which may queue.
    pub daemon_del: Duration,
    /// How long after a request that it never answered the daemon may still begin with it: it waits up to 20 s each for the
    /// pod's annotations and for its IP (handler.go:209-333,583-624 at 1533681d7), and only then looks at the VF.
    pub late_daemon: Duration,
    /// IPv6 duplicate address detection: one probe, a second, by default.
    pub dad: Duration,
    /// A VF gets its carrier a moment after its representor was set up.
    pub carrier: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            vf_return: Duration::from_secs(10),
            port_gone: Duration::from_secs(5),
            ovsdb: Duration::from_secs(2),
            daemon_del: Duration::from_secs(30),
            late_daemon: Duration::from_secs(45),
            dad: Duration::from_secs(5),
            carrier: Duration::from_secs(1),
        }
    }
}

/// Whether the record's attachment can still be alive: nobody has ended it, and the namespace that it was made for is
/// still there. When that
/// can't be found out, it is not dead: a VF must not be taken from a pod because we ran out of file descriptors.
pub fn is_live<S: Stack>(world: &World<S>, record: &Record) -> Result<bool, Error> {
    if record.ending {
        return Ok(false);
    }
    match world.host.open(&record.claim.netns) {
        Ok(pod) => Ok(pod.id() == record.netns_id),
        Err(net::Error::NoNetns { .. } | net::Error::NotANetns { .. }) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

/// The record of a VF, to be asked for under its lock. One that can't be understood is put aside: it says nothing of use to
/// anybody, and must neither keep a pod from ending nor the VF from use. Whether the VF is free is then seen by where it is.
pub fn readable<S: Stack>(world: &World<S>, device: &PciAddress) -> Result<Option<Record>, Error> {
    match world.store.read(device) {
        Err(state::Error::Unreadable { .. }) => {
            world.store.set_aside(device)?;
            Ok(None)
        }
        other => Ok(other?),
    }
}

/// The namespace of a record, if it is still at the record's path or at `hint`, the path that DEL was given.
pub fn pods_of<S: Stack>(world: &World<S>, record: &Record, hint: Option<&Path>) -> Vec<S> {
    let paths = [Some(record.claim.netns.as_path()), hint];
    let open = paths
        .into_iter()
        .flatten()
        .filter_map(|path| world.host.open(path).ok());
    open.filter(|pod| pod.id() == record.netns_id).collect()
}
