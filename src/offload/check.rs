//! `check`: CHECK for a running pod, by the plugin's own record.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use kube_ovn::node::{Deadlines, PATH, Settings};
use kube_ovn::state::{self, Record, Store};
use kube_ovn::verbs::check_record;
use serde_json::{Value, json};

use crate::Status;
use crate::machine::block_on;
use crate::output::{Output, complain, shown};

/// Looks whether a running pod's VF is attached as it should be: the interface in the pod, the representor, its port in OVSDB, the
/// daemon.
///
/// The same as the CNI verb CHECK, but by the plugin's record: no runtime and no netconf are needed. What ADD's result said of MAC
/// and MTU is not recorded; the addresses are those that kube-ovn-daemon wrote on the port.
///
/// Exit status: 0 all is as it should be, 1 something is not, 3 no VF is recorded for such a pod, 4 it can't be told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kube-ovn-offload check default/web-0
  kube-ovn-offload check 4f1c2a9be07d
      as crictl pods shows it")]
pub(crate) struct Arguments {
    /// NAMESPACE/NAME of a pod, the ID of its sandbox or the beginning of that (6 characters or more), or a VF's PCI address.
    #[arg(value_name = "NS/POD|CONTAINER|PCI")]
    pod: String,
    /// How to show the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Another directory of records.
    #[arg(long, hide = true, value_name = "DIR", default_value = state::DIRECTORY)]
    state: PathBuf,
}

/// The fewest characters of a container's ID that name it.
const SHORTEST: usize = 6;

/// Checks each VF of the pod.
pub(crate) fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    let records = match find(&Store::at(&arguments.state), &arguments.pod) {
        Ok(records) if records.is_empty() => {
            complain(&format!(
                "no VF is recorded for {}: kube-ovn-offload attachments lists those that are",
                arguments.pod
            ));
            return Status::NoSuchThing;
        }
        Ok(records) => records,
        Err(error) => {
            complain(&error.to_string());
            return Status::NoAnswer;
        }
    };
    let deadlines = Settings::load(Path::new(PATH)).config.deadlines;
    let mut checked = Vec::new();
    for record in records {
        match findings(&record, &deadlines) {
            Ok(findings) => checked.push((record, findings)),
            Err(why) => {
                complain(&why);
                return Status::NoAnswer;
            }
        }
    }
    // writing to a Vec can't fail
    let _ = match arguments.output {
        Output::Json => {
            let all: Vec<Value> = checked
                .iter()
                .map(|(record, findings)| object(record, findings))
                .collect();
            writeln!(out, "{:#}", json!({ "attachments": all }))
        }
        Output::Table => write!(
            out,
            "{}",
            checked
                .iter()
                .map(|(record, findings)| lines(record, findings))
                .collect::<String>()
        ),
    };
    if checked.iter().all(|(_, findings)| findings.is_empty()) {
        Status::Fine
    } else {
        Status::Wrong
    }
}

/// The records that are meant.
fn find(store: &Store, text: &str) -> Result<Vec<Record>, state::Error> {
    let mut found = Vec::new();
    for device in store.devices()? {
        let record = match store.read(&device) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            // `attachments` tells of it
            Err(state::Error::Unreadable { .. }) => continue,
            Err(other) => return Err(other),
        };
        let pod = &record.claim.pod;
        let is_meant = text == format!("{}/{}", pod.namespace, pod.name)
            || text == device.as_str()
            || (text.len() >= SHORTEST && record.claim.container.as_str().starts_with(text));
        if is_meant {
            found.push(record);
        }
    }
    Ok(found)
}

fn findings(record: &Record, deadlines: &Deadlines) -> Result<Vec<String>, String> {
    block_on(check_record(record, deadlines))?.map_err(|failure| failure.to_string())
}

fn lines(record: &Record, findings: &[String]) -> String {
    let head = format!("{}, VF {}", record.holder(), record.claim.device);
    if findings.is_empty() {
        return format!("ok      {}\n", shown(&head));
    }
    let mut text = format!("NOT OK  {}\n", shown(&head));
    for finding in findings {
        text.push_str("        ");
        text.push_str(&shown(finding));
        text.push('\n');
    }
    text
}

fn object(record: &Record, findings: &[String]) -> Value {
    json!({
        "device": record.claim.device,
        "pod": {"namespace": record.claim.pod.namespace, "name": record.claim.pod.name},
        "interface": record.claim.ifname,
        "container": record.claim.container,
        "ok": findings.is_empty(),
        "findings": findings,
    })
}
