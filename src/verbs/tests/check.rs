//! CHECK finds what is no longer as ADD left it, and changes nothing.

use super::{MODES, attached, is_vf};
use crate::net::Link;
use crate::verbs::fake::{HOST, Host, Kernel, Netdev, Pod, REPRESENTOR, VF, name};

fn vf(kernel: &mut Kernel) -> &mut Netdev {
    kernel.links.iter_mut().find(|netdev| is_vf(netdev)).unwrap()
}

fn representor(kernel: &mut Kernel) -> &mut Link {
    let mut links = kernel.links.iter_mut().map(|netdev| &mut netdev.link);
    links.find(|link| link.index == REPRESENTOR).unwrap()
}

/// What CHECK finds; all in one error, and nothing is changed by the look.
async fn findings(host: &Host, pod: &Pod) -> Vec<String> {
    let before = (host.snapshot(), host.records());
    let asked = host.daemon.requests.lock().unwrap().len();
    let findings = host.check(pod).await.unwrap();
    assert_eq!((host.snapshot(), host.records()), before);
    assert_eq!(host.daemon.requests.lock().unwrap().len(), asked);
    findings
}

#[tokio::test]
async fn each_difference_is_found() {
    type Break = (fn(&mut Kernel), &'static [&'static str]);
    let breaks: [Break; 9] = [
        (|_| {}, &[]),
        (|kernel| vf(kernel).link.up = false, &["it is down"]),
        (
            |kernel| vf(kernel).link.mac = Some("02:00:00:00:00:77".parse().unwrap()),
            &["its MAC is 02:00:00:00:00:77, expected 00:00:00:aa:bb:"],
        ),
        (|kernel| vf(kernel).link.mtu = 1500, &["its MTU is 1500, expected 1400"]),
        (
            |kernel| vf(kernel).addresses.retain(|address| address.ip.is_ipv4()),
            &["it lacks the address fd00::5/112 (it has: 10.16.0.5/16)"],
        ),
        (
            |kernel| vf(kernel).link.name = name("other0"),
            &["it is called other0 in the pod, expected net1"],
        ),
        (|kernel| representor(kernel).up = false, &["is down"]),
        (|kernel| representor(kernel).master = None, &["is in no OVS bridge"]),
        (
            |kernel| {
                vf(kernel).link.up = false;
                vf(kernel).addresses.clear();
                representor(kernel).up = false;
            },
            &["it is down", "10.16.0.5/16", "fd00::5/112", "its representor"],
        ),
    ];
    for (with_record, (spoil, words)) in [true, false]
        .into_iter()
        .flat_map(|with| breaks.map(|case| (with, case)))
    {
        for mode in MODES {
            let (host, _, pod) = attached(mode, "net1").await;
            if !with_record {
                host.lose_records(); // as of an attachment that stock made
            }
            host.with(spoil);
            let found = findings(&host, &pod).await;
            if !with_record && words.iter().any(|word| word.contains("is called")) {
                // no record tells of the VF, so it is looked for by its name
                assert!(found[0].contains("it is not in network namespace"), "{found:?}");
                continue;
            }
            assert_eq!(found.len(), words.len(), "{found:?}");
            for (finding, word) in found.iter().zip(words) {
                assert!(finding.contains(word), "{finding}, expected {word}");
            }
        }
    }
}

#[tokio::test]
async fn a_vf_that_is_elsewhere_or_gone() {
    let (host, _, pod) = attached(false, "net1").await;
    let other = host.pod("pod2", "net1");
    host.with(|kernel| vf(kernel).ns = other.ns);
    let found = findings(&host, &pod).await;
    assert!(found[0].contains("it is in another network namespace"), "{found:?}");
    host.with(|kernel| kernel.unplug_function(VF));
    let found = findings(&host, &pod).await;
    assert!(found[0].contains("the VF is gone"), "{found:?}");
    assert!(found.iter().any(|finding| finding.contains(VF)), "{found:?}");
}

/// A VF of a virtual machine has no netdev here: its MAC is what the PF administers.
#[tokio::test]
async fn the_mac_of_a_machine() {
    for (mode, with_record) in [(false, true), (true, true), (false, false)] {
        let host = Host::new(mode);
        host.with(|kernel| kernel.bind_vfio("vfio-pci"));
        let pod = Pod {
            vf_driver: "vfio-pci",
            ..host.pod("vm1", "net1")
        };
        assert!(host.add(&pod).await.well());
        if !with_record {
            host.lose_records();
        }
        assert_eq!(findings(&host, &pod).await, Vec::<String>::new());
        host.with(|kernel| kernel.admin.insert(0, "02:00:00:00:00:77".parse().unwrap()));
        let found = findings(&host, &pod).await;
        let words = format!("the PF administers the MAC 02:00:00:00:00:77 for VF {VF}, expected 00:00:00:aa:bb:");
        assert!(found.len() == 1 && found[0].contains(&words), "{found:?}");
    }
}

/// Another namespace under the path, and none.
#[tokio::test]
async fn another_namespace() {
    let (host, _, pod) = attached(false, "net1").await;
    let other = Pod {
        netns: host.pod("pod2", "net1").netns,
        ..pod.clone()
    };
    let found = findings(&host, &other).await;
    assert!(found[0].contains("is not the one that VF"), "{found:?}");
    host.with(|kernel| kernel.destroy(pod.ns));
    let failure = host.check(&pod).await.unwrap_err();
    assert!(failure.msg.starts_with("CNI_NETNS: "), "{failure}");
    assert_ne!(HOST, pod.ns);
}

/// The record of the VF is another sandbox's: it says nothing about this one.
#[tokio::test]
async fn another_sandbox_has_the_record() {
    let (host, _, pod) = attached(false, "net1").await;
    let other = Pod {
        container: "feedcafe0123".to_owned(),
        ..pod.clone()
    };
    assert_eq!(findings(&host, &other).await, Vec::<String>::new());
}
