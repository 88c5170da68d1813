//! What a pod or the daemon changes of a VF, none of which its next pod must find.

use std::net::IpAddr;

use super::{MODES, attached};
use crate::net::Address;
use crate::verbs::fake::{HOST, Host, VF_LINK, name};

const PROMISC: u32 = 0x100;
const NOARP: u32 = 0x80;

/// What a tenant with `CAP_NET_ADMIN` can do to the VF's netdev and what stays with it when it moves.
fn meddle(host: &Host, ns: usize, stacked: u32) {
    host.with(|kernel| {
        kernel.plug_in(ns, stacked, "vlan7");
        for netdev in kernel.links.iter_mut().filter(|netdev| netdev.ns == ns) {
            if netdev.link.index == stacked {
                netdev.link.lower = Some(VF_LINK);
                continue;
            }
            netdev.link.flags = PROMISC | NOARP;
            netdev.link.txqlen = 1;
            netdev.link.xdp = 0b0110;
            netdev.link.mtu = 68;
            netdev.link.alias = "mine".to_owned();
            netdev.link.alt_names = vec!["br-int".to_owned(), "0123456789ab_h".to_owned()];
        }
    });
}

#[tokio::test]
async fn nothing_of_a_pod_stays_on_the_vf() {
    for mode in MODES {
        let (host, before, pod) = attached(mode, "net1").await;
        meddle(&host, pod.ns, 40);
        host.del_well(&pod, "").await;
        host.assert_restored(&before, "DEL");
        host.with(|kernel| assert!(!kernel.links.iter().any(|netdev| netdev.link.name == name("vlan7"))));
    }
}

/// The kernel brings the VF home with all that the pod gave it.
#[tokio::test]
async fn nor_when_its_namespace_ended_by_itself() {
    for mode in MODES {
        let (host, before, pod) = attached(mode, "net1").await;
        meddle(&host, pod.ns, 40);
        host.with(|kernel| {
            kernel.unplug(|netdev| netdev.ns == pod.ns && netdev.link.software);
            kernel.destroy(pod.ns);
            kernel.refund(pod.ns);
        });
        host.del_well(&pod, "").await;
        host.assert_restored(&before, "DEL");
    }
}

/// What the VF had before is given back even if it is of the same kind.
#[tokio::test]
async fn what_was_there_before_comes_back() {
    let host = Host::new(false);
    let own = |ip: &str, permanent| Address {
        ip: ip.parse().unwrap(),
        tentative: false,
        duplicate: false,
        permanent,
    };
    host.with(|kernel| {
        let netdev = kernel
            .links
            .iter_mut()
            .find(|netdev| netdev.link.index == VF_LINK)
            .unwrap();
        netdev.link.flags = 0x1000 | PROMISC;
        netdev.link.txqlen = 4000;
        netdev.link.alt_names = vec!["enp3s0f0v0".to_owned()];
        netdev.addresses = vec![
            own("192.0.2.7/24", true),
            own("2001:db8::7/64", true),
            own("198.51.100.1/24", false), // a lease
            own("fe80::1/64", true),
        ];
    });
    let before = host.snapshot();
    let pod = host.pod("pod1", "net1");
    assert!(host.add(&pod).await.well());
    host.with(|kernel| {
        let vf = kernel
            .links
            .iter_mut()
            .find(|netdev| netdev.link.index == VF_LINK)
            .unwrap();
        vf.link.alt_names.clear();
        vf.link.flags = 0x1000;
    });
    host.del_well(&pod, "").await;
    host.assert_restored(&before, "DEL");
    host.with(|kernel| {
        let vf = kernel.links.iter().find(|netdev| netdev.link.index == VF_LINK).unwrap();
        let ips: Vec<IpAddr> = vf.addresses.iter().map(|address| address.ip.ip()).collect();
        assert_eq!(vf.ns, HOST);
        assert_eq!(
            ips,
            ["192.0.2.7", "2001:db8::7"].map(|ip| ip.parse::<IpAddr>().unwrap())
        );
    });
}
