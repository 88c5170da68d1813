//! Errors: items 33 to 40.

use std::sync::OnceLock;

use serde_json::json;

use crate::subject::{NO_DAEMON, Pod, assert_silent, subject};
use crate::support::Answer;

/// Failures of every kind, with the code that each must have.
fn failures() -> &'static [(u64, Answer)] {
    static FAILURES: OnceLock<Vec<(u64, Answer)>> = OnceLock::new();
    FAILURES.get_or_init(fail)
}

fn fail() -> Vec<(u64, Answer)> {
    let (existing, pod) = (Pod::new(), Pod::new());
    let conf = subject().conf("1.0.0", json!({}));
    let result = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": existing.netns()}]});
    vec![
        (1, subject().call("ADD", json!({"cniVersion": "2.0.0"})).run()),
        (1, subject().call("GC", json!({"cniVersion": "1.0.0"})).run()),
        (4, subject().call("ADD", json!({})).without("CNI_PATH").run()),
        (4, subject().call("DEL", json!({})).env("CNI_IFNAME", "a/b").run()),
        (4, subject().call("NOPE", json!({})).run()),
        (6, subject().call("ADD", json!({})).stdin("{").run()),
        (6, subject().call("ADD", json!({"cniVersion": 1})).run()),
        (7, subject().call("ADD", json!({"name": null})).run()),
        (7, subject().call("ADD", json!({"server_socket": null})).run()),
        (8, pod.call("ADD", &conf).env("CNI_NETNS", "/proc/self/ns/net").run()),
        (
            11,
            pod.call(
                "ADD",
                &subject().conf("1.0.0", json!({"server_socket": NO_DAEMON, "ipam": null})),
            )
            .run(),
        ),
        (4, subject().call("ADD", json!({})).run()),
        (
            103,
            existing
                .call("CHECK", &subject().conf("1.0.0", json!({"prevResult": result})))
                .run(),
        ),
        (
            50,
            subject()
                .call("STATUS", json!({"cniVersion": "1.1.0", "server_socket": NO_DAEMON}))
                .run(),
        ),
    ]
}

/// An exit with 0 and an error object is a success for libcni.
#[test]
fn item_33_every_failure_exits_with_another_status_than_0() {
    for (_, answer) in failures() {
        assert_eq!(answer.rc, 1, "{answer:?}");
    }
}

#[test]
fn item_34_the_error_is_on_stdout() {
    for (_, answer) in failures() {
        assert!(answer.json()["msg"].is_string(), "{answer:?}");
    }
}

#[test]
fn item_35_one_object_on_stdout_and_nothing_else() {
    for (_, answer) in failures() {
        // all of stdout is one JSON value
        answer.json();
    }
    let pod = Pod::new();
    let answer = pod.call("ADD", &subject().conf("1.0.0", json!({}))).run();
    assert!(answer.rc == 0 && answer.json().is_object(), "{answer:?}");
    assert_silent(&pod.del("1.0.0"));
}

/// The reference leaves `cniVersion` out, which the specification has.
#[test]
fn item_36_the_shape_of_an_error() {
    for (code, answer) in failures() {
        answer.failure(*code);
        assert!(
            answer.json().get("details").is_none_or(serde_json::Value::is_string),
            "{answer:?}"
        );
    }
    for (call, version) in [
        (subject().call("NOPE", json!({"cniVersion": "0.4.0"})), "0.4.0"),
        (
            subject().call("ADD", json!({"cniVersion": "1.0.0", "name": null})),
            "1.0.0",
        ),
        (subject().call("ADD", json!({"cniVersion": "9.0.0"})), "1.1.0"),
        (subject().call("ADD", json!({})).stdin(""), "1.1.0"),
    ] {
        assert_eq!(call.run().json()["cniVersion"], version);
    }
}

/// libcni shows stderr then, and has nothing to show when that is empty, too.
#[test]
fn item_37_no_failure_without_a_word() {
    for (_, answer) in failures() {
        assert!(!answer.stdout.is_empty(), "{answer:?}");
    }
    // nobody reads stdout: stderr has it
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    for call in [
        subject().call("NOPE", json!({})),
        subject().bare(&[("CNI_COMMAND", "VERSION")]),
    ] {
        let answer = call.run_to(full.try_clone().unwrap().into());
        assert!(answer.rc == 1 && !answer.stderr.is_empty(), "{answer:?}");
    }
}

#[test]
fn item_38_codes() {
    for (code, answer) in failures() {
        assert_eq!(answer.json()["code"], *code, "{answer:?}");
    }
}

/// Code 3 would keep the runtime from sending a DEL, which might be needed.
#[test]
fn item_39_never_code_3_and_11_for_a_daemon_that_is_down() {
    for (_, answer) in failures() {
        assert_ne!(answer.json()["code"], 3, "{answer:?}");
    }
    let pod = Pod::new();
    let conf = subject().conf("1.0.0", json!({"server_socket": NO_DAEMON, "ipam": null}));
    pod.call("ADD", &conf).run().error(11);
}

#[test]
fn item_40_messages_are_short_lines() {
    for (_, answer) in failures() {
        let json = answer.json();
        let msg = json["msg"].as_str().unwrap();
        assert!(
            (1..300).contains(&msg.len()) && !msg.contains(char::is_control),
            "{answer:?}"
        );
    }
    // whatever is in the call
    let answer = subject()
        .call("ADD", json!({"provider": "x\n\u{1b}[31m".repeat(3000)}))
        .run();
    let json = answer.json();
    let msg = json["msg"].as_str().unwrap();
    assert!(msg.len() < 1000 && !msg.contains(char::is_control), "{answer:?}");
}
