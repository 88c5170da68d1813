//! `--stay`: the first process of a container from scratch, where no shell is that could wait.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{Arguments, Failure, Report, Whose, install, whose};
use crate::Status;
use crate::output::{Output, complain};

/// A file system that reports no changes (a network's) is looked at so often.
const LOOK_MS: u16 = 60_000;
/// Two installers that don't know each other must not put a node under load.
const PAUSE: Duration = Duration::from_secs(1);

/// Until a signal says that it is enough.
pub(super) fn run(arguments: &Arguments) -> Status {
    match stay(arguments) {
        Ok(()) => Status::Fine,
        Err(Failure(status, message)) => {
            complain(&message);
            status
        }
    }
}

fn stay(arguments: &Arguments) -> Result<(), Failure> {
    // before the first look: what comes after it is reported
    let signals = signals().map_err(refused("wait for signals"))?;
    let directory = &arguments.place.bin_dir;
    let watch = watch(directory).map_err(super::failed("watch", directory))?;
    say(&install(arguments)?, arguments.output);
    let executable = arguments.place.executable();
    loop {
        let mut events = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(watch.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut events, PollTimeout::from(LOOK_MS)) {
            Err(error) if error != Errno::EINTR => return Err(refused("wait for signals")(error)),
            _ => {}
        }
        if events.first().and_then(PollFd::any) == Some(true) {
            return Ok(());
        }
        if is_gone(&watch).map_err(super::failed("watch", directory))? {
            let message = format!("{} is gone, or another one is there now", directory.display());
            return Err(Failure(Status::NoAnswer, message));
        }
        // any version of ours stays: a newer container may have put it there
        match whose(&executable) {
            Ok(Some(Whose::Ours { .. })) => {}
            Ok(_) => {
                match install(arguments) {
                    Ok(report) => say(&report, arguments.output),
                    Err(Failure(_, message)) => complain(&message),
                }
                sleep(PAUSE);
            }
            Err(error) => complain(&format!("cannot read {}: {error}", executable.display())),
        }
    }
}

/// Does one thing and, if it was done, nothing until a signal says that it is enough.
pub(super) fn after(work: impl FnOnce() -> Status) -> Result<Status, Failure> {
    let signals = signals().map_err(refused("wait for signals"))?;
    let status = work();
    if status == Status::Fine {
        signals.read_signal().map_err(refused("wait for signals"))?;
    }
    Ok(status)
}

fn refused(what: &'static str) -> impl Fn(Errno) -> Failure {
    move |error| Failure(Status::NoAnswer, format!("cannot {what}: {}", error.desc()))
}

/// The first process of a PID namespace gets only the signals that it asks for (`pid_namespaces(7)`).
fn signals() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)
}

fn watch(directory: &Path) -> io::Result<Inotify> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    // a file that is written in place is looked at when it is whole
    let changes = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MOVED_FROM;
    let changes = changes | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
    watch.add_watch(directory, changes | AddWatchFlags::IN_ONLYDIR)?;
    Ok(watch)
}

/// Takes all events, and tells whether one of them says that the directory has gone.
fn is_gone(watch: &Inotify) -> io::Result<bool> {
    let gone = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_IGNORED;
    loop {
        match watch.read_events() {
            Ok(events) if events.iter().any(|event| event.mask.intersects(gone)) => return Ok(true),
            Ok(_) => {}
            Err(Errno::EAGAIN) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// At once: this process does not end.
pub(super) fn say(report: &Report, output: Output) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{}", report.show(output)).and_then(|()| out.flush());
}
