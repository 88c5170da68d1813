//! CHECK: items 74 to 79.

use serde_json::{Value, json};

use crate::subject::{NO_DAEMON, Pod, assert_silent, subject};

const WITH_CHECK: [&str; 3] = ["0.4.0", "1.0.0", "1.1.0"];

/// A pod after its ADD, and the result.
fn added(version: &str) -> (Pod, Value) {
    let pod = Pod::new();
    let result = pod.add(version);
    (pod, result)
}

fn change(pod: &Pod, words: &str) {
    subject().host.sh(&format!("ip -n {} {words}", pod.name));
}

#[test]
fn item_74_check_needs_the_result() {
    for version in subject().of(&WITH_CHECK) {
        let (pod, _) = added(version);
        let answer = pod.call("CHECK", &subject().conf(version, json!({}))).run();
        assert_eq!(answer.error(7), "required prevResult missing");
        let garbage = subject().conf(version, json!({"prevResult": {"interfaces": "eth0"}}));
        assert!(
            pod.call("CHECK", &garbage)
                .run()
                .error(6)
                .contains("could not parse prevResult")
        );
        assert_silent(&pod.del(version));
    }
}

/// MAC, MTU, addresses; the daemon.
#[test]
fn item_75_what_check_looks_at() {
    let version = subject().newest(); // 1.1.0 tells the MTU
    for (words, back) in [
        ("link set eth0 address 02:00:00:00:00:99", true),
        ("address flush dev eth0", false),
        ("link set eth0 mtu 1280", true),
        ("link set eth0 down", false),
    ] {
        let (pod, mut result) = added(version);
        assert_silent(&pod.check(version, &result));
        change(&pod, words);
        let answer = pod.check(version, &result);
        assert!(
            answer.rc == 1 && answer.json()["msg"].as_str().unwrap().contains("eth0"),
            "{words}: {answer:?}"
        );
        if back {
            // the result decides
            let link = pod.ip("link show dev eth0")[0].clone();
            let interfaces = result["interfaces"].as_array_mut().unwrap();
            let eth0 = interfaces
                .iter_mut()
                .find(|interface| interface["name"] == "eth0")
                .unwrap();
            eth0["mac"] = link["address"].clone();
            eth0["mtu"] = link["mtu"].clone();
            assert_silent(&pod.check(version, &result));
        }
        assert_silent(&pod.del(version));
    }
    let (pod, result) = added(version);
    let conf = subject().conf(version, json!({"prevResult": result, "server_socket": NO_DAEMON}));
    assert_eq!(pod.call("CHECK", &conf).run().rc, 1, "the daemon is down");
    assert_silent(&pod.del(version));
}

/// Multus takes the default route away for another network's, plugins after us add addresses, rules and routes.
#[test]
fn item_76_what_plugins_after_us_may_change() {
    let (pod, result) = added("1.0.0");
    change(&pod, "route del default");
    change(&pod, "address add 192.0.2.9/24 dev eth0");
    change(&pod, "link add net1 type bridge");
    change(&pod, "route add 198.51.100.0/24 dev eth0");
    assert_silent(&pod.check("1.0.0", &result));
    let mut without_routes = result;
    without_routes.as_object_mut().unwrap().remove("routes");
    assert_silent(&pod.check("1.0.0", &without_routes));
    assert_silent(&pod.del("1.0.0"));
}

#[test]
fn item_77_success_is_silent() {
    let (pod, result) = added("1.0.0");
    let answer = pod.check("1.0.0", &result);
    assert_eq!((answer.rc, answer.stdout.as_str()), (0, ""));
    assert_silent(&pod.del("1.0.0"));
}

#[test]
fn item_78_right_after_add() {
    for version in subject().of(&WITH_CHECK) {
        let (pod, result) = added(version);
        assert_silent(&pod.check(version, &result));
        assert_silent(&pod.del(version));
    }
}

#[test]
fn item_79_without_the_interface_or_its_port() {
    let (pod, result) = added("1.0.0");
    // the host's end out of its bridge
    subject()
        .host
        .sh(&format!("ovs-vsctl --if-exists del-port {}_h", &pod.container[..12]));
    let answer = pod.check("1.0.0", &result);
    assert_eq!(answer.rc, 1, "the port is gone: {answer:?}");
    assert_silent(&pod.del("1.0.0"));

    let (pod, result) = added("1.0.0");
    change(&pod, "link del eth0");
    assert_eq!(pod.check("1.0.0", &result).rc, 1, "the interface is gone");
    assert_silent(&pod.del("1.0.0"));
}
