//! Why a flow is not offloaded. docs/flows.md explains each at length, under its code.

/// What keeps a flow out of the hardware.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    // not in tc
    /// `other_config:hw-offload` is not `true`.
    HwOffloadOff,
    /// ovs-vswitchd handles each packet itself.
    SlowPath(&'static str),
    /// Each packet goes to ovn-controller.
    Controller,
    /// Each packet goes to user space for something else (sFlow, IPFIX).
    Userspace(String),
    /// It looks at a hash that the kernel's data path computes.
    DpHash,
    /// It looks at something that tc can't look at.
    Key(String),
    /// It does something that tc can't do.
    Action(String),
    /// More actions than Open vSwitch gives to tc.
    TooManyActions(usize),
    /// It recirculates, which tc and the kernel's data path must agree on.
    Recirculation,
    /// The data path is in user space.
    Dpdk,
    /// None of the above.
    RefusedBySoftware,
    // in tc, and not in hardware
    /// `other_config:tc-policy=skip_hw`.
    SkipHw,
    /// ethtool's hw-tc-offload is off for the port it comes in by.
    HwTcOffloadOff(String),
    /// It comes from or goes to a port that is not the NIC's.
    NotOfNic { port: String, what: &'static str },
    /// The copies of a mirror go to a port that is not the NIC's.
    Mirror(String),
    /// From one NIC to another.
    OtherEswitch { from: String, to: String },
    /// It goes through a tunnel.
    Tunnel(String),
    /// It needs conntrack in hardware.
    Conntrack,
    /// None of the above; what is special about it, if anything is.
    RefusedByNic(String),
    /// The hardware helps, and software does the rest.
    Partly,
}

/// What Open vSwitch gives to tc at most (`TCA_ACT_MAX_NUM` in lib/tc.h, 2.17 to 3.7).
pub(crate) const MAX_ACTIONS: usize = 16;

impl Reason {
    /// The reason's name for scripts, and in the documentation.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::HwOffloadOff => "hw-offload-off",
            Self::SlowPath(_) => "slow-path",
            Self::Controller => "controller",
            Self::Userspace(_) => "userspace",
            Self::DpHash => "dp-hash",
            Self::Key(_) => "match-not-in-tc",
            Self::Action(_) => "action-not-in-tc",
            Self::TooManyActions(_) => "too-many-actions",
            Self::Recirculation => "recirculation",
            Self::Dpdk => "dpdk",
            Self::RefusedBySoftware => "not-in-tc",
            Self::SkipHw => "tc-policy-skip-hw",
            Self::HwTcOffloadOff(_) => "hw-tc-offload-off",
            Self::NotOfNic { .. } => "port-not-of-nic",
            Self::Mirror(_) => "mirror",
            Self::OtherEswitch { .. } => "other-eswitch",
            Self::Tunnel(_) => "tunnel",
            Self::Conntrack => "conntrack",
            Self::RefusedByNic(_) => "refused-by-nic",
            Self::Partly => "partial",
        }
    }

    /// What is so, in one sentence.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::HwOffloadOff => "Open vSwitch is not told to offload (other_config:hw-offload is not true)".to_owned(),
            Self::SlowPath(what) => format!("ovs-vswitchd handles each packet itself: {what}"),
            Self::Controller => "each packet goes to ovn-controller, which answers or drops it".to_owned(),
            Self::Userspace(what) => format!("each packet is copied to user space ({what})"),
            Self::DpHash => "an OVN load balancer that chooses the backend by the data path's hash (dp_hash), which tc does not have".to_owned(),
            Self::Key(what) => format!("it matches {what}, which Open vSwitch can't give to tc"),
            Self::Action(what) => format!("its action {what} can't be given to tc"),
            Self::TooManyActions(count) => format!("it has {count} actions, and Open vSwitch gives tc at most {MAX_ACTIONS}"),
            Self::Recirculation => {
                "it goes through conntrack or recirculates, and tc and the kernel's data path don't share recirculation IDs: the \
                 kernel has no CONFIG_NET_TC_SKB_EXT"
                    .to_owned()
            }
            Self::Dpdk => "the data path is in user space (DPDK), where the plugin's VFs are no ports".to_owned(),
            Self::RefusedBySoftware => "Open vSwitch or tc has refused it, and neither says why".to_owned(),
            Self::SkipHw => "Open vSwitch is told to keep flows out of the hardware (other_config:tc-policy=skip_hw)".to_owned(),
            Self::HwTcOffloadOff(port) => format!("{port}, by which it comes in, takes no flows from tc (hw-tc-offload is off)"),
            Self::NotOfNic { port, what } => format!("{port} is {what}, and no port of the NIC"),
            Self::Mirror(port) => format!("a mirror copies it to {port}, which is no port of the NIC"),
            Self::OtherEswitch { from, to } => format!("{from} and {to} are ports of different NICs"),
            Self::Tunnel(port) => format!("it goes through {port}, and the NIC or its driver does not take this tunnel"),
            Self::Conntrack => "it goes through conntrack, and the NIC or its driver does not take that".to_owned(),
            Self::RefusedByNic(what) if what.is_empty() => "the NIC's driver has refused it, and tc does not say why".to_owned(),
            Self::RefusedByNic(what) => {
                format!("the NIC's driver has refused it, and tc does not say why; it has {what}")
            }
            Self::Partly => "the hardware only marks its packets, software does the rest".to_owned(),
        }
    }

    /// What helps, if anything does.
    pub(crate) fn remedy(&self) -> String {
        let text = match self {
            Self::HwOffloadOff => {
                "ovs-vsctl set Open_vSwitch . other_config:hw-offload=true: new flows are offloaded at once; HW_OFFLOAD=true in the \
                 DaemonSet ovs-ovn, where there is one, keeps it so"
            }
            Self::SlowPath(_) | Self::Controller => {
                "none needed: these are few packets, unless their rate says otherwise"
            }
            Self::Userspace(_) => {
                "switch sFlow, IPFIX and sampling off on the bridge: ovs-vsctl clear Bridge br-int sflow ipfix"
            }
            Self::DpHash => {
                "ovn-nbctl set Load_Balancer NAME selection_fields=ip_src,ip_dst,tp_src,tp_dst: then each connection has a flow of \
                 its own in place of the hash (and needs conntrack in hardware)"
            }
            Self::Key(_) | Self::Action(_) | Self::TooManyActions(_) => {
                "see which ACL, QoS or route of OVN asks for it (ovs-appctl ofproto/trace), and do without"
            }
            Self::Recirculation => {
                "a kernel with CONFIG_NET_TC_SKB_EXT=y (grep TC_SKB_EXT /boot/config-$(uname -r)), or no stateful ACLs \
                 (NetworkPolicy, security groups) and no load balancer on the subnet"
            }
            Self::Dpdk => "use the kernel's data path: ovs-vsctl set Bridge br-int datapath_type=system",
            Self::RefusedBySoftware => {
                "ovs-appctl vlog/set netdev_offload_tc:file:dbg dpif_netlink:file:dbg, then read ovs-vswitchd.log for \"failed \
                 to offload flow\" and what stands before it"
            }
            Self::SkipHw => {
                "ovs-vsctl remove Open_vSwitch . other_config tc-policy, then restart ovs-vswitchd (the ovs-ovn pod)"
            }
            Self::HwTcOffloadOff(port) => return format!("ethtool -K {port} hw-tc-offload on"),
            Self::NotOfNic { .. } => "none for this port: only VFs with a representor, and the uplink, are the NIC's",
            Self::Mirror(_) => {
                "mirror to a VF's representor, or end the mirror: ovn-nbctl mirror-list, ovs-vsctl list Mirror"
            }
            Self::OtherEswitch { .. } => "give the pods VFs of one PF, and send to the wire by that PF's own port",
            Self::Tunnel(_) => {
                "the tunnel's address must be on the uplink of the VFs' NIC or on its bond, hw-tc-offload on there, and the \
                 NIC's firmware must know the tunnel (geneve with options)"
            }
            Self::Conntrack => {
                "a NIC, firmware and driver that offload conntrack, and the modules act_ct and nf_flow_table; or no stateful \
                 ACLs (NetworkPolicy, security groups) and no load balancer on the subnet"
            }
            Self::RefusedByNic(_) => {
                "dmesg, and with other_config:tc-policy=skip_sw ovs-vswitchd.log says what the driver objects to"
            }
            Self::Partly => "none: so it is with DPDK",
        };
        text.to_owned()
    }
}
