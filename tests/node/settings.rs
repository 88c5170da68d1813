//! `/etc/kube-ovn-cni/config.json`.

use serde_json::json;

use crate::daemon::Daemon;
use crate::pod::Pod;
use crate::{call, pods, settings};

#[test]
fn a_bad_file_fails_what_must_not_go_on_without_it_and_nothing_else() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    for (text, problem) in [
        (
            r#"{"alocation": "require"}"#,
            "\"alocation\" is no setting, expected one of log_level,",
        ),
        (
            r#"{"add_seconds": "1"}"#,
            "\"add_seconds\" must be a whole number of seconds",
        ),
        ("{", "must be one JSON object"),
    ] {
        settings(&daemon, text);
        let with_vf = call("ADD", &daemon, &pod, &json!({"deviceID": "0000:03:00.2"}));
        let msg = with_vf.failure(100);
        assert!(
            msg.starts_with("node settings /etc/kube-ovn-cni/config.json") && msg.contains(problem),
            "{msg}"
        );
        for verb in ["ADD", "DEL"] {
            let answer = call(verb, &daemon, &pod, &json!({}));
            assert_eq!(answer.rc, 0, "{answer:?}");
            assert!(
                answer.stderr.contains(problem.split('"').next_back().unwrap()),
                "{answer:?}"
            );
        }
    }
    settings(&daemon, "{}");
    // as far as the device, which is not there
    let answer = call("ADD", &daemon, &pod, &json!({"deviceID": "ffff:ff:1f.7"}));
    assert!(answer.failure(7).contains("ffff:ff:1f.7"), "{answer:?}");
}
