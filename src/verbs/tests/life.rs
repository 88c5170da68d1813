//! Callers that are gone, daemons that come late, and what is left for later calls.

use std::time::{Duration, Instant};

use super::{MODES, attached, place};
use crate::node::Deadlines;
use crate::verbs::fake::versions::version;
use crate::verbs::fake::{Ended, FailAdd, Faults, HOST, Hold, Host, VF};

#[tokio::test]
async fn a_result_that_nobody_gets_is_undone() {
    for mode in MODES {
        let host = Host::new(mode);
        let before = host.snapshot();
        let pod = host.pod("pod1", "net1");
        *host.full_pipe.lock().unwrap() = true;
        let message = host.add(&pod).await.failure();
        assert!(message.contains("can't be given to the caller"), "{message}");
        host.assert_restored(&before, "");
    }
}

/// Multus was killed: the pipe for the result has no reader any more, and the daemon still works.
#[tokio::test]
async fn an_add_ends_with_its_caller() {
    for hold in [Hold::AtFirst, Hold::BeforeMove] {
        let host = Host::new(false);
        let before = host.snapshot();
        let pod = host.pod("pod1", "net1");
        *host.late_daemon.lock().unwrap() = Duration::from_secs(60);
        host.switch(|switches| switches.hold_add = Some(hold));
        let leave = async {
            host.daemon.is_asked().await;
            *host.deaf.lock().unwrap() = true;
        };
        let (ended, ()) = tokio::join!(host.add(&pod), leave);
        let message = ended.failure();
        assert!(message.contains("its caller has closed the pipe"), "{message}");
        assert_eq!(host.snapshot(), before);
        host.go_on().await;
        assert!(host.state("pending").join(VF).exists(), "the daemon may still come");
        *host.late_daemon.lock().unwrap() = Duration::ZERO;
        host.go_on_to_the_end().await;
        host.assert_restored(&before, "");
    }
}

#[tokio::test]
async fn a_del_ends_an_add_that_is_still_running() {
    for mode in MODES {
        for hold in [Hold::AtFirst, Hold::BeforeMove] {
            let host = Host::new(mode);
            let before = host.snapshot();
            let pod = host.pod("pod1", "net1");
            *host.late_daemon.lock().unwrap() = Duration::from_secs(60);
            host.switch(|switches| switches.hold_add = Some(hold));
            let del = async {
                host.daemon.is_asked().await;
                host.switch(|switches| switches.hold_add = None);
                host.del(&pod).await
            };
            let start = Instant::now();
            let (added, deleted) = tokio::join!(host.add(&pod), del);
            let message = added.failure();
            assert!(message.contains("a DEL for it has come meanwhile"), "{message}");
            assert!(deleted.well(), "{deleted:?}");
            assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
            assert_eq!(host.snapshot(), before);
            // what the daemon does then finds nothing under the attempt's name
            host.daemon.go_on.notify_one();
            host.daemon.ended.notified().await;
            *host.late_daemon.lock().unwrap() = Duration::ZERO;
            host.go_on_to_the_end().await;
            host.assert_restored(&before, "after the daemon's ADD");
        }
    }
}

/// The mark of a DEL is for what ran then, not for the next attempt of the same sandbox.
#[tokio::test]
async fn an_add_after_a_del_is_not_cancelled() {
    let host = Host::new(true);
    let before = host.snapshot();
    let pod = host.pod("pod1", "net1");
    for _ in 0..2 {
        host.del_well(&pod, "").await;
        let ended = host.add(&pod).await;
        assert!(ended.well(), "{ended:?}");
    }
    host.del_well(&pod, "").await;
    host.assert_restored(&before, "");
}

/// The daemon goes on with an ADD that was given up, and a new pod wants the VF: the new one waits until the daemon can't
/// begin any more.
#[tokio::test]
async fn a_daemon_that_comes_late_does_not_meet_the_next_pod() {
    let host = Host::new(false);
    let before = host.snapshot();
    *host.late_daemon.lock().unwrap() = Duration::from_millis(1500);
    let old = host.pod("old", "net1");
    host.switch(|switches| switches.hold_add = Some(Hold::AtFirst));
    let asked = Instant::now();
    host.give_up(&old).await;
    host.del_well(&old, "").await;
    host.destroy(&old);
    host.switch(|switches| switches.hold_add = None);
    let new = host.pod("new", "net1");
    let late = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        host.daemon.go_on.notify_one();
        host.daemon.ended.notified().await;
    };
    let (ended, ()) = tokio::join!(host.add(&new), late);
    assert!(ended.well(), "{ended:?}");
    assert!(asked.elapsed() >= Duration::from_millis(1500), "{:?}", asked.elapsed());
    host.assert_attached(&new, "");
    host.del_well(&new, "").await;
    host.assert_restored(&before, "");
}

#[tokio::test]
async fn a_new_pod_does_not_wait_for_ever_for_a_late_daemon() {
    let host = Host::new(false);
    *host.late_daemon.lock().unwrap() = Duration::from_secs(40);
    let old = host.pod("old", "net1");
    host.switch(|switches| switches.hold_add = Some(Hold::AtFirst));
    host.give_up(&old).await;
    host.del_well(&old, "").await;
    let (before, records) = (host.snapshot(), host.records());
    host.deadlines.lock().unwrap().add = Duration::from_secs(1);
    let message = host.add(&host.pod("new", "net1")).await.failure();
    assert!(
        message.contains("has never answered an ADD of VF 0000:03:00.2 for pod default/old"),
        "{message}"
    );
    assert_eq!((host.snapshot(), host.records()), (before, records));
}

/// Neither the daemon nor OVSDB: the VF is home, the port is noted, and any later call takes it away.
#[tokio::test]
async fn what_can_t_be_given_back_now_is_given_back_later() {
    for mode in MODES {
        let (host, before, pod) = attached(mode, "net1").await;
        host.stop_ovsdb();
        host.switch(|switches| switches.fail_del = true);
        let ended = host.del(&pod).await;
        let Ended::Badly(failure) = &ended else {
            panic!("{ended:?}")
        };
        assert_eq!(failure.code as u16, 11, "{failure}");
        assert_eq!(place(&host), (HOST, "ens1f0v0".to_owned()));
        assert!(host.state("pending").join(VF).exists());
        host.go_on().await;
        assert_eq!(host.records().len(), 2, "still down");
        host.switch(|switches| switches.fail_del = false);
        host.go_on_to_the_end().await;
        host.assert_restored(&before, "");
        host.del_well(&pod, "again").await;
    }
}

/// The record of a pod that has ended does not keep the next pod from the VF, though the old one's namespace is alive.
#[tokio::test]
async fn an_ended_holder_is_no_holder() {
    let (host, before, pod) = attached(false, "net1").await;
    host.stop_ovsdb();
    host.switch(|switches| switches.fail_del = true);
    assert!(!host.del(&pod).await.well());
    host.switch(|switches| switches.fail_del = false);
    let next = host.pod("pod2", "net1");
    let ended = host.add(&next).await;
    assert!(ended.well(), "{ended:?}");
    host.assert_attached(&next, "");
    host.go_on().await;
    host.assert_attached(&next, "after a look at what is pending");
    host.del_well(&pod, "late").await;
    host.assert_attached(&next, "after the late DEL");
    host.del_well(&next, "").await;
    host.assert_restored(&before, "");
}

/// The daemon says yes to DEL and does nothing: up to v1.12 for a pod that is gone.
fn does_nothing(host: &Host) {
    host.switch(|switches| {
        switches.version = version("v1.12.35").unwrap();
        switches.pod_gone = true;
    });
}

#[tokio::test]
async fn the_port_goes_without_the_daemon() {
    for mode in MODES {
        // it fails; it says yes and does nothing
        for idle in [false, true] {
            let (host, before, pod) = attached(mode, "net1").await;
            if idle {
                does_nothing(&host);
            } else {
                host.switch(|switches| switches.fail_del = true);
            }
            host.del_well(&pod, "").await;
            host.assert_restored(&before, "");
        }
    }
}

/// The representor has gone with the PF's driver, so only OVSDB tells whether the port has.
#[tokio::test]
async fn a_port_without_a_representor_goes_too() {
    let (host, _, pod) = attached(false, "net1").await;
    host.with(|kernel| kernel.unplug(|netdev| netdev.port.is_some()));
    does_nothing(&host);
    host.del_well(&pod, "").await;
    host.with(|kernel| assert!(kernel.ports.is_empty(), "{:?}", kernel.ports));
    assert!(host.records().is_empty());
}

#[tokio::test]
async fn a_port_of_another_is_left_alone() {
    let (host, _, pod) = attached(false, "net1").await;
    host.with(|kernel| {
        let ids = kernel.port_ids.values_mut().next().unwrap();
        ids.insert("pod_netns".to_owned(), "/var/run/netns/another".to_owned());
    });
    host.switch(|switches| switches.fail_del = true);
    let message = host.del(&pod).await.failure();
    assert!(message.contains("is still a port of an OVS bridge"), "{message}");
    host.with(|kernel| assert_eq!(kernel.ports.len(), 1));
    assert_eq!(host.records().len(), 2);
}

/// The pod was given a new sandbox, with another VF, before the old one's DEL came.
#[tokio::test]
async fn the_egress_route_of_a_newer_sandbox_stays() {
    for newer in [false, true] {
        let (host, before, pod) = attached(false, "net1").await;
        if newer {
            let record = std::fs::read_to_string(host.state(&format!("vf/{VF}.json"))).unwrap();
            let other = record
                .replace(VF, "0000:03:00.3")
                .replace(&pod.container, "fedcba9876543210");
            std::fs::write(host.state("vf/0000:03:00.3.json"), other).unwrap();
        }
        host.del_well(&pod, "").await;
        let requests = host.daemon.requests.lock().unwrap();
        let provider = requests.last().unwrap().body["provider"].as_str().unwrap();
        assert_eq!(provider, if newer { "none" } else { "sriov.default.ovn" });
        assert_eq!(host.snapshot(), before);
    }
}

/// Cut off, of no version, or a later one's: neither DEL nor the VF's next pod is kept from its work.
#[tokio::test]
async fn a_record_that_can_t_be_understood() {
    for content in ["", "{}", "garbage", "{\"format\": 99, \"stage\": \"unheard of\"}"] {
        for del_comes in [false, true] {
            let (host, _, pod) = attached(false, "net1").await;
            std::fs::write(host.state(&format!("vf/{VF}.json")), content).unwrap();
            if del_comes {
                host.del_well(&pod, content).await;
            } else {
                host.destroy(&pod);
            }
            let next = host.pod("pod2", "net1");
            let ended = host.add(&next).await;
            assert!(ended.well(), "{content:?}, {del_comes}: {ended:?}");
            host.assert_attached(&next, content);
            host.del_well(&pod, "late").await;
            host.assert_attached(&next, content);
            host.del_well(&next, content).await;
            host.with(|kernel| assert!(kernel.ports.is_empty(), "{:?}", kernel.ports));
        }
    }
}

/// After a reboot /run is empty, and so is the host: a DEL of before finds nothing to do.
#[tokio::test]
async fn a_del_of_before_the_reboot() {
    let host = Host::new(false);
    let before = host.snapshot();
    let mut pod = host.pod("pod1", "net1");
    pod.netns = "/var/run/netns/of-before".into();
    for _ in 0..2 {
        host.del_well(&pod, "").await;
        host.assert_restored(&before, "");
    }
}

/// The daemon's answer comes too late for the call: what it did is undone in the time that is kept for that.
#[tokio::test]
async fn a_call_ends_in_time() {
    let host = Host::new(false);
    let before = host.snapshot();
    let pod = host.pod("pod1", "net1");
    *host.deadlines.lock().unwrap() = Deadlines {
        add: Duration::from_secs(7),
        undo: Duration::from_millis(6500),
        ..Deadlines::default()
    };
    host.switch(|switches| switches.hold_add = Some(Hold::BeforeMove));
    let start = Instant::now();
    let message = host.add(&pod).await.failure();
    assert!(message.contains("gave no reply to ADD"), "{message}");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    host.assert_restored(&before, "");
    host.switch(|switches| (switches.hold_add, switches.fail_add) = (None, Some(FailAdd::BeforeMove)));
    host.plan(Faults::default());
    assert!(!host.add(&pod).await.well());
    host.assert_restored(&before, "");
}
