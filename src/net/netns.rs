//! Network namespaces: which one a path means, and doing something inside one.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::ThreadId;

use super::Error;
use crate::types::NetnsId;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, fstatfs};

/// `NSFS_MAGIC` of linux/magic.h: the file system of namespace files.
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);

/// The namespace of the thread that looks.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace; it can't vanish while this is held.
#[derive(Debug)]
pub struct Netns {
    file: File,
    id: NetnsId,
    path: PathBuf,
    /// The thread that was in it when it was opened, and is whenever it does not visit another.
    home: Option<ThreadId>,
}

impl Netns {
    /// Opens the namespace that `path` means.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let not = |why: String| Error::NotANetns {
            path: path.to_owned(),
            why,
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::NoNetns { path: path.to_owned() }),
            Err(cause) if is_ours(&cause) => {
                return Err(Error::Io {
                    what: format!("open network namespace {}", path.display()),
                    cause,
                });
            }
            Err(e) => return Err(not(e.to_string())),
        };
        let metadata = file.metadata().map_err(|e| not(e.to_string()))?;
        let kind = fstatfs(&file).map_err(|e| not(e.desc().to_owned()))?.filesystem_type();
        if kind != NSFS_MAGIC {
            let hint = if metadata.is_file() && metadata.len() == 0 {
                "an empty file; if it is one on the host, its mount did not propagate into our mount namespace"
            } else {
                "no namespace file"
            };
            return Err(not(hint.to_owned()));
        }
        let id = NetnsId {
            device: metadata.dev(),
            inode: metadata.ino(),
        };
        Ok(Self {
            file,
            id,
            path: path.to_owned(),
            home: None,
        })
    }

    /// The namespace that this thread is in.
    pub fn own() -> Result<Self, Error> {
        let own = Self::open(Path::new(OWN))?;
        Ok(Self {
            home: Some(std::thread::current().id()),
            ..own
        })
    }

    /// The path that it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// Runs `work` in this namespace. Sockets made there stay in the namespace; /proc/sys/net follows the thread.
    ///
    /// # Panics
    ///
    /// When this thread can't come back, for then it must not do anything more.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T, Error> {
        if self.home == Some(std::thread::current().id()) {
            return Ok(work());
        }
        let home = File::open(OWN).map_err(|cause| Error::Io {
            what: format!("open {OWN}"),
            cause,
        })?;
        self.enter()?;
        let done = work();
        #[expect(
            clippy::panic,
            reason = "every error can be passed over, and this thread is in a pod's namespace"
        )]
        if let Err(errno) = setns(&home, CloneFlags::CLONE_NEWNET) {
            panic!(
                "the thread can't leave network namespace {}: {errno}",
                self.path.display()
            );
        }
        Ok(done)
    }

    /// Moves this thread.
    fn enter(&self) -> Result<(), Error> {
        // EINVAL: a namespace of another kind (setns(2))
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::NotANetns {
            path: self.path.clone(),
            why: errno.desc().to_owned(),
        })
    }

    /// Runs `work` with the root of a sysfs that shows the network devices of this namespace: those that it shows are of the
    /// namespace in which it was mounted (`sysfs_init_fs_context`, fs/sysfs/mount.c). It is mounted over /sys in a mount
    /// namespace of the thread's own, and goes with that.
    pub fn with_sysfs<T: Send>(&self, work: impl FnOnce(&Path) -> T + Send) -> Result<T, Error> {
        let inside = || {
            self.enter()?;
            mount_sysfs().map_err(|errno| Error::Kernel {
                what: format!("mount the sysfs of network namespace {}", self.path.display()),
                errno,
                hint: None,
            })?;
            Ok(work(Path::new("/sys")))
        };
        let looked = std::thread::scope(|scope| scope.spawn(inside).join());
        looked.unwrap_or_else(|_| {
            Err(Error::NoAnswer {
                what: format!("look at the sysfs of network namespace {}", self.path.display()),
                why: "its thread died".to_owned(),
            })
        })
    }
}

/// Writes `net.<key>` of the calling thread's namespace for each pair of key and value. Left out in silence: a key that the
/// kernel does not have (no IPv6), and one that we may not write (/proc/sys is read-only in some containers).
pub fn set_sysctls(settings: &[(&str, &str)]) -> Result<(), Error> {
    for (key, value) in settings {
        let path = format!("/proc/sys/net/{key}");
        match fs::write(&path, value) {
            Err(e) if !may_be_absent(&e) => {
                return Err(Error::Io {
                    what: format!("write {value} to {path}"),
                    cause: e,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn mount_sysfs() -> nix::Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // or the mount would be seen where it is not wanted; what /sys lies on, if it is no mount itself
    mount(none, "/sys", none, MsFlags::MS_PRIVATE, none)
        .or_else(|_| mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none))?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(Some("sysfs"), "/sys", Some("sysfs"), flags, none) {
        Err(Errno::EBUSY) => Ok(()), // it is this namespace's already (do_add_mount, fs/namespace.c)
        other => other,
    }
}

/// Errors that say something about this process or the machine, and nothing about the path.
fn is_ours(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EINTR)
    )
}

fn may_be_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::ENOENT | Errno::EPERM | Errno::EACCES | Errno::EROFS)
    )
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own() {
        let own = Netns::own().unwrap();
        assert_eq!(Netns::open(Path::new("/proc/self/ns/net")).unwrap().id(), own.id());
        assert_eq!(own.id().to_string(), format!("net:[{}]", own.id().inode));
    }

    /// A kernel without IPv6, or a /proc/sys that is read-only: for the daemon to find out.
    #[test]
    fn sysctls_that_are_not_there() {
        set_sysctls(&[("no/such/sysctl", "0")]).unwrap();
        assert!(
            [Errno::ENOENT, Errno::EPERM, Errno::EROFS]
                .map(io::Error::from)
                .iter()
                .all(may_be_absent)
        );
        assert!(!may_be_absent(&io::Error::from(Errno::EIO)));
    }

    #[test]
    fn what_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        let message = Netns::open(&empty).unwrap_err().to_string();
        assert!(
            message.contains("is not a network namespace: an empty file"),
            "{message}"
        );
        let message = Netns::open(&dir.path().join("none")).unwrap_err().to_string();
        assert!(message.ends_with("/none does not exist"), "{message}");
        assert!(matches!(Netns::open(dir.path()), Err(Error::NotANetns { .. })));
        let mount = Netns::open(Path::new("/proc/self/ns/mnt")).unwrap();
        assert!(matches!(mount.run(|| ()), Err(Error::NotANetns { .. })));
    }
}
