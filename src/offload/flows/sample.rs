//! One look at all flows.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use kube_ovn::ovs::Ovs;
use kube_ovn::ovs::flow::Flow;
use tokio::runtime::Runtime;

use super::classify::{Parts, State, Verdict, classify};
use super::describe;
use super::facts::Facts;
use super::summary::{Counted, Recent, Summary};
use super::{Failure, Wanted};
use crate::Status;

/// Of so many flows the counters are kept from one look to the next, 48 bytes each. Open vSwitch's own limit is 200,000
/// (`flow-limit`).
const MAX_COUNTERS: usize = 1_000_000;

/// Where flows come from.
pub(crate) enum Source<'a> {
    Ovs(&'a Ovs, &'a Runtime),
    File(&'a Path),
}

impl Source<'_> {
    /// Hands on each line of a dump, with its data path. Gives back how many were left out.
    fn lines(&self, deadline: Instant, mut each: impl FnMut(&str, &str)) -> Result<u64, Failure> {
        match self {
            Self::Ovs(ovs, runtime) => {
                let datapaths = runtime.block_on(ovs.appctl("dpctl/dump-dps", &[], deadline))?;
                let mut overlong = 0;
                for datapath in datapaths.lines() {
                    let arguments = ["-m", "--names", datapath];
                    let dump = ovs.appctl_lines("dpctl/dump-flows", &arguments, deadline, |line| each(line, datapath));
                    overlong += runtime.block_on(dump)?;
                }
                Ok(overlong)
            }
            Self::File(path) => {
                let failed = |error: io::Error| Failure::NoAnswer(format!("cannot read {}: {error}", path.display()));
                for line in BufReader::new(File::open(path).map_err(failed)?).lines() {
                    each(&line.map_err(failed)?, "system@ovs-system");
                }
                Ok(0)
            }
        }
    }

    /// The counters of all flows.
    pub(crate) fn counters(&self, deadline: Instant) -> Result<Counters, Failure> {
        let mut counters = Counters::new();
        self.lines(deadline, |line, _| {
            if let Some(flow) = Flow::parse(line) {
                counters.keep(&flow);
            }
        })?;
        Ok(counters)
    }
}

/// Counters of flows at one look.
pub(crate) struct Counters {
    at: Instant,
    flows: HashMap<u128, (u64, u64)>,
    /// For flows without an ID, whose match stands for them.
    hasher: RandomState,
}

impl Counters {
    fn new() -> Self {
        Self {
            at: Instant::now(),
            flows: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    fn id(&self, flow: &Flow<'_>) -> u128 {
        flow.ufid.unwrap_or_else(|| u128::from(self.hasher.hash_one(flow.key)))
    }

    fn keep(&mut self, flow: &Flow<'_>) {
        if self.flows.len() < MAX_COUNTERS {
            self.flows.insert(self.id(flow), (flow.packets, flow.bytes));
        }
    }

    /// What a flow has done since; all of it when it was not there, or was installed anew.
    fn since(&self, flow: &Flow<'_>) -> Recent {
        let (packets, bytes) = match self.flows.get(&self.id(flow)) {
            Some((packets, bytes)) if *packets <= flow.packets && *bytes <= flow.bytes => (*packets, *bytes),
            _ => (0, 0),
        };
        Recent {
            packets: flow.packets - packets,
            bytes: flow.bytes - bytes,
        }
    }
}

/// A flow in a table, ordered by traffic.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// Recent bytes, bytes, packets.
    rank: (u64, u64, u64),
    pub(crate) state: State,
    pub(crate) why: String,
    pub(crate) bytes: u64,
    pub(crate) recent: Option<u64>,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) what: String,
}

/// One look.
pub(crate) struct Report<'f, 'w> {
    pub(crate) facts: &'f Facts,
    wanted: Wanted<'w>,
    before: Option<Counters>,
    now: Option<Counters>,
    /// The time between the looks.
    pub(crate) interval: Option<Duration>,
    pub(crate) summary: Summary,
    /// The one with the least traffic on top.
    rows: BinaryHeap<Reverse<Row>>,
    /// How many flows are wanted.
    pub(crate) selected: u64,
}

impl<'f, 'w> Report<'f, 'w> {
    /// A look that follows `before`; `keep`: another one follows this.
    pub(crate) fn new(facts: &'f Facts, wanted: Wanted<'w>, before: Option<Counters>, keep: bool) -> Self {
        Self {
            facts,
            wanted,
            interval: before.as_ref().map(|before| before.at.elapsed()),
            before,
            now: keep.then(Counters::new),
            summary: Summary::default(),
            rows: BinaryHeap::new(),
            selected: 0,
        }
    }

    /// Reads the flows; `each` gets those that are wanted.
    pub(crate) fn take(
        &mut self,
        source: &Source<'_>,
        deadline: Instant,
        each: &mut impl FnMut(&Counted<'_, '_>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut written = Ok(());
        let overlong = source.lines(deadline, |line, datapath| {
            if written.is_ok() {
                written = self.line(line, datapath, each);
            }
        })?;
        self.summary.not_understood += overlong;
        written.map_err(Failure::from)
    }

    fn line(
        &mut self,
        line: &str,
        datapath: &str,
        each: &mut impl FnMut(&Counted<'_, '_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(flow) = Flow::parse(line) else {
            // with several threads in user space there is a title above the flows of each
            let is_title = line.trim().is_empty() || line.starts_with("flow-dump from ");
            self.summary.not_understood += u64::from(!is_title);
            return Ok(());
        };
        if let Some(now) = &mut self.now {
            now.keep(&flow);
        }
        let parts = Parts::of(&flow);
        if !self.is_of_pod(&parts) {
            return Ok(());
        }
        let verdict = classify(&flow, &parts, datapath, self.facts);
        let counted = Counted {
            flow: &flow,
            parts: &parts,
            verdict: &verdict,
            recent: self.before.as_ref().map(|before| before.since(&flow)),
            datapath,
        };
        self.summary.add(&counted, self.facts);
        if self.wanted.not_offloaded && verdict.state == State::Hardware {
            return Ok(());
        }
        self.selected += 1;
        self.keep_row(&counted);
        each(&counted)
    }

    fn is_of_pod(&self, parts: &Parts<'_>) -> bool {
        let Some((namespace, name)) = self.wanted.pod else {
            return true;
        };
        let is_its = |port: &&str| {
            let pod = self.facts.pod(port);
            pod.is_some_and(|pod| pod.namespace == *namespace && pod.name == *name)
        };
        is_its(&parts.in_port) || parts.outputs.iter().any(is_its)
    }

    /// Keeps a flow if it is one of those with the most traffic.
    fn keep_row(&mut self, counted: &Counted<'_, '_>) {
        let flow = counted.flow;
        let recent = counted.recent.map(|recent| recent.bytes);
        let rank = (recent.unwrap_or_default(), flow.bytes, flow.packets);
        let is_full = self.wanted.limit != 0 && self.rows.len() >= self.wanted.limit;
        if is_full && self.rows.peek().is_some_and(|Reverse(least)| least.rank >= rank) {
            return;
        }
        let label = |port: &str| self.facts.label(port);
        let (what, does) = (describe::matches(counted.parts), describe::actions(flow));
        self.rows.push(Reverse(Row {
            rank,
            state: counted.verdict.state,
            why: why(counted.verdict),
            bytes: flow.bytes,
            recent,
            from: label(counted.parts.in_port),
            to: match counted.parts.outputs.as_slice() {
                [] => "-".to_owned(),
                [one] => label(one),
                [first, others @ ..] => format!("{} +{}", label(first), others.len()),
            },
            what: if does.is_empty() {
                what
            } else {
                format!("{what}: {does}")
            },
        }));
        if is_full {
            self.rows.pop();
        }
    }

    /// The flows with the most traffic, that with the most first.
    pub(crate) fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().map(|Reverse(row)| row).collect();
        rows.sort_unstable_by(|a, b| b.cmp(a));
        rows
    }

    /// Whether so many percent are offloaded.
    pub(crate) fn status(&self, expected: Option<u64>) -> Status {
        let share = self.summary.traffic.current().per_mille();
        match (expected, share) {
            (None, _) => Status::Fine,
            (Some(expected), Some(share)) if share >= expected * 10 => Status::Fine,
            (Some(_), _) => Status::Wrong,
        }
    }

    /// What the next look goes on from.
    pub(crate) fn into_counters(self) -> Option<Counters> {
        self.now
    }
}

/// The reason's code; with a question mark when it was concluded.
fn why(verdict: &Verdict) -> String {
    match &verdict.reason {
        None if verdict.is_icmp_through_conntrack => "(icmp)".to_owned(),
        None => "-".to_owned(),
        Some(reason) => format!("{}{}", reason.code(), if verdict.is_likely { "?" } else { "" }),
    }
}
