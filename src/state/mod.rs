//! What must outlive the process: a record for each VF that we hold, and a lock for each VF.
//!
//! The record is the undo journal: it is on disk before the host is changed, says how the host was, and goes when
//! the host is so again. All of it lies in /run: it dies with what it describes. One record for a VF means that a
//! VF has one holder; the file under `attachment/` only tells DEL, which may get no device ID, where to look.
//!
//! ```text
//! /run/kube-ovn-offload/vf/0000:03:00.2.json          the record
//! /run/kube-ovn-offload/vf/0000:03:00.2.lock          locked while a call works on this VF; never removed
//! /run/kube-ovn-offload/attachment/<container>:<ifname>   the PCI address
//! ```

mod record;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::types::{ContainerId, IfName, PciAddress};

pub use record::{Before, Claim, FORMAT, Pod, Record, Stage};

/// Where the state is, on every host.
pub const DIRECTORY: &str = "/run/kube-ovn-offload";
/// A record is about 1 KB.
const MAX_RECORD: u64 = 64 * 1024;
/// Longest name of a file that ext4, tmpfs and overlayfs take is 255 bytes.
const MAX_KEY: usize = 250;
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
    /// A record that this program did not write, or a later version did.
    #[error("record {path} can't be understood ({why}): it was written by another version; finish its attachment with that version or remove the file when the VF is in no pod",
        path = .path.display())]
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
        make_directory(&self.root.join("vf"))?;
        make_directory(&self.root.join("attachment"))
    }

    fn record_path(&self, device: &PciAddress) -> PathBuf {
        self.root.join("vf").join(format!("{device}.json"))
    }

    /// The only path that is made of what a caller sends: both parts are free of `/`, and none is `.` or `..`.
    fn attachment_path(&self, container: &ContainerId, ifname: &IfName) -> Result<PathBuf, Error> {
        let key = format!("{container}:{ifname}");
        if key.len() > MAX_KEY {
            return Err(Error::KeyTooLong(container.clone()));
        }
        Ok(self.root.join("attachment").join(key))
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
                Ok(()) => return Ok(Lock { _file: file }),
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

    /// The record of a VF.
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
        if record.format != FORMAT {
            return Err(unreadable(format!("format {}, not {FORMAT}", record.format)));
        }
        if record.claim.device != *device {
            return Err(unreadable(format!("it is about {}", record.claim.device)));
        }
        Ok(Some(record))
    }

    /// Which VF an attachment holds, as far as is known; ask again under that VF's lock.
    pub fn find(&self, container: &ContainerId, ifname: &IfName) -> Result<Option<PciAddress>, Error> {
        let Ok(path) = self.attachment_path(container, ifname) else {
            return Ok(None); // ADD refuses such a key, so there is nothing to find
        };
        let Some(bytes) = read_file(&path)? else {
            return Ok(None);
        };
        match String::from_utf8_lossy(&bytes).trim().parse() {
            Ok(device) => Ok(Some(device)),
            Err(why) => Err(Error::Unreadable {
                path,
                why: crate::types::Invalid::to_string(&why),
            }),
        }
    }

    /// Writes a record. To be called with the VF's lock held.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        let path = self.record_path(&record.claim.device);
        let json = serde_json::to_vec_pretty(record).map_err(|e| Error::Unreadable {
            path: path.clone(),
            why: e.to_string(),
        })?;
        // refused when it is first written, if ever: no later stage has a longer name
        if json.len() as u64 > MAX_RECORD {
            return Err(Error::TooLarge {
                device: record.claim.device.clone(),
                size: json.len(),
            });
        }
        // the way to the record comes first: a record that DEL does not find would block the VF
        let attachment = self.attachment_path(&record.claim.container, &record.claim.ifname)?;
        if !attachment.exists() {
            replace(&attachment, record.claim.device.as_str().as_bytes())?;
        }
        replace(&path, &json)
    }

    /// Drops what [`Store::find`] says about an attachment that has no record.
    pub fn forget(&self, container: &ContainerId, ifname: &IfName) -> Result<(), Error> {
        remove_file(&self.attachment_path(container, ifname)?)
    }

    /// Drops a record. To be called with the VF's lock held.
    pub fn remove(&self, record: &Record) -> Result<(), Error> {
        remove_file(&self.record_path(&record.claim.device))?;
        self.forget(&record.claim.container, &record.claim.ifname)
    }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(Error::Io {
            what: "make directory",
            path: path.to_owned(),
            cause: e,
        }),
        _ => Ok(()),
    }
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let io = |cause| Error::Io {
        what: "read",
        path: path.to_owned(),
        cause,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some(bytes))
}

/// Puts a whole new file in the place of an old one. Names are ours alone under the VF's lock; no fsync, since /run
/// is memory.
fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let io = |what| {
        move |cause| Error::Io {
            what,
            path: path.to_owned(),
            cause,
        }
    };
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io("write"))?;
    file.write_all(content).map_err(io("write"))?;
    fs::rename(&temporary, path).map_err(io("replace"))
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::Io {
            what: "remove",
            path: path.to_owned(),
            cause: e,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::types::{Mac, NetnsId};

    pub(crate) fn record() -> Record {
        let before = |ifindex, name: &str| Before {
            ifindex,
            name: name.parse().unwrap(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            mtu: 1500,
            alias: String::new(),
            up: true,
        };
        Record {
            format: FORMAT,
            stage: Stage::Preparing,
            claim: Claim {
                network: "kube-ovn".to_owned(),
                container: "0123456789abcdef".parse().unwrap(),
                ifname: "eth0".parse().unwrap(),
                pod: Pod {
                    namespace: "default".to_owned(),
                    name: "pod1".to_owned(),
                    uid: String::new(),
                },
                socket: PathBuf::from("/run/x.sock"),
                provider: "sriov.default.ovn".to_owned(),
                netns: PathBuf::from("/var/run/netns/cni-1"),
                device: "0000:03:00.2".parse().unwrap(),
            },
            netns_id: NetnsId {
                device: 4,
                inode: 4_026_532_000,
            },
            pf: "0000:03:00.0".parse().unwrap(),
            vf_index: 0,
            vf: before(7, "ens1f0v0"),
            representor: before(8, "ens1f0_0"),
            admin_mac: Some(Mac([0; 6])),
            attempt: "vf0123456789ab".parse().unwrap(),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("state"));
        store.make().unwrap();
        let mut record = record();
        assert_eq!(store.read(&record.claim.device).unwrap(), None);
        store.write(&record).unwrap();
        record.stage = Stage::Attached;
        store.write(&record).unwrap();
        assert_eq!(store.read(&record.claim.device).unwrap().as_ref(), Some(&record));
        assert_eq!(
            store.find(&record.claim.container, &record.claim.ifname).unwrap(),
            Some(record.claim.device.clone())
        );
        assert_eq!(
            store.find(&record.claim.container, &"net1".parse().unwrap()).unwrap(),
            None
        );
        for _ in 0..2 {
            store.remove(&record).unwrap();
        }
        assert_eq!(store.read(&record.claim.device).unwrap(), None);
        assert_eq!(store.find(&record.claim.container, &record.claim.ifname).unwrap(), None);
    }

    #[test]
    fn what_we_did_not_write_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("state"));
        store.make().unwrap();
        let mut record = record();
        let path = store.record_path(&record.claim.device);
        for content in ["", "{}", "null", "garbage", &"[".repeat(100_000)] {
            fs::write(&path, content).unwrap();
            assert!(
                matches!(store.read(&record.claim.device), Err(Error::Unreadable { .. })),
                "{content:.20}"
            );
        }
        record.format = 2;
        fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        assert!(
            store
                .read(&record.claim.device)
                .unwrap_err()
                .to_string()
                .contains("format 2, not 1")
        );
        let (container, ifname) = (record.claim.container.clone(), record.claim.ifname.clone());
        fs::write(store.attachment_path(&container, &ifname).unwrap(), "../../etc/passwd").unwrap();
        assert!(matches!(store.find(&container, &ifname), Err(Error::Unreadable { .. })));
    }

    #[test]
    fn a_directory_of_others_is_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        Store::at(&open).make().unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Store::at(&open).make(), Err(Error::Unsafe { .. })));
        fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
        let link = dir.path().join("link");
        symlink(&open, &link).unwrap();
        assert!(matches!(Store::at(&link).make(), Err(Error::Unsafe { .. })));
    }

    #[test]
    fn an_id_that_makes_no_file_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("state"));
        store.make().unwrap();
        let mut record = record();
        record.claim.container = "a".repeat(300).parse().unwrap();
        assert!(matches!(store.write(&record), Err(Error::KeyTooLong(_))));
        assert_eq!(store.find(&record.claim.container, &record.claim.ifname).unwrap(), None);
    }

    #[tokio::test]
    async fn one_call_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("state"));
        store.make().unwrap();
        let record = record();
        store.write(&record).unwrap();
        let lock = store.lock(&record.claim.device, Instant::now()).await.unwrap();
        let busy = store
            .lock(&record.claim.device, Instant::now())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            busy.contains("VF 0000:03:00.2") && busy.contains("pod default/pod1"),
            "{busy}"
        );
        drop(lock);
        store.lock(&record.claim.device, Instant::now()).await.unwrap();
    }
}
