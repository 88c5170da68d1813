//! A flow in a few words.

use std::net::IpAddr;

use kube_ovn::ovs::flow::{Flow, Item, ct_state, is_matched, items, masked, number};

use super::classify::Parts;
use super::tc;

/// What it matches, without what it does not look at: `ip 10.16.0.10 > 10.17.0.0/29 tcp * > 80 ct est`.
pub(crate) fn matches(parts: &Parts<'_>) -> String {
    let mut words: Vec<String> = Vec::new();
    let value = |name: &str| parts.keys.iter().find(|key| key.name == name).and_then(Item::arguments);
    if let Some(id) = value("recirc_id").and_then(masked).filter(|id| id.value != 0) {
        words.push(format!("pass {:#x}:", id.value));
    }
    if let Some(tunnel) = value("tunnel") {
        words.push(format!("tunnel {}", field(tunnel, "tun_id").unwrap_or("?")));
    }
    if let Some(tag) = value("vlan").and_then(|vlan| field(vlan, "vid")) {
        words.push(format!("vlan {tag}"));
    }
    words.push(network(parts));
    let headers = value("ipv4").or(value("ipv6")).map(|ip| (ip, "src", "dst"));
    let headers = headers.or(value("arp").map(|arp| (arp, "sip", "tip")));
    let addresses = headers.and_then(|(header, from, to)| between(address(header, from), address(header, to)));
    let ethernet = || value("eth").and_then(|eth| between(address(eth, "src"), address(eth, "dst")));
    words.extend(addresses.or_else(ethernet));
    let proto = parts.keys.iter().find_map(tc::proto);
    words.extend(proto.map(|proto| match proto {
        "1" => "icmp".to_owned(),
        "2" => "igmp".to_owned(),
        "6" => "tcp".to_owned(),
        "17" => "udp".to_owned(),
        "58" => "icmpv6".to_owned(),
        "132" => "sctp".to_owned(),
        other => format!("proto {other}"),
    }));
    let transport = value("tcp").or(value("udp")).or(value("sctp"));
    words.extend(transport.and_then(|ports| between(address(ports, "src"), address(ports, "dst"))));
    let icmp = value("icmp").or(value("icmpv6")).and_then(|icmp| field(icmp, "type"));
    words.extend(icmp.map(|kind| format!("type {kind}")));
    if let Some(state) = value("ct_state").filter(|state| is_matched(state)).and_then(ct_state) {
        let set = ["new", "est", "rel", "rpl", "inv"]
            .into_iter()
            .filter(|name| state.has(name));
        let set: Vec<&str> = set.collect();
        words.push(format!("ct {}", set.join("+")).trim_end().to_owned());
    }
    words.join(" ")
}

/// The network protocol: behind a VLAN tag there is a second one.
fn network(parts: &Parts<'_>) -> String {
    let kind = parts
        .keys
        .iter()
        .rfind(|key| key.name == "eth_type")
        .and_then(Item::arguments);
    let known = match kind.and_then(number) {
        Some(0x0800) => "ip",
        Some(0x86dd) => "ipv6",
        Some(0x0806) => "arp",
        Some(0x8035) => "rarp",
        _ => return kind.map_or_else(|| "any".to_owned(), |kind| format!("type {kind}")),
    };
    known.to_owned()
}

/// What it does, beside sending on: `set eth ipv4, ct commit nat, pass 0x5`.
pub(crate) fn actions(flow: &Flow<'_>) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut sets: Vec<&str> = Vec::new();
    for action in flow.actions() {
        match (action.name, action.arguments()) {
            ("drop" | "pop_vlan" | "ct_clear" | "pop_eth", None) => words.push(action.name.to_owned()),
            (_, None) => {}
            ("set", Some(set)) => sets.extend(items(set).next().map(|field| field.name)),
            ("ct", Some(ct)) => {
                let parts = items(ct).map(|item| item.name);
                let parts = parts.filter(|name| matches!(*name, "commit" | "nat" | "helper"));
                words.push(std::iter::once("ct").chain(parts).collect::<Vec<_>>().join(" "));
            }
            ("recirc", Some(id)) => words.push(format!("pass {id}")),
            ("push_vlan", Some(vlan)) => words.push(format!("vlan {}", field(vlan, "vid").unwrap_or("?"))),
            ("userspace", Some(what)) => {
                let what = items(what).find(|item| item.name != "pid");
                words.push(what.map_or("userspace", |item| item.name).to_owned());
            }
            (name, Some(_)) => words.push(name.to_owned()),
        }
    }
    if !sets.is_empty() {
        words.insert(0, format!("set {}", sets.join(" ")));
    }
    words.join(", ")
}

fn field<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let found = items(list).find(|field| field.name == name)?.value()?;
    is_matched(found).then_some(found)
}

/// A field with its mask as a prefix, when it is looked at.
fn address(list: &str, name: &str) -> Option<String> {
    let value = field(list, name)?;
    let Some((address, mask)) = value.split_once('/') else {
        return Some(value.to_owned());
    };
    // the lowest bit of a MAC's first byte tells them apart
    if mask == "01:00:00:00:00:00" {
        let is_multicast = address.starts_with("01");
        return Some(if is_multicast { "multicast" } else { "unicast" }.to_owned());
    }
    let bits = match mask.parse() {
        Ok(IpAddr::V4(mask)) => prefix(u128::from(u32::from(mask)) << 96),
        Ok(IpAddr::V6(mask)) => prefix(u128::from(mask)),
        Err(_) => None,
    };
    Some(match bits {
        Some(bits) => format!("{address}/{bits}"),
        None => value.to_owned(),
    })
}

/// The length of a prefix, if the mask is one.
fn prefix(mask: u128) -> Option<u32> {
    (mask.leading_ones() == mask.count_ones()).then(|| mask.count_ones())
}

fn between(from: Option<String>, to: Option<String>) -> Option<String> {
    if from.is_none() && to.is_none() {
        return None;
    }
    let any = || "*".to_owned();
    Some(format!("{} > {}", from.unwrap_or_else(any), to.unwrap_or_else(any)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_few_words() {
        for (line, what, does) in [
            (
                "recirc_id(0x4),in_port(eth8),ct_state(0x2a/0x3f),eth(src=02:00:00:10:00:10,dst=02:00:00:10:00:11),\
                 eth_type(0x0800),ipv4(src=10.16.0.8/255.255.255.248,dst=10.17.0.12,proto=6,tos=0/0,ttl=64,frag=no),\
                 tcp(src=0/0,dst=80), packets:1, \
                 actions:set(eth(src=02:00:00:00:17:01)),set(ipv4(ttl=63)),ct(commit,zone=7,nat(src)),recirc(0x5)",
                "pass 0x4: ip 10.16.0.8/29 > 10.17.0.12 tcp * > 80 ct est+rpl",
                "set eth ipv4, ct commit nat, pass 0x5",
            ),
            (
                "in_port(eth8),eth(src=02:00:00:10:00:10,dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806),\
                 arp(sip=10.16.0.10,tip=10.16.0.11,op=1/0xff), packets:0, actions:userspace(pid=4294967295,slow_path(action))",
                "arp 10.16.0.10 > 10.16.0.11",
                "slow_path",
            ),
            (
                "in_port(eth0),eth(src=62:fa:fe:c7:f5:82,dst=02:00:00:10:00:13),eth_type(0x8100),vlan(vid=100,pcp=0),\
                 encap(eth_type(0x0800),ipv4(src=0.0.0.0/0.0.0.0,dst=0.0.0.0/0.0.0.0,proto=0/0)), packets:1, \
                 actions:pop_vlan,eth11",
                "vlan 100 ip 62:fa:fe:c7:f5:82 > 02:00:00:10:00:13",
                "pop_vlan",
            ),
            (
                "tunnel(tun_id=0x1,src=1.1.1.1),in_port(genev_sys_6081),eth_type(0x86dd),ipv6(src=fe80::/ffc0::,proto=58),\
                 icmpv6(type=133,code=0), packets:1, actions:push_vlan(vid=7,pcp=0),meter(1),eth9,eth10",
                "tunnel 0x1 ipv6 fe80::/10 > * icmpv6 type 133",
                "vlan 7, meter",
            ),
            (
                "in_port(eth9),eth(src=00:00:00:00:00:00/01:00:00:00:00:00,dst=02:00:00:10:00:10),eth_type(0x0800), packets:1, \
                 actions:eth8",
                "ip unicast > 02:00:00:10:00:10",
                "",
            ),
            (
                "in_port(br-int),eth(),eth_type(0x88cc), packets:1, actions:drop",
                "type 0x88cc",
                "drop",
            ),
        ] {
            let flow = Flow::parse(line).unwrap();
            assert_eq!(
                (matches(&Parts::of(&flow)).as_str(), actions(&flow).as_str()),
                (what, does),
                "{line}"
            );
        }
    }
}
