//! What must be known of a node to say why a flow is not offloaded.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The node's settings and its ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Facts {
    /// `other_config:hw-offload` is `true`.
    pub(crate) hw_offload: bool,
    /// `other_config:tc-policy`.
    pub(crate) tc_policy: TcPolicy,
    /// Whether Open vSwitch and the kernel have agreed that tc and the kernel's data path share recirculation IDs; `None`: the
    /// kernel did not tell.
    pub(crate) shares_recirculation: Option<bool>,
    /// The ports by their names in the data path.
    pub(crate) ports: BTreeMap<String, Port>,
}

/// `other_config:tc-policy` (ovs-vswitchd.conf.db(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TcPolicy {
    /// In software and in hardware.
    #[default]
    None,
    /// In hardware only.
    SkipSw,
    /// In software only.
    SkipHw,
}

impl TcPolicy {
    /// As Open vSwitch calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SkipSw => "skip_sw",
            Self::SkipHw => "skip_hw",
        }
    }
}

/// A port of the data path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Port {
    pub(crate) kind: Kind,
    /// The eswitch that it is a port of.
    pub(crate) switch_id: Option<String>,
    /// ethtool's hw-tc-offload; `None`: not known.
    pub(crate) hw_tc_offload: Option<bool>,
    /// Whose port it is.
    pub(crate) pod: Option<Pod>,
    /// OVN's name for it.
    pub(crate) iface_id: String,
    /// Whether a mirror sends its copies here.
    pub(crate) is_mirror: bool,
}

/// What a port is to the NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Of a VF or sub-function.
    Representor,
    /// The PF's netdev: the wire.
    Uplink,
    /// Of uplinks.
    Bond,
    /// Of packets that other nodes sent, or that go to them.
    Tunnel,
    /// The host's own, made by Open vSwitch.
    Internal,
    /// A netdev that is no port of an eswitch: veth, tap, a NIC without switchdev.
    Software,
    /// One that is in user space with DPDK.
    Userspace,
    /// Gone, or not to be looked at.
    #[default]
    Unknown,
}

impl Kind {
    /// For scripts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Representor => "representor",
            Self::Uplink => "uplink",
            Self::Bond => "bond",
            Self::Tunnel => "tunnel",
            Self::Internal => "internal",
            Self::Software => "software",
            Self::Userspace => "userspace",
            Self::Unknown => "unknown",
        }
    }
}

/// A pod, and the interface in it if that is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) interface: Option<String>,
}

/// How ports are named that Open vSwitch makes for tunnels (`dpif_port` of the classes in lib/netdev-vport.c), with a port number
/// behind.
const TUNNELS: [&str; 8] = [
    "genev_sys",
    "vxlan_sys",
    "gre_sys",
    "gtpu_sys",
    "erspan_sys",
    "ip6erspan_sys",
    "ip6gre_sys",
    "bareudp_sys",
];

/// Whether the data path's port of that name is a tunnel.
fn is_tunnel(name: &str) -> bool {
    TUNNELS.iter().any(|tunnel| name.starts_with(tunnel))
}

impl Facts {
    /// What is known of a port; of one that is not known, what its name tells.
    pub(crate) fn kind(&self, port: &str) -> Kind {
        match self.ports.get(port) {
            Some(port) => port.kind,
            None if is_tunnel(port) => Kind::Tunnel,
            None if port == "ovs-system" => Kind::Internal,
            None => Kind::Unknown,
        }
    }

    /// Whether a mirror sends its copies to a port.
    pub(crate) fn is_mirror(&self, port: &str) -> bool {
        self.ports.get(port).is_some_and(|port| port.is_mirror)
    }

    /// The pod that a port is of.
    pub(crate) fn pod(&self, port: &str) -> Option<&Pod> {
        self.ports.get(port)?.pod.as_ref()
    }

    /// Whose port it is, for people.
    pub(crate) fn label(&self, port: &str) -> String {
        if let Some(pod) = self.pod(port) {
            return pod.to_string();
        }
        let iface_id = self.ports.get(port).map_or("", |port| port.iface_id.as_str());
        if !iface_id.is_empty() {
            return iface_id.to_owned();
        }
        match self.kind(port) {
            Kind::Uplink | Kind::Bond => format!("wire {port}"),
            Kind::Tunnel => format!("tunnel {port}"),
            Kind::Internal => format!("host {port}"),
            _ => port.to_owned(),
        }
    }
}

impl std::fmt::Display for Pod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        match self.interface.as_deref() {
            None | Some("eth0") => Ok(()),
            Some(interface) => write!(f, ":{interface}"),
        }
    }
}
