//! Sums over flows.

use std::collections::BTreeMap;

use kube_ovn::ovs::flow::Flow;

use super::classify::{Parts, State, Verdict};
use super::facts::{Facts, Pod};
use super::reason::Reason;

/// Reasons differ in the names of ports at most; beyond so many they are not told apart.
const MAX_REASONS: usize = 1024;

/// How much of something was offloaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// All bytes.
    pub(crate) all: u64,
    /// Those in hardware.
    pub(crate) hardware: u64,
    /// Those in tc, in software.
    pub(crate) tc: u64,
}

impl Share {
    fn add(&mut self, bytes: u64, state: State) {
        self.all = self.all.saturating_add(bytes);
        match state {
            State::Hardware => self.hardware = self.hardware.saturating_add(bytes),
            State::Tc => self.tc = self.tc.saturating_add(bytes),
            State::Partly | State::Kernel | State::Userspace => {}
        }
    }

    /// The part in hardware in tenths of a percent, rounded down: 1000 only when it is all. `None` when there is nothing.
    pub(crate) fn per_mille(self) -> Option<u64> {
        per_mille(self.hardware, self.all)
    }

    /// The same of what is in tc.
    pub(crate) fn tc_per_mille(self) -> Option<u64> {
        per_mille(self.tc, self.all)
    }
}

fn per_mille(part: u64, all: u64) -> Option<u64> {
    let share = (u128::from(part) * 1000).checked_div(u128::from(all))?;
    u64::try_from(share).ok()
}

/// A share since the flows were installed, and one of the time between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) total: Share,
    /// `None` at the first look.
    pub(crate) recent: Option<Share>,
}

impl Traffic {
    fn add(&mut self, counted: &Counted<'_, '_>) {
        self.total.add(counted.flow.bytes, counted.verdict.state);
        if let Some(recent) = counted.recent {
            self.recent
                .get_or_insert_default()
                .add(recent.bytes, counted.verdict.state);
        }
    }

    /// What is happening now, or if that is not known, what has happened.
    pub(crate) fn current(self) -> Share {
        self.recent.unwrap_or(self.total)
    }
}

/// What a flow's counters have grown by between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// A flow with what was found out.
pub(crate) struct Counted<'f, 'l> {
    pub(crate) flow: &'f Flow<'l>,
    pub(crate) parts: &'f Parts<'l>,
    pub(crate) verdict: &'f Verdict,
    pub(crate) recent: Option<Recent>,
    pub(crate) datapath: &'f str,
}

impl Counted<'_, '_> {
    /// Whether its packets are counted: those of a flow that recirculates are counted by the next one.
    pub(crate) fn is_traffic(&self) -> bool {
        !self.parts.recirculates
    }
}

/// What a pod has sent and received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PodTraffic {
    pub(crate) sent: Traffic,
    pub(crate) received: Traffic,
}

/// Flows with one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) flows: u64,
    pub(crate) bytes: u64,
    /// Of the time between two looks.
    pub(crate) recent: Option<u64>,
    /// Whether it was concluded, for one of them.
    pub(crate) is_likely: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) flows: BTreeMap<State, u64>,
    pub(crate) traffic: Traffic,
    pub(crate) pods: BTreeMap<Pod, PodTraffic>,
    pub(crate) reasons: BTreeMap<Reason, Group>,
    pub(crate) icmp_through_conntrack: u64,
    pub(crate) new_connections: u64,
    /// Lines that are no flows.
    pub(crate) not_understood: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, counted: &Counted<'_, '_>, facts: &Facts) {
        let verdict = counted.verdict;
        *self.flows.entry(verdict.state).or_default() += 1;
        self.icmp_through_conntrack += u64::from(verdict.is_icmp_through_conntrack);
        self.new_connections += u64::from(verdict.is_for_new_connections);
        if let Some(reason) = &verdict.reason {
            self.add_reason(reason, counted);
        }
        if !counted.is_traffic() {
            return;
        }
        self.traffic.add(counted);
        if let Some(pod) = facts.pod(counted.parts.in_port) {
            self.pods.entry(pod.clone()).or_default().sent.add(counted);
        }
        let mut receivers: Vec<&Pod> = counted
            .parts
            .outputs
            .iter()
            .filter_map(|port| facts.pod(port))
            .collect();
        receivers.sort_unstable();
        receivers.dedup();
        for pod in receivers {
            self.pods.entry(pod.clone()).or_default().received.add(counted);
        }
    }

    fn add_reason(&mut self, reason: &Reason, counted: &Counted<'_, '_>) {
        if self.reasons.len() >= MAX_REASONS && !self.reasons.contains_key(reason) {
            return;
        }
        let group = self.reasons.entry(reason.clone()).or_default();
        group.flows += 1;
        group.is_likely |= counted.verdict.is_likely;
        if counted.is_traffic() {
            group.bytes = group.bytes.saturating_add(counted.flow.bytes);
            if let Some(recent) = counted.recent {
                *group.recent.get_or_insert_default() += recent.bytes;
            }
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.flows.values().sum()
    }
}
