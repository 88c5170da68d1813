//! Real callers, of Debian's packages, on a node without a NIC: libcni, podman, containerd's CRI, and portmap after us in the list.
//! `scripts/test callers` builds and installs what they need; README.md beside this file says what each of them is asked.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is a failed test"
)]

mod containerd;
mod cri;
#[path = "../host/mod.rs"]
mod host;
mod libcni;
mod podman;
mod runtimes;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use host::Host;
use runtimes::IMAGE;

/// The node, with an image that serves its host name on port 80, and a client beyond it at 192.0.2.2.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/callers");
        // the executable that is shipped, where there is one
        let ours = std::env::var_os("KUBE_OVN").map_or_else(|| env!("CARGO_BIN_EXE_kube-ovn").into(), PathBuf::from);
        let driver = std::env::var_os("LIBCNI_DRIVER").map(PathBuf::from);
        let driver = driver.unwrap_or_else(|| panic!("LIBCNI_DRIVER is not set: run scripts/test callers"));
        let host = Host::start(&[
            &ours,
            &driver,
            Path::new("/usr/lib/cni/portmap"),
            Path::new("/usr/lib/cni/loopback"),
            &beside.join("with-namespace"),
        ]);
        host.sh(
            "ip netns add client; ip link add outside type veth peer name eth0 netns client
             ip address add 192.0.2.1/24 dev outside; ip link set outside up
             ip -n client address add 192.0.2.2/24 dev eth0; ip -n client link set eth0 up; ip -n client link set lo up",
        );
        host.sh(IMAGE);
        host
    })
}

/// What the client gets from a port of the node: the page of the pod that the port leads to.
fn get(port: u16) -> Result<String, String> {
    host().attempt(&format!(
        "ip netns exec client curl -sS --max-time 10 http://192.0.2.1:{port}/"
    ))
}

/// No trace of a container on the node: neither in Open vSwitch, nor as a link, nor among the rules of portmap.
#[track_caller]
fn assert_gone(container: &str) {
    let id = &container[..12];
    let left = host().sh(&format!(
        "ovs-vsctl list-ports br-int | grep {id} || true; ip -o link | grep {id} || true; iptables-save | grep {container} || true"
    ));
    assert_eq!(left, "");
}
