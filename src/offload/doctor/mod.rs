//! `doctor`: why traffic of this node is not offloaded.
//!
//! Facts are read first ([`facts`]), each check is a function of them ([`checks`]), and what they say is shown ([`render`]).

mod checks;
mod facts;
mod render;
mod verdict;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use crate::Status;
use crate::machine::block_on;
use crate::output::{Output, Progress, complain, table};
use checks::ALL;
use facts::{CONFIGURATIONS, PLUGINS, Place, Told, gather};
use verdict::{Check, Verdict};

/// Looks for every known reason why traffic of this node is not offloaded, and says what helps.
///
/// Exit status: 0 nothing is wrong (there may be warnings), 1 there is a problem, 2 wrong arguments, 3 there is
/// no such PF, 4 no problem was seen, but not all could be asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kube-ovn-offload doctor
      what is wrong, why, and what helps
  kube-ovn-offload doctor --all
      also what does not apply to this node
  kube-ovn-offload doctor --only kernel-ct-offload -o json
  kube-ovn-offload doctor --list
      every check

It only looks. A line that begins with $ is a command for a shell on this node; read it before you paste it.")]
pub(crate) struct Arguments {
    /// How to show the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Only these checks.
    #[arg(long, value_name = "CHECK", value_delimiter = ',', value_parser = known)]
    only: Vec<String>,
    /// Only this PF, by the name of its netdev or its PCI address.
    #[arg(long, value_name = "PF")]
    pf: Option<String>,
    /// The address of OVN's northbound database, where it is not found: unix:FILE or tcp:IP:PORT.
    #[arg(long, value_name = "ADDRESS")]
    nb: Option<String>,
    /// The directory of the runtime's CNI configurations.
    #[arg(long, value_name = "DIR", default_value = CONFIGURATIONS)]
    cni_conf: String,
    /// The directory of the runtime's CNI plugins.
    #[arg(long, value_name = "DIR", default_value = PLUGINS)]
    cni_bin: String,
    /// Shows every check and what it is about, and asks nothing.
    #[arg(long)]
    list: bool,
    /// Shows also what does not apply to this node.
    #[arg(short, long)]
    all: bool,
    /// Another machine's files, in this directory.
    #[arg(long, hide = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

fn known(id: &str) -> Result<String, String> {
    if every().any(|check| check.id == id) {
        return Ok(id.to_owned());
    }
    Err("there is no such check; kube-ovn-offload doctor --list shows all".to_owned())
}

fn every() -> impl Iterator<Item = &'static Check> {
    ALL.iter().flat_map(|checks| checks.iter())
}

/// Writes the answer to `out`.
pub(crate) fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    let wanted = |check: &&Check| arguments.only.is_empty() || arguments.only.iter().any(|id| *id == check.id);
    let checks = every().filter(wanted);
    if arguments.list {
        let mut rows = vec![vec!["CHECK".to_owned(), "WHAT MUST BE SO".to_owned()]];
        rows.extend(checks.map(|check| vec![check.id.to_owned(), check.what.to_owned()]));
        let _ = write!(out, "{}", table(&rows));
        return Status::Fine;
    }
    let place = Place::new(&arguments.root);
    if place.is_this_machine() && !nix::unistd::geteuid().is_root() {
        complain("doctor asks the kernel, Open vSwitch and kube-ovn-daemon for what only root is told: run it as root");
        return Status::NoAnswer;
    }
    let told = Told {
        north: arguments.nb.as_deref(),
        configurations: &arguments.cni_conf,
        plugins: &arguments.cni_bin,
    };
    let mut progress = Progress::start();
    let mut facts = match block_on(gather(&place, &told, &mut progress)) {
        Ok(facts) => facts,
        Err(why) => {
            complain(&why);
            return Status::NoAnswer;
        }
    };
    if let (Some(pf), Ok(nics)) = (&arguments.pf, &mut facts.nics) {
        let known: Vec<String> = nics.iter().map(facts::Nic::name).collect();
        nics.retain(|nic| nic.is_called(pf));
        if nics.is_empty() {
            let known = if known.is_empty() {
                "this node has none".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            complain(&format!("no PF is called {pf:?}: {known}"));
            return Status::NoSuchThing;
        }
    }
    let report: Vec<_> = checks.map(|check| (check, (check.look)(&facts))).collect();
    let _ = match arguments.output {
        Output::Json => writeln!(out, "{:#}", render::json(&report)),
        Output::Table => write!(
            out,
            "{}",
            render::table(&report, arguments.all || !arguments.only.is_empty(), wants_colours())
        ),
    };
    if render::count(&report, Verdict::Problem) > 0 {
        Status::Wrong
    } else if render::count(&report, Verdict::Unknown) > 0 {
        Status::NoAnswer
    } else {
        Status::Fine
    }
}

/// `NO_COLOR`: <https://no-color.org>.
fn wants_colours() -> bool {
    io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
