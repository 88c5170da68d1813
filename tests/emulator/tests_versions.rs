//! The releases as seen from the wire, and the faults that hold a request or end the process.
#![allow(clippy::indexing_slicing, reason = "test code: a failed step is a failed test")]

#[path = "versions.rs"]
#[allow(dead_code, reason = "only what the wire shows is asked for here")]
mod versions;

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::{ID, pods, request};
use versions::{Providers, Shape, VERSIONS, Version};

fn daemon(version: &Version, pods: &Value) -> Daemon {
    let options = [
        "--answer-at-once",
        "--retry-seconds",
        "0",
        "--daemon-version",
        version.name,
    ];
    Daemon::start(pods, &options)
}

fn status(reply: &str) -> u16 {
    reply.split(' ').nth(1).unwrap().parse().unwrap()
}

fn with(key: &str, value: &str) -> Value {
    let mut request = request(ID, "net1");
    request[key] = json!(value);
    request
}

#[test]
fn every_release_replies_in_its_shape() {
    for version in VERSIONS {
        let (status, reply) = daemon(version, &pods("")).add(&request(ID, "net1"));
        assert_eq!((status, &reply["nicname"]), (200, &json!("net1")), "{}", version.name);
        let mtu = if version.tells_mtu { 1400 } else { 0 };
        assert_eq!(reply["mtu"], json!(mtu), "{}", version.name);
        match version.shape {
            Shape::Ips => {
                assert_eq!(reply["ips"][1]["ip"], json!("fd00::b"), "{}", version.name);
                assert!(reply.get("address").is_none(), "{reply}");
            }
            Shape::Lists => {
                let lists = (&reply["protocol"], &reply["address"], &reply["gateway"]);
                let wanted = (
                    &json!("Dual"),
                    &json!("10.16.0.11,fd00::b"),
                    &json!("10.16.0.1,fd00::1"),
                );
                assert_eq!(lists, wanted, "{}", version.name);
                assert!(reply.get("ips").is_none(), "{reply}");
            }
        }
    }
}

#[test]
fn routes_of_the_oldest_reply_have_both_keys() {
    for version in VERSIONS {
        let mut ipam = request(ID, "net1");
        ipam["provider"] = json!("macvlan.default");
        ipam["routes"] = json!([{"gw": "10.17.0.1"}]);
        ipam["net_ns"] = json!("/nowhere");
        let (_, reply) = daemon(version, &pods("")).add(&ipam);
        let route = if version.full_routes {
            json!({"dst": "", "gw": "10.17.0.1"})
        } else {
            json!({"gw": "10.17.0.1"})
        };
        assert_eq!(reply["routes"], json!([route]), "{}", version.name);
    }
}

#[test]
fn providers_that_are_not_served() {
    for version in VERSIONS {
        let daemon = daemon(version, &pods(""));
        for (provider, refused) in [
            ("x.y.ovn", version.providers == Providers::OfSubnets),
            ("xovn", version.providers != Providers::AnyOvn),
            ("other", true),
            ("sriov.default.ovn.net1", !version.two_nics),
        ] {
            let (status, reply) = daemon.add(&with("provider", provider));
            let is_not = match version.providers {
                Providers::OfSubnets => "is not bound",
                _ => "not bind",
            };
            let wanted = format!("provider {provider} {is_not} to any subnet");
            assert_eq!(status == 400, refused, "{} {provider}: {reply}", version.name);
            assert!(!refused || reply["error"] == wanted, "{} {reply}", version.name);
            assert_eq!(
                reply.get("protocol").is_some(),
                version.shape == Shape::Lists,
                "{reply}"
            );
        }
    }
}

/// The controller marks a pod as allocated and writes its address in one patch; a static address stands there before.
#[test]
fn what_is_waited_for() {
    for version in VERSIONS {
        let mut known = pods("");
        known["default/pod1"]["sriov.default.ovn"]["allocated"] = json!(false);
        let (status, reply) = daemon(version, &known).add(&request(ID, "net1"));
        assert_eq!(status == 200, version.waits_for_address, "{}: {reply}", version.name);
        let (_, reply) = daemon(version, &pods("mac-only")).add(&request(ID, "net1"));
        let waits = reply["error"].as_str().unwrap().starts_with("no address allocated");
        assert_eq!(
            waits,
            version.waits_for_address && !version.mac_only,
            "{}: {reply}",
            version.name
        );
    }
}

/// `vm.default.ovn.net1` in the annotations: an old daemon asks for `vm.default.ovn` and finds nothing; with that, every
/// interface gets the same.
#[test]
fn two_interfaces_of_one_network() {
    for version in VERSIONS {
        let attachment = |last: u8| json!({"ip": format!("10.16.0.{last}"), "mac": format!("02:00:00:00:00:{last}"), "cidr": "10.16.0.0/16"});
        let named = json!({"default/pod1": {
            "sriov.default.ovn.net1": attachment(11), "sriov.default.ovn.net2": attachment(12),
        }});
        // by its subnet, the provider is known to all
        let mut named = named;
        named["default/other"] = json!({"sriov.default.ovn": attachment(13)});
        let daemon_of_named = daemon(version, &named);
        for (ifname, mac) in [("net1", "02:00:00:00:00:11"), ("net2", "02:00:00:00:00:12")] {
            let (status, reply) = daemon_of_named.add(&request(ID, ifname));
            if version.two_nics {
                assert_eq!((status, &reply["mac_address"]), (200, &json!(mac)), "{}", version.name);
            } else {
                let words = "no address allocated to pod default/pod1 provider sriov.default.ovn, please see";
                assert!(reply["error"].as_str().unwrap().starts_with(words), "{reply}");
            }
        }
        let one = daemon(version, &pods(""));
        let macs = ["net1", "net2"].map(|ifname| one.add(&request(ID, ifname)).1["mac_address"].clone());
        assert_eq!(macs[0], macs[1], "{}", version.name);
    }
}

#[test]
fn masks_of_one_family_of_two() {
    for version in VERSIONS {
        let mut known = pods("");
        known["default/pod1"]["sriov.default.ovn"]["ip"] = json!("fd00::b");
        let (status, reply) = daemon(version, &known).add(&request(ID, "net1"));
        if version.by_family {
            assert_eq!((status, &reply["ips"][0]["gateway"]), (200, &json!("fd00::1")));
        } else {
            let error = "failed to get ip address with mask, ip fd00::b should be dualstack";
            assert_eq!((status, &reply["error"]), (500, &json!(error)), "{}", version.name);
        }
    }
}

#[test]
fn what_del_needs() {
    for version in VERSIONS {
        let daemon = daemon(version, &pods(""));
        // only one that reaches deleteNic makes names, and panics of these
        let acts = |mut request: Value| {
            request["container_id"] = json!("0");
            daemon.post("del", &request.to_string()).is_empty()
        };
        assert!(acts(request(ID, "net1")), "{}", version.name);
        assert_eq!(
            acts(with("pod_name", "gone")),
            !version.del_needs_pod,
            "{}",
            version.name
        );
        assert_eq!(acts(with("net_ns", "")), !version.del_needs_netns, "{}", version.name);
        let mut other = with("provider", "macvlan.default");
        assert!(acts(other.clone()), "cni_type is kube-ovn");
        other["cni_type"] = json!("macvlan");
        assert_eq!(acts(other), !version.del_needs_pod, "{}", version.name);
        let mut ovn = with("provider", "ovn");
        ovn["cni_type"] = json!("macvlan");
        assert!(acts(ovn), "{}", version.name);
    }
}

#[test]
fn a_version_that_is_not_there() {
    let error = versions::version("v1.99").unwrap_err();
    assert!(
        error.contains("known: v1.12.35 v1.13.15") && error.ends_with("head"),
        "{error}"
    );
}

/// Waits until the daemon has written this many lines.
fn wait_for_lines(daemon: &Daemon, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let lines = || {
        if daemon.path("log").exists() {
            daemon.log().len()
        } else {
            0
        }
    };
    while lines() < count {
        assert!(Instant::now() < deadline, "the daemon has not written {count} lines");
        std::thread::sleep(Duration::from_millis(10));
    }
    daemon.log()
}

#[test]
fn a_request_pauses_at_a_step_until_the_fault_is_taken_away() {
    let daemon = Daemon::at_once(&pods("pause@reply"));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| daemon.add(&request(ID, "net1")));
        let log = wait_for_lines(&daemon, 1);
        assert_eq!((&log[0]["paused"], &log[0]["container"]), (&json!("reply"), &json!(ID)));
        assert!(!waiting.is_finished());
        // as a test replaces it: a reader sees the old or the new one
        std::fs::write(daemon.path("new"), pods("").to_string()).unwrap();
        std::fs::rename(daemon.path("new"), daemon.path("pods")).unwrap();
        assert_eq!(waiting.join().unwrap().0, 200);
    });
}

#[test]
fn a_request_is_held_at_a_step_and_goes_on() {
    let daemon = Daemon::at_once(&pods("hold@add=1,hold@del=1"));
    for verb in ["add", "del"] {
        let start = Instant::now();
        assert!(status(&daemon.post(verb, &request(ID, "net1").to_string())) < 300);
        assert!(start.elapsed() >= Duration::from_secs(1), "{verb}");
    }
}

#[test]
fn the_process_dies_at_a_step() {
    for (fault, verb) in [("die@reply", "add"), ("die@del-reply", "del")] {
        let daemon = Daemon::at_once(&pods(fault));
        assert_eq!(daemon.post(verb, &request(ID, "net1").to_string()), "");
        let gone = UnixStream::connect(daemon.path("socket")).unwrap_err();
        assert_eq!(
            gone.kind(),
            std::io::ErrorKind::NotFound,
            "the start script removes the socket"
        );
    }
}

#[test]
fn replies_to_del_that_are_late_or_none() {
    let reply = |fault: &str| Daemon::at_once(&pods(fault)).post("del", &request(ID, "net1").to_string());
    assert!(reply("del-garbage").starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(reply("del-late-eof"), "");
    let start = Instant::now();
    assert_eq!(status(&reply("del-late=1")), 204);
    assert!(start.elapsed() >= Duration::from_secs(1));
}
