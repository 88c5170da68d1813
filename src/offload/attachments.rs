//! `attachments`: the plugin's own records, those of attachments that have ended among them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use kube_ovn::state::{self, Record, Stage, Store};
use kube_ovn::types::{NetnsId, PciAddress};
use serde_json::{Value, json};

use crate::Status;
use crate::output::{Output, complain, table};

/// Lists what the plugin has recorded: which pod has which VF, and what has ended but is not wholly given back.
///
/// STATE is `attached`; `being attached` while an ADD is under way, or after one that was killed; `ended` when the pod has gone and
/// something could not be given back yet (`kube-ovn-offload gc` goes on with it); `orphaned` when the pod's network
/// namespace is gone and no DEL has come; `unreadable` when the record can't be understood.
///
/// Exit status: 0 all are attached or being attached, 1 something has ended, is orphaned or unreadable, 4 the records can't be read.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  kube-ovn-offload attachments --output json |
      jq -r '.attachments[] | select(.state == \"orphaned\") | .device'")]
pub(crate) struct Arguments {
    /// How to show the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Another directory of records.
    #[arg(long, hide = true, value_name = "DIR", default_value = state::DIRECTORY)]
    state: PathBuf,
}

/// What has become of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    BeingAttached,
    Attached,
    Ended,
    Orphaned,
    Unreadable,
}

impl State {
    /// The state of a record; `alive`: its pod's namespace is still there, as far as can be seen.
    fn of(record: &Record, alive: bool) -> Self {
        if record.ending {
            Self::Ended
        } else if !alive {
            Self::Orphaned
        } else if record.stage == Stage::Attached {
            Self::Attached
        } else {
            Self::BeingAttached
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::BeingAttached => "being attached",
            Self::Attached => "attached",
            Self::Ended => "ended",
            Self::Orphaned => "orphaned",
            Self::Unreadable => "unreadable",
        }
    }

    fn is_well(self) -> bool {
        matches!(self, Self::BeingAttached | Self::Attached)
    }
}

struct Attachment {
    device: PciAddress,
    state: State,
    /// Or why it can't be read.
    record: Result<Record, String>,
}

/// Writes the records to `out`.
pub(crate) fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    let found = match look(&Store::at(&arguments.state)) {
        Ok(found) => found,
        Err(error) => {
            complain(&error.to_string());
            return Status::NoAnswer;
        }
    };
    // writing to a Vec can't fail
    let _ = match arguments.output {
        Output::Json => {
            let all: Vec<Value> = found.iter().map(object).collect();
            writeln!(out, "{:#}", json!({ "attachments": all }))
        }
        Output::Table if found.is_empty() => writeln!(out, "no VF is attached to a pod"),
        Output::Table => {
            let mut rows = vec![
                ["VF", "POD", "INTERFACE", "STATE", "NETWORK", "SANDBOX"]
                    .map(str::to_owned)
                    .to_vec(),
            ];
            rows.extend(found.iter().map(row));
            write!(out, "{}", table(&rows))
        }
    };
    for attachment in &found {
        if let Err(why) = &attachment.record {
            complain(why);
        }
    }
    if found.iter().all(|attachment| attachment.state.is_well()) {
        Status::Fine
    } else {
        Status::Wrong
    }
}

fn look(store: &Store) -> Result<Vec<Attachment>, state::Error> {
    let mut found = Vec::new();
    for device in store.devices()? {
        let (state, record) = match store.read(&device) {
            Ok(Some(record)) => (State::of(&record, is_there(&record)), Ok(record)),
            Ok(None) => continue, // given back just now
            Err(error @ state::Error::Unreadable { .. }) => (State::Unreadable, Err(error.to_string())),
            Err(other) => return Err(other),
        };
        found.push(Attachment { device, state, record });
    }
    Ok(found)
}

/// Whether the pod's namespace is still at its path. Also when that can't be seen: it must not be called orphaned then.
fn is_there(record: &Record) -> bool {
    match fs::metadata(Path::new(&record.claim.netns)) {
        Ok(file) => {
            let now = NetnsId {
                device: file.dev(),
                inode: file.ino(),
            };
            now == record.netns_id
        }
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

fn row(attachment: &Attachment) -> Vec<String> {
    let state = attachment.state.name().to_owned();
    let device = attachment.device.to_string();
    match &attachment.record {
        Ok(Record { claim, .. }) => vec![
            device,
            format!("{}/{}", claim.pod.namespace, claim.pod.name),
            claim.ifname.to_string(),
            state,
            claim.network.clone(),
            claim.container.as_str().chars().take(12).collect(),
        ],
        Err(_) => vec![
            device,
            "?".to_owned(),
            "?".to_owned(),
            state,
            "?".to_owned(),
            "?".to_owned(),
        ],
    }
}

fn object(attachment: &Attachment) -> Value {
    let state = attachment.state.name().replace(' ', "_");
    match &attachment.record {
        Ok(record) => json!({
            "device": attachment.device,
            "state": state,
            "pf": record.pf,
            "vf_index": record.vf_index,
            "pod": {
                "namespace": record.claim.pod.namespace,
                "name": record.claim.pod.name,
                "uid": record.claim.pod.uid,
            },
            "interface": record.claim.ifname,
            "network": record.claim.network,
            "provider": record.claim.provider,
            "container": record.claim.container,
            "netns": record.claim.netns,
        }),
        Err(why) => json!({"device": attachment.device, "state": state, "error": why}),
    }
}
