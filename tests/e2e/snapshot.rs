//! All that an attachment may change and must bring back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::command::{attempt, ip_json, names, ovsdb, ports};
use crate::lab::Lab;
use crate::nic::{self, Vf};

pub(crate) const STATE: &str = "/run/kube-ovn-offload";

#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// What must be equal, by what it is about.
    facts: BTreeMap<String, String>,
    /// Links that are up: one that was up may be down afterwards, not the other way round.
    up: BTreeSet<String>,
    links: Vec<(Vf, Before)>,
    /// The PFs and their own netdevs.
    uplinks: Vec<(String, Value)>,
}

#[derive(Debug, Clone)]
struct Before {
    vf: Value,
    representor: Value,
    admin_mac: String,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn describe(link: &Value) -> String {
    let text = [
        "ifname", "address", "mtu", "ifalias", "master", "txqlen", "altnames", "xdp",
    ]
    .map(|key| format!("{key} {}", link[key]))
    .join(", ");
    // whether it is up, and what follows from that, is looked at apart
    let flags = link["flags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let set = flags.filter(|flag| !["UP", "LOWER_UP", "RUNNING", "NO-CARRIER"].contains(flag));
    format!("{text}, flags {}", set.collect::<Vec<_>>().join(" "))
}

/// Records of attachments, and notes of those that have ended. Locks stay, and notes of what may still be under way: a DEL's
/// mark, and a request that the daemon has not answered.
pub(crate) fn records() -> Vec<String> {
    let directories = ["vf", "attachment", "pending"].iter();
    let files = directories.flat_map(|directory| names(format!("{STATE}/{directory}")));
    files.filter(|name| !name.contains(".lock")).collect()
}

impl Snapshot {
    pub(crate) fn take() -> Self {
        let all = ip_json(&["link", "show"]);
        let link = |name: Option<String>| -> Value {
            let found = name.and_then(|name| all.iter().find(|link| link["ifname"] == name.as_str()));
            found.cloned().unwrap_or_default()
        };
        let mut facts = BTreeMap::new();
        let mut up = BTreeSet::new();
        let mut links = Vec::new();
        let mut uplinks = Vec::new();
        for pf in nic::pfs() {
            let uplink = link(Some(nic::uplink(&pf)));
            uplinks.push((pf.clone(), uplink.clone()));
            facts.insert(format!("PF {pf}"), describe(&uplink));
            for vf in nic::vfs(&pf) {
                let before = Before {
                    vf: link(vf.netdev()),
                    representor: link(vf.representor()),
                    admin_mac: text(&uplink["vfinfo_list"][vf.index as usize]["address"]).to_owned(),
                };
                let about = |what: &str| format!("VF {}: {what}", vf.pci);
                // VLAN, spoof check, trust, rates and the MAC
                let settings = uplink["vfinfo_list"][vf.index as usize].to_string();
                facts.insert(about("what the PF administers"), settings);
                for (what, link) in [("netdev", &before.vf), ("representor", &before.representor)] {
                    facts.insert(about(what), describe(link));
                    let flags = link["flags"].as_array().into_iter().flatten();
                    if flags.into_iter().any(|flag| flag == "UP") {
                        up.insert(about(what));
                    }
                }
                links.push((vf, before));
            }
        }
        let mut other: Vec<&str> = all.iter().map(|link| text(&link["ifname"])).collect();
        other.sort_unstable();
        facts.insert("links of the host".to_owned(), other.join(" "));
        for interface in ovsdb("Interface", &["name", "type", "external_ids"]) {
            facts.insert(
                format!("OVS interface {}", text(&interface["name"])),
                interface.to_string(),
            );
        }
        facts.insert("records".to_owned(), records().join(" "));
        facts.insert("network namespaces".to_owned(), names("/run/netns").join(" "));
        Self {
            facts,
            up,
            links,
            uplinks,
        }
    }

    /// Fails with all that differs.
    #[track_caller]
    pub(crate) fn assert_still_so(&self) {
        Lab::forget_unanswered();
        let now = Self::take();
        let about: BTreeSet<&String> = self.facts.keys().chain(now.facts.keys()).collect();
        let mut differences: Vec<String> = about
            .into_iter()
            .filter(|about| self.facts.get(*about) != now.facts.get(*about))
            .map(|about| {
                let show = |facts: &BTreeMap<String, String>| facts.get(about).cloned().unwrap_or_default();
                format!(
                    "{about}\n  before: {}\n  after:  {}",
                    show(&self.facts),
                    show(&now.facts)
                )
            })
            .collect();
        differences.extend(now.up.difference(&self.up).map(|about| format!("{about} is up")));
        assert!(
            differences.is_empty(),
            "the node is not as before:\n{}",
            differences.join("\n")
        );
    }

    /// Fails if anything differs that is about one of these VFs.
    #[track_caller]
    pub(crate) fn assert_same_for(&self, vfs: &[Vf]) {
        let now = Self::take();
        let ours = |about: &String| vfs.iter().any(|vf| about.contains(&vf.pci));
        for (about, before) in self.facts.iter().filter(|(about, _)| ours(about)) {
            assert_eq!(now.facts.get(about), Some(before), "{about}");
        }
    }

    /// Makes links, ports and state as they were, by force: after a failed test, so that the next one finds the node
    /// as it must be, and where the plugin lost its state and cannot know it. Does what it can.
    pub(crate) fn restore(&self) {
        let _ = std::fs::remove_dir_all(STATE);
        for port in ports() {
            if port.ends_with("_h")
                || self
                    .links
                    .iter()
                    .any(|(_, before)| before.representor["ifname"] == port)
            {
                let _ = attempt("ovs-vsctl", &["del-port", "br-int", &port]);
                let _ = attempt("ip", &["link", "del", &port, "type", "veth"]);
            }
        }
        for (vf, _) in &self.links {
            // the kernel brings it, some time after its namespace has ended
            for _ in 0..200 {
                if vf.netdev().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let uplinks = self.uplinks.iter().map(|(pf, before)| (Some(nic::uplink(pf)), before));
        let links = self
            .links
            .iter()
            .flat_map(|(vf, before)| [(vf.netdev(), &before.vf), (vf.representor(), &before.representor)]);
        let pairs: Vec<_> = uplinks.chain(links).collect();
        let all = ip_json(&["link", "show"]);
        let mut renamed = Vec::new();
        for (name, before) in pairs {
            let Some(now) = all.iter().find(|link| name.as_deref() == link["ifname"].as_str()) else {
                continue;
            };
            let mut name = text(&now["ifname"]).to_owned();
            if now["master"] != before["master"] {
                leave_datapath(&name);
            }
            // what udev has added may be the name of another one
            for added in alternatives(now).difference(&alternatives(before)) {
                let _ = attempt("ip", &["link", "property", "del", "dev", &name, "altname", added]);
            }
            if name != text(&before["ifname"]) {
                // first out of the way, for the same reason
                let aside = format!("aside{}", renamed.len());
                let _ = attempt("ip", &["link", "set", &name, "down"]);
                let _ = attempt("ip", &["link", "set", &name, "name", &aside]);
                name = aside;
            }
            renamed.push((name, now, before));
        }
        for (name, now, before) in &renamed {
            put_back(name, now, before);
        }
        let all = ip_json(&["link", "show"]);
        for (vf, before) in &self.links {
            let (uplink, index) = (nic::uplink(&vf.pf), vf.index as usize);
            let now = all.iter().find(|link| link["ifname"] == uplink.as_str());
            if now.is_none_or(|now| now["vfinfo_list"][index]["address"] != before.admin_mac.as_str()) {
                let index = index.to_string();
                let _ = attempt("ip", &["link", "set", &uplink, "vf", &index, "mac", &before.admin_mac]);
            }
        }
        for (_, before) in &self.uplinks {
            let _ = attempt("ip", &["link", "set", text(&before["ifname"]), "up"]);
        }
    }
}

/// A port that was renamed under ovs-vswitchd: that has forgotten it, and the kernel finds it by its number only.
fn leave_datapath(name: &str) {
    let ports = attempt("ovs-appctl", &["dpctl/show", "system@ovs-system"]).unwrap_or_default();
    let mut ports = ports
        .lines()
        .filter_map(|line| line.trim().strip_prefix("port ")?.split_once(": "));
    if let Some((number, _)) = ports.find(|(_, port)| *port == name) {
        let _ = attempt("ovs-appctl", &["dpctl/del-if", "system@ovs-system", number]);
    }
}

fn alternatives(link: &Value) -> BTreeSet<&str> {
    let names = link["altnames"].as_array().into_iter().flatten();
    names.map(text).collect()
}

/// What differs of a link that is called `name` by now; a program costs its time.
fn put_back(name: &str, now: &Value, before: &Value) {
    let wanted = text(&before["ifname"]);
    if now["flags"].to_string().contains("\"UP\"") {
        let _ = attempt("ip", &["link", "set", name, "down"]);
    }
    if name != wanted {
        let _ = attempt("ip", &["link", "set", name, "name", wanted]);
    }
    if (&now["mtu"], &now["address"]) != (&before["mtu"], &before["address"]) {
        let (mtu, mac) = (before["mtu"].to_string(), text(&before["address"]));
        let _ = attempt("ip", &["link", "set", wanted, "mtu", &mtu, "address", mac]);
    }
    if now["ifalias"] != before["ifalias"] {
        let _ = attempt("ip", &["link", "set", wanted, "alias", text(&before["ifalias"])]);
    }
}
