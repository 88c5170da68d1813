//! A suite that can't fail proves nothing: it is run against plugins that are not ours, and fails what is listed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::subject::{DEBIANS, OTHER};

/// The tests of a run of this executable against another plugin: name, and whether it passed.
fn run_against(plugin: &str) -> BTreeMap<String, bool> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["item_", "--test-threads=2", "--color=never"])
        .env(OTHER, Path::new(DEBIANS).join(plugin))
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let verdict = |line: &str| {
        let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
        let (_, name) = name.rsplit_once("::")?;
        Some((name.to_owned(), verdict == "ok"))
    };
    let found: BTreeMap<String, bool> = text.lines().filter_map(verdict).collect();
    assert_eq!(found.len(), 88, "there are 88 items: {text}");
    found
}

/// `ptp.txt` lists a test a line, and why the plugin fails it.
#[test]
fn debians_ptp_fails_what_is_listed() {
    let list = include_str!("ptp.txt");
    let listed: BTreeMap<&str, &str> = list
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(' ').expect("a name and why"))
        .collect();
    assert!(listed.values().all(|why| why.trim().len() > 10), "why?");
    let mut wrong = Vec::new();
    for (name, passed) in &run_against("ptp") {
        match (passed, listed.contains_key(name.as_str())) {
            (true, true) => wrong.push(format!("{name} passes, and is listed")),
            (false, false) => wrong.push(format!("{name} fails, and is not listed")),
            _ => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "tests/conformance/ptp.txt is not true any more:\n{}",
        wrong.join("\n")
    );
    assert!(listed.len() > 10);
}
