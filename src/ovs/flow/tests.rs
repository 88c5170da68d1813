//! On lines that Open vSwitch 3.1 wrote in the lab, and on forms of other versions (its tests/dpctl.at, odp.at).

use super::*;

const CT: &str = "ufid:af52da5e-a89a-4ab2-8732-2fea146a9830, recirc_id(0x4),dp_hash(0/0),skb_priority(0/0),in_port(eth8),\
    ct_state(0x22/0x3f),ct_mark(0/0x1),eth(src=02:00:00:10:00:10,dst=02:00:00:10:00:11),eth_type(0x0800),\
    ipv4(src=0.0.0.0/0.0.0.0,dst=0.0.0.0/0.0.0.0,proto=6,tos=0/0,ttl=0/0,frag=no),tcp(src=0/0,dst=0/0), packets:206, \
    bytes:303596, used:0.525s, flags:SFP., offloaded:yes, dp:tc, actions:ct(commit,zone=7,mark=0/0x1,nat(src)),ct(zone=8),recirc(0x5)";

#[test]
fn a_line() {
    let flow = Flow::parse(CT).unwrap();
    assert_eq!(flow.ufid, Some(0xaf52_da5e_a89a_4ab2_8732_2fea_146a_9830));
    assert!(
        flow.key.starts_with("recirc_id(0x4),") && flow.key.ends_with("tcp(src=0/0,dst=0/0)"),
        "{}",
        flow.key
    );
    assert_eq!(
        (flow.packets, flow.bytes, flow.used, flow.tcp_flags),
        (206, 303_596, Some(0.525), "SFP.")
    );
    assert_eq!((flow.offloaded, flow.layer), (Offloaded::Yes, "tc"));
    let names: Vec<&str> = flow.keys().iter().map(|key| key.name).collect();
    assert_eq!(
        names,
        [
            "recirc_id",
            "dp_hash",
            "skb_priority",
            "in_port",
            "ct_state",
            "ct_mark",
            "eth",
            "eth_type",
            "ipv4",
            "tcp"
        ]
    );
    let actions: Vec<(&str, Option<&str>)> = flow.actions().map(|action| (action.name, action.arguments())).collect();
    assert_eq!(
        actions,
        [
            ("ct", Some("commit,zone=7,mark=0/0x1,nat(src)")),
            ("ct", Some("zone=8")),
            ("recirc", Some("0x5"))
        ]
    );
}

#[test]
fn other_forms() {
    let short = Flow::parse(
        "recirc_id(0),in_port(2),eth(),eth_type(0x86dd),ipv6(frag=no), packets:0, bytes:0, used:never, actions:drop",
    );
    let short = short.unwrap();
    assert_eq!(
        (short.ufid, short.used, short.layer, short.actions),
        (None, None, "", "drop")
    );
    assert_eq!(short.offloaded, Offloaded::No);
    assert!(short.actions().all(|action| action.is_bare()));

    let dpdk = "ufid:00000000-0000-0000-0000-00000000000A, in_port(dpdk0), packets:1, bytes:2, used:9.000s, offloaded:partial, \
        dp:ovs, actions:tnl_pop(genev_sys_6081), dp-extra-info:miniflow_bits(5,1)";
    let dpdk = Flow::parse(dpdk).unwrap();
    assert_eq!(
        (dpdk.ufid, dpdk.offloaded, dpdk.actions),
        (Some(10), Offloaded::Partly, "tnl_pop(genev_sys_6081)")
    );

    let vlan = "in_port(eth0),eth_type(0x8100),vlan(vid=100,pcp=0),encap(eth_type(0x0800),ipv4(dst=10.18.0.13)), packets:5, \
        bytes:7, used:0.4s, later:what(is,this), actions:pop_vlan,eth11";
    let vlan = Flow::parse(vlan).unwrap();
    let keys: Vec<&str> = vlan.keys().iter().map(|key| key.text).collect();
    assert_eq!(
        keys,
        [
            "in_port(eth0)",
            "eth_type(0x8100)",
            "vlan(vid=100,pcp=0)",
            "eth_type(0x0800)",
            "ipv4(dst=10.18.0.13)"
        ]
    );

    let tunnel = "set(tunnel(tun_id=0x1,dst=172.30.0.2,geneve({class=0x102,type=0x80,len=4,0x20004}),flags(csum|key))),genev_sys_6081";
    let tunnel: Vec<&str> = items(tunnel).map(|action| action.name).collect();
    assert_eq!(tunnel, ["set", "genev_sys_6081"]);
}

#[test]
fn what_is_no_flow() {
    for line in [
        "",
        "flow-dump from pmd on cpu core: 3",
        "flow-dump from the main thread:",
        "ovs-vswitchd: no datapaths exist",
        "packets:x, bytes:0, actions:drop",
        "packets:1, bytes:0",
        "actions:drop, packets:1",
        ",,,,",
        "((((((",
        "))),actions:",
        "\u{e9}(\u{e9}),packets:\u{e9}",
    ] {
        assert_eq!(Flow::parse(line), None, "{line}");
    }
    // cut off anywhere, never a panic
    for (end, _) in CT.char_indices() {
        if let Some(flow) = Flow::parse(&CT[..end]) {
            assert!(flow.keys().len() < 20 && flow.actions().count() < 20);
        }
    }
}

#[test]
fn parentheses_that_do_not_fit() {
    let texts: Vec<&str> = items("a(b,c)),d,(e,f").map(|item| item.text).collect();
    assert_eq!(texts, ["a(b,c))", "d", "(e,f"]);
    assert_eq!(
        items("set(ipv4(ttl=63)").next().unwrap().arguments(),
        Some("ipv4(ttl=63")
    );
    // no deeper than there are headers, however deep the text is
    let deep = format!(
        "{}x{}, packets:1, actions:drop",
        "encap(".repeat(10_000),
        ")".repeat(10_000)
    );
    assert_eq!(Flow::parse(&deep).unwrap().keys().len(), 0);
}

#[test]
fn masks() {
    for (value, matched) in [
        ("0/0", false),
        ("0x0/0x0", false),
        ("::/::", false),
        (
            "src=00:00:00:00:00:00/00:00:00:00:00:00,dst=00:00:00:00:00:00/00:00:00:00:00:00",
            false,
        ),
        (
            "src=0.0.0.0/0.0.0.0,dst=0.0.0.0/0.0.0.0,proto=0/0,tos=0/0,ttl=0/0",
            false,
        ),
        ("", false),
        ("0", true),
        ("0x5/0xf", true),
        ("src=00:00:00:00:00:00/01:00:00:00:00:00,dst=::", true),
        ("src=0.0.0.0/0.0.0.0,dst=10.0.0.0/255.192.0.0", true),
        ("tun_id=0x1,flags(-df+csum+key)", true),
        ("geneve({class=0,type=0,len=4,0x0/0x0})", false),
        ("src=::/::,dst=::/ffc0::", true),
        ("/", true),
    ] {
        assert_eq!(is_matched(value), matched, "{value}");
    }
    assert_eq!(masked("0x5/0xf"), Some(Masked { value: 5, mask: 15 }));
    assert_eq!(masked("7").unwrap().mask, u64::MAX);
    assert_eq!(masked("a/b"), None);
    assert_eq!(number("18446744073709551616"), None);
}

#[test]
fn states_of_connections() {
    let hexadecimal = ct_state("0x2a/0x3f").unwrap();
    assert!(hexadecimal.has("trk") && hexadecimal.has("est") && hexadecimal.has("rpl"));
    assert!(!hexadecimal.has("new") && hexadecimal.asks("new") && !hexadecimal.asks("dnat"));
    let words = ct_state("-new+est-rel+rpl-inv+trk").unwrap();
    assert_eq!(words, hexadecimal);
    assert!(ct_state("+dnat").unwrap().asks("dnat"));
    // a name that is not known is looked over
    assert!(!ct_state("+later").unwrap().asks("later"));
    for wrong in ["est", "0x/0", "é", "+é-"] {
        let _ = ct_state(wrong);
    }
    assert_eq!(ct_state("est"), None);
}
