//! Names of interfaces, and what the daemon makes of them.

use std::time::Duration;

use super::{MODES, is_vf};
use crate::verbs::fake::{Host, Pod, REPRESENTOR, VF_LINK, host_nic};

/// 11 and 12 characters leave one character of the container ID, or none, in the port's name.
#[tokio::test]
async fn a_port_name_that_another_link_has() {
    for (ifname, port) in [("abcdefghijk", "0_abcdefghijk_h"), ("abcdefghijkl", "_abcdefghijkl_h")] {
        let host = Host::new(false);
        let free = host.snapshot();
        let pod = host.pod("pod1", ifname);
        assert_eq!(host_nic(&pod.container, ifname), port);
        let ended = host.add(&pod).await;
        assert!(ended.well(), "{ended:?}");
        host.assert_attached(&pod, ifname);
        host.del_well(&pod, ifname).await;
        host.assert_restored(&free, ifname);

        host.with(|kernel| kernel.plug(90, port, None, None));
        let before = host.snapshot();
        let message = host.add(&pod).await.failure();
        assert!(
            message.contains(&format!("would name the host's side of {ifname} {port}")),
            "{message}"
        );
        host.assert_restored(&before, ifname);
    }
}

/// What a failed DEL of the same sandbox left on the representor itself is in nobody's way.
#[tokio::test]
async fn a_port_name_that_the_representor_has_already() {
    for mode in MODES {
        let host = Host::new(mode);
        let pod = host.pod("pod1", "abcdefghijk");
        host.with(|kernel| kernel.rename_in(0, REPRESENTOR, "0_abcdefghijk_h"));
        let before = host.snapshot();
        let ended = host.add(&pod).await;
        assert!(ended.well(), "{ended:?}");
        host.del_well(&pod, "").await;
        host.assert_restored(&before, "");
    }
}

/// Two interfaces of a pod with one VF: nothing that another call does can make that right.
#[tokio::test]
async fn a_second_interface_does_not_wait_for_the_lock() {
    let host = Host::new(false);
    let pod = host.pod("pod1", "eth0");
    assert!(host.add(&pod).await.well());
    let held = host.snapshot();
    let _lock = host.lock_vf().await;
    let second = Pod {
        ifname: "net1".to_owned(),
        ..pod.clone()
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), host.add(&second)).await;
    let message = answer.expect("it waits").failure();
    assert!(message.contains("is held by pod default/pod1 (eth0"), "{message}");
    assert_eq!(host.snapshot(), held);
}

/// On a kernel before 5.14, a link of the pod that has the VF's index is not taken for the VF, nor the VF missed.
#[tokio::test]
async fn a_kernel_that_names_no_parent() {
    for mode in MODES {
        let host = Host::new(mode);
        host.with(|kernel| kernel.tells_parent = false);
        let before = host.snapshot();
        let pod = host.pod("pod1", "net1");
        let ended = host.add(&pod).await;
        assert!(ended.well(), "{ended:?}");
        // as a tenant may: the VF has another name and index, and another device the VF's
        host.with(|kernel| {
            kernel.rename_in(pod.ns, VF_LINK, "mine");
            let vf = kernel.links.iter_mut().find(|netdev| is_vf(netdev)).unwrap();
            vf.link.index = 77;
            kernel.plug_in(pod.ns, VF_LINK, "net1");
            kernel.links.iter_mut().last().unwrap().link.software = false;
        });
        host.del_well(&pod, "").await;
        host.with(|kernel| {
            kernel.unplug(|netdev| netdev.ns == pod.ns);
            kernel.links.iter_mut().find(|netdev| is_vf(netdev)).unwrap().link.index = VF_LINK;
        });
        host.assert_restored(&before, "");
    }
}
