//! The host has changed under us.

use std::time::Duration;

use super::{MODES, attached, is_vf, place};
use crate::net::EswitchMode;
use crate::verbs::fake::{Ended, Faults, HOST, Host, OTHER_VF, PF, Pod, REPRESENTOR, VF, VF_LINK};

#[tokio::test]
async fn namespace_destroyed_before_del() {
    for mode in MODES {
        for late in [false, true] {
            let (host, before, pod) = attached(mode, "net1").await;
            host.with(|kernel| kernel.destroy(pod.ns));
            let refund = async {
                if late {
                    tokio::time::sleep(Duration::from_millis(70)).await;
                }
                host.with(|kernel| kernel.refund(pod.ns));
            };
            if late {
                let ended = tokio::join!(host.del(&pod), refund).0;
                assert!(ended.well(), "{ended:?}");
            } else {
                refund.await;
                host.del_well(&pod, "").await;
            }
            host.assert_restored(&before, &format!("late {late}"));
        }
    }
}

/// The path of ADD is gone, but DEL knows another one to the same namespace.
#[tokio::test]
async fn namespace_at_another_path_in_del() {
    let (host, before, mut pod) = attached(false, "net1").await;
    pod.netns = "/proc/77/ns/net".into();
    host.with(|kernel| kernel.namespaces[pod.ns].path = Some(pod.netns.clone()));
    host.del_well(&pod, "").await;
    host.assert_restored(&before, "");
}

/// Something holds the dead namespace: DEL fails, and the next one goes on.
#[tokio::test]
async fn namespace_that_stays_for_long() {
    let (host, before, pod) = attached(false, "net1").await;
    host.with(|kernel| kernel.destroy(pod.ns));
    let message = host.del(&pod).await.failure();
    assert!(
        message.contains("no netdev in the host's network namespace"),
        "{message}"
    );
    assert_eq!(host.records().len(), 2);
    host.with(|kernel| assert!(kernel.ports.is_empty(), "the port goes all the same"));
    host.with(|kernel| kernel.refund(pod.ns));
    host.del_well(&pod, "").await;
    host.assert_restored(&before, "");
}

/// The kernel brings the VF home as `dev20`, and the name that it had in the pod is another link's.
#[tokio::test]
async fn names_of_the_host_and_of_the_pod_clash() {
    for mode in MODES {
        let host = Host::new(mode);
        host.with(|kernel| kernel.plug(50, "eth0", None, None));
        let before = host.snapshot();
        let pod = host.pod("pod1", "eth0");
        assert!(host.add(&pod).await.well());
        host.destroy(&pod);
        assert_eq!(place(&host), (HOST, "dev20".to_owned()));
        host.del_well(&pod, "").await;
        host.assert_restored(&before, "");
        let pod = host.pod("pod1", "eth0");
        assert!(host.add(&pod).await.well());
        host.del_well(&pod, "").await;
        host.assert_restored(&before, "");
    }
}

#[tokio::test]
async fn vf_named_like_the_pods_interface() {
    for mode in MODES {
        let host = Host::new(mode);
        host.with(|kernel| kernel.rename_in(HOST, VF_LINK, "net1"));
        let before = host.snapshot();
        let pod = host.pod("pod1", "net1");
        let ended = host.add(&pod).await;
        assert!(ended.well(), "{ended:?}");
        host.assert_attached(&pod, "");
        host.del_well(&pod, "").await;
        host.assert_restored(&before, "");
    }
}

/// Another link has the VF's old name: the VF comes home under a name that no pod has.
#[tokio::test]
async fn old_name_taken_in_the_host() {
    // with a link in the host that is named like the pod's interface, and without
    for (mode, clash, destroyed) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (false, false, true),
        (false, true, true),
    ] {
        let (host, _, pod) = attached(mode, "net1").await;
        host.with(|kernel| {
            kernel.plug(50, "ens1f0v0", None, None);
            if clash {
                kernel.plug(51, "net1", None, None);
            }
            if destroyed {
                kernel.destroy(pod.ns);
                kernel.refund(pod.ns);
            }
        });
        host.del_well(&pod, &format!("attach-only {mode}, clash {clash}")).await;
        assert!(host.records().is_empty());
        let (ns, now) = place(&host);
        assert_eq!(ns, HOST);
        assert!(now != pod.ifname && now != "ens1f0v0", "{now}");
        // it is as good as any other for the next pod
        let next = host.pod("pod2", "eth0");
        let ended = host.add(&next).await;
        assert!(ended.well(), "{ended:?}");
        host.del_well(&next, "").await;
        assert_eq!(place(&host), (HOST, now));
    }
}

/// udev gave the renamed VF its old name as an alternative one, and then another link took that name: as long as the VF
/// has it too, the kernel does not let it into the host.
#[tokio::test]
async fn alternative_name_taken_in_the_host() {
    for mode in MODES {
        let host = Host::new(mode);
        host.with(|kernel| kernel.udev = true);
        let pod = host.pod("pod1", "net1");
        assert!(host.add(&pod).await.well());
        host.with(|kernel| {
            let vf = kernel.links.iter().find(|netdev| is_vf(netdev)).unwrap();
            assert_eq!(vf.link.alt_names, ["ens1f0v0"]);
            kernel.plug(50, "ens1f0v0", None, None);
        });
        host.del_well(&pod, "").await;
        assert!(host.records().is_empty());
        assert_eq!(place(&host).0, HOST);
    }
}

/// The VF's netdev has gone for good, or the VF, or all VFs with the PF's driver.
#[tokio::test]
async fn vf_or_pf_gone_before_del() {
    for mode in MODES {
        let (host, before, pod) = attached(mode, "net1").await;
        host.with(|kernel| kernel.unplug_function(VF));
        host.del_well(&pod, "VF").await;
        let without_vf = |text: &str| {
            text.lines()
                .filter(|line| !line.contains(" 20 "))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let admin = |text: &str| text.split("\nadmin").next().unwrap().to_owned();
        assert_eq!(
            admin(&host.snapshot()),
            admin(&without_vf(&before)),
            "its representor is left"
        );
        assert!(host.records().is_empty());

        let (host, _, pod) = attached(mode, "net1").await;
        host.with(|kernel| [VF, OTHER_VF, PF].map(|function| kernel.unplug_function(function)));
        host.del_well(&pod, "PF").await;
        assert!(host.records().is_empty());
        host.with(|kernel| assert!(kernel.ports.is_empty()));

        let (host, _, pod) = attached(mode, "net1").await;
        host.with(|kernel| kernel.unplug(|netdev| netdev.link.parent.as_deref() == Some(PF)));
        host.del_well(&pod, "PF's netdevs").await;
        assert!(host.records().is_empty());
        assert_eq!(place(&host), (HOST, "ens1f0v0".to_owned()));
        host.with(|kernel| assert!(kernel.ports.is_empty()));
    }
}

#[tokio::test]
async fn legacy_mode_before_del_and_before_add() {
    for mode in MODES {
        let (host, before, pod) = attached(mode, "net1").await;
        host.with(|kernel| {
            kernel.mode = EswitchMode::Legacy;
            kernel.unplug(|netdev| netdev.link.name.as_str().contains('_'));
        });
        host.del_well(&pod, "").await;
        assert!(host.records().is_empty());
        assert_eq!(place(&host), (HOST, "ens1f0v0".to_owned()));
        let admin = |text: &str| text.split("\nadmin").nth(1).unwrap().to_owned();
        assert_eq!(admin(&host.snapshot()), admin(&before));
        let message = host.add(&host.pod("pod2", "net1")).await.failure();
        assert!(
            message.contains("is in legacy mode, offload needs switchdev"),
            "{message}"
        );
        assert!(host.records().is_empty());
    }
}

/// The representor was made anew meanwhile: it is not touched but for being set down, and the port goes.
#[tokio::test]
async fn representor_made_anew_before_del() {
    let (host, _, pod) = attached(false, "net1").await;
    host.with(|kernel| {
        kernel.unplug(|netdev| netdev.link.index == REPRESENTOR);
        kernel.plug(60, "eth7", Some(PF), Some("pf0vf0"));
    });
    host.del_well(&pod, "").await;
    assert!(host.records().is_empty());
    host.with(|kernel| {
        assert!(kernel.ports.is_empty());
        let new = kernel.links.iter().find(|netdev| netdev.link.index == 60).unwrap();
        assert_eq!((new.link.name.as_str(), new.link.up), ("eth7", false));
    });
}

/// What the tenant may do in its namespace: rename the VF, put another link in its place.
#[tokio::test]
async fn tenant_renames_the_vf() {
    for mode in MODES {
        let (host, before, pod) = attached(mode, "net1").await;
        host.with(|kernel| {
            kernel.rename_in(pod.ns, VF_LINK, "tenant");
            kernel.plug_in(pod.ns, 90, "net1");
        });
        host.del_well(&pod, "").await;
        host.with(|kernel| kernel.unplug(|netdev| netdev.link.index == 90));
        host.assert_restored(&before, "");
    }
}

/// The index that the VF has in the host is another link's in the pod: that link is not taken for the VF, and the VF,
/// which the kernel gave another index, is found.
#[tokio::test]
async fn index_taken_in_the_pod() {
    for mode in MODES {
        let host = Host::new(mode);
        let before = host.snapshot();
        let pod = host.pod("pod1", "net1");
        host.with(|kernel| kernel.plug_in(pod.ns, VF_LINK, "tunl0"));
        let ended = host.add(&pod).await;
        assert!(ended.well(), "{ended:?}");
        host.del_well(&pod, "").await;
        host.with(|kernel| {
            let stranger = kernel.links.iter().find(|netdev| netdev.ns == pod.ns).unwrap();
            assert_eq!(stranger.link.name.as_str(), "tunl0");
            kernel.unplug(|netdev| netdev.ns == pod.ns);
            let vf = kernel.links.iter_mut().find(|netdev| is_vf(netdev)).unwrap();
            assert_ne!(vf.link.index, VF_LINK, "a new index stays");
            vf.link.index = VF_LINK;
        });
        host.assert_restored(&before, "");
    }
}

#[tokio::test]
async fn what_add_refuses_changes_nothing() {
    let host = Host::new(false);
    let before = host.snapshot();
    let pod = host.pod("pod1", "net1");
    host.with(|kernel| kernel.plug_in(pod.ns, 90, "net1"));
    let message = host.add(&pod).await.failure();
    assert!(message.contains("has an interface net1 already"), "{message}");
    host.with(|kernel| kernel.unplug(|netdev| netdev.link.index == 90));
    let own = Pod {
        netns: "/host".into(),
        ..pod.clone()
    };
    let message = host.add(&own).await.failure();
    assert!(message.contains("is the plugin's own network namespace"), "{message}");
    host.with(|kernel| kernel.destroy(pod.ns));
    let message = host.add(&pod).await.failure();
    assert!(message.contains("does not exist"), "{message}");
    host.plan(Faults::default());
    assert!(matches!(host.del(&pod).await, Ended::Well));
    host.assert_restored(&before, "");
}
