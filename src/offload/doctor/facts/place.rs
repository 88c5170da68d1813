//! Where facts are read: this machine, or a directory that holds the files of another one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::Asked;

/// Entries of a directory that are looked at; the fullest one that is read here has a file for each device of a node.
const MAX_ENTRIES: usize = 16 * 1024;

/// The root of the files.
#[derive(Debug, Clone)]
pub(in super::super) struct Place {
    root: PathBuf,
}

impl Place {
    pub(in super::super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether this is the machine itself, whose kernel can be asked.
    pub(in super::super) fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a file of the machine is, by its absolute path there.
    pub(in super::super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What a file holds, if it is there; an error when it can't be read or has more than `most` bytes.
    pub(in super::super) fn read(&self, path: &str, most: u64) -> Asked<Option<Vec<u8>>> {
        let error = |error: io::Error| format!("{path}: {error}");
        let Some(file) = self.open(path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(error)?;
        if bytes.len() as u64 > most {
            return Err(format!("{path} has more than {most} bytes"));
        }
        Ok(Some(bytes))
    }

    /// The same as one text without the white space around it.
    pub(in super::super) fn text(&self, path: &str, most: u64) -> Asked<Option<String>> {
        let bytes = self.read(path, most)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// The names in a directory, sorted; none without the directory.
    pub(in super::super) fn names(&self, path: &str) -> Asked<Vec<String>> {
        let listing = match fs::read_dir(self.path(path)) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("{path}: {error}")),
        };
        let names = listing.take(MAX_ENTRIES).flatten();
        let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    pub(in super::super) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    fn open(&self, path: &str) -> Asked<Option<File>> {
        // a FIFO is not waited for
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(self.path(path));
        match file {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{path}: {error}")),
        }
    }
}
