//! A netconf that names a device which the pod did not get.

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::pod::Pod;
use crate::settings;
use crate::support::{Answer, Call};

const UID: &str = "11111111-2222-3333-4444-555555555555";
const DEVICE: &str = "ffff:ff:1f.7";

/// ADD of a device that is not there, for a pod with that UID; kubelet's checkpoint is `checkpoint` of the directory.
fn add(daemon: &Daemon, pod: &Pod, uid: &str) -> Answer {
    let conf = json!({
        "cniVersion": "1.0.0", "name": "n", "type": "kube-ovn", "server_socket": crate::daemon::SOCKET,
        "deviceID": DEVICE,
    });
    let args = format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx;K8S_POD_UID={uid}");
    Call::verb("ADD")
        .on(daemon.directory())
        .env("CNI_NETNS", &pod.netns())
        .env("CNI_ARGS", &args)
        .stdin(conf.to_string())
        .run()
}

fn checkpoint(daemon: &Daemon, entries: &[(&str, Value)]) {
    let entries: Vec<Value> = entries
        .iter()
        .map(|(uid, ids)| json!({"PodUID": uid, "ContainerName": "c", "ResourceName": "r/r", "DeviceIDs": ids}))
        .collect();
    let text = json!({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": {}}, "Checksum": 1}).to_string();
    std::fs::write(daemon.path("checkpoint"), text).unwrap();
}

#[test]
fn is_told_or_refused() {
    let (daemon, pod) = (Daemon::at_once(&json!({})), Pod::new());
    let other =
        format!("kubelet allocated VF {DEVICE} (r/r) to the pod with UID other, not to this one (\\\"{UID}\\\")");
    let nobody = format!("kubelet allocated VF {DEVICE} to no pod");
    let unknown = format!("whether kubelet allocated VF {DEVICE} to this pod can't be told");
    let ids = || json!({"0": [DEVICE]});
    for (entries, uid, code, told) in [
        (Some(vec![(UID, ids())]), UID, 0, ""),
        (Some(vec![("other", ids())]), UID, 7, other.as_str()),
        (Some(vec![]), UID, 7, nobody.as_str()),
        (Some(vec![]), "", 100, unknown.as_str()),
        (None, UID, 100, unknown.as_str()),
    ] {
        let _ = std::fs::remove_file(daemon.path("checkpoint"));
        if let Some(entries) = entries {
            checkpoint(&daemon, &entries);
        }
        for policy in ["off", "warn", "require"] {
            settings(&daemon, json!({"allocation": policy}).to_string());
            let answer = add(&daemon, &pod, uid);
            let refused = policy == "require" && code != 0;
            if refused {
                let msg = answer.failure(code);
                assert!(msg.contains(&told.replace('\\', "")), "{msg}");
                assert!(answer.details().contains("\"allocation\": \"require\""), "{answer:?}");
            } else {
                // went on, as far as the device
                assert!(
                    answer.failure(7).starts_with("no PCI device ffff:ff:1f.7"),
                    "{answer:?}"
                );
            }
            let warned = answer.stderr.contains("level=warn") && answer.stderr.contains("kubelet allocated");
            assert_eq!(warned, policy == "warn" && code != 0, "{policy}: {answer:?}");
            assert!(!warned || answer.stderr.contains(told), "{answer:?}");
        }
    }
    // without settings it is "warn"
    std::fs::remove_file(daemon.path("config.json")).unwrap();
    assert!(add(&daemon, &pod, UID).stderr.contains("can't be told"));
}
