//! What was changed of a VF while a pod had it.

use std::path::Path;

use kube_ovn::device::Sysfs;
use kube_ovn::net::Netns;

use crate::command::{ip, ip_json, run};
use crate::daemon::HEAD;
use crate::lab::Lab;
use crate::nic::vf;
use crate::pod::Pod;

/// As a tenant with `CAP_NET_ADMIN`.
#[track_caller]
fn in_pod(pod: &Pod, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    run("ip", &[&["-n", pod.netns.as_str()], words.as_slice()].concat());
}

/// Everything that stays with a netdev when it moves, by `ip`.
#[track_caller]
fn meddle(pod: &Pod) {
    for words in [
        "link set eth0 promisc on allmulticast on arp off multicast off txqueuelen 7 alias mine",
        "link set eth0 mtu 1000",
        "link property add dev eth0 altname br-tenant altname 0123456789ab_h",
        "link add link eth0 name vlan7 type vlan id 7",
        "link add link eth0 name mac0 type macvlan mode bridge",
        "link set vlan7 up",
        "link set mac0 up",
        "link set eth0 down",
        "link set eth0 address 02:00:00:00:00:99",
    ] {
        in_pod(pod, words);
    }
    attach_xdp(pod);
}

/// A program of two instructions (`return XDP_PASS`), attached as `ip link set xdpgeneric` does it: it outlives the process.
#[track_caller]
fn attach_xdp(pod: &Pod) {
    const SCRIPT: &str = r#"
import ctypes, os, socket, struct, sys
program = struct.pack("<BBhi", 0xb7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0)
code = ctypes.create_string_buffer(program, len(program))
license = ctypes.create_string_buffer(b"GPL")
attr = struct.pack("<IIQQIIQII", 6, 2, ctypes.addressof(code), ctypes.addressof(license), 0, 0, 0, 0, 0).ljust(120, b"\0")
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.syscall(321, 5, ctypes.create_string_buffer(attr, len(attr)), len(attr))
if fd < 0:
    sys.exit("bpf: " + os.strerror(ctypes.get_errno()))
def attribute(kind, value):
    return struct.pack("<HH", 4 + len(value), kind) + value
xdp = attribute(0x8000 | 43, attribute(1, struct.pack("<i", fd)) + attribute(3, struct.pack("<I", 2)))
body = struct.pack("<BBHiII", 0, 0, 0, socket.if_nametoindex("eth0"), 0, 0) + xdp
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
netlink.send(struct.pack("<IHHII", 16 + len(body), 19, 5, 1, 0) + body)
error = struct.unpack_from("<i", netlink.recv(4096), 16)[0]
if error:
    sys.exit("netlink: " + os.strerror(-error))
"#;
    pod.attempt(&["python3", "-c", SCRIPT]).expect("an XDP program");
    let link = pod.link("eth0").expect("eth0");
    assert!(link["xdp"].is_object(), "{link}");
}

/// A tenant makes the VF useless for the next pod, and tries to keep a hand on it. DEL leaves nothing of that.
#[test]
fn meddled_with_by_the_pod() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 1);
    pod.add(&vf).run().result();
    meddle(&pod);
    pod.del(&vf).run().silent();
    pod.assert_empty();
    lab.assert_as_before();
}

/// The same when the kernel brings the VF home.
#[test]
fn meddled_with_by_a_pod_that_died() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 1);
    pod.add(&vf).run().result();
    meddle(&pod);
    pod.destroy();
    pod.del(&vf).run().silent();
    lab.assert_as_before();
}

/// Where netlink does not name a link's device, before Linux 5.14, the plugin looks for the VF in the sysfs of the pod's namespace.
/// This kernel names it, so the look itself is what can be tested here.
#[test]
fn the_sysfs_of_a_pod_shows_its_vf() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 1);
    pod.add(&vf).run().result();
    let address = vf.pci.parse().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let look = |path: &str| {
        let netns = Netns::open(Path::new(path)).unwrap();
        netns
            .with_sysfs(|root| Sysfs::new(root).netdevs(&address))
            .unwrap()
            .unwrap()
    };
    let seen = look(&pod.netns_path());
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].name.as_str(), "eth0");
    assert_eq!(pod.link("eth0").unwrap()["ifindex"], seen[0].ifindex);
    assert_eq!(look("/proc/self/ns/net"), [], "the host's shows none");
    assert_eq!(
        std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
        mounts,
        "a mount stays"
    );
    pod.del(&vf).run().silent();
    lab.assert_as_before();
}

/// An operator's settings: what a move takes away comes back, what it leaves is not taken for a pod's.
#[test]
fn what_the_operator_had_set_on_the_vf() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(1, 0);
    let own = vf.netdev().unwrap();
    ip(&["link", "set", &own, "promisc", "on", "txqueuelen", "77"]);
    ip(&[
        "link",
        "property",
        "add",
        "dev",
        &own,
        "altname",
        "operators-name-of-the-vf",
    ]);
    ip(&["addr", "add", "192.0.2.7/24", "dev", &own]);
    ip(&["addr", "add", "2001:db8::7/64", "dev", &own, "nodad"]);
    let settings = || {
        let link = ip_json(&["addr", "show", "dev", &own]).remove(0);
        let addresses = link["addr_info"].as_array().into_iter().flatten();
        let global: Vec<String> = addresses
            .filter(|address| address["scope"] == "global")
            .map(|address| format!("{}/{}", address["local"], address["prefixlen"]))
            .collect();
        let promisc = link["flags"].to_string().contains("PROMISC");
        format!("{global:?} {} {} {promisc}", link["txqlen"], link["altnames"])
    };
    let before = settings();
    pod.add(&vf).run().result();
    pod.del(&vf).run().silent();
    assert_eq!(settings(), before);
    for words in [
        "link set dev OWN promisc off txqueuelen 1000",
        "link property del dev OWN altname operators-name-of-the-vf",
        "addr flush dev OWN",
    ] {
        let words: Vec<&str> = words
            .split(' ')
            .map(|word| if word == "OWN" { &own } else { word })
            .collect();
        ip(&words);
    }
    lab.assert_as_before();
}
