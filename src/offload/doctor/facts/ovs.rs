//! Open vSwitch: what its database says, whether ovs-vswitchd answers, and what it has done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use kube_ovn::device::{NetdevState, Sysfs};
use kube_ovn::ovs::{self, Row, Select};
use kube_ovn::types::{IfName, Netdev};

use super::source::Source;
use super::{Asked, Place};

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(3);
const MAX_CGROUP: u64 = 64 * 1024;

/// Open vSwitch on the node.
pub(in super::super) struct Ovs {
    /// What ovs-vswitchd says that it is.
    pub(in super::super) vswitchd: Asked<String>,
    /// Whether it says that it offloads; `None` when it can't say.
    pub(in super::super) offloads: Option<bool>,
    /// It runs in a pod, as Kube-OVN's does.
    pub(in super::super) is_in_pod: bool,
    pub(in super::super) database: Asked<Database>,
    /// Of br-int and its ports those that are netdevs of this host.
    pub(in super::super) netdevs: BTreeMap<String, NetdevState>,
    /// Which of these have the ingress qdisc.
    pub(in super::super) ingress: Asked<BTreeSet<String>>,
    /// The netdev that has the tunnels' address.
    pub(in super::super) tunnel: Asked<Option<Tunnel>>,
}

/// What Open vSwitch' database says.
pub(in super::super) struct Database {
    pub(in super::super) other_config: BTreeMap<String, String>,
    pub(in super::super) external_ids: BTreeMap<String, String>,
    /// br-int; `None` when there is none.
    pub(in super::super) bridge: Option<Bridge>,
}

/// br-int.
pub(in super::super) struct Bridge {
    /// `system`, or empty, for the kernel's data path; `netdev` for one in user space.
    pub(in super::super) datapath_type: String,
    pub(in super::super) ports: Vec<Port>,
    /// The mirrors that copy anything: their names, and what they copy.
    pub(in super::super) mirrors: Vec<(String, String)>,
}

/// A port of br-int with one interface.
pub(in super::super) struct Port {
    pub(in super::super) name: String,
    /// Open vSwitch made the netdev.
    pub(in super::super) is_internal: bool,
    /// What comes in by it is limited (`ingress_policing_rate`).
    pub(in super::super) is_policed: bool,
    pub(in super::super) external_ids: BTreeMap<String, String>,
    /// What ovs-vswitchd says is wrong.
    pub(in super::super) error: String,
    /// Whether the pod's network namespace that is written there is still there; `None` when none is written, or that can't be seen.
    pub(in super::super) has_netns: Option<bool>,
}

/// Where tunnels begin.
pub(in super::super) struct Tunnel {
    pub(in super::super) netdev: String,
    pub(in super::super) mtu: u32,
}

impl Port {
    /// kube-ovn-daemon has made it for a pod.
    pub(in super::super) fn is_pods(&self) -> bool {
        self.external_ids.contains_key("pod_netns") || self.external_ids.contains_key("pod_name")
    }

    /// The pod that it was made for.
    pub(in super::super) fn pod(&self) -> Option<(&str, &str)> {
        let namespace = self.external_ids.get("pod_namespace")?;
        Some((namespace, self.external_ids.get("pod_name")?))
    }
}

pub(super) async fn gather(place: &Place, sysfs: &Sysfs, source: &Asked<Source>) -> Ovs {
    let ovs = ovs::Ovs::at(&place.path(ovs::DIRECTORY));
    let database = database(place, source, &ovs).await;
    let vswitchd = ovs.vswitchd_version(Instant::now() + PATIENCE).await;
    let offloads = match &vswitchd {
        Ok(_) => ovs.says_it_offloads(Instant::now() + PATIENCE).await.ok().flatten(),
        Err(_) => None,
    };
    let bridge = database.as_ref().ok().and_then(|database| database.bridge.as_ref());
    let mut netdevs = BTreeMap::new();
    for name in bridge
        .into_iter()
        .flat_map(|bridge| bridge.ports.iter().map(|port| &port.name))
    {
        let state = name
            .parse::<IfName>()
            .ok()
            .and_then(|name| sysfs.netdev_state(&name).ok()?);
        netdevs.extend(state.map(|state| (name.clone(), state)));
    }
    let ingress = match source {
        Ok(source) => {
            let known = netdevs.iter().filter_map(|(name, state)| {
                Some(Netdev {
                    name: name.parse().ok()?,
                    ifindex: state.ifindex,
                })
            });
            source.ingress(&known.collect::<Vec<_>>()).await
        }
        Err(why) => Err(why.clone()),
    };
    let tunnel = match (&database, source) {
        (Ok(database), Ok(source)) => tunnel(sysfs, source, database),
        (Err(why), _) => Err(why.clone()),
        (_, Err(why)) => Err(why.clone()),
    };
    Ovs {
        vswitchd: vswitchd.map_err(|error| error.to_string()),
        offloads,
        is_in_pod: is_in_pod(place),
        database,
        netdevs,
        ingress,
        tunnel,
    }
}

async fn database(place: &Place, source: &Asked<Source>, ovs: &ovs::Ovs) -> Asked<Database> {
    let selects = [
        Select {
            table: "Open_vSwitch",
            columns: &["other_config", "external_ids"],
        },
        Select {
            table: "Bridge",
            columns: &["name", "datapath_type", "ports", "mirrors"],
        },
        Select {
            table: "Port",
            columns: &["_uuid", "name", "interfaces"],
        },
        Select {
            table: "Interface",
            columns: &[
                "_uuid",
                "name",
                "type",
                "ingress_policing_rate",
                "external_ids",
                "error",
            ],
        },
        Select {
            table: "Mirror",
            columns: &[
                "_uuid",
                "name",
                "select_all",
                "select_src_port",
                "select_dst_port",
                "select_vlan",
            ],
        },
    ];
    let tables = ovs.read(&selects, Instant::now() + PATIENCE).await;
    let tables = tables.map_err(|error| error.to_string())?;
    let [roots, bridges, ports, interfaces, mirrors] = tables.as_slice() else {
        return Err("ovsdb-server gave other tables than were asked for".to_owned());
    };
    let root = |column| roots.first().map(|row| row.map(column)).unwrap_or_default();
    let bridge = bridges
        .iter()
        .find(|row| row.text("name") == ovs::BRIDGE)
        .map(|bridge| {
            let ports = rows_of(bridge, "ports", ports);
            let interfaces = ports.flat_map(|port| rows_of(port, "interfaces", interfaces));
            Bridge {
                datapath_type: bridge.text("datapath_type"),
                ports: interfaces.map(|row| port(place, source, row)).collect(),
                mirrors: rows_of(bridge, "mirrors", mirrors).filter_map(mirror).collect(),
            }
        });
    Ok(Database {
        other_config: root("other_config"),
        external_ids: root("external_ids"),
        bridge,
    })
}

/// The rows of a table that a column refers to.
fn rows_of<'a>(row: &Row, column: &str, table: &'a [Row]) -> impl Iterator<Item = &'a Row> + use<'a> {
    let uuids: BTreeSet<String> = row.uuids(column).into_iter().collect();
    table.iter().filter(move |row| uuids.contains(&row.uuid()))
}

fn port(place: &Place, source: &Asked<Source>, row: &Row) -> Port {
    let external_ids = row.map("external_ids");
    let has_netns = external_ids.get("pod_netns").and_then(|path| {
        if place.exists(path) {
            return Some(true);
        }
        let sees = source
            .as_ref()
            .is_ok_and(|source| source.sees_namespaces_at(path) == Ok(true));
        sees.then_some(false)
    });
    Port {
        name: row.text("name"),
        is_internal: row.text("type") == "internal",
        is_policed: row.integer("ingress_policing_rate").is_some_and(|rate| rate > 0),
        error: row.text("error"),
        external_ids,
        has_netns,
    }
}

/// A mirror that copies something: Kube-OVN has one that does not, for the case that it is wanted.
fn mirror(row: &Row) -> Option<(String, String)> {
    let ports = row
        .uuids("select_src_port")
        .len()
        .max(row.uuids("select_dst_port").len());
    let what = if row.truth("select_all") == Some(true) {
        "everything".to_owned()
    } else if ports > 0 {
        format!("{ports} ports")
    } else if row.integer("select_vlan").is_some() {
        "VLANs".to_owned()
    } else {
        return None;
    };
    Some((row.text("name"), what))
}

/// Where the tunnels' address is; `None` when the node has none, or no netdev has it.
fn tunnel(sysfs: &Sysfs, source: &Source, database: &Database) -> Asked<Option<Tunnel>> {
    let Some(text) = database.external_ids.get("ovn-encap-ip") else {
        return Ok(None);
    };
    // there may be several; they are to have one MTU
    let first = text.split(',').next().unwrap_or_default();
    let address: IpAddr = first
        .parse()
        .map_err(|_| format!("external_ids:ovn-encap-ip is {text:?}, which is no address"))?;
    let Some(name) = source.with_address(address)? else {
        return Ok(None);
    };
    let netdev: IfName = name.parse().map_err(|_| format!("{name:?} is no netdev's name"))?;
    let state = sysfs.netdev_state(&netdev).map_err(|error| error.to_string())?;
    Ok(state.map(|state| Tunnel {
        netdev: name,
        mtu: state.mtu,
    }))
}

/// The control group of a pod's process has `kubepods` in its name (kubelet, pkg/kubelet/cm).
fn is_in_pod(place: &Place) -> bool {
    let pid = place.text(&format!("{}/ovs-vswitchd.pid", ovs::DIRECTORY), 16);
    let pid: Option<u32> = pid.ok().flatten().and_then(|text| text.parse().ok());
    let group = pid.and_then(|pid| place.text(&format!("/proc/{pid}/cgroup"), MAX_CGROUP).ok()?);
    group.is_some_and(|group| group.contains("kubepods"))
}
