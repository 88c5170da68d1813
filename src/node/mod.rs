//! What root has decided for this node, and what of a netconf is believed because of it.
//!
//! A NetworkAttachmentDefinition may be written by a tenant, and the plugin is root: so what a netconf may not choose
//! (which process gets the pod's requests, where a log goes, how long a call may take) comes from one file of root's.

mod config;
mod keys;

pub use config::{Allocation, Config, Deadlines, Error, Offload, PATH};

/// Where Kube-OVN's manifests have the daemon listen, beside Open vSwitch's own sockets (dist/images/install.sh).
pub const SOCKET_DIRECTORY: &str = "/run/openvswitch";
