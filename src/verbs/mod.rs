//! What each verb does, in order.

mod add;
mod caller;
mod check;
mod del;
#[cfg(test)]
mod fake;
mod gc;
mod outcome;
mod pending;
mod policy;
mod request;
mod status;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::attach::{self, Kind, Patience, World};
use crate::cni::{Code, Failure};
use crate::device::Sysfs;
use crate::net::{self, Netlink};
use crate::node::Deadlines;
use crate::ovs::{self, Ovs};
use crate::state::{self, Store};

pub use add::add;
pub use caller::Caller;
pub use check::{check, check_record};
pub use del::del;
pub use gc::{Fate, Swept, gc, sweep};
pub use status::status;

/// How long an ADD waits for another call on its VF.
const ADD_LOCK: Duration = Duration::from_secs(10);

/// When a call must have come to what.
///
/// The runtime gives a pod sandbox 4 minutes (twice kubelet's runtimeRequestTimeout of 2 minutes) and then kills us;
/// before that, everything must be undone. The daemon's ADD takes 4 to 8 s as a rule and up to 5 minutes if OVN, the
/// addresses and the gateway all come late; nothing is gained by waiting longer than the runtime does.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// The whole call.
    total: Duration,
    /// Until the daemon's reply. What is left then is for the way back.
    reply: Duration,
    /// How long to wait for another call that works on the same VF.
    lock: Duration,
}

impl Clock {
    /// ADD starts now. A DEL on the same VF may still be under way; the pod before this one may be on its way out.
    #[must_use]
    pub fn of_add(deadlines: &Deadlines) -> Self {
        Self {
            start: Instant::now(),
            total: deadlines.add,
            reply: deadlines.add.saturating_sub(deadlines.undo),
            lock: ADD_LOCK.min(deadlines.add),
        }
    }

    /// DEL, or any other verb, starts now. An ADD on the same VF may still be under way: it sees that DEL has come, and gives
    /// back what it took. Runtimes retry DEL.
    #[must_use]
    pub fn of_del(deadlines: &Deadlines) -> Self {
        Self {
            start: Instant::now(),
            total: deadlines.del,
            reply: deadlines.del.saturating_sub(attach::RESERVE),
            lock: deadlines.del_lock,
        }
    }

    /// The lock of the VF.
    fn lock(self) -> Instant {
        self.start + self.lock
    }

    /// The daemon's reply.
    fn reply(self) -> Instant {
        self.start + self.reply
    }

    /// The end of the call, come what may: beyond it a thread hangs in the kernel (a driver that holds RTNL).
    #[must_use]
    pub fn end(self) -> Instant {
        self.start + self.total
    }
}

/// The machine that we run on.
fn this_host(clock: Clock) -> Result<World<Netlink>, attach::Error> {
    Ok(World {
        end: clock.end(),
        host: Netlink::own()?,
        sysfs: Sysfs::of_this_machine(),
        store: Store::at(Path::new(state::DIRECTORY)),
        ovs: Ovs::at(Path::new(ovs::DIRECTORY)),
        patience: Patience::default(),
    })
}

/// The CNI error of a failed attachment.
fn failure(error: &attach::Error) -> Failure {
    let code = match error.kind() {
        Kind::Environment => Code::InvalidEnvironment,
        Kind::OwnNetns => Code::OwnNetns,
        Kind::Config => Code::InvalidConfig,
        Kind::NodeNotReady => Code::NodeNotReady,
        Kind::Held => Code::DeviceHeld,
        Kind::NotAsSaid => Code::NotAsSaid,
        Kind::TryAgain => Code::TryAgainLater,
        Kind::Io => Code::Io,
        Kind::Internal => Code::Internal,
    };
    // the specification wants the variable's name in the text
    let msg = match error {
        attach::Error::Net(net::Error::NoNetns { .. } | net::Error::NotANetns { .. }) => format!("CNI_NETNS: {error}"),
        _ => error.to_string(),
    };
    Failure::new(code, msg, "")
}

/// The same for errors that come from below [`attach`].
fn failed<E: Into<attach::Error>>(error: E) -> Failure {
    failure(&error.into())
}
