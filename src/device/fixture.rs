//! Sysfs trees from text; the language is described in tests/fixtures/sysfs/README.md.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tempfile::TempDir;

use super::Sysfs;
use super::read::{Dir, read_file};

/// A tree in a directory of its own, removed with this value.
pub(crate) struct Tree {
    dir: TempDir,
}

/// A question to a machine, and the answer it must give.
pub(crate) struct Expectation {
    pub(crate) address: String,
    pub(crate) answer: String,
}

/// A machine: its sysfs, what its devlink answers, and what is expected of both.
pub(crate) struct Fixture {
    pub(crate) tree: Tree,
    /// The lines that begin with `devlink`, without that word.
    pub(crate) devlink: Vec<String>,
    pub(crate) expectations: Vec<Expectation>,
}

/// In memory where that can be had: some tests make hundreds of trees.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

impl Tree {
    /// The tree of these lines.
    pub(crate) fn new(lines: &str) -> Self {
        let tree = Self { dir: directory() };
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            tree.add(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        tree
    }

    /// The machine of a fixture. Links must lead somewhere, except those to drivers and to what is enslaved.
    pub(crate) fn load(file: &Path) -> Fixture {
        let text = fs::read_to_string(file).unwrap();
        let (mut expectations, mut devlink) = (Vec::new(), Vec::new());
        let mut lines = String::new();
        let mut followed = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("expect ") {
                let (address, answer) = rest
                    .split_once(' ')
                    .unwrap_or_else(|| panic!("{}: {line}: no answer", file.display()));
                expectations.push(Expectation {
                    address: address.to_owned(),
                    answer: answer.to_owned(),
                });
            } else if let Some(rest) = line.strip_prefix("devlink ") {
                devlink.push(rest.to_owned());
            } else if !line.starts_with('#') {
                lines.push_str(line);
                lines.push('\n');
                followed.extend(
                    line.split_once(" -> ")
                        .map(|(path, _)| path)
                        .filter(|path| !path.ends_with("/driver") && !path.ends_with("/master")),
                );
            }
        }
        let tree = Self::new(&lines);
        for link in followed {
            assert!(tree.path(link).exists(), "{}: {link} leads nowhere", file.display());
        }
        Fixture {
            tree,
            devlink,
            expectations,
        }
    }

    /// Where a path of the tree really is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.strip_prefix('/').unwrap())
    }

    /// A text with the paths as they are in the tree.
    pub(crate) fn shown(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "")
    }

    /// The tree as the code under test sees it.
    pub(crate) fn sysfs(&self) -> Sysfs {
        Sysfs {
            root: self.path("/sys"),
            read: read_or_fail,
        }
    }

    /// The tree as it is seen by code that reads files in this way.
    pub(crate) fn sysfs_read_by(&self, read: super::read::ReadFile) -> Sysfs {
        Sysfs {
            root: self.path("/sys"),
            read,
        }
    }

    /// Adds what one line says.
    pub(crate) fn add(&self, line: &str) -> Result<(), String> {
        let make = |path: &str| {
            if !path.starts_with("/sys/") || path.contains("/../") || path.contains(' ') {
                return Err(format!("{path:?} is not a path under /sys"));
            }
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).map_err(|error| error.to_string())?;
            if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) {
                return Err("is there already".to_owned());
            }
            Ok(path)
        };
        let result = if let Some((path, target)) = line.split_once(" -> ") {
            if target.starts_with('/') {
                return Err("links in sysfs are relative".to_owned());
            }
            symlink(target, make(path)?)
        } else if let Some((path, errno)) = line.split_once(" ! ") {
            errno_of(errno)?;
            fs::write(make(&format!("{path}.errno"))?, errno)
        } else if let Some((path, content)) = line.split_once(" = ") {
            fs::write(make(path)?, format!("{content}\n"))
        } else if let Some(path) = line.strip_suffix('/') {
            fs::create_dir_all(make(path)?)
        } else {
            return Err("is none of `PATH -> TARGET`, `PATH = TEXT`, `PATH ! ERRNO`, `PATH/`".to_owned());
        };
        result.map_err(|error| error.to_string())
    }
}

fn errno_of(name: &str) -> Result<Errno, String> {
    Ok(match name {
        "EOPNOTSUPP" => Errno::EOPNOTSUPP,
        "EINVAL" => Errno::EINVAL,
        "ENODEV" => Errno::ENODEV,
        "ENOENT" => Errno::ENOENT,
        "EIO" => Errno::EIO,
        _ => return Err(format!("{name:?} is not an errno that the fixtures know")),
    })
}

/// Reads as the shipped code does, but where `NAME.errno` stands beside a file, its read fails with that.
fn read_or_fail(dir: &Dir, name: &str) -> io::Result<Vec<u8>> {
    let mut errno = dir.path(name).into_os_string();
    errno.push(".errno");
    match fs::read_to_string(errno) {
        Ok(name) => Err(io::Error::from(errno_of(&name).unwrap())),
        Err(_) => read_file(dir, name),
    }
}

/// Reads as the shipped code does.
pub(crate) fn read_plainly(dir: &Dir, name: &str) -> io::Result<Vec<u8>> {
    read_file(dir, name)
}
