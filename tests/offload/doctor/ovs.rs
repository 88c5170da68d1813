//! Open vSwitch: a real ovsdb-server, whose ports' netdevs are files.

use std::fs;

use serde_json::json;

use super::node::Node;
use crate::attachments::record;

const PF: &str = "/sys/devices/pci0000:00/0000:00:02.0/0000:03:00.0";
const RESTART: &str = "/usr/share/openvswitch/scripts/ovs-ctl --no-ovsdb-server --system-id=random restart";

#[test]
fn servers_that_do_not_answer() {
    let mut node = Node::with_ovs();
    node.is_well("ovsdb-server");
    node.is_well("ovs-vswitchd");
    node.servers_end();
    for (check, text) in [
        ("ovsdb-server", "ovsdb-server can't be reached at "),
        ("ovs-vswitchd", "ovs-vswitchd can't be reached at "),
    ] {
        let found = node.says(check, "problem", text);
        node.shell(&found.remedy);
        let asked = fs::read_to_string(node.path("/kubectl.log")).unwrap();
        assert!(
            asked.starts_with("-n kube-system delete pod -l app=ovs --field-selector"),
            "{asked}"
        );
    }
    node.ovsdb_server_starts();
    node.says("ovs-restarted", "unknown", "ovs-vswitchd does not answer");
    node.servers_end();
    for check in [
        "br-int",
        "ovs-hw-offload",
        "ovs-restarted",
        "tc-policy",
        "mirror",
        "tunnel-type",
        "mtu",
        "stale-ports",
    ] {
        node.says(
            check,
            "unknown",
            "Open vSwitch' database does not answer: see ovsdb-server",
        );
    }
    // the new pod's
    fs::remove_file(node.path("/run/openvswitch/db.sock")).unwrap();
    fs::remove_file(node.path("/run/openvswitch/ovs-vswitchd.pid")).unwrap();
    node.ovsdb_server_starts();
    node.vswitchd_starts();
    node.is_well("ovsdb-server");
    node.is_well("ovs-vswitchd");
}

#[test]
fn the_bridge() {
    let node = Node::with_ovs();
    node.is_well("br-int");
    node.vsctl("set Bridge br-int datapath_type=netdev");
    let found = node.says("br-int", "problem", "br-int has datapath_type=netdev");
    assert!(found.note.contains("DPDK"), "{found:?}");
    node.says("ovs-restarted", "irrelevant", "is not in the kernel's data path");
    let driver = format!("{PF}/driver");
    node.remove(&driver);
    node.lay(&format!("{driver} -> ../../../../bus/pci/drivers/xsc-pci"));
    node.says("br-int", "ok", "as a NIC of Yunsilicon's needs it");
    node.remove(&driver);
    node.lay(&format!("{driver} -> ../../../../bus/pci/drivers/mlx5_core"));
    node.vsctl("set Bridge br-int datapath_type=system");
    node.is_well("br-int");
    node.vsctl("del-br br-int");
    let found = node.says(
        "br-int",
        "problem",
        "there is no bridge br-int, which ovn-controller makes",
    );
    node.shell(&found.remedy);
    node.vsctl("add-br br-int"); // as ovn-controller does
    node.is_well("br-int");
}

#[test]
fn hw_offload_and_the_restart() {
    let node = Node::with_ovs();
    node.is_well("ovs-hw-offload");
    node.is_well("ovs-restarted");
    node.vsctl("remove Open_vSwitch . other_config hw-offload");
    node.says("ovs-restarted", "irrelevant", "hw-offload is not set");
    let set = "ovs-vsctl --no-wait set Open_vSwitch . other_config:hw-offload=true";
    node.heals(
        "ovs-hw-offload",
        "problem",
        "hw-offload is not set, expected true; ports still have the ingress qdisc",
        &[set, RESTART],
    );
    node.vsctl("set Open_vSwitch . other_config:hw-offload=yes");
    let found = node.says("ovs-hw-offload", "problem", "hw-offload is \"yes\", expected true");
    // the key is set, and ovs-vswitchd has not taken it; br-int's qdisc is what an earlier one has left
    node.shell(&found.remedy[..1]);
    node.replace("/recorded.txt", "ingress p0_0", "");
    node.heals(
        "ovs-restarted",
        "problem",
        "hw-offload is set, but none of p0_0 has the ingress qdisc",
        &[RESTART],
    );
    // somebody took it from one port
    node.vsctl("add-port br-int p0_1");
    node.is_well("ovs-restarted");
    node.replace("/recorded.txt", "ingress p0_1", "");
    node.heals("ovs-restarted", "problem", "was removed from p0_1", &[RESTART]);
    // a port that is policed has one for that
    node.vsctl("set Interface p0_1 ingress_policing_rate=1000");
    node.replace("/recorded.txt", "ingress p0_0", "");
    node.says("ovs-restarted", "problem", "none of p0_0 has");
    // in Kube-OVN's pod, whose script sets the key whenever it starts
    node.vsctl("set Open_vSwitch . other_config:hw-offload=false");
    let pid = fs::read_to_string(node.path("/run/openvswitch/ovs-vswitchd.pid")).unwrap();
    node.lay(&format!(
        "/proc/{}/cgroup = 0::/kubepods.slice/kubepods-burstable.slice",
        pid.trim()
    ));
    let found = node.says("ovs-hw-offload", "problem", "hw-offload is \"false\"");
    assert_eq!(
        found.remedy,
        ["kubectl -n kube-system set env daemonset/ovs-ovn HW_OFFLOAD=true"]
    );
}

#[test]
fn policy_of_tc() {
    let node = Node::with_ovs();
    node.is_well("tc-policy");
    let unset = "ovs-vsctl --no-wait remove Open_vSwitch . other_config tc-policy";
    for (policy, verdict, evidence) in [
        ("skip_hw", "problem", "flows go into tc, and never into hardware"),
        ("skip_sw", "warning", "slower for some flows"),
        ("both", "warning", "which is none of none, skip_sw, skip_hw"),
    ] {
        node.vsctl(&format!("set Open_vSwitch . other_config:tc-policy={policy}"));
        node.heals("tc-policy", verdict, evidence, &[unset, RESTART]);
    }
    node.vsctl("set Open_vSwitch . other_config:tc-policy=none");
    node.is_well("tc-policy");
}

#[test]
fn mirrors() {
    let node = Node::with_ovs();
    node.is_well("mirror");
    // as Kube-OVN makes it without ENABLE_MIRROR: it copies nothing
    let mirror = "-- --id=@m create Mirror name=m0 select_all=false -- add Bridge br-int mirrors @m";
    node.vsctl(mirror);
    node.is_well("mirror");
    node.vsctl("clear Bridge br-int mirrors");
    node.vsctl(&mirror.replace("false", "true"));
    let clear = "ovs-vsctl --no-wait clear Bridge br-int mirrors";
    node.heals("mirror", "problem", "br-int: m0 copies everything", &[clear]);
}

#[test]
fn tunnels() {
    let node = Node::with_ovs();
    node.is_well("tunnel-type");
    node.vsctl("set Open_vSwitch . external_ids:ovn-encap-type=stt");
    let geneve = "ovs-vsctl --no-wait set Open_vSwitch . external_ids:ovn-encap-type=geneve";
    node.heals("tunnel-type", "problem", "no NIC offloads stt", &[geneve]);
    node.vsctl("remove Open_vSwitch . external_ids ovn-encap-type");
    node.says("tunnel-type", "irrelevant", "this node has no tunnels");
}

#[test]
fn mtu_against_encapsulation() {
    let node = Node::with_ovs();
    node.is_well("mtu");
    node.lay(&format!("{PF}/net/p0/mtu = 1450"));
    let text = "port p0_0 has MTU 1400, with geneve 1458; p0 has 1450";
    node.heals("mtu", "warning", text, &["ip link set p0 mtu 1458"]);
    node.lay(&format!("{PF}/net/p0/mtu = 1450"));
    node.vsctl("set Open_vSwitch . external_ids:ovn-encap-type=vxlan");
    node.is_well("mtu");
    node.vsctl("remove Open_vSwitch . external_ids ovn-encap-ip");
    node.says("mtu", "irrelevant", "this node has no tunnels");
    node.vsctl("set Open_vSwitch . external_ids:ovn-encap-ip=here");
    node.says("mtu", "unknown", "is no address");
}

#[test]
fn ports_of_representors() {
    let node = Node::with_ovs();
    node.says("representor-port", "irrelevant", "no VF is recorded");
    record(
        &node.path("/run/kube-ovn-offload"),
        2,
        "web",
        &node.path("/run/netns/pod1"),
        |record| record["netns"] = json!("/run/netns/pod1"),
    );
    node.is_well("representor-port");
    node.remove(&format!("{PF}/net/p0_0/master"));
    node.says(
        "representor-port",
        "problem",
        "is a port of br-int in OVSDB, and in no data path",
    );
    node.vsctl("del-port br-int p0_0");
    let found = node.says(
        "representor-port",
        "problem",
        "p0_0, the representor of VF 0000:03:00.2 of pod default/web (eth0 of sandbox 0123456789ab), is no port of br-int",
    );
    assert_eq!(found.remedy, ["kubectl -n default delete pod web"]);
    node.shell(&found.remedy);
    // as kube-ovn-daemon does for the next sandbox
    node.vsctl("add-port br-int p0_0");
    node.lay(&format!(
        "{PF}/net/p0_0/master -> ../../../../../virtual/net/ovs-system"
    ));
    node.is_well("representor-port");
}

#[test]
fn representors_that_are_down() {
    let node = Node::with_ovs();
    node.is_well("representor-up");
    node.lay(&format!("{PF}/net/p0_0/flags = 0x1002"));
    let text = "p0_0 in br-int and down: their VFs have no carrier";
    node.heals("representor-up", "problem", text, &["ip link set p0_0 up"]);
    // one that no pod has may be down
    node.lay(&format!("{PF}/net/p0_1/flags = 0x1002"));
    node.is_well("representor-up");
    node.vsctl("del-port br-int p0_0");
    node.says("representor-up", "irrelevant", "no representor is a port of br-int");
}

#[test]
fn ports_of_pods_that_are_gone() {
    let node = Node::with_ovs();
    node.is_well("stale-ports");
    node.vsctl("set Interface p0_0 error='\"could not open network device p0_0 (No such device)\"'");
    let found = node.says(
        "stale-ports",
        "warning",
        "port p0_0 of pod default/web: its netdev is gone",
    );
    assert_eq!(found.remedy, ["ovs-vsctl --no-wait --if-exists del-port br-int p0_0"]);
    node.vsctl("clear Interface p0_0 error");
    node.is_well("stale-ports");
    node.remove("/run/netns/pod1");
    let found = node.says(
        "stale-ports",
        "warning",
        "the network namespace /run/netns/pod1 is gone",
    );
    node.shell(&found.remedy);
    node.says("stale-ports", "irrelevant", "no pod's port is in br-int");
}
