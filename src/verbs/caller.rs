use std::io;
use std::time::Duration;

use super::failed;
use crate::cni::{Call, Code, Failure};
use crate::state::{BootTime, Store};

/// How often to look while the daemon works.
const POLL: Duration = Duration::from_millis(100);

/// Who called: takes the result of ADD, and may be gone before there is one.
///
/// libcni kills its child when the runtime gives up, but Multus stands between the two and does not pass that on: an ADD
/// may go on when its DEL has come already, and nobody is left to whom its result means anything.
pub struct Caller<'a> {
    /// When the process was started.
    pub since: BootTime,
    /// Whether somebody can still read the answer.
    pub listens: &'a dyn Fn() -> bool,
    /// Gives the answer.
    pub answer: &'a dyn Fn(&[u8]) -> io::Result<()>,
}

impl Caller<'_> {
    /// An error when nobody wants this attachment any more.
    pub(super) fn wants(&self, store: &Store, call: &Call) -> Result<(), Failure> {
        let cancelled = store
            .is_cancelled(&call.container, &call.ifname, self.since)
            .map_err(failed)?;
        if cancelled {
            let msg = format!(
                "ADD of {} in sandbox {} was given up: a DEL for it has come meanwhile",
                call.ifname, call.container
            );
            return Err(Failure::new(Code::TryAgainLater, msg, ""));
        }
        if !(self.listens)() {
            let msg = format!(
                "ADD of {} in sandbox {} was given up: its caller has closed the pipe for the result",
                call.ifname, call.container
            );
            return Err(Failure::new(Code::TryAgainLater, msg, ""));
        }
        Ok(())
    }

    /// Waits until nobody wants this attachment any more; for ever, if all is well.
    pub(super) async fn lost(&self, store: &Store, call: &Call) -> Failure {
        loop {
            tokio::time::sleep(POLL).await;
            if let Err(why) = self.wants(store, call) {
                return why;
            }
        }
    }

    /// Gives the result. When that fails, nobody knows of the attachment.
    pub(super) fn take(&self, result: &[u8]) -> Result<(), Failure> {
        (self.answer)(result).map_err(|cause| {
            let msg = format!("the result of ADD can't be given to the caller: {cause}");
            Failure::new(Code::Io, msg, "everything was undone")
        })
    }
}
