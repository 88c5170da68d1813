//! What a sysfs should never show but a resolver must stand.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{answer, facts, pci};
use crate::device::fixture::{Tree, read_plainly};
use crate::device::{self, Dir, NotAVf, Sysfs};
use crate::net::devlink::Recorded;
use crate::resolve::{Error, uplink};

/// One VF on a PF in switchdev mode, which the tests below then spoil.
const SWITCHDEV: &str = "
    /sys/bus/pci/devices/0000:03:00.0 -> ../../../devices/pci0000:00/0000:03:00.0
    /sys/bus/pci/devices/0000:03:00.2 -> ../../../devices/pci0000:00/0000:03:00.2
    /sys/devices/pci0000:00/0000:03:00.0/sriov_totalvfs = 8
    /sys/devices/pci0000:00/0000:03:00.0/virtfn0 -> ../0000:03:00.2
    /sys/devices/pci0000:00/0000:03:00.0/net/p0/ifindex = 10
    /sys/devices/pci0000:00/0000:03:00.0/net/p0/phys_port_name = p0
    /sys/devices/pci0000:00/0000:03:00.0/net/p0/phys_switch_id = c2cf
    /sys/devices/pci0000:00/0000:03:00.0/net/eth0/ifindex = 11
    /sys/devices/pci0000:00/0000:03:00.0/net/eth0/phys_port_name = pf0vf0
    /sys/devices/pci0000:00/0000:03:00.0/net/eth0/phys_switch_id = c2cf
    /sys/devices/pci0000:00/0000:03:00.2/physfn -> ../0000:03:00.0
    /sys/devices/pci0000:00/0000:03:00.2/net/eth9/ifindex = 20";
const PF: &str = "/sys/devices/pci0000:00/0000:03:00.0";
const VF: &str = "/sys/devices/pci0000:00/0000:03:00.2";

/// The answer for the VF of [`SWITCHDEV`] with more lines, and with some of its files gone.
fn spoilt(gone: &[&str], lines: &str) -> String {
    let tree = Tree::new(SWITCHDEV);
    for path in gone {
        let path = tree.path(path);
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        tree.add(line).unwrap();
    }
    answer(&tree, &Recorded::default(), "0000:03:00.2")
}

const INTACT: &str =
    "=> unbound 0 of 0000:03:00.0 driver=- netdevs=eth9/20 uplink=p0/10 representor=eth0/11:pf0vf0 by=sysfs";

#[test]
fn the_tree_of_these_tests_is_sound() {
    assert_eq!(spoilt(&[], ""), INTACT);
}

#[test]
fn no_such_device() {
    let tree = Tree::new(SWITCHDEV);
    let sysfs = tree.sysfs();
    let gone = pci("0000:03:00.7");
    assert!(matches!(sysfs.vf(&gone), Err(device::Error::NoSuchDevice { address }) if address == gone));
    assert!(matches!(sysfs.netdevs(&gone), Err(device::Error::NoSuchDevice { address }) if address == gone));
    let no_uplink = uplink(&sysfs, &Recorded::default(), &gone);
    assert!(matches!(no_uplink, Err(Error::Device(device::Error::NoSuchDevice { address })) if address == gone));
}

#[test]
fn a_link_to_a_device_that_is_gone_is_no_device() {
    let tree = Tree::new("/sys/bus/pci/devices/0000:03:00.2 -> ../../../devices/pci0000:00/0000:03:00.2");
    assert!(matches!(
        tree.sysfs().vf(&pci("0000:03:00.2")),
        Err(device::Error::NoSuchDevice { .. })
    ));
}

/// Otherwise a plugin that runs where /sys is not mounted would report every VF as removed.
#[test]
fn no_sysfs_is_not_no_device() {
    let tree = Tree::new("");
    assert_eq!(
        answer(&tree, &Recorded::default(), "0000:03:00.2"),
        "error: cannot read /sys/bus/pci/devices: No such file or directory (os error 2)"
    );
}

#[test]
fn a_pf_is_not_a_vf_and_names_its_vfs() {
    let tree = Tree::new(SWITCHDEV);
    assert_eq!(
        answer(&tree, &Recorded::default(), "0000:03:00.0"),
        "error: 0000:03:00.0 is not a VF: it is a PF; give one of its VFs: 0000:03:00.2 (virtfn0)"
    );
    for index in 1..200 {
        tree.add(&format!(
            "{PF}/virtfn{index} -> ../0000:03:{:02x}.{}",
            1 + index / 8,
            index % 8
        ))
        .unwrap();
    }
    let answer = answer(&tree, &Recorded::default(), "0000:03:00.0");
    assert!(answer.ends_with(
        "0000:03:01.2 (virtfn2), 0000:03:01.3 (virtfn3), 0000:03:01.4 (virtfn4), \
                              0000:03:01.5 (virtfn5), 0000:03:01.6 (virtfn6), 0000:03:01.7 (virtfn7) and 192 more"
    ));
}

#[test]
fn a_pf_without_vfs() {
    let tree = Tree::new(SWITCHDEV);
    fs::remove_file(tree.path(&format!("{PF}/virtfn0"))).unwrap();
    let text = "error: 0000:03:00.0 is not a VF: it is a PF, and has no VFs; create them by writing their number to its \
                sriov_numvfs";
    assert_eq!(answer(&tree, &Recorded::default(), "0000:03:00.0"), text);
}

#[test]
fn a_device_without_sriov() {
    let tree = Tree::new("/sys/bus/pci/devices/0000:00:1f.3/class = 0x040300");
    let error = tree.sysfs().vf(&pci("0000:00:1f.3")).unwrap_err();
    assert!(
        matches!(
            error,
            device::Error::NotAVf {
                reason: NotAVf::NoSriov,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn no_driver_is_bound() {
    let tree = Tree::new(SWITCHDEV);
    fs::remove_dir_all(tree.path(&format!("{VF}/net"))).unwrap();
    let vf = tree.sysfs().vf(&pci("0000:03:00.2")).unwrap();
    assert_eq!(vf.driver, None);
    assert_eq!(tree.sysfs().netdevs(&vf.address).unwrap(), []);
}

#[test]
fn a_pf_without_netdevs() {
    assert_eq!(
        spoilt(&[&format!("{PF}/net")], ""),
        "error: PF 0000:03:00.0 (driver: none) has no uplink in this network namespace: expected one netdev with a port \
         name such as p0 or with none, found none; bind the PF's driver, or move its netdev back"
    );
}

#[test]
fn dangling_virtfn_links_are_compared_not_followed() {
    let virtfn0 = format!("{PF}/virtfn0");
    let unlisted = "error: PF 0000:03:00.0 has no virtfnN link to its VF 0000:03:00.2: its VFs are being created or removed; \
                    try again when that is done";
    assert_eq!(spoilt(&[&virtfn0], &format!("{virtfn0} -> ../0000:03:00.3")), unlisted);
    assert_eq!(spoilt(&[&virtfn0], ""), unlisted);
    // one that has the address in it, but not as the whole name
    assert_eq!(
        spoilt(&[&virtfn0], &format!("{virtfn0} -> ../0000:03:00.22")),
        format!(
            "error: /sys/bus/pci/devices/0000:03:00.0/virtfn0: expected a link to a PCI device, found \"../0000:03:00.22\""
        )
    );
    // names that only look like virtfnN do not count
    assert_eq!(
        spoilt(
            &[&virtfn0],
            &format!("{PF}/virtfn00 -> ../0000:03:00.2\n{PF}/virtfn+0 -> ../0000:03:00.2")
        ),
        unlisted
    );
    assert!(spoilt(&[], &format!("{PF}/virtfn1 -> ../0000:03:00.2")).contains("expected one virtfnN link to each VF"));
}

#[test]
fn the_pf_is_gone_already() {
    let link = "/sys/bus/pci/devices/0000:03:00.0";
    assert_eq!(
        spoilt(&[link], ""),
        "error: no PCI device 0000:03:00.0 on this node: was it removed, or sriov_numvfs changed, since the pod was given it?"
    );
}

#[test]
fn offset_and_stride_of_any_value() {
    let with = |offset: &str, stride: &str| {
        spoilt(
            &[],
            &format!("{PF}/sriov_offset = {offset}\n{PF}/sriov_stride = {stride}"),
        )
    };
    // with one VF the stride can be 0; other values that do not fit only cost the scan
    for (offset, stride) in [
        ("2", "1"),
        ("2", "0"),
        ("1", "0"),
        ("0", "1"),
        ("3", "1"),
        ("4294967295", "4294967295"),
    ] {
        assert_eq!(with(offset, stride), INTACT, "{offset} {stride}");
    }
    for offset in ["-1", "+2", "4294967296", "0x2", "two"] {
        let text =
            format!("error: /sys/bus/pci/devices/0000:03:00.0/sriov_offset: expected a number, found {offset:?}");
        assert_eq!(with(offset, "1"), text);
    }
}

#[test]
fn links_that_are_not_the_kernels() {
    let physfn = format!("{VF}/physfn");
    for (target, found) in [
        ("physfn", "physfn"),
        ("../../..", "../../.."),
        (".", "."),
        ("../0000:03:00.0\u{7}", "../0000:03:00.0\\u{7}"),
    ] {
        let text = format!(
            "error: /sys/bus/pci/devices/0000:03:00.2/physfn: expected a link to a PCI device, found \"{found}\""
        );
        assert_eq!(spoilt(&[&physfn], &format!("{physfn} -> {target}")), text);
    }
    assert_eq!(
        spoilt(&[&physfn], &format!("{physfn} = 0000:03:00.0")),
        "error: cannot read /sys/bus/pci/devices/0000:03:00.2/physfn: Invalid argument (os error 22)"
    );
}

#[test]
fn loops_of_links_end() {
    let device = "/sys/bus/pci/devices/0000:03:00.2";
    let text = spoilt(&[device], &format!("{device} -> 0000:03:00.2"));
    assert!(
        text.starts_with("error: cannot read /sys/bus/pci/devices/0000:03:00.2/physfn: Too many levels"),
        "{text}"
    );
    let text = spoilt(&[&format!("{VF}/net")], &format!("{VF}/net -> net"));
    assert!(
        text.starts_with("error: cannot read /sys/bus/pci/devices/0000:03:00.2/net: Too many levels"),
        "{text}"
    );
    let name = format!("{PF}/net/eth0/phys_port_name");
    let text = spoilt(&[&name], &format!("{name} -> phys_port_name"));
    assert!(text.contains("net/eth0/phys_port_name: Too many levels"), "{text}");
}

#[test]
fn attributes_have_a_bound() {
    let name = format!("{PF}/net/eth0/phys_port_name");
    let text = spoilt(&[&name], &format!("{name} = {}", "p".repeat(5000)));
    assert_eq!(
        text,
        "error: /sys/bus/pci/devices/0000:03:00.0/net/eth0/phys_port_name: expected at most 4096 bytes, found more"
    );
    // whatever goes into a message is short
    let long = |path: &str| spoilt(&[], &format!("{path} = {}", "1".repeat(4000)));
    let shown = format!("expected at most 64 characters, found \"{}\" and more", "1".repeat(64));
    assert_eq!(
        long(&format!("{PF}/sriov_offset")),
        format!("error: /sys/bus/pci/devices/0000:03:00.0/sriov_offset: {shown}")
    );
    let longest = spoilt(&[&name], &format!("{name} = {}", "1".repeat(64)));
    assert!(longest.contains(&format!("eth0 ({})", "1".repeat(64))), "{longest}");
}

#[test]
fn attributes_are_one_line_of_text() {
    let tree = Tree::new(SWITCHDEV);
    let file = tree.path(&format!("{PF}/net/eth0/phys_port_name"));
    for (bytes, found) in [
        (&b"pf0\xffvf0\n"[..], "pf0\u{fffd}vf0\\n"),
        (b"pf0vf0\npf0vf1\n", "pf0vf0\\npf0vf1\\n"),
    ] {
        fs::write(&file, bytes).unwrap();
        let text = "error: /sys/bus/pci/devices/0000:03:00.0/net/eth0/phys_port_name: expected one line of text";
        assert_eq!(
            answer(&tree, &Recorded::default(), "0000:03:00.2"),
            format!("{text}, found \"{found}\"")
        );
    }
    for blank in ["", "\n", " \n"] {
        fs::write(tree.path(&format!("{PF}/net/p0/phys_switch_id")), blank).unwrap();
        fs::write(&file, "pf0vf0").unwrap();
        let error = facts(&tree.sysfs(), &Recorded::default(), "0000:03:00.2").unwrap_err();
        assert!(matches!(error, Error::NoEswitch { .. }), "{blank:?}: {error}");
    }
}

#[test]
fn other_read_errors_are_errors() {
    let name = format!("{PF}/net/eth0/phys_switch_id");
    assert_eq!(
        spoilt(&[&name], &format!("{name} ! EIO")),
        "error: cannot read /sys/bus/pci/devices/0000:03:00.0/net/eth0/phys_switch_id: Input/output error (os error 5)"
    );
    let text = spoilt(&[&name], &format!("{name}/"));
    assert!(text.contains("phys_switch_id: Is a directory"), "{text}");
}

#[test]
fn a_fifo_does_not_hang() {
    let tree = Tree::new(SWITCHDEV);
    let file = tree.path(&format!("{PF}/net/p0/phys_switch_id"));
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(matches!(
        facts(&tree.sysfs(), &Recorded::default(), "0000:03:00.2"),
        Err(Error::NoEswitch { .. })
    ));
}

#[test]
fn names_that_no_netdev_has() {
    for name in ["a-name-of-16-byte", "a:b"] {
        assert_eq!(
            spoilt(&[], &format!("{VF}/net/{name}/ifindex = 21")),
            format!(
                "error: /sys/bus/pci/devices/0000:03:00.2/net: expected names of network interfaces, found {name:?}"
            )
        );
    }
    let tree = Tree::new(SWITCHDEV);
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"eth\xff");
    fs::create_dir(tree.path(&format!("{VF}/net")).join(name)).unwrap();
    assert_eq!(
        answer(&tree, &Recorded::default(), "0000:03:00.2"),
        "error: /sys/bus/pci/devices/0000:03:00.2/net: expected names in UTF-8, found \"eth\u{fffd}\""
    );
}

#[test]
fn a_representor_of_another_eswitch_is_shown_not_taken() {
    let id = format!("{PF}/net/eth0/phys_switch_id");
    let text = spoilt(&[&id], &format!("{id} = beef"));
    assert!(
        text.contains("with switch id c2cf, found eth0 (pf0vf0, switch id beef);"),
        "{text}"
    );
    let text = spoilt(&[&id], "");
    assert!(text.contains("with switch id c2cf, found eth0 (pf0vf0);"), "{text}");
}

#[test]
fn two_netdevs_for_one_port() {
    let second = format!(
        "{PF}/net/eth1/ifindex = 12\n{PF}/net/eth1/phys_port_name = pf0vf0\n{PF}/net/eth1/phys_switch_id = c2cf"
    );
    assert_eq!(
        spoilt(&[], &second),
        "error: cannot tell which is the representor of VF 0000:03:00.2 (VF 0 of PF 0000:03:00.0): found eth0 \
         (pf0vf0, switch id c2cf), eth1 (pf0vf0, switch id c2cf); no two netdevs can be the same port"
    );
}

/// One that answers each time with another index: names that pass from netdev to netdev.
#[test]
fn a_netdev_that_changes_while_it_is_read_is_left_out() {
    static READS: AtomicU32 = AtomicU32::new(0);
    fn read(dir: &Dir, name: &str) -> std::io::Result<Vec<u8>> {
        if dir.path(name).ends_with("net/eth0/ifindex") {
            return Ok(READS.fetch_add(1, Ordering::Relaxed).to_string().into_bytes());
        }
        read_plainly(dir, name)
    }
    let tree = Tree::new(SWITCHDEV);
    let sysfs = tree.sysfs_read_by(read);
    assert!(
        matches!(facts(&sysfs, &Recorded::default(), "0000:03:00.2"), Err(Error::NoRepresentor { seen, .. }) if seen.is_empty())
    );
    assert_eq!(
        READS.load(Ordering::Relaxed),
        2 * 3,
        "two reads in each of three passes"
    );
}

#[test]
fn the_shipped_reader_reads_the_same() {
    let tree = Tree::new(SWITCHDEV);
    assert_eq!(
        format!(
            "=> {}",
            facts(&Sysfs::new(tree.path("/sys")), &Recorded::default(), "0000:03:00.2").unwrap()
        ),
        INTACT
    );
}
