//! Files of the state directory: whole or not at all, and never larger than we would read back.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::{Error, MAX_RECORD};

/// More than nearly all records have, in bytes.
const USUAL_RECORD: usize = 4096;

pub(super) fn make_directory(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(Error::Io {
            what: "make directory",
            path: path.to_owned(),
            cause: e,
        }),
        _ => Ok(()),
    }
}

pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Error> {
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
    // room for a record, and for its end to be seen: else it is read in many small pieces
    let mut bytes = Vec::with_capacity(USUAL_RECORD);
    file.take(MAX_RECORD).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some(bytes))
}

/// Puts a whole new file in the place of an old one, by way of `temporary`, a name that is the caller's alone. No fsync,
/// since /run is memory.
pub(super) fn replace(path: &Path, temporary: &Path, content: &[u8]) -> Result<(), Error> {
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
        .open(temporary)
        .map_err(io("write"))?;
    file.write_all(content).map_err(io("write"))?;
    fs::rename(temporary, path).map_err(io("replace"))
}

pub(super) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::Io {
            what: "remove",
            path: path.to_owned(),
            cause: e,
        }),
        _ => Ok(()),
    }
}

/// The names in a directory, at most `limit` of them; none when there is no such directory.
pub(super) fn names(dir: &Path, limit: usize) -> Result<Vec<String>, Error> {
    let io = |cause| Error::Io {
        what: "list",
        path: dir.to_owned(),
        cause,
    };
    let listing = match fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io(e)),
    };
    let mut names = Vec::new();
    for entry in listing.take(limit) {
        // a name that is not ours in any way is no record either
        names.extend(entry.map_err(io)?.file_name().into_string().ok());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_not_there_is_no_failure() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("nowhere");
        assert!(read_file(&nowhere).unwrap().is_none());
        remove_file(&nowhere).unwrap();
        assert!(names(&nowhere, 9).unwrap().is_empty());
        make_directory(&nowhere).unwrap();
        make_directory(&nowhere).unwrap();
        let mode = fs::metadata(&nowhere).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "what a pod has is for root only");
    }

    /// Each failure says what was tried, and with which path.
    #[test]
    fn what_is_something_else_is_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let (file, inside) = (directory.path().join("file"), directory.path().join("file/inside"));
        fs::write(&file, "").unwrap();
        let new = directory.path().join("new");
        let taken = directory.path().join("taken");
        fs::create_dir_all(taken.join("by another")).unwrap();
        for (failure, path, what) in [
            (make_directory(&inside), &inside, "make directory"),
            (read_file(&inside).map(drop), &inside, "read"),
            (
                read_file(directory.path()).map(drop),
                &directory.path().to_owned(),
                "read",
            ),
            (names(&file, 9).map(drop), &file, "list"),
            (remove_file(directory.path()), &directory.path().to_owned(), "remove"),
            (replace(&file, &inside, b""), &file, "write"),
            (replace(&taken, &new, b""), &taken, "replace"),
        ] {
            let text = failure.unwrap_err().to_string();
            let expected = format!("{what} {}: ", path.display());
            assert!(text.starts_with(&expected), "{text}, expected {expected}");
        }
    }

    /// A disk that is full fails the write, and the old content stays.
    #[test]
    fn a_full_disk_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let record = directory.path().join("record");
        replace(&record, &directory.path().join("new"), b"old").unwrap();
        // by a link of our own, that nothing can befall the machine's
        let full = directory.path().join("full");
        std::os::unix::fs::symlink("/dev/full", &full).unwrap();
        let text = replace(&record, &full, b"new").unwrap_err().to_string();
        assert!(text.contains("No space left"), "{text}");
        assert_eq!(read_file(&record).unwrap().unwrap(), b"old");
    }
}
