//! What GC gives back, and what it must not touch.

use super::{MODES, attached};
use crate::verbs::fake::{Fault, Faults, Hold, Host, Pod, VF};
use crate::verbs::gc::{Fate, sweep_one};

const NETWORK: &str = "kube-ovn";

#[tokio::test]
async fn a_dead_attachment_that_nobody_lists() {
    for mode in MODES {
        let (host, before, pod) = attached(mode, "net1").await;
        host.destroy(&pod);
        let another = host.pod("pod2", "net1");
        let ended = host.gc(NETWORK, &[&another]).await;
        assert!(ended.well(), "{ended:?}");
        host.assert_restored(&before, "");
        assert!(host.gc(NETWORK, &[]).await.well());
        host.del_well(&pod, "late").await;
        host.assert_restored(&before, "");
    }
}

/// An ADD was killed after it had written the way to its record, and before the record; a DEL when it had dropped all but the mark.
#[tokio::test]
async fn a_way_that_leads_nowhere() {
    let (host, before, pod) = attached(false, "net1").await;
    let stray = host.state("attachment/fedcba9876543210:net1");
    std::fs::write(&stray, VF).unwrap();
    assert!(host.gc(NETWORK, &[&pod]).await.well());
    assert!(!stray.exists());
    host.assert_attached(&pod, "");
    host.del_well(&pod, "").await;
    std::fs::write(&stray, VF).unwrap();
    let mark = host.state(&format!("pending/{VF}"));
    std::fs::write(&mark, "").unwrap();
    assert!(host.gc(NETWORK, &[]).await.well());
    assert!(!mark.exists());
    host.assert_restored(&before, "");
}

/// A DEL was killed after it had dropped the way to the record, and before the record.
#[tokio::test]
async fn a_record_without_a_way() {
    let (host, before, pod) = attached(false, "net1").await;
    std::fs::remove_dir_all(host.state("attachment")).unwrap();
    host.destroy(&pod);
    assert!(host.gc(NETWORK, &[]).await.well());
    host.assert_restored(&before, "");
}

/// Each single sign of life is enough.
#[tokio::test]
async fn what_may_be_alive_is_left_alone() {
    let (host, _, pod) = attached(false, "net1").await;
    let (held, records) = (host.snapshot(), host.records());
    let check = async |network: &str, valid: &[&Pod], context: &str| {
        let ended = host.gc(network, valid).await;
        assert!(ended.well(), "{context}: {ended:?}");
        assert_eq!(
            (host.snapshot(), host.records()),
            (held.clone(), records.clone()),
            "{context}"
        );
    };
    check(NETWORK, &[], "its namespace is there").await;
    host.with(|kernel| kernel.destroy(pod.ns));
    check(NETWORK, &[&pod], "it is listed").await;
    check("another", &[], "it is another network's").await;
    host.with(|kernel| kernel.host_mounts = false);
    check(NETWORK, &[], "we don't see the host's mounts").await;
    host.with(|kernel| kernel.host_mounts = true);
    let lock = host.lock().await;
    check(NETWORK, &[], "a call works on it").await;
    drop(lock);
}

/// The VF of a virtual machine is always in the host: that proves nothing.
#[tokio::test]
async fn a_machine_that_lives_and_one_that_does_not() {
    for mode in MODES {
        let host = Host::new(mode);
        host.with(|kernel| kernel.bind_vfio("vfio-pci"));
        let before = host.snapshot();
        let pod = host.pod("vm1", "net1");
        assert!(host.add(&pod).await.well());
        let (held, records) = (host.snapshot(), host.records());
        assert!(host.gc(NETWORK, &[]).await.well());
        assert_eq!((host.snapshot(), host.records()), (held, records));
        host.destroy(&pod);
        assert!(host.gc(NETWORK, &[]).await.well());
        host.assert_restored(&before, "");
    }
}

/// The namespace at its path is another one.
#[tokio::test]
async fn a_namespace_that_was_replaced() {
    let (host, before, pod) = attached(false, "net1").await;
    host.destroy(&pod);
    let next = host.pod("pod2", "net1");
    host.with(|kernel| kernel.namespaces[next.ns].path = Some(pod.netns.clone()));
    assert!(host.gc(NETWORK, &[]).await.well());
    host.assert_restored(&before, "");
}

#[tokio::test]
async fn during_an_add() {
    for hold in [Hold::AtFirst, Hold::BeforeMove] {
        let host = Host::new(false);
        let pod = host.pod("pod1", "net1");
        host.switch(|switches| switches.hold_add = Some(hold));
        let gc = async {
            host.daemon.is_asked().await;
            let ended = host.gc(NETWORK, &[]).await;
            assert!(ended.well(), "{ended:?}");
            host.daemon.go_on.notify_one();
        };
        let (ended, ()) = tokio::join!(host.add(&pod), gc);
        assert!(ended.well(), "{ended:?}");
        host.assert_attached(&pod, "");
    }
}

/// What a DEL could not finish is finished, alive or not; and a failure is reported.
#[tokio::test]
async fn what_has_ended_goes_on() {
    let (host, before, pod) = attached(false, "net1").await;
    host.stop_ovsdb();
    host.switch(|switches| switches.fail_del = true);
    assert!(!host.del(&pod).await.well());
    let message = host.gc(NETWORK, &[&pod]).await.failure();
    assert!(
        message.contains("1 attachments of network kube-ovn could not be given back") && message.contains(VF),
        "{message}"
    );
    host.switch(|switches| switches.fail_del = false);
    assert!(host.gc(NETWORK, &[&pod]).await.well());
    host.assert_restored(&before, "");
}

/// A record that says nothing is nobody's: GC leaves it, and is not kept from the others.
#[tokio::test]
async fn an_unreadable_record() {
    let (host, before, pod) = attached(false, "net1").await;
    std::fs::write(host.state("vf/0000:03:00.3.json"), "garbage").unwrap();
    host.destroy(&pod);
    assert!(host.gc(NETWORK, &[]).await.well());
    assert_eq!(host.snapshot(), before);
    assert_eq!(host.records(), ["0000:03:00.3.json"]);
}

#[tokio::test]
async fn any_fault_in_gc() {
    for fault in [
        Fault::Refuse,
        Fault::Lose,
        Fault::FullDisk,
        Fault::Kill,
        Fault::KillAfter,
    ] {
        for number in 1.. {
            let (host, before, pod) = attached(number % 2 == 0, "net1").await;
            host.destroy(&pod);
            host.plan(Faults::plan(fault, number));
            host.gc(NETWORK, &[]).await;
            let (hit, context) = host.with(|kernel| (kernel.faults.hit(), kernel.faults.last_call()));
            host.plan(Faults::default());
            host.clear_disk();
            let ended = host.gc(NETWORK, &[]).await;
            assert!(ended.well(), "{context}: {ended:?}");
            host.assert_restored(&before, &context);
            if !hit {
                assert!(number > 8, "{context}");
                break;
            }
        }
    }
}

/// The operator's `gc` goes by the same rules, with no list and for any network.
#[tokio::test]
async fn swept_by_the_operator() {
    let (host, before, pod) = attached(false, "net1").await;
    let held = (host.snapshot(), host.records());
    let sweep = async || {
        sweep_one(&host.world(), &VF.parse().unwrap())
            .await
            .unwrap()
            .map(|swept| swept.fate)
    };
    assert_eq!(sweep().await, None, "its namespace is there");
    host.with(|kernel| kernel.destroy(pod.ns));
    host.with(|kernel| kernel.host_mounts = false);
    assert_eq!(sweep().await, None, "we don't see the host's mounts");
    host.with(|kernel| kernel.host_mounts = true);
    let lock = host.lock().await;
    assert_eq!(sweep().await, None, "a call works on it");
    drop(lock);
    assert_eq!(host.records(), held.1);
    host.with(|kernel| kernel.refund(pod.ns));
    assert_eq!(sweep().await, Some(Fate::GivenBack));
    host.assert_restored(&before, "");
    assert_eq!(sweep().await, None, "no record");
}
