//! `daemon-contract.md` says which test shows what: here it is seen that those tests are there.
#![allow(clippy::unwrap_used, reason = "test code: a failed step is a failed test")]

use std::collections::BTreeSet;
use std::path::Path;

/// The functions that follow `#[test]` or `#[tokio::test]`, whatever other attributes they have.
fn tests_of(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if matches!(line, "#[test]" | "#[tokio::test]") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            names.extend(rest.split(['(', '<']).next().map(str::to_owned));
            is_test = false;
        }
    }
    names
}

fn all_tests(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(tests_of(&std::fs::read_to_string(path).unwrap()));
        }
    }
}

/// What stands between backticks and could be the name of a test.
fn named(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_name = |text: &&str| {
        text.contains('_')
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    quoted.filter(is_name).collect()
}

#[test]
fn every_demand_names_tests_that_are_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    all_tests(&top.join("src"), &mut tests);
    all_tests(&top.join("tests"), &mut tests);
    assert!(tests.len() > 200, "only {} tests were found", tests.len());
    let table = std::fs::read_to_string(top.join("tests/daemon-contract.md")).unwrap();
    let mut number = 0;
    let mut missing = Vec::new();
    for line in table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| #"))
    {
        number += 1;
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [item, _, state, proof] = cells.as_slice() else {
            unreachable!("four columns: {line}");
        };
        assert_eq!(*item, number.to_string(), "{line}");
        let names = named(proof);
        assert!(!names.is_empty(), "{item} names no test");
        match *state {
            "holds" => {}
            "superseded" => assert!(!proof.starts_with('`'), "{item} has no reason"),
            other => unreachable!("{item} neither holds nor is superseded: {other}"),
        }
        missing.extend(
            names
                .into_iter()
                .filter(|name| !tests.contains(*name))
                .map(|name| format!("{item}: {name}")),
        );
    }
    assert_eq!(number, 40, "the demands");
    assert!(missing.is_empty(), "tests that are not there: {missing:?}");
}
