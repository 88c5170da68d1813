//! `--help`, of all that has one: it is what teaches.

use std::collections::VecDeque;

use super::{stdout, tool};

/// A command's help at a terminal of so many columns.
fn help(words: &[String], columns: &str) -> String {
    let mut command = tool(&[]);
    let output = command
        .args(words)
        .arg("--help")
        .env("COLUMNS", columns)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{words:?}");
    stdout(&output).to_owned()
}

/// The names below "Commands:".
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    // a description goes on further to the right
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn each_command_teaches() {
    let mut left = VecDeque::from([Vec::new()]);
    let mut seen = 0;
    while let Some(words) = left.pop_front() {
        for columns in ["80", "100", "1000"] {
            let text = help(&words, columns);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(
                widest <= columns.parse().unwrap_or(100).min(100),
                "{words:?} has a line of {widest} characters:\n{text}"
            );
        }
        let text = help(&words, "80");
        let more = subcommands(&text);
        if more.is_empty() {
            assert!(text.contains("\nExample"), "{words:?} has no example:\n{text}");
            assert!(
                text.contains("\nExit status: 0 "),
                "{words:?} does not say how it ends:\n{text}"
            );
            // an example is one to copy: not broken by the terminal's edge, which clap does at the left margin
            let examples = text.split("\nExample").nth(1).unwrap().lines().skip(1);
            for line in examples.take_while(|line| !line.is_empty()) {
                assert!(line.starts_with("  "), "{words:?}: {line}");
            }
        }
        seen += 1;
        left.extend(more.into_iter().map(|name| [words.clone(), vec![name]].concat()));
    }
    assert_eq!(seen, 13, "the program, node, and eleven others");
}
