//! A daemon that only attaches the representor: the plugin moves and configures the VF.

use std::fs::File;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::json;

use crate::attachment::{assert_attached, assert_in_pod, assert_port, assert_result};
use crate::command::{eventually, ip, read};
use crate::daemon::{ATTACH_ONLY, Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::vf;
use crate::pod::Pod;
use crate::strace::{Asked, asked};
use crate::traffic::{Capture, assert_offloads, ping, tcp};

/// Watches the links that leave a namespace: each is one move.
struct Departures {
    monitor: Child,
    output: String,
}

impl Departures {
    /// Of the pod's namespace, or the host's.
    fn watch(pod: Option<&Pod>) -> Self {
        let place: Vec<&str> = pod.map_or_else(Vec::new, |pod| vec!["-n", &pod.netns]);
        let output = format!("/run/e2e/departures-{}", pod.map_or("host", |pod| &pod.netns));
        let file = File::create(&output).expect("a file for ip monitor");
        let monitor = Command::new("ip")
            .args([&place[..], &["-o", "monitor", "link"]].concat())
            .stdout(file)
            .spawn()
            .expect("ip monitor");
        // it does not say when it listens; the kernel tells of an alias only when the link is up
        ip(&[&place[..], &["link", "set", "lo", "up"]].concat());
        eventually("ip monitor listens", || {
            for alias in ["listens", ""] {
                ip(&[&place[..], &["link", "set", "lo", "alias", alias]].concat());
            }
            read(&output).is_some_and(|text| !text.is_empty())
        });
        Self { monitor, output }
    }

    fn count(self) -> usize {
        std::thread::sleep(Duration::from_millis(300));
        let text = read(&self.output).expect("what ip monitor saw");
        text.lines().filter(|line| line.starts_with("Deleted")).count()
    }
}

/// It must not outlive a failed test: it holds the namespace.
impl Drop for Departures {
    fn drop(&mut self) {
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
    }
}

#[test]
fn two_pods_and_one_move_each_way() {
    let mut lab = Lab::with(ATTACH_ONLY);
    let (pod, peer) = (lab.pod(1), lab.pod(2));
    let (vf, peers) = (vf(0, 0), vf(0, 3));
    lab.annotate(&pod, "routes", json!([{"dst": "10.9.0.0/16", "gw": "10.16.0.1"}]));
    let answer = peer.add(&peers).key("cniVersion", "1.1.0").run();
    assert_result(&answer, "1.1.0", &peer, &peers);
    assert_attached(&peer, &peers);

    let announcements = Capture::start(Some(&peer), "eth0", "arp");
    let departures = Departures::watch(None);
    assert_result(&pod.add(&vf).run(), "0.3.1", &pod, &vf);
    assert_eq!(departures.count(), 1, "moves of the VF in ADD");
    assert_attached(&pod, &vf);
    let seen = announcements.stop();
    let address = &pod.ipv4;
    let forms = [
        format!("Announcement {address},"),
        format!("who-has {address} tell {address},"),
        format!("Reply {address} is-at {}", pod.mac),
    ];
    let announced = |line: &String| forms.iter().any(|form| line.contains(form));
    assert!(
        seen.iter().any(announced),
        "no gratuitous ARP of {}: {seen:?}",
        pod.ipv4
    );
    let routes = pod.routes("-4");
    for (dst, gateway) in [("default", "10.16.0.1"), ("10.9.0.0/16", "10.16.0.1")] {
        let is = |route: &serde_json::Value| route["dst"] == dst && route["gateway"] == gateway;
        assert!(routes.iter().any(is), "no route {dst}: {routes:?}");
    }
    ping(&pod, "10.16.0.1", 2);
    assert_offloads([&pod, &peer]);

    let departures = Departures::watch(Some(&pod));
    pod.del(&vf).run().silent();
    assert_eq!(departures.count(), 1, "moves of the VF in DEL");
    peer.del(&peers).run().silent();
    pod.assert_empty();
    peer.assert_empty();
    lab.assert_as_before();
}

/// What a call asks of the kernel does not grow unseen, and a daemon that has moved the VF to the pod leaves no move to the plugin.
#[test]
fn what_a_pod_costs() {
    for (daemon, moves) in [(ATTACH_ONLY, 1), (HEAD, 0)] {
        let mut lab = Lab::with(daemon);
        let pod = lab.pod(1);
        let vf = vf(0, 0);
        let add = asked(&pod.add(&vf));
        assert_attached(&pod, &vf);
        let del = asked(&pod.del(&vf));
        pod.assert_empty();
        println!("ADD {add:?}, DEL {del:?}");
        assert_eq!((add.moves, del.moves), (moves, 1), "moves of the plugin itself");
        // as they are, and a few more requests; a visit to the pod's namespace is two of setns, there and back
        let within = |asked: &Asked, most: [usize; 3]| {
            asked.rtnetlink <= most[0] && asked.generic <= most[1] && asked.setns <= most[2]
        };
        assert!(within(&add, [24, 12, 8]), "{add:?}");
        assert!(within(&del, [20, 8, 4]), "{del:?}");
        lab.assert_as_before();
    }
}

/// Its IPv6 address is usable when ADD ends, and the neighbours have heard of it.
#[test]
fn dual_stack_and_ipv6_only() {
    let mut lab = Lab::with(ATTACH_ONLY);
    let (dual, v6) = (lab.pod(1), lab.pod(2));
    let vfs = [vf(0, 1), vf(0, 2)];
    lab.annotate(&dual, "ip", format!("{},{}", dual.ipv4, dual.ipv6));
    lab.annotate(&dual, "cidr", "10.16.0.0/16,fd00:10:16::/112");
    lab.annotate(&dual, "gateway", "10.16.0.1,fd00:10:16::1");
    lab.annotate(&v6, "ip", v6.ipv6.as_str());
    lab.annotate(&v6, "cidr", "fd00:10:16::/112");
    lab.annotate(&v6, "gateway", "fd00:10:16::1");
    let usable = |link: &serde_json::Value| {
        let addresses = link["addr_info"].as_array().unwrap();
        assert!(
            !addresses
                .iter()
                .any(|address| address["scope"] == "global" && address["tentative"] == true),
            "{link}"
        );
    };
    assert_eq!(
        dual.add(&vfs[0]).run().result()["ips"].as_array().map(Vec::len),
        Some(2)
    );
    let both = [format!("{}/16", dual.ipv4), format!("{}/112", dual.ipv6)];
    usable(&assert_in_pod(&dual, &vfs[0], &[&both[0], &both[1]]));
    assert_port(
        &dual,
        &vfs[0],
        &both.map(|ip| ip.split('/').next().unwrap().to_owned()).join(","),
    );

    let announcements = Capture::start(Some(&dual), "eth0", "icmp6 and ip6[40] == 136");
    let result = v6.add(&vfs[1]).key("cniVersion", "1.0.0").run().result();
    let ips = json!([{"interface": 1, "address": format!("{}/112", v6.ipv6), "gateway": "fd00:10:16::1"}]);
    assert_eq!(result["ips"], ips);
    usable(&assert_in_pod(&v6, &vfs[1], &[&format!("{}/112", v6.ipv6)]));
    assert_port(&v6, &vfs[1], &v6.ipv6);
    let seen = announcements.stop();
    let announced = |line: &String| line.contains(&format!("tgt is {}", v6.ipv6));
    assert!(
        seen.iter().any(announced),
        "no neighbour advertisement of {}: {seen:?}",
        v6.ipv6
    );

    for (pod, gateway) in [(&dual, "10.16.0.1"), (&dual, "fd00:10:16::1"), (&v6, "fd00:10:16::1")] {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        let routes = pod.routes(family);
        let default = |route: &serde_json::Value| route["dst"] == "default" && route["gateway"] == gateway;
        assert!(routes.iter().any(default), "{routes:?}");
        ping(pod, gateway, 2);
    }
    tcp(&dual, &v6, &v6.ipv6);
    dual.del(&vfs[0]).run().silent();
    v6.del(&vfs[1]).run().silent();
    lab.assert_as_before();
}

/// The request offers to do the plumbing; a daemon that does not know of it does all itself, and one that then does not
/// bring the VF to the pod is not believed.
#[test]
fn a_daemon_that_does_neither_is_an_error() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 0);
    let representor = vf.representor().expect("a representor");
    lab.fault(&pod, "nothing-configured");
    pod.add(&vf).run().failure(11, "it configured no interface");
    let requests = Daemon::requests();
    let added = requests
        .iter()
        .rfind(|line| line["verb"] == "POST /api/v1/add")
        .expect("an ADD");
    let body: serde_json::Value = serde_json::from_str(added["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&body["vf_plumbing"], &body["representor"]),
        (&json!("cni"), &json!(representor))
    );
    pod.assert_empty();
    lab.assert_as_before();
}

/// A daemon that leaves the VF alone and does not say so: what it says is not what is.
#[test]
fn without_the_echo_a_vf_that_is_not_in_the_pod_is_an_error() {
    let mut lab = Lab::with(ATTACH_ONLY);
    let pod = lab.pod(1);
    lab.fault(&pod, "no-echo");
    let words = "the VF's netdev is not in the pod's network namespace";
    pod.add(&vf(0, 0)).run().failure(102, words);
    pod.assert_empty();
    lab.assert_as_before();
}

/// The attach-only daemon fails before the VF is moved.
#[test]
fn a_failure_of_the_daemon() {
    let mut lab = Lab::with(ATTACH_ONLY);
    let pods = [lab.pod(1), lab.pod(2), lab.pod(3)];
    lab.fault(&pods[0], "annotations");
    lab.fault(&pods[1], "truncated");
    lab.fault(&pods[2], "wrong-nicname");
    let running: Vec<_> = pods
        .iter()
        .enumerate()
        .map(|(i, pod)| pod.add(&vf(1, i)).start())
        .collect();
    let words = ["not found", "its body can't be read", "for interface \"wrong0\""];
    for (running, words) in running.into_iter().zip(words) {
        running.end().failure(11, words);
    }
    pods.iter().for_each(Pod::assert_empty);
    lab.assert_as_before();
}
