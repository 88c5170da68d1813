//! Section 4.1: dispatch and environment.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::Call;
use crate::{VERSIONS, call, conf, is_accepted};

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
