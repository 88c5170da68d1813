//! Everything back, however the pod ended.

use crate::attachment::{add_all, assert_attached, assert_no_port};
use crate::command::{attempt, ip, read};
use crate::daemon::{Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::{pfs, uplink, vf};
use crate::pod::Pod;
use crate::snapshot::{STATE, records};

/// The kernel sends the VF home under some name, with the pod's MAC and MTU; DEL gives it its own.
#[test]
fn netns_destroyed_before_del() {
    let mut lab = Lab::with(HEAD);
    let pods = [lab.pod(1), lab.pod(2)];
    let vfs = [vf(0, 0), vf(1, 0)];
    add_all(&[(&pods[0], &vfs[0]), (&pods[1], &vfs[1])]);
    pods.iter().for_each(Pod::destroy);
    // the path is still named, but nothing is there; no path at all
    pods[0].del(&vfs[0]).run().silent();
    pods[1].del(&vfs[1]).env("CNI_NETNS", "").run().silent();
    pods.iter().for_each(assert_no_port);
    lab.assert_as_before();
}

/// The daemon renames the VF within the host's namespace if it has the pod interface's name there.
#[test]
fn vf_named_like_the_pods_interface() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 3);
    let own = vf.netdev().unwrap();
    // the PF's netdev is called eth0 in the lab
    let eth0 = uplink(&pfs()[0]);
    let rename = |from: &str, to: &str| {
        ip(&["link", "set", from, "down"]);
        ip(&["link", "set", from, "name", to]);
    };
    rename(&eth0, "uplink0");
    ip(&["link", "set", "uplink0", "up"]);
    rename(&own, "eth0");
    pod.add(&vf).run().result();
    assert_attached(&pod, &vf);
    pod.del(&vf).run().silent();
    assert_eq!(vf.netdev().as_deref(), Some("eth0"));
    // and the same with the namespace gone
    let again = lab.pod(1);
    again.add(&vf).run().result();
    again.destroy();
    again.del(&vf).run().silent();
    assert_eq!(vf.netdev().as_deref(), Some("eth0"));
    rename("eth0", &own);
    rename("uplink0", &eth0);
    ip(&["link", "set", &eth0, "up"]);
    lab.assert_as_before();
}

/// Another link got the VF's name while it was away: the VF comes home under another, and DEL succeeds.
#[test]
fn old_name_taken_meanwhile() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 0);
    let (own, mac) = (
        vf.netdev().unwrap(),
        read(format!("/sys/class/net/{}/address", vf.netdev().unwrap())),
    );
    pod.add(&vf).run().result();
    ip(&["link", "add", &own, "type", "veth", "peer", "name", "e2e-other"]);
    pod.del(&vf).run().silent();
    let now = vf.netdev().expect("the VF is in the host");
    assert_ne!(now, own);
    assert_ne!(now, "eth0", "it keeps no pod's name");
    assert_eq!(read(format!("/sys/class/net/{now}/address")), mac);
    assert_eq!(records(), Vec::<String>::new());
    ip(&["link", "del", &own]);
    ip(&["link", "set", &now, "name", &own]);
    lab.assert_as_before();
}

/// Killed when the daemon had done everything: the record tells DEL.
#[test]
fn add_killed_half_way() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(1, 2);
    lab.add_paused_at("reply", &pod, &vf).kill();
    assert!(pod.link("eth0").is_some(), "the daemon has moved the VF");
    assert!(read(format!("{STATE}/vf/{}.json", vf.pci)).is_some(), "no record");
    pod.del(&vf).run().silent();
    pod.assert_empty();
    assert_no_port(&pod);
    // the daemon's own ADD ends only now
    lab.fault(&pod, "");
    Daemon::settle();
    lab.assert_as_before();
}

/// A tenant with `CAP_NET_ADMIN` may rename the interface, and give its name to another one.
#[test]
fn renamed_by_the_pod() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 1);
    pod.add(&vf).run().result();
    for words in [
        "link set eth0 down",
        "link set eth0 name mine",
        "link add eth0 type veth peer name eth1",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        attempt("ip", &[&["-n", pod.netns.as_str()], words.as_slice()].concat()).expect("as the tenant");
    }
    pod.del(&vf).run().silent();
    assert!(pod.link("eth0").is_some(), "the tenant's own link stays");
    lab.assert_as_before();
}
