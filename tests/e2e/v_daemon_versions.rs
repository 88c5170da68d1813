//! Every release of the daemon: a pod with a VF, one with a veth, and an ADD that fails.

use serde_json::{Value, json};

use crate::attachment::{assert_in_pod, assert_no_port, port_name};
use crate::call::Answer;
use crate::command::{eventually, external_ids, ip_json, run};
use crate::daemon::HEAD;
use crate::lab::Lab;
use crate::nic::{Vf, vf};
use crate::pod::Pod;

/// Those of `tests/emulator/versions.rs`, which refuses a name that it does not know.
const VERSIONS: [&str; 7] = [
    "v1.12.35", "v1.13.15", "v1.14.41", "v1.15.24", "v1.16.1", "v1.16.2", "head",
];

/// The port is there, and OVN has installed it: daemons before v1.14 answer before that.
#[track_caller]
fn assert_port(pod: &Pod) {
    let name = port_name(pod);
    assert_eq!(ip_json(&["link", "show", "dev", &name])[0]["master"], "ovs-system");
    eventually("ovn-controller has installed the port", || {
        external_ids(&name)["ovn-installed"] == "true"
    });
}

#[track_caller]
fn assert_addresses(version: &str, answer: &Answer, pod: &Pod, interface: usize) -> Value {
    let result = answer.result();
    let expected = json!([
        {"interface": interface, "address": format!("{}/16", pod.ipv4), "gateway": "10.16.0.1"},
        {"interface": interface, "address": format!("{}/112", pod.ipv6), "gateway": "fd00:10:16::1"},
    ]);
    assert_eq!(result["ips"], expected, "{version}");
    result
}

fn dual_stack(lab: &mut Lab, pod: &Pod) {
    lab.annotate(pod, "ip", format!("{},{}", pod.ipv4, pod.ipv6));
    lab.annotate(pod, "cidr", "10.16.0.0/16,fd00:10:16::/112");
    lab.annotate(pod, "gateway", "10.16.0.1,fd00:10:16::1");
}

fn journey(version: &str) {
    let mut lab = Lab::with(&[HEAD, &["--daemon-version", version]].concat());
    let (with_vf, veth, failed) = (lab.pod(1), lab.pod_in(1, 2, "eth0"), lab.pod(3));
    // of the first PF: see below
    let vfs: [Vf; 2] = [vf(0, 0), vf(0, 1)];
    dual_stack(&mut lab, &with_vf);
    dual_stack(&mut lab, &veth);
    // with the VF in the pod: what the daemon takes back of it is another thing in each release
    lab.fault(&failed, "configure");
    let adds = [
        with_vf.add(&vfs[0]).key("cniVersion", "1.0.0").start(),
        veth.call("ADD").key("cniVersion", "1.0.0").start(),
        failed.add(&vfs[1]).start(),
    ];
    let [with_vf_added, veth_added, failed_added] = adds.map(crate::call::Running::end);

    let result = assert_addresses(version, &with_vf_added, &with_vf, 1);
    assert_eq!(result["interfaces"][1]["mac"], with_vf.mac.as_str(), "{result}");
    let both = [format!("{}/16", with_vf.ipv4), format!("{}/112", with_vf.ipv6)];
    assert_in_pod(&with_vf, &vfs[0], &[&both[0], &both[1]]);
    assert_eq!(vfs[0].representor(), Some(port_name(&with_vf)), "{version}");
    assert_addresses(version, &veth_added, &veth, 0);
    assert_port(&with_vf);
    assert_port(&veth);
    crate::traffic::ping(&with_vf, &veth.ipv4, 2);

    // the oldest says only that: it leaves everything as it was then
    let words = match version {
        "v1.12.35" => "configure nic failed can not set mac address to nic eth0",
        _ => "configure nic eth0 for pod pod3/default failed: can not set mac address to nic eth0",
    };
    failed_added.failure(11, words);
    failed.assert_empty();
    assert_no_port(&failed);

    let dels = [
        with_vf.del(&vfs[0]).start(),
        veth.call("DEL").start(),
        failed.del(&vfs[1]).start(),
    ];
    for del in dels {
        del.end().silent();
    }
    for pod in [&with_vf, &veth] {
        pod.assert_empty();
        assert_no_port(pod);
    }
    lab.assert_as_before();
}

#[test]
fn add_and_del_with_every_daemon() {
    for version in VERSIONS {
        let start = std::time::Instant::now();
        journey(version);
        println!("{version}: {:.1} s", start.elapsed().as_secs_f32());
    }
}

/// From v1.13 on a DEL whose pod is gone from the API removes the port all the same (412f79904); before, it says yes and does
/// nothing, and the port goes by way of OVSDB.
#[test]
fn del_when_the_pod_is_gone() {
    for version in ["v1.12.35", "v1.13.15", "head"] {
        let mut lab = Lab::with(&[HEAD, &["--daemon-version", version]].concat());
        let pod = lab.pod(1);
        let vf = vf(0, 0);
        pod.add(&vf).run().result();
        assert_port(&pod);
        lab.forget(&pod);
        pod.destroy();
        pod.del(&vf).env("CNI_NETNS", "").run().silent();
        assert_no_port(&pod);
        lab.assert_as_before();
    }
}

/// Before v1.16.2 the daemon gives both what the first one has; where the controller (v1.16.0, v1.16.1) writes something for
/// each, it finds nothing.
#[test]
fn two_vfs_of_one_network() {
    let vfs = [vf(0, 0), vf(0, 1)];
    let mut lab = Lab::with(&[HEAD, &["--daemon-version", "v1.15.24"]].concat());
    let first = lab.pod(1);
    let second = first.with_interface(0, "net1");
    first.add(&vfs[0]).run().result();
    let cause = "before v1.16.2 kube-ovn can't tell two interfaces of one NetworkAttachmentDefinition apart";
    second.add(&vfs[1]).run().failure(7, cause);
    assert_in_pod(&first, &vfs[0], &[&format!("{}/16", first.ipv4)]);
    second.del(&vfs[1]).run().silent();
    first.del(&vfs[0]).run().silent();
    lab.assert_as_before();

    for version in ["v1.16.1", "v1.16.2"] {
        let mut lab = Lab::with(&[HEAD, &["--daemon-version", version]].concat());
        let first = lab.pod_in(0, 1, "net1");
        let second = first.with_interface(0, "net2");
        let named = ["net1", "net2"].map(|ifname| format!("{}.{ifname}", first.provider));
        let own = [("10.16.9.1", "02:00:00:00:09:01"), ("10.16.9.2", "02:00:00:00:09:02")];
        for (name, (ip, mac)) in named.iter().zip(own) {
            lab.provide(&first, name);
            lab.annotate_as(&first, name, "ip", ip);
            lab.annotate_as(&first, name, "mac", mac);
        }
        lab.withdraw(&first);
        if version == "v1.16.1" {
            let failed = first.add(&vfs[0]).run();
            failed.failure(
                11,
                "two interfaces of one NetworkAttachmentDefinition, that needs kube-ovn v1.16.2",
            );
            lab.assert_as_before();
            continue;
        }
        let ports = named.each_ref().map(|name| format!("pod1.default.{name}"));
        for (port, (ip, mac)) in ports.iter().zip(own) {
            run("ovn-nbctl", &["lsp-add", "ovn-default", port]);
            run("ovn-nbctl", &["lsp-set-addresses", port, &format!("{mac} {ip}")]);
        }
        first.add(&vfs[0]).run().result();
        let result = second.add(&vfs[1]).run().result();
        assert_eq!(result["ips"][0]["address"], "10.16.9.2/16", "{result}");
        for pod in [&first, &second] {
            assert_port(pod);
        }
        second.del(&vfs[1]).run().silent();
        first.del(&vfs[0]).run().silent();
        for port in &ports {
            run("ovn-nbctl", &["lsp-del", port]);
        }
        lab.assert_as_before();
    }
}

/// Up to v1.16 the daemon takes the number of the PF in a representor's name for that of the PCI function. The lab's second
/// PF is number 1 and function 0 of its device: the daemon takes the representor of the first PF's VF. ADD says what is not
/// so, and gives back what it holds; a representor of another VF it leaves alone.
#[test]
fn a_daemon_that_takes_another_vfs_representor() {
    let mut lab = Lab::with(&[HEAD, &["--daemon-version", "v1.16.2"]].concat());
    let pod = lab.pod(1);
    let (vf, robbed) = (vf(1, 0), vf(0, 0));
    let own = vf.representor().unwrap();
    // or the daemon would find out itself that nothing gets through
    lab.annotate(&pod, "gateway_check", false);
    let answer = pod.add(&vf).run();
    answer.failure(102, &format!("its representor {own} is in no OVS bridge"));
    pod.assert_empty();
    assert_no_port(&pod);
    assert_eq!(vf.representor(), Some(own));
    assert_eq!(robbed.representor(), Some(port_name(&pod)), "the daemon renamed it");
    lab.before.restore();
    lab.assert_as_before();
}
