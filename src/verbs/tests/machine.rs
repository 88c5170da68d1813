//! VFs that virtual machines get as PCI devices.

use super::MODES;
use crate::verbs::fake::{Fault, Faults, Host, Kernel, Pod, REPRESENTOR, host_nic};

/// A host whose VF has this driver, and a pod whose network says `vf_driver`.
fn host(attach_only: bool, driver: &'static str, vf_driver: &'static str) -> (Host, String, Pod) {
    let host = Host::new(attach_only);
    host.with(|kernel| kernel.bind_vfio(driver));
    let before = host.snapshot();
    let pod = host.pod("vm1", "net1");
    (host, before, Pod { vf_driver, ..pod })
}

#[tokio::test]
async fn a_machine_gets_its_vf_and_gives_it_back() {
    for mode in MODES {
        // what the network says may be left out
        for vf_driver in ["vfio-pci", ""] {
            let (host, before, pod) = host(mode, "vfio-pci", vf_driver);
            let ended = host.add(&pod).await;
            assert!(ended.well(), "{ended:?}");
            host.assert_attached(&pod, "after ADD");
            let another = host.pod("vm2", "net1");
            let message = host.add(&another).await.failure();
            assert!(message.contains("is held by pod default/vm1"), "{message}");
            host.del_well(&pod, "").await;
            host.assert_restored(&before, "after DEL");
        }
    }
}

/// The machine's process and its namespace are gone: the next pod gets the VF, and a late DEL changes nothing.
#[tokio::test]
async fn a_machine_that_died() {
    let (host, before, pod) = host(false, "vfio-pci", "vfio-pci");
    assert!(host.add(&pod).await.well());
    host.with(|kernel| kernel.destroy(pod.ns));
    let next = host.pod("vm2", "net1");
    let ended = host.add(&next).await;
    assert!(ended.well(), "{ended:?}");
    host.assert_attached(&next, "after the second ADD");
    host.del_well(&pod, "late").await;
    host.assert_attached(&next, "after the late DEL");
    host.del_well(&next, "").await;
    host.assert_restored(&before, "after DEL");
}

/// `mlx5_vfio_pci` and its like: released daemons know only vfio-pci and say no; one that leaves VFs to us takes them.
#[tokio::test]
async fn a_variant_driver() {
    let (host, before, pod) = host(false, "mlx5_vfio_pci", "vfio-pci");
    let message = host.add(&pod).await.failure();
    assert!(
        message.contains("is not 'vfio-pci'") && message.contains("bound to mlx5_vfio_pci, a variant of vfio-pci"),
        "{message}"
    );
    host.assert_restored(&before, "");
    let (host, before, pod) = self::host(true, "mlx5_vfio_pci", "vfio-pci");
    let ended = host.add(&pod).await;
    assert!(ended.well(), "{ended:?}");
    host.assert_attached(&pod, "");
    host.del_well(&pod, "").await;
    host.assert_restored(&before, "");
}

#[tokio::test]
async fn network_and_driver_disagree() {
    for (driver, vf_driver, expected) in [
        (
            "vfio-pci",
            "mlx5_core",
            "is bound to vfio-pci, but the NetworkAttachmentDefinition says vf_driver \"mlx5_core\"",
        ),
        ("igb_uio", "", "is bound to igb_uio, which gives it no netdev"),
    ] {
        let (host, before, pod) = host(false, driver, vf_driver);
        let message = host.add(&pod).await.failure();
        assert!(message.contains(expected), "{message}");
        host.assert_restored(&before, "");
    }
    let host = Host::new(false);
    let before = host.snapshot();
    let pod = Pod {
        vf_driver: "vfio-pci",
        ..host.pod("vm1", "net1")
    };
    let message = host.add(&pod).await.failure();
    let expected = "is bound to mlx5_core, but the NetworkAttachmentDefinition says vf_driver \"vfio-pci\"";
    assert!(message.contains(expected), "{message}");
    host.assert_restored(&before, "");
}

/// Neither a netdev nor a PCI device to give: said before anything is changed.
#[tokio::test]
async fn a_vf_that_nobody_can_have() {
    for mode in MODES {
        let host = Host::new(mode);
        host.with(Kernel::unbind);
        let before = host.snapshot();
        let message = host.add(&host.pod("pod1", "net1")).await.failure();
        assert!(message.contains("VF 0000:03:00.2 has no driver bound"), "{message}");
        host.assert_restored(&before, "");
        let host = Host::new(mode);
        host.with(|kernel| kernel.add_vdpa("blue"));
        let before = host.snapshot();
        let message = host.add(&host.pod("pod1", "net1")).await.failure();
        assert!(
            message.contains("carries the vDPA device blue (vhost_vdpa)"),
            "{message}"
        );
        host.assert_restored(&before, "");
    }
}

/// The MAC is the machine's only way to its address: it is set if the daemon did not.
#[tokio::test]
async fn the_pf_administers_the_pods_mac() {
    for mode in MODES {
        let (host, before, pod) = host(mode, "vfio-pci", "vfio-pci");
        host.switch(|switches| switches.forgets_mac = true);
        let ended = host.add(&pod).await;
        assert!(ended.well(), "{ended:?}");
        host.assert_attached(&pod, "");
        host.del_well(&pod, "").await;
        host.assert_restored(&before, "");
    }
}

/// Where the VF is proves nothing, so a port without a record may be a running machine's.
#[tokio::test]
async fn the_port_of_a_machine_of_another_program() {
    let (host, _, pod) = host(false, "vfio-pci", "vfio-pci");
    let old = host_nic("feedbeef5678", "net1");
    host.with(|kernel| {
        kernel.rename_in(0, REPRESENTOR, &old);
        kernel.add_port(&old);
    });
    let before = host.snapshot();
    let message = host.add(&pod).await.failure();
    assert!(message.contains("of which there is no record"), "{message}");
    host.assert_restored(&before, "");
}

/// Stock's attachment has no record: DEL goes by the port, which has the sandbox's name, be its namespace alive or not.
#[tokio::test]
async fn a_machine_that_stock_attached() {
    for gone in [false, true] {
        let (host, _, pod) = host(false, "vfio-pci", "vfio-pci");
        assert!(host.add(&pod).await.well());
        host.lose_records();
        let held = host.snapshot();
        let stranger = host.pod("vm2", "net1");
        host.del_well(&stranger, "another's").await;
        assert_eq!(host.snapshot(), held);
        if gone {
            host.with(|kernel| kernel.destroy(pod.ns));
        }
        host.del_well(&pod, "").await;
        host.with(|kernel| {
            assert!(
                kernel.ports.is_empty() && kernel.admin[&0].is_zero(),
                "{:?}",
                kernel.admin
            );
        });
        assert!(host.records().is_empty(), "{:?}", host.records());
        let next = host.pod("vm3", "net1");
        let ended = host.add(&next).await;
        assert!(ended.well(), "{ended:?}");
        host.assert_attached(&next, "");
    }
}

#[tokio::test]
async fn one_fault_in_the_life_of_a_machine() {
    for mode in MODES {
        for fault in [Fault::Refuse, Fault::Lose, Fault::Kill, Fault::KillAfter] {
            for number in 1.. {
                let (host, before, pod) = host(mode, "vfio-pci", "vfio-pci");
                let context = format!("{mode} {fault:?} {number}");
                host.plan(Faults::plan(fault, number));
                let _ = host.add(&pod).await;
                let hit = host.with(|kernel| kernel.faults.hit());
                host.plan(Faults::plan(fault, number));
                let _ = host.del(&pod).await;
                host.del_well(&pod, &context).await;
                host.assert_restored(&before, &context);
                if !hit {
                    assert!(number > 8, "{context}");
                    break;
                }
            }
        }
    }
}
