//! Pods without a VF, through the same plugin and the same daemon; and what `conf/` has for both.

use serde_json::{Value, json};

use crate::attachment::{assert_attached, assert_no_port, assert_result, port_name};
use crate::command::{attempt, ip_json, read};
use crate::daemon::{Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::vf;
use crate::pod::{MTU, Pod};
use crate::traffic::{ping, tcp};

/// The interface, and the result as stock prints it: one interface, the addresses on it.
#[track_caller]
fn assert_veth(pod: &Pod, result: &Value) {
    let interface = json!({"name": "eth0", "mac": pod.mac, "sandbox": pod.netns_path()});
    assert_eq!(result["interfaces"], json!([interface]), "{result}");
    let ip = json!({"version": "4", "interface": 0, "address": format!("{}/16", pod.ipv4), "gateway": "10.16.0.1"});
    assert_eq!(result["ips"], json!([ip]), "{result}");
    let link = pod.link("eth0").expect("eth0");
    assert_eq!(
        (&link["linkinfo"]["info_kind"], &link["mtu"]),
        (&json!("veth"), &json!(MTU)),
        "{link}"
    );
    assert_eq!(
        ip_json(&["link", "show", "dev", &port_name(pod)])[0]["master"],
        "ovs-system"
    );
}

#[test]
fn veth_pods_beside_vf_pods() {
    let mut lab = Lab::with(HEAD);
    let (with_vf, veth, other) = (lab.pod(1), lab.pod_in(1, 2, "eth0"), lab.pod_in(1, 3, "eth0"));
    let vf = vf(0, 0);
    with_vf.add(&vf).run().result();
    let answer = veth.call("ADD").run();
    assert_veth(&veth, &answer.result());
    assert!(
        answer.stderr.contains("the pod gets a veth, which is not offloaded"),
        "{answer:?}"
    );
    other.call("ADD").run().result();
    ping(&veth, &with_vf.ipv4, 3);
    ping(&veth, &other.ipv4, 3);
    tcp(&with_vf, &veth, &veth.ipv4);
    // containerd's DEL of a sandbox whose namespace is gone names none
    other.destroy();
    other.call("DEL").env("CNI_NETNS", "").run().silent();
    veth.call("DEL").run().silent();
    veth.assert_empty();
    for pod in [&veth, &other] {
        assert_no_port(pod);
        assert!(
            attempt("ip", &["link", "show", "dev", &port_name(pod)]).is_err(),
            "the host's end is left"
        );
        pod.call("DEL").run().silent();
    }
    assert_attached(&with_vf, &vf);
    with_vf.del(&vf).run().silent();
    lab.assert_as_before();
}

#[test]
fn a_failed_add_of_a_veth_pod() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod_in(1, 2, "eth0");
    lab.fault(&pod, "gateway-check");
    pod.call("ADD").run().failure(11, "is not ready for interface eth0");
    pod.call("DEL").run().silent();
    assert_no_port(&pod);
    lab.assert_as_before();
}

fn top() -> String {
    std::env::var("LAB_DIR").expect("LAB_DIR") + "/../.."
}

/// As Multus and libcni make the plugin's stdin of a list: its first plugin, the list's name and version, the device.
fn first_plugin(list: &Value, device: Option<&str>) -> Value {
    let mut conf = list["plugins"][0].clone();
    for key in ["name", "cniVersion"] {
        conf[key] = list[key].clone();
    }
    for key in ["deviceID", "pciBusID"] {
        if let Some(device) = device {
            conf[key] = json!(device);
        }
    }
    conf
}

/// `spec.config` is the last key of the file: a block of JSON.
fn network_attachment_definition() -> Value {
    let text = read(top() + "/conf/mellanox/network.yaml").expect("the NAD");
    let (_, config) = text.split_once("config: |").expect("spec.config");
    serde_json::from_str(config).expect("JSON in spec.config")
}

#[test]
fn the_network_attachment_definition_of_conf() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 0);
    let list = network_attachment_definition();
    let asked = Daemon::requests().len();
    let mut call = pod.call("ADD");
    call.conf = first_plugin(&list, None);
    call.run().failure(
        7,
        "the netconf has \"device\": \"required\", but no deviceID came with it",
    );
    assert_eq!(Daemon::requests().len(), asked, "the daemon was asked");
    call.conf = first_plugin(&list, Some(&vf.pci));
    assert_result(&call.run(), "0.3.1", &pod, &vf);
    assert_attached(&pod, &vf);
    call.to_del().run().silent();
    lab.assert_as_before();
}

#[test]
fn the_default_network_of_conf() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod_in(1, 2, "eth0");
    let list: Value = serde_json::from_str(&read(top() + "/conf/01-kube-ovn.conflist").expect("the drop-in")).unwrap();
    let mut call = pod.call("ADD");
    call.conf = first_plugin(&list, None);
    assert_veth(&pod, &call.run().result());
    call.to_del().run().silent();
    lab.assert_as_before();
}

/// `ipam` under another plugin's type: addresses only.
#[test]
fn as_ipam_of_another_plugin() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod_in(2, 1, "net1");
    lab.annotate(&pod, "mac", "");
    let mut call = pod.call("ADD");
    // a provider that does not end in "ovn" gets no interface
    let ipam = json!({"type": "kube-ovn", "server_socket": crate::daemon::SOCKET, "provider": "macvlan.default"});
    call.conf = json!({"cniVersion": "1.0.0", "name": "macvlan", "type": "macvlan", "ipam": ipam});
    lab.provide(&pod, "macvlan.default");
    let result = call.run().result();
    assert_eq!(result["ips"][0]["address"], format!("{}/16", pod.ipv4), "{result}");
    pod.assert_empty();
    call.to_del().run().silent();
    lab.assert_as_before();
}
