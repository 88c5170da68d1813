//! The log, in the node's file as on stderr.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::daemon::Daemon;
use crate::pod::Pod;
use crate::support::Call;
use crate::{call, pods, settings};

#[test]
fn a_line_for_each_step() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    let file = daemon.path("plugin.log");
    // where the plugin sees the same directory
    settings(
        &daemon,
        json!({"log_file": "/run/openvswitch/plugin.log", "allocation": "off"}).to_string(),
    );
    let add = call("ADD", &daemon, &pod, &json!({}));
    let device = call("ADD", &daemon, &pod, &json!({"deviceID": "FFFF:ff:1f.7"}));
    device.failure(7);
    let log = std::fs::read_to_string(&file).unwrap();
    assert_eq!(log, add.stderr.clone() + &device.stderr, "the same in both");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let about = "network=kube-ovn container=0123456789abcdef interface=eth0 pod=default/nginx";
    for line in log.lines() {
        assert!(
            line.starts_with("time=2") && line.contains(&format!(" verb=ADD {about} ")),
            "{line}"
        );
        assert!(line.ends_with('"'), "{line}");
    }
    let has = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["level=info", " step=daemon ms=", " msg=\"done\""]), "{log}");
    assert!(
        has(&["level=warn", " msg=\"no device ID came with network kube-ovn"]),
        "{log}"
    );
    assert!(has(&["level=warn", " device=FFFF:ff:1f.7 step=take ms="]), "{log}");
    assert!(
        has(&["level=error", " device=FFFF:ff:1f.7 ms=", " code=7 msg=\"no PCI device"]),
        "{log}"
    );

    settings(&daemon, json!({"log_level": "error", "allocation": "off"}).to_string());
    let quiet = call("ADD", &daemon, &pod, &json!({}));
    assert_eq!((quiet.rc, quiet.stderr.as_str()), (0, ""));
}

#[test]
fn words_of_strangers_stay_in_their_place() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    let evil = "x\" level=error msg=\"\u{1b}[2J\ntime=2026";
    let long = "y".repeat(100_000);
    let conf = json!({
        "cniVersion": "1.0.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": "/run/openvswitch/socket",
        "provider": evil, "deviceID": format!("{evil}{long}"),
    });
    for verb in ["ADD", "DEL"] {
        let answer = Call::verb(verb)
            .on(daemon.directory())
            .env("CNI_NETNS", &pod.netns())
            .env("CNI_ARGS", &format!("K8S_POD_NAMESPACE={evil};K8S_POD_NAME={long}"))
            .stdin(conf.to_string())
            .run();
        assert!(
            !answer.stderr.is_empty() && !answer.stderr.contains('\u{1b}'),
            "{answer:?}"
        );
        for line in answer.stderr.lines() {
            assert!(
                line.starts_with("time=2") && !line.contains(" level=error msg=\"\\u"),
                "{line}"
            );
            assert!(line.len() < 8000, "{} bytes", line.len());
            assert!(
                line.contains(r#" pod="x\" level=error msg=\"\u001b[2J\ntime=2026/yyy"#),
                "{line}"
            );
        }
    }
}

#[test]
fn a_log_file_that_is_not_used() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    std::fs::write(daemon.path("victim"), "").unwrap();
    std::os::unix::fs::symlink("victim", daemon.path("link")).unwrap();
    settings(&daemon, json!({"log_file": "/run/openvswitch/link"}).to_string());
    let answer = call("ADD", &daemon, &pod, &json!({}));
    assert_eq!(answer.rc, 0, "{answer:?}");
    let why = "msg=\"log_file /run/openvswitch/link is not used: it is a symbolic link\"";
    assert!(answer.stderr.contains(why), "{answer:?}");
    assert_eq!(std::fs::read_to_string(daemon.path("victim")).unwrap(), "");
}
