//! What Open vSwitch can't give to tc: its own rules, before tc or a driver is asked (`netdev_tc_flow_put`,
//! `test_key_and_mask` and `netdev_tc_parse_nl_actions` in lib/netdev-offload-tc.c at v3.1.0; in 3.7 they are in
//! lib/dpif-offload-tc-netdev.c).

use kube_ovn::ovs::flow::{Item, ct_state, is_matched, items, masked};

use super::reason::{MAX_ACTIONS, Reason};

/// The reason in what a flow matches, if there is one.
pub(crate) fn key(keys: &[Item<'_>]) -> Option<Reason> {
    let key = |what: &str| Some(Reason::Key(what.to_owned()));
    for item in keys {
        let value = item.arguments().unwrap_or_default();
        if !is_matched(value) {
            continue;
        }
        let found = match item.name {
            // an exact 0 is what every packet has
            "skb_mark" if masked(value).is_some_and(|mark| mark.mask < u64::from(u32::MAX) || mark.value != 0) => {
                key("the packet's mark (skb_mark)")
            }
            "dp_hash" => Some(Reason::DpHash),
            "skb_priority" => key("the packet's priority (skb_priority)"),
            "packet_type" if !value.starts_with("ns=0") => key("packets without an Ethernet header"),
            "ct_state" if ct_state(value).is_some_and(|state| state.asks("snat") || state.asks("dnat")) => {
                key("whether a packet was translated (ct_state snat, dnat)")
            }
            "ct_tuple4" | "ct_tuple6" => key("the connection's original addresses (ct_tuple)"),
            "nd" => key("the addresses in neighbour discovery (nd)"),
            "nd_ext" => key("options of neighbour discovery (nd_ext)"),
            "nsh" => key("NSH headers"),
            "ipv6" => ipv6(value),
            "mpls" if value.matches("label=").count() > 1 => key("more than one MPLS label"),
            "vlan" if partly(value) => key("a part of a VLAN's number"),
            // IGMP's type stands where ICMP's does
            "igmp" => key("IGMP's type"),
            "icmp" if keys.iter().find_map(proto) == Some("2") => key("IGMP's type"),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The reason in what a flow does, if there is one.
pub(crate) fn actions(list: &str) -> Option<Reason> {
    let mut count = 0;
    for item in items(list) {
        count += 1;
        let found = match (item.name, item.arguments()) {
            // since 3.0; what is in its branches counts as well, and no deeper than this
            ("check_pkt_len", Some(arguments)) => {
                let branches = items(arguments).filter(|branch| matches!(branch.name, "gt" | "le"));
                let mut inner = branches.flat_map(|branch| items(branch.arguments().unwrap_or_default()));
                inner.find_map(|inner| action(&inner))
            }
            _ => action(&item),
        };
        if found.is_some() {
            return found;
        }
    }
    (count > MAX_ACTIONS).then_some(Reason::TooManyActions(count))
}

/// Actions that Open vSwitch gives to nobody but the data path.
const NOT_IN_TC: [&str; 14] = [
    "sample",
    "clone",
    "trunc",
    "lb_output",
    "tnl_push",
    "tnl_pop",
    "push_eth",
    "pop_eth",
    "push_nsh",
    "pop_nsh",
    "add_mpls",
    "dec_ttl",
    "psample",
    "emit_sample",
];

/// What `set(…)` may change (`set_flower_map`); of IPv6 not the flow label.
const SETTABLE: [&str; 6] = ["eth", "ipv4", "ipv6", "tcp", "udp", "tunnel"];

fn action(action: &Item<'_>) -> Option<Reason> {
    let arguments = action.arguments().unwrap_or_default();
    let unknown = |what: String| Some(Reason::Action(what));
    match action.name {
        "hash" => Some(Reason::DpHash),
        "ct" if items(arguments).any(|item| item.name == "helper") => unknown("ct(helper)".to_owned()),
        "set" => {
            let field = items(arguments).next()?.name;
            let is_label = field == "ipv6" && arguments.contains("label=");
            if is_label || !SETTABLE.contains(&field) {
                return unknown(format!("set({field})"));
            }
            None
        }
        name => {
            // how an action is written that ovs-appctl has no name for
            let is_unnamed = name
                .strip_prefix("action")
                .is_some_and(|number| number.parse::<u16>().is_ok());
            if NOT_IN_TC.contains(&name) || is_unnamed {
                return unknown(name.to_owned());
            }
            None
        }
    }
}

/// The protocol, when it is matched exactly.
pub(crate) fn proto<'a>(item: &Item<'a>) -> Option<&'a str> {
    if !matches!(item.name, "ipv4" | "ipv6") {
        return None;
    }
    let field = items(item.arguments()?).find(|field| field.name == "proto")?;
    field.value().filter(|value| !value.contains('/'))
}

/// The flow label is not in tc's key, and fragments of IPv6 are not taken.
fn ipv6(value: &str) -> Option<Reason> {
    let field = |name: &str| {
        items(value)
            .find(|field| field.name == name)
            .and_then(|field| field.value())
    };
    if field("label").is_some_and(is_matched) {
        return Some(Reason::Key("IPv6's flow label".to_owned()));
    }
    let is_fragment = field("frag").is_some_and(|frag| matches!(frag, "yes" | "first" | "later"));
    is_fragment.then(|| Reason::Key("fragments of IPv6".to_owned()))
}

/// Whether a field has a mask that is neither all nor nothing.
fn partly(value: &str) -> bool {
    items(value).any(|field| {
        field
            .value()
            .is_some_and(|value| value.contains('/') && is_matched(value))
    })
}

#[cfg(test)]
mod tests {
    use kube_ovn::ovs::flow::items;

    use super::*;

    fn key_of(text: &str) -> Option<Reason> {
        key(&items(text).collect::<Vec<_>>())
    }

    #[test]
    fn what_tc_can_match() {
        for text in [
            "skb_priority(0/0),skb_mark(0/0),ct_state(0x2a/0x3f),ct_zone(0x7),ct_mark(0/0x1),recirc_id(0x4),dp_hash(0/0)",
            "packet_type(ns=0/0,id=0/0),eth(src=02:00:00:10:00:11,dst=00:00:00:00:00:00/01:00:00:00:00:00),eth_type(0x0800)",
            "skb_mark(0)",
            "arp(sip=10.16.0.10,tip=10.16.0.11,op=1/0xff)",
            "ipv6(src=::/::,dst=::/::,label=0/0,proto=58,tclass=0/0,hlimit=255,frag=no),icmpv6(type=133,code=0)",
            "nd(target=::/::,sll=00:00:00:00:00:00/00:00:00:00:00:00,tll=00:00:00:00:00:00/00:00:00:00:00:00)",
            "ipv4(proto=1),icmp(type=8,code=0)",
            "vlan(vid=100,pcp=0)",
            "vlan(vid=100,pcp=0/0x0)",
            "later(1)",
            "tunnel(tun_id=0x1,src=1.1.1.1,dst=1.1.1.2,flags(-df+csum+key))",
        ] {
            assert_eq!(key_of(text), None, "{text}");
        }
    }

    #[test]
    fn what_tc_cannot_match() {
        for (text, word) in [
            ("skb_mark(0x1)", "skb_mark"),
            ("skb_mark(0/0x1)", "skb_mark"),
            ("skb_priority(0x7)", "priority"),
            ("ct_state(0x62/0x7f)", "translated"),
            ("ct_state(+trk+dnat)", "translated"),
            ("ct_tuple4(src=10.0.0.1,dst=0.0.0.0/0.0.0.0)", "original"),
            ("ipv6(src=::/::,label=0x5,proto=6)", "label"),
            ("ipv6(src=::/::,label=0/0,proto=44,frag=later)", "fragments"),
            ("nd(target=fe80::1)", "neighbour"),
            ("vlan(vid=100/0xff,pcp=0/0)", "VLAN"),
            ("packet_type(ns=1,id=0x800)", "Ethernet"),
            ("ipv4(proto=2),icmp(type=17)", "IGMP"),
        ] {
            let reason = key_of(text).unwrap_or_else(|| panic!("{text}"));
            assert!(reason.text().contains(word), "{text}: {}", reason.text());
        }
        assert_eq!(key_of("dp_hash(0x5/0xf)"), Some(Reason::DpHash));
    }

    #[test]
    fn actions_that_tc_can_do_and_those_that_it_cannot() {
        for text in [
            "drop",
            "eth9",
            "set(eth(src=02:00:00:00:17:01,dst=02:00:00:10:00:12)),set(ipv4(ttl=63)),eth10",
            "ct(commit,zone=7,mark=0/0x1,nat(src)),ct(zone=8),recirc(0x5)",
            "push_vlan(vid=100,pcp=0),eth0,br-provider",
            "set(tunnel(tun_id=0x1,dst=172.30.0.2,ttl=64,flags(csum|key))),genev_sys_6081",
            "check_pkt_len(size=1400,gt(drop),le(set(ipv4(ttl=63)),eth9))",
            "meter(1),eth9",
        ] {
            assert_eq!(actions(text), None, "{text}");
        }
        for (text, code, word) in [
            ("hash(l4(0)),recirc(0x12)", "dp-hash", "dp_hash"),
            ("ct(commit,helper=ftp),eth9", "action-not-in-tc", "ct(helper)"),
            ("set(nd(target=fe80::1)),eth9", "action-not-in-tc", "set(nd)"),
            ("set(ipv6(label=0x5)),eth9", "action-not-in-tc", "set(ipv6)"),
            (
                "sample(sample=10.0%,actions(userspace(pid=1))),eth9",
                "action-not-in-tc",
                "sample",
            ),
            ("trunc(100),eth9", "action-not-in-tc", "trunc"),
            (
                "check_pkt_len(size=1400,gt(clone(eth8)),le(eth9))",
                "action-not-in-tc",
                "clone",
            ),
            ("action24(00)", "action-not-in-tc", "action24"),
        ] {
            let reason = actions(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(reason.code(), code, "{text}");
            assert!(reason.text().contains(word), "{text}: {}", reason.text());
        }
        let many = vec!["eth9"; 17].join(",");
        assert_eq!(actions(&many), Some(Reason::TooManyActions(17)));
    }
}
