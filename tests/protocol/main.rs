//! The CNI protocol, by the built binary: everything that fails or is answered before the daemon is asked.
//!
//! Expected texts are those of skel, the library under the stock plugin, as its plugins were seen to print them.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a panic fails the test")]
#![allow(clippy::needless_pass_by_value, reason = "calls read better with json!(…) alone")]

mod environment;
mod stdin;
#[path = "../support/mod.rs"]
mod support;

use std::process::Stdio;

use serde_json::{Value, json};
use support::{Answer, Call};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

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

// ---- 4.3 errors

#[test]
fn an_error_has_the_version_of_the_netconf_as_far_as_it_is_known() {
    for (call, version) in [
        (call("ADD", json!({"cniVersion": "0.3.1"})).without("CNI_PATH"), "0.3.1"),
        (call("NOPE", json!({"cniVersion": "0.4.0"})), "0.4.0"),
        (call("ADD", json!({"cniVersion": "1.0.0", "name": null})), "1.0.0"),
        (call("ADD", json!({"cniVersion": "9.0.0"})), "1.1.0"),
        (Call::verb("ADD"), "1.1.0"),
    ] {
        assert_eq!(call.run().json()["cniVersion"], version);
    }
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

// ---- 4.4 VERSION

#[test]
fn version() {
    let supported = json!(VERSIONS);
    for (stdin, echoed) in [
        ("", "1.1.0"),
        ("garbage", "1.1.0"),
        ("{}", "1.1.0"),
        ("{\"cniVersion\":\"2.0.0\"}", "1.1.0"),
        ("{\"cniVersion\":3}", "1.1.0"),
        ("{\"cniVersion\":\"0.3.1\"}", "0.3.1"),
        ("{\"cniVersion\":\"1.0.0\"}", "1.0.0"),
    ] {
        let answer = Call::new(&[("CNI_COMMAND", "VERSION")]).stdin(stdin).run();
        assert_eq!((answer.rc, answer.stderr.as_str()), (0, ""), "{answer:?}");
        assert_eq!(
            answer.json(),
            json!({"cniVersion": echoed, "supportedVersions": supported}),
            "{stdin}"
        );
    }
    // podman: everything set, to nothing that exists
    let answer = Call::new(&[
        ("CNI_COMMAND", "VERSION"),
        ("CNI_CONTAINERID", "--"),
        ("CNI_IFNAME", "dummy:"),
        ("CNI_NETNS", "dummy"),
        ("CNI_PATH", "dummy"),
    ])
    .stdin("{\"cniVersion\":\"1.0.0\"}")
    .run();
    assert_eq!((answer.rc, &answer.json()["cniVersion"]), (0, &json!("1.0.0")));
}

/// Without a list of living attachments there is nothing to collect.
#[test]
fn gc_without_a_list_is_silent() {
    let answer = call("GC", json!({"cniVersion": "1.1.0"})).run();
    assert_eq!((answer.rc, answer.stdout.as_str(), answer.stderr.as_str()), (0, "", ""));
}

// ---- 4.8 CHECK, 4.9 STATUS

#[test]
fn check_needs_a_result_and_a_namespace() {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let missing = call("CHECK", json!({"cniVersion": version})).run();
        assert_eq!(missing.failure(7), "required prevResult missing");
        assert_eq!(missing.json()["cniVersion"], version);
        let wrong = json!({"cniVersion": version, "prevResult": {"interfaces": "eth0"}});
        assert!(
            call("CHECK", wrong)
                .run()
                .failure(6)
                .contains("could not parse prevResult")
        );
        let interfaces = json!([{"name": "eth0", "sandbox": "/nonexistent/netns"}]);
        let gone = json!({"cniVersion": version, "prevResult": {"interfaces": interfaces}});
        assert_eq!(
            call("CHECK", gone).run().failure(4),
            "CNI_NETNS: network namespace /nonexistent/netns does not exist"
        );
    }
}

/// Nobody listens at the socket of these tests, so no ADD could be served; whether Open vSwitch runs is the machine's business.
#[test]
fn status_of_a_machine_without_the_daemon() {
    let answer = call("STATUS", json!({"cniVersion": "1.1.0"})).run();
    let error = answer.json();
    assert!(
        answer.rc == 1 && matches!(error["code"].as_u64(), Some(50 | 51)),
        "{answer:?}"
    );
    assert_eq!(error["cniVersion"], "1.1.0");
    assert!(
        error.to_string().contains("kube-ovn-daemon can't be reached"),
        "{answer:?}"
    );
}
