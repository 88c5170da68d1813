//! `kube-ovn`, a CNI plugin for pods whose traffic Open vSwitch offloads to an SR-IOV NIC.
//!
//! The map, from the bottom up; a module uses only what stands above it here:
//!
//! * [`types`]: validated values (PCI address, interface name, MAC …), no I/O.
//! * [`cni`]: the CNI protocol: environment and stdin in, results and errors out; no files, no sockets.
//! * [`device`]: SR-IOV facts from a sysfs tree: VF, PF, uplink, representor. Owns every path under /sys.

pub mod cni;
pub mod types;
