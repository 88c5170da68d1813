//! Small files beside the records: what a call leaves for the calls that come after it, or run beside it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::files::{names, read_file, remove_file, replace};
use super::{Error, MAX_FILES, Store};
use crate::types::{ContainerId, IfName, PciAddress};

/// Nanoseconds since the node booted, sleep included (`CLOCK_BOOTTIME`): no clock that somebody sets, and like /run it
/// begins anew with each boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootTime(u64);

impl BootTime {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        Self(u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long ago that was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(Self::now().0.saturating_sub(self.0))
    }
}

/// No ADD runs longer than this, whatever the node's settings say (an hour at most), so that a cancel mark as old as this means
/// nothing any more.
const CANCEL_LIFE: Duration = Duration::from_secs(3660);
/// As many marks may lie there without being looked at.
const MARKS: usize = 64;
/// Beyond that, a DEL looks at so many of them, whichever they are: it leaves one itself, so those that mean nothing stay a small
/// part, and a node that ends a thousand pods in an hour does not read a thousand files for each.
const MARKS_AT_ONCE: usize = 8;
/// How many pending attachments a call looks at, most.
const PENDING_AT_ONCE: usize = 4;

impl Store {
    fn pending_path(&self, device: &PciAddress) -> PathBuf {
        self.root.join("pending").join(device.as_str())
    }

    /// Notes that the record of a VF is of an attachment that has ended.
    pub fn pending(&self, device: &PciAddress) -> Result<(), Error> {
        replace(&self.pending_path(device), &self.temporary(device), b"")
    }

    /// The record of a VF is gone, or of a living attachment.
    pub fn no_longer_pending(&self, device: &PciAddress) -> Result<(), Error> {
        remove_file(&self.pending_path(device))
    }

    /// The VFs whose attachments have ended but are not wholly given back.
    pub fn all_pending(&self) -> Result<Vec<PciAddress>, Error> {
        let names = names(&self.root.join("pending"), MAX_FILES)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Some of them, `except` one.
    pub fn some_pending(&self, except: Option<&PciAddress>) -> Result<Vec<PciAddress>, Error> {
        let mut devices = self.all_pending()?;
        devices.retain(|device| Some(device) != except);
        // a few that can't be finished must not be all that is ever looked at
        some(&mut devices, PENDING_AT_ONCE);
        Ok(devices)
    }

    /// Leaves the mark that makes an ADD of this attachment give up, if one is still running. Clears away some of the old marks.
    pub fn cancel(&self, container: &ContainerId, ifname: &IfName) -> Result<(), Error> {
        self.make()?;
        let now = BootTime::now();
        let mark = self.path_of("cancel", container, ifname)?;
        write_time(&mark, now)?;
        let directory = self.root.join("cancel");
        let mut names = names(&directory, MAX_FILES)?;
        let many = names.len() > MARKS;
        some(&mut names, if many { MARKS_AT_ONCE } else { 0 });
        for name in &names {
            let path = directory.join(name);
            if path != mark && is_old(&path)? {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Whether a DEL of this attachment has come since `start`.
    pub fn is_cancelled(&self, container: &ContainerId, ifname: &IfName, start: BootTime) -> Result<bool, Error> {
        match self.path_of("cancel", container, ifname) {
            Ok(path) => Ok(read_time(&path)?.is_some_and(|time| time >= start)),
            Err(_) => Ok(false),
        }
    }
}

/// Leaves `most` of a list, which begin with another one each time.
fn some<T>(list: &mut Vec<T>, most: usize) {
    let chance = usize::try_from(BootTime::now().0 / 1000).unwrap_or(0);
    let first = chance.checked_rem(list.len()).unwrap_or(0);
    list.rotate_left(first);
    list.truncate(most);
}

/// In one piece at once, and as many bytes each time: what another call reads meanwhile is nothing, or a time. Not by way of a
/// temporary file: no lock goes with a mark, and a killed call would leave it for ever.
fn write_time(path: &Path, time: BootTime) -> Result<(), Error> {
    let io = |cause| Error::Io {
        what: "write",
        path: path.to_owned(),
        cause,
    };
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let mut file = options.open(path).map_err(io)?;
    file.write_all(format!("{:020}", time.0).as_bytes()).map_err(io)
}

/// Whether a mark means nothing any more. One without a time may be about to get it, unless it is old as a file.
fn is_old(path: &Path) -> Result<bool, Error> {
    Ok(match read_time(path)? {
        Some(time) => time.elapsed() > CANCEL_LIFE,
        None => {
            let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
            modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > CANCEL_LIFE))
        }
    })
}

fn read_time(path: &Path) -> Result<Option<BootTime>, Error> {
    let Some(bytes) = read_file(path)? else {
        return Ok(None);
    };
    Ok(String::from_utf8_lossy(&bytes).parse().ok().map(BootTime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_mark_counts_for_what_began_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("state"));
        let (container, ifname) = ("0123456789abcdef".parse().unwrap(), "eth0".parse().unwrap());
        let before = BootTime::now();
        assert!(!store.is_cancelled(&container, &ifname, before).unwrap());
        store.cancel(&container, &ifname).unwrap();
        assert!(store.is_cancelled(&container, &ifname, before).unwrap());
        assert!(
            !store
                .is_cancelled(&container, &"net1".parse().unwrap(), before)
                .unwrap()
        );
        assert!(!store.is_cancelled(&container, &ifname, BootTime::now()).unwrap());
    }

    #[test]
    fn old_marks_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("state"));
        let (container, ifname): (ContainerId, IfName) = ("0123456789abcdef".parse().unwrap(), "eth0".parse().unwrap());
        store.make().unwrap();
        let old = store.root.join("cancel/fedcba9876543210:eth0");
        fs::write(&old, "1").unwrap();
        let long_ago = SystemTime::now() - CANCEL_LIFE * 2;
        for (name, modified) in [("garbage", long_ago), ("unfinished", SystemTime::now())] {
            let file = fs::File::create(store.root.join("cancel").join(name)).unwrap();
            file.set_modified(modified).unwrap();
        }
        store.cancel(&container, &ifname).unwrap();
        let left = || names(&store.root.join("cancel"), 1000).unwrap();
        assert_eq!(left().len(), 4, "few are not looked at");
        for number in 0..MARKS {
            store
                .cancel(&container, &format!("net{number}").parse().unwrap())
                .unwrap();
        }
        // a machine that booted less than CANCEL_LIFE ago has no old marks yet
        let old = usize::from(BootTime(1).elapsed() <= CANCEL_LIFE);
        for _ in 0..10_000 {
            store.cancel(&container, &ifname).unwrap();
            if left().len() == MARKS + 2 + old {
                break;
            }
        }
        let left = left();
        assert!(
            left.contains(&"unfinished".to_owned()) && !left.contains(&"garbage".to_owned()),
            "{left:?}"
        );
        assert_eq!(left.len(), MARKS + 2 + old);
    }

    /// Four that can't be finished do not keep the others from being looked at.
    #[test]
    fn each_pending_one_gets_its_turn() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("state"));
        store.make().unwrap();
        for number in 0..8 {
            let device: PciAddress = format!("0000:03:00.{number}").parse().unwrap();
            store.pending(&device).unwrap();
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            let some = store.some_pending(None).unwrap();
            assert_eq!(some.len(), PENDING_AT_ONCE);
            seen.extend(some);
            if seen.len() == 8 {
                return;
            }
        }
        panic!("only {seen:?}");
    }

    #[test]
    fn what_is_pending() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("state"));
        let device: PciAddress = "0000:03:00.2".parse().unwrap();
        assert!(store.some_pending(None).unwrap().is_empty());
        store.make().unwrap();
        store.pending(&device).unwrap();
        assert_eq!(
            store.some_pending(None).unwrap().as_slice(),
            std::slice::from_ref(&device)
        );
        assert!(store.some_pending(Some(&device)).unwrap().is_empty());
        store.no_longer_pending(&device).unwrap();
        assert!(store.some_pending(None).unwrap().is_empty());
    }
}
