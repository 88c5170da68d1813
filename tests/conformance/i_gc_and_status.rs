//! GC and STATUS: items 80 to 85.

use serde_json::{Value, json};

use crate::subject::{NO_DAEMON, Pod, assert_silent, subject};
use crate::support::Call;

/// As libcni calls it: the attachment's variables are there, and empty.
fn of_network(verb: &str, conf: &Value) -> Call {
    let call = subject().call(verb, json!({})).stdin(conf.to_string());
    ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"]
        .iter()
        .fold(call, |call, name| call.env(name, ""))
}

fn gc(keys: Value) -> Call {
    of_network("GC", &subject().conf("1.1.0", keys))
}

#[test]
fn item_80_either_key_of_the_attachments() {
    let pod = Pod::new();
    let result = pod.add("1.1.0");
    let listed = json!([{"containerID": pod.container, "ifname": "eth0"}]);
    for keys in [
        json!({"cni.dev/valid-attachments": listed}),
        json!({"cni.dev/attachments": listed}),
        json!({"cni.dev/valid-attachments": listed, "cni.dev/attachments": listed}),
    ] {
        assert_silent(&gc(keys).run());
        assert_silent(&pod.check("1.1.0", &result));
    }
    for wrong in [json!("x"), json!({}), json!([3])] {
        gc(json!({"cni.dev/valid-attachments": wrong})).run().error(6);
    }
    assert_silent(&pod.del("1.1.0"));
}

/// And Multus lists only what it knows of: an attachment that it does not list may be alive.
#[test]
fn item_81_no_list_is_not_an_empty_one() {
    let pod = Pod::new();
    let result = pod.add("1.1.0");
    for keys in [
        json!({}),
        json!({"cni.dev/valid-attachments": []}),
        json!({"cni.dev/valid-attachments": null}),
    ] {
        assert_silent(&gc(keys).run());
        assert_silent(&pod.check("1.1.0", &result));
    }
    assert_silent(&pod.del("1.1.0"));
}

/// That what has ended is collected, and only of this network, is for VFs: `src/verbs/tests/gc.rs`, `tests/e2e`.
#[test]
fn item_82_gc_leaves_other_networks_alone() {
    let pod = Pod::new();
    let result = pod.add("1.1.0");
    assert_silent(&gc(json!({"name": "other", "cni.dev/valid-attachments": []})).run());
    assert_silent(&pod.check("1.1.0", &result));
    assert_silent(&pod.del("1.1.0"));
}

/// libcni's own DELs before it: what its cache has and the list has not, at any version.
#[test]
fn item_83_the_dels_of_libcnis_gc() {
    let pod = Pod::new();
    let result = pod.add("0.4.0");
    let conf = subject().conf("0.4.0", json!({"prevResult": result}));
    assert_silent(&pod.call("DEL", &conf).env("CNI_NETNS", "").env("CNI_ARGS", "").run());
    assert_silent(&gc(json!({"cni.dev/valid-attachments": []})).run());
}

#[test]
fn item_84_status() {
    let status = |keys| of_network("STATUS", &subject().conf("1.1.0", keys)).run();
    assert_silent(&status(json!({})));
    let down = status(json!({"server_socket": NO_DAEMON}));
    assert!(down.error(50).contains("kube-ovn-daemon can't be reached"), "{down:?}");
    // what was there before an upgrade, and listens no more
    subject()
        .host
        .sh("python3 -c 0 2> /dev/null || true; rm -f /run/openvswitch/stale.sock");
    drop(std::os::unix::net::UnixListener::bind(subject().host.path("/run/openvswitch/stale.sock")).unwrap());
    status(json!({"server_socket": "/run/openvswitch/stale.sock"})).error(50);
}

/// The reference takes a verb that a plugin does not have for a success. Ours has them all: none is empty.
#[test]
fn item_85_every_verb_is_answered() {
    let pod = Pod::new();
    let absent = json!({"interfaces": [{"name": "eth0", "sandbox": pod.netns()}]});
    assert_eq!(pod.check("1.1.0", &absent).rc, 1, "CHECK of nothing");
    assert_eq!(
        gc(json!({"cni.dev/valid-attachments": 3})).run().rc,
        1,
        "GC of nonsense"
    );
    let status = of_network("STATUS", &subject().conf("1.1.0", json!({"server_socket": NO_DAEMON}))).run();
    assert_eq!(status.rc, 1, "STATUS without a daemon");
}
