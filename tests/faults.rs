//! The table of faults, tests/faults.md, names tests that exist, and all of those that were written for it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: a failed step is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names after `fn` in the Rust files of a directory.
fn functions(directory: &Path, is_ours: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if !is_ours(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        let mut is_test = false;
        for line in text.lines() {
            is_test |= line.ends_with("test]");
            if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                names.extend(rest.split('(').next().map(str::to_owned));
                is_test = false;
            }
        }
    }
    names
}

#[test]
fn each_named_test_exists_and_each_of_these_modules_is_named() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(top.join("tests/faults.md")).unwrap();
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains(" lab [") || line.contains("process `"));
    let cells = rows.map(|row| row.trim_end_matches(" |").rsplit(" | ").next().unwrap());
    let named: BTreeSet<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 30, "{named:?}");

    let mut there = functions(&top.join("tests/e2e"), |_| true);
    there.extend(functions(&top.join("src/verbs/tests"), |_| true));
    let missing: Vec<_> = named.iter().filter(|name| !there.contains(**name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");

    let of_faults = |file: &str| {
        ["k_killed", "l_", "m_", "n_", "o_", "p_"]
            .iter()
            .any(|letter| file.starts_with(letter))
    };
    let written = functions(&top.join("tests/e2e"), of_faults);
    let unnamed: Vec<_> = written.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(unnamed.is_empty(), "not in tests/faults.md: {unnamed:?}");
}
