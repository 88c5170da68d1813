//! What a check says.

use std::fmt;

use super::facts::Facts;

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It does not apply to this node.
    Irrelevant,
    /// It works, but not as well as it could, or not for all traffic.
    Warning,
    /// It could not be asked.
    Unknown,
    /// Nothing, or not what should be, is offloaded because of it.
    Problem,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Irrelevant => "irrelevant",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Problem => "problem",
        })
    }
}

/// What one check says about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// How it is.
    pub(super) verdict: Verdict,
    /// What was read where.
    pub(super) evidence: String,
    /// Lines for a shell on this node; together, in this order, they put it right.
    pub(super) remedy: Vec<String>,
    /// What no line on this node can do, or what to know before doing it.
    pub(super) note: String,
}

impl Finding {
    fn new(verdict: Verdict, evidence: impl Into<String>) -> Self {
        Self {
            verdict,
            evidence: evidence.into(),
            remedy: Vec::new(),
            note: String::new(),
        }
    }

    pub(super) fn ok(evidence: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, evidence)
    }

    pub(super) fn irrelevant(why: impl Into<String>) -> Self {
        Self::new(Verdict::Irrelevant, why)
    }

    pub(super) fn warning(evidence: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, evidence)
    }

    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, why)
    }

    pub(super) fn problem(evidence: impl Into<String>) -> Self {
        Self::new(Verdict::Problem, evidence)
    }

    /// One more line for the shell.
    pub(super) fn remedy(mut self, line: impl Into<String>) -> Self {
        self.remedy.push(line.into());
        self
    }

    /// What to know.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// A question about a node that is answered from its facts alone.
pub(super) struct Check {
    /// Its name for scripts: it stays the same.
    pub(super) id: &'static str,
    /// What must be so.
    pub(super) what: &'static str,
    /// The answer: a finding for each thing that is not as it should be, or one that says that all are.
    pub(super) look: fn(&Facts) -> Vec<Finding>,
}

/// A word for a shell: names of netdevs, pods and switches are others' words, and a remedy is pasted.
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.:/@%+=,-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Several things in one sentence: the first few, and how many more.
pub(super) fn few<T: fmt::Display>(things: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 6;
    let all: Vec<String> = things.into_iter().map(|thing| thing.to_string()).collect();
    let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    match all.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        assert_eq!(word("pci/0000:03:00.0"), "pci/0000:03:00.0");
        assert_eq!(word("$(reboot)"), "'$(reboot)'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word(""), "''");
    }

    #[test]
    fn a_few_of_many() {
        assert_eq!(few(["a", "b"]), "a, b");
        assert_eq!(few(0..8), "0, 1, 2, 3, 4, 5 and 2 more");
    }
}
