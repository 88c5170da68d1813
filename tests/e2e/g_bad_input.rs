//! What callers get wrong: the message names it, the daemon is not asked, the host is as it was.

use crate::call::Call;
use crate::command::{attempt, ip};
use crate::daemon::{Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::{pfs, vf};
use crate::pod::Pod;

/// Makes a bad call of a good one.
type Spoil = fn(Call, &Pod) -> Call;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn is_refused_before_anything_is_done() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 0);
    std::fs::write("/run/e2e/plain", "text").unwrap();
    std::fs::write("/run/e2e/empty", "").unwrap();
    let before = crate::snapshot::Snapshot::take();
    let asked = Daemon::requests().len();
    let cases: [(&str, Spoil, u64, &str); 16] = [
        (
            "malformed device ID",
            |call, _| call.device("0000:01:00"),
            7,
            "deviceID \"0000:01:00\" is neither a PCI address such as 0000:03:00.2 nor a sub-function",
        ),
        (
            "path as device ID",
            |call, _| call.device("../../net/lo"),
            7,
            "is neither a PCI address such as 0000:03:00.2 nor a sub-function",
        ),
        (
            "no such device",
            |call, _| call.device("0000:7f:00.1"),
            7,
            "no PCI device 0000:7f:00.1 on this node",
        ),
        (
            "a PF's address",
            |call, _| call.device(&pfs()[0]),
            7,
            "is not a VF: it is a PF; give one of its VFs",
        ),
        (
            "a device without SR-IOV",
            |call, _| call.device("0000:00:00.0"),
            7,
            "is not a VF",
        ),
        (
            "two devices",
            |call, _| call.key("pciBusID", vf2()),
            7,
            "names different devices",
        ),
        (
            "no namespace",
            |call, _| call.env("CNI_NETNS", "/run/netns/none"),
            4,
            "CNI_NETNS: network namespace /run/netns/none does not exist",
        ),
        (
            "a file",
            |call, _| call.env("CNI_NETNS", "/run/e2e/plain"),
            4,
            "/run/e2e/plain is not a network namespace",
        ),
        (
            "an empty file",
            |call, _| call.env("CNI_NETNS", "/run/e2e/empty"),
            4,
            "its mount did not propagate",
        ),
        (
            "a directory",
            |call, _| call.env("CNI_NETNS", "/run/e2e"),
            4,
            "/run/e2e is not a network namespace",
        ),
        (
            "another kind of namespace",
            |call, _| call.env("CNI_NETNS", "/proc/1/ns/mnt"),
            4,
            "/proc/1/ns/mnt is not a network namespace",
        ),
        (
            "our own namespace",
            |call, _| call.env("CNI_NETNS", "/proc/1/ns/net"),
            8,
            "is the plugin's own network namespace",
        ),
        (
            "short container ID",
            |call, _| call.env("CNI_CONTAINERID", "0123456789a"),
            4,
            "CNI_CONTAINERID 0123456789a has 11 characters, expected at least 12",
        ),
        (
            "long interface name",
            |call, _| call.env("CNI_IFNAME", "net1234567890"),
            4,
            "CNI_IFNAME net1234567890 has 13 bytes, expected at most 12",
        ),
        (
            "relative socket",
            |call, _| call.key("server_socket", "run/d.sock"),
            7,
            "server_socket must be an absolute path",
        ),
        (
            "no pod",
            |call, _| call.env("CNI_ARGS", "IgnoreUnknown=1"),
            7,
            "K8S_POD_NAME",
        ),
    ];
    for (what, spoil, code, words) in cases {
        let call = spoil(pod.add(&vf), &pod);
        let answer = call.run();
        println!("{what}: {}", answer.stdout);
        answer.failure(code, words);
        // the runtime's DEL after that: nothing to do, nothing in the way
        assert_eq!(Daemon::requests().len(), asked, "{what}: the daemon was asked");
        before.assert_still_so();
    }
    pod.assert_empty();
    lab.assert_as_before();
}

fn vf2() -> String {
    vf(0, 1).pci
}

/// After such an ADD the runtime sends DEL.
#[test]
fn del_after_a_refused_add_succeeds() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let bad: [(&str, Spoil); 5] = [
        ("device", |call, _| call.device("no device")),
        ("namespace", |call, _| call.env("CNI_NETNS", "/run/netns/none")),
        ("container ID", |call, _| call.env("CNI_CONTAINERID", "0")),
        ("interface", |call, _| call.env("CNI_IFNAME", "net1234567890")),
        ("socket", |call, _| call.without_key("server_socket")),
    ];
    for (what, spoil) in bad {
        println!("{what}");
        spoil(pod.del(&vf(0, 0)), &pod).run().silent();
    }
    lab.assert_as_before();
}

#[test]
fn interface_name_taken_in_the_pod() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    ip(&[
        "-n", &pod.netns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1",
    ]);
    pod.add(&vf(0, 0))
        .run()
        .failure(4, "has an interface eth0 already, expected none");
    lab.assert_as_before();
}

/// A netns that no record tells of has the VF.
#[test]
fn vf_in_an_unknown_namespace() {
    let mut lab = Lab::with(HEAD);
    let (pod, thief) = (lab.pod(1), lab.pod(2));
    let vf = vf(0, 0);
    let own = vf.netdev().unwrap();
    ip(&["link", "set", &own, "netns", &thief.netns]);
    let asked = Daemon::requests().len();
    pod.add(&vf)
        .run()
        .failure(11, "has no netdev in the host's network namespace after 10 s");
    assert_eq!(Daemon::requests().len(), asked, "the daemon was asked");
    attempt("ip", &["-n", &thief.netns, "link", "set", &own, "netns", "1"]).expect("bring it back");
    lab.assert_as_before();
}
