//! Section 4.2: stdin.

use serde_json::json;

use crate::support::Call;
use crate::{VERSIONS, call, conf, is_accepted};

#[test]
fn stdin_that_is_no_json_object() {
    let valid = conf(json!({}));
    let long = conf(json!({"x": "y".repeat(1 << 20)}));
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        for stdin in [
            "",
            "{{{",
            "[]",
            "3",
            &format!("{valid} x"),
            &format!("{valid}{valid}"),
            &format!("\u{feff}{valid}"),
        ] {
            let msg = Call::verb(verb).stdin(stdin).run().failure(6);
            assert!(msg.starts_with("error unmarshall network config: "), "{msg}");
        }
        Call::verb(verb).stdin(&long).run().failure(6);
        Call::verb(verb).stdin(&deep).run().failure(6);
        assert_eq!(Call::verb(verb).stdin("null").run().failure(7), "missing network name");
    }
}

#[test]
fn network_names() {
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        assert_eq!(
            call(verb, json!({"name": null})).run().failure(7),
            "missing network name"
        );
        assert_eq!(call(verb, json!({"name": ""})).run().failure(7), "missing network name");
        let answer = call(verb, json!({"name": "te%%st"})).run();
        assert_eq!(answer.failure(7), "invalid characters found in network name");
        assert_eq!(answer.details(), "te%%st");
        assert!(call(verb, json!({"name": 3})).run().failure(6).contains("\"name\""));
    }
}

#[test]
fn versions() {
    for verb in ["ADD", "DEL"] {
        for version in VERSIONS {
            let answer = call(verb, json!({"cniVersion": version})).run();
            assert!(is_accepted(&answer), "{answer:?}");
            if answer.rc != 0 {
                assert_eq!(answer.json()["cniVersion"], version);
            }
        }
        for version in ["2.0.0", "1.0", "v1.0.0", "1.1.0 ", "abc"] {
            let answer = call(verb, json!({"cniVersion": version})).run();
            assert_eq!(answer.failure(1), "incompatible CNI versions");
            let supported = VERSIONS.map(|version| format!("{version:?}")).join(" ");
            assert_eq!(
                answer.details(),
                format!("config is {version:?}, plugin supports [{supported}]")
            );
            assert_eq!(answer.json()["cniVersion"], "1.1.0");
        }
        let msg = call(verb, json!({"cniVersion": 1})).run().failure(6);
        assert!(msg.starts_with("decoding version from network config: "), "{msg}");
    }
    // none is 0.1.0
    for none in [json!(null), json!("")] {
        let answer = call("ADD", json!({"cniVersion": none, "server_socket": null})).run();
        answer.failure(7);
        assert_eq!(answer.json()["cniVersion"], "0.1.0");
    }
}

#[test]
fn verbs_that_came_with_a_version() {
    for (verb, version, code, msg) in [
        ("CHECK", json!(null), 1, "config version does not allow CHECK"),
        ("CHECK", json!("0.3.1"), 1, "config version does not allow CHECK"),
        ("CHECK", json!("2.0.0"), 1, "plugin version does not allow CHECK"),
        ("CHECK", json!("0.5.0"), 1, "incompatible CNI versions"),
        ("GC", json!("1.0.0"), 1, "config version does not allow GC"),
        ("STATUS", json!("1.0.0"), 1, "config version does not allow STATUS"),
        ("STATUS", json!("1.2.0"), 1, "plugin version does not allow STATUS"),
    ] {
        assert_eq!(call(verb, json!({"cniVersion": version})).run().failure(code), msg);
    }
    let msg = call("CHECK", json!({"cniVersion": "abc"})).run().failure(6);
    assert!(
        msg.starts_with("failed to convert major version part \"abc\": "),
        "{msg}"
    );
}

#[test]
fn json_is_read_as_laxly_as_go_reads_it() {
    let valid = conf(json!({}));
    let upper =
        "{\"CNIVERSION\":\"1.1.0\",\"NAME\":\"n\",\"Type\":\"kube-ovn\",\"Server_Socket\":\"/run/openvswitch/s\"}";
    let twice = valid.replacen('{', "{\"cniVersion\":\"9.9.9\",\"name\":\"%\",", 1);
    for stdin in [upper, &twice, &format!(" \n{valid}\n\n")] {
        let answer = Call::verb("ADD").stdin(stdin).run();
        assert!(is_accepted(&answer), "{answer:?}");
    }
    let mut invalid_utf8 = valid.replacen('{', "{\"x\":\"?\",", 1).into_bytes();
    *invalid_utf8.iter_mut().find(|byte| **byte == b'?').expect("the mark") = 0xff;
    let answer = Call::verb("ADD").stdin(invalid_utf8).run();
    assert!(is_accepted(&answer), "{answer:?}");
}

#[test]
fn unknown_keys_are_tolerated() {
    let answer = call(
        "ADD",
        json!({"capabilities": {"mac": true}, "args": {"cni": {}}, "cni.dev/attachments": [], "mtu": 1500.0, "x": [[]]}),
    )
    .run();
    assert!(is_accepted(&answer), "{answer:?}");
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
