//! The files of conf/: each is parsed, each JSON in them is fed to the built plugin as Multus or a runtime makes it of the file,
//! and the names by which the files refer to each other agree.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is a failed test"
)]

mod files;
mod names;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use files::{documents, read};
use serde_json::{Value, json};
use support::Call;

const VF: &str = "0000:84:00.3";

/// The plugin's own part of a list, as libcni hands it on (libcni/api.go `buildOneConfig`), with what Multus adds for
/// a device (pkg/types/conf.go:632-667 at v4.3.0).
fn stdin(list: &Value, device: Option<&str>) -> Value {
    let plugins = list["plugins"].as_array().unwrap();
    assert_eq!(
        (&plugins[0]["type"], &plugins[1]["type"]),
        (&json!("kube-ovn"), &json!("portmap"))
    );
    let mut conf = plugins[0].clone();
    conf["name"] = list["name"].clone();
    conf["cniVersion"] = list["cniVersion"].clone();
    if let Some(device) = device {
        conf["deviceID"] = json!(device);
        conf["pciBusID"] = json!(device);
        if conf["capabilities"]["deviceID"] == true {
            conf["runtimeConfig"] = json!({
                "deviceID": device,
                "CNIDeviceInfoFile": "/var/run/k8s.cni.cncf.io/devinfo/cni/default-sriov-0123456789abcdef_net1",
            });
        }
    }
    conf
}

fn complete(conf: &Value) {
    let answer = Call::verb("ADD").stdin(conf.to_string()).run();
    assert_eq!(
        answer.failure(4),
        "CNI_NETNS: network namespace /nonexistent/netns does not exist"
    );
    // the file's version is not one that has CHECK; with a version that has it, only the result is missing
    let answer = Call::verb("CHECK").stdin(conf.to_string()).run();
    assert_eq!(answer.failure(1), "config version does not allow CHECK");
    let mut newer = conf.clone();
    newer["cniVersion"] = json!("1.1.0");
    let answer = Call::verb("CHECK").stdin(newer.to_string()).run();
    assert!(answer.failure(7).contains("prevResult"), "{answer:?}");
    gone(conf);
}

/// DEL of a pod that was never added, where the file's own socket is the daemon's.
fn gone(conf: &Value) {
    let node = tempfile::tempdir().unwrap();
    let daemon = UnixListener::bind(node.path().join("kube-ovn-daemon.sock")).unwrap();
    let daemon = std::thread::spawn(move || {
        let (mut call, _) = daemon.accept().unwrap();
        let mut request = Vec::new();
        let mut part = [0; 4096];
        while !request.ends_with(b"}") {
            let count = call.read(&mut part).unwrap();
            assert!(count > 0, "half a request: {request:?}");
            request.extend(part.get(..count).unwrap());
        }
        call.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    let answer = Call::verb("DEL").on(node.path()).stdin(conf.to_string()).run();
    assert_eq!((answer.rc, answer.stdout.as_str()), (0, ""), "{answer:?}");
    let request = daemon.join().unwrap();
    let provider = conf["provider"].as_str().unwrap_or("ovn");
    assert!(
        request.starts_with("POST /api/v1/del ") && request.contains(&format!("\"provider\":\"{provider}\"")),
        "{request}"
    );
}

#[test]
fn the_networkattachmentdefinitions() {
    let mut vfio = 0;
    for nad in documents()
        .iter()
        .filter(|document| document.kind() == "NetworkAttachmentDefinition")
    {
        let list = nad.json("/spec/config");
        complete(&stdin(&list, Some(VF)));
        // without a device from Multus it says what is missing
        let answer = Call::verb("ADD").stdin(stdin(&list, None).to_string()).run();
        assert!(answer.failure(7).contains("deviceID"), "{answer:?}");
        assert!(
            answer.details().contains("k8s.v1.cni.cncf.io/resourceName"),
            "{answer:?}"
        );
        vfio += usize::from(list["plugins"][0]["vf_driver"] == "vfio-pci");
    }
    assert_eq!(vfio, 1);
}

#[test]
fn the_drop_in() {
    let list: Value = serde_json::from_str(&read("01-kube-ovn.conflist")).unwrap();
    complete(&stdin(&list, None));
    assert_eq!(
        list["cniVersion"], "0.3.1",
        "runtimes send STATUS from 1.1.0 on, which is the operator's choice"
    );
}

/// Every JSON file is one of those that are fed to an executable: the drop-in here, the node's settings in src/node/config.rs.
#[test]
fn no_json_is_left_out() {
    assert_eq!(files::files("json"), ["config.json"]);
    assert_eq!(files::files("conflist"), ["01-kube-ovn.conflist"]);
}
