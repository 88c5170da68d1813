//! What of the protocol is this plugin's own: the keys of its netconf, by the built binary. Everything here fails or is answered before
//! the daemon is asked. What every plugin must do is in tests/conformance.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a panic fails the test")]
#![allow(clippy::needless_pass_by_value, reason = "calls read better with json!(…) alone")]

#[path = "../support/mod.rs"]
mod support;

use std::process::Stdio;

use serde_json::{Value, json};
use support::{Answer, Call};

/// A netconf that is complete, and then some keys; `null` takes one away.
fn conf(keys: Value) -> String {
    let mut conf = json!({
        "cniVersion": "1.1.0",
        "name": "kube-ovn",
        "type": "kube-ovn",
        "server_socket": "/run/openvswitch/kube-ovn-daemon.sock",
    });
    for (key, value) in keys.as_object().expect("keys") {
        conf[key] = value.clone();
    }
    conf.as_object_mut()
        .expect("netconf")
        .retain(|_, value| !value.is_null());
    conf.to_string()
}

fn call(verb: &str, mut keys: Value) -> Call {
    if verb == "DEL" && keys.get("server_socket").is_none() {
        // nobody to ask, so nobody to wait for
        keys["server_socket"] = json!("/dev/null/daemon.sock");
    }
    Call::verb(verb).stdin(conf(keys))
}

/// The plugin took the call for good: what it says then comes from what it did, not from the protocol. An ADD of
/// these tests comes as far as its network namespace, which does not exist, and a DEL as far as a socket that is refused.
fn is_accepted(answer: &Answer) -> bool {
    let json = if answer.rc == 0 { Value::Null } else { answer.json() };
    match json["code"].as_u64() {
        None => answer.rc == 0,
        Some(4) => json["msg"] == "CNI_NETNS: network namespace /nonexistent/netns does not exist",
        Some(code) => !matches!(code, 1 | 2 | 6 | 7),
    }
}

#[test]
fn the_option_version_is_for_people_only() {
    let answer = Call::new(&[]).arg("--version").run();
    assert_eq!(
        (answer.rc, answer.stdout),
        (0, format!("kube-ovn {}\n", env!("CARGO_PKG_VERSION")))
    );
    // with a command, arguments mean nothing
    Call::verb("NOPE")
        .arg("--version")
        .stdin(conf(json!({})))
        .run()
        .failure(4);
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let full = || {
        Stdio::from(
            std::fs::File::options()
                .write(true)
                .open("/dev/full")
                .expect("open /dev/full"),
        )
    };
    for call in [
        Call::new(&[]).arg("--version"),
        Call::new(&[("CNI_COMMAND", "VERSION")]),
        call("NOPE", json!({})),
    ] {
        assert_eq!(call.run_to(full()).rc, 1);
    }
}

/// A netconf has no reason to be this long.
#[test]
fn a_megabyte_on_stdin() {
    let long = conf(json!({"x": "y".repeat(1 << 20)}));
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        Call::verb(verb).stdin(&long).run().failure(6);
    }
}

#[test]
fn keys_of_a_wrong_type_fail_add_and_not_del() {
    for (key, value) in [
        ("type", json!(1)),
        ("server_socket", json!(["/x"])),
        ("provider", json!(1.5)),
        ("routes", json!({"dst": "x"})),
        ("routes", json!(["x"])),
        ("dns", json!("x")),
        ("vf_driver", json!(true)),
        ("device", json!(true)),
        ("deviceID", json!(3)),
        ("pciBusID", json!({})),
        ("runtimeConfig", json!([])),
        ("prevResult", json!("x")),
        ("ipam", json!("x")),
    ] {
        let msg = call("ADD", json!({key: value})).run().failure(6);
        assert!(
            msg.starts_with(&format!("\"{key}\" in the network config must be ")),
            "{msg}"
        );
        let answer = call("DEL", json!({key: value})).run();
        assert!(is_accepted(&answer), "{answer:?}");
    }
}

#[test]
fn the_socket_of_the_daemon() {
    for socket in [json!(null), json!("")] {
        assert_eq!(
            call("ADD", json!({"server_socket": socket})).run().failure(7),
            "server_socket is required"
        );
    }
    for socket in ["run/x.sock", "a\0b", &format!("/{}", "x".repeat(107))] {
        let msg = call("ADD", json!({"server_socket": socket})).run().failure(7);
        assert!(msg.contains("server_socket"), "{msg}");
    }
    // in IPAM mode it is ipam's, even where ipam has none
    let msg = call("ADD", json!({"type": "macvlan", "ipam": {"type": "kube-ovn"}}))
        .run()
        .failure(7);
    assert_eq!(msg, "server_socket is required");
    // and our own name is not IPAM mode
    let answer = call("ADD", json!({"type": "kube-ovn", "ipam": {"type": "kube-ovn"}})).run();
    assert!(is_accepted(&answer), "{answer:?}");
}

#[test]
fn device_ids_that_disagree_fail_add_and_not_del() {
    let keys =
        json!({"deviceID": "0000:84:00.3", "pciBusID": "0000:84:00.4", "runtimeConfig": {"deviceID": "0000:84:00.5"}});
    let msg = call("ADD", keys.clone()).run().failure(7);
    for id in ["\"0000:84:00.3\"", "\"0000:84:00.4\"", "\"0000:84:00.5\""] {
        assert!(msg.contains(id), "{msg}");
    }
    let answer = call("DEL", keys).run();
    assert!(is_accepted(&answer), "{answer:?}");
}

#[test]
fn a_required_device_that_did_not_come() {
    let answer = call("ADD", json!({"device": "required"})).run();
    assert!(answer.failure(7).contains("no deviceID"), "{answer:?}");
    for word in ["Multus", "device plugin", "resourceName"] {
        assert!(answer.details().contains(word), "{answer:?}");
    }
    assert!(
        call("ADD", json!({"device": "optional"}))
            .run()
            .failure(7)
            .contains("\"optional\"")
    );
    for device in ["required", "optional"] {
        let answer = call("DEL", json!({"device": device})).run();
        assert!(is_accepted(&answer), "{answer:?}");
    }
}
