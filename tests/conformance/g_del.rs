//! DEL: items 63 to 73.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::subject::{NO_DAEMON, Pod, assert_silent, subject};

/// containerd's `RemovePodSandbox`, and its second `StopPodSandbox`.
#[test]
fn item_63_without_a_namespace_and_with_one_that_has_gone() {
    for empty in [true, false] {
        let pod = Pod::new();
        pod.add("1.0.0");
        subject().host.sh(&format!("ip netns del {}", pod.name));
        let call = pod.call("DEL", &subject().conf("1.0.0", json!({})));
        assert_silent(&(if empty { call.env("CNI_NETNS", "") } else { call }).run());
        assert_eq!(pod.outside(), "");
    }
    // the namespace is there, and nobody says so
    let pod = Pod::new();
    pod.add("1.0.0");
    let answer = pod
        .call("DEL", &subject().conf("1.0.0", json!({})))
        .without("CNI_NETNS")
        .run();
    assert_silent(&answer);
}

#[test]
fn item_64_again_and_again() {
    let pod = Pod::new();
    pod.add("1.0.0");
    for _ in 0..4 {
        assert_silent(&pod.del("1.0.0"));
        pod.assert_untouched();
    }
}

#[test]
fn item_65_what_was_never_added() {
    for version in subject().of(&crate::VERSIONS) {
        let pod = Pod::new();
        assert_silent(&pod.del(version));
        pod.assert_untouched();
    }
}

#[test]
fn item_66_after_an_add_that_failed() {
    let pod = Pod::with(json!({"fault": "gateway-check"}));
    let answer = pod
        .call("ADD", &subject().conf("1.0.0", json!({"ipam": {"type": "nothing"}})))
        .run();
    assert_eq!(answer.rc, 1, "{answer:?}");
    for _ in 0..3 {
        assert_silent(&pod.del("1.0.0"));
    }
    pod.assert_untouched();
}

/// None before 0.4.0 or when the runtime has lost it, an empty one, another version's, one of another plugin.
#[test]
fn item_67_whatever_prev_result_is() {
    for (version, prev_result) in [
        ("0.3.1", json!(null)),
        ("0.4.0", json!(null)),
        ("1.0.0", json!({})),
        (
            "1.0.0",
            json!({"cniVersion": "0.4.0", "interfaces": [], "ips": [{"version": "4", "address": "10.9.9.9/24"}]}),
        ),
        (
            "1.1.0",
            json!({"cniVersion": "1.0.0", "interfaces": [{"name": "net9", "sandbox": "/run/netns/other"}]}),
        ),
        ("0.4.0", json!({"cniVersion": "9.9.9"})),
    ] {
        let Some(version) = subject().of(&[version]).pop() else {
            continue;
        };
        let pod = Pod::new();
        pod.add(version);
        let conf = subject().conf(version, json!({"prevResult": prev_result}));
        assert_silent(&pod.call("DEL", &conf).run());
        pod.assert_untouched();
    }
}

#[test]
fn item_68_nothing_on_stdout() {
    let pod = Pod::new();
    let result = pod.add("1.0.0");
    let answer = pod
        .call("DEL", &subject().conf("1.0.0", json!({"prevResult": result})))
        .run();
    assert_eq!((answer.rc, answer.stdout.as_str()), (0, ""));
}

/// For a VF the record says what stdin does not; the tests in the lab show that (`e_del`). A pod with a veth needs neither.
#[test]
fn item_69_without_the_keys_of_its_add() {
    let pod = Pod::new();
    pod.add("1.0.0");
    let conf = subject().conf(
        "1.0.0",
        json!({"provider": null, "deviceID": null, "name": "cluster-default"}),
    );
    assert_silent(
        &pod.call("DEL", &conf)
            .env(
                "CNI_ARGS",
                &format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", pod.name),
            )
            .run(),
    );
    pod.assert_untouched();
}

/// A pod of a `StatefulSet` has its predecessor's name.
#[test]
fn item_70_the_sandbox_before_this_one() {
    let pod = Pod::new();
    let old = format!("{}ffffffffff", &pod.container[..6].replace('0', "f"));
    let result = pod.add("1.0.0");
    let conf = subject().conf("1.0.0", json!({}));
    for netns in ["", "/run/netns/gone"] {
        assert_silent(
            &pod.call("DEL", &conf)
                .env("CNI_CONTAINERID", &old)
                .env("CNI_NETNS", netns)
                .run(),
        );
    }
    assert_silent(&pod.check("1.0.0", &result));
    assert_silent(&pod.del("1.0.0"));
}

/// An error, so that the runtime sends DEL again until the daemon is back.
#[test]
fn item_71_the_daemon_is_down() {
    let pod = Pod::new();
    pod.add("1.0.0");
    let conf = subject().conf("1.0.0", json!({"server_socket": NO_DAEMON}));
    pod.call("DEL", &conf).run().error(11);
    assert_silent(&pod.del("1.0.0"));
    pod.assert_untouched();
}

/// libcni calls the list's plugins backwards, each with the list's last result: that of tuning here, which changed it.
#[test]
fn item_72_the_result_of_the_whole_list() {
    let pod = Pod::new();
    let result = pod.add("1.0.0");
    let tuning = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "tuning", "mac": "02:00:00:00:aa:01", "prevResult": result
    });
    let run = |verb: &str, conf: &serde_json::Value| {
        pod.call(verb, conf)
            .program(&subject().host.inside(), "/opt/cni/bin/tuning")
            .run()
    };
    let changed = run("ADD", &tuning);
    assert_eq!(changed.rc, 0, "{changed:?}");
    assert_ne!(changed.json(), result);
    let mut last = tuning.clone();
    last["prevResult"] = changed.json();
    assert_silent(&run("DEL", &last));
    assert_silent(
        &pod.call("DEL", &subject().conf("1.0.0", json!({"prevResult": changed.json()})))
            .run(),
    );
    pod.assert_untouched();
}

/// A daemon that takes the connection and never says a word. The node's settings allow DEL 60 s; 10 here.
#[test]
fn item_73_del_ends_in_time() {
    let host = &subject().host;
    let silent = UnixListener::bind(host.path("/run/openvswitch/silent.sock")).unwrap();
    // settings that this call alone sees: other tests are at work on the node
    let mut inside = host.inside();
    let settings = r#"mount -t tmpfs -o mode=755 tmpfs /etc/kube-ovn-cni; echo '{"del_seconds": 10}' > /etc/kube-ovn-cni/config.json; exec "$@""#;
    inside.extend(["unshare", "--mount", "sh", "-euc", settings, "sh"].map(str::to_owned));
    let pod = Pod::new();
    let start = Instant::now();
    let conf = subject().conf("1.0.0", json!({"server_socket": "/run/openvswitch/silent.sock"}));
    pod.call("DEL", &conf)
        .program(&inside, &subject().program())
        .run()
        .error(11);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    drop(silent);
}
