//! `gc`: gives back what attachments left that have ended.

use std::io::Write;
use std::path::Path;

use clap::Args;
use kube_ovn::node::{PATH, Settings};
use kube_ovn::verbs::{Fate, Swept, sweep};
use serde_json::{Value, json};

use crate::Status;
use crate::machine::block_on;
use crate::output::{Output, Progress, complain, table};

/// Gives back what attachments left that have ended: those that are pending, and those whose pod is gone without a DEL.
///
/// By the rules of the CNI verb GC, of all networks: an attachment that has ended is gone on with; one that has not is given back only
/// when nobody works on it and its pod's network namespace is gone beyond doubt. conf/ has a systemd timer for it.
///
/// Exit status: 0 nothing is left, or what is left only has to wait; 1 something could not be given back, and stays recorded; 4 it
/// can't be told.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  kube-ovn-offload attachments || kube-ovn-offload gc
      when there is something that has ended or is an orphan")]
pub(crate) struct Arguments {
    /// How to show the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Sweeps the host.
pub(crate) fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    if !nix::unistd::geteuid().is_root() {
        complain("only root may give VFs back: run this with sudo");
        return Status::NoAnswer;
    }
    let deadlines = Settings::load(Path::new(PATH)).config.deadlines;
    let mut all = Vec::new();
    let mut progress = Progress::start();
    let each = |swept: Swept| {
        progress.say(&format!(
            "VF {} of {}: {}",
            swept.device,
            swept.holder,
            result(&swept.fate)
        ));
        all.push(swept);
    };
    let ended = block_on(sweep(&deadlines, each)).and_then(|ended| ended.map_err(|failure| failure.to_string()));
    // writing to a Vec can't fail
    let _ = match arguments.output {
        Output::Json => writeln!(
            out,
            "{:#}",
            json!({"attachments": all.iter().map(object).collect::<Vec<_>>()})
        ),
        Output::Table if all.is_empty() && ended.is_ok() => writeln!(out, "nothing to give back"),
        Output::Table if all.is_empty() => Ok(()),
        Output::Table => {
            let mut rows = vec![["VF", "OF", "RESULT"].map(str::to_owned).to_vec()];
            rows.extend(
                all.iter()
                    .map(|swept| vec![swept.device.to_string(), swept.holder.clone(), result(&swept.fate)]),
            );
            write!(out, "{}", table(&rows))
        }
    };
    if let Err(why) = ended {
        complain(&why);
        return Status::NoAnswer;
    }
    if all.iter().any(|swept| matches!(swept.fate, Fate::Failed(_))) {
        Status::Wrong
    } else {
        Status::Fine
    }
}

fn result(fate: &Fate) -> String {
    match fate {
        Fate::GivenBack => "given back".to_owned(),
        Fate::Waiting(left) => format!(
            "given back, and waits {} s more for kube-ovn-daemon, which may still begin with it",
            left.as_secs() + 1
        ),
        Fate::Busy => "another call is giving it back".to_owned(),
        Fate::Failed(why) => why.clone(),
    }
}

fn object(swept: &Swept) -> Value {
    let (fate, why) = match &swept.fate {
        Fate::GivenBack => ("given_back", None),
        Fate::Waiting(_) => ("waiting", None),
        Fate::Busy => ("busy", None),
        Fate::Failed(why) => ("failed", Some(why)),
    };
    json!({"device": swept.device, "holder": swept.holder, "result": fate, "error": why})
}
