//! Whether this process sees what the host mounts.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::Error;

/// The inode of the first PID namespace (`PROC_PID_INIT_INO` of `linux/proc_ns.h`).
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;
/// A node with 500 pods has some 10,000 mounts of 200 bytes each.
const MAX_MOUNTINFO: u64 = 64 << 20;

/// See [`super::Stack::sees_namespaces_at`].
pub(super) fn sees_namespaces_at(path: &Path) -> Result<bool, Error> {
    let among_all_processes = is_inode("/proc/self/ns/pid", FIRST_PID_NAMESPACE);
    if path.starts_with("/proc") {
        return Ok(among_all_processes); // the namespace of a process, by its number
    }
    if among_all_processes && same_inode("/proc/self/ns/mnt", "/proc/1/ns/mnt") {
        return Ok(true);
    }
    let mut text = Vec::new();
    File::open("/proc/self/mountinfo")
        .and_then(|file| file.take(MAX_MOUNTINFO).read_to_end(&mut text))
        .map_err(|cause| Error::Io {
            what: "read /proc/self/mountinfo".to_owned(),
            cause,
        })?;
    Ok(receives_mounts(&String::from_utf8_lossy(&text), path))
}

fn inode(path: &str) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.ino())
}

fn is_inode(path: &str, expected: u64) -> bool {
    inode(path).is_ok_and(|found| found == expected)
}

fn same_inode(one: &str, other: &str) -> bool {
    matches!((inode(one), inode(other)), (Ok(one), Ok(other)) if one == other)
}

/// Whether the mount that holds the directory of `path` gets the mounts which the host makes below it: it is shared with
/// the host's, or a slave of it (`mount_namespaces(7)`); `text` is /proc/self/mountinfo (proc(5)).
fn receives_mounts(text: &str, path: &Path) -> bool {
    let Some(directory) = path.parent() else {
        return false;
    };
    // /var/run is a link to /run
    let spellings = [
        directory.to_owned(),
        std::fs::canonicalize(directory).unwrap_or_default(),
    ];
    let mut best: Option<(usize, bool)> = None;
    for line in text.lines() {
        let Some((head, _)) = line.split_once(" - ") else {
            continue;
        };
        let mut fields = head.split(' ').skip(4);
        let Some(point) = fields.next().map(unescape) else {
            continue;
        };
        if !spellings.iter().any(|directory| directory.starts_with(&point)) {
            continue;
        }
        let depth = point
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .count();
        let propagates = fields
            .skip(1)
            .any(|field| field.starts_with("shared:") || field.starts_with("master:"));
        // of several mounts on one point, the last one is seen
        if best.is_none_or(|(deepest, _)| depth >= deepest) {
            best = Some((depth, propagates));
        }
    }
    best.is_some_and(|(_, propagates)| propagates)
}

/// Space, tab, newline and backslash are written as octal numbers (proc(5)).
fn unescape(text: &str) -> PathBuf {
    let plain = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    plain
        .iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_that_the_host_makes() {
        let alone = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 0:20 / /proc rw - proc proc rw";
        let shared = "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw";
        let pod = "600 500 0:50 / / rw - overlay overlay rw\n\
                   601 600 0:25 /netns /run/netns rw master:12 - tmpfs tmpfs rw\n\
                   602 600 0:26 / /run/a\\040b rw,nosuid shared:4 master:2 - tmpfs tmpfs rw";
        let private_on_top = "21 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n30 21 0:40 / /run rw - tmpfs tmpfs rw";
        for (text, path, expected) in [
            (alone, "/run/netns/cni-1", false),
            (shared, "/run/netns/cni-1", true),
            (pod, "/run/netns/cni-1", true),
            (pod, "/run/elsewhere/cni-1", false),
            (pod, "/run/a b/cni-1", true),
            (private_on_top, "/run/netns/cni-1", false),
            ("", "/run/netns/cni-1", false),
            ("garbage - - -", "/", false),
        ] {
            assert_eq!(receives_mounts(text, Path::new(path)), expected, "{path} in {text}");
        }
    }
}
