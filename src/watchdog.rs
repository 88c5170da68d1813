//! Sees that a call ends in time, even when its one thread hangs in the kernel: a netlink request works inside sendto(2), where no
//! timeout reaches it, so a driver that holds RTNL holds us.
//!
//! A call that waits for kube-ovn-daemon does so where a timer wakes it, for minutes at times, and hundreds of calls may do so at
//! once. A second thread costs each some 30 KiB, most of it the kernel's; so the watchdog [rests](rest) meanwhile.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// Enough for an answer; a thread with a greater stack has page tables of its own.
const STACK: usize = 128 * 1024;

/// The program's.
static WATCHDOG: Mutex<Option<Watchdog>> = Mutex::new(None);

struct Watchdog {
    end: Instant,
    late: Arc<dyn Fn() + Send + Sync>,
    /// Ends when the sender goes.
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Watchdog {
    fn watch(&mut self) -> io::Result<()> {
        let (awake, is_over) = mpsc::channel();
        let (end, late) = (self.end, Arc::clone(&self.late));
        let watch = move || {
            let left = end.saturating_duration_since(Instant::now());
            if is_over.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                late();
            }
        };
        let thread = Builder::new()
            .name("watchdog".to_owned())
            .stack_size(STACK)
            .spawn(watch)?;
        self.thread = Some((awake, thread));
        Ok(())
    }
}

/// Calls `late` at `end`, on a thread of its own, unless the program has ended before; `late` is to end it.
pub fn start(end: Instant, late: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
    let mut watchdog = Watchdog {
        end,
        late: Arc::new(late),
        thread: None,
    };
    let started = watchdog.watch();
    *WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(watchdog);
    started
}

/// Lets the watchdog rest until what this gives is dropped. Only for what a timer ends.
#[must_use]
pub fn rest() -> Rest {
    let thread = WATCHDOG
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_mut()
        .and_then(|watchdog| watchdog.thread.take());
    let rested = thread.is_some();
    if let Some((awake, thread)) = thread {
        drop(awake);
        // if it has just found the end to be over, the program ends here
        let _ = thread.join();
    }
    Rest { rested }
}

/// While this lives, the watchdog rests.
pub struct Rest {
    /// It was not resting before.
    rested: bool,
}

impl Drop for Rest {
    fn drop(&mut self) {
        if let Some(watchdog) = WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            && self.rested
            && let Err(error) = watchdog.watch()
        {
            log::warn!("no watchdog any more: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn rests_and_watches_again() {
        static LATE: AtomicU32 = AtomicU32::new(0);
        drop(rest()); // there is none
        let end = Instant::now() + Duration::from_millis(200);
        start(end, || {
            LATE.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        let outer = rest();
        drop(rest());
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(LATE.load(Ordering::SeqCst), 0, "it rests");
        drop(outer);
        let patience = Instant::now() + Duration::from_secs(60);
        while LATE.load(Ordering::SeqCst) == 0 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(LATE.load(Ordering::SeqCst), 1);
    }
}
