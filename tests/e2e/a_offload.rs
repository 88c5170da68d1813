//! The released daemon moves and configures the VF; the plugin looks after it.

use crate::attachment::{assert_attached, assert_no_port, assert_port, assert_result, port_name};
use crate::command::ip_json;
use crate::daemon::HEAD;
use crate::lab::Lab;
use crate::nic::{Vf, vf};
use crate::pod::Pod;
use crate::traffic::{assert_offloads, ping, tcp, udp};

/// ADD of pods in these versions of CNI, traffic, DEL.
fn pods_talk(vfs: &[Vf], versions: &[&str], talk: impl FnOnce(&[Pod])) {
    let mut lab = Lab::with(HEAD);
    let pods: Vec<Pod> = (1..=vfs.len()).map(|number| lab.pod(number)).collect();
    let all = || pods.iter().zip(vfs).zip(versions);
    let adds: Vec<_> = all()
        .map(|((pod, vf), version)| pod.add(vf).key("cniVersion", *version).start())
        .collect();
    for (add, ((pod, vf), version)) in adds.into_iter().zip(all()) {
        assert_result(&add.end(), version, pod, vf);
        assert_attached(pod, vf);
    }
    talk(&pods);
    let dels: Vec<_> = all()
        .map(|((pod, vf), version)| pod.del(vf).key("cniVersion", *version).start())
        .collect();
    for (del, pod) in dels.into_iter().zip(&pods) {
        del.end().silent();
        pod.assert_empty();
        assert_no_port(pod);
    }
    lab.assert_as_before();
}

#[test]
fn two_vfs_of_one_pf() {
    pods_talk(&[vf(0, 0), vf(0, 1)], &["0.3.1", "1.1.0"], |pods| {
        assert_offloads([&pods[0], &pods[1]]);
    });
}

/// The same VF number of both ports of one card: `pf0vf1` and `pf1vf1` have one switch ID. simnic forwards only between the
/// representors of one PF (a NIC with a merged eswitch between all), so from port to port traffic passes in software.
#[test]
fn two_pfs_of_one_card() {
    pods_talk(&[vf(0, 1), vf(1, 1), vf(1, 0)], &["0.4.0", "1.0.0", "0.3.1"], |pods| {
        ping(&pods[0], &pods[1].ipv4, 3);
        tcp(&pods[0], &pods[1], &pods[1].ipv4);
        udp(&pods[1], &pods[0], &pods[0].ipv4);
        assert_offloads([&pods[1], &pods[2]]);
    });
}

#[test]
fn older_versions_and_names_that_multus_and_kubevirt_give() {
    let mut lab = Lab::with(HEAD);
    let cases = [("net1", "0.1.0"), ("pod12345678901", "0.2.0"), ("eth0", "0.3.0")];
    let pods: Vec<_> = (1..)
        .zip(cases)
        .map(|(number, (ifname, _))| lab.pod_in(0, number, ifname))
        .collect();
    let vfs = [vf(1, 2), vf(1, 3), vf(0, 2)];
    let all = || pods.iter().zip(&vfs).zip(cases);
    let adds: Vec<_> = all()
        .map(|((pod, vf), (_, version))| pod.add(vf).key("cniVersion", version).start())
        .collect();
    for (add, ((pod, vf), (_, version))) in adds.into_iter().zip(all()) {
        assert_result(&add.end(), version, pod, vf);
        assert_attached(pod, vf);
    }
    let dels: Vec<_> = all()
        .map(|((pod, vf), (_, version))| pod.del(vf).key("cniVersion", version).start())
        .collect();
    for (del, pod) in dels.into_iter().zip(&pods) {
        del.end().silent();
        pod.assert_empty();
        assert_no_port(pod);
    }
    lab.assert_as_before();
}

/// Up to v1.15 the reply has comma lists; an allocation may have a MAC and no address.
#[test]
fn replies_of_another_shape() {
    let mut lab = Lab::with(HEAD);
    let (old, mac_only) = (lab.pod(1), lab.pod(2));
    let vfs = [vf(0, 0), vf(0, 1)];
    lab.fault(&old, "old-shape");
    lab.fault(&mac_only, "mac-only");
    assert_result(&old.add(&vfs[0]).run(), "0.3.1", &old, &vfs[0]);
    assert_attached(&old, &vfs[0]);

    let result = mac_only.add(&vfs[1]).run().result();
    assert_eq!(result["interfaces"][1]["mac"], mac_only.mac.as_str());
    assert!(result.get("ips").is_none(), "{result}");
    crate::attachment::assert_in_pod(&mac_only, &vfs[1], &[]);
    // its port has no address
    let representor = vfs[1].representor().expect("a representor");
    assert_eq!(representor, port_name(&mac_only));
    assert_eq!(
        ip_json(&["link", "show", "dev", &representor])[0]["master"],
        "ovs-system"
    );

    old.del(&vfs[0]).run().silent();
    mac_only.del(&vfs[1]).run().silent();
    lab.assert_as_before();
}

#[test]
fn dual_stack_by_the_daemon() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(0, 2);
    let ips = format!("{},{}", pod.ipv4, pod.ipv6);
    lab.annotate(&pod, "ip", ips.as_str());
    lab.annotate(&pod, "cidr", "10.16.0.0/16,fd00:10:16::/112");
    lab.annotate(&pod, "gateway", "10.16.0.1,fd00:10:16::1");
    let result = pod.add(&vf).key("cniVersion", "1.0.0").run().result();
    let expected = serde_json::json!([
        {"interface": 1, "address": format!("{}/16", pod.ipv4), "gateway": "10.16.0.1"},
        {"interface": 1, "address": format!("{}/112", pod.ipv6), "gateway": "fd00:10:16::1"},
    ]);
    assert_eq!(result["ips"], expected);
    let both = [format!("{}/16", pod.ipv4), format!("{}/112", pod.ipv6)];
    crate::attachment::assert_in_pod(&pod, &vf, &[&both[0], &both[1]]);
    assert_port(&pod, &vf, &ips);
    ping(&pod, "10.16.0.1", 2);
    ping(&pod, "fd00:10:16::1", 2);
    pod.del(&vf).run().silent();
    lab.assert_as_before();
}
