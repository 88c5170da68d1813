//! What the plugin itself needs.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::node::Node;
use crate::attachments::record;

#[test]
fn daemon_socket() {
    let mut node = Node::healthy();
    node.is_well("daemon-socket");
    node.daemon_ends();
    let found = node.says("daemon-socket", "problem", "kube-ovn-daemon");
    node.shell(&found.remedy);
    let asked = fs::read_to_string(node.path("/kubectl.log")).unwrap();
    assert!(
        asked.starts_with("-n kube-system delete pod -l app=kube-ovn-cni --field-selector spec.nodeName="),
        "{asked}"
    );
    node.daemon_listens(); // the new pod's
    node.is_well("daemon-socket");
}

#[test]
fn settings() {
    const FILE: &str = "/etc/kube-ovn-cni/config.json";
    let node = Node::healthy();
    node.is_well("node-config");
    node.lay(&format!("{FILE} = {{\"alocation\": \"warn\"}}"));
    let remedy = format!("mv {FILE} {FILE}.bad");
    node.heals("node-config", "problem", "\"alocation\" is no setting", &[&remedy]);
    assert!(node.path(&format!("{FILE}.bad")).exists());

    let node = Node::healthy();
    fs::set_permissions(node.path(FILE), fs::Permissions::from_mode(0o666)).unwrap();
    let found = node.says("node-config", "problem", "mode 666");
    node.shell(&found.remedy);
    node.is_well("node-config");
}

#[test]
fn state() {
    const DIRECTORY: &str = "/run/kube-ovn-offload";
    let node = Node::healthy();
    node.is_well("state-directory");
    node.lay(&format!("{DIRECTORY}/"));
    fs::set_permissions(node.path(DIRECTORY), fs::Permissions::from_mode(0o777)).unwrap();
    let found = node.says("state-directory", "problem", "with mode 777");
    node.shell(&found.remedy);
    node.is_well("state-directory");
    node.remove(DIRECTORY);
    node.lay(&format!("{DIRECTORY} = a file"));
    node.says("state-directory", "problem", "it is no directory");
}

#[test]
fn records() {
    let node = Node::healthy();
    node.says("records", "irrelevant", "no VF is recorded");
    let state = node.path("/run/kube-ovn-offload");
    let netns = node.path("/run/netns/pod1");
    let write = |ending: bool| {
        record(&state, 2, "web", &netns, |record| {
            record["netns"] = json!("/run/netns/pod1");
            record["ending"] = json!(ending);
        });
    };
    write(false);
    node.is_well("records");
    let (findings, _) = node.look("records");
    assert!(
        findings[0].evidence.contains("0000:03:00.2 pod default/web"),
        "{findings:?}"
    );
    write(true);
    let found = node.says("records", "warning", "has ended and is not wholly given back");
    assert_eq!(
        found.remedy,
        ["kube-ovn-offload gc"],
        "tests/lab/doctor-guest.sh does it, and node-guest.sh with daemon and OVSDB down"
    );
    write(false);
    fs::rename(&netns, node.path("/run/netns/away")).unwrap();
    let found = node.says("records", "warning", "whose network namespace /run/netns/pod1 is gone");
    assert_eq!(found.remedy, ["kube-ovn-offload gc"]);
    fs::rename(node.path("/run/netns/away"), &netns).unwrap();
    node.is_well("records");

    node.lay("/run/kube-ovn-offload/vf/0000:03:00.3.json = {}");
    let found = node.says("records", "warning", "VF 0000:03:00.3: record ");
    node.shell(&found.remedy);
    node.is_well("records");
}
