//! What the original has ovs-vsctl do (pkg/ovs/ovs-vsctl.go).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ovsdb::{Database, Row, TIMEOUT, map, of_map, text, with_external_id};
use crate::record::{Context, Fail};

const BRIDGE: &str = "br-int";
/// The original looks every 500 ms; a look costs nothing here.
const LOOK: Duration = Duration::from_millis(50);

/// Does what a call of ovs-vsctl with these arguments would; its error is that of `Exec`.
fn vsctl<T>(arguments: &str, work: impl FnOnce(&mut Database) -> Result<T, String>) -> Result<T, String> {
    Database::open()
        .and_then(|mut database| work(&mut database))
        .map_err(|error| {
            let (status, output) = match error.strip_prefix("signal: ") {
                Some(_) => (error.as_str(), ""),
                None => ("exit status 1", error.as_str()),
            };
            format!("failed to run 'ovs-vsctl --timeout=30 {arguments}': {status}\n  {output:?}")
        })
}

fn select(table: &str, condition: &Value, columns: &[&str]) -> Result<Vec<Row>, String> {
    let arguments = format!("--columns={} find {table} {condition}", columns.join(","));
    vsctl(&arguments, |database| database.select(table, condition, columns))
}

fn named(name: &str) -> Value {
    json!([["name", "==", name]])
}

fn is_row(row: &Row) -> Value {
    json!([["_uuid", "==", row.get("_uuid")]])
}

/// `CleanDuplicatePort`: only the newest port keeps the iface-id; the others stay as ports. Errors are logged only.
pub(crate) fn clean_duplicates(context: &Context, iface_id: &str, port: &str) {
    let all = select("Interface", &with_external_id("iface-id", iface_id), &["_uuid", "name"]);
    let others = all.unwrap_or_default();
    for row in others.iter().filter(|row| text(row, "name") != port) {
        let removal = json!({"op": "mutate", "table": "Interface", "where": is_row(row),
            "mutations": [["external_ids", "delete", ["set", ["iface-id"]]]]});
        let uuid = row
            .get("_uuid")
            .and_then(|uuid| uuid.get(1))
            .and_then(Value::as_str)
            .unwrap_or_default();
        let arguments = format!("remove Interface {uuid} external-ids iface-id");
        if let Err(error) = vsctl(&arguments, |database| database.change(vec![removal])) {
            context.note(format!(
                "failed to clear stale OVS port {uuid:?} iface-id {iface_id:?}: {error}"
            ));
        }
    }
}

/// `--may-exist add-port br-int PORT -- set interface PORT external_ids:KEY=VALUE…`
pub(crate) fn add_port(port: &str, ids: &[(&str, &str)]) -> Result<(), String> {
    let shown: Vec<String> = ids
        .iter()
        .map(|(key, value)| format!("external_ids:{key}={value}"))
        .collect();
    let arguments = format!(
        "--may-exist add-port {BRIDGE} {port} -- set interface {port} {}",
        shown.join(" ")
    );
    vsctl(&arguments, |database| {
        if let Some((key, _)) = ids.iter().find(|(_, value)| value.is_empty()) {
            return Err(format!(
                "ovs-vsctl: external_ids:{key}=: An empty string is not valid as input; use \"\" to represent the empty string\n"
            ));
        }
        let present = database.select("Port", &named(port), &["_uuid"])?;
        let Some(row) = present.first() else {
            return database.change(vec![
                json!({"op": "insert", "table": "Interface", "uuid-name": "interface",
                    "row": {"name": port, "external_ids": map(ids)}}),
                json!({"op": "insert", "table": "Port", "uuid-name": "port",
                    "row": {"name": port, "interfaces": ["named-uuid", "interface"]}}),
                json!({"op": "mutate", "table": "Bridge", "where": named(BRIDGE),
                    "mutations": [["ports", "insert", ["named-uuid", "port"]]]}),
            ]);
        };
        let bridges = database.select("Bridge", &json!([["ports", "includes", row.get("_uuid")]]), &["name"])?;
        let bridge = bridges.first().map(|row| text(row, "name")).unwrap_or_default();
        if bridge != BRIDGE {
            return Err(format!(
                "ovs-vsctl: \"--may-exist add-port {BRIDGE} {port}\" but {port} is actually attached to bridge {bridge}\n"
            ));
        }
        // a key that is there is not changed by an insert
        let keys: Vec<&str> = ids.iter().map(|(key, _)| *key).collect();
        database.change(vec![json!({"op": "mutate", "table": "Interface", "where": named(port),
            "mutations": [["external_ids", "delete", ["set", keys]], ["external_ids", "insert", map(ids)]]})])
    })
}

/// `--if-exists --with-iface del-port br-int PORT`
pub(crate) fn del_port(port: &str) -> Result<(), String> {
    vsctl(
        &format!("--if-exists --with-iface del-port {BRIDGE} {port}"),
        |database| {
            let mut present = database.select("Port", &named(port), &["_uuid", "name"])?;
            if let Some(interface) = database.select("Interface", &named(port), &["_uuid"])?.first()
                && present.is_empty()
            {
                let of_port = json!([["interfaces", "includes", interface.get("_uuid")]]);
                present = database.select("Port", &of_port, &["_uuid", "name"])?;
            }
            let Some(row) = present.first() else {
                return Ok(());
            };
            let uuid = row.get("_uuid");
            let bridges = database.select("Bridge", &json!([["ports", "includes", uuid]]), &["name"])?;
            let bridge = bridges.first().map(|row| text(row, "name")).unwrap_or_default();
            if bridge != BRIDGE {
                return Err(format!(
                    "ovs-vsctl: bridge {BRIDGE} does not have a port {port} (although its parent bridge {bridge} does)\n"
                ));
            }
            // the rows of port and interface go with the last reference to them
            database.change(vec![json!({"op": "mutate", "table": "Bridge", "where": named(BRIDGE),
            "mutations": [["ports", "delete", uuid]]})])
        },
    )
}

/// `SetInterfaceBandwidth` without a rate: the policing columns are written all the same.
pub(crate) fn clear_policing(iface_id: &str) -> Result<(), String> {
    const COLUMNS: [&str; 2] = ["ingress_policing_rate", "ingress_policing_burst"];
    let columns = [&["name"], &COLUMNS[..]].concat();
    for row in select("Interface", &with_external_id("iface-id", iface_id), &columns)? {
        // what changes nothing makes no transaction
        if COLUMNS.iter().any(|column| row.get(*column) != Some(&json!(0))) {
            let name = text(&row, "name");
            let zero = json!({"op": "update", "table": "Interface", "where": named(name),
                "row": {"ingress_policing_rate": 0, "ingress_policing_burst": 0}});
            let arguments = format!("set interface {name} ingress_policing_rate=0 ingress_policing_burst=0");
            vsctl(&arguments, |database| database.change(vec![zero]))?;
        }
    }
    Ok(())
}

/// Of the bridge: `netdev` is the userspace datapath.
pub(crate) fn datapath_type() -> Result<String, String> {
    let rows = select("Bridge", &named(BRIDGE), &["datapath_type"])?;
    Ok(rows
        .first()
        .map(|row| text(row, "datapath_type").to_owned())
        .unwrap_or_default())
}

/// gcInterfaces: ports of pods whose netdev is gone. (A port whose netdev is there, it takes away since v1.15 only, and when
/// the pod is gone from the API; that is not done here.)
pub(crate) fn collect_garbage() {
    let lost = select(
        "Interface",
        &json!([["ofport", "==", -1]]),
        &["name", "error", "external_ids"],
    );
    for row in lost.unwrap_or_default() {
        if of_map(&row, "external_ids", "pod_netns").is_some()
            && text(&row, "error").contains("No such device")
            && let Err(error) = del_port(text(&row, "name"))
        {
            eprintln!("kube-ovn-daemon-emulator: {error}");
        }
    }
}

/// `ClearPodBandwidth` and `ClearHtbQosQueue`: rows of this pod that nothing uses.
pub(crate) fn clear_qos(pod: &str) -> Result<(), String> {
    for (table, users, column) in [("QoS", "Port", "qos"), ("Queue", "QoS", "queues")] {
        let rows = select(table, &with_external_id("pod", pod), &["_uuid"])?;
        if rows.is_empty() {
            continue;
        }
        let used = select(users, &json!([]), &[column])?;
        let used: String = used
            .iter()
            .filter_map(|row| row.get(column))
            .map(Value::to_string)
            .collect();
        let uuid = |row: &Row| row.get("_uuid")?.get(1)?.as_str().map(str::to_owned);
        for (row, uuid) in rows.iter().filter_map(|row| Some((row, uuid(row)?))) {
            if !used.contains(&uuid) {
                let gone = json!({"op": "delete", "table": table, "where": is_row(row)});
                vsctl(&format!("--if-exists destroy {table} {uuid}"), |database| {
                    database.change(vec![gone])
                })?;
            }
        }
    }
    Ok(())
}

/// The wait for ovn-controller; the deadline is only seen at a look.
pub(crate) fn wait_installed(context: &Context, port: &str) -> Result<(), Fail> {
    let limit = context.options.ovn_installed;
    let deadline = Instant::now() + limit;
    while Instant::now() <= deadline {
        let looked = select("Interface", &named(port), &["external_ids"]);
        match looked {
            Ok(rows) => {
                let installed = rows
                    .first()
                    .and_then(|row| of_map(row, "external_ids", "ovn-installed"));
                if installed == Some("true") && !context.faults.has("ovn-installed") {
                    return Ok(());
                }
            }
            Err(error) => context.note(format!("failed to get ovn-installed for ovs port {port}: {error}")),
        }
        std::thread::sleep(LOOK);
    }
    Err(Fail::text(format!(
        "ovs interface {port} is not ready after {}s",
        limit.as_secs()
    )))
}

/// `wait-until interface PORT name=PORT`
pub(crate) fn wait_for_port(port: &str) -> Result<(), String> {
    vsctl(&format!("wait-until interface {port} name={port}"), |database| {
        let deadline = Instant::now() + TIMEOUT;
        while database.select("Interface", &named(port), &["name"])?.is_empty() {
            if Instant::now() > deadline {
                return Err("signal: alarm clock".to_owned());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    })
}
