//! `kube-ovn`, a CNI plugin for pods whose traffic Open vSwitch offloads to an SR-IOV NIC.
//!
//! The map, from the bottom up. A module uses only what stands above it here, and the seven from [`cni`] to [`node`] do
//! not know each other (`tests/layers.rs` holds them to it):
//!
//! * [`text`]: words of others, fit to be shown.
//! * [`types`]: validated values (PCI address, interface name, MAC …), no I/O.
//! * [`watchdog`]: ends a call that hangs in the kernel.
//! * [`cni`]: the CNI protocol: environment and stdin in, results and errors out; no files, no sockets.
//! * [`device`]: SR-IOV facts from a sysfs tree: functions, their netdevs, port names. Owns every path under /sys.
//! * [`net`]: the kernel's networking: links, addresses, namespaces, devlink.
//! * [`daemon`]: requests to kube-ovn-daemon and its replies.
//! * [`ovs`]: Open vSwitch's database and ovs-vswitchd's control socket.
//! * [`state`]: records and locks in /run.
//! * [`node`]: what root has decided for this node.
//! * [`resolve`]: from a VF's address to its representor, by devlink and sysfs.
//! * [`attach`]: taking a VF to a pod and giving it back.
//! * [`verbs`]: what ADD and DEL do, in order, and which error code a failure gets.

pub mod attach;
pub mod cni;
pub mod daemon;
pub mod device;
pub mod log;
pub mod net;
pub mod node;
pub mod ovs;
pub mod resolve;
pub mod state;
pub mod text;
pub mod types;
pub mod verbs;
pub mod watchdog;

/// In the plugin's executable, and in no other: by it `kube-ovn-offload` tells it from the stock plugin of the same name.
pub const MARK: &str = concat!("\u{1}kube-ovn-offload's plugin ", env!("CARGO_PKG_VERSION"), "\u{1}");
