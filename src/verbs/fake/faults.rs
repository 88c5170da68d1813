//! Failing at the k-th call.

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::verbs) enum Fault {
    /// It is refused (EBUSY, 500) and does nothing.
    Refuse,
    /// It is done, but the answer is an error (a netlink timeout, a connection that closes).
    Lose,
    /// It is done; from then on no record can be written.
    FullDisk,
    /// The process is killed before it.
    Kill,
    /// The process is killed when it is done: nothing of the process runs after it.
    KillAfter,
}

/// Counts the calls of one process, and says which of them goes wrong.
#[derive(Debug, Default)]
pub(in crate::verbs) struct Faults {
    planned: Option<(Fault, usize)>,
    dead: bool,
    calls: Vec<String>,
    hit: bool,
}

impl Faults {
    /// A new process, in which the `number`-th call (from 1) goes wrong.
    pub(in crate::verbs) fn plan(fault: Fault, number: usize) -> Self {
        Self {
            planned: Some((fault, number)),
            ..Self::default()
        }
    }

    /// Whether the planned fault has come; if not, the process needed fewer calls.
    pub(in crate::verbs) fn hit(&self) -> bool {
        self.hit
    }

    /// The calls of this process, for messages.
    pub(in crate::verbs) fn last_call(&self) -> String {
        match self.planned {
            Some((fault, number)) => {
                let call = self.calls.get(number - 1).map_or("not reached", String::as_str);
                format!("{fault:?} at call {number} ({call})")
            }
            None => format!("no fault in {} calls", self.calls.len()),
        }
    }

    /// A call is made.
    pub(super) fn count(&mut self, what: &str) -> Option<Fault> {
        if self.dead {
            return Some(Fault::Kill);
        }
        self.calls.push(what.to_owned());
        let (fault, _) = self.planned.filter(|(_, number)| *number == self.calls.len())?;
        self.hit = true;
        Some(fault)
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead
    }

    /// The process is dead now; whether it was not yet.
    pub(super) fn die(&mut self) -> bool {
        !std::mem::replace(&mut self.dead, true)
    }
}
