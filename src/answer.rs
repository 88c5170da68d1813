//! The one answer of a call, on stdout.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{major, minor};

static GIVEN: AtomicBool = AtomicBool::new(false);

/// Writes the answer. The first one counts: the watchdog's and the verb's may come at the same moment.
pub(crate) fn give(bytes: &[u8]) -> io::Result<()> {
    if GIVEN.swap(true, Ordering::SeqCst) {
        return Err(io::Error::other("another answer was given already"));
    }
    if is_closed() {
        return Err(io::Error::other("stdout is closed"));
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Whether somebody may still read it: a pipe without a reader polls as an error (poll(2)).
pub(crate) fn is_awaited() -> bool {
    if is_closed() {
        return false;
    }
    let stdout = io::stdout();
    let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    if poll(&mut fds, PollTimeout::ZERO).is_err() {
        return true; // it can't be found out
    }
    let gone = PollFlags::POLLERR | PollFlags::POLLNVAL;
    !fds.iter()
        .filter_map(PollFd::revents)
        .any(|events| events.intersects(gone))
}

/// A process that is started without a stdout gets /dev/null from Rust's runtime, open for reading and writing
/// (`sanitize_standard_fds` in std's sys/pal/unix); whoever throws the answer away on purpose opens it for writing only.
fn is_closed() -> bool {
    // once: nothing here gives the process another stdout
    static CLOSED: OnceLock<bool> = OnceLock::new();
    *CLOSED.get_or_init(is_null_of_the_runtimes)
}

fn is_null_of_the_runtimes() -> bool {
    let stdout = io::stdout();
    let Ok(metadata) = stdout
        .as_fd()
        .try_clone_to_owned()
        .map(std::fs::File::from)
        .and_then(|file| file.metadata())
    else {
        return false;
    };
    let is_null = (major(metadata.rdev()), minor(metadata.rdev())) == (1, 3);
    is_null
        && fcntl(stdout.as_fd(), FcntlArg::F_GETFL)
            .is_ok_and(|flags| OFlag::from_bits_retain(flags).contains(OFlag::O_RDWR))
}
