//! Whose executable a file is. The plugin has the name of the stock one, and both print the same when they are run by hand.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// What the library puts before the version, in `kube_ovn::MARK`; that itself must not be in this executable.
const MARK: &[u8] = b"\x01kube-ovn-offload's plugin ";
const MARK_END: u8 = 1;
/// A version is shorter.
const MAX_VERSION: usize = 64;
/// The stock executable has some 50 MB.
const MAX_SIZE: u64 = 1 << 30;
/// `e_ident` up to the ABI, then `e_type` and `e_machine` (elf(5)).
const ELF_HEADER: usize = 20;

/// Whose executable it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The plugin of this project.
    Ours {
        /// Its version.
        version: String,
    },
    /// Any other file: the stock plugin, a link that leads nowhere.
    Another,
}

/// Whose executable `path` is; `None` when nothing is there.
pub(crate) fn whose(path: &Path) -> io::Result<Option<Whose>> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !metadata.is_symlink() && !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    match File::open(path) {
        Ok(file) => whose_is(file).map(Some),
        Err(error) if metadata.is_symlink() && error.kind() == ErrorKind::NotFound => Ok(Some(Whose::Another)),
        Err(error) => Err(error),
    }
}

/// The same of what is read from its beginning on.
pub(crate) fn whose_is(file: impl Read) -> io::Result<Whose> {
    let keep = MARK.len() + MAX_VERSION;
    let mut file = file.take(MAX_SIZE);
    let mut text = Vec::new();
    loop {
        let read = file.by_ref().take(1 << 20).read_to_end(&mut text)?;
        if let Some(version) = version(&text) {
            return Ok(Whose::Ours { version });
        }
        if read == 0 {
            return Ok(Whose::Another);
        }
        // the mark may lie across two parts
        text.drain(..text.len().saturating_sub(keep));
    }
}

fn version(text: &[u8]) -> Option<String> {
    text.windows(MARK.len()).enumerate().find_map(|(at, window)| {
        if window != MARK {
            return None;
        }
        let rest = text.get(at + MARK.len()..)?;
        let end = rest.iter().take(MAX_VERSION).position(|byte| *byte == MARK_END)?;
        let version = std::str::from_utf8(rest.get(..end)?).ok()?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        (version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(fits)).then(|| version.to_owned())
    })
}

/// Sees that an executable is for this machine: the kind of its header is that of the running one.
pub(crate) fn runs_here(file: impl Read) -> io::Result<bool> {
    let header = |file: &mut dyn Read| {
        let mut header = [0; ELF_HEADER];
        file.read_exact(&mut header)?;
        // class, data, and machine; not e_type: a static executable may be position-independent or not
        io::Result::Ok((
            header.get(..6).map(<[u8]>::to_vec),
            header.get(18..).map(<[u8]>::to_vec),
        ))
    };
    let mut file = file;
    Ok(header(&mut file)? == header(&mut File::open("/proc/self/exe")?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(version: &str) -> Vec<u8> {
        [MARK, version.as_bytes(), &[MARK_END]].concat()
    }

    fn ours(version: &str) -> Whose {
        Whose::Ours {
            version: version.to_owned(),
        }
    }

    #[test]
    fn the_librarys_mark_is_known() {
        assert_eq!(
            whose_is(kube_ovn::MARK.as_bytes()).unwrap(),
            ours(env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn a_mark_is_found_wherever_it_lies() {
        for before in [0, 1, (1 << 20) - 20, (1 << 20) - 1, (1 << 20) + 3, 3 << 20] {
            let text = [vec![b'x'; before], marked("1.2.3-rc.1+a"), vec![b'y'; 100]].concat();
            assert_eq!(whose_is(&text[..]).unwrap(), ours("1.2.3-rc.1+a"), "{before}");
        }
    }

    #[test]
    fn half_a_mark_is_none() {
        let long = "1".repeat(MAX_VERSION + 1);
        for text in [
            &b""[..],
            b"kube-ovn",
            MARK,
            &marked(""),
            &marked("x"),
            &marked("1 2"),
            &marked(&long),
        ] {
            assert_eq!(whose_is(text).unwrap(), Whose::Another, "{text:?}");
        }
        // what comes first does not hide what follows
        let text = [marked("x"), marked("2.0.0")].concat();
        assert_eq!(whose_is(&text[..]).unwrap(), ours("2.0.0"));
    }

    #[test]
    fn machines_differ() {
        assert!(runs_here(File::open("/proc/self/exe").unwrap()).unwrap());
        let mut header = vec![0; ELF_HEADER];
        File::open("/proc/self/exe").unwrap().read_exact(&mut header).unwrap();
        header[18] ^= 1;
        assert!(!runs_here(&header[..]).unwrap());
        assert!(runs_here(&b"#!/bin/sh"[..]).is_err());
    }
}
