//! Pods without a device: the plugin asks the daemon and prints its answer as stock does, byte for byte. The daemon is
//! the emulator that answers at once; the lab's tests have one that makes real interfaces.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a failed step is a failed test"
)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pod.rs"]
mod pod;
mod support;
#[path = "emulator/versions.rs"]
#[allow(dead_code, reason = "names, and what the result shows")]
mod versions;

use daemon::{Daemon, SOCKET};
use pod::Pod;
use serde_json::{Value, json};
use support::{Answer, Call};

fn pods() -> Value {
    let annotations = json!({
        "ip": "10.16.0.5", "mac": "00:00:00:AA:BB:CC", "cidr": "10.16.0.0/16", "gateway": "10.16.0.1",
        "default_route": true, "mtu": 1400, "subnet": "ovn-default", "gateway_check": true, "routes": [],
        "allocated": true, "routed": true
    });
    json!({"default/nginx": {"ovn": annotations, "macvlan.default": annotations}})
}

fn call(verb: &str, daemon: &Daemon, pod: &Pod, keys: &Value) -> Answer {
    let mut conf = json!({
        "cniVersion": "1.0.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": SOCKET,
    });
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    Call::verb(verb)
        .on(daemon.directory())
        .env("CNI_NETNS", &pod.netns())
        .stdin(conf.to_string())
        .run()
}

/// The body of the last request, as the daemon got it.
fn last_request(daemon: &Daemon) -> Value {
    let log = daemon.log();
    serde_json::from_str(log.last().unwrap()["body"].as_str().unwrap()).unwrap()
}

#[test]
fn the_result_is_stocks_to_the_byte_in_every_version() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let answer = call("ADD", &daemon, &pod, &json!({"cniVersion": version}));
        assert_eq!(answer.rc, 0, "{answer:?}");
        let golden = format!(
            "{}/tests/fixtures/results/stock/seed-{version}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let golden = std::fs::read_to_string(golden).unwrap();
        assert_eq!(
            answer.stdout,
            golden.trim_end().replace("/run/netns/pod1", &pod.netns()),
            "{version}"
        );
        assert!(
            answer.stderr.contains("msg=\"no device ID came with network kube-ovn"),
            "{answer:?}"
        );
    }
}

#[test]
fn the_request_is_stocks() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    let routes = json!([{"dst": "10.1.0.0/16", "gw": "10.16.0.9"}]);
    assert_eq!(
        call("ADD", &daemon, &pod, &json!({"routes": routes, "vf_driver": "x"})).rc,
        0
    );
    let add = json!({
        "cni_type": "kube-ovn", "pod_name": "nginx", "pod_namespace": "default", "container_id": "0123456789abcdef",
        "net_ns": pod.netns(), "if_name": "eth0", "provider": "ovn", "routes": routes, "dns": {}, "vf_driver": "x",
        "deviceID": "", "vhost_user_socket_volume_name": "", "vhost_user_socket_name": "",
        "vhost_user_socket_consumption": ""
    });
    assert_eq!(last_request(&daemon), add);
    let log = daemon.log();
    let headers: Vec<&str> = log[0]["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| h[0].as_str().unwrap())
        .collect();
    assert!(
        headers.contains(&"host") && !headers.contains(&"accept-encoding"),
        "{headers:?}"
    );
    assert_eq!(log[0]["violations"], json!([]));

    assert_eq!(
        call("DEL", &daemon, &pod, &json!({"routes": routes, "vf_driver": "x"})).rc,
        0
    );
    let mut del = add.clone();
    del["routes"] = json!([]);
    del["vf_driver"] = json!("");
    assert_eq!(last_request(&daemon), del);
}

/// For DPDK without a VF: the daemon makes the socket, and the keys are its business. The emulator does not model that.
#[test]
fn vhost_user_keys_pass_through() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    let keys = json!({
        "vhost_user_socket_volume_name": "vhost", "vhost_user_socket_name": "sock",
        "vhost_user_socket_consumption": "kubevirt"
    });
    let told = |request: &Value| {
        ["volume_name", "name", "consumption"].map(|key| request[format!("vhost_user_socket_{key}")].clone())
    };
    call("ADD", &daemon, &pod, &keys).failure(11);
    assert_eq!(told(&last_request(&daemon)), ["vhost", "sock", "kubevirt"]);
    // stock's DEL leaves the name out (cmd/cni/cni.go:147-158 at 1533681d7)
    assert_eq!(call("DEL", &daemon, &pod, &keys).rc, 0);
    assert_eq!(told(&last_request(&daemon)), ["vhost", "", "kubevirt"]);
}

#[test]
fn a_namespace_gets_ipv6_before_the_daemon_is_asked() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    assert_eq!(call("ADD", &daemon, &pod, &json!({})).rc, 0);
    for scope in ["all", "default"] {
        assert_eq!(pod.sysctl(&format!("ipv6/conf/{scope}/disable_ipv6")), "0");
        assert_eq!(pod.sysctl(&format!("ipv6/conf/{scope}/accept_ra")), "0");
    }
}

#[test]
fn ipam_for_another_plugin() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    let conf = json!({
        "type": "macvlan", "server_socket": "/dev/null/no", "provider": "no", "deviceID": "0000:03:00.2",
        "device": "eth1",
        "ipam": {"type": "kube-ovn", "server_socket": SOCKET, "provider": "macvlan.default"}
    });
    let answer = call("ADD", &daemon, &pod, &conf);
    assert_eq!(answer.rc, 0, "{answer:?}");
    let request = last_request(&daemon);
    assert_eq!(
        (&request["cni_type"], &request["provider"]),
        (&json!("macvlan"), &json!("macvlan.default"))
    );
    assert_eq!(request["deviceID"], "", "the device is the other plugin's");
    assert_eq!(call("DEL", &daemon, &pod, &conf).rc, 0);
    assert_eq!(last_request(&daemon)["deviceID"], "");
}

#[test]
fn del_never_sends_an_empty_namespace() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    let stdin = json!({"name": "kube-ovn", "type": "kube-ovn", "server_socket": SOCKET}).to_string();
    for call in [
        Call::verb("DEL").without("CNI_NETNS"),
        Call::verb("DEL").env("CNI_NETNS", ""),
    ] {
        let answer = call.on(daemon.directory()).without("CNI_ARGS").stdin(&stdin).run();
        assert_eq!((answer.rc, answer.stdout.as_str()), (0, ""), "{answer:?}");
        assert_eq!(last_request(&daemon)["net_ns"], "none");
    }
    drop(pod);
}

#[test]
fn what_the_daemon_says_no_to() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    let msg = call("ADD", &daemon, &pod, &json!({"provider": "unknown.default.ovn"})).failure(11);
    assert!(msg.starts_with("kube-ovn-daemon answered ADD with "), "{msg}");
    for (fault, part) in [
        ("http-500", "kube-ovn-daemon answered ADD with 500: "),
        ("eof", "gave no reply to ADD: connection closed"),
        ("garbage", "answered ADD with 200, but the body is no reply of its API"),
        ("u2o", "answered ADD with 200, but the body is empty"),
        ("huge", "its body can't be read: length limit exceeded"),
    ] {
        let daemon = Daemon::start(&pods(), &["--answer-at-once", "--fault", fault]);
        let msg = call("ADD", &daemon, &pod, &json!({})).failure(11);
        assert!(msg.contains(part), "{fault}: {msg}");
    }
    let daemon = Daemon::start(&pods(), &["--answer-at-once", "--fault", "del-500"]);
    let msg = call("DEL", &daemon, &pod, &json!({})).failure(11);
    assert!(msg.starts_with("kube-ovn-daemon answered DEL with 500: "), "{msg}");
}

#[test]
fn namespaces_that_are_no_pods() {
    let daemon = Daemon::at_once(&pods());
    let stdin = json!({"name": "n", "type": "kube-ovn", "server_socket": SOCKET}).to_string();
    let add = |netns: &str| {
        Call::verb("ADD")
            .on(daemon.directory())
            .env("CNI_NETNS", netns)
            .stdin(&stdin)
            .run()
    };
    let own = add("/proc/self/ns/net").failure(8);
    assert_eq!(
        own,
        "CNI_NETNS /proc/self/ns/net is the plugin's own network namespace, expected the pod's"
    );
    for (netns, part) in [
        ("/nonexistent", "network namespace /nonexistent does not exist"),
        (
            "/run/openvswitch/pods",
            "/run/openvswitch/pods is not a network namespace: no namespace file",
        ),
        ("/proc", "/proc is not a network namespace"),
        (
            "/proc/self/ns/mnt",
            "/proc/self/ns/mnt is not a network namespace: Invalid argument",
        ),
    ] {
        let msg = add(netns).failure(4);
        assert!(msg.starts_with("CNI_NETNS: ") && msg.contains(part), "{msg}");
    }
    assert!(
        !daemon.path("log").exists() || daemon.log().is_empty(),
        "the daemon was asked"
    );
}

#[test]
fn names_of_which_the_daemon_would_die() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    let stdin = json!({"name": "n", "type": "kube-ovn", "server_socket": SOCKET}).to_string();
    for (id, ifname, part) in [
        (
            "short",
            "eth0",
            "CNI_CONTAINERID short has 5 characters, expected at least 12",
        ),
        (
            "0123456789abcdef",
            "interface-1234",
            "CNI_IFNAME interface-1234 has 14 bytes, expected at most 12",
        ),
    ] {
        let with = |verb: &str| {
            let call = Call::verb(verb).env("CNI_CONTAINERID", id).env("CNI_IFNAME", ifname);
            call.on(daemon.directory())
                .env("CNI_NETNS", &pod.netns())
                .stdin(&stdin)
                .run()
        };
        let msg = with("ADD").failure(4);
        assert!(msg.starts_with(part), "{msg}");
        assert_eq!(with("DEL").rc, 0);
    }
    assert!(
        !daemon.path("log").exists() || daemon.log().is_empty(),
        "the daemon was asked"
    );
}

/// A reply of more than 2 KiB has no length.
#[test]
fn a_reply_in_chunks() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    let routes: Vec<Value> = (0..100)
        .map(|n| json!({"dst": format!("10.99.{n}.0/24"), "gw": "10.16.0.9"}))
        .collect();
    let answer = call("ADD", &daemon, &pod, &json!({"routes": routes}));
    assert_eq!(answer.rc, 0, "{answer:?}");
    // and the default route
    assert_eq!(answer.json()["routes"].as_array().unwrap().len(), 101);
}

/// Whatever the shape of its reply; only the MTU, it did not tell before v1.13.
#[test]
fn every_daemon_gets_the_same_result() {
    let pod = Pod::new();
    let mut both = pods();
    for (key, value) in [
        ("ip", "10.16.0.5,fd00::5"),
        ("cidr", "10.16.0.0/16,fd00::/64"),
        ("gateway", "10.16.0.1,fd00::1"),
    ] {
        both["default/nginx"]["ovn"][key] = json!(value);
    }
    let result = |version: &str| {
        let options = ["--answer-at-once", "--retry-seconds", "0", "--daemon-version", version];
        let daemon = Daemon::start(&both, &options);
        let answer = call("ADD", &daemon, &pod, &json!({"cniVersion": "1.1.0"}));
        assert_eq!(answer.rc, 0, "{version}: {answer:?}");
        assert_eq!(call("DEL", &daemon, &pod, &json!({})).rc, 0, "{version}");
        answer.json()
    };
    let head = result("head");
    assert_eq!(head["ips"][1]["address"], "fd00::5/64");
    for version in versions::VERSIONS {
        let mut result = result(version.name);
        if !version.tells_mtu {
            assert!(result["interfaces"][0].get("mtu").is_none(), "{result}");
            result["interfaces"][0]["mtu"] = head["interfaces"][0]["mtu"].clone();
        }
        assert_eq!(result, head, "{}", version.name);
    }
}

/// The interface by its name, with the MAC and the addresses of ADD's result, and a daemon that can be reached. Of its port there is
/// nothing to be found out on this node: it has no Open vSwitch, which every error ends with.
#[test]
fn check_of_a_pod_without_a_device() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let add = call("ADD", &daemon, &pod, &json!({"cniVersion": version}));
        let keys = json!({"cniVersion": version, "prevResult": add.json()});
        let asked = daemon.log().len();
        let check = || call("CHECK", &daemon, &pod, &keys);
        let findings = |answer: &Answer| {
            let msg = answer.failure(103);
            let begun = msg.strip_prefix("interface eth0 of pod default/nginx is not as ADD left it: ");
            let (found, no_ovs) = begun.unwrap().split_once("ovsdb-server can't be reached").unwrap();
            assert!(!no_ovs.contains(';'), "{msg}");
            found.to_owned()
        };
        assert_eq!(
            findings(&check()),
            format!("it is not in network namespace {}; ", pod.netns())
        );
        // what the daemon of these tests only says that it has done
        pod.ip("link add eth0 address 00:00:00:AA:BB:CC mtu 1400 type veth peer name other");
        assert_eq!(
            findings(&check()),
            "it is down; it lacks the address 10.16.0.5/16 (it has: ); "
        );
        pod.ip("address add 10.16.0.5/16 dev eth0");
        pod.ip("link set eth0 up");
        assert_eq!(findings(&check()), "");
        pod.ip("link set eth0 address 00:00:00:AA:BB:CD");
        assert!(
            check()
                .failure(103)
                .contains("its MAC is 00:00:00:aa:bb:cd, expected 00:00:00:aa:bb:cc")
        );
        let other =
            json!({"cniVersion": version, "prevResult": add.json(), "server_socket": "/run/openvswitch/other.sock"});
        let found = call("CHECK", &daemon, &pod, &other).failure(103);
        assert!(
            found.contains("its MAC is")
                && found.contains("; kube-ovn-daemon can't be reached at /run/openvswitch/other.sock"),
            "{found}"
        );
        pod.ip("link del eth0");
        assert_eq!(daemon.log().len(), asked, "CHECK asks the daemon nothing");
    }
}

/// Another plugin's interface, with an address of ours: only whether the daemon is there.
#[test]
fn check_in_ipam_mode() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    let keys = |socket: &str| {
        let ipam = json!({"type": "kube-ovn", "provider": "macvlan.default", "server_socket": socket});
        let prev_result = json!({"interfaces": [{"name": "eth0", "sandbox": pod.netns()}]});
        json!({"type": "macvlan", "ipam": ipam, "prevResult": prev_result})
    };
    let well = call("CHECK", &daemon, &pod, &keys(SOCKET));
    assert_eq!((well.rc, well.stdout.as_str()), (0, ""), "{well:?}");
    let gone = call("CHECK", &daemon, &pod, &keys("/run/openvswitch/other.sock"));
    assert!(gone.failure(103).contains("can't be reached"));
}
