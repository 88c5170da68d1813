//! Whose VF it is.

use std::path::Path;

use super::place;
use crate::verbs::fake::{Fault, Faults, HOST, Hold, Host, Pod, REPRESENTOR, VF_LINK, name};

#[tokio::test]
async fn a_late_del_leaves_the_new_holder_alone() {
    for attach_only in [false, true] {
        let host = Host::new(attach_only);
        let before = host.snapshot();
        let old = host.pod("old", "net1");
        assert!(host.add(&old).await.well());
        host.destroy(&old);
        let new = host.pod("new", "net1");
        let ended = host.add(&new).await;
        assert!(ended.well(), "{ended:?}");
        let (held, records) = (host.snapshot(), host.records());
        for _ in 0..2 {
            host.del_well(&old, "late").await;
            assert_eq!(host.snapshot(), held);
            assert_eq!(host.records(), records);
            host.assert_attached(&new, "after the late DEL");
        }
        host.del_well(&new, "").await;
        host.assert_restored(&before, "");
    }
}

/// The old sandbox's DEL had removed its record, but a way to it was left (a process killed between the two files).
#[tokio::test]
async fn a_late_del_that_finds_the_record_of_another() {
    let host = Host::new(false);
    let before = host.snapshot();
    let old = host.pod("old", "net1");
    let new = host.pod("new", "net1");
    assert!(host.add(&new).await.well());
    let held = host.snapshot();
    host.write_attachment(&old);
    host.del_well(&old, "late").await;
    assert_eq!(host.snapshot(), held);
    assert_eq!(host.records().len(), 2, "{:?}", host.records());
    host.del_well(&new, "").await;
    host.assert_restored(&before, "");
}

/// Killed when only the way to the record was on disk.
#[tokio::test]
async fn a_way_to_no_record() {
    let host = Host::new(false);
    let before = host.snapshot();
    let pod = host.pod("pod1", "net1");
    host.write_attachment(&pod);
    assert!(host.add(&pod).await.well());
    host.del_well(&pod, "").await;
    host.write_attachment(&pod);
    host.del_well(&pod, "").await;
    host.assert_restored(&before, "");
}

#[tokio::test]
async fn a_held_vf_is_refused_with_the_holders_name() {
    let host = Host::new(false);
    let pod = host.pod("pod1", "eth0");
    assert!(host.add(&pod).await.well());
    let (held, records) = (host.snapshot(), host.records());
    let second = Pod {
        ifname: "net1".to_owned(),
        ..pod.clone()
    };
    let another = host.pod("pod2", "net1");
    for (claim, hint) in [
        (&second, "Multus gives the default network"),
        (&another, "delete that pod first"),
        (&pod, "a repeated ADD needs a DEL first"),
    ] {
        host.plan(Faults::default());
        let message = host.add(claim).await.failure();
        let holder = "VF 0000:03:00.2 is held by pod default/pod1 (eth0 of sandbox 000156789abc)";
        assert!(message.contains(holder) && message.contains(hint), "{message}");
        assert_eq!((host.snapshot(), host.records()), (held.clone(), records.clone()));
    }
    // the DELs that follow the failed ADDs
    host.del_well(&second, "").await;
    host.del_well(&another, "").await;
    host.assert_attached(&pod, "after the DELs of others");
}

/// When it can't be found out whether the holder lives, its VF stays with it.
#[tokio::test]
async fn a_fault_does_not_make_a_holder_dead() {
    for fault in [Fault::Refuse, Fault::Lose, Fault::Kill, Fault::KillAfter] {
        let host = Host::new(false);
        let pod = host.pod("pod1", "net1");
        assert!(host.add(&pod).await.well());
        let (held, records) = (host.snapshot(), host.records());
        let another = host.pod("pod2", "net1");
        for number in 1.. {
            host.plan(Faults::plan(fault, number));
            let ended = host.add(&another).await;
            assert!(!ended.well(), "{fault:?} at call {number}");
            assert_eq!((host.snapshot(), host.records()), (held.clone(), records.clone()));
            if !host.with(|kernel| kernel.faults.hit()) {
                assert!(number > 2, "the holder was not looked for");
                break;
            }
        }
    }
}

/// The runtime made the next pod's namespace at the path of the old one's: the record's identity tells them apart.
#[tokio::test]
async fn a_namespace_at_the_path_of_another() {
    let host = Host::new(true);
    let before = host.snapshot();
    let old = host.pod("old", "net1");
    assert!(host.add(&old).await.well());
    host.destroy(&old);
    let mut new = host.pod("new", "net1");
    new.netns.clone_from(&old.netns);
    host.with(|kernel| kernel.namespaces[new.ns].path = Some(old.netns.clone()));
    let ended = host.add(&new).await;
    assert!(ended.well(), "{ended:?}");
    host.del_well(&old, "late").await;
    host.assert_attached(&new, "after the late DEL");
    host.del_well(&new, "").await;
    host.assert_restored(&before, "");
}

/// An ADD that we gave up goes on in the daemon: it does not find the VF any more, by then the next pod's, and takes
/// away what it has made.
#[tokio::test]
async fn an_add_that_the_daemon_finishes_late() {
    let host = Host::new(false);
    let before = host.snapshot();
    let pod = host.pod("pod1", "net1");
    host.switch(|switches| switches.hold_add = Some(Hold::BeforeMove));
    host.give_up(&pod).await;
    host.switch(|switches| switches.hold_add = None);
    host.del_well(&pod, "").await;
    host.assert_restored(&before, "after DEL");
    host.daemon.go_on.notify_one();
    host.daemon.ended.notified().await;
    host.assert_restored(&before, "after the daemon's ADD");
}

/// The daemon was still waiting for the pod's addresses when it was given up: it reads the VF's name only then, and
/// attaches it to the old pod as long as that has a namespace. The next ADD cleans up after it.
#[tokio::test]
async fn an_add_that_the_daemon_begins_late() {
    for destroyed in [false, true] {
        let host = Host::new(false);
        let pod = host.pod("pod1", "net1");
        host.switch(|switches| switches.hold_add = Some(Hold::AtFirst));
        host.give_up(&pod).await;
        host.switch(|switches| switches.hold_add = None);
        host.del_well(&pod, "").await;
        if destroyed {
            host.destroy(&pod);
        }
        host.daemon.go_on.notify_one();
        host.daemon.ended.notified().await;
        host.with(|kernel| assert_eq!(kernel.ports.is_empty(), destroyed, "{:?}", kernel.ports));
        host.destroy(&pod);
        let next = host.pod("pod2", "net1");
        let ended = host.add(&next).await;
        assert!(ended.well(), "{ended:?}");
        host.assert_attached(&next, "");
        host.del_well(&next, "").await;
        assert!(host.records().is_empty());
    }
}

/// The stock plugin made the attachment: no record tells how the VF was, but the daemon left its name as alias.
#[tokio::test]
async fn a_vf_that_stock_left_in_the_pod_comes_home() {
    for (alias, home) in [("ens1f0v0", "ens1f0v0"), ("p0", "vf"), ("not/a name", "vf"), ("", "vf")] {
        let host = Host::new(false);
        let pod = host.pod("pod1", "eth0");
        assert!(host.add(&pod).await.well());
        host.lose_records();
        host.with(|kernel| {
            let vf = kernel
                .links
                .iter_mut()
                .find(|netdev| netdev.link.index == VF_LINK)
                .unwrap();
            vf.link.alias = alias.to_owned();
        });
        host.del_well(&pod, alias).await;
        host.with(|kernel| {
            let vf = kernel.links.iter().find(|netdev| netdev.link.index == VF_LINK).unwrap();
            assert_eq!((vf.ns, vf.link.up), (HOST, false), "{alias}");
            assert!(
                vf.link.name.as_str().starts_with(home) && vf.link.alias.is_empty(),
                "{:?}",
                vf.link
            );
            assert!(kernel.ports.is_empty() && kernel.admin[&0].is_zero(), "{alias}");
        });
        assert!(host.records().is_empty());
        host.del_well(&pod, "again").await;
    }
}

/// The same, and Multus has lost the device's ID: the interface says which VF it is.
#[tokio::test]
async fn a_vf_that_stock_left_comes_home_by_its_interface() {
    let host = Host::new(false);
    let pod = host.pod("pod1", "eth0");
    assert!(host.add(&pod).await.well());
    host.lose_records();
    host.with(|kernel| {
        let vf = (kernel.links.iter_mut()).find(|netdev| netdev.link.index == VF_LINK);
        vf.unwrap().link.alias = "ens1f0v0".to_owned();
    });
    host.del_well(&Pod { device: "", ..pod }, "").await;
    host.with(|kernel| {
        let vf = kernel.links.iter().find(|netdev| netdev.link.index == VF_LINK).unwrap();
        assert_eq!((vf.ns, vf.link.name.as_str()), (HOST, "ens1f0v0"));
        assert!(kernel.ports.is_empty());
    });
    assert!(host.records().is_empty());
}

/// A tenant has given the interface's name to a VF that another plugin attached: its representor is no port of this sandbox.
#[tokio::test]
async fn a_vf_of_another_network_under_the_interface_s_name_is_not_adopted() {
    let host = Host::new(false);
    let pod = host.pod("pod1", "eth0");
    assert!(host.add(&pod).await.well());
    host.lose_records();
    host.with(|kernel| kernel.rename_in(HOST, REPRESENTOR, "ens1f0_0"));
    let there = place(&host);
    host.del_well(&Pod { device: "", ..pod }, "").await;
    assert_eq!(place(&host), there);
    assert!(host.records().is_empty(), "{:?}", host.records());
}

/// Nobody can be asked to take the port away: such a VF is not taken over, since that could never be finished.
#[tokio::test]
async fn without_a_socket_nothing_is_adopted() {
    let host = Host::new(false);
    let pod = host.pod("pod1", "eth0");
    assert!(host.add(&pod).await.well());
    host.lose_records();
    let held = host.snapshot();
    let ended = host.del_by(&pod, Path::new("")).await;
    assert!(ended.well(), "{ended:?}");
    assert!(host.records().is_empty(), "{:?}", host.records());
    assert_eq!(host.snapshot(), held);
}

/// A tenant writes the NetworkAttachmentDefinition, and so names and providers of any length.
#[tokio::test]
async fn what_makes_no_readable_record_is_refused_before_anything_changes() {
    let host = Host::new(false);
    let before = host.snapshot();
    let pod = Pod {
        name: "p".repeat(70_000),
        ..host.pod("pod1", "eth0")
    };
    let message = host.add(&pod).await.failure();
    assert!(
        message.contains("would have 7") && message.contains("at most 65536"),
        "{message}"
    );
    host.assert_restored(&before, "too long");
    host.del_well(&pod, "too long").await;
    let pod = host.pod("pod2", "eth0");
    assert!(host.add(&pod).await.well(), "the VF is free");
    host.del_well(&pod, "").await;
    host.assert_restored(&before, "");
}

/// Stdin names a VF that is not in the pod, or is another pod's: a DEL without a record touches neither.
#[tokio::test]
async fn a_vf_that_is_not_in_the_pod_is_not_adopted() {
    let host = Host::new(false);
    let before = host.snapshot();
    let holder = host.pod("pod1", "eth0");
    let stranger = host.pod("pod2", "eth0");
    host.del_well(&stranger, "VF in the host").await;
    host.assert_restored(&before, "VF in the host");
    assert!(host.add(&holder).await.well());
    let held = host.snapshot();
    host.del_well(&stranger, "VF in another pod").await;
    assert_eq!(host.snapshot(), held);
    host.assert_attached(&holder, "after the stranger's DEL");
    host.lose_records();
    host.with(|kernel| {
        let veth = kernel
            .links
            .iter_mut()
            .find(|netdev| netdev.link.index == VF_LINK)
            .unwrap();
        veth.link.name = name("renamed");
    });
    let renamed = host.snapshot();
    host.del_well(&stranger, "VF in another pod, no record").await;
    assert_eq!(host.snapshot(), renamed);
}
