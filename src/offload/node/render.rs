//! What `node prepare` and `node reset` show: steps as a shell script that does the same, or as JSON.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::facts::Facts;
use super::persist::{Content, Drop};
use super::plan::Step;
use crate::output::{Output, shown};

/// What was done, or would be.
pub(super) struct Report<'a> {
    facts: &'a Facts,
    steps: &'a [Step],
    files: &'a [Drop],
    root: &'a Path,
    pub(super) dry_run: bool,
    /// The files that were written, of `files`.
    pub(super) written: Vec<PathBuf>,
    /// The files that are removed.
    pub(super) removed: Vec<PathBuf>,
}

/// What has all that read such files read them anew: udev for the links that are there, and its properties by a restart those that ask
/// for them when they find a link (the lab's NetworkManager does not look again at a reload).
const ANEW: &str = "systemctl daemon-reload; udevadm control --reload; udevadm trigger --settle --subsystem-match=net; \
                    systemctl try-restart NetworkManager systemd-networkd";

impl<'a> Report<'a> {
    pub(super) fn new(facts: &'a Facts, steps: &'a [Step], files: &'a [Drop], root: &'a Path) -> Self {
        Self {
            facts,
            steps,
            files,
            root,
            dry_run: false,
            written: Vec::new(),
            removed: Vec::new(),
        }
    }
}

/// As text, which sh(1) can run when it is of a dry run, or as JSON.
pub(super) fn render(report: &Report<'_>, output: Output) -> String {
    match output {
        Output::Table => script(report),
        Output::Json => format!("{:#}\n", object(report)),
    }
}

fn script(report: &Report<'_>) -> String {
    let mut text = String::new();
    // writing to a String can't fail
    let _ = writeln!(text, "# PF {}", shown(&report.facts.name()));
    if report.steps.is_empty() {
        let _ = writeln!(text, "# nothing to do: it is as it should be");
    }
    let done = if report.dry_run { "" } else { "done: " };
    for (number, step) in report.steps.iter().enumerate() {
        let _ = writeln!(text, "\n# {}. {done}{}", number + 1, step.what);
        for line in &step.commands {
            let _ = writeln!(text, "{}", shown(line));
        }
        for line in &step.back {
            let _ = writeln!(text, "#    back: {}", shown(line));
        }
    }
    if report.dry_run {
        for drop in report.files {
            let path = report.root.join(&drop.path);
            let directory = path.parent().unwrap_or(report.root).display();
            let _ = writeln!(text, "\nmkdir -p {directory}");
            let _ = match &drop.content {
                Content::Text(content) => write!(text, "cat > {} << 'END'\n{content}END\n", path.display()),
                Content::Link(target) => writeln!(text, "ln -sf {target} {}", path.display()),
            };
        }
        for path in &report.removed {
            let _ = writeln!(text, "rm {}", path.display());
        }
        return text;
    }
    for path in &report.written {
        let _ = writeln!(text, "# written: {}", path.display());
    }
    for path in &report.removed {
        let _ = writeln!(text, "# removed: {}", path.display());
    }
    if !report.written.is_empty() {
        let _ = writeln!(text, "# these files count from the next boot on; or now: {ANEW}");
    }
    if !report.removed.is_empty() {
        let _ = writeln!(text, "# these files count until the next boot; or until: {ANEW}");
    }
    text
}

fn object(report: &Report<'_>) -> Value {
    let step =
        |step: &Step| json!({"what": step.what, "commands": step.commands, "back": step.back, "done": !report.dry_run});
    let files: Vec<PathBuf> = report.files.iter().map(|drop| report.root.join(&drop.path)).collect();
    json!({
        "pf": report.facts.pf.address,
        "uplink": report.facts.uplink.as_ref().ok().map(|uplink| &uplink.netdev.name),
        "dry_run": report.dry_run,
        "steps": report.steps.iter().map(step).collect::<Vec<_>>(),
        "files": files,
        "files_written": report.written,
        "files_removed": report.removed,
    })
}
