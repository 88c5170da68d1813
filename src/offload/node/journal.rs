//! What is written down before a PF is changed: how it was, so that `node reset` brings exactly that back, and the drivers of the
//! VFs that are taken from them meanwhile.
//!
//! It lies in /run with the plugin's records: number of VFs, drivers and the eswitch's mode do not outlive a reboot either.
//!
//! ```text
//! /run/kube-ovn-offload/prepared/0000:03:00.0.json
//! /run/kube-ovn-offload/prepared/0000:03:00.0.lock    locked while the PF is changed; never removed
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kube_ovn::types::PciAddress;
use serde::{Deserialize, Serialize};

use super::plan::Before;

/// Of this program. A newer one adds fields that have defaults.
const FORMAT: u32 = 1;
/// 256 VFs with their drivers are some 10 KiB.
const MAX_SIZE: u64 = 256 * 1024;

/// What is known of a PF that was prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    format: u32,
    pub(super) pf: PciAddress,
    /// How it was before the first change.
    pub(super) before: Before,
    /// The drivers that VFs were taken from.
    #[serde(default)]
    pub(super) taken: BTreeMap<PciAddress, String>,
    /// The step that was begun last.
    #[serde(default)]
    pub(super) reached: String,
}

impl Journal {
    pub(super) fn new(pf: PciAddress, before: Before) -> Self {
        Self {
            format: FORMAT,
            pf,
            before,
            taken: BTreeMap::new(),
            reached: String::new(),
        }
    }
}

/// The journals of this node.
pub(super) struct Journals {
    directory: PathBuf,
}

/// Nobody else changes the PF as long as this is held.
pub(super) struct Locked {
    _file: File,
}

impl Journals {
    /// Those in this state directory.
    pub(super) fn below(state: &Path) -> Self {
        Self {
            directory: state.join("prepared"),
        }
    }

    fn path(&self, pf: &PciAddress, extension: &str) -> PathBuf {
        self.directory.join(format!("{pf}.{extension}"))
    }

    /// Locks a PF, and makes the directory for that.
    pub(super) fn lock(&self, pf: &PciAddress) -> Result<Locked, String> {
        for directory in self.directory.parent().into_iter().chain([self.directory.as_path()]) {
            make(directory)?;
        }
        let path = self.path(pf, "lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).map_err(|error| io(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Locked { _file: file }),
            Err(TryLockError::WouldBlock) => Err(format!(
                "another kube-ovn-offload is changing PF {pf}: try again when it is done"
            )),
            Err(TryLockError::Error(error)) => Err(io(&path, &error)),
        }
    }

    /// The PFs that have a journal.
    pub(super) fn pfs(&self) -> Result<Vec<PciAddress>, String> {
        let listing = match fs::read_dir(&self.directory) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io(&self.directory, &error)),
        };
        let names = listing
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut found: Vec<PciAddress> = names
            .filter_map(|name| name.strip_suffix(".json")?.parse().ok())
            .collect();
        found.sort();
        Ok(found)
    }

    /// The journal of a PF, if it has one.
    pub(super) fn read(&self, pf: &PciAddress) -> Result<Option<Journal>, String> {
        let path = self.path(pf, "json");
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => file
                .take(MAX_SIZE)
                .read_to_end(&mut bytes)
                .map_err(|error| io(&path, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(&path, &error)),
        };
        let journal: Journal = serde_json::from_slice(&bytes).map_err(|error| {
            format!(
                "{} can't be understood ({error}): how the PF was is not known",
                path.display()
            )
        })?;
        if journal.pf == *pf {
            Ok(Some(journal))
        } else {
            Err(format!("{} is about PF {}", path.display(), journal.pf))
        }
    }

    /// Writes a journal, whole or not at all. To be called with the lock held.
    pub(super) fn write(&self, journal: &Journal) -> Result<(), String> {
        let (path, new) = (self.path(&journal.pf, "json"), self.path(&journal.pf, "new"));
        let text = serde_json::to_vec_pretty(journal).map_err(|error| error.to_string())?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let write = || {
            options.open(&new)?.write_all(&text)?;
            fs::rename(&new, &path)
        };
        write().map_err(|error| io(&path, &error))
    }

    /// Drops a journal: the PF is as it was.
    pub(super) fn remove(&self, pf: &PciAddress) -> Result<(), String> {
        let path = self.path(pf, "json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io(&path, &error)),
            _ => Ok(()),
        }
    }
}

/// A directory that only we can write to.
fn make(path: &Path) -> Result<(), String> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(path, &error)),
        _ => {}
    }
    let found = fs::symlink_metadata(path).map_err(|error| io(path, &error))?;
    if found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(format!(
        "{} must be a directory that belongs to root and that only root can write to",
        path.display()
    ))
}

fn io(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::facts;
    use super::*;

    #[test]
    fn written_read_dropped() {
        let state = tempfile::tempdir().unwrap();
        let journals = Journals::below(&state.path().join("state"));
        let facts = facts();
        let pf = facts.pf.address.clone();
        assert_eq!((journals.read(&pf), journals.pfs()), (Ok(None), Ok(Vec::new())));
        let lock = journals.lock(&pf).unwrap();
        assert!(journals.lock(&pf).err().unwrap().contains("another kube-ovn-offload"));
        let mut journal = Journal::new(pf.clone(), Before::now(&facts));
        journal
            .taken
            .insert("0000:03:00.2".parse().unwrap(), "mlx5_core".to_owned());
        journals.write(&journal).unwrap();
        assert_eq!(
            (journals.read(&pf), journals.pfs()),
            (Ok(Some(journal)), Ok(vec![pf.clone()]))
        );
        journals.remove(&pf).unwrap();
        journals.remove(&pf).unwrap();
        assert_eq!(journals.read(&pf), Ok(None));
        drop(lock);
        journals.lock(&pf).unwrap();
    }

    #[test]
    fn what_is_no_journal() {
        let state = tempfile::tempdir().unwrap();
        let journals = Journals::below(state.path());
        let pf: PciAddress = "0000:03:00.0".parse().unwrap();
        journals.lock(&pf).unwrap();
        fs::write(state.path().join("prepared/0000:03:00.0.json"), "{").unwrap();
        assert!(journals.read(&pf).unwrap_err().contains("can't be understood"));
        let other = Journal::new("0000:04:00.0".parse().unwrap(), Before::now(&facts()));
        fs::write(
            state.path().join("prepared/0000:03:00.0.json"),
            serde_json::to_string(&other).unwrap(),
        )
        .unwrap();
        assert!(journals.read(&pf).unwrap_err().contains("is about PF 0000:04:00.0"));
        let theirs = tempfile::tempdir().unwrap();
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(theirs.path(), permissions).unwrap();
        assert!(
            Journals::below(theirs.path())
                .lock(&pf)
                .err()
                .unwrap()
                .contains("only root can write to")
        );
    }
}
