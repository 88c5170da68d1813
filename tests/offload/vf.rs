//! `vf`, on machines of tests/fixtures/sysfs.

use std::fs;

use serde_json::Value;

use crate::{Machine, stderr, stdout, tool};

#[test]
fn a_table_of_what_was_found_and_of_what_was_ruled_out() {
    let output = Machine::new("F4-external-and-local").tool(&["vf", "0000:03:00.2"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let expected = "\
DEVICE       0000:03:00.2
KIND         VF with a netdev
NUMBER       0
PF           0000:03:00.0
DRIVER       mlx5_core
NETDEV       ens1f0v0 (index 30)
UPLINK       p0 (index 10)
REPRESENTOR  eth4 (index 13)
PORT         pf0vf0
FOUND BY     devlink port pci/0000:03:00.0/3

SOURCE   VERDICT    WHAT
sysfs    says       0000:03:00.2 is VF 0 of PF 0000:03:00.0, driver mlx5_core
devlink  says       the eswitch of pci/0000:03:00.0 is in mode switchdev
devlink  ruled out  pci/0000:03:00.0/1 netdev eth2/11 flavour pcivf controller 1 pfnum 0 vfnum 0 external true: another host's
devlink  ruled out  pci/0000:03:00.0/2 netdev eth3/12 flavour pcivf controller 1 pfnum 0 vfnum 1 external true: another host's
devlink  ruled out  pci/0000:03:00.0/4 netdev eth5/14 flavour pcivf controller 0 pfnum 0 vfnum 1: another number
devlink  chosen     pci/0000:03:00.0/3 netdev eth4/13 flavour pcivf controller 0 pfnum 0 vfnum 0
";
    assert_eq!(stdout(&output), expected);
}

#[test]
fn json_for_programs() {
    let output = Machine::new("F20-bond").tool(&["vf", "0000:03:01.2", "--output", "json"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["device"], "0000:03:01.2");
    assert_eq!(answer["found"]["representor"]["name"], "eth1");
    assert_eq!(answer["found"]["uplink"]["bond"], "bond0");
    assert_eq!(answer["found"]["number"], 0);
    assert_eq!(answer["error"], Value::Null);
    assert_eq!(answer["steps"][1]["source"], "devlink");
}

#[test]
fn what_cannot_be_used_ends_with_1_and_says_what_would_help() {
    for (machine, device, text) in [
        (
            "F7-mlx5-legacy",
            "0000:03:00.2",
            "PF 0000:03:00.0 (ens1f0np0) is in legacy mode, offload needs switchdev: devlink dev eswitch set pci/0000:03:00.0 \
             mode switchdev",
        ),
        (
            "F10-bluefield-host",
            "0000:03:00.2",
            "on the host of a DPU it belongs to the DPU",
        ),
        (
            "F12-no-driver",
            "0000:03:00.2",
            "echo 0000:03:00.2 > /sys/bus/pci/drivers_probe",
        ),
        ("F13-vdpa-vhost", "0000:03:00.2", "vdpa dev del vdpa0"),
        (
            "F11-sub-functions",
            "mlx5_core.sf.3",
            "is a sub-function, which kube-ovn-daemon can't attach",
        ),
    ] {
        let output = Machine::new(machine).tool(&["vf", device]);
        assert_eq!(output.status.code(), Some(1), "{machine}");
        assert!(stderr(&output).starts_with("kube-ovn-offload: "), "{machine}");
        assert!(stderr(&output).contains(text), "{machine}: {}", stderr(&output));
        let json = Machine::new(machine).tool(&["vf", device, "-o", "json"]);
        let answer: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert!(answer["error"].as_str().unwrap().contains(text), "{machine}: {answer}");
        assert_eq!(json.status.code(), Some(1), "{machine}");
    }
}

#[test]
fn other_ends() {
    let machine = Machine::new("F1-mlx5-switchdev");
    for (device, status) in [
        ("0000:03:00.0", 3),
        ("0000:03:00.5", 3),
        ("mlx5_core.sf.1", 3),
        ("eth0", 2),
        ("", 2),
    ] {
        let output = machine.tool(&["vf", device]);
        assert_eq!(output.status.code(), Some(status), "{device}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{device}");
    }
    let nowhere = tool(&["vf", "0000:03:00.2", "--sysfs", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(4), "{}", stderr(&nowhere));
}

/// A netdev may be called anything but white space; a terminal must not act on it.
#[test]
fn names_are_shown_not_obeyed() {
    let machine = Machine::new("F1-mlx5-no-offset-attributes");
    let net = machine
        .dir
        .path()
        .join("sys/devices/pci0000:00/0000:00:02.0/0000:03:00.0/net");
    fs::rename(net.join("eth0"), net.join("\u{1b}[31mred")).unwrap();
    let output = machine.tool(&["vf", "0000:03:00.2"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("REPRESENTOR  \\u{1b}[31mred (index 11)\n"),
        "{}",
        stdout(&output)
    );
    assert!(!stdout(&output).contains('\u{1b}'));
}
