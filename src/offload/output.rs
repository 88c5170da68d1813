//! Tables for people and JSON for programs. Names of netdevs may hold anything but white space: what a terminal would act on
//! is shown escaped.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use clap::ValueEnum;

/// Whoever does not look at a terminal is not told of what takes less.
const QUIET: Duration = Duration::from_secs(1);

/// How to show an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs: one object.
    Json,
}

/// Rows in columns that are as wide as they must be; the last one is not filled up.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| shown(cell)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What takes long says what it does, on stderr: at once to a person, and otherwise when a second has passed.
pub(crate) struct Progress {
    start: Instant,
    is_terminal: bool,
}

impl Progress {
    /// It begins now.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Step `number` of `all` begins.
    pub(crate) fn step(&mut self, number: usize, all: usize, what: &str) {
        self.say(&format!("[{number}/{all}] {what}"));
    }

    /// So far it has come.
    pub(crate) fn say(&mut self, what: &str) {
        if self.is_terminal || self.start.elapsed() > QUIET {
            let _ = writeln!(io::stderr(), "{}", shown(what));
        }
    }
}

/// One line on stderr: what is wrong.
pub(crate) fn complain(message: &str) {
    // nobody is left to tell that stderr can't be written to
    let _ = writeln!(io::stderr(), "kube-ovn-offload: {}", shown(message));
}

/// A text that a terminal only shows.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        assert_eq!(
            table(&[row(&["PF", "0000:03:00.0"]), row(&["NETDEVS", "a\u{1b}[31m", "b"])]),
            "PF       0000:03:00.0\nNETDEVS  a\\u{1b}[31m   b\n"
        );
    }
}
