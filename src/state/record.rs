//! What is written down about a VF that we hold.

use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::BootTime;
use crate::types::{ContainerId, IfName, Mac, NetnsId, PciAddress};

/// Format of the records that this program writes: 2 has what [`Record`] says is not in format 1. A field that is added
/// has a default, so that older records are read, and no field changes its meaning, so that older versions of this
/// program read ours.
pub const FORMAT: u32 = 2;

/// How far an attachment has come: what may have been done up to now. Written before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The VF may have its attempt's name, a stale port of its representor may be gone.
    Preparing,
    /// The daemon may have done any part of its ADD.
    Asked,
    /// We may have moved the VF into the pod and configured it.
    Plumbing,
    /// ADD has succeeded.
    Attached,
}

/// A network interface as it was before us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Its index then.
    pub ifindex: u32,
    /// Its name.
    pub name: IfName,
    /// Its MAC.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its alias.
    pub alias: String,
    /// Whether it was up.
    pub up: bool,
    /// The length of its transmit queue; this and what follows is `None` when it is not known.
    #[serde(default)]
    pub txqlen: Option<u32>,
    /// The flags that user space sets: promiscuous, allmulti, no ARP ….
    #[serde(default)]
    pub flags: Option<u32>,
    /// Its alternative names.
    #[serde(default)]
    pub alt_names: Option<Vec<String>>,
    /// How XDP programs were attached to it (`XDP_FLAGS_*_MODE`).
    #[serde(default)]
    pub xdp: u32,
    /// Its addresses, without leases and the kernel's own.
    #[serde(default)]
    pub addresses: Vec<IpNetwork>,
}

/// The pod, for messages and for requests to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID; empty when the runtime does not tell.
    pub uid: String,
}

/// Who wants a VF, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Name of the network (the netconf's `name`).
    pub network: String,
    /// The sandbox.
    pub container: ContainerId,
    /// The interface in the pod.
    pub ifname: IfName,
    /// The pod.
    pub pod: Pod,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The netconf's provider.
    pub provider: String,
    /// Path of the pod's network namespace, as the runtime gave it.
    pub netns: PathBuf,
    /// The VF.
    pub device: PciAddress,
}

/// A VF that we hold, and how to give it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format of this record.
    pub format: u32,
    /// How far ADD has come.
    pub stage: Stage,
    /// For whom.
    #[serde(flatten)]
    pub claim: Claim,
    /// Which namespace `claim.netns` was.
    pub netns_id: NetnsId,
    /// The VF's PF.
    pub pf: PciAddress,
    /// Its number among the PF's VFs.
    pub vf_index: u32,
    /// The VF's netdev before; `None` for a VF whose driver makes none, and which therefore never leaves the host.
    #[serde(default)]
    pub vf: Option<Before>,
    /// The VF's representor before.
    pub representor: Before,
    /// The MAC that the PF administered for the VF before; `None` when the PF told none.
    pub admin_mac: Option<Mac>,
    /// The name that the VF has in the host's namespace during this attempt, and no other VF or attempt ever has.
    pub attempt: IfName,
    /// The attachment has ended (DEL came, ADD failed, or its holder is dead), and what is recorded here is being given
    /// back. Since format 2.
    #[serde(default)]
    pub ending: bool,
    /// When the daemon was asked for this attachment, as long as it has not answered. Since format 2.
    #[serde(default)]
    pub asked: Option<BootTime>,
}

impl Record {
    /// Names the holder in messages.
    #[must_use]
    pub fn holder(&self) -> String {
        let short: String = self.claim.container.as_str().chars().take(12).collect();
        format!(
            "pod {}/{} ({} of sandbox {short})",
            self.claim.pod.namespace, self.claim.pod.name, self.claim.ifname
        )
    }

    /// Whether this is the record of that attachment.
    #[must_use]
    pub fn is_of(&self, container: &ContainerId, ifname: &IfName) -> bool {
        self.claim.container == *container && self.claim.ifname == *ifname
    }
}
