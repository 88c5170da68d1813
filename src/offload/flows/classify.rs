//! Where a flow is, and why it is not further.

use kube_ovn::ovs::flow::{Flow, Item, Offloaded, ct_state, is_matched, items, masked};

use super::facts::{Facts, Kind, TcPolicy};
use super::reason::Reason;
use super::tc;

/// Who handles a flow's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// The NIC.
    Hardware,
    /// The NIC in part (DPDK).
    Partly,
    /// tc, in software.
    Tc,
    /// The kernel module openvswitch, or for single packets ovs-vswitchd.
    Kernel,
    /// Open vSwitch in user space (DPDK).
    Userspace,
}

impl State {
    /// For tables and scripts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Partly => "partly",
            Self::Tc => "tc",
            Self::Kernel => "kernel",
            Self::Userspace => "userspace",
        }
    }
}

/// What is said of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) state: State,
    /// Why it is not in hardware; always there when it is not.
    pub(crate) reason: Option<Reason>,
    /// Whether the reason was concluded from what is usual, not seen.
    pub(crate) is_likely: bool,
    /// ICMP through conntrack: the flow may be in hardware, but its packets are not.
    pub(crate) is_icmp_through_conntrack: bool,
    /// It is for the first packets of connections.
    pub(crate) is_for_new_connections: bool,
}

/// What matters of a flow beside its text.
pub(crate) struct Parts<'a> {
    pub(crate) keys: Vec<Item<'a>>,
    pub(crate) in_port: &'a str,
    pub(crate) outputs: Vec<&'a str>,
    /// Another pass follows, whose flow counts the same packets again.
    pub(crate) recirculates: bool,
    /// It is itself a further pass.
    is_recirculated: bool,
    uses_conntrack: bool,
}

/// Actions without arguments that are no output.
const BARE: [&str; 4] = ["drop", "ct_clear", "pop_vlan", "pop_eth"];

/// How deep actions in actions are looked for.
const DEPTH: usize = 4;

impl<'a> Parts<'a> {
    pub(crate) fn of(flow: &Flow<'a>) -> Self {
        let keys = flow.keys();
        let value = |name: &str| keys.iter().find(|key| key.name == name).and_then(Item::arguments);
        let looks_at_connections = keys.iter().any(|key| {
            let is_of_connection = matches!(key.name, "ct_state" | "ct_zone" | "ct_mark" | "ct_label");
            is_of_connection && key.arguments().is_some_and(is_matched)
        });
        let mut parts = Self {
            in_port: value("in_port").unwrap_or_default(),
            outputs: Vec::new(),
            recirculates: false,
            is_recirculated: value("recirc_id").and_then(masked).is_some_and(|id| id.value != 0),
            uses_conntrack: looks_at_connections,
            keys,
        };
        parts.walk(flow.actions, DEPTH);
        parts
    }

    fn walk(&mut self, list: &'a str, depth: usize) {
        for action in items(list) {
            match (action.name, action.arguments()) {
                (name, None) if action.is_bare() && !BARE.contains(&name) => self.outputs.push(name),
                ("recirc", _) => self.recirculates = true,
                ("ct", _) => self.uses_conntrack = true,
                ("tnl_pop", Some(port)) => self.outputs.push(port),
                ("clone" | "actions" | "sample" | "check_pkt_len" | "gt" | "le", Some(inner)) if depth > 0 => {
                    self.walk(inner, depth - 1);
                }
                _ => {}
            }
        }
    }

    /// The field of a header that the flow matches.
    fn has_field(&self, text: &str) -> bool {
        let mut values = self.keys.iter().filter_map(Item::arguments);
        values.any(|value| items(value).any(|field| field.text == text))
    }
}

/// Says where a flow is, and why it is not in hardware; `datapath` as `system@ovs-system`.
pub(crate) fn classify(flow: &Flow<'_>, parts: &Parts<'_>, datapath: &str, facts: &Facts) -> Verdict {
    let state = match (flow.offloaded, flow.layer) {
        (Offloaded::Yes, _) => State::Hardware,
        (Offloaded::Partly, _) => State::Partly,
        (Offloaded::No, "tc") => State::Tc,
        _ if datapath.starts_with("netdev@") => State::Userspace,
        _ => State::Kernel,
    };
    let (reason, is_likely) = match state {
        State::Hardware => (None, false),
        State::Partly => (Some(Reason::Partly), false),
        State::Userspace => (Some(user_space(flow, parts).unwrap_or(Reason::Dpdk)), false),
        State::Tc => some(hardware(flow, parts, facts)),
        State::Kernel => some(kernel(flow, parts, facts)),
    };
    let connection = parts.keys.iter().find(|key| key.name == "ct_state");
    let connection = connection.and_then(|key| ct_state(key.arguments()?));
    let is_icmp = parts.keys.iter().any(|key| matches!(tc::proto(key), Some("1" | "58")));
    Verdict {
        state,
        reason,
        is_likely,
        is_icmp_through_conntrack: parts.uses_conntrack && is_icmp,
        is_for_new_connections: connection.is_some_and(|state| state.has("new")),
    }
}

fn some((reason, is_likely): (Reason, bool)) -> (Option<Reason>, bool) {
    (Some(reason), is_likely)
}

/// What is sent to user space, if it is.
fn user_space(flow: &Flow<'_>, parts: &Parts<'_>) -> Option<Reason> {
    let action = flow.actions().find(|action| action.name == "userspace")?;
    let mut what = items(action.arguments()?);
    let what = what.find(|item| !matches!(item.name, "pid" | "actions" | "tunnel_out_port"));
    Some(match what.map(|item| item.name) {
        Some("slow_path") => Reason::SlowPath(slow_path(parts)),
        Some("controller") => Reason::Controller,
        Some(other) => Reason::Userspace(other.to_owned()),
        None => Reason::Userspace("userspace".to_owned()),
    })
}

/// What a flow to ovs-vswitchd is about.
fn slow_path(parts: &Parts<'_>) -> &'static str {
    let has = |name: &str| parts.keys.iter().any(|key| key.name == name);
    if has("arp") {
        "OVN answers ARP"
    } else if has("nd") || parts.has_field("type=135") || parts.has_field("type=133") {
        "OVN answers neighbour discovery"
    } else if parts.has_field("dst=67") || parts.has_field("dst=547") {
        "OVN answers DHCP"
    } else if has("icmp") || has("icmpv6") {
        "OVN answers ping to a gateway"
    } else {
        "one of its actions only ovs-vswitchd can do"
    }
}

/// Why a flow is in the kernel's data path and not in tc: what keeps it in user space first, as no setting changes that, and
/// then in the order in which Open vSwitch looks. Whether that was concluded, too.
fn kernel(flow: &Flow<'_>, parts: &Parts<'_>, facts: &Facts) -> (Reason, bool) {
    if let Some(reason) = user_space(flow, parts) {
        return (reason, false);
    }
    if !facts.hw_offload {
        return (Reason::HwOffloadOff, false);
    }
    if let Some(reason) = tc::key(&parts.keys).or_else(|| tc::actions(flow.actions)) {
        return (reason, false);
    }
    if parts.recirculates || parts.is_recirculated {
        match facts.shares_recirculation {
            Some(false) => return (Reason::Recirculation, false),
            None => return (Reason::Recirculation, true),
            Some(true) => {}
        }
    }
    // with skip_sw, what the hardware does not take is not in tc either
    if facts.tc_policy == TcPolicy::SkipSw {
        return (hardware(flow, parts, facts).0, true);
    }
    let mut all = std::iter::once(parts.in_port).chain(parts.outputs.iter().copied());
    match all.find(|port| facts.kind(port) == Kind::Userspace) {
        Some(port) => (not_of_nic(port, Kind::Userspace), false),
        None => (Reason::RefusedBySoftware, false),
    }
}

/// Why a flow is in tc and not in hardware. Neither tells, so most of it is concluded; settings are seen, and so is a port
/// by which packets never come from the NIC.
fn hardware(flow: &Flow<'_>, parts: &Parts<'_>, facts: &Facts) -> (Reason, bool) {
    if facts.tc_policy == TcPolicy::SkipHw {
        return (Reason::SkipHw, false);
    }
    let from = parts.in_port;
    match facts.kind(from) {
        Kind::Tunnel => return (Reason::Tunnel(from.to_owned()), true),
        kind @ (Kind::Internal | Kind::Software | Kind::Userspace) => return (not_of_nic(from, kind), false),
        Kind::Representor | Kind::Uplink | Kind::Bond | Kind::Unknown => {}
    }
    if facts
        .ports
        .get(from)
        .is_some_and(|port| port.hw_tc_offload == Some(false))
    {
        return (Reason::HwTcOffloadOff(from.to_owned()), false);
    }
    let outputs = || parts.outputs.iter().copied();
    let is_foreign = |port: &&str| matches!(facts.kind(port), Kind::Internal | Kind::Software | Kind::Userspace);
    if let Some(mirror) = outputs().find(|port| facts.is_mirror(port) && is_foreign(port)) {
        return (Reason::Mirror(mirror.to_owned()), true);
    }
    if let Some(port) = outputs().find(is_foreign) {
        return (not_of_nic(port, facts.kind(port)), true);
    }
    let switch_id = |port: &str| facts.ports.get(port).and_then(|port| port.switch_id.as_deref());
    let is_elsewhere = |port: &&str| {
        switch_id(port)
            .zip(switch_id(from))
            .is_some_and(|(to, from)| to != from)
    };
    if let Some(to) = outputs().find(is_elsewhere) {
        let (from, to) = (from.to_owned(), to.to_owned());
        return (Reason::OtherEswitch { from, to }, true);
    }
    if let Some(tunnel) = outputs().find(|port| facts.kind(port) == Kind::Tunnel) {
        return (Reason::Tunnel(tunnel.to_owned()), true);
    }
    if parts.uses_conntrack || parts.recirculates || parts.is_recirculated {
        return (Reason::Conntrack, true);
    }
    (Reason::RefusedByNic(special(flow, parts)), true)
}

fn not_of_nic(port: &str, kind: Kind) -> Reason {
    let what = match kind {
        Kind::Internal => "a port of the host that Open vSwitch made",
        Kind::Userspace => "a port of DPDK",
        _ => "a netdev in software, such as a pod's veth",
    };
    let port = port.to_owned();
    Reason::NotOfNic { port, what }
}

/// What a NIC may not know of a flow: all but matching and sending on.
fn special(flow: &Flow<'_>, parts: &Parts<'_>) -> String {
    const MOST: usize = 8;
    let mut found: Vec<String> = Vec::new();
    for action in flow.actions() {
        let what = match (action.name, action.arguments()) {
            ("set", Some(field)) => format!("set({})", items(field).next().map_or("", |field| field.name)),
            ("pop_vlan", None) => "pop_vlan".to_owned(),
            (_, None) => continue,
            (name, Some(_)) => name.to_owned(),
        };
        if !found.contains(&what) && found.len() < MOST {
            found.push(what);
        }
    }
    if parts.outputs.len() > 1 {
        found.push(format!("{} outputs", parts.outputs.len()));
    }
    found.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(line: &str, datapath: &str) -> Verdict {
        let flow = Flow::parse(line).unwrap();
        let facts = Facts {
            hw_offload: true,
            shares_recirculation: Some(true),
            ..Facts::default()
        };
        classify(&flow, &Parts::of(&flow), datapath, &facts)
    }

    #[test]
    fn with_dpdk() {
        for (line, state, code) in [
            ("in_port(a), packets:1, dp:ovs, actions:b", State::Userspace, "dpdk"),
            (
                "in_port(a), packets:1, offloaded:partial, dp:ovs, actions:b",
                State::Partly,
                "partial",
            ),
            (
                "in_port(a), packets:1, dp:ovs, actions:userspace(pid=0,slow_path(action))",
                State::Userspace,
                "slow-path",
            ),
        ] {
            let found = verdict(line, "netdev@ovs-netdev");
            assert_eq!(
                (found.state, found.reason.map(|reason| reason.code())),
                (state, Some(code)),
                "{line}"
            );
        }
        let whole = verdict(
            "in_port(a), packets:1, offloaded:yes, dp:dpdk, actions:b",
            "netdev@ovs-netdev",
        );
        assert_eq!((whole.state, whole.reason), (State::Hardware, None));
    }

    #[test]
    fn what_goes_to_user_space() {
        for (line, text) in [
            (
                "arp(op=1), packets:0, dp:ovs, actions:userspace(pid=1,slow_path(action))",
                "ARP",
            ),
            (
                "ipv6(proto=58),icmpv6(type=135), packets:0, dp:ovs, actions:userspace(pid=1,slow_path(action))",
                "neighbour",
            ),
            (
                "udp(src=68,dst=67), packets:0, dp:ovs, actions:userspace(pid=1,slow_path(controller))",
                "DHCP",
            ),
            (
                "icmp(type=8), packets:0, dp:ovs, actions:userspace(pid=1,slow_path(action))",
                "ping",
            ),
            (
                "tcp(dst=1), packets:0, dp:ovs, actions:userspace(pid=1,slow_path(action))",
                "only ovs-vswitchd",
            ),
            (
                "tcp(dst=1), packets:0, dp:ovs, actions:userspace(pid=1,controller(reason=1))",
                "ovn-controller",
            ),
            (
                "tcp(dst=1), packets:0, dp:ovs, actions:userspace(pid=1,sFlow(vid=0)),b",
                "(sFlow)",
            ),
            ("tcp(dst=1), packets:0, dp:ovs, actions:userspace(pid=1)", "(userspace)"),
        ] {
            let reason = verdict(line, "system@ovs-system").reason.unwrap();
            assert!(reason.text().contains(text), "{line}: {}", reason.text());
        }
    }

    /// With a kernel that can, and a NIC that does not take it, or not yet.
    #[test]
    fn conntrack_in_tc() {
        let line =
            "recirc_id(0x4),in_port(a),ct_state(0x21/0x3f),ipv4(proto=6), packets:1, dp:tc, actions:ct(commit),b";
        let found = verdict(line, "system@ovs-system");
        assert_eq!(
            (found.state, found.reason, found.is_likely),
            (State::Tc, Some(Reason::Conntrack), true)
        );
        assert!(found.is_for_new_connections && !found.is_icmp_through_conntrack);
        let line = line
            .replace("proto=6", "proto=1")
            .replace("dp:tc", "offloaded:yes, dp:tc");
        let found = verdict(&line, "system@ovs-system");
        assert_eq!((found.state, found.is_icmp_through_conntrack), (State::Hardware, true));
    }

    #[test]
    fn actions_in_actions() {
        let line = "in_port(a), packets:1, dp:ovs, \
            actions:check_pkt_len(size=1500,gt(drop),le(clone(ct(zone=1),recirc(0x7)),b)),sample(sample=1.0%,actions(c)),pop_vlan,d";
        let flow = Flow::parse(line).unwrap();
        let parts = Parts::of(&flow);
        assert_eq!(parts.outputs, ["b", "c", "d"]);
        assert!(parts.recirculates && parts.uses_conntrack && !parts.is_recirculated);
        // no deeper than Open vSwitch nests, however deep a text is
        let deep = format!(
            "in_port(a), packets:1, actions:{}b{}",
            "clone(".repeat(5000),
            ")".repeat(5000)
        );
        assert!(Parts::of(&Flow::parse(&deep).unwrap()).outputs.is_empty());
    }
}
