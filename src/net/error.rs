use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// What went wrong between us and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused; `hint` is its extended ACK ("mtu greater than device maximum").
    #[error("{what}: {}{}", .errno.desc(), .hint.as_deref().map(|h| format!(" ({h})")).unwrap_or_default())]
    Kernel {
        /// What was asked, and of what.
        what: String,
        /// The kernel's answer.
        errno: Errno,
        /// The kernel's words.
        hint: Option<String>,
    },
    /// No usable answer.
    #[error("{what}: {why}")]
    NoAnswer {
        /// What was asked, and of what.
        what: String,
        /// Why there is none.
        why: String,
    },
    /// No answer yet: the request may still be carried out.
    #[error(
        "{what}: the kernel has not answered for {seconds} s; others keep its lock on network devices, or it is stuck"
    )]
    Late {
        /// What was asked, and of what.
        what: String,
        /// For how long it was waited.
        seconds: u64,
    },
    /// A path that should be a network namespace and is not.
    #[error("{path} is not a network namespace: {why}", path = .path.display())]
    NotANetns {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// A path that should be a network namespace and is not there.
    #[error("network namespace {path} does not exist", path = .path.display())]
    NoNetns {
        /// The path.
        path: PathBuf,
    },
    /// A file or socket call failed.
    #[error("{what}: {cause}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's answer.
        cause: io::Error,
    },
}

impl Error {
    /// The link that we held by its index has gone.
    #[must_use]
    pub fn gone(index: u32) -> Self {
        Self::Kernel {
            what: format!("link with index {index}"),
            errno: Errno::ENODEV,
            hint: None,
        }
    }

    /// The kernel's error number, if the kernel said no.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Kernel { errno, .. } => Some(*errno),
            Self::Io { cause, .. } => cause.raw_os_error().map(Errno::from_raw),
            _ => None,
        }
    }

    /// The device or namespace is no longer there.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.errno(), Some(Errno::ENODEV | Errno::ENXIO))
    }

    /// The driver will give the same answer however often it is asked.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.errno(),
            Some(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::EADDRNOTAVAIL | Errno::EPERM | Errno::ERANGE)
        )
    }
}
