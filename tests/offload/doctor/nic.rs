//! The NIC, its VFs and their representors.

use super::node::Node;

const PF: &str = "/sys/devices/pci0000:00/0000:00:02.0/0000:03:00.0";
const VF: &str = "/sys/devices/pci0000:00/0000:00:02.0/0000:03:00.2";
const RECORDED: &str = "/recorded.txt";

#[test]
fn there_is_one() {
    let node = Node::healthy();
    node.is_well("nic");
    let (findings, _) = node.look("nic");
    assert_eq!(
        findings[0].evidence,
        "PF 0000:03:00.0 (p0): 15b3:101d, mlx5_core, 2 of 8 VFs"
    );
    node.remove(&format!("{PF}/sriov_totalvfs"));
    let found = node.says("nic", "problem", "no PCI function below /sys/bus/pci/devices");
    assert!(found.note.contains("mstconfig"), "{found:?}");
    // what is about one is silent then
    for check in [
        "nic-driver",
        "vfs",
        "eswitch-mode",
        "representor",
        "hw-tc-offload",
        "bond",
        "uplink",
    ] {
        node.says(check, "irrelevant", "there is no NIC with SR-IOV");
    }
    node.remove("/sys");
    node.says("nic", "unknown", "cannot read ");
}

#[test]
fn driver() {
    let node = Node::healthy();
    node.is_well("nic-driver");
    node.remove(&format!("{PF}/driver"));
    node.lay(&format!("{PF}/driver -> ../../../../bus/pci/drivers/igb"));
    // in switchdev mode a driver is believed
    node.is_well("nic-driver");
    node.replace(RECORDED, "eswitch switchdev", "eswitch not-managed");
    let found = node.says(
        "nic-driver",
        "problem",
        "PF 0000:03:00.0 (p0): igb is not known to offload flows",
    );
    assert!(found.note.contains("mlx5_core, nfp"), "{found:?}");
    node.remove(&format!("{PF}/driver"));
    let found = node.says("nic-driver", "problem", "PF 0000:03:00.0 (p0) has no driver");
    assert_eq!(found.remedy, ["echo 0000:03:00.0 > /sys/bus/pci/drivers_probe"]);
    node.lay(&format!("{PF}/driver -> ../../../../bus/pci/drivers/mlx5_core")); // as the kernel does
    node.is_well("nic-driver");
}

#[test]
fn number_of_vfs() {
    let node = Node::healthy();
    node.is_well("vfs");
    node.lay(&format!("{PF}/sriov_numvfs = 0"));
    node.heals(
        "vfs",
        "problem",
        "PF 0000:03:00.0 (p0): sriov_numvfs is 0, sriov_totalvfs 8",
        &["echo 4 > /sys/bus/pci/devices/0000:03:00.0/sriov_numvfs"],
    );
    node.lay(&format!("{PF}/sriov_numvfs = 0"));
    node.lay(&format!("{PF}/sriov_totalvfs = 0"));
    let found = node.says("vfs", "problem", "sriov_totalvfs is 0");
    assert!(found.note.contains("firmware"), "{found:?}");
}

#[test]
fn eswitch() {
    let node = Node::healthy();
    node.is_well("eswitch-mode");
    node.replace(RECORDED, "eswitch switchdev", "eswitch legacy");
    let found = node.says(
        "eswitch-mode",
        "problem",
        "PF 0000:03:00.0 (p0): devlink says legacy, so that no VF has a representor",
    );
    assert_eq!(
        found.remedy,
        [
            "for vf in 0000:03:00.2 0000:03:00.3; do echo $vf > /sys/bus/pci/devices/$vf/driver/unbind; done",
            "devlink dev eswitch set pci/0000:03:00.0 mode switchdev",
            "for vf in 0000:03:00.2 0000:03:00.3; do echo $vf > /sys/bus/pci/drivers_probe; done",
        ]
    );
    node.says("representor", "irrelevant", "not in switchdev mode: see eswitch-mode");
    node.shell(&found.remedy);
    node.is_well("eswitch-mode");
    node.replace(RECORDED, "eswitch switchdev", "eswitch not-managed");
    let found = node.says("eswitch-mode", "problem", "its driver manages no eswitch");
    assert!(found.note.contains("DPU"), "{found:?}");
    // a driver without devlink, whose representors are there all the same
    node.replace(RECORDED, "devlink pci/0000:03:00.0 eswitch not-managed\n", "");
    node.is_well("eswitch-mode");
    node.remove(&format!("{PF}/net/p0_0"));
    node.remove(&format!("{PF}/net/p0_1"));
    node.replace(RECORDED, "flavour pcivf", "flavour pcisf");
    node.says("eswitch-mode", "unknown", "devlink does not know pci/0000:03:00.0");
}

#[test]
fn steering_of_mlx5() {
    let node = Node::healthy();
    node.is_well("steering-mode");
    node.replace(RECORDED, "smfs", "dmfs");
    let smfs = "devlink dev param set pci/0000:03:00.0 name flow_steering_mode value smfs cmode runtime";
    node.heals("steering-mode", "warning", "flow_steering_mode is dmfs", &[smfs]);
    node.replace(RECORDED, "steering pci/0000:03:00.0 smfs", "");
    node.says("steering-mode", "irrelevant", "its driver has no flow_steering_mode");
}

#[test]
fn drivers_of_vfs() {
    let node = Node::healthy();
    node.is_well("vf-driver");
    node.remove(&format!("{VF}/driver"));
    let found = node.says("vf-driver", "warning", "no driver is bound to 0000:03:00.2");
    assert_eq!(found.remedy, ["echo 0000:03:00.2 > /sys/bus/pci/drivers_probe"]);
    node.lay(&format!("{VF}/driver -> ../../../../bus/pci/drivers/mlx5_core")); // as the kernel does
    node.is_well("vf-driver");
    node.remove(&format!("{}/iommu_group", VF.replace("00.2", "00.3")));
    let found = node.says(
        "vf-driver",
        "problem",
        "0000:03:00.3 are for user space and in no IOMMU group",
    );
    assert!(found.note.contains("VT-d"), "{found:?}");
}

#[test]
fn probed_before_switchdev() {
    let node = Node::healthy();
    node.is_well("vf-order");
    node.lay(&format!("{VF}/net/p0v0/ifindex = 9"));
    let found = node.says(
        "vf-order",
        "warning",
        "the netdevs of 0000:03:00.2 are older than their representors",
    );
    assert_eq!(
        found.remedy,
        [
            "echo 0000:03:00.2 > /sys/bus/pci/drivers/mlx5_core/unbind; echo 0000:03:00.2 > /sys/bus/pci/drivers/mlx5_core/bind"
        ]
    );
    node.shell(&found.remedy);
    node.lay(&format!("{VF}/net/p0v0/ifindex = 21")); // as the kernel does
    node.is_well("vf-order");
}

#[test]
fn uplink() {
    let node = Node::healthy();
    node.is_well("uplink");
    node.lay(&format!("{PF}/net/p0/flags = 0x1002"));
    node.heals("uplink", "problem", "p0 is down", &["ip link set p0 up"]);
    node.lay(&format!("{PF}/net/p0/carrier = 0"));
    node.says("uplink", "warning", "p0 is up and has no carrier");
}

#[test]
fn bond() {
    let node = Node::healthy();
    node.says("bond", "irrelevant", "PF 0000:03:00.0 (p0) is in no bond");
    node.lay(&format!("{PF}/net/p0/master -> ../../../../../virtual/net/bond0"));
    node.lay("/sys/class/net/bond0/bonding/mode = 802.3ad 4");
    node.is_well("bond");
    node.lay("/sys/class/net/bond0/bonding/mode = balance-rr 0");
    let found = node.says(
        "bond",
        "problem",
        "is in bond0 with mode balance-rr; mlx5 offloads active-backup",
    );
    assert_eq!(found.remedy, ["ip link set p0 nomaster"]);
    node.shell(&found.remedy);
    node.says("bond", "irrelevant", "is in no bond");
}

#[test]
fn representors() {
    let node = Node::healthy();
    node.is_well("representor");
    node.replace(RECORDED, "netdev p0_0/11 ", "");
    node.remove(&format!("{PF}/net/p0_0"));
    let found = node.says("representor", "problem", "0000:03:00.2");
    assert_eq!(found.note, "kube-ovn-offload vf 0000:03:00.2 shows what was looked at");
}

#[test]
fn offload_of_netdevs() {
    let node = Node::healthy();
    node.is_well("hw-tc-offload");
    node.replace(RECORDED, "hw-tc-offload p0 on", "hw-tc-offload p0 off");
    let off = "hw-tc-offload is off on p0 (ethtool -k)";
    node.heals("hw-tc-offload", "problem", off, &["ethtool -K p0 hw-tc-offload on"]);
    node.replace(RECORDED, "hw-tc-offload p0_0 on", "hw-tc-offload p0_0 off");
    node.replace(RECORDED, "hw-tc-offload p0_1 on", "hw-tc-offload p0_1 off");
    node.heals(
        "hw-tc-offload",
        "problem",
        "is off on p0_0, p0_1",
        &["for dev in p0_0 p0_1; do ethtool -K \"$dev\" hw-tc-offload on; done"],
    );
    node.replace(RECORDED, "hw-tc-offload p0_1 on", "");
    node.says(
        "hw-tc-offload",
        "unknown",
        "hw-tc-offload of p0_1: the kernel does not tell",
    );
}

/// A node has NICs for other things, too.
#[test]
fn one_that_is_meant() {
    let node = Node::healthy();
    let other = "/sys/devices/pci0000:00/0000:00:03.0/0000:05:00.0";
    for line in [
        "/sys/bus/pci/devices/0000:05:00.0 -> ../../../devices/pci0000:00/0000:00:03.0/0000:05:00.0".to_owned(),
        format!("{other}/sriov_totalvfs = 8"),
        format!("{other}/sriov_numvfs = 0"),
        format!("{other}/driver -> ../../../../bus/pci/drivers/igb"),
        "/sys/class/net/eno1 -> ../../devices/pci0000:00/0000:00:03.0/0000:05:00.0/net/eno1".to_owned(),
        format!("{other}/net/eno1/ifindex = 2"),
        format!("{other}/net/eno1/mtu = 1500"),
    ] {
        node.lay(&line);
    }
    for check in ["nic", "nic-driver", "vfs", "eswitch-mode", "uplink"] {
        node.is_well(check);
    }
    let with_pf = |pf: &str, check: &str| {
        let mut tool = crate::tool(&["doctor", "--pf", pf, "--only", check, "--root"]);
        tool.arg(node.root()).output().unwrap()
    };
    for pf in ["eno1", "0000:05:00.0"] {
        let output = with_pf(pf, "nic-driver");
        assert_eq!(output.status.code(), Some(1));
        assert!(
            crate::stdout(&output).contains("igb is not known to offload"),
            "{output:?}"
        );
    }
    let output = with_pf("eno9", "nic-driver");
    assert_eq!(output.status.code(), Some(3));
    assert!(
        crate::stderr(&output).contains("no PF is called \"eno9\""),
        "{output:?}"
    );
}
