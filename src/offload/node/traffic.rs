//! What goes by a PF that a change of its eswitch would interrupt: the node's default route, the tunnel to other nodes, kubelet.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use kube_ovn::net::{Link, Netlink, Stack};
use kube_ovn::ovs::{self, Ovs, Row, Select};

use super::facts::{Facts, Links};
use super::kubelet;
use crate::machine::block_on;

/// Open vSwitch answers from memory.
const ANSWER: Duration = Duration::from_secs(2);

/// A link by which the PF is used: its own netdev, or what is stacked on it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Carrier {
    pub(super) name: String,
    pub(super) has_default_route: bool,
    pub(super) addresses: Vec<IpAddr>,
}

/// What the node must not lose.
#[derive(Debug, Default, Clone)]
pub(super) struct Needed {
    /// The addresses that tunnels to other nodes begin at (`external_ids:ovn-encap-ip`).
    pub(super) tunnel: Vec<IpAddr>,
    /// kubelet's, each with how it is known.
    pub(super) kubelet: Vec<(IpAddr, &'static str)>,
}

/// Why the PF must not be interrupted, each reason a part of a sentence about it.
pub(super) fn reasons(carriers: &[Carrier], needed: &Needed) -> Vec<String> {
    let mut found = Vec::new();
    for carrier in carriers {
        let by = &carrier.name;
        if carrier.has_default_route {
            found.push(format!("the default route (by {by})"));
        }
        for address in &carrier.addresses {
            if needed.tunnel.contains(address) {
                found.push(format!(
                    "the tunnel address {address} (external_ids:ovn-encap-ip, on {by})"
                ));
            }
            if let Some((_, how)) = needed.kubelet.iter().find(|(theirs, _)| theirs == address) {
                found.push(format!("kubelet's address {address} ({how}, on {by})"));
            }
        }
    }
    found
}

/// What is seen of this machine, and what could not be asked.
pub(super) fn look(facts: &Facts, links: &Links) -> Result<(Vec<Carrier>, Needed, Vec<String>), String> {
    let Ok(uplink) = &facts.uplink else {
        return Ok((Vec::new(), Needed::default(), Vec::new()));
    };
    let mut unasked = Vec::new();
    let (tunnel, bridges) = match block_on(open_vswitch())? {
        Ok(found) => found,
        Err(why) => {
            let below = stacked(uplink.netdev.ifindex, &[], links);
            if below.iter().filter_map(|index| links.get(*index)).any(is_datapath) {
                return Err(format!(
                    "the uplink is a port of Open vSwitch, and what goes by its bridge can't be told: {why}; where it may be interrupted, \
                     add --yes-disrupt"
                ));
            }
            unasked.push(format!(
                "whether the PF carries the tunnel's address can't be told: {why}"
            ));
            (Vec::new(), Vec::new())
        }
    };
    let carriers = block_on(carriers(uplink.netdev.ifindex, &bridges, links))??;
    let needed = Needed {
        tunnel,
        kubelet: kubelet::addresses(Path::new("/proc")),
    };
    Ok((carriers, needed, unasked))
}

/// A bridge of Open vSwitch, as one of Kube-OVN's provider networks has it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Bridge {
    /// The netdevs that are its ports.
    ports: Vec<String>,
    /// Those of them that it has made itself: with the node's addresses when the others have none, and nothing in the kernel leads from
    /// the ones to the others.
    internal: Vec<String>,
}

/// The netdev of the kernel's data path, which is the master of all ports of Open vSwitch's.
fn is_datapath(link: &Link) -> bool {
    link.name.as_str() == "ovs-system"
}

/// The tunnel's addresses, and the bridges.
async fn open_vswitch() -> Result<(Vec<IpAddr>, Vec<Bridge>), String> {
    let select = |table, columns| Select { table, columns };
    let ovs = Ovs::at(Path::new(ovs::DIRECTORY));
    let selects = [
        select("Open_vSwitch", &["external_ids"][..]),
        select("Bridge", &["ports"]),
        select("Port", &["_uuid", "interfaces"]),
        select("Interface", &["_uuid", "name", "type"]),
    ];
    let tables = ovs
        .read(&selects, Instant::now() + ANSWER)
        .await
        .map_err(|error| error.to_string())?;
    let [all, bridges, ports, interfaces] = tables.as_slice() else {
        return Err("not as many tables as were asked for".to_owned());
    };
    let mut tunnel: Vec<IpAddr> = Vec::new();
    for row in all {
        let ids = row.map("external_ids");
        let listed = ids.get("ovn-encap-ip").map(String::as_str).unwrap_or_default();
        tunnel.extend(listed.split(',').filter_map(|text| text.trim().parse::<IpAddr>().ok()));
    }
    let found = bridges.iter().map(|bridge| {
        let of_bridge = bridge.uuids("ports");
        let members: Vec<String> = ports
            .iter()
            .filter(|port| of_bridge.contains(&port.uuid()))
            .flat_map(|port| port.uuids("interfaces"))
            .collect();
        let (internal, others) = interfaces
            .iter()
            .filter(|row| members.contains(&row.uuid()))
            .partition::<Vec<_>, _>(|row| row.text("type") == "internal");
        let names = |rows: Vec<&Row>| rows.iter().map(|row| row.text("name")).collect();
        Bridge {
            ports: names(others),
            internal: names(internal),
        }
    });
    Ok((tunnel, found.collect()))
}

/// The links by which the PF is used: what is stacked on it (VLAN, macvlan), what it is a part of (bond, bridge), and so on.
async fn carriers(uplink: u32, bridges: &[Bridge], links: &Links) -> Result<Vec<Carrier>, String> {
    let stack = Netlink::own().map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for index in stacked(uplink, bridges, links) {
        let Some(link) = links.get(index) else { continue };
        let routes = stack.routes(index).await.map_err(|error| error.to_string())?;
        let addresses = stack.addresses(index).await.map_err(|error| error.to_string())?;
        found.push(Carrier {
            name: link.name.to_string(),
            has_default_route: routes.iter().any(|(destination, _)| destination.is_none()),
            addresses: addresses.iter().map(|address| address.ip.ip()).collect(),
        });
    }
    Ok(found)
}

/// The indices of the uplink and of all that stands on it.
fn stacked(uplink: u32, bridges: &[Bridge], links: &Links) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([uplink]);
    loop {
        let of = |name: &String| {
            links
                .all()
                .find(|link| link.name.as_str() == name)
                .map(|link| link.index)
        };
        let masters = found.iter().filter_map(|index| links.get(*index)?.master);
        let upper = links
            .all()
            .filter(|link| link.lower.is_some_and(|lower| found.contains(&lower)))
            .map(|link| link.index);
        let beside = bridges
            .iter()
            .filter(|bridge| bridge.ports.iter().filter_map(of).any(|index| found.contains(&index)))
            .flat_map(|bridge| bridge.internal.iter().filter_map(of));
        let more: Vec<u32> = masters
            .chain(upper)
            .chain(beside)
            .filter(|index| !found.contains(index))
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_lost() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let carriers = [
            Carrier {
                name: "p0".to_owned(),
                has_default_route: true,
                addresses: vec![ip("192.0.2.1")],
            },
            Carrier {
                name: "p0.7".to_owned(),
                has_default_route: false,
                addresses: vec![ip("198.51.100.1"), ip("2001:db8::1")],
            },
        ];
        let needed = Needed {
            tunnel: vec![ip("198.51.100.1")],
            kubelet: vec![
                (ip("2001:db8::1"), "its --node-ip"),
                (ip("203.0.113.1"), "it listens there"),
            ],
        };
        assert_eq!(
            reasons(&carriers, &needed),
            [
                "the default route (by p0)",
                "the tunnel address 198.51.100.1 (external_ids:ovn-encap-ip, on p0.7)",
                "kubelet's address 2001:db8::1 (its --node-ip, on p0.7)"
            ]
        );
        assert!(reasons(&carriers, &Needed::default()).len() == 1);
        assert!(reasons(&[], &needed).is_empty());
    }

    #[test]
    fn what_stands_on_the_uplink() {
        let link = |index: u32, name: &str, master: Option<u32>, lower: Option<u32>| {
            let mut link = crate::node::facts::tests::link(index, name);
            link.master = master;
            link.lower = lower;
            link
        };
        let links = Links::from_iter([
            link(1, "lo", None, None),
            link(2, "p0", Some(5), None),
            link(3, "p1", Some(5), None),
            link(4, "eth9", Some(10), None),
            link(5, "bond0", None, None),
            link(6, "bond0.7", Some(8), Some(5)),
            link(7, "br-ext", None, None),
            link(8, "br0", None, None),
            link(9, "mv", None, Some(7)),
            link(10, "ovs-system", None, None),
            link(11, "ovn0", None, None),
            link(12, "bond0.8", Some(10), Some(5)),
            link(13, "br-vlan", None, None),
        ]);
        let bridge = |ports: &[&str], internal: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Bridge {
                ports: names(ports),
                internal: names(internal),
            }
        };
        let bridges = [
            bridge(&["eth9", "gone"], &["br-ext"]),
            bridge(&[], &["br-int", "ovn0"]),
            bridge(&["bond0.8"], &["br-vlan"]),
        ];
        let names = |uplink, bridges: &[Bridge]| {
            let indices = stacked(uplink, bridges, &links);
            let names = indices
                .into_iter()
                .map(|index| links.get(index).unwrap().name.to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(4, &[]), "eth9 ovs-system");
        assert_eq!(names(4, &bridges), "eth9 br-ext mv ovs-system");
        assert_eq!(names(2, &[]), "p0 bond0 bond0.7 br0 ovs-system bond0.8");
        assert_eq!(names(2, &bridges), "p0 bond0 bond0.7 br0 ovs-system bond0.8 br-vlan");
    }
}
