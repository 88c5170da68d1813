//! `CNIDeviceInfoFile`: where Multus reads, after ADD, what it tells of the device in the pod's network-status annotation
//! (device-info-spec 1.1.0 of the Network Plumbing Working Group, sections 3 and 5). Multus copies the device plugin's
//! file there before ADD; we add the representor and the PF. It removes the file after DEL, and after an ADD that failed
//! (delegateDel in its pkg/multus/multus.go), so we never do.
//!
//! The path comes in `runtimeConfig`, which a netconf can have of its own, and we write as root: so it counts only when
//! it is a name directly in the specification's directory, and no link is followed on the way there.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde_json::{Map, Value};

use super::file::{DIRECTORY, Unfit, held, read_in, writable};
use crate::text::{cut, quoted};
use crate::types::{IfName, PciAddress};

/// The parts of the specification's directory, below /var/run.
const PARTS: [&str; 3] = ["k8s.cni.cncf.io", "devinfo", "cni"];
/// As root's own link has it on every distribution of today.
const RUN: &str = "/var/run";
/// A file of the device plugin has a few hundred bytes.
const MAX_SIZE: u64 = 64 * 1024;
/// The longest name of a file.
const MAX_NAME: usize = 255;

/// What we know of a device.
#[derive(Debug)]
pub struct DeviceFacts<'a> {
    /// The VF.
    pub device: &'a PciAddress,
    /// Its PF.
    pub pf: &'a PciAddress,
    /// The representor, as it is attached.
    pub representor: &'a IfName,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[error("CNIDeviceInfoFile {path} is ignored: {why}")]
pub struct Ignored {
    path: String,
    why: String,
}

/// Adds what we know to the file.
pub fn update_device_info(path: &str, facts: &DeviceFacts<'_>) -> Result<(), Ignored> {
    update_below(Path::new(RUN), path, facts)
}

fn update_below(run: &Path, path: &str, facts: &DeviceFacts<'_>) -> Result<(), Ignored> {
    let ignored = |why: String| Ignored {
        path: quoted(path, MAX_NAME),
        why,
    };
    let Some(name) = name(path) else {
        let directory = PARTS.join("/");
        return Err(ignored(format!("it is not directly in {RUN}/{directory}")));
    };
    let update = || -> Result<(), Unfit> {
        let directory = directory(run)?;
        let old = read_in(&directory, Path::new(name), MAX_SIZE)?;
        let new = merged(old.as_deref(), facts).map_err(Unfit::Unsafe)?;
        replace(&directory, name, facts.device, new.to_string().as_bytes())
    };
    update().map_err(|why| ignored(why.to_string()))
}

/// The file's name in the directory; /run and /var/run are one.
fn name(path: &str) -> Option<&str> {
    let mut rest = path.strip_prefix("/var").unwrap_or(path).strip_prefix("/run/")?;
    for part in PARTS {
        rest = rest.strip_prefix(part)?.strip_prefix('/')?;
    }
    let fine = !rest.is_empty() && rest.len() <= MAX_NAME && !rest.starts_with('.');
    (fine && !rest.contains(|c: char| c == '/' || c.is_control())).then_some(rest)
}

/// The directory, made where it is missing.
fn directory(run: &Path) -> Result<File, Unfit> {
    let root = open(run, DIRECTORY.difference(OFlag::O_NOFOLLOW), Mode::empty())?;
    let mut directory = File::from(root);
    let mut path = run.to_owned();
    for part in PARTS {
        path.push(part);
        let mode = Mode::S_IRWXU | Mode::S_IRGRP | Mode::S_IXGRP | Mode::S_IROTH | Mode::S_IXOTH;
        match mkdirat(&directory, part, mode) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(other) => return Err(other.into()),
        }
        directory = held(openat(&directory, part, DIRECTORY, Mode::empty()), &path)?.ok_or(Errno::ENOENT)?;
        if let Some(why) = writable(&directory, 0o022)? {
            return Err(Unfit::Unsafe(format!("directory {} {why}", path.display())));
        }
    }
    Ok(directory)
}

/// The file's content with what we know; everything else in it stays.
fn merged(old: Option<&[u8]>, facts: &DeviceFacts<'_>) -> Result<Value, String> {
    let mut info: Map<String, Value> = match old {
        Some(bytes) => {
            serde_json::from_slice(bytes).map_err(|e| format!("it is no JSON object: {}", cut(&e.to_string(), 200)))?
        }
        None => Map::new(),
    };
    match info.get("type").and_then(Value::as_str).unwrap_or("pci") {
        "pci" => info.insert("type".to_owned(), "pci".into()),
        other => return Err(format!("it is about a device of type {}", quoted(other, 60))),
    };
    // the representor came with 1.1.0
    if matches!(info.get("version").and_then(Value::as_str), None | Some("1.0.0")) {
        info.insert("version".to_owned(), "1.1.0".into());
    }
    let pci = info.entry("pci").or_insert_with(|| Value::Object(Map::new()));
    let Some(pci) = pci.as_object_mut() else {
        return Err("its key pci is no object".to_owned());
    };
    let device = facts.device.as_str();
    match pci.get("pci-address").and_then(Value::as_str).unwrap_or(device) {
        same if same.eq_ignore_ascii_case(device) => {}
        other => return Err(format!("it is about device {}", quoted(other, 60))),
    }
    for (key, value) in [
        ("pci-address", device),
        ("pf-pci-address", facts.pf.as_str()),
        ("representor-device", facts.representor.as_str()),
    ] {
        pci.insert(key.to_owned(), value.into());
    }
    Ok(Value::Object(info))
}

/// Puts a whole new file, readable for all as Multus makes it, in the place of the old one.
fn replace(directory: &File, name: &str, device: &PciAddress, content: &[u8]) -> Result<(), Unfit> {
    // named after the device, whose lock we hold: what a killed call left is of nobody who is at work
    let temporary = format!(".kube-ovn-{device}");
    let remove = || unlinkat(directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
    match remove() {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(other) => return Err(other.into()),
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IRGRP | Mode::S_IROTH;
    let mut file = File::from(openat(directory, temporary.as_str(), flags, mode)?);
    let written = file
        .write_all(content)
        .map_err(Unfit::from)
        .and_then(|()| Ok(renameat(directory, temporary.as_str(), directory, name)?));
    if written.is_err() {
        let _ = remove();
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    const PATH: &str = "/var/run/k8s.cni.cncf.io/devinfo/cni/default-sriov-0123456789ab_net1";

    fn update(run: &TempDir, path: &str) -> Result<Value, String> {
        let device = "0000:03:00.2".parse().unwrap();
        let (pf, representor) = ("0000:03:00.0".parse().unwrap(), "0123456789ab_h".parse().unwrap());
        let facts = DeviceFacts {
            device: &device,
            pf: &pf,
            representor: &representor,
        };
        update_below(run.path(), path, &facts).map_err(|e| e.to_string())?;
        Ok(serde_json::from_slice(&fs::read(file(run)).unwrap()).unwrap())
    }

    fn file(run: &TempDir) -> std::path::PathBuf {
        run.path().join(PATH.strip_prefix("/var/run/").unwrap())
    }

    fn with(content: &str) -> TempDir {
        let run = tempfile::tempdir().unwrap();
        fs::create_dir_all(file(&run).parent().unwrap()).unwrap();
        fs::write(file(&run), content).unwrap();
        fs::set_permissions(file(&run), fs::Permissions::from_mode(0o444)).unwrap();
        run
    }

    #[test]
    fn what_the_device_plugin_wrote_stays() {
        let old = json!({"type": "pci", "version": "1.0.0", "new": [1],
            "pci": {"pci-address": "0000:03:00.2", "rdma-device": "mlx5_2", "vhost-net": "/dev/vhost-net"}});
        let run = with(&old.to_string());
        let new = json!({"type": "pci", "version": "1.1.0", "new": [1],
            "pci": {"pci-address": "0000:03:00.2", "rdma-device": "mlx5_2", "vhost-net": "/dev/vhost-net",
                "pf-pci-address": "0000:03:00.0", "representor-device": "0123456789ab_h"}});
        assert_eq!(update(&run, PATH).unwrap(), new);
        assert_eq!(
            update(&run, PATH.strip_prefix("/var").unwrap()).unwrap(),
            new,
            "and once more"
        );
        assert_eq!(fs::metadata(file(&run)).unwrap().permissions().mode() & 0o777, 0o444);
        let left = fs::read_dir(file(&run).parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "a file of ours is left");
    }

    #[test]
    fn none_yet() {
        let run = tempfile::tempdir().unwrap();
        let new = json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": "0000:03:00.2",
            "pf-pci-address": "0000:03:00.0", "representor-device": "0123456789ab_h"}});
        assert_eq!(update(&run, PATH).unwrap(), new);
    }

    #[test]
    fn a_path_that_a_tenant_chose() {
        let run = tempfile::tempdir().unwrap();
        for path in [
            "",
            "/etc/passwd",
            "k8s.cni.cncf.io/devinfo/cni/a",
            "/var/run/k8s.cni.cncf.io/devinfo/cni/",
            "/var/run/k8s.cni.cncf.io/devinfo/cni/.",
            "/var/run/k8s.cni.cncf.io/devinfo/cni/..",
            "/var/run/k8s.cni.cncf.io/devinfo/cni/../dp/a",
            "/var/run/k8s.cni.cncf.io/devinfo/cni/a/b",
            "/var/run/k8s.cni.cncf.io/devinfo/cni//a",
            "/var/run/../run/k8s.cni.cncf.io/devinfo/cni/a",
            "/var/run/k8s.cni.cncf.io/devinfo/cni/a\0b",
            "/var/run/k8s.cni.cncf.io/devinfo/cni/a\nb",
            "/var/run/k8s.cni.cncf.io/devinfo/cni/.hidden",
            "/var/run/k8s.cni.cncf.io/devinfo/dp/a",
            "/var/var/run/k8s.cni.cncf.io/devinfo/cni/a",
        ] {
            let why = update(&run, path).unwrap_err();
            assert!(
                why.contains("it is not directly in /var/run/k8s.cni.cncf.io/devinfo/cni"),
                "{why}"
            );
            assert!(!why.contains('\n') && !why.contains('\0'), "{why}");
        }
        let long = format!("/var/run/k8s.cni.cncf.io/devinfo/cni/{}", "a".repeat(256));
        assert!(update(&run, &long).is_err());
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 0, "nothing was made");
    }

    #[test]
    fn no_link_is_followed() {
        let target = tempfile::tempdir().unwrap();
        let victim = target.path().join("victim");
        fs::write(&victim, "{}").unwrap();
        // the file
        let run = with("{}");
        fs::remove_file(file(&run)).unwrap();
        symlink(&victim, file(&run)).unwrap();
        assert!(update(&run, PATH).unwrap_err().ends_with("it is a symbolic link"));
        // a directory on the way
        for depth in 1..=3 {
            let run = tempfile::tempdir().unwrap();
            let at: std::path::PathBuf = PARTS.iter().take(depth).collect();
            let at = run.path().join(at);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            symlink(target.path(), &at).unwrap();
            assert!(update(&run, PATH).unwrap_err().ends_with("is no directory"), "{depth}");
        }
        // what a stranger put there for us to write to
        let run = with("{}");
        symlink(&victim, file(&run).with_file_name(".kube-ovn-0000:03:00.2")).unwrap();
        update(&run, PATH).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "{}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_devices_file_is_left_alone() {
        for (content, part) in [
            (r#"{"type":"vdpa","version":"1.1.0","vdpa":{}}"#, "of type \"vdpa\""),
            (
                r#"{"type":"pci","pci":{"pci-address":"0000:03:00.3"}}"#,
                "device \"0000:03:00.3\"",
            ),
            (r#"{"type":"pci","pci":[]}"#, "pci is no object"),
            ("[]", "no JSON object"),
            ("", "no JSON object"),
        ] {
            let run = with(content);
            assert!(update(&run, PATH).unwrap_err().contains(part), "{content}");
            assert_eq!(fs::read_to_string(file(&run)).unwrap(), content);
        }
        let run = with(&" ".repeat(65 * 1024));
        assert!(
            update(&run, PATH)
                .unwrap_err()
                .ends_with("it has more than 65536 bytes")
        );
        let run = with("{}");
        fs::set_permissions(file(&run).parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(update(&run, PATH).unwrap_err().contains("has mode 777"));
    }
}
