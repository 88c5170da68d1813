//! Files of root's: opened without following links, and looked at before they are believed.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

/// How much room is made for a file before it is read.
const MAX_AT_ONCE: usize = 64 * 1024;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Somebody else than root may have written it, or may read where it leads.
    #[error("{0}")]
    Unsafe(String),
    /// It has more bytes than any such file.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
}

impl From<Errno> for Unfit {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// The content of a file that only root can have written; `None` when it does not exist.
pub(super) fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, Unfit> {
    let (parent, name) = split(path)?;
    let Some(directory) = directory(parent)? else {
        return Ok(None);
    };
    if let Some(why) = writable(&directory, 0o022)? {
        return Err(Unfit::Unsafe(format!("its directory {} {why}", parent.display())));
    }
    read_in(&directory, &name, most)
}

/// The same for a file in a directory that was opened already.
pub(super) fn read_in(directory: &File, name: &Path, most: u64) -> Result<Option<Vec<u8>>, Unfit> {
    let file = match openat(directory, name, READ, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT) => return Ok(None),
        Err(Errno::ELOOP) => return Err(Unfit::Unsafe("it is a symbolic link".to_owned())),
        Err(other) => return Err(other.into()),
    };
    let size = regular(&file, 0o022)?;
    // room for all of it, and for the end to be seen, or it is read in many small pieces; a file may lie about its size
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(most) + 1).unwrap_or_default().min(MAX_AT_ONCE));
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Unfit::TooLarge(most));
    }
    Ok(Some(bytes))
}

/// A file to append to; made, for root alone, when it does not exist. Its directory may be writable for a group, as
/// /var/log is on some distributions, so a file that has a second name is refused: it may be any file.
pub fn append(path: &Path) -> Result<File, Unfit> {
    let (parent, name) = split(path)?;
    let directory = directory(parent)?.ok_or(Errno::ENOENT)?;
    if let Some(why) = writable(&directory, 0o002)? {
        return Err(Unfit::Unsafe(format!("its directory {} {why}", parent.display())));
    }
    let file = match openat(&directory, &name, APPEND, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(file) => File::from(file),
        Err(Errno::ELOOP) => return Err(Unfit::Unsafe("it is a symbolic link".to_owned())),
        // a FIFO that nobody reads
        Err(Errno::ENXIO) => return Err(Unfit::Unsafe("it is no regular file".to_owned())),
        Err(other) => return Err(other.into()),
    };
    regular(&file, 0o022)?;
    if file.metadata()?.nlink() != 1 {
        return Err(Unfit::Unsafe("it has a second name".to_owned()));
    }
    Ok(file)
}

// O_NONBLOCK: a FIFO must not stop the call
const READ: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);
const APPEND: OFlag = READ.union(OFlag::O_WRONLY).union(OFlag::O_APPEND).union(OFlag::O_CREAT);
/// For a directory that is held while what is in it is looked at.
pub(super) const DIRECTORY: OFlag = OFlag::O_DIRECTORY
    .union(OFlag::O_PATH)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

fn split(path: &Path) -> Result<(&Path, PathBuf), Unfit> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, PathBuf::from(name))),
        _ => Err(Errno::EISDIR.into()),
    }
}

/// A directory, which is not a link to one; `None` when it does not exist.
fn directory(path: &Path) -> Result<Option<File>, Unfit> {
    held(open(path, DIRECTORY, Mode::empty()), path)
}

/// The outcome of opening a directory.
pub(super) fn held(opened: Result<OwnedFd, Errno>, path: &Path) -> Result<Option<File>, Unfit> {
    match opened {
        Ok(directory) => Ok(Some(File::from(directory))),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ENOTDIR | Errno::ELOOP) => Err(Unfit::Unsafe(format!("{} is no directory", path.display()))),
        Err(other) => Err(other.into()),
    }
}

/// Who else than root can write to it, as the end of a sentence. Our own user is root wherever the plugin can do its work.
pub(super) fn writable(file: &File, others: u32) -> io::Result<Option<String>> {
    Ok(writable_by(&file.metadata()?, others))
}

fn writable_by(metadata: &Metadata, others: u32) -> Option<String> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != nix::unistd::geteuid().as_raw() {
        return Some(format!("belongs to user {owner}"));
    }
    let who = if others & 0o020 == 0 {
        "others"
    } else {
        "group and others"
    };
    let writable = mode & others != 0;
    writable.then(|| format!("has mode {mode:o}, expected no write permission for {who}"))
}

/// Its size.
fn regular(file: &File, others: u32) -> Result<u64, Unfit> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Unfit::Unsafe("it is no regular file".to_owned()));
    }
    match writable_by(&metadata, others) {
        Some(why) => Err(Unfit::Unsafe(format!("it {why}"))),
        None => Ok(metadata.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_only_root_can_have_written() {
        let outer = tempfile::tempdir().unwrap();
        let directory = outer.path().join("dir");
        let path = directory.join("file");
        let load = || read(&path, 100).map_err(|e| e.to_string());
        assert_eq!(load().unwrap(), None, "no directory");
        fs::create_dir(&directory).unwrap();
        mode(&directory, 0o755);
        assert_eq!(load().unwrap(), None, "no file");
        fs::write(&path, "text").unwrap();
        mode(&path, 0o644);
        assert_eq!(load().unwrap().unwrap(), b"text");

        mode(&path, 0o664);
        let why = load().unwrap_err();
        assert_eq!(
            why,
            "it has mode 664, expected no write permission for group and others"
        );
        mode(&path, 0o600);
        mode(&directory, 0o777);
        assert!(load().unwrap_err().contains("dir has mode 777"));
        mode(&directory, 0o755);

        fs::rename(&path, directory.join("other")).unwrap();
        symlink("other", &path).unwrap();
        assert_eq!(load().unwrap_err(), "it is a symbolic link");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(load().unwrap_err(), "it is no regular file");
        fs::remove_dir(&path).unwrap();
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(
            load().unwrap_err(),
            "it is no regular file",
            "and nobody waits for a writer"
        );
        fs::remove_file(&path).unwrap();
        fs::write(&path, "x".repeat(101)).unwrap();
        assert_eq!(load().unwrap_err(), "it has more than 100 bytes");
        fs::rename(&directory, outer.path().join("real")).unwrap();
        symlink("real", &directory).unwrap();
        assert!(load().unwrap_err().ends_with("dir is no directory"));
    }

    #[test]
    fn a_log_is_only_ever_a_log() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("log");
        let log = || append(&path).map_err(|e| e.to_string());
        for _ in 0..2 {
            log().unwrap().write_all(b"line\n").unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line\nline\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);

        fs::hard_link(&path, outer.path().join("second")).unwrap();
        assert_eq!(log().unwrap_err(), "it has a second name");
        fs::remove_file(&path).unwrap();
        symlink("second", &path).unwrap();
        assert_eq!(log().unwrap_err(), "it is a symbolic link");
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(log().unwrap_err(), "it is no regular file");
        fs::remove_file(&path).unwrap();
        mode(outer.path(), 0o777);
        assert!(
            log()
                .unwrap_err()
                .ends_with("has mode 777, expected no write permission for others")
        );
        mode(outer.path(), 0o775);
        log().unwrap();
        assert!(append(Path::new("/")).is_err());
        assert!(append(&outer.path().join("none/log")).is_err());
    }
}
