//! Dispatch and environment: items 1 to 20.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::subject::{Pod, assert_accepted, assert_silent, subject};

const FOR_ADD: [&str; 4] = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];
const FOR_DEL: [&str; 3] = ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"];

/// Each variable that this verb needs, left out or empty, is named; and all of them when there is none.
#[track_caller]
fn assert_required(verb: &str, variables: &[&str]) {
    let missing = |names: &str| format!("required env variables [{names}] missing");
    for variable in variables {
        let conf = json!({"cniVersion": "1.1.0"});
        let without = subject().call(verb, conf.clone()).without(variable).run();
        assert_eq!(without.error(4), missing(variable));
        let empty = subject().call(verb, conf).env(variable, "").run();
        assert_eq!(empty.error(4), missing(variable));
    }
    let conf = subject().conf("1.1.0", json!({}));
    let answer = subject().bare(&[("CNI_COMMAND", verb)]).stdin(conf.to_string()).run();
    assert_eq!(answer.error(4), missing(&variables.join(",")));
}

#[test]
fn item_01_without_a_command_a_text_on_stderr_and_success() {
    let version = subject().bare(&[("CNI_COMMAND", "VERSION")]).run().json();
    let versions: Vec<&str> = version["supportedVersions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    let second = format!("CNI protocol versions supported: {}", versions.join(", "));
    let name = subject().program().replace("/opt/cni/bin/", "");
    for call in [
        subject().bare(&[]),
        subject().call("", json!({})),
        subject().bare(&[("CNI_IFNAME", "a:b")]).stdin("{{{"),
    ] {
        let answer = call.run();
        assert_eq!((answer.rc, answer.stdout.as_str()), (0, ""), "{answer:?}");
        let lines: Vec<&str> = answer.stderr.lines().collect();
        assert!(
            lines.len() == 2 && lines[0].starts_with(&format!("CNI {name} plugin ")),
            "{answer:?}"
        );
        assert_eq!(lines[1], second);
    }
    // stdin is not read: whoever types the name at a prompt must not hang
    let mut child = subject()
        .host
        .command(&subject().program())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    assert!(child.wait().unwrap().success());
    drop(stdin);
}

#[test]
fn item_02_an_unknown_command_is_named_once_stdin_is_fine() {
    for command in ["NOPE", "0", "ADD DEL", "ADDX"] {
        let answer = subject().call(command, json!({})).run();
        assert_eq!(answer.error(4), format!("unknown CNI_COMMAND: {command}"));
    }
    subject().call("NOPE", json!({})).stdin("").run().error(6);
    let unnamed = subject().call("NOPE", json!({"name": null})).run();
    assert_eq!(unnamed.error(7), "missing network name");
}

#[test]
fn item_03_commands_have_their_case() {
    for command in ["add", "Del", "version", "Check", "ADD ", " ADD", "ADD\n"] {
        let answer = subject().call(command, json!({})).run();
        assert_eq!((answer.rc, &answer.json()["code"]), (1, &json!(4)), "{answer:?}");
    }
}

#[test]
fn item_04_what_add_requires() {
    assert_required("ADD", &FOR_ADD);
}

#[test]
fn item_05_what_check_requires() {
    assert_required("CHECK", &FOR_ADD);
}

#[test]
fn item_06_what_del_requires() {
    assert_required("DEL", &FOR_DEL);
    for call in [
        subject().call("DEL", json!({})).without("CNI_NETNS"),
        subject().call("DEL", json!({})).env("CNI_NETNS", ""),
    ] {
        assert_silent(&call.run());
    }
}

#[test]
fn item_07_what_gc_and_status_require() {
    for verb in ["GC", "STATUS"] {
        assert_required(verb, &["CNI_PATH"]);
    }
}

#[test]
fn item_08_version_requires_nothing() {
    let answer = subject().bare(&[("CNI_COMMAND", "VERSION")]).run();
    assert!(
        answer.rc == 0 && answer.json()["supportedVersions"].is_array(),
        "{answer:?}"
    );
}

/// libcni sets them all for GC and STATUS, most to nothing.
#[test]
fn item_09_empty_is_not_set() {
    for verb in ["GC", "STATUS"] {
        let call = subject().call(verb, json!({"cniVersion": "1.1.0"}));
        let call = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"]
            .iter()
            .fold(call, |call, name| call.env(name, ""));
        assert_silent(&call.run());
    }
    let nothing = subject().call("", json!({})).run();
    assert_eq!((nothing.rc, nothing.stdout.as_str()), (0, ""));
    let override_ = subject().call("DEL", json!({})).env("CNI_NETNS_OVERRIDE", "").run();
    assert_silent(&override_);
}

#[test]
fn item_10_all_missing_variables_at_once_and_in_order() {
    let none = subject().call("ADD", json!({}));
    let none = FOR_ADD.iter().rev().fold(none, |call, name| call.without(name)).run();
    assert_eq!(
        none.error(4),
        format!("required env variables [{}] missing", FOR_ADD.join(","))
    );
    let two = subject()
        .call("ADD", json!({}))
        .env("CNI_PATH", "")
        .without("CNI_NETNS")
        .run();
    assert_eq!(two.error(4), "required env variables [CNI_NETNS,CNI_PATH] missing");
}

#[test]
fn item_11_container_ids() {
    for id in ["-c1", "a/b", "a\n", "..", ".a", "_a", "a b", "é", "a;b"] {
        let answer = subject().call("DEL", json!({})).env("CNI_CONTAINERID", id).run();
        assert_eq!(answer.error(4), "invalid characters in containerID", "{id:?}");
        assert_eq!(answer.details(), id);
    }
    for id in ["0".repeat(64), "a".repeat(300), "a_b.c-d".to_owned()] {
        assert_silent(&subject().call("DEL", json!({})).env("CNI_CONTAINERID", &id).run());
    }
}

#[test]
fn item_12_interface_names() {
    let characters = "interface name contains / or : or whitespace characters";
    for (name, msg) in [
        ("abcdefghijklmnop", "interface name is too long"),
        ("ééééééé0é", "interface name is too long"),
        (".", "interface name is . or .."),
        ("..", "interface name is . or .."),
        ("a/b", characters),
        ("a:b", characters),
        ("a b", characters),
        ("a\tb", characters),
        ("a\u{2003}b", characters),
    ] {
        for verb in ["ADD", "DEL"] {
            assert_eq!(
                subject().call(verb, json!({})).env("CNI_IFNAME", name).run().error(4),
                msg,
                "{name:?}"
            );
        }
    }
    assert_silent(
        &subject()
            .call("DEL", json!({}))
            .env("CNI_IFNAME", "abcdefghijklmno")
            .run(),
    );
}

#[test]
fn item_13_what_a_verb_does_not_need_is_not_looked_at() {
    for verb in ["GC", "STATUS"] {
        let call = subject().call(verb, json!({"cniVersion": "1.1.0"}));
        assert_silent(&call.env("CNI_CONTAINERID", "--").env("CNI_IFNAME", "a:b").run());
    }
    let junk = [
        ("CNI_COMMAND", "VERSION"),
        ("CNI_CONTAINERID", "--"),
        ("CNI_IFNAME", "a:b"),
        ("CNI_NETNS", "/"),
    ];
    assert_eq!(subject().bare(&junk).run().rc, 0);
}

#[test]
fn item_14_a_bad_value_is_told_before_a_missing_one() {
    let answer = subject()
        .call("ADD", json!({}))
        .env("CNI_IFNAME", "a:b")
        .without("CNI_PATH")
        .stdin("{{{")
        .run();
    assert_eq!(
        answer.error(4),
        "interface name contains / or : or whitespace characters"
    );
    // and both before stdin
    let answer = subject().call("ADD", json!({})).without("CNI_PATH").stdin("{{{").run();
    assert_eq!(answer.error(4), "required env variables [CNI_PATH] missing");
}

/// What thin Multus sends: its own keys, some empty, and then the runtime's once more.
#[test]
fn item_15_cni_args() {
    let pod = Pod::new();
    let args = format!(
        "IgnoreUnknown=true;K8S_POD_NAMESPACE=;K8S_POD_NAME={0};K8S_POD_UID=;IgnoreUnknown=1;UNKNOWN=x;A=;\
         K8S_POD_NAME={0};K8S_POD_NAMESPACE=default",
        pod.name
    );
    let conf = subject().conf("1.0.0", json!({}));
    let answer = pod.call("ADD", &conf).env("CNI_ARGS", &args).run();
    assert_eq!(answer.rc, 0, "{answer:?}");
    assert_silent(&pod.call("DEL", &conf).env("CNI_ARGS", "").run());
    // values with =, words without
    let odd = format!("X;K8S_POD_NAMESPACE=default;A=b=c;K8S_POD_NAME={}", pod.name);
    let answer = pod.call("ADD", &conf).env("CNI_ARGS", &odd).run();
    assert_eq!(answer.rc, 0, "{answer:?}");
    assert_silent(&pod.call("DEL", &conf).without("CNI_ARGS").run());
}

/// podman sends a name only, `ctr` nothing.
#[test]
fn item_16_no_pod_in_cni_args() {
    let pod = Pod::new();
    let conf = subject().conf("1.0.0", json!({}));
    for (args, words) in [
        ("", &["K8S_POD_NAME", "K8S_POD_NAMESPACE"][..]),
        ("IgnoreUnknown=1;K8S_POD_NAME=ctr", &["K8S_POD_NAMESPACE"]),
        ("K8S_POD_NAMESPACE=default", &["K8S_POD_NAME"]),
    ] {
        let msg = pod.call("ADD", &conf).env("CNI_ARGS", args).run().error(7);
        assert!(words.iter().all(|word| msg.contains(word)), "{msg}");
        assert_silent(&pod.call("DEL", &conf).env("CNI_ARGS", args).run());
    }
    pod.assert_untouched();
}

#[test]
fn item_17_unknown_variables() {
    for (name, value) in [
        ("CNI_VERSION", "0.1.0"),
        ("CNI_NEW", "x"),
        ("CNI_NETNS_OVERRIDE", "1"),
        ("TRACEPARENT", "00-1-1-01"),
        ("LD_LIBRARY_PATH", "/nonexistent"),
    ] {
        assert_accepted(&subject().call("ADD", json!({})).env(name, value).run());
        assert_silent(&subject().call("DEL", json!({})).env(name, value).run());
    }
}

#[test]
fn item_18_a_namespace_that_does_not_exist() {
    let result = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/nonexistent/netns"}]});
    for (verb, keys) in [("ADD", json!({})), ("CHECK", json!({"prevResult": result}))] {
        let answer = subject().call(verb, keys).run();
        assert!(
            answer.rc == 1 && answer.json()["msg"].as_str().unwrap().contains("/nonexistent/netns"),
            "{answer:?}"
        );
    }
    assert_silent(&subject().call("DEL", json!({})).run());
}

/// Code 8 is of the reference, not of the specification. Before anything is done, so that there is one answer.
#[test]
fn item_19_the_plugins_own_namespace() {
    let pod = Pod::new();
    let conf = subject().conf("1.0.0", json!({}));
    let before = subject().host.sh("ip -o link show dev lo; ip route");
    pod.call("ADD", &conf)
        .env("CNI_NETNS", "/proc/self/ns/net")
        .run()
        .error(8);
    pod.assert_untouched();
    assert_eq!(subject().host.sh("ip -o link show dev lo; ip route"), before);
}

#[test]
fn item_20_from_anywhere() {
    let host = &subject().host;
    let program = subject().program();
    // its directory is gone, its name is not its own, and it has no environment but the protocol's
    let script = format!(
        "mkdir /tmp/gone; cd /tmp/gone; rmdir /tmp/gone; exec -c -a other env -i CNI_COMMAND=VERSION {program} < /dev/null"
    );
    assert!(host.sh(&script).contains("supportedVersions"));
    // made first: its mount is then seen below the other root directory
    let pod = Pod::new();
    // in a root directory that has nothing but the daemon's socket and the C library
    host.sh(&format!(
        "mkdir -p /tmp/chroot/{{run/openvswitch,run/netns,proc,sys,opt,usr,lib64,lib}}; cd /tmp/chroot
         mount --rbind /run/openvswitch run/openvswitch; mount --rbind /run/netns run/netns; mount -t proc proc proc; mount -t sysfs sys sys
         mount --bind /usr usr; mount --bind /lib64 lib64; mount --bind /lib lib; cp {program} opt/plugin; cp -r /opt/cni/bin opt/bin"
    ));
    let conf = subject().conf("1.0.0", json!({}));
    for verb in ["ADD", "DEL"] {
        let mut child = host
            .command("/usr/sbin/chroot")
            .args(["/tmp/chroot", "/opt/plugin"])
            .env_clear()
            .envs([
                ("CNI_COMMAND", verb),
                ("CNI_CONTAINERID", &pod.container),
                ("CNI_NETNS", &pod.netns()),
                ("CNI_IFNAME", "eth0"),
            ])
            .env("CNI_PATH", "/opt/bin")
            .env(
                "CNI_ARGS",
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", pod.name),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // a plugin that does not start closes the pipe, and says why
        let _ = child.stdin.take().unwrap().write_all(conf.to_string().as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{verb}: {output:?}");
        assert_eq!(pod.links().contains(&"eth0".to_owned()), verb == "ADD");
    }
    host.sh("umount -R -l /tmp/chroot/{run/openvswitch,run/netns,proc,sys,usr,lib64,lib}");
}
