//! OVN: its real northbound database.

use super::node::Node;

#[test]
fn where_the_database_is() {
    let node = Node::with_ovs();
    node.says("ovn-northbound", "irrelevant", "this node is no chassis of OVN's");
    node.vsctl("set Open_vSwitch . external_ids:ovn-remote=\"ssl:[127.0.0.1]:6642\"");
    let found = node.says(
        "ovn-northbound",
        "unknown",
        "is spoken with TLS, which this program does not",
    );
    assert!(found.note.contains("--nb tcp:IP:6641"), "{found:?}");
    for check in ["ovn-load-balancer", "ovn-acl", "ovn-dnat-mac"] {
        node.says(check, "unknown", "see ovn-northbound");
    }
    node.vsctl("set Open_vSwitch . external_ids:ovn-remote=\"tcp:[127.0.0.1]:1\"");
    node.says(
        "ovn-northbound",
        "unknown",
        "OVN's database server can't be reached at tcp:127.0.0.1:6641",
    );
    let address = format!("unix:{}", node.path("/run/elsewhere").display());
    let mut tool = crate::tool(&["doctor", "--only", "ovn-northbound", "--nb", &address, "--root"]);
    let output = tool.arg(node.root()).output().unwrap();
    assert!(crate::stdout(&output).contains("/run/elsewhere"), "{output:?}");
}

#[test]
fn load_balancers() {
    let node = Node::with_ovn();
    node.is_well("ovn-northbound");
    node.is_well("ovn-load-balancer");
    node.nbctl("lb-add lb1 10.96.0.10:80 10.16.0.11:5000,10.16.0.12:5000 -- ls-lb-add blue lb1");
    node.heals(
        "ovn-load-balancer",
        "warning",
        "logical switches with load balancers: blue (1); all their pods' IP traffic goes through connection tracking",
        &["ovn-nbctl ls-lb-del blue; ovn-nbctl clear Logical_Switch blue load_balancer_group"],
    );
    // a Subnet of Kube-OVN's, on a kernel that can't track in tc
    node.nbctl("ls-lb-add blue lb1 -- set Logical_Switch blue external_ids:vendor=kube-ovn");
    let config = "/boot/config-6.8.0-48-generic";
    node.replace(config, "CONFIG_NET_TC_SKB_EXT=y", "# CONFIG_NET_TC_SKB_EXT is not set");
    let found = node.says("ovn-load-balancer", "problem", "nor does this kernel track in tc");
    assert_eq!(
        found.remedy,
        [r#"kubectl patch subnet blue --type=merge -p '{"spec":{"enableLb":false}}'"#]
    );
    node.shell(&found.remedy);
    node.nbctl("ls-lb-del blue"); // as kube-ovn-controller does
    node.is_well("ovn-load-balancer");
}

#[test]
fn acls() {
    let node = Node::with_ovn();
    node.is_well("ovn-acl");
    node.nbctl("acl-add blue to-lport 1000 ip4 allow-stateless");
    node.is_well("ovn-acl");
    node.nbctl(
        "acl-add blue from-lport 1001 tcp allow-related -- pg-add web -- acl-add web to-lport 1002 udp allow-related",
    );
    let found = node.says(
        "ovn-acl",
        "warning",
        "ACLs with the action allow-related: switch blue (1), port group web (1)",
    );
    assert!(found.note.contains("allow-stateless"), "{found:?}");
    node.nbctl("acl-del blue -- acl-del web");
    node.is_well("ovn-acl");
}

#[test]
fn mac_of_services() {
    let node = Node::with_ovn();
    node.is_well("ovn-dnat-mac");
    node.nbctl("set NB_Global . options:ls_dnat_mod_dl_dst=true");
    node.is_well("ovn-dnat-mac");
    node.nbctl("lb-add lb1 10.96.0.10:80 10.16.0.11:5000 -- ls-lb-add blue lb1");
    node.heals(
        "ovn-dnat-mac",
        "warning",
        "NB_Global options:ls_dnat_mod_dl_dst=true",
        &["ovn-nbctl set NB_Global . options:ls_dnat_mod_dl_dst=false"],
    );
}
