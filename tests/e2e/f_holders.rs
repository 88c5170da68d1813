//! A VF has one holder.

use crate::attachment::{assert_attached, assert_in_pod, port_name};
use crate::command::{ports, vsctl};
use crate::daemon::{Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::vf;
use crate::traffic::ping;

#[test]
fn a_second_add_is_refused_and_the_first_goes_on() {
    let mut lab = Lab::with(HEAD);
    let (pod, other) = (lab.pod(1), lab.pod(2));
    let vf = vf(0, 0);
    pod.add(&vf).run().result();
    let asked = Daemon::requests().len();
    let holder = format!("is held by pod default/pod1 (eth0 of sandbox {})", &pod.container[..12]);
    pod.add(&vf)
        .run()
        .failure(101, "it was added already: a repeated ADD needs a DEL first");
    pod.with_interface(2, "net1").add(&vf).run().failure(
        101,
        "Multus gives the default network and a further network of a pod the same VF when both name the same",
    );
    other.add(&vf).run().failure(101, &holder);
    assert_eq!(Daemon::requests().len(), asked, "the daemon was asked");
    // the runtime answers a failed ADD with a DEL
    other.del(&vf).run().silent();
    pod.with_interface(2, "net1").del(&vf).run().silent();
    assert_attached(&pod, &vf);
    ping(&pod, "10.16.0.1", 2);
    pod.del(&vf).run().silent();
    lab.assert_as_before();
}

/// A second interface with a VF of its own, of another subnet.
#[test]
fn two_vfs_for_one_pod() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let second = lab.pod_in(2, 1, "net1");
    second.destroy();
    let net1 = pod.with_interface(2, "net1");
    lab.annotate(&net1, "default_route", false);
    let vfs = [vf(0, 0), vf(1, 0)];
    pod.add(&vfs[0]).run().result();
    let result = net1.add(&vfs[1]).run().result();
    assert!(result["ips"][0].get("gateway").is_none(), "{result}");
    assert_attached(&pod, &vfs[0]);
    assert_in_pod(&net1, &vfs[1], &[&format!("{}/16", net1.ipv4)]);
    assert_eq!(port_name(&net1), format!("{}_net1_h", &pod.container[..8]));
    assert!(ports().contains(&port_name(&net1)));
    // one DEL takes one
    pod.del(&vfs[0]).run().silent();
    assert_in_pod(&net1, &vfs[1], &[&format!("{}/16", net1.ipv4)]);
    net1.del(&vfs[1]).run().silent();
    pod.assert_empty();
    lab.assert_as_before();
}

/// 12 characters leave nothing of the container ID in the port's name. The second pod is refused, be it with a VF or without,
/// and its DEL leaves the first one's port.
#[test]
fn two_pods_that_would_have_one_port_name() {
    let mut lab = Lab::with(HEAD);
    let name = "abcdefghijkl";
    let (pod, other) = (lab.pod_in(0, 1, name), lab.pod_in(0, 2, name));
    let vfs = [vf(0, 0), vf(1, 0)];
    pod.add(&vfs[0]).run().result();
    let message =
        "would name the host's side of abcdefghijkl _abcdefghijkl_h, and the host has an interface of that name";
    other.add(&vfs[1]).run().failure(4, message);
    other.del(&vfs[1]).run().silent();
    other.call("ADD").run().failure(4, message);
    other.call("DEL").run().silent();
    assert_attached(&pod, &vfs[0]);
    pod.del(&vfs[0]).run().silent();
    lab.assert_as_before();
}

/// A representor that somebody made a port under its own name is left alone.
#[test]
fn representor_in_a_bridge_already() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 0);
    let representor = vf.representor().unwrap();
    vsctl(&["add-port", "br-int", &representor]);
    let before = crate::snapshot::Snapshot::take();
    let asked = Daemon::requests().len();
    pod.add(&vf).run().failure(
        100,
        &format!(
            "representor {representor} of VF {} is a port of ovs-system already",
            vf.pci
        ),
    );
    assert_eq!(Daemon::requests().len(), asked, "the daemon was asked");
    before.assert_still_so();
    vsctl(&["del-port", "br-int", &representor]);
    lab.assert_as_before();
}
