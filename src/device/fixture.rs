//! Sysfs trees from text, and the test of those in tests/fixtures/sysfs; the language is described in tests/fixtures/sysfs/README.md.

use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tempfile::TempDir;

use super::read::read_file;
use super::{Error, Netdev, Sysfs};
use crate::types::PciAddress;

/// A tree in a directory of its own, removed with this value.
pub(crate) struct Tree {
    dir: TempDir,
}

/// A question to a tree, and the answer it must give.
struct Expectation {
    address: String,
    answer: String,
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

    /// The tree of a fixture, with what is expected of it. Links must lead somewhere, except those to drivers.
    fn load(file: &Path) -> (Self, Vec<Expectation>) {
        let text = fs::read_to_string(file).unwrap();
        let mut expectations = Vec::new();
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
            } else if !line.starts_with('#') {
                lines.push_str(line);
                lines.push('\n');
                followed.extend(
                    line.split_once(" -> ")
                        .map(|(path, _)| path)
                        .filter(|path| !path.ends_with("/driver")),
                );
            }
        }
        let tree = Self::new(&lines);
        for link in followed {
            assert!(tree.path(link).exists(), "{}: {link} leads nowhere", file.display());
        }
        (tree, expectations)
    }

    /// Where a path of the tree really is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.strip_prefix('/').unwrap())
    }

    /// A text with the paths as they are in the tree.
    pub(super) fn shown(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "")
    }

    /// The tree as the code under test sees it.
    pub(crate) fn sysfs(&self) -> Sysfs {
        Sysfs {
            root: self.path("/sys"),
            read: read_or_fail,
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
fn read_or_fail(path: &Path) -> io::Result<Vec<u8>> {
    let mut errno = path.as_os_str().to_owned();
    errno.push(".errno");
    match fs::read_to_string(errno) {
        Ok(name) => Err(io::Error::from(errno_of(&name).unwrap())),
        Err(_) => read_file(path),
    }
}

pub(super) fn pci(text: &str) -> PciAddress {
    text.parse().unwrap()
}

/// Everything that can be learnt from a VF's address, in the words of the fixtures.
pub(super) fn facts(sysfs: &Sysfs, address: &str) -> Result<String, Error> {
    fn or_dash(value: Option<impl Display>) -> String {
        value.map_or_else(|| "-".to_owned(), |value| value.to_string())
    }
    let show = |netdev: &Netdev| format!("{}/{}", netdev.name, netdev.ifindex);
    let vf = sysfs.vf(&pci(address))?;
    assert_eq!(vf.address.as_str(), address);
    let netdevs: Vec<String> = sysfs.netdevs(&vf.address)?.iter().map(show).collect();
    let uplink = sysfs.uplink(&vf.pf)?;
    let representor = sysfs.representor(&vf, &uplink)?;
    Ok(format!(
        "pf={} index={} driver={} netdevs={} uplink={}:{} switch={} representor={}:{}",
        vf.pf,
        vf.index,
        or_dash(vf.driver),
        or_dash((!netdevs.is_empty()).then(|| netdevs.join(","))),
        show(&uplink.netdev),
        or_dash(uplink.port),
        or_dash(uplink.switch_id),
        show(&representor.netdev),
        representor.port,
    ))
}

pub(super) fn answer(tree: &Tree, address: &str) -> String {
    match facts(&tree.sysfs(), address) {
        Ok(facts) => format!("=> {facts}"),
        Err(error) => tree.shown(&format!("error: {error}")),
    }
}

#[test]
fn every_fixture_gives_what_it_expects() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sysfs");
    let mut fixtures = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let file = entry.unwrap().path();
        if file.file_name().is_some_and(|name| name == "README.md") {
            continue;
        }
        fixtures += 1;
        let name = file.file_name().unwrap().to_str().unwrap();
        let (tree, expectations) = Tree::load(&file);
        assert!(!expectations.is_empty(), "{name} expects nothing");
        for expected in expectations {
            let answer = answer(&tree, &expected.address);
            if answer != expected.answer {
                wrong.push(format!(
                    "{name}: {}\n  expected {}\n  found    {answer}",
                    expected.address, expected.answer
                ));
            }
        }
    }
    assert!(fixtures > 0, "no fixtures in {}", dir.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
