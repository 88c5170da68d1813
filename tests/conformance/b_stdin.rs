//! Stdin: items 21 to 32.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::VERSIONS;
use crate::subject::{Pod, SOCKET, assert_accepted, assert_silent, subject};

const VERBS: [&str; 5] = ["ADD", "DEL", "CHECK", "GC", "STATUS"];

#[test]
fn item_21_stdin_is_read_to_its_end() {
    let environment = [
        ("CNI_COMMAND", "DEL"),
        ("CNI_CONTAINERID", "0123456789abcdef"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];
    let plugin = || {
        let mut command = subject().host.command(&subject().program());
        command
            .env_clear()
            .envs(environment)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    // in parts
    let mut child = plugin().stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for part in subject().conf("1.0.0", json!({})).to_string().as_bytes().chunks(50) {
        stdin.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(stdin);
    assert!(child.wait_with_output().unwrap().status.success());
    // a whole object is not the end of it
    let mut child = plugin().stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(subject().conf("1.0.0", json!({})).to_string().as_bytes())
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    stdin.write_all(b" x").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &error["code"]), (Some(1), &json!(6)), "{error}");
    // what can't be read
    let output = plugin().stdin(std::fs::File::open("/").unwrap()).output().unwrap();
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &error["code"]), (Some(1), &json!(5)), "{error}");
    assert!(
        error["msg"].as_str().unwrap().starts_with("error reading from stdin: "),
        "{error}"
    );
}

#[test]
fn item_22_stdin_that_is_no_json_object() {
    let valid = subject().conf("1.1.0", json!({})).to_string();
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    for verb in VERBS {
        for stdin in [
            "",
            "{{{",
            "[]",
            "3",
            "\"x\"",
            &format!("{valid} x"),
            &format!("{valid}{valid}"),
            &format!("\u{feff}{valid}"),
            &deep,
        ] {
            let msg = subject().call(verb, json!({})).stdin(stdin).run().error(6);
            assert!(msg.starts_with("error unmarshall network config: "), "{msg}");
        }
        let null = subject().call(verb, json!({})).stdin("null").run();
        assert_eq!(null.error(7), "missing network name");
    }
}

#[test]
fn item_23_network_names() {
    for verb in VERBS {
        let version = json!("1.1.0");
        let named = |name: Value| subject().call(verb, json!({"cniVersion": version, "name": name})).run();
        assert_eq!(named(json!(null)).error(7), "missing network name");
        assert_eq!(named(json!("")).error(7), "missing network name");
        for name in ["te%%st", "a/b", "..", "-a", "a\n"] {
            let answer = named(json!(name));
            assert_eq!(answer.error(7), "invalid characters found in network name");
            assert_eq!(answer.details(), name);
        }
        named(json!(3)).error(6);
    }
}

#[test]
fn item_24_no_version_is_0_1_0() {
    for none in [json!(null), json!("")] {
        let answer = subject().call("CHECK", json!({"cniVersion": none})).run();
        assert_eq!(answer.error(1), "config version does not allow CHECK");
        assert_silent(&subject().call("DEL", json!({"cniVersion": none})).run());
        let pod = Pod::new();
        let result = pod
            .call("ADD", &subject().conf("1.0.0", json!({"cniVersion": none})))
            .run();
        assert!(result.rc == 0 && result.json()["ip4"]["ip"].is_string(), "{result:?}");
        assert_silent(&pod.del("0.1.0"));
    }
    for wrong in [json!(1), json!([]), json!(true)] {
        let msg = subject().call("ADD", json!({"cniVersion": wrong})).run().error(6);
        assert!(msg.starts_with("decoding version from network config: "), "{msg}");
    }
}

#[test]
fn item_25_versions_match_exactly() {
    let version = subject().bare(&[("CNI_COMMAND", "VERSION")]).run();
    assert_eq!(version.json()["supportedVersions"], json!(VERSIONS));
    let supported = VERSIONS.map(|version| format!("{version:?}")).join(" ");
    for verb in ["ADD", "DEL"] {
        for version in VERSIONS {
            assert_accepted(&subject().call(verb, json!({"cniVersion": version})).run());
        }
        for version in ["1.0", "2.0.0", "v1.0.0", "1.1.0 ", "0.5.0", "abc"] {
            let answer = subject().call(verb, json!({"cniVersion": version})).run();
            assert_eq!(answer.error(1), "incompatible CNI versions");
            assert_eq!(
                answer.details(),
                format!("config is {version:?}, plugin supports [{supported}]")
            );
        }
    }
}

#[test]
fn item_26_versions_that_know_no_check() {
    for (version, code, msg) in [
        ("0.3.1", 1, "config version does not allow CHECK"),
        ("0.1.0", 1, "config version does not allow CHECK"),
        ("2.0.0", 1, "plugin version does not allow CHECK"),
    ] {
        assert_eq!(
            subject()
                .call("CHECK", json!({"cniVersion": version}))
                .run()
                .error(code),
            msg
        );
    }
    let msg = subject().call("CHECK", json!({"cniVersion": "abc"})).run().error(6);
    assert!(
        msg.starts_with("failed to convert major version part \"abc\": "),
        "{msg}"
    );
}

#[test]
fn item_27_versions_that_know_no_gc_and_status() {
    for verb in ["GC", "STATUS"] {
        for version in ["0.3.1", "1.0.0"] {
            let answer = subject().call(verb, json!({"cniVersion": version})).run();
            assert_eq!(answer.error(1), format!("config version does not allow {verb}"));
        }
        let answer = subject().call(verb, json!({"cniVersion": "1.2.0"})).run();
        assert_eq!(answer.error(1), format!("plugin version does not allow {verb}"));
    }
}

/// Among them what Multus and libcni add.
#[test]
fn item_28_unknown_keys_are_ignored() {
    let keys = json!({
        "capabilities": {"mac": true, "portMappings": true}, "args": {"cni": {"foo": ["bar"]}}, "cni.dev/attachments": 3,
        "x": [[]], "dns": {"nameservers": ["10.96.0.10"], "x": 1}, "runtimeConfig": {"portMappings": [{"hostPort": 1}], "x": {}},
        "disableCheck": "x", "y": null
    });
    let pod = Pod::new();
    let answer = pod.call("ADD", &subject().conf("1.0.0", keys.clone())).run();
    assert_eq!(answer.rc, 0, "{answer:?}");
    assert_silent(&pod.call("DEL", &subject().conf("1.0.0", keys)).run());
}

#[test]
fn item_29_json_is_read_as_laxly_as_go_reads_it() {
    let valid = subject().conf("1.0.0", json!({})).to_string();
    let upper = valid
        .replace("\"cniVersion\"", "\"CNIVERSION\"")
        .replace("\"name\"", "\"Name\"")
        .replace("\"type\"", "\"TYPE\"");
    // the last of several wins, whatever its case, and null is none
    let twice = valid.replacen('{', "{\"cniVersion\":\"9.9.9\",\"name\":\"%\",\"NAME\":\"%\",", 1);
    let wrong = valid
        .replacen("\"1.0.0\"", "\"9.9.9\"", 1)
        .replacen("\"net\"", "\"%\"", 1);
    let other_case_last = format!(
        "{},\"CNIVERSION\":\"1.0.0\",\"NAME\":\"net\",\"cniVersion\":null,\"name\":null}}",
        wrong.strip_suffix('}').unwrap()
    );
    // letters beyond ASCII that fold to one of it, and an escape of half a character
    let folded = valid.replace("\"cniVersion\"", "\"x\":\"\\ud800\",\"cniVer\u{17f}ion\"");
    for stdin in [upper, twice, other_case_last, folded, format!(" \n{valid}\n\n")] {
        let pod = Pod::new();
        let answer = pod.call("ADD", &json!({})).stdin(&stdin).run();
        assert_eq!(answer.rc, 0, "{stdin}: {answer:?}");
        assert_silent(&pod.call("DEL", &json!({})).stdin(&stdin).run());
    }
    let mut invalid_utf8 = valid.replacen('{', "{\"x\":\"?\",", 1).into_bytes();
    *invalid_utf8.iter_mut().find(|byte| **byte == b'?').expect("the mark") = 0xff;
    assert_accepted(&subject().call("ADD", json!({})).stdin(invalid_utf8).run());
}

/// kube-ovn as the IPAM plugin of another: `type` is the other's name.
#[test]
fn item_30_type_need_not_be_the_plugins_name() {
    let pod = Pod::new();
    let ip = subject()
        .host
        .annotate(&format!("default/{}", pod.name), "macvlan.default", &json!({}));
    let ipam = json!({"type": "kube-ovn", "server_socket": SOCKET, "provider": "macvlan.default"});
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "macvlan", "master": "eth1", "ipam": ipam});
    let answer = pod.call("ADD", &conf).run();
    assert!(answer.rc == 0, "{answer:?}");
    let result = answer.json();
    assert_eq!(result["ips"][0]["address"], format!("{ip}/16"), "{result}");
    assert_silent(&pod.call("DEL", &conf).run());
    pod.assert_untouched();
}

#[test]
fn item_31_a_required_key_that_is_missing() {
    for socket in [json!(null), json!("")] {
        let pod = Pod::new();
        let conf = subject().conf("1.0.0", json!({"server_socket": socket}));
        assert_eq!(pod.call("ADD", &conf).run().error(7), "server_socket is required");
        pod.assert_untouched();
    }
}

/// libcni marshals every number anew, from a float64.
#[test]
fn item_32_numbers() {
    let (pod, version) = (Pod::new(), subject().newest());
    let answer = pod
        .call(
            "ADD",
            &subject().conf(version, json!({"mtu": 1400, "x": 1e21, "y": 1.5})),
        )
        .run();
    assert_eq!(answer.rc, 0, "{answer:?}");
    let mut floats = Vec::new();
    let mut look = |value: &Value| floats.extend(value.as_f64().filter(|_| value.is_f64()));
    walk(&answer.json(), &mut look);
    assert_eq!(floats, Vec::<f64>::new(), "{answer:?}");
    assert_silent(&pod.del(version));
}

fn walk(value: &Value, look: &mut dyn FnMut(&Value)) {
    look(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, look)),
        Value::Object(items) => items.values().for_each(|item| walk(item, look)),
        _ => {}
    }
}
