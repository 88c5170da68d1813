//! The node's settings: one JSON object in one file, every key optional (docs/configuration.md).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;
use serde_json::Value;

use super::file::{Unfit, read};
use super::keys::Keys;
use crate::text::{cut, quoted};

/// Where the settings are, on every host.
pub const PATH: &str = "/etc/kube-ovn-cni/config.json";
/// The largest file with a meaning has a few thousand bytes.
const MAX_SIZE: u64 = 64 * 1024;
/// Of a key or a value in an error, in characters.
const MAX_SHOWN: usize = 60;
const MAX_REASON: usize = 200;
/// Directories that one node can have reason to list.
const MAX_DIRECTORIES: usize = 16;

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there and can't be read.
    #[error("node settings {path} can't be read: {cause}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// Somebody else than root may have written it.
    #[error("node settings {path} must be a regular file of root's in a directory of root's, neither writable for others, but {why}",
        path = .path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: String,
    },
    /// It is no JSON object, or too large.
    #[error("node settings {path} must be one JSON object of at most {MAX_SIZE} bytes: {why}", path = .path.display())]
    NotAnObject {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A key that has no meaning, or not this value.
    #[error("node settings {path}: {key} {why}", path = .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key, escaped and cut.
        key: String,
        /// What is wrong, as the end of a sentence.
        why: String,
    },
}

/// What to do about a device that kubelet did not allocate to the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// Nothing is looked at.
    Off,
    /// A line in the log.
    Warn,
    /// ADD fails.
    Require,
}

/// What to do when a VF can be attached and its traffic would not be offloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// A line in the log.
    Warn,
    /// ADD fails.
    Require,
}

/// How long calls may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// A whole ADD.
    pub add: Duration,
    /// The end of `add` that is kept for undoing what failed.
    pub undo: Duration,
    /// A whole DEL.
    pub del: Duration,
    /// The part of `del` that may be spent waiting for another call on the same device.
    pub del_lock: Duration,
}

/// The node's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What goes into the log.
    pub log_level: LevelFilter,
    /// A file that gets the log as well as stderr.
    pub log_file: Option<PathBuf>,
    /// How long calls may take.
    pub deadlines: Deadlines,
    /// Where the daemon's socket may be, beside [`super::SOCKET_DIRECTORY`].
    pub socket_directories: Vec<PathBuf>,
    /// Devices that were not allocated to the pod.
    pub allocation: Allocation,
    /// Devices that can't be offloaded.
    pub offload: Offload,
}

impl Default for Deadlines {
    /// The runtime gives a sandbox 4 minutes (twice kubelet's `runtimeRequestTimeout`), of which Multus and the other
    /// plugins need some.
    fn default() -> Self {
        Self {
            add: Duration::from_secs(200),
            undo: Duration::from_secs(15),
            del: Duration::from_secs(60),
            del_lock: Duration::from_secs(30),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log_level: LevelFilter::Info,
            log_file: None,
            deadlines: Deadlines::default(),
            socket_directories: Vec::new(),
            allocation: Allocation::Warn,
            offload: Offload::Warn,
        }
    }
}

impl Config {
    /// The settings in this file; the defaults when it does not exist.
    pub fn load(path: &Path) -> Result<Self, Error> {
        match read_file(path)? {
            Some(bytes) => Self::parse(path, &bytes),
            None => Ok(Self::default()),
        }
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let Keys(keys) = serde_json::from_slice(bytes).map_err(|e| Error::NotAnObject {
            path: path.to_owned(),
            why: cut(&e.to_string(), MAX_REASON), // it has the whole text that stands where an object should
        })?;
        let mut config = Self::default();
        let mut del_lock = None;
        for (key, value) in &keys {
            let wrong = |why: String| Error::Key {
                path: path.to_owned(),
                key: quoted(key, MAX_SHOWN),
                why,
            };
            let deadlines = &mut config.deadlines;
            match key.as_str() {
                "log_level" => config.log_level = one_of(value, &LEVELS).map_err(wrong)?,
                "log_file" => config.log_file = Some(absolute(value).map_err(wrong)?),
                "add_seconds" => deadlines.add = seconds(value, 30).map_err(wrong)?,
                "undo_seconds" => deadlines.undo = seconds(value, 5).map_err(wrong)?,
                "del_seconds" => deadlines.del = seconds(value, 10).map_err(wrong)?,
                "del_lock_seconds" => del_lock = Some(seconds(value, 1).map_err(wrong)?),
                "socket_directories" => config.socket_directories = directories(value).map_err(wrong)?,
                "allocation" => config.allocation = one_of(value, &ALLOCATIONS).map_err(wrong)?,
                "offload" => config.offload = one_of(value, &OFFLOADS).map_err(wrong)?,
                _ => return Err(wrong(format!("is no setting, expected one of {}", KEYS.join(", ")))),
            }
        }
        let deadlines = &mut config.deadlines;
        deadlines.del_lock = del_lock.unwrap_or(deadlines.del / 2);
        let contradiction = |key: &str, why: String| Error::Key {
            path: path.to_owned(),
            key: key.to_owned(),
            why,
        };
        if deadlines.undo * 2 > deadlines.add {
            let add = deadlines.add.as_secs();
            let why = format!("must be at most half of add_seconds ({add}): what fails is undone in that time");
            return Err(contradiction("undo_seconds", why));
        }
        if deadlines.del_lock >= deadlines.del {
            let del = deadlines.del.as_secs();
            let why = format!("must be less than del_seconds ({del}): DEL has work to do once it has the lock");
            return Err(contradiction("del_lock_seconds", why));
        }
        Ok(config)
    }
}

const KEYS: [&str; 9] = [
    "log_level",
    "log_file",
    "add_seconds",
    "undo_seconds",
    "del_seconds",
    "del_lock_seconds",
    "socket_directories",
    "allocation",
    "offload",
];
const LEVELS: [(&str, LevelFilter); 4] = [
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
];
const ALLOCATIONS: [(&str, Allocation); 3] = [
    ("off", Allocation::Off),
    ("warn", Allocation::Warn),
    ("require", Allocation::Require),
];
const OFFLOADS: [(&str, Offload); 2] = [("warn", Offload::Warn), ("require", Offload::Require)];
/// An hour. kubelet's `runtimeRequestTimeout` may be raised for slow nodes, and nobody waits longer for a sandbox.
const MAX_SECONDS: u64 = 3600;

fn one_of<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let found = value.as_str();
    let word = words.iter().find(|(word, _)| found == Some(*word));
    word.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("must be one of {}, found {}", words.join(", "), shown(value))
    })
}

fn seconds(value: &Value, least: u64) -> Result<Duration, String> {
    let number = value.as_u64().filter(|n| (least..=MAX_SECONDS).contains(n));
    number.map(Duration::from_secs).ok_or_else(|| {
        let found = shown(value);
        format!("must be a whole number of seconds from {least} to {MAX_SECONDS}, found {found}")
    })
}

fn absolute(value: &Value) -> Result<PathBuf, String> {
    value
        .as_str()
        .filter(|text| text.starts_with('/') && text.len() > 1 && !text.contains('\0'))
        .filter(|text| !text.split('/').any(|part| part == ".." || part == "."))
        .map(PathBuf::from)
        .ok_or_else(|| format!("must be an absolute path without . and .., found {}", shown(value)))
}

fn directories(value: &Value) -> Result<Vec<PathBuf>, String> {
    let Some(list) = value.as_array().filter(|list| list.len() <= MAX_DIRECTORIES) else {
        let found = shown(value);
        return Err(format!(
            "must be a list of at most {MAX_DIRECTORIES} directories, found {found}"
        ));
    };
    list.iter()
        .map(|entry| absolute(entry).map_err(|why| format!("has an entry that {why}")))
        .collect()
}

/// A value, cut: it goes into an error message.
fn shown(value: &Value) -> String {
    cut(&value.to_string(), MAX_SHOWN)
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    read(path, MAX_SIZE).map_err(|unfit| match unfit {
        Unfit::Io(cause) => Error::Io {
            path: path.to_owned(),
            cause,
        },
        Unfit::Unsafe(why) => Error::Unsafe {
            path: path.to_owned(),
            why,
        },
        Unfit::TooLarge(_) => Error::NotAnObject {
            path: path.to_owned(),
            why: unfit.to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("/c.json"), text.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn every_key_and_none() {
        assert_eq!(parse("{}").unwrap(), Config::default());
        let example = include_str!("../../conf/config.json");
        assert_eq!(
            parse(example).unwrap(),
            Config::default(),
            "the example says what is without it"
        );
        let config = parse(
            r#"{"log_level":"debug","log_file":"/var/log/kube-ovn-cni.log","add_seconds":100,"undo_seconds":20,
                "del_seconds":40,"socket_directories":["/run/other"],"allocation":"require","offload":"require"}"#,
        )
        .unwrap();
        let expected = Config {
            log_level: LevelFilter::Debug,
            log_file: Some("/var/log/kube-ovn-cni.log".into()),
            deadlines: Deadlines {
                add: Duration::from_secs(100),
                undo: Duration::from_secs(20),
                del: Duration::from_secs(40),
                del_lock: Duration::from_secs(20),
            },
            socket_directories: vec!["/run/other".into()],
            allocation: Allocation::Require,
            offload: Offload::Require,
        };
        assert_eq!(config, expected);
        let Deadlines { del, del_lock, .. } = Config::default().deadlines;
        assert_eq!(del_lock, del / 2, "the default is that of a file without the key");
    }

    #[test]
    fn what_is_wrong_names_the_key() {
        for (text, error) in [
            (
                r#"{"alocation":"warn"}"#,
                "node settings /c.json: \"alocation\" is no setting, expected one of log_level, log_file, add_seconds, \
                 undo_seconds, del_seconds, del_lock_seconds, socket_directories, allocation, offload",
            ),
            (
                r#"{"allocation":"yes"}"#,
                "node settings /c.json: \"allocation\" must be one of \"off\", \"warn\", \"require\", found \"yes\"",
            ),
            (r#"{"allocation":true}"#, "\"allocation\" must be one of"),
            (r#"{"allocation":null}"#, "\"allocation\" must be one of"),
            (
                r#"{"offload":"off"}"#,
                "\"offload\" must be one of \"warn\", \"require\"",
            ),
            (r#"{"log_level":"trace"}"#, "\"log_level\" must be one of"),
            (r#"{"log_file":"log"}"#, "\"log_file\" must be an absolute path"),
            (r#"{"log_file":"/var/../x"}"#, "\"log_file\" must be an absolute path"),
            (
                r#"{"add_seconds":"200"}"#,
                "\"add_seconds\" must be a whole number of seconds from 30 to 3600, found \"200\"",
            ),
            (r#"{"add_seconds":1.5}"#, "found 1.5"),
            (r#"{"add_seconds":-1}"#, "found -1"),
            (r#"{"add_seconds":3601}"#, "found 3601"),
            (r#"{"del_seconds":9}"#, "\"del_seconds\" must be"),
            (
                r#"{"add_seconds":30,"undo_seconds":16}"#,
                "undo_seconds must be at most half of add_seconds (30)",
            ),
            (
                r#"{"del_lock_seconds":60}"#,
                "del_lock_seconds must be less than del_seconds (60)",
            ),
            (
                r#"{"socket_directories":"/run"}"#,
                "\"socket_directories\" must be a list",
            ),
            (
                r#"{"socket_directories":["run"]}"#,
                "\"socket_directories\" has an entry that must be an absolute path",
            ),
            (
                r#"{"offload":"warn","offload":"require"}"#,
                "the key \"offload\" is there twice",
            ),
            ("[]", "must be one JSON object"),
            ("", "must be one JSON object"),
            ("{} x", "must be one JSON object"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.contains(error), "{text}: {found}");
        }
        let long = parse(&format!(r#"{{"a\n{}":1}}"#, "x".repeat(1000))).unwrap_err();
        assert!(long.len() < 400 && !long.contains('\n'), "{long}");
    }

    #[test]
    fn the_file_is_roots_alone_or_missing() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("config.json");
        let load = || Config::load(&path).map_err(|e| e.to_string());
        assert_eq!(load().unwrap(), Config::default());
        fs::write(&path, r#"{"allocation":"off"}"#).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(load().unwrap().allocation, Allocation::Off);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let why = load().unwrap_err();
        assert!(
            why.contains("must be a regular file of root's") && why.contains("mode 666"),
            "{why}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, " ".repeat(64 * 1024 + 1)).unwrap();
        assert!(load().unwrap_err().ends_with("it has more than 65536 bytes"));
    }
}
