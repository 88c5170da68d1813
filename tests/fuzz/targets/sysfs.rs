//! Trees that no kernel makes, in the language of tests/fixtures/sysfs/README.md with a few nodes more: `PATH |` is a
//! FIFO, `PATH #` a file of 1 TiB, `PATH @` a link to /dev/zero. A file whose read should fail becomes a directory, which
//! is the one way to make a read fail without a hook in the code under test. Names are bytes, not only UTF-8.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use kube_ovn::device::Sysfs;
use kube_ovn::net::devlink::Recorded;
use kube_ovn::resolve::{resolve, uplink};
use kube_ovn::types::DeviceId;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

pub(super) const WORDS: &[&str] = &[
    " |\n",
    " #\n",
    " @\n",
    "/\n",
    " ! EIO\n",
    " -> .\n",
    " -> ..\n",
    " -> net\n",
    " = p0\n",
    " = pf0vf0\n",
    " = 4294967295\n",
    " = -1\n",
    "/sys/bus/pci/devices/0000:03:00.0",
    "/sys/bus/pci/devices/0000:03:00.2",
    "/sys/devices/pci0000:00/0000:00:02.0/0000:03:00.0/",
    "physfn",
    "virtfn0",
    "sriov_offset",
    "sriov_stride",
    "net/eth0/",
    "ifindex",
    "phys_port_name",
    "phys_switch_id",
    "sfnum",
    "/sys/bus/auxiliary/devices/mlx5_core.sf.4",
    "/sys/bus/vdpa/devices/vdpa0",
    "/sys/class/net/eth0",
    "devlink pci/0000:03:00.0 eswitch switchdev\n",
    "devlink pci/0000:03:00.0/1 netdev eth0/11 flavour pcivf pfnum 0 vfnum 0\n",
    "expect mlx5_core.sf.4 x\n",
    "\u{fffd}",
];

/// The tree lies so deep that relative links of fixtures stay inside it.
const DEPTH: &str = "0/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15";

/// Nodes of one tree, and questions to it.
const MAX_LINES: usize = 300;

/// Where the tree is, and what is in it: to ask the kernel for that would be most of the work.
struct Tree {
    root: PathBuf,
    folders: HashSet<PathBuf>,
    /// All of it, folders before what is in them.
    made: Vec<PathBuf>,
}

pub(super) fn run(input: &[u8]) -> String {
    let root = std::env::temp_dir().join(DEPTH);
    fs::create_dir_all(root.join("sys")).unwrap();
    let mut tree = Tree {
        folders: HashSet::from([root.join("sys")]),
        root,
        made: Vec::new(),
    };
    let mut asked: Vec<DeviceId> = vec!["0000:03:00.2".parse().unwrap()];
    let mut devlink = Recorded::default();
    for line in input.split(|byte| *byte == b'\n').take(MAX_LINES) {
        if let Some(question) = line.strip_prefix(b"expect ") {
            let address = question.split(|byte| *byte == b' ').next().unwrap_or_default();
            asked.extend(String::from_utf8_lossy(address).parse());
        } else if let Some(answer) = line.strip_prefix(b"devlink ") {
            let _ = devlink.add(&String::from_utf8_lossy(answer));
        } else {
            add(&mut tree, line);
        }
    }
    asked.truncate(8);
    let root = &tree.root;
    let sysfs = Sysfs::new(root.join("sys"));
    let mut answer = String::new();
    for device in asked {
        let facts = resolve(&sysfs, &devlink, &device).and_then(|found| {
            let uplink = uplink(&sysfs, &devlink, &found.pf)?;
            Ok(format!("{found:?} {uplink:?}"))
        });
        let text = facts.unwrap_or_else(|error| error.to_string());
        assert!(!text.contains('\n') && text.len() < 8192, "not a line: {text:?}");
        let _ = writeln!(answer, "{text}");
    }
    for place in tree.made.iter().rev() {
        // what could not be made is not there either
        let _ = if tree.folders.contains(place) {
            fs::remove_dir(place)
        } else {
            fs::remove_file(place)
        };
    }
    fs::remove_dir(root.join("sys")).unwrap(); // nothing is left in it
    answer.replace(&*root.to_string_lossy(), "")
}

/// Makes what a line says, if that is inside the tree; never writes through a link.
fn add(tree: &mut Tree, line: &[u8]) {
    let split = |by: &[u8]| {
        let at = line.windows(by.len()).position(|window| window == by)?;
        Some((&line[..at], &line[at + by.len()..]))
    };
    // what cannot be made (a name too long, a path that is there) is left out
    if let Some((path, target)) = split(b" -> ") {
        let target = Path::new(OsStr::from_bytes(target));
        if target
            .components()
            .all(|part| matches!(part, Component::ParentDir | Component::CurDir | Component::Normal(_)))
            && !leads_out(target)
        {
            make(tree, path).map(|path| symlink(target, path));
        }
    } else if let Some((path, content)) = split(b" = ") {
        make(tree, path).map(|path| fs::write(path, [content, b"\n"].concat()));
    } else if let Some((path, _)) = split(b" ! ") {
        make_folder(tree, path);
    } else if let Some(path) = line.strip_suffix(b" |") {
        make(tree, path).map(|path| mkfifo(&path, Mode::S_IRWXU));
    } else if let Some(path) = line.strip_suffix(b" #") {
        make(tree, path).map(|path| File::create(path).and_then(|file| file.set_len(1 << 40)));
    } else if let Some(path) = line.strip_suffix(b" @") {
        make(tree, path).map(|path| symlink("/dev/zero", path));
    } else if let Some(path) = line.strip_suffix(b"/") {
        make_folder(tree, path);
    }
}

fn make_folder(tree: &mut Tree, path: &[u8]) {
    if let Some(path) = make(tree, path)
        && fs::create_dir(&path).is_ok()
    {
        tree.folders.insert(path);
    }
}

/// Whether a link could come to the machine's own /dev, /proc or /sys: their files do things when they are opened.
fn leads_out(target: &Path) -> bool {
    let up = target.components().filter(|part| *part == Component::ParentDir).count();
    let named = |name: &str| target.components().any(|part| part.as_os_str() == name);
    up > 12 || named("dev") || named("proc") || named("run")
}

/// The place of a node in the tree, its folders made; nothing when there is something already, or a link on the way.
fn make(tree: &mut Tree, path: &[u8]) -> Option<PathBuf> {
    let mut place = tree.root.clone();
    let path = Path::new(OsStr::from_bytes(path)).strip_prefix("/").ok()?;
    let parts: Vec<Component> = path.components().collect();
    let (last, folders) = parts.split_last()?;
    for part in folders {
        place.push(normal(part)?);
        if !tree.folders.contains(&place) {
            // what is there and is not known may be a link
            fs::create_dir(&place).ok()?;
            tree.folders.insert(place.clone());
            tree.made.push(place.clone());
        }
    }
    place.push(normal(last)?);
    if fs::symlink_metadata(&place).is_ok() {
        return None;
    }
    tree.made.push(place.clone());
    Some(place)
}

fn normal<'a>(part: &Component<'a>) -> Option<&'a OsStr> {
    match part {
        Component::Normal(name) => Some(name),
        _ => None,
    }
}
