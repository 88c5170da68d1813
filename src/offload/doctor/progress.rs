//! What is being asked, on stderr: at once on a terminal, and elsewhere when it takes longer than a second.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const SILENCE: Duration = Duration::from_secs(1);

pub(super) struct Progress {
    begun: Instant,
    is_terminal: bool,
}

impl Progress {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            is_terminal: io::stderr().is_terminal(),
        }
    }

    pub(super) fn show(&mut self, what: &str) {
        if self.is_terminal {
            let _ = write!(io::stderr(), "\r\u{1b}[Kasking {what} …");
        } else if self.begun.elapsed() > SILENCE {
            let _ = writeln!(io::stderr(), "kube-ovn-offload: asking {what} …");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
