//! The facts about this node: OVSDB, sysfs, ethtool, the kernel's data path, and our own records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use kube_ovn::device::{PortName, Sysfs};
use kube_ovn::net;
use kube_ovn::ovs::{self, Ovs, Row, Select};
use kube_ovn::state::{Record, Store};
use kube_ovn::types::IfName;

use super::facts::{Facts, Kind, Pod, Port, TcPolicy};

/// The kernel's data path: ovs-vswitchd makes one, of this name (`open_dpif_backer` in ofproto/ofproto-dpif.c).
const DATAPATH: &str = "ovs-system";

/// Asks for all that `flows` must know beside the flows. What the kernel does not tell of one port is left out.
pub(crate) async fn facts(ovs: &Ovs, state: &Path, deadline: Instant) -> Result<Facts, ovs::Error> {
    let select = |table, columns| Select { table, columns };
    let selects = [
        select("Open_vSwitch", &["other_config"]),
        select("Interface", &["_uuid", "name", "type", "external_ids", "ifindex"]),
        select("Port", &["_uuid", "interfaces"]),
        select("Mirror", &["output_port"]),
    ];
    let tables = ovs.read(&selects, deadline).await?;
    let [config, interfaces, ports, mirrors] = tables.as_slice() else {
        return Ok(Facts::default()); // there are as many tables as were asked for
    };
    let config = config.first().map(|row| row.map("other_config")).unwrap_or_default();
    let setting = |key: &str| config.get(key).map(String::as_str);
    let (sysfs, records) = (Sysfs::of_this_machine(), records(state));
    let mirrored: BTreeSet<String> = mirrors.iter().flat_map(|row| row.uuids("output_port")).collect();
    let mirrored: BTreeSet<String> = ports
        .iter()
        .filter(|row| mirrored.contains(&row.uuid()))
        .flat_map(|row| row.uuids("interfaces"))
        .collect();
    let known = interfaces.iter().map(|row| {
        let mut port = port(row, &sysfs, &records);
        port.is_mirror = mirrored.contains(&row.uuid());
        (row.text("name"), port)
    });
    Ok(Facts {
        // as smap_get_bool() in lib/smap.c reads it
        hw_offload: setting("hw-offload").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        tc_policy: match setting("tc-policy") {
            Some("skip_sw") => TcPolicy::SkipSw,
            Some("skip_hw") => TcPolicy::SkipHw,
            _ => TcPolicy::None,
        },
        shares_recirculation: shares_recirculation(&sysfs),
        ports: known.collect(),
    })
}

/// The question would load the kernel's module, so it is asked only where the data path's netdev is.
fn shares_recirculation(sysfs: &Sysfs) -> Option<bool> {
    if !sysfs.has_netdev(&DATAPATH.parse().ok()?) {
        return None;
    }
    net::shares_recirculation(DATAPATH).ok().flatten()
}

/// The records of attachments that have not ended, by the name of the port.
fn records(state: &Path) -> BTreeMap<String, Record> {
    let store = Store::at(state);
    let devices = store.devices().unwrap_or_default();
    let records = devices.iter().filter_map(|device| store.read(device).ok().flatten());
    let by_port = records.filter(|record| !record.ending).filter_map(|record| {
        let name = ovs::port_name(&record.claim.container, &record.claim.ifname)?;
        Some((name, record))
    });
    by_port.collect()
}

fn port(row: &Row, sysfs: &Sysfs, records: &BTreeMap<String, Record>) -> Port {
    let name = row.text("name");
    let ids = row.map("external_ids");
    let mut port = Port {
        iface_id: ids.get("iface-id").cloned().unwrap_or_default(),
        pod: pod(&ids, records.get(&name)),
        ..Port::default()
    };
    match row.text("type").as_str() {
        "" | "system" => netdev(&name, sysfs, &mut port),
        "internal" => port.kind = Kind::Internal,
        kind if kind.starts_with("dpdk") => port.kind = Kind::Userspace,
        // tunnels have other names in the data path, and patch ports are not in it
        _ => {}
    }
    if matches!(port.kind, Kind::Representor | Kind::Uplink) {
        let index = row.integer("ifindex").and_then(|index| u32::try_from(index).ok());
        port.hw_tc_offload = index.and_then(|index| net::tc_offload(index).ok().flatten());
    }
    port
}

/// Our record knows best; kube-ovn-daemon writes the pod's name on the interface.
fn pod(ids: &BTreeMap<String, String>, record: Option<&Record>) -> Option<Pod> {
    let id = |key: &str| ids.get(key).filter(|value| !value.is_empty()).cloned();
    match record {
        Some(record) => Some(Pod {
            namespace: record.claim.pod.namespace.clone(),
            name: record.claim.pod.name.clone(),
            interface: Some(record.claim.ifname.to_string()),
        }),
        None => Some(Pod {
            namespace: id("pod_namespace")?,
            name: id("pod_name")?,
            interface: None,
        }),
    }
}

fn netdev(name: &str, sysfs: &Sysfs, port: &mut Port) {
    let Ok(netdev) = name.parse::<IfName>() else { return };
    let Ok(Some(found)) = sysfs.port_of(&netdev) else {
        return;
    };
    let belongs_to_function = || sysfs.function_of(&netdev).ok().flatten().is_some();
    port.kind = match (&found.switch_id, found.name) {
        _ if sysfs.is_bond(&netdev) => Kind::Bond,
        (None, _) => Kind::Software,
        (Some(_), Some(PortName::Physical { .. })) => Kind::Uplink,
        // some drivers give their uplink no port name
        (Some(_), None) if found.text.is_none() && belongs_to_function() => Kind::Uplink,
        (Some(_), _) => Kind::Representor,
    };
    port.switch_id = found.switch_id;
}
