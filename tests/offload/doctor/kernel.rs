//! The kernel.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::node::Node;

const CONFIG: &str = "/boot/config-6.8.0-48-generic";

#[test]
fn version() {
    let node = Node::healthy();
    node.is_well("kernel-version");
    for (release, verdict, evidence) in [
        (
            "5.4.0-200-generic",
            "problem",
            "Linux 5.4.0-200-generic, expected 5.7 or later",
        ),
        ("5.10.0", "ok", "Linux 5.10.0"),
        ("4.18.0-553.el8.x86_64", "ok", "of CentOS 8 or a sibling"),
        ("4.18.0-25-generic", "problem", "expected 5.7"),
        ("../../etc", "unknown", "holds no release"),
        ("linux", "unknown", "is no kernel version"),
    ] {
        node.lay(&format!("/proc/sys/kernel/osrelease = {release}"));
        let finding = node.says("kernel-version", verdict, evidence);
        assert_eq!(finding.note.is_empty(), verdict != "problem", "{finding:?}");
    }
}

#[test]
fn options() {
    let node = Node::healthy();
    node.is_well("kernel-options");
    node.replace(CONFIG, "CONFIG_NET_SWITCHDEV=y", "# CONFIG_NET_SWITCHDEV is not set");
    let found = node.says(
        "kernel-options",
        "problem",
        "CONFIG_NET_SWITCHDEV (representors) not set",
    );
    assert_eq!(found.note, "boot a kernel that has them");
    node.remove(CONFIG);
    node.says("kernel-options", "unknown", "nor in /boot/config-6.8.0-48-generic, ");
    node.lay("/lib/modules/6.8.0-48-generic/config = CONFIG_NET_CLS_ACT=y");
    node.says("kernel-options", "problem", "CONFIG_PCI_IOV (VFs), ");
}

#[test]
fn modules_of_tc() {
    let node = Node::healthy();
    node.is_well("tc-modules");
    // the kernel is told to load none
    node.replace("/proc/modules", "cls_flower 45056", "cls_u32 45056");
    node.is_well("tc-modules");
    node.lay("/proc/sys/kernel/modprobe = /nowhere");
    let all = "modprobe -a cls_flower act_tunnel_key act_vlan act_pedit act_csum act_skbedit act_ct act_police";
    node.heals(
        "tc-modules",
        "problem",
        "/proc/sys/kernel/modprobe is /nowhere, which does not exist",
        &[all],
    );

    let dep = "/lib/modules/6.8.0-48-generic/modules.dep";
    let node = Node::healthy();
    node.replace(dep, "act_tunnel_key", "act_something");
    let found = node.says(
        "tc-modules",
        "warning",
        "no module act_tunnel_key: flows to and from other nodes",
    );
    assert!(found.note.contains("linux-modules-extra"), "{found:?}");
    node.lay(&format!("{dep} : kernel/net/sched/act_tunnel_key.ko.xz:"));
    node.is_well("tc-modules");
    node.replace("/proc/modules", "act_mirred 16384", "act_other 16384");
    node.replace(dep, "act_mirred.ko", "act_mirred_x.ko");
    node.says("tc-modules", "problem", "no module act_mirred: flows of any kind");
    node.remove("/lib/modules");
    node.says("tc-modules", "unknown", "/lib/modules/6.8.0-48-generic is not here");
}

#[test]
fn connection_tracking() {
    let node = Node::healthy();
    node.is_well("kernel-ct-offload");
    node.replace(CONFIG, "CONFIG_NET_TC_SKB_EXT=y", "# CONFIG_NET_TC_SKB_EXT is not set");
    let found = node.says(
        "kernel-ct-offload",
        "warning",
        "CONFIG_NET_TC_SKB_EXT is not set in /boot/config-",
    );
    assert!(
        found.note.starts_with("boot a kernel with CONFIG_NET_TC_SKB_EXT=y"),
        "{found:?}"
    );
    // what the running Open vSwitch has reached counts
    node.lay("/recorded.txt : recirculation shared");
    node.is_well("kernel-ct-offload");
    // in a container, without /boot
    node.remove(CONFIG);
    node.replace("/recorded.txt", "recirculation shared", "recirculation own");
    node.says(
        "kernel-ct-offload",
        "warning",
        "the data path ovs-system does not share its recirculation IDs with tc",
    );
    node.replace("/recorded.txt", "recirculation own", "");
    node.says("kernel-ct-offload", "unknown", "is neither in /proc/config.gz nor in");
    gzip(&node, "CONFIG_NET_TC_SKB_EXT=y");
    node.is_well("kernel-ct-offload");
    gzip(&node, "CONFIG_NET_CLS_ACT=y");
    node.says("kernel-ct-offload", "warning", "is not set in /proc/config.gz");
    node.lay("/proc/config.gz = no gzip");
    node.says("kernel-ct-offload", "unknown", "/proc/config.gz: ");
}

fn gzip(node: &Node, text: &str) {
    let file = fs::File::create(node.path("/proc/config.gz")).unwrap();
    let mut encoder = GzEncoder::new(file, Compression::default());
    writeln!(encoder, "{text}").unwrap();
    encoder.finish().unwrap();
}
