//! The ports that kube-ovn-daemon makes: whose one is, and its removal.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::database::{Database, Outcome};
use super::{Error, MAX_WORDS, Ovs, map, set, text, uuid_of};
use crate::text::quoted;
use crate::types::{ContainerId, IfName};

/// How often a removal begins anew when the row changed between look and removal.
const ATTEMPTS: u32 = 5;

/// What must be so of a port that is removed: the facts of an attachment.
///
/// The daemon writes on the Interface, from v1.8 to HEAD: `iface-id`, `pod_name`, `pod_namespace`, `pod_netns`, `ip`; all but
/// v1.8 and v1.10 also `vendor=kube-ovn`; since v1.15 also `encap-ip` (`configureNic` in `pkg/daemon/ovs_linux.go`). `pod_netns` is
/// the path of ADD's request, so it tells one sandbox of a pod from the next, which `iface-id` does not.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The sandbox.
    pub container: &'a ContainerId,
    /// The interface in the pod.
    pub ifname: &'a IfName,
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub pod: &'a str,
    /// The netconf's provider.
    pub provider: &'a str,
    /// The path of the network namespace, as ADD told it to the daemon.
    pub netns: &'a Path,
}

/// What came of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The port is gone from OVSDB. ovs-vswitchd takes it off the datapath a moment later.
    Removed,
    /// There is none of that name.
    Absent,
    /// There is one, and it is not that attachment's; how it differs, in words.
    NotOurs(String),
}

/// A port of a bridge with its one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The bridge.
    pub bridge: String,
    /// The Interface's `external_ids`.
    pub external_ids: BTreeMap<String, String>,
    /// What ovs-vswitchd says is wrong with the interface; empty when nothing is.
    pub error: String,
    /// How many interfaces it has: more than one is a bond, of which that interface is a part.
    pub interfaces: usize,
}

/// The name that the daemon gives the port, and with it the representor: `<first 12 of the container ID>_h` for eth0, otherwise
/// `<first 12 - length>_<interface>_h`, where `pod` and 11 digits, as of virtual machines', are shortened to the first 7 of these (`generateNicName`,
/// ovs_linux.go:450-460 at 1533681d7). `None` for names that the daemon can't compute one from.
#[must_use]
pub fn port_name(container: &ContainerId, ifname: &IfName) -> Option<String> {
    let container = container.as_str();
    let ifname = match ifname.as_str() {
        "eth0" => return Some(format!("{}_h", container.get(..12)?)),
        name if name.starts_with("pod") && name.len() == 14 => name.get(3..10)?,
        name => name,
    };
    let id = container.get(..12_usize.checked_sub(ifname.len())?)?;
    Some(format!("{id}_{ifname}_h"))
}

impl Ovs {
    /// Removes the port of an attachment, if what OVSDB says about it is what is expected: a port with its name may belong to
    /// somebody else. What is compared is a condition of the one transaction that removes it.
    ///
    /// A port is found by its name only. Its `iface-id` may be that of another sandbox of the same pod, or of another VF of
    /// the same network (before v1.16.2 these have one `iface-id`), and goes from the older port to the newer.
    pub async fn remove_port(&self, expected: &Expected<'_>, deadline: Instant) -> Result<Removal, Error> {
        let Some(name) = port_name(expected.container, expected.ifname) else {
            return Ok(Removal::Absent); // the daemon panics on such names: it has made none
        };
        let mut database = self.database(deadline).await?;
        let mut iface_ids = expected.iface_ids(expected.pod).to_vec();
        for _ in 0..ATTEMPTS {
            let Some(found) = database.find(&name).await? else {
                database.remove_qos(&iface_ids).await?;
                return Ok(Removal::Absent);
            };
            if let Some(why) = found.port.difference(expected) {
                return Ok(Removal::NotOurs(why));
            }
            match database.change(found.removal(&name)).await? {
                Outcome::Done => {
                    iface_ids.extend(found.port.external_ids.get("iface-id").cloned());
                    database.remove_qos(&iface_ids).await?;
                    return Ok(Removal::Removed);
                }
                Outcome::ConditionFailed | Outcome::InUse => {}
            }
        }
        Err(Error::Unsteady(name))
    }
}

impl Expected<'_> {
    /// The `iface-id`s that the daemon may have given the port of a pod with that name: `pod.namespace`, then the provider unless it
    /// is the cluster's own network (`PodNameToPortName`, pkg/ovs/util.go:22), then since v1.16.2 the interface when the network has
    /// several in the pod.
    fn iface_ids(&self, pod: &str) -> [String; 2] {
        let mut id = format!("{pod}.{}", self.namespace);
        if self.provider != "ovn" {
            id = format!("{id}.{}", self.provider);
        }
        let with_interface = format!("{id}.{}", self.ifname);
        [id, with_interface]
    }
}

/// What was found under a port's name.
struct Found {
    interface: Value,
    /// As it was read, to be compared by the server.
    raw_ids: Value,
    port_row: Value,
    bridge_row: Value,
    port: Port,
}

impl Port {
    /// How it differs from what is expected; `None` when it is the one.
    #[must_use]
    pub fn difference(&self, expected: &Expected<'_>) -> Option<String> {
        let id = |key: &str| self.external_ids.get(key).map(String::as_str);
        let differs = |key: &str, found: &str, wanted: &str| {
            let found = quoted(found, MAX_WORDS);
            Some(format!("its external_ids:{key} is {found}, expected {wanted}"))
        };
        if self.interfaces != 1 {
            return Some(format!("it is a bond of {} interfaces", self.interfaces));
        }
        if let Some(vendor) = id("vendor").filter(|vendor| *vendor != "kube-ovn") {
            return differs("vendor", vendor, "kube-ovn");
        }
        let netns = expected.netns.to_string_lossy();
        let same_netns = match id("pod_netns") {
            Some(found) if found != netns => return differs("pod_netns", found, &netns),
            found => found.is_some(),
        };
        if let Some(namespace) = id("pod_namespace").filter(|found| *found != expected.namespace) {
            return differs("pod_namespace", namespace, expected.namespace);
        }
        // A virtual machine's port has the machine's name and not the pod's (handler.go:329 at 1533681d7); the port's name and
        // the namespace's path say whose it is.
        let pod = id("pod_name").filter(|_| same_netns).unwrap_or(expected.pod);
        let wanted = expected.iface_ids(pod);
        match id("iface-id") {
            Some(found) if wanted.iter().any(|id| id == found) => None,
            Some(found) => differs("iface-id", found, &wanted.join(" or ")),
            // the ADD of a newer sandbox of the same pod has taken it (CleanDuplicatePort, ovs-vsctl.go:327)
            None if same_netns => None,
            None => Some("it has neither external_ids:iface-id nor pod_netns, which kube-ovn-daemon writes".to_owned()),
        }
    }
}

impl Found {
    /// The transaction. Port and Interface go with the last reference to them (RFC 7047, section 3.2: they are in no root table).
    fn removal(&self, name: &str) -> Vec<Value> {
        let is = |uuid: &Value| json!([["_uuid", "==", uuid]]);
        vec![
            json!({"op": "wait", "timeout": 0, "table": "Interface", "where": is(&self.interface),
                "columns": ["external_ids"], "until": "==", "rows": [{"external_ids": self.raw_ids}]}),
            json!({"op": "wait", "timeout": 0, "table": "Port", "where": is(&self.port_row),
                "columns": ["interfaces"], "until": "==", "rows": [{"interfaces": self.interface}]}),
            json!({"op": "mutate", "table": "Bridge", "where": is(&self.bridge_row), "mutations": [["ports", "delete", self.port_row]]}),
            // for who reads the database's log
            json!({"op": "comment", "comment": format!("kube-ovn (CNI plugin): del-port {} {name}", self.port.bridge)}),
        ]
    }
}

impl Database {
    pub(super) async fn port(&mut self, name: &str) -> Result<Option<Port>, Error> {
        Ok(self.find(name).await?.map(|found| found.port))
    }

    /// Interface, port and bridge by the name of the interface, which is that of the port as well.
    async fn find(&mut self, name: &str) -> Result<Option<Found>, Error> {
        let columns = ["_uuid", "external_ids", "error"];
        let rows = self
            .select("Interface", json!([["name", "==", name]]), &columns)
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let interface = self.uuid(row)?;
        let condition = json!([["interfaces", "includes", interface]]);
        let ports = self.select("Port", condition, &["_uuid", "interfaces"]).await?;
        // none: it has just been removed
        let Some(port_row) = ports.first() else { return Ok(None) };
        let port = self.uuid(port_row)?;
        let bridges = self.select("Bridge", json!([["ports", "includes", port]]), &["_uuid", "name"]);
        let bridges = bridges.await?;
        let Some(bridge) = bridges.first() else { return Ok(None) };
        Ok(Some(Found {
            interface,
            raw_ids: row.get("external_ids").cloned().unwrap_or_default(),
            port: Port {
                bridge: text(bridge, "name"),
                external_ids: map(row, "external_ids"),
                error: text(row, "error"),
                interfaces: port_row.get("interfaces").map_or(0, |value| set(value).len()),
            },
            bridge_row: self.uuid(bridge)?,
            port_row: port,
        }))
    }

    fn uuid(&self, row: &super::database::Row) -> Result<Value, Error> {
        uuid_of(row).ok_or_else(|| self.unexpected(row.get("_uuid")))
    }

    /// Removes the rows of `QoS` and `Queue` that the daemon made for these `iface-id`s: they are in root tables, so they do not go
    /// with the port. The daemon does the same after it has removed a port (`ClearPodBandwidth` and `ClearHtbQosQueue` in pkg/ovs).
    /// Not while an interface has the `iface-id`: these are the rows of that one then. A row that is in use stays.
    async fn remove_qos(&mut self, iface_ids: &[String]) -> Result<(), Error> {
        for iface_id in iface_ids {
            let has_it = json!([["external_ids", "includes", ["map", [["iface-id", iface_id]]]]]);
            let outcome = self
                .change(vec![
                    json!({"op": "wait", "timeout": 0, "table": "Interface", "where": has_it,
                        "columns": ["name"], "until": "==", "rows": []}),
                    json!({"op": "delete", "table": "QoS", "where": has_it}),
                    json!({"op": "delete", "table": "Queue", "where": has_it}),
                ])
                .await?;
            if outcome == Outcome::InUse {
                log::warn!("rows of QoS or Queue for {iface_id} stay in OVSDB: another port uses them");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ports() {
        let name = |container: &str, ifname: &str| port_name(&container.parse().unwrap(), &ifname.parse().unwrap());
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(name("0123456789abcdef", "eth0"), is("0123456789ab_h"));
        assert_eq!(name("0123456789abcdef", "net1"), is("01234567_net1_h"));
        assert_eq!(name("0123456789abcdef", "abcdefghijkl"), is("_abcdefghijkl_h"));
        assert_eq!(name("0123456789abcdef", "pod0a1b2c3d4e5"), is("01234_0a1b2c3_h"));
        assert_eq!(name("0123456789abcdef", "abcdefghijklm"), None);
        assert_eq!(name("short", "eth0"), None);
        assert_eq!(name("short", "x"), None);
    }

    /// What is different about a port with these `external_ids`, of pod web-0 in shop, whose netns is /run/netns/a.
    fn difference(provider: &str, ids: &[(&str, &str)]) -> Option<String> {
        let found = Port {
            bridge: String::new(),
            external_ids: ids
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            error: String::new(),
            interfaces: 1,
        };
        found.difference(&Expected {
            container: &"0123456789abcdef".parse().unwrap(),
            ifname: &"net1".parse().unwrap(),
            namespace: "shop",
            pod: "web-0",
            provider,
            netns: Path::new("/run/netns/a"),
        })
    }

    #[test]
    fn whose_port_it_is() {
        const NETNS: (&str, &str) = ("pod_netns", "/run/netns/a");
        const VENDOR: (&str, &str) = ("vendor", "kube-ovn");
        let ours: [&[(&str, &str)]; 7] = [
            &[("iface-id", "web-0.shop.off.shop.ovn")],
            &[("iface-id", "web-0.shop.off.shop.ovn"), NETNS, VENDOR],
            // two VFs of one network, HEAD
            &[("iface-id", "web-0.shop.off.shop.ovn.net1"), NETNS, VENDOR],
            // a newer sandbox of the pod has taken the iface-id
            &[("pod_name", "web-0"), ("pod_namespace", "shop"), NETNS],
            &[NETNS],
            // a virtual machine of KubeVirt
            &[("pod_name", "vm"), ("iface-id", "vm.shop.off.shop.ovn"), NETNS, VENDOR],
            &[
                ("iface-id", "web-0.shop.off.shop.ovn"),
                ("encap-ip", "10.0.0.1"),
                ("ip", ""),
            ],
        ];
        for ids in ours {
            assert_eq!(difference("off.shop.ovn", ids), None, "{ids:?}");
        }
        assert_eq!(difference("ovn", &[("iface-id", "web-0.shop")]), None);
        let others: [(&[(&str, &str)], &str); 9] = [
            (&[], "neither"),
            (&[VENDOR], "neither"),
            (&[("iface-id", "web-1.shop.off.shop.ovn")], "web-1"),
            (
                &[("iface-id", "web-0.shop"), NETNS],
                "expected web-0.shop.off.shop.ovn or",
            ),
            (
                &[("iface-id", "web-0.shop.off.shop.ovn"), ("pod_netns", "/run/netns/b")],
                "its external_ids:pod_netns is \"/run/netns/b\", expected /run/netns/a",
            ),
            (
                &[("iface-id", "web-0.shop.off.shop.ovn"), NETNS, ("vendor", "other")],
                "vendor",
            ),
            (&[NETNS, ("pod_namespace", "other")], "pod_namespace"),
            // what the row says about the machine's name counts only with the same namespace
            (&[("pod_name", "vm"), ("iface-id", "vm.shop.off.shop.ovn")], "iface-id"),
            (&[NETNS, ("iface-id", "a\nb")], "\"a\\nb\""),
        ];
        for (ids, word) in others {
            let found = difference("off.shop.ovn", ids).unwrap_or_default();
            assert!(found.contains(word), "{ids:?}: {found}");
        }
    }
}
