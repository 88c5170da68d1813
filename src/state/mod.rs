//! What must outlive the process: a record for each VF that we hold, and a lock for each VF.
//!
//! The record is the undo journal: it is on disk before the host is changed, says how the host was, and goes when
//! the host is so again. All of it lies in /run: it dies with what it describes. One record for a VF means that a
//! VF has one holder; the file under `attachment/` only tells DEL, which may get no device ID, where to look.
//!
//! ```text
//! /run/kube-ovn-offload/vf/0000:03:00.2.json          the record
//! /run/kube-ovn-offload/vf/0000:03:00.2.lock          locked while a call works on this VF; never removed
//! /run/kube-ovn-offload/vf/0000:03:00.2.new           a file that is being written
//! /run/kube-ovn-offload/attachment/<container>:<ifname>   the PCI address
//! /run/kube-ovn-offload/pending/0000:03:00.2          an attachment that has ended, but is not wholly given back
//! /run/kube-ovn-offload/cancel/<container>:<ifname>   DEL has come: an ADD that is still running must not go on
//! ```
//!
//! What can't be read does not block a VF for ever: see [`Store::read`] and [`Store::set_aside`].

mod files;
mod marks;
mod record;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, access};

use crate::types::{ContainerId, IfName, PciAddress};
use files::{make_directory, names, read_file, remove_file, replace};

pub use marks::BootTime;
pub use record::{Before, Claim, FORMAT, Pod, Record, Stage};

/// Where the state is, on every host.
pub const DIRECTORY: &str = "/run/kube-ovn-offload";
/// A record is about 1 KB.
const MAX_RECORD: u64 = 64 * 1024;
/// Longest name of a file that ext4, tmpfs and overlayfs take is 255 bytes.
const MAX_KEY: usize = 250;
/// More than a directory here has: VFs of a node (a PF has at most 256, with ARI, and a node a handful of PFs), or pods that
/// ended within an hour.
const MAX_FILES: usize = 16 * 1024;
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Why the state can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("{what} {path}: {cause}", path = .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// A record that no version of this program wrote, or that was cut off.
    #[error("record {path} can't be understood: {why}", path = .path.display())]
    Unreadable {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The state directory is not ours alone.
    #[error("{path} must be a directory that belongs to root and that only root can write to, but {why}", path = .path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What it is.
        why: String,
    },
    /// Another call works on the VF.
    #[error("another call has been working on VF {device} for {} s{}; try again", .waited.as_secs(), .holder.as_deref().map(|h| format!(" ({h} holds it)")).unwrap_or_default())]
    Busy {
        /// The VF.
        device: PciAddress,
        /// How long we waited.
        waited: Duration,
        /// Who holds the VF, as far as the record tells.
        holder: Option<String>,
    },
    /// A record that we would not read back: names in the netconf or in `CNI_ARGS` can be of any length.
    #[error(
        "the record of VF {device} would have {size} bytes, expected at most {MAX_RECORD}: the network's name, its provider or the pod's names are too long"
    )]
    TooLarge {
        /// The VF.
        device: PciAddress,
        /// How large it would be.
        size: usize,
    },
    /// Container ID and interface name make no file name.
    #[error("container ID {0:.40}… is too long: with the interface name it must have at most {MAX_KEY} bytes")]
    KeyTooLong(ContainerId),
}

/// The lock of a VF; free again when this is dropped, or the process is gone.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The state directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The state in this directory, which need not be there: the first lock makes it.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes the directory, and sees that it is ours alone.
    fn make(&self) -> Result<(), Error> {
        make_directory(&self.root)?;
        self.is_ours()?;
        for name in ["vf", "attachment", "pending", "cancel"] {
            make_directory(&self.root.join(name))?;
        }
        Ok(())
    }

    /// Whether the directory can be used, or made where there is none. Changes nothing.
    pub fn can_be_made(&self) -> Result<(), Error> {
        let directory = match self.is_ours() {
            Ok(()) => self.root.as_path(),
            Err(Error::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                self.root.parent().unwrap_or(Path::new("/"))
            }
            Err(other) => return Err(other),
        };
        // root may write anywhere but on a file system that is mounted read-only
        access(directory, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| Error::Io {
            what: "make files in",
            path: directory.to_owned(),
            cause: errno.into(),
        })
    }

    /// Sees that the directory is there, and ours alone.
    fn is_ours(&self) -> Result<(), Error> {
        let metadata = fs::symlink_metadata(&self.root).map_err(|cause| Error::Io {
            what: "look at",
            path: self.root.clone(),
            cause,
        })?;
        let unsafe_because = |why: String| {
            Err(Error::Unsafe {
                path: self.root.clone(),
                why,
            })
        };
        if !metadata.is_dir() {
            return unsafe_because("it is no directory".to_owned());
        }
        if metadata.uid() != nix::unistd::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            return unsafe_because(format!(
                "user {} owns it with mode {:o}",
                metadata.uid(),
                metadata.mode() & 0o7777
            ));
        }
        Ok(())
    }

    /// Whether a VF was ever attached on this node since it booted.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.root.exists()
    }

    fn record_path(&self, device: &PciAddress) -> PathBuf {
        self.root.join("vf").join(format!("{device}.json"))
    }

    /// What any file about a VF is before it is whole. A killed call may leave it; the next one that has the VF's lock removes
    /// it, for no other has a file of this name.
    fn temporary(&self, device: &PciAddress) -> PathBuf {
        self.root.join("vf").join(format!("{device}.new"))
    }

    /// The only path that is made of what a caller sends: both parts are free of `/`, and none is `.` or `..`.
    fn path_of(&self, kind: &str, container: &ContainerId, ifname: &IfName) -> Result<PathBuf, Error> {
        let key = format!("{container}:{ifname}");
        if key.len() > MAX_KEY {
            return Err(Error::KeyTooLong(container.clone()));
        }
        Ok(self.root.join(kind).join(key))
    }

    fn attachment_path(&self, container: &ContainerId, ifname: &IfName) -> Result<PathBuf, Error> {
        self.path_of("attachment", container, ifname)
    }

    /// Waits for the lock of a VF until `deadline`.
    pub async fn lock(&self, device: &PciAddress, deadline: Instant) -> Result<Lock, Error> {
        self.make()?;
        let path = self.root.join("vf").join(format!("{device}.lock"));
        let io = |what, cause| Error::Io {
            what,
            path: path.clone(),
            cause,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|cause| io("open", cause))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => {
                    remove_file(&self.temporary(device))?;
                    return Ok(Lock { _file: file });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => tokio::time::sleep(LOCK_POLL).await,
                Err(TryLockError::WouldBlock) => {
                    let holder = self.read(device).ok().flatten().map(|record| record.holder());
                    return Err(Error::Busy {
                        device: device.clone(),
                        waited: start.elapsed(),
                        holder,
                    });
                }
                Err(TryLockError::Error(cause)) => return Err(io("lock", cause)),
            }
        }
    }

    /// The lock of a VF, if nobody has it.
    pub async fn try_lock(&self, device: &PciAddress) -> Result<Option<Lock>, Error> {
        match self.lock(device, Instant::now()).await {
            Ok(lock) => Ok(Some(lock)),
            Err(Error::Busy { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The VFs that have a record.
    pub fn devices(&self) -> Result<Vec<PciAddress>, Error> {
        let names = names(&self.root.join("vf"), MAX_FILES)?;
        let mut devices: Vec<PciAddress> = names
            .iter()
            .filter_map(|name| name.strip_suffix(".json")?.parse().ok())
            .collect();
        devices.sort();
        Ok(devices)
    }

    /// Whether another sandbox of the same pod holds a VF: the pod was given a new sandbox before the old one had gone.
    /// What can't be read is no such sandbox.
    pub fn has_newer_sandbox(&self, record: &Record) -> Result<bool, Error> {
        let pod = &record.claim.pod;
        Ok(self.devices()?.iter().any(|device| match self.read(device) {
            Ok(Some(other)) => {
                let same_pod = (&other.claim.pod.namespace, &other.claim.pod.name) == (&pod.namespace, &pod.name);
                same_pod && !other.ending && other.claim.container != record.claim.container
            }
            _ => false,
        }))
    }

    /// The record of a VF. Records of older versions are read, and those of newer ones as far as they have what ours have:
    /// an upgrade or a downgrade with pods running loses nothing.
    pub fn read(&self, device: &PciAddress) -> Result<Option<Record>, Error> {
        let path = self.record_path(device);
        let Some(bytes) = read_file(&path)? else {
            return Ok(None);
        };
        let unreadable = |why: String| Error::Unreadable {
            path: path.clone(),
            why,
        };
        let record: Record = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
        if record.format == 0 {
            return Err(unreadable("its format is 0".to_owned()));
        }
        if record.claim.device != *device {
            return Err(unreadable(format!("it is about {}", record.claim.device)));
        }
        Ok(Some(record))
    }

    /// The attachments that [`Store::find`] says something about.
    pub fn attachments(&self) -> Result<Vec<(ContainerId, IfName)>, Error> {
        let names = names(&self.root.join("attachment"), MAX_FILES)?;
        let parse = |name: &String| {
            let (container, ifname) = name.split_once(':')?;
            Some((container.parse().ok()?, ifname.parse().ok()?))
        };
        Ok(names.iter().filter_map(parse).collect())
    }

    /// Which VF an attachment holds, as far as is known; ask again under that VF's lock.
    pub fn find(&self, container: &ContainerId, ifname: &IfName) -> Result<Option<PciAddress>, Error> {
        let Ok(path) = self.attachment_path(container, ifname) else {
            return Ok(None); // ADD refuses such a key, so there is nothing to find
        };
        let Some(bytes) = read_file(&path)? else {
            return Ok(None);
        };
        match String::from_utf8_lossy(&bytes).trim().parse::<PciAddress>() {
            Ok(device) => Ok(Some(device)),
            Err(why) => {
                // a DEL that fails because of it would fail for ever; the record, if there is one, is found by its VF
                log::warn!("{} says {why}: ignored", path.display());
                Ok(None)
            }
        }
    }

    /// Moves a record that can't be read out of the way, for a person to look at. To be called with the VF's lock held,
    /// by whoever has made sure in another way that nobody holds the VF.
    pub fn set_aside(&self, device: &PciAddress) -> Result<(), Error> {
        let path = self.record_path(device);
        let aside = path.with_extension("unreadable");
        log::warn!("{} can't be understood: kept as {}", path.display(), aside.display());
        fs::rename(&path, &aside).map_err(|cause| Error::Io {
            what: "rename",
            path,
            cause,
        })
    }

    /// Writes a record. To be called with the VF's lock held.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        let path = self.record_path(&record.claim.device);
        let json = serde_json::to_vec_pretty(record).map_err(|e| Error::Unreadable {
            path: path.clone(),
            why: e.to_string(),
        })?;
        // refused when it is first written, or at the latest when it gets the time at which the daemon is asked
        if json.len() as u64 > MAX_RECORD {
            return Err(Error::TooLarge {
                device: record.claim.device.clone(),
                size: json.len(),
            });
        }
        // the way to the record comes first: a record that DEL does not find would block the VF
        let attachment = self.attachment_path(&record.claim.container, &record.claim.ifname)?;
        if !attachment.exists() {
            let device = record.claim.device.as_str().as_bytes();
            replace(&attachment, &self.temporary(&record.claim.device), device)?;
        }
        replace(&path, &self.temporary(&record.claim.device), &json)
    }

    /// Drops what [`Store::find`] says about an attachment that has no record.
    pub fn forget(&self, container: &ContainerId, ifname: &IfName) -> Result<(), Error> {
        remove_file(&self.attachment_path(container, ifname)?)
    }

    /// Drops a record. To be called with the VF's lock held.
    pub fn remove(&self, record: &Record) -> Result<(), Error> {
        // The record goes after the way to it: a call that is killed in between leaves what GC and the next ADD on the VF find.
        // The mark goes last, for whoever finds it alone drops it.
        self.forget(&record.claim.container, &record.claim.ifname)?;
        remove_file(&self.record_path(&record.claim.device))?;
        self.no_longer_pending(&record.claim.device)
    }
}

#[cfg(test)]
pub(crate) mod tests;
