//! OVSDB, as far as [`crate::ovs`] asks it: `br-int` with its ports, each with one interface of the same name. What it answers
//! has the form that a real ovsdb-server gives (tests/ovs runs one).

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::faults::Fault;
use super::kernel::Kernel;
use super::stack::Shared;

/// Serves until it is aborted, or the runtime ends.
pub(super) fn start(directory: &Path, shared: &Shared) -> JoinHandle<()> {
    std::fs::create_dir_all(directory).unwrap();
    let socket = directory.join("db.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let shared = shared.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, shared.clone()));
        }
    })
}

async fn serve(mut stream: UnixStream, shared: Shared) {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(read @ 1..) => bytes.extend(&chunk[..read]),
            _ => return,
        }
        // the client waits for each answer
        let Ok(call) = serde_json::from_slice::<Value>(&bytes) else {
            continue;
        };
        bytes.clear();
        let operations = call["params"].as_array().unwrap()[1..].to_vec();
        let what = format!("OVSDB {} {}", operations[0]["op"], operations[0]["table"]);
        let fault = shared.with(|kernel| kernel.faults.count(&what));
        if fault == Some(Fault::Kill) {
            return shared.kill();
        }
        let (result, error) = if fault == Some(Fault::Refuse) {
            (Value::Null, json!("refused"))
        } else {
            (shared.with(|kernel| transact(kernel, &operations)), Value::Null)
        };
        match fault {
            Some(Fault::Lose) => return,
            Some(Fault::KillAfter) => return shared.kill(),
            Some(Fault::FullDisk) => shared.fill_disk(),
            _ => {}
        }
        let reply = json!({"id": call["id"], "result": result, "error": error}).to_string();
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn uuid(kind: &str, name: &str) -> Value {
    json!(["uuid", format!("{kind} {name}")])
}

/// The name in a UUID of ours.
fn named(value: &Value) -> String {
    value[1].as_str().unwrap().split_once(' ').unwrap().1.to_owned()
}

/// Runs the operations; with the first condition that does not hold, nothing of them is done.
fn transact(kernel: &mut Kernel, operations: &[Value]) -> Value {
    let mut results = Vec::new();
    for operation in operations {
        let condition = &operation["where"][0];
        results.push(match (operation["op"].as_str(), operation["table"].as_str()) {
            (Some("select"), Some("Interface")) => rows(select_interface(kernel, condition)),
            (Some("select"), Some("Port")) => {
                let name = named(&condition[2]);
                let row = kernel
                    .ports
                    .contains_key(&name)
                    .then(|| json!({"_uuid": uuid("port", &name), "interfaces": uuid("interface", &name)}));
                rows(row)
            }
            (Some("select"), Some("Bridge")) => {
                rows(Some(json!({"_uuid": uuid("bridge", "br-int"), "name": "br-int"})))
            }
            (Some("wait"), Some("Interface")) if operation["rows"] == json!([]) => json!({}),
            (Some("wait"), Some("Interface")) => {
                let found = select_interface(kernel, &json!(["name", "==", named(&condition[2])]));
                if found.is_none_or(|row| row["external_ids"] != operation["rows"][0]["external_ids"]) {
                    results.push(json!({"error": "timed out"}));
                    return results.into();
                }
                json!({})
            }
            (Some("mutate"), Some("Bridge")) => {
                kernel.del_port(&named(&operation["mutations"][0][2]));
                json!({"count": 1})
            }
            (Some("wait"), Some("Port")) | (Some("delete" | "comment"), _) => json!({}),
            other => panic!("{other:?}"),
        });
    }
    results.into()
}

fn rows(row: Option<Value>) -> Value {
    json!({"rows": row.into_iter().collect::<Vec<_>>()})
}

fn select_interface(kernel: &Kernel, condition: &Value) -> Option<Value> {
    let name = condition[2].as_str().unwrap();
    kernel.ports.get(name)?;
    let ids: Vec<Value> = (kernel.port_ids.get(name).into_iter().flatten())
        .map(|(key, value)| json!([key, value]))
        .collect();
    Some(json!({"_uuid": uuid("interface", name), "external_ids": ["map", ids], "error": ["set", []]}))
}
