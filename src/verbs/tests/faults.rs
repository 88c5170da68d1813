//! Every call of ADD and of DEL fails once, or is the last one of its process.

use super::{MODES, attached};
use crate::verbs::fake::versions::{VERSIONS, Version};
use crate::verbs::fake::{Ended, FailAdd, Fault, Faults, Host, Release};

/// More calls than any process makes.
const ENOUGH: usize = 200;

/// The daemons from v1.13 on, of those that do the same to the host one, and HEAD with the extension.
fn daemons() -> Vec<Release> {
    let acts = |version: &Version| {
        (
            version.shape,
            version.tells_mtu,
            version.representor_up_early,
            version.rollback,
            (version.del_needs_pod, version.del_needs_netns),
        )
    };
    let mut releases: Vec<Release> = Vec::new();
    for version in VERSIONS.into_iter().skip_while(|version| version.name != "v1.13.15") {
        if !releases.iter().any(|known| acts(known.version) == acts(version)) {
            releases.push(Release {
                version,
                attach_only: false,
            });
        }
    }
    releases.push(true.into());
    releases
}

/// Runs `scenario` with the fault at the first call, at the second, and so on, until it says that it did not come.
/// Each daemon in a thread of its own: what takes time is the waiting for what does not come.
#[expect(clippy::unused_async, reason = "the tests are")]
async fn at_every_call(faults: &[Fault], scenario: impl AsyncFn(Release, Fault, usize) -> bool + Sync) {
    let scenario = &scenario;
    let run = |release: Release| async move {
        for fault in faults {
            let mut number = 1;
            while scenario(release, *fault, number).await {
                number += 1;
                assert!(number < ENOUGH, "no end of calls");
            }
            assert!(number > 10, "only {number} calls were counted");
        }
    };
    std::thread::scope(|threads| {
        for release in daemons() {
            threads.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(run(release));
            });
        }
    });
}

/// A process that is to go wrong; whether it did, and where.
fn report(host: &Host, daemon: Release) -> (bool, String) {
    let Release { version, attach_only } = daemon;
    host.with(|kernel| {
        let call = kernel.faults.last_call();
        (
            kernel.faults.hit(),
            format!("daemon {}, attach-only {attach_only}, {call}", version.name),
        )
    })
}

#[tokio::test]
async fn add_then_del_and_del_again() {
    for attach_only in MODES {
        for ifname in ["eth0", "net1"] {
            let host = Host::new(attach_only);
            let before = host.snapshot();
            let pod = host.pod("pod1", ifname);
            assert!(host.add(&pod).await.well());
            host.assert_attached(&pod, ifname);
            for _ in 0..2 {
                host.del_well(&pod, ifname).await;
                host.assert_restored(&before, ifname);
            }
        }
    }
}

#[tokio::test]
async fn old_and_new_kernels_and_udev() {
    for (live_rename, tells_parent, udev) in [(true, true, false), (false, false, false), (false, true, true)] {
        for attach_only in MODES {
            let host = Host::new(attach_only);
            host.with(|kernel| {
                kernel.live_rename = live_rename;
                kernel.tells_parent = tells_parent;
                kernel.udev = udev;
            });
            let before = host.snapshot();
            let pod = host.pod("pod1", "net1");
            let ended = host.add(&pod).await;
            assert!(ended.well(), "{ended:?}");
            host.del_well(&pod, "").await;
            host.assert_restored(&before, &format!("{live_rename} {tells_parent} {udev}"));
        }
    }
}

#[tokio::test]
async fn one_fault_in_add() {
    at_every_call(
        &[Fault::Refuse, Fault::Lose, Fault::FullDisk],
        async |mode, fault, number| {
            let host = Host::new(mode);
            let before = host.snapshot();
            let pod = host.pod("pod1", "net1");
            host.plan(Faults::plan(fault, number));
            let ended = host.add(&pod).await;
            let (hit, context) = report(&host, mode);
            match ended {
                Ended::Well => {
                    host.assert_attached(&pod, &context);
                    host.del_well(&pod, &context).await;
                }
                ref failed => assert!(hit, "{context}: {failed:?}"),
            }
            host.assert_restored(&before, &format!("{context}: {ended:?}"));
            hit
        },
    )
    .await;
}

/// The way back of an ADD that the daemon fails meets a fault as well: then the record stays for DEL.
#[tokio::test]
async fn one_fault_in_an_add_that_fails() {
    for fail in [
        FailAdd::BeforeMove,
        FailAdd::AfterMove,
        FailAdd::AtGatewayCheck,
        FailAdd::AtTheEnd,
    ] {
        at_every_call(
            &[Fault::Refuse, Fault::Lose, Fault::Kill],
            async |mode, fault, number| {
                let host = Host::new(mode);
                host.switch(|switches| switches.fail_add = Some(fail));
                // the attach-only daemon fails before it would move anything
                if mode.attach_only && fail != FailAdd::BeforeMove {
                    host.switch(|switches| switches.attach_only = false);
                }
                let before = host.snapshot();
                let pod = host.pod("pod1", "net1");
                host.plan(Faults::plan(fault, number));
                let ended = host.add(&pod).await;
                let (hit, context) = report(&host, mode);
                let context = format!("daemon fails {fail:?}, {context}");
                assert!(!ended.well(), "{context}");
                if !hit {
                    host.assert_restored(&before, &context);
                }
                host.del_well(&pod, &context).await;
                host.assert_restored(&before, &context);
                hit
            },
        )
        .await;
    }
}

#[tokio::test]
async fn killed_in_add_then_del() {
    at_every_call(&[Fault::Kill, Fault::KillAfter], async |mode, fault, number| {
        let host = Host::new(mode);
        let before = host.snapshot();
        let pod = host.pod("pod1", "net1");
        host.plan(Faults::plan(fault, number));
        let ended = host.add(&pod).await;
        let (hit, context) = report(&host, mode);
        assert_eq!(hit, matches!(ended, Ended::Killed), "{context}: {ended:?}");
        host.del_well(&pod, &context).await;
        host.assert_restored(&before, &context);
        hit
    })
    .await;
}

/// No DEL ever comes: the pod's namespace is destroyed, and another pod gets the VF.
#[tokio::test]
async fn killed_in_add_then_another_pod() {
    at_every_call(&[Fault::Kill, Fault::KillAfter], async |mode, fault, number| {
        let host = Host::new(mode);
        let before = host.snapshot();
        let pod = host.pod("pod1", "net1");
        host.plan(Faults::plan(fault, number));
        host.add(&pod).await;
        let (hit, context) = report(&host, mode);
        host.plan(Faults::default());
        host.destroy(&pod);
        let next = host.pod("pod2", "net1");
        let ended = host.add(&next).await;
        assert!(ended.well(), "{context}: {ended:?}");
        host.assert_attached(&next, &context);
        host.del_well(&pod, &context).await;
        host.assert_attached(&next, &context);
        host.del_well(&next, &context).await;
        host.assert_restored(&before, &context);
        hit
    })
    .await;
}

#[tokio::test]
async fn any_fault_in_del() {
    let faults = [Fault::Refuse, Fault::Lose, Fault::Kill, Fault::KillAfter];
    at_every_call(&faults, async |mode, fault, number| {
        let (host, before, pod) = attached(mode, "net1").await;
        host.plan(Faults::plan(fault, number));
        let ended = host.del(&pod).await;
        let (hit, context) = report(&host, mode);
        if ended.well() {
            host.assert_restored(&before, &context);
        } else {
            assert!(hit, "{context}: {ended:?}");
        }
        host.del_well(&pod, &context).await;
        host.assert_restored(&before, &context);
        hit
    })
    .await;
}

/// The next pod's ADD finds the dead one's record and meets a fault while it ends that attachment.
#[tokio::test]
async fn any_fault_in_ending_a_dead_holder() {
    let faults = [Fault::Refuse, Fault::Lose, Fault::Kill, Fault::KillAfter];
    at_every_call(&faults, async |mode, fault, number| {
        let (host, before, pod) = attached(mode, "net1").await;
        host.destroy(&pod);
        let next = host.pod("pod2", "net1");
        host.plan(Faults::plan(fault, number));
        let ended = host.add(&next).await;
        let (hit, context) = report(&host, mode);
        assert!(hit || ended.well(), "{context}: {ended:?}");
        host.del_well(&next, &context).await;
        host.del_well(&pod, &context).await;
        host.assert_restored(&before, &context);
        hit
    })
    .await;
}

/// The same where names are scarce: the host has a link that is named like the pod's interface, and udev gives every
/// renamed link its name back as an alternative one.
#[tokio::test]
async fn any_fault_where_names_clash() {
    let faults = [Fault::Refuse, Fault::Lose, Fault::Kill, Fault::KillAfter];
    for in_del in [false, true] {
        at_every_call(&faults, async |mode, fault, number| {
            let host = Host::new(mode);
            host.with(|kernel| {
                kernel.plug(50, "eth0", None, None);
                kernel.udev = true;
                kernel.live_rename = number % 2 == 0;
            });
            let before = host.snapshot();
            let pod = host.pod("pod1", "eth0");
            if in_del {
                assert!(host.add(&pod).await.well());
            }
            host.plan(Faults::plan(fault, number));
            let ended = if in_del {
                host.del(&pod).await
            } else {
                host.add(&pod).await
            };
            let (hit, context) = report(&host, mode);
            assert!(hit || ended.well(), "{context}: {ended:?}");
            host.del_well(&pod, &context).await;
            host.assert_restored(&before, &context);
            hit
        })
        .await;
    }
}
