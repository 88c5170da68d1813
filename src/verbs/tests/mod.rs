//! ADD and DEL on a host of which every call can fail.

mod check;
mod crowd;
mod daemon;
mod faults;
mod gc;
mod given_back;
mod hostile;
mod life;
mod machine;
mod names;
mod ownership;
mod status;

use super::fake::{Host, Netdev, Pod, Release, VF};

/// A daemon as released, and one that leaves the VF to the plugin.
const MODES: [bool; 2] = [false, true];

/// A host with a pod that has the VF, and what the host was before.
async fn attached(daemon: impl Into<Release>, ifname: &str) -> (Host, String, Pod) {
    let host = Host::new(daemon);
    let before = host.snapshot();
    let pod = host.pod("pod1", ifname);
    let ended = host.add(&pod).await;
    assert!(ended.well(), "{ended:?}");
    host.assert_attached(&pod, "after ADD");
    (host, before, pod)
}

fn is_vf(netdev: &Netdev) -> bool {
    netdev.link.parent.as_deref() == Some(VF)
}

/// Namespace and name of the VF.
fn place(host: &Host) -> (usize, String) {
    host.with(|kernel| {
        let netdev = kernel.links.iter().find(|netdev| is_vf(netdev)).unwrap();
        (netdev.ns, netdev.link.name.to_string())
    })
}
