//! What the node's settings decide, and what Multus is told of a device.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::attachment::{assert_attached, assert_no_port, port_name};
use crate::call::Answer;
use crate::command::{run, write};
use crate::daemon::{Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::{uplink, vf};

const SETTINGS: &str = "/etc/kube-ovn-cni";
const CHECKPOINT: &str = "/var/lib/kubelet/device-plugins";
const DEVINFO: &str = "/var/run/k8s.cni.cncf.io";

/// Settings of the node, as long as this value lives.
struct Settings;

impl Settings {
    fn new(settings: &Value) -> Self {
        fs::create_dir_all(SETTINGS).unwrap();
        write(format!("{SETTINGS}/config.json"), &settings.to_string());
        Self
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        for directory in [SETTINGS, CHECKPOINT, DEVINFO] {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// kubelet allocated these devices to the pod with this UID.
fn allocate(uid: &str, devices: &[&str]) {
    fs::create_dir_all(CHECKPOINT).unwrap();
    let entry = json!({"PodUID": uid, "ContainerName": "c", "ResourceName": "lab/vf", "DeviceIDs": {"0": devices}});
    let checkpoint = json!({"Data": {"PodDeviceEntries": [entry], "RegisteredDevices": {}}, "Checksum": 1});
    write(
        format!("{CHECKPOINT}/kubelet_internal_checkpoint"),
        &checkpoint.to_string(),
    );
}

fn warns(answer: &Answer, words: &str) -> bool {
    answer
        .stderr
        .lines()
        .any(|line| line.contains("level=warn") && line.contains(words))
}

#[test]
fn a_vf_that_was_not_allocated_to_the_pod() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 0);
    let _settings = Settings::new(&json!({"allocation": "require"}));
    let asked = Daemon::requests().len();
    allocate("another", &[&vf.pci]);
    pod.add(&vf)
        .run()
        .failure(7, "to the pod with UID another, not to this one");
    assert_eq!(Daemon::requests().len(), asked, "the daemon was asked");
    assert_no_port(&pod);
    // the UID that the pod's calls have
    allocate("1", &[&vf.pci]);
    let answer = pod.add(&vf).run();
    answer.result();
    assert!(!warns(&answer, "kubelet"), "{answer:?}");
    assert_attached(&pod, &vf);
    pod.del(&vf).run().silent();
    lab.assert_as_before();
}

#[test]
fn a_vf_that_would_not_be_offloaded() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 0);
    let settings = Settings::new(&json!({"allocation": "off", "offload": "require"}));
    // as a driver leaves it, and as an administrator is told to switch it
    let uplink = uplink(&vf.pf);
    let features = |netdev: &str, state| run("ethtool", &["-K", netdev, "hw-tc-offload", state]);
    pod.add(&vf).run().failure(
        100,
        &format!(
            "hw-tc-offload is off on uplink {uplink} of {}: ethtool -K {uplink} hw-tc-offload on",
            vf.pf
        ),
    );
    features(&uplink, "on");
    pod.add(&vf).run().result();
    pod.del(&vf).run().silent();
    let asked = Daemon::requests().len();
    let representor = vf.representor().unwrap();
    features(&representor, "off");
    let refused = pod.add(&vf).run();
    features(&representor, "on");
    refused.failure(100, &format!("hw-tc-offload is off on representor {representor}"));
    assert_eq!(Daemon::requests().len(), asked, "the daemon was asked");
    let hw_offload = |value| {
        run(
            "ovs-vsctl",
            &["set", "Open_vSwitch", ".", &format!("other_config:hw-offload={value}")],
        )
    };
    hw_offload("false");
    let refused = pod.add(&vf).run();
    drop(settings);
    let warned = pod.add(&vf).run();
    hw_offload("true");
    let message = "other_config:hw-offload of Open vSwitch is \"false\", expected true";
    refused.failure(100, message);
    warned.result();
    assert!(
        warns(
            &warned,
            "would not be offloaded: other_config:hw-offload of Open vSwitch is"
        ),
        "{warned:?}"
    );
    pod.del(&vf).run().silent();
    features(&uplink, "off");
    lab.assert_as_before();
}

#[test]
fn multus_is_told_of_the_representor() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 0);
    let _settings = Settings::new(&json!({}));
    fs::create_dir_all(format!("{DEVINFO}/devinfo/cni")).unwrap();
    let file = format!("{DEVINFO}/devinfo/cni/default-sriov-{}_{}", pod.container, pod.ifname);
    write(
        &file,
        &json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": vf.pci, "rdma-device": "mlx5_2"}})
            .to_string(),
    );
    let add = |path: &str| {
        pod.add(&vf)
            .key("runtimeConfig", json!({"CNIDeviceInfoFile": path, "deviceID": vf.pci}))
    };
    add(&file).run().result();
    let told: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(
        told,
        json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": vf.pci, "rdma-device": "mlx5_2",
            "pf-pci-address": vf.pf, "representor-device": port_name(&pod)}})
    );
    pod.del(&vf).run().silent();
    assert!(fs::metadata(&file).is_ok(), "Multus removes it");

    // a tenant's path
    write("/run/e2e/victim", "{}");
    let answer = add("/run/e2e/victim").run();
    answer.result();
    assert!(
        warns(
            &answer,
            "is ignored: it is not directly in /var/run/k8s.cni.cncf.io/devinfo/cni"
        ),
        "{answer:?}"
    );
    assert_eq!(fs::read_to_string("/run/e2e/victim").unwrap(), "{}");
    pod.del(&vf).run().silent();
    lab.assert_as_before();
}

/// A daemon that does not answer is waited for as long as the settings say, and no longer.
#[test]
fn shorter_deadlines() {
    let mut lab = Lab::with(HEAD);
    let (pod, other) = (lab.pod(1), lab.pod(2));
    let vf = vf(0, 0);
    let _settings = Settings::new(&json!({"add_seconds": 30, "undo_seconds": 15, "del_seconds": 10}));
    let answer = lab.add_paused_at("moved", &pod, &vf).end();
    answer.failure(11, "gave no reply to ADD");
    // 185 s by default; the rest is for a machine that has other things to do
    assert!(
        answer.took > Duration::from_secs(14) && answer.took < Duration::from_secs(120),
        "{answer:?}"
    );
    pod.assert_empty();
    lab.fault(&pod, "");
    Daemon::settle();
    pod.del(&vf).run().silent();
    Lab::forget_unanswered();
    other.add(&vf).run().result();
    lab.fault(&other, "pause@del");
    let answer = other.del(&vf).run();
    // the port has gone by way of OVSDB; the daemon was asked for half a minute by default
    answer.silent();
    assert!(answer.took < Duration::from_secs(60), "{answer:?}");
    assert_no_port(&other);
    lab.fault(&other, "");
    lab.assert_as_before();
}
