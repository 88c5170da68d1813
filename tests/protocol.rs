//! The CNI protocol, by the built binary: everything that fails or is answered before the daemon is asked.
//!
//! Expected texts are those of skel, the library under the stock plugin, as its plugins were seen to print them.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a panic fails the test")]
#![allow(clippy::needless_pass_by_value, reason = "calls read better with json!(…) alone")]

mod support;

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Answer, Call};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A netconf that is complete, and then some keys; `null` takes one away.
fn conf(keys: Value) -> String {
    let mut conf = json!({
        "cniVersion": "1.1.0",
        "name": "kube-ovn",
        "type": "kube-ovn",
        "server_socket": "/dev/null/daemon.sock",
    });
    for (key, value) in keys.as_object().expect("keys") {
        conf[key] = value.clone();
    }
    conf.as_object_mut()
        .expect("netconf")
        .retain(|_, value| !value.is_null());
    conf.to_string()
}

fn call(verb: &str, keys: Value) -> Call {
    Call::verb(verb).stdin(conf(keys))
}

/// The plugin took the call for good: what it says then comes from what it did, not from the protocol. An ADD of
/// these tests comes as far as its network namespace, which does not exist, and a DEL as far as the daemon's socket,
/// which can't.
fn is_accepted(answer: &Answer) -> bool {
    let json = if answer.rc == 0 { Value::Null } else { answer.json() };
    match json["code"].as_u64() {
        None => answer.rc == 0,
        Some(4) => json["msg"] == "CNI_NETNS: network namespace /nonexistent/netns does not exist",
        Some(code) => !matches!(code, 1 | 2 | 6 | 7),
    }
}

// ---- 4.1 dispatch and environment

#[test]
fn without_a_command_a_text_on_stderr_and_success() {
    let usage = format!(
        "CNI kube-ovn plugin {}\nCNI protocol versions supported: {}\n",
        env!("CARGO_PKG_VERSION"),
        VERSIONS.join(", ")
    );
    for call in [
        Call::new(&[]),
        call("", json!({})),
        Call::new(&[("CNI_IFNAME", "a:b")]).stdin("{{{"),
    ] {
        let answer = call.run();
        assert_eq!(
            (answer.rc, answer.stdout.as_str(), answer.stderr.as_str()),
            (0, "", usage.as_str())
        );
    }
}

#[test]
fn without_a_command_stdin_is_not_read() {
    // whoever types the name at a prompt must not hang
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_kube-ovn"));
    plugin.env_clear().stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = plugin.spawn().expect("run the plugin");
    let stdin = child.stdin.take();
    assert!(child.wait().expect("wait for the plugin").success());
    drop(stdin);
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
fn unknown_commands() {
    for command in ["NOPE", "add", "Version", "ADD ", "0"] {
        let msg = call(command, json!({})).run().failure(4);
        assert_eq!(msg, format!("unknown CNI_COMMAND: {command}"));
    }
    // stdin is looked at first
    Call::verb("NOPE").run().failure(6);
    assert_eq!(
        call("NOPE", json!({"name": null})).run().failure(7),
        "missing network name"
    );
}

#[test]
fn missing_variables_are_named_all_at_once() {
    let all = [
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/x"),
    ];
    for (verb, required) in [
        ("ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ] {
        let nothing = Call::new(&[("CNI_COMMAND", verb)]).stdin(conf(json!({})));
        assert_eq!(
            nothing.run().failure(4),
            format!("required env variables [{required}] missing")
        );
        // empty is not set
        let empty = Call::new(&all.map(|(name, _)| (name, "")))
            .env("CNI_COMMAND", verb)
            .stdin(conf(json!({})));
        assert_eq!(
            empty.run().failure(4),
            format!("required env variables [{required}] missing")
        );
        for name in required.split(',') {
            let one = Call::new(&all)
                .env("CNI_COMMAND", verb)
                .without(name)
                .stdin(conf(json!({})));
            assert_eq!(one.run().failure(4), format!("required env variables [{name}] missing"));
        }
    }
}

#[test]
fn malformed_variables() {
    let long = "x".repeat(16);
    for verb in ["ADD", "DEL", "CHECK"] {
        for (name, value, msg) in [
            ("CNI_CONTAINERID", "-c1", "invalid characters in containerID"),
            ("CNI_CONTAINERID", "a/b", "invalid characters in containerID"),
            ("CNI_CONTAINERID", "a\n", "invalid characters in containerID"),
            ("CNI_IFNAME", long.as_str(), "interface name is too long"),
            ("CNI_IFNAME", "ééééééé0é", "interface name is too long"),
            ("CNI_IFNAME", ".", "interface name is . or .."),
            ("CNI_IFNAME", "..", "interface name is . or .."),
            (
                "CNI_IFNAME",
                "a:b",
                "interface name contains / or : or whitespace characters",
            ),
            (
                "CNI_IFNAME",
                "a/b",
                "interface name contains / or : or whitespace characters",
            ),
            (
                "CNI_IFNAME",
                "a b",
                "interface name contains / or : or whitespace characters",
            ),
            (
                "CNI_IFNAME",
                "a\u{2003}b",
                "interface name contains / or : or whitespace characters",
            ),
        ] {
            let answer = call(verb, json!({})).env(name, value).run();
            assert_eq!(answer.failure(4), msg, "{verb} {name}={value:?}");
            if name == "CNI_CONTAINERID" {
                assert_eq!(answer.details(), value);
            } else {
                assert!(
                    answer.details().contains(&format!("CNI_IFNAME is {value:?}")),
                    "{answer:?}"
                );
            }
        }
    }
    // wins over a missing one, and over stdin
    let answer = Call::verb("ADD")
        .env("CNI_IFNAME", "a:b")
        .without("CNI_PATH")
        .stdin("{{{")
        .run();
    assert_eq!(
        answer.failure(4),
        "interface name contains / or : or whitespace characters"
    );
    let answer = Call::verb("ADD").without("CNI_PATH").stdin("{{{").run();
    assert_eq!(answer.failure(4), "required env variables [CNI_PATH] missing");
    // is nobody's business where the verb does not need it
    for verb in ["GC", "STATUS"] {
        let answer = call(verb, json!({}))
            .env("CNI_CONTAINERID", "--")
            .env("CNI_IFNAME", "a:b")
            .run();
        assert!(is_accepted(&answer), "{answer:?}");
    }
    // 15 bytes are fine
    let answer = call("DEL", json!({})).env("CNI_IFNAME", &long[1..]).run();
    assert!(is_accepted(&answer), "{answer:?}");
}

#[test]
fn pod_names_in_cni_args() {
    for (args, msg) in [
        ("", "K8S_POD_NAME and K8S_POD_NAMESPACE are required in CNI_ARGS"),
        (
            "IgnoreUnknown=1;K8S_POD_NAME=ctr",
            "K8S_POD_NAMESPACE is required in CNI_ARGS",
        ),
        (
            "K8S_POD_NAMESPACE=default;K8S_POD_NAME=",
            "K8S_POD_NAME is required in CNI_ARGS",
        ),
    ] {
        assert_eq!(call("ADD", json!({})).env("CNI_ARGS", args).run().failure(7), msg);
        let answer = call("DEL", json!({})).env("CNI_ARGS", args).run();
        assert!(is_accepted(&answer), "{answer:?}");
    }
    let twice = "IgnoreUnknown=true;K8S_POD_NAMESPACE=;K8S_POD_NAME=a;K8S_POD_UID=;IgnoreUnknown=1;X;A=b=c;\
                 K8S_POD_NAMESPACE=default;K8S_POD_NAME=a;MAC=0a:58:0a:00:00:01;IP=10.0.0.1/8";
    let answer = call("ADD", json!({})).env("CNI_ARGS", twice).run();
    assert!(is_accepted(&answer), "{answer:?}");
}

#[test]
fn unknown_variables_are_tolerated() {
    for (name, value) in [("CNI_VERSION", "0.1.0"), ("CNI_NEW", "x"), ("TRACEPARENT", "00-1-1-01")] {
        let answer = call("ADD", json!({})).env(name, value).run();
        assert!(is_accepted(&answer), "{answer:?}");
    }
}

// ---- 4.2 stdin

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
    let upper = "{\"CNIVERSION\":\"1.1.0\",\"NAME\":\"n\",\"Type\":\"kube-ovn\",\"Server_Socket\":\"/dev/null/s\"}";
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

#[test]
fn silent_success_of_the_verbs_that_stock_does_not_handle() {
    for (verb, version) in [
        ("CHECK", "0.4.0"),
        ("CHECK", "1.1.0"),
        ("GC", "1.1.0"),
        ("STATUS", "1.1.0"),
    ] {
        let answer = call(verb, json!({"cniVersion": version})).run();
        assert_eq!(
            (answer.rc, answer.stdout.as_str(), answer.stderr.as_str()),
            (0, "", ""),
            "{verb}"
        );
    }
}
