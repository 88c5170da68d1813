//! What was asked, what came, and what was ruled out; for the operator's tool. The plugin takes no notes.

use std::fmt;

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// devlink.
    Devlink,
    /// sysfs.
    Sysfs,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Devlink => "devlink",
            Self::Sysfs => "sysfs",
        })
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A fact, or a step.
    Says,
    /// It is the one.
    Chosen,
    /// It is not the one.
    RuledOut,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Says => "says",
            Self::Chosen => "chosen",
            Self::RuledOut => "ruled out",
        })
    }
}

/// One step of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Who said it.
    pub source: Source,
    /// What became of it.
    pub verdict: Verdict,
    /// What was said, or what was looked at and why it is not the one.
    pub text: String,
}

/// Takes notes, or does not: then nothing is written for the hundreds of ports that a NIC has.
pub(super) struct Notes(Option<Vec<Note>>);

impl Notes {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn all() -> Self {
        Self(Some(Vec::new()))
    }

    /// Whether anybody will read them.
    pub(super) fn are_taken(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn add(&mut self, source: Source, verdict: Verdict, text: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.0 {
            let text = text();
            notes.push(Note { source, verdict, text });
        }
    }
}

impl From<Notes> for Vec<Note> {
    fn from(notes: Notes) -> Self {
        notes.0.unwrap_or_default()
    }
}
