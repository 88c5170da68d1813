//! What each verb does, in order.

mod add;
mod del;
#[cfg(test)]
mod fake;
mod outcome;
mod request;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::attach::{self, Kind, Patience, World};
use crate::cni::{Code, Failure};
use crate::device::Sysfs;
use crate::net::{self, Netlink};
use crate::state::{self, Store};

pub use add::add;
pub use del::del;

/// When a call must have come to what.
///
/// The runtime gives a pod sandbox 4 minutes (twice kubelet's runtimeRequestTimeout of 2 minutes) and then kills us;
/// before that, everything must be undone. The daemon's ADD takes 4 to 8 s as a rule and up to 5 minutes if OVN, the
/// addresses and the gateway all come late; nothing is gained by waiting longer than the runtime does.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Another call works on the same VF: its DEL may still be under way.
    fn add_lock(self) -> Instant {
        self.start + Duration::from_secs(10)
    }

    /// An ADD on the same VF may still be under way. Runtimes retry DEL.
    fn del_lock(self) -> Instant {
        self.start + Duration::from_secs(30)
    }

    /// The daemon's reply to ADD.
    fn add_reply(self) -> Instant {
        self.start + Duration::from_secs(215)
    }

    /// The daemon's reply to DEL.
    fn del_reply(self) -> Instant {
        self.start + Duration::from_secs(60)
    }

    /// The end of the call, come what may: beyond it a thread hangs in the kernel (a driver that holds RTNL).
    #[must_use]
    pub fn end(self) -> Instant {
        self.start + Duration::from_secs(235)
    }
}

/// The machine that we run on.
fn this_host() -> Result<World<Netlink>, attach::Error> {
    Ok(World {
        host: Netlink::own()?,
        sysfs: Sysfs::of_this_machine(),
        store: Store::at(Path::new(state::DIRECTORY)),
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
