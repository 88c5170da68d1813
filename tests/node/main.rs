//! What root has decided for the node, and what of a netconf is believed because of it, by the built binary. Needs root:
//! each call has a node in a mount namespace of its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a failed step is a failed test"
)]

mod allocation;
#[path = "../support/daemon.rs"]
mod daemon;
mod log;
#[path = "../support/pod.rs"]
mod pod;
mod settings;
mod socket;
#[path = "../support/mod.rs"]
mod support;

use daemon::Daemon;
use pod::Pod;
use serde_json::{Value, json};
use support::{Answer, Call};

fn pods() -> Value {
    let annotations = json!({
        "ip": "10.16.0.5", "mac": "00:00:00:AA:BB:CC", "cidr": "10.16.0.0/16", "gateway": "10.16.0.1",
        "default_route": true, "mtu": 1400, "subnet": "ovn-default", "gateway_check": true, "routes": [],
        "allocated": true, "routed": true
    });
    json!({"default/nginx": {"ovn": annotations}})
}

/// A call on the daemon's node, with these keys in the netconf.
fn call(verb: &str, daemon: &Daemon, pod: &Pod, keys: &Value) -> Answer {
    let mut conf = json!({
        "cniVersion": "1.0.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": daemon::SOCKET,
    });
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    Call::verb(verb)
        .on(daemon.directory())
        .env("CNI_NETNS", &pod.netns())
        .stdin(conf.to_string())
        .run()
}

/// The settings of the daemon's node.
fn settings(daemon: &Daemon, text: impl AsRef<[u8]>) {
    std::fs::write(daemon.path("config.json"), text).unwrap();
}

/// How often the daemon was asked.
fn asked(daemon: &Daemon) -> usize {
    if daemon.path("log").exists() {
        daemon.log().len()
    } else {
        0
    }
}
