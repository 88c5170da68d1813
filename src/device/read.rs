//! Bounded reading of sysfs. Nothing here trusts what it reads: every text is checked before it goes anywhere.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use super::{Error, Sysfs};
use crate::types::{AuxName, PciAddress};

/// How a file of a directory is read; a value, so that the tests can make reads fail as drivers do.
pub(crate) type ReadFile = fn(&Dir, &str) -> io::Result<Vec<u8>>;

/// sysfs gives an attribute one page (the kernel's Documentation/filesystems/sysfs.rst), 4 KiB on the machines we run on.
const PAGE: usize = 4096;

/// The longest value that we ask for is a switch id: 32 bytes (`MAX_PHYS_ITEM_ID_LEN`) in hexadecimal. Values go into
/// messages, so longer ones are refused here, once.
const MAX_TEXT: usize = 64;

/// More names than a directory of ours can have: VFs and functions are counted in 16 bits.
const MAX_ENTRIES: usize = 1 << 16;

/// A directory, held open where that can be: a path below it then does not lead through links and directories from the root on
/// each time, which is most of what a read in sysfs costs. Where it can't, each access says why.
pub(crate) struct Dir {
    open: Option<OwnedFd>,
    path: PathBuf,
}

impl Dir {
    pub(super) fn open(path: PathBuf) -> Self {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = openat(AT_FDCWD, &path, flags, Mode::empty()).ok();
        Self { open, path }
    }

    /// For one access, or few.
    pub(super) fn closed(path: PathBuf) -> Self {
        Self { open: None, path }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }

    fn open_file(&self, name: &str) -> io::Result<File> {
        // without O_NONBLOCK, open waits for ever on a FIFO; sysfs has none, but a root that is given can
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened = match &self.open {
            Some(dir) => openat(dir, name, flags, Mode::empty()),
            None => openat(AT_FDCWD, &self.path(name), flags, Mode::empty()),
        };
        Ok(opened?.into())
    }

    fn target(&self, name: &str) -> io::Result<PathBuf> {
        match &self.open {
            Some(dir) => Ok(readlinkat(dir, name)?.into()),
            None => fs::read_link(self.path(name)),
        }
    }
}

/// The content of a file, cut off one byte beyond the bound.
pub(super) fn read_file(dir: &Dir, name: &str) -> io::Result<Vec<u8>> {
    let mut page = [0; PAGE + 1];
    // sysfs has the whole value ready for the first read (`seq_read_iter` in the kernel's fs/seq_file.c)
    let length = dir.open_file(name)?.read(&mut page)?;
    Ok(page.get(..length).unwrap_or_default().to_vec())
}

pub(super) fn malformed(path: &Path, expected: &'static str, found: &str) -> Error {
    let found = match found.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{:?} and more", found.get(..end).unwrap_or_default()),
        None => format!("{found:?}"),
    };
    Error::Malformed {
        path: path.to_owned(),
        expected,
        found,
    }
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

/// The errors by which a read says that there is no such value: the attribute is hidden or the device gone (ENOENT,
/// ENODEV), the driver has no answer (EOPNOTSUPP), the port has no name or the netdev is being removed (EINVAL, from
/// `__devlink_port_phys_port_name_get` and `netdev_show`).
fn says_none(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| {
        matches!(
            Errno::from_raw(code),
            Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP | Errno::EINVAL
        )
    })
}

/// A path that is not there, or was removed while it was open (ENODEV).
fn is_gone(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| matches!(Errno::from_raw(code), Errno::ENOENT | Errno::ENODEV))
}

impl Sysfs {
    /// Where the PCI bus is.
    pub(super) fn pci_bus(&self) -> PathBuf {
        self.root.join("bus/pci")
    }

    /// Where all PCI functions are.
    pub(super) fn devices_dir(&self) -> PathBuf {
        self.pci_bus().join("devices")
    }

    /// There is no PCI bus in this sysfs, or no sysfs at all.
    pub(super) fn no_bus(&self) -> Error {
        io_error(&self.devices_dir(), Errno::ENOENT.into())
    }

    /// Where the facts about a function are.
    pub(super) fn function_dir(&self, address: &PciAddress) -> PathBuf {
        self.root.join("bus/pci/devices").join(address.as_str())
    }

    /// The same for a device on the auxiliary bus.
    pub(super) fn auxiliary_dir(&self, name: &AuxName) -> PathBuf {
        self.root.join("bus/auxiliary/devices").join(name.as_str())
    }

    /// Where the vDPA devices are.
    pub(super) fn vdpa_dir(&self) -> PathBuf {
        self.root.join("bus/vdpa/devices")
    }

    /// Where all netdevs are.
    pub(super) fn class_net(&self) -> PathBuf {
        self.root.join("class/net")
    }

    /// There is no such device; or there is no sysfs at all.
    pub(super) fn no_such_auxiliary(&self, name: &AuxName) -> Error {
        let devices = self.root.join("bus");
        match fs::metadata(&devices) {
            Ok(_) => Error::NoSuchAuxiliary { name: name.clone() },
            Err(error) => io_error(&devices, error),
        }
    }

    /// An error when there is no such function; and another one when there is no sysfs at all.
    pub(super) fn require_function(&self, address: &PciAddress) -> Result<(), Error> {
        let dir = self.function_dir(address);
        match fs::metadata(&dir) {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => {
                let devices = self.root.join("bus/pci/devices");
                fs::metadata(&devices).map_err(|error| io_error(&devices, error))?;
                Err(Error::NoSuchDevice {
                    address: address.clone(),
                })
            }
            Err(error) => Err(io_error(&dir, error)),
        }
    }

    /// The text of an attribute without the white space around it; nothing when it has no value.
    pub(super) fn attribute(&self, dir: &Dir, name: &str) -> Result<Option<String>, Error> {
        let bytes = match (self.read)(dir, name) {
            Ok(bytes) => bytes,
            Err(error) if says_none(&error) => return Ok(None),
            Err(error) => return Err(io_error(&dir.path(name), error)),
        };
        let path = || dir.path(name);
        if bytes.len() > PAGE {
            let expected = "at most 4096 bytes";
            return Err(Error::Malformed {
                path: path(),
                expected,
                found: "more".to_owned(),
            });
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) if text.trim().len() > MAX_TEXT => Err(malformed(&path(), "at most 64 characters", text.trim())),
            // control characters would travel into logs and into the error objects of the protocol
            Ok(text) if !text.trim().contains(char::is_control) => Ok(Some(text.trim().to_owned())),
            _ => Err(malformed(&path(), "one line of text", &String::from_utf8_lossy(&bytes))),
        }
    }

    /// An attribute that is a number.
    pub(super) fn number(&self, dir: &Dir, name: &str) -> Result<Option<u32>, Error> {
        let Some(text) = self.attribute(dir, name)? else {
            return Ok(None);
        };
        // u32::from_str takes a sign, the kernel prints none
        match text.parse() {
            Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(number)),
            _ => Err(malformed(&dir.path(name), "a number", &text)),
        }
    }
}

/// The last part of a link's target; nothing when there is no such link. The target itself is never followed.
pub(super) fn link<T: FromStr>(dir: &Dir, name: &str, expected: &'static str) -> Result<Option<T>, Error> {
    let target = match dir.target(name) {
        Ok(target) => target,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(io_error(&dir.path(name), error)),
    };
    let last = target
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| !name.contains(char::is_control));
    match last.and_then(|last| last.parse().ok()) {
        Some(value) => Ok(Some(value)),
        None => Err(malformed(&dir.path(name), expected, &target.to_string_lossy())),
    }
}

/// The names on the way from a link's target up to where the link is relative to, nearest first and without the target
/// itself; nothing when there is no such link. The target is never followed.
pub(super) fn ancestors(path: &Path) -> Result<Option<Vec<String>>, Error> {
    let target = match fs::read_link(path) {
        Ok(target) => target,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(io_error(path, error)),
    };
    let names = target.components().rev().skip(1);
    Ok(Some(
        names
            .filter_map(|name| name.as_os_str().to_str())
            .map(str::to_owned)
            .collect(),
    ))
}

/// The names in a directory, sorted; nothing when there is no such directory.
pub(super) fn entries(dir: &Path) -> Result<Option<Vec<String>>, Error> {
    let listing = match fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(io_error(dir, error)),
    };
    let mut names = Vec::new();
    for entry in listing {
        let name = entry.map_err(|error| io_error(dir, error))?.file_name();
        if names.len() == MAX_ENTRIES {
            return Err(malformed(dir, "at most 65536 entries", "more"));
        }
        match name.into_string() {
            Ok(name) => names.push(name),
            Err(name) => return Err(malformed(dir, "names in UTF-8", &name.to_string_lossy())),
        }
    }
    names.sort_unstable();
    Ok(Some(names))
}
