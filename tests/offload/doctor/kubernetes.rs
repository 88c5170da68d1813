//! How a pod's device comes to the plugin: Multus, configurations, the plugin's executable, the device plugin and kubelet.

use std::fs;

use serde_json::{Value, json};

use super::node::Node;
use crate::attachments::record;

const NETWORKS: &str = "/etc/cni/net.d";
const CHECKPOINT: &str = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint";
const RESTART: &str = "kubectl -n kube-system delete pod -l app=sriovdp --field-selector spec.nodeName=$(hostname)";

#[test]
fn multus() {
    let node = Node::healthy();
    node.is_well("multus");
    node.shell(&[format!("mv {NETWORKS}/00-multus.conf {NETWORKS}/70-multus.conf")]);
    node.heals(
        "multus",
        "problem",
        "the runtime uses 01-kube-ovn.conflist, the first in /etc/cni/net.d; that of Multus is 70-multus.conf",
        &["mv /etc/cni/net.d/70-multus.conf /etc/cni/net.d/00-multus.conf"],
    );
    node.remove(&format!("{NETWORKS}/00-multus.conf"));
    let found = node.says("multus", "problem", "no configuration in /etc/cni/net.d calls Multus");
    node.shell(&found.remedy);
    let asked = fs::read_to_string(node.path("/kubectl.log")).unwrap();
    assert!(
        asked.contains("apply -f") && asked.contains("multus-daemonset-thick.yml"),
        "{asked}"
    );
    node.lay(&format!("{NETWORKS}/00-multus.conf = {{\"type\": \"multus-shim\"}}")); // as its pod does
    node.is_well("multus");
    node.lay(&format!("{NETWORKS}/00-multus.conf = {{\"type\": \"multus\"}}"));
    node.says(
        "multus",
        "ok",
        "calls the thin Multus; Kube-OVN's guide has the thick one",
    );
    node.remove(NETWORKS);
    node.says("multus", "problem", "there is no configuration in /etc/cni/net.d");
}

#[test]
fn configurations() {
    let node = Node::healthy();
    node.is_well("cni-conf");
    node.lay(&format!("{NETWORKS}/99-broken.conflist = {{"));
    let aside = format!("mv {NETWORKS}/99-broken.conflist {NETWORKS}/99-broken.conflist.bad");
    node.heals("cni-conf", "warning", "99-broken.conflist is no JSON", &[&aside]);
    node.lay(&format!("{NETWORKS}/notes.txt = no configuration"));
    node.is_well("cni-conf");
    let file = format!("{NETWORKS}/01-kube-ovn.conflist");
    node.replace(&file, "/run/openvswitch/kube-ovn-daemon.sock", "/tmp/daemon.sock");
    let found = node.says("cni-conf", "warning", "server_socket is \"/tmp/daemon.sock\"");
    assert!(found.note.contains("socket_directories"), "{found:?}");
    node.remove(&file);
    let found = node.says(
        "cni-conf",
        "problem",
        "no configuration in /etc/cni/net.d calls kube-ovn",
    );
    node.shell(&found.remedy);
    // as the init container of its pod does
    node.lay(&format!("{file} = {{\"plugins\": [{{\"type\": \"kube-ovn\"}}]}}"));
    node.is_well("cni-conf");
}

/// The real plugin, a stock one in its place, and the tool's own `install` as the remedy.
#[test]
fn whose_plugin_it_is() {
    let node = Node::healthy();
    node.is_well("plugin");
    node.lay("/opt/cni/bin/kube-ovn = (the stock plugin)");
    node.heals(
        "plugin",
        "problem",
        "/opt/cni/bin/kube-ovn is another one's: Kube-OVN's pod kube-ovn-cni puts the stock plugin there",
        &["kube-ovn-offload install"],
    );
    node.remove("/opt/cni/bin/kube-ovn");
    node.heals(
        "plugin",
        "problem",
        "/opt/cni/bin/kube-ovn does not exist",
        &["kube-ovn-offload install"],
    );
    fs::write(
        node.path("/opt/cni/bin/kube-ovn"),
        "\u{1}kube-ovn-offload's plugin 0.0.1\u{1}",
    )
    .unwrap();
    node.heals(
        "plugin",
        "warning",
        "version 0.0.1, and this program is",
        &["kube-ovn-offload install"],
    );
}

fn change(node: &Node, change: impl FnOnce(&mut Value)) {
    let path = node.path(CHECKPOINT);
    let mut checkpoint: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut checkpoint["Data"]);
    fs::write(path, checkpoint.to_string()).unwrap();
}

#[test]
fn device_plugin() {
    let node = Node::healthy();
    node.is_well("device-plugin");
    change(&node, |data| {
        data["RegisteredDevices"]["mellanox.com/cx6"] = json!(["0000:03:00.2"]);
    });
    let found = node.says(
        "device-plugin",
        "warning",
        "kubelet has registered 1 as mellanox.com/cx6, and not 0000:03:00.3",
    );
    assert_eq!(found.remedy, [RESTART]);
    change(&node, |data| data["RegisteredDevices"] = json!({}));
    let found = node.says(
        "device-plugin",
        "problem",
        "kubelet has registered none of the VFs 0000:03:00.2, 0000:03:00.3",
    );
    assert_eq!(found.remedy, [RESTART]);
    node.shell(&found.remedy);
    // as the device plugin's new pod does
    change(&node, |data| {
        data["RegisteredDevices"]["mellanox.com/cx6"] = json!(["0000:03:00.2", "0000:03:00.3"]);
    });
    node.is_well("device-plugin");
    node.lay(&format!("{CHECKPOINT} = no JSON"));
    node.says("device-plugin", "unknown", "another form");
    node.remove(CHECKPOINT);
    node.says("device-plugin", "problem", "has kubelet's socket and no checkpoint");
    node.remove("/var/lib/kubelet/device-plugins/kubelet.sock");
    node.says("device-plugin", "irrelevant", "has no socket of kubelet's");
}

#[test]
fn checkpoint_and_records() {
    let node = Node::healthy();
    node.says("kubelet-checkpoint", "irrelevant", "no VF is recorded");
    let state = node.path("/run/kube-ovn-offload");
    let netns = node.path("/run/netns/pod1");
    record(&state, 2, "web", &netns, |record| {
        record["netns"] = json!("/run/netns/pod1");
        record["pod"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
    });
    node.is_well("kubelet-checkpoint");
    change(&node, |data| data["PodDeviceEntries"][0]["PodUID"] = json!("another"));
    node.says(
        "kubelet-checkpoint",
        "warning",
        "and kubelet has given it to a pod with another UID",
    );
    change(&node, |data| data["PodDeviceEntries"] = json!([]));
    let found = node.says("kubelet-checkpoint", "warning", "and kubelet has given it to no pod");
    assert!(found.note.contains("should request the resource"), "{found:?}");
}
