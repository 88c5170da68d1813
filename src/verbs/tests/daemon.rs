//! The daemon or Open vSwitch does not do its part, or has done it before.

use super::{MODES, attached, place};
use crate::verbs::fake::{FailAdd, HOST, Host, OTHER_VF, Pod, REPRESENTOR, VF_LINK, host_nic, mac_of, name};

/// Nothing of the pod is forwarded any more when the port goes, and the daemon is not told what it must not touch.
#[tokio::test]
async fn what_the_daemon_sees_of_del() {
    for mode in MODES {
        let (host, _, pod) = attached(mode, "net1").await;
        host.del_well(&pod, "").await;
        let requests = host.daemon.requests.lock().unwrap();
        let [add, del] = requests.as_slice() else {
            panic!("{requests:?}");
        };
        assert_eq!((add.path.as_str(), add.vf_in), ("/api/v1/add", Some(HOST)));
        assert_eq!(
            (add.body["vf_plumbing"].as_str(), add.body["representor"].as_str()),
            (Some("cni"), Some("eth0_rep"))
        );
        assert_eq!(
            (del.path.as_str(), del.vf_in, del.representor_up),
            ("/api/v1/del", Some(HOST), false)
        );
        assert_eq!(
            (del.body["deviceID"].as_str(), del.body["net_ns"].as_str()),
            (Some(""), Some("none"))
        );
    }
}

/// A socket that can't be reached, and at which no daemon that restarts will ever appear.
#[tokio::test]
async fn daemon_unreachable_at_add() {
    let host = Host::new(false);
    let before = host.snapshot();
    let pod = host.pod("pod1", "net1");
    let message = host.add_by(&pod, &host.socket.join("below-a-file")).await.failure();
    assert!(message.contains("can't be reached"), "{message}");
    host.assert_restored(&before, "nobody had to be asked");
    assert!(host.daemon.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn daemon_unreachable_at_del() {
    for mode in MODES {
        let (host, before, pod) = attached(mode, "net1").await;
        host.stop_ovsdb();
        let aside = host.socket.with_extension("aside");
        std::fs::rename(&host.socket, &aside).unwrap();
        for _ in 0..2 {
            let message = host.del(&pod).await.failure();
            assert!(
                message.contains("can't be reached") && message.contains("the record stays"),
                "{message}"
            );
            assert_eq!(host.records().len(), 2);
            assert_eq!(place(&host), (HOST, "ens1f0v0".to_owned()));
            host.with(|kernel| {
                let representor = kernel
                    .links
                    .iter()
                    .find(|netdev| netdev.link.index == REPRESENTOR)
                    .unwrap();
                assert_eq!(representor.link.name, name(&host_nic(&pod.container, "net1")));
                assert!(!representor.link.up, "it forwards no more");
            });
        }
        std::fs::rename(&aside, &host.socket).unwrap();
        host.del_well(&pod, "").await;
        host.assert_restored(&before, "");
    }
}

#[tokio::test]
async fn daemon_that_fails_del() {
    let (host, before, pod) = attached(false, "net1").await;
    host.stop_ovsdb();
    host.switch(|switches| switches.fail_del = true);
    let message = host.del(&pod).await.failure();
    assert!(message.contains("database connection failed"), "{message}");
    host.switch(|switches| switches.fail_del = false);
    host.del_well(&pod, "").await;
    host.assert_restored(&before, "");
    // an ADD that fails when DEL fails as well leaves the rest to DEL
    host.switch(|switches| {
        switches.fail_del = true;
        switches.fail_add = Some(FailAdd::AtGatewayCheck);
    });
    let next = host.pod("pod2", "net1");
    let message = host.add(&next).await.failure();
    assert!(
        message.contains("EHOSTUNREACH") && message.contains("on the way back"),
        "{message}"
    );
    assert_eq!(place(&host), (HOST, "ens1f0v0".to_owned()));
    host.switch(|switches| switches.fail_del = false);
    host.del_well(&next, "").await;
    host.assert_restored(&before, "");
}

/// OVSDB has no port any more, but nobody takes it off the datapath.
#[tokio::test]
async fn vswitchd_stopped_before_del() {
    let (host, before, pod) = attached(false, "net1").await;
    host.with(|kernel| kernel.vswitchd = false);
    let message = host.del(&pod).await.failure();
    assert!(message.contains("is ovs-vswitchd running?"), "{message}");
    host.with(|kernel| {
        kernel.vswitchd = true;
        for netdev in &mut kernel.links {
            netdev.link.master = None;
        }
    });
    host.del_well(&pod, "").await;
    host.assert_restored(&before, "");
}

/// A port that a sandbox without a record left behind is removed first; one of somebody else's is refused.
#[tokio::test]
async fn representor_is_a_port_already() {
    for mode in MODES {
        let host = Host::new(mode);
        let before = host.snapshot();
        host.with(|kernel| {
            kernel.rename_in(HOST, REPRESENTOR, "0123456789ab_h");
            kernel.add_port("0123456789ab_h");
        });
        let pod = host.pod("pod1", "net1");
        let ended = host.add(&pod).await;
        assert!(ended.well(), "{ended:?}");
        host.assert_attached(&pod, "one port");
        host.del_well(&pod, "").await;
        host.with(|kernel| kernel.rename_in(HOST, REPRESENTOR, "eth0_rep"));
        host.assert_restored(&before, "");

        host.with(|kernel| kernel.add_port("eth0_rep"));
        let held = host.snapshot();
        let message = host.add(&host.pod("pod2", "net1")).await.failure();
        assert!(message.contains("is a port of ovs-system already"), "{message}");
        assert_eq!((host.snapshot(), host.records()), (held, Vec::new()));
    }
}

/// Up to v1.15 kube-ovn gives every interface of one network in a pod the same.
#[tokio::test]
async fn two_interfaces_of_one_network_on_an_old_daemon() {
    for mode in MODES {
        let (host, before, first) = attached(mode, "net1").await;
        // as though the first one had another VF
        host.give_record_to(&first, OTHER_VF);
        host.with(|kernel| {
            let vf = (kernel.links.iter_mut())
                .find(|netdev| netdev.link.index == VF_LINK)
                .unwrap();
            (vf.ns, vf.link.name) = (HOST, name("ens1f0v0"));
            let mac = Some(mac_of(&first.name));
            kernel.plug_in(first.ns, 60, "net1");
            kernel
                .links
                .iter_mut()
                .rev()
                .take(1)
                .for_each(|netdev| netdev.link.mac = mac);
            kernel.del_port(&host_nic(&first.container, "net1"));
        });
        let second = Pod {
            ifname: "net2".to_owned(),
            ..first.clone()
        };
        let message = host.add(&second).await.failure();
        let cause = "net1 of the same pod has: both are of provider sriov.default.ovn, and before v1.16.2 kube-ovn";
        assert!(message.contains(cause), "{message}");
        assert_eq!(host.records().len(), 2, "the first one's stay");
        assert_ne!(host.snapshot(), before, "the first one keeps its interface");
    }
}
