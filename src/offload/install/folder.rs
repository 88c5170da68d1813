//! Files of a directory that are replaced as a whole: at each moment, and after each death of ours, there is the old one or the new one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

/// A directory that no other installer changes meanwhile.
pub(crate) struct Folder {
    path: PathBuf,
    /// Holds the lock; what is renamed in it is on disk when this is synchronized.
    handle: File,
}

impl Folder {
    /// Waits for the lock.
    pub(crate) fn lock(path: &Path) -> io::Result<Self> {
        if !fs::metadata(path)?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        let handle = File::open(path)?;
        handle.lock()?;
        Ok(Self {
            path: path.to_owned(),
            handle,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a file, or replaces it. One name serves for all attempts: what a killed one left is overwritten by the next. It begins with
    /// a dot, and has no suffix that a container runtime reads.
    pub(crate) fn place(
        &self,
        name: &str,
        mode: u32,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let new = self.unfinished(name);
        remove(&new)?;
        let placed = fresh(&new, mode, write).and_then(|()| fs::rename(&new, self.path(name)));
        if placed.is_err() {
            let _ = fs::remove_file(&new);
        }
        placed?;
        self.handle.sync_all()
    }

    /// Gives a file a second name, in place of what has that one. The file itself stays as it is, with its owner and mode; who is
    /// writing to it goes on writing to the same.
    pub(crate) fn keep(&self, name: &str, kept: &str) -> io::Result<()> {
        let new = self.unfinished(kept);
        remove(&new)?;
        fs::hard_link(self.path(name), &new)?;
        fs::rename(&new, self.path(kept))?;
        // rename(2) does nothing when both are names of one file: an attempt that was killed after this
        remove(&new)?;
        self.handle.sync_all()
    }

    /// Puts a kept file back, in place of what is there.
    pub(crate) fn restore(&self, name: &str, kept: &str) -> io::Result<()> {
        fs::rename(self.path(kept), self.path(name))?;
        self.remove(kept)
    }

    /// Removes a file, and what an attempt to make it has left. That it is not there is fine.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.clear(name)?;
        remove(&self.path(name))?;
        self.handle.sync_all()
    }

    /// Removes what an attempt to make a file has left.
    pub(crate) fn clear(&self, name: &str) -> io::Result<()> {
        remove(&self.unfinished(name))
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        self.path.join(format!(".{name}.unfinished"))
    }
}

fn fresh(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    write(&mut file)?;
    // whatever the umask is, and the directory's set-group-ID bit
    file.set_permissions(Permissions::from_mode(mode))?;
    let metadata = file.metadata()?;
    if Uid::effective().is_root() && (metadata.uid(), metadata.gid()) != (0, 0) {
        fchown(&file, Some(0), Some(0))?;
    }
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a file has this mode, and is root's if we are.
pub(crate) fn has_rights(path: &Path, mode: u32) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    let owned = !Uid::effective().is_root() || (metadata.uid(), metadata.gid()) == (0, 0);
    Ok(metadata.is_file() && metadata.mode() & 0o7777 == mode && owned)
}
