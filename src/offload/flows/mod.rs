//! `flows`: which traffic is offloaded, which is not, and why.

mod classify;
mod describe;
mod facts;
mod gather;
mod json;
mod reason;
mod sample;
mod summary;
mod table;
mod tc;

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::RangedU64ValueParser;
use kube_ovn::ovs::{self, Ovs};
use kube_ovn::state;
use tokio::runtime::Runtime;

use crate::Status;
use crate::output::{Output, complain};
use facts::{Facts, Pod};
use sample::{Counters, Report, Source};

/// How long ovs-vswitchd may take for its answer: its main thread writes the dump, and has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shows each flow of the data path: whose it is, whether the NIC has it, and if not, why.
///
/// STATE is `hardware` (the NIC forwards the packets), `tc` (tc has the flow and the NIC does not), `kernel` (the kernel's data path
/// has it, or ovs-vswitchd handles each packet); with DPDK also `partly` and `userspace`. WHY is the code of the reason, explained in the
/// list below the table and in docs/flows.md; one with a question mark was concluded, as neither tc nor the driver tells. The share that is
/// offloaded is that of bytes; a packet that passes several flows, as with conntrack, counts once.
///
/// ICMP through conntrack proves nothing: NICs track TCP and UDP only, whatever the flow's state. Test with TCP.
///
/// Exit status: 0 it was shown, 1 less than --expect is offloaded, 2 wrong arguments, 3 no such pod has a port here, 4 Open vSwitch can't be
/// asked.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ovn-offload flows --pod default/web-0
  kube-ovn-offload flows --watch 5 --not-offloaded
  kube-ovn-offload flows --pod default/web-0 --rates 10 --expect 90
      as a test: ends with 0 if at least 90 % of the bytes of these 10
      seconds were offloaded
  kube-ovn-offload flows --output json | jq -r '.flows[] |
      select(.state != \"hardware\") | [.reason.code, .bytes] | @tsv'")]
pub(crate) struct Arguments {
    /// Only flows from or to this pod.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod_name)]
    pod: Option<(String, String)>,
    /// Only flows that are not in hardware; sums and shares are of all.
    #[arg(long)]
    not_offloaded: bool,
    /// Looks again every so many seconds (3 if none are given); rates and shares are those of the time between. When Open vSwitch
    /// is restarted meanwhile, it says so and goes on.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "3", value_parser = seconds())]
    watch: Option<u64>,
    /// Looks twice, so many seconds apart, and shows rates.
    #[arg(long, value_name = "SECONDS", conflicts_with = "watch", value_parser = seconds())]
    rates: Option<u64>,
    /// Ends with status 1 when less than this percentage of the bytes is offloaded, or when there was no traffic.
    #[arg(long, value_name = "PERCENT", conflicts_with = "watch", value_parser = RangedU64ValueParser::<u64>::new().range(0..=100))]
    expect: Option<u64>,
    /// Shows at most so many flows in the table, those with the most traffic; 0 shows all.
    #[arg(long, value_name = "COUNT", default_value = "40")]
    limit: usize,
    /// Does not shorten what a flow matches and does to fit 160 columns, or COLUMNS.
    #[arg(long)]
    wide: bool,
    /// How to show the answer; with --watch, JSON is one object a line.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Another directory of Open vSwitch's sockets.
    #[arg(long, hide = true, value_name = "DIR", default_value = ovs::DIRECTORY)]
    ovs: PathBuf,
    /// Another directory of records.
    #[arg(long, hide = true, value_name = "DIR", default_value = state::DIRECTORY)]
    state: PathBuf,
    /// Another machine's dump, in this file.
    #[arg(long, hide = true, value_name = "FILE", requires = "node", conflicts_with_all = ["watch", "rates"])]
    dump: Option<PathBuf>,
    /// That machine's settings and ports: tests/fixtures/flows/README.md.
    #[arg(long, hide = true, value_name = "FILE")]
    node: Option<PathBuf>,
    /// Ends the watch after so many looks.
    #[arg(long, hide = true, value_name = "COUNT", requires = "watch")]
    looks: Option<u64>,
}

fn seconds() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=3600)
}

fn pod_name(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("expected NAMESPACE/NAME, such as default/web-0".to_owned()),
    }
}

/// Which flows are wanted.
struct Wanted<'a> {
    pod: Option<&'a (String, String)>,
    not_offloaded: bool,
    /// At most so many in a table; 0: all.
    limit: usize,
}

/// Why there is no answer.
enum Failure {
    NoAnswer(String),
    NoSuchPod(String),
    /// What we write can't be written.
    Unread(io::Error),
}

impl From<ovs::Error> for Failure {
    fn from(error: ovs::Error) -> Self {
        Self::NoAnswer(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

/// Writes flows as they come, and a failure to stderr.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Status {
    match look(arguments, &mut BufWriter::new(out)) {
        Ok(status) => status,
        Err(Failure::NoSuchPod(message)) => {
            complain(&message);
            Status::NoSuchThing
        }
        Err(Failure::NoAnswer(message)) => {
            complain(&message);
            Status::NoAnswer
        }
        // a pager that was closed
        Err(Failure::Unread(error)) if error.kind() == io::ErrorKind::BrokenPipe => Status::Fine,
        Err(Failure::Unread(error)) => {
            complain(&format!("cannot write to stdout: {error}"));
            Status::NoAnswer
        }
    }
}

fn look(arguments: &Arguments, out: &mut impl Write) -> Result<Status, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::NoAnswer(format!("cannot wait for answers: {error}")))?;
    let ovs = Ovs::at(&arguments.ovs);
    let source = match &arguments.dump {
        Some(file) => Source::File(file),
        None => Source::Ovs(&ovs, &runtime),
    };
    let mut before: Option<Counters> = None;
    if let Some(seconds) = arguments.rates {
        before = Some(source.counters(Instant::now() + PATIENCE)?);
        if io::stderr().is_terminal() {
            let _ = writeln!(io::stderr(), "counting for {seconds} s …");
        }
        thread::sleep(Duration::from_secs(seconds));
    }
    let mut looks = 0;
    let mut is_away = false;
    loop {
        let looked = look_once(
            arguments,
            &source,
            || facts(arguments, &ovs, &runtime),
            before.take(),
            out,
        );
        let status = match (looked, arguments.watch) {
            (Ok((status, counters)), _) => {
                if std::mem::take(&mut is_away) {
                    complain("it is there again");
                }
                before = counters;
                looks += 1;
                status
            }
            // it may be restarted, and the pod made anew; whoever watches a node wants to see what becomes of that
            (Err(Failure::NoAnswer(why) | Failure::NoSuchPod(why)), Some(seconds)) if looks > 0 => {
                if !std::mem::replace(&mut is_away, true) {
                    complain(&format!("{why}; looking again every {seconds} s"));
                }
                Status::NoAnswer
            }
            (Err(failure), _) => return Err(failure),
        };
        let Some(seconds) = arguments.watch.filter(|_| arguments.looks != Some(looks)) else {
            return Ok(status);
        };
        thread::sleep(Duration::from_secs(seconds));
    }
}

fn facts(arguments: &Arguments, ovs: &Ovs, runtime: &Runtime) -> Result<Facts, Failure> {
    match &arguments.node {
        Some(file) => recorded(file),
        None => Ok(runtime.block_on(gather::facts(ovs, &arguments.state, Instant::now() + PATIENCE))?),
    }
}

/// Looks at all flows, and writes them. Gives back what the next look goes on from.
fn look_once(
    arguments: &Arguments,
    source: &Source<'_>,
    facts: impl FnOnce() -> Result<Facts, Failure>,
    before: Option<Counters>,
    out: &mut impl Write,
) -> Result<(Status, Option<Counters>), Failure> {
    let facts = facts()?;
    if let Some(pod) = &arguments.pod {
        has_port(pod, &facts)?;
    }
    let wanted = Wanted {
        pod: arguments.pod.as_ref(),
        not_offloaded: arguments.not_offloaded,
        limit: arguments.limit,
    };
    let deadline = Instant::now() + PATIENCE;
    let mut report = Report::new(&facts, wanted, before, arguments.watch.is_some());
    match arguments.output {
        Output::Json => json::write(&mut report, source, deadline, out)?,
        Output::Table => {
            report.take(source, deadline, &mut |_| Ok(()))?;
            table::write(&report, arguments.watch.is_some(), arguments.wide, out)?;
        }
    }
    out.flush()?;
    Ok((report.status(arguments.expect), report.into_counters()))
}

/// A pod without a port has no flows, and that is not "none is offloaded".
fn has_port((namespace, name): &(String, String), facts: &Facts) -> Result<(), Failure> {
    let is_it = |pod: &Pod| pod.namespace == *namespace && pod.name == *name;
    if facts.ports.values().any(|port| port.pod.as_ref().is_some_and(is_it)) {
        return Ok(());
    }
    Err(Failure::NoSuchPod(format!(
        "no port of Open vSwitch on this node is pod {namespace}/{name}'s: is it on this node (kubectl get pod -o wide), and in a network of \
         Kube-OVN? kube-ovn-offload attachments lists the pods that have a VF"
    )))
}

fn recorded(file: &Path) -> Result<Facts, Failure> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string());
    let facts = text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    facts.map_err(|why| Failure::NoAnswer(format!("cannot read {}: {why}", file.display())))
}
