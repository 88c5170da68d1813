//! `node status`, on machines of tests/fixtures/sysfs.

use std::fmt::Write;
use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::attachments::record;
use crate::{Machine, stderr, stdout, tool};

fn status(machine: &str, arguments: &[&str]) -> Output {
    Machine::new(machine).tool(&[&["node", "status"], arguments].concat())
}

#[test]
fn a_tree_at_a_glance() {
    let output = status("F20-bond", &[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let expected = "\
PF 0000:03:00.0 (p0): mlx5_core, switchdev mode, 1 of 8 VFs, ?, hw-tc-offload ?
  VF  ADDRESS       DRIVER     NETDEV    MAC  REPRESENTOR  STATE  TC  POD
└ 0   0000:03:00.2  mlx5_core  ens1f0v0  -    eth0         ?      ?

PF 0000:03:00.1 (p1): mlx5_core, switchdev mode, 1 of 8 VFs, ?, hw-tc-offload ?
  VF  ADDRESS       DRIVER     NETDEV    MAC  REPRESENTOR  STATE  TC  POD
└ 0   0000:03:01.2  mlx5_core  ens1f1v0  -    eth1         ?      ?
";
    assert_eq!(stdout(&output), expected);
}

#[test]
fn json_of_one_pf() {
    let output = status("F20-bond", &["--pf", "p1", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["pfs"].as_array().unwrap().len(), 1);
    let pf = &answer["pfs"][0];
    assert_eq!(
        (&pf["address"], &pf["eswitch"], &pf["bond"]),
        (&json!("0000:03:00.1"), &json!("switchdev"), &json!("bond0"))
    );
    assert_eq!(pf["uplink"]["name"], "p1");
    let vf = &pf["vfs"][0];
    assert_eq!(
        (&vf["address"], &vf["kind"]),
        (&json!("0000:03:01.2"), &json!("netdev"))
    );
    assert_eq!(vf["representor"]["name"], "eth1");
    assert_eq!((&vf["pod"], &vf["problem"]), (&Value::Null, &Value::Null));
}

#[test]
fn who_has_a_vf() {
    let machine = Machine::new("F21-vf-in-pod");
    let state = tempfile::tempdir().unwrap();
    let netns = state.path().join("netns");
    fs::write(&netns, "").unwrap();
    record(state.path(), 2, "web", &netns, |_| {});
    let mut command = tool(&["node", "status", "--state"]);
    command.arg(state.path());
    let output = machine.run(command);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert!(stdout(&output).contains(" default/web (eth0)\n"), "{}", stdout(&output));
    let nobody = machine.tool(&["node", "status"]);
    assert!(
        stdout(&nobody).contains(" ? (not in the host's namespace)\n"),
        "{}",
        stdout(&nobody)
    );
}

#[test]
fn what_is_wrong_is_seen() {
    for (machine, text) in [
        ("F7-mlx5-legacy", "mlx5_core, legacy mode, 1 of 8 VFs"),
        ("F12-no-driver", "no driver!"),
        ("F10-bluefield-host", "manages no eswitch"),
    ] {
        let output = status(machine, &[]);
        assert_eq!(output.status.code(), Some(0), "{machine}: {}", stderr(&output));
        assert!(stdout(&output).contains(text), "{machine}: {}", stdout(&output));
    }
}

#[test]
fn pfs_that_are_none() {
    for (machine, pf, text) in [
        ("F20-bond", "eth7", "no netdev eth7 on this node"),
        ("F20-bond", "bond0", "bond0 is a bond: give the PFs in it"),
        ("F20-bond", "bonding_masters", "no netdev bonding_masters"),
        (
            "F20-bond",
            "eth1",
            "eth1 is a representor (pf1vf0) of PF 0000:03:00.1: give the PF",
        ),
        (
            "F20-bond",
            "ens1f1v0",
            "ens1f1v0 is VF 0 of PF 0000:03:00.1: give the PF",
        ),
        ("F20-bond", "0000:03:01.2", "0000:03:01.2 is VF 0 of PF 0000:03:00.1"),
        ("F20-bond", "0000:09:00.0", "no PCI device 0000:09:00.0 on this node"),
        (
            "F20-bond",
            "a/../b",
            "is neither a PCI address such as 0000:03:00.0 nor a netdev's name",
        ),
    ] {
        let output = status(machine, &["--pf", pf]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(3), ""), "{pf}");
        assert!(stderr(&output).contains(text), "{pf}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{pf}");
    }
    let nowhere = tool(&["node", "status", "--sysfs", "/nonexistent"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(4), "{}", stderr(&nowhere));
}

/// A table of as many VFs as NICs have, and no time that one would notice: half of the limit is for slow machines.
#[test]
fn many_vfs() {
    let machine = Machine::empty();
    let pf = "sys/devices/pci0000:00/0000:03:00.0";
    machine.write(&format!("{pf}/sriov_totalvfs"), "127");
    machine.write(&format!("{pf}/sriov_numvfs"), "127");
    machine.write(&format!("{pf}/sriov_offset"), "2");
    machine.write(&format!("{pf}/sriov_stride"), "1");
    machine.write(&format!("{pf}/net/p0/ifindex"), "2");
    machine.write(&format!("{pf}/net/p0/phys_port_name"), "p0");
    machine.link(
        "sys/bus/pci/devices/0000:03:00.0",
        "../../../devices/pci0000:00/0000:03:00.0",
    );
    let mut devlink =
        "devlink pci/0000:03:00.0 eswitch switchdev\ndevlink pci/0000:03:00.0/1 netdev p0/2 flavour physical port 0\n"
            .to_owned();
    for index in 0..127 {
        let id = 0x300 + 2 + index;
        let vf = format!("0000:{:02x}:{:02x}.{}", id >> 8, id >> 3 & 0x1f, id & 7);
        let dir = format!("sys/devices/pci0000:00/{vf}");
        machine.link(&format!("{pf}/virtfn{index}"), &format!("../{vf}"));
        machine.link(&format!("{dir}/physfn"), "../0000:03:00.0");
        machine.link(&format!("{dir}/driver"), "../../../bus/pci/drivers/mlx5_core");
        machine.write(&format!("{dir}/net/v{index}/ifindex"), &(200 + index).to_string());
        machine.link(
            &format!("sys/bus/pci/devices/{vf}"),
            &format!("../../../devices/pci0000:00/{vf}"),
        );
        let number = index + 2;
        let ifindex = 400 + index;
        writeln!(
            devlink,
            "devlink pci/0000:03:00.0/{number} netdev r{index}/{ifindex} flavour pcivf controller 0 pfnum 0 vfnum {index}"
        )
        .unwrap();
    }
    machine.write("devlink", &devlink);
    let start = std::time::Instant::now();
    let output = machine.tool(&["node", "status"]);
    let took = start.elapsed();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert_eq!(stdout(&output).lines().count(), 129);
    assert!(
        stdout(&output).contains("\n└ 126  0000:03:10.0  mlx5_core  v126 "),
        "{}",
        stdout(&output)
    );
    assert!(took.as_secs() < 10, "{took:?}");
    println!("127 VFs in {took:?}");
}
