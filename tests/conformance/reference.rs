//! The reference's answers, row by row (`reference.txt`), and where ours differ (`differences.txt`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::subject::{merge, subject};
use crate::support::Answer;

/// The fields of a table's rows. The last one may have any character in it.
fn rows(text: &str, fields: usize) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let rows: Vec<Vec<&str>> = lines
        .map(|line| line.splitn(fields, '|').map(str::trim).collect())
        .collect();
    for row in &rows {
        assert_eq!(row.len(), fields, "{row:?}");
    }
    rows
}

/// What the table writes as an escape.
fn plain(text: &str) -> String {
    text.replace("\\n", "\n")
        .replace("\\ufeff", "\u{feff}")
        .replace("\\u0020", " ")
}

/// Environment: the words of the column.
fn environment(words: &str) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some((name, value)) => drop(environment.insert(name.to_owned(), plain(value))),
            None => {
                let all = [
                    ("CNI_CONTAINERID", "0123456789abcdef"),
                    ("CNI_NETNS", "/run/netns/reference"),
                    ("CNI_IFNAME", "eth0"),
                    ("CNI_PATH", "/x"),
                ];
                environment.extend(all.map(|(name, value)| (name.to_owned(), value.to_owned())));
                let without = word.strip_prefix("B-").unwrap_or_default();
                environment.remove(without);
                assert!(word == "B" || !without.is_empty(), "{word}");
            }
        }
    }
    environment
}

fn stdin(text: &str) -> String {
    let mut conf = subject().conf("1.1.0", json!({"name": "n"}));
    if let Some(keys) = text.strip_prefix("J+") {
        merge(&mut conf, serde_json::from_str(keys).unwrap());
        return conf.to_string();
    }
    match text {
        "J" => conf.to_string(),
        "J x" => format!("{conf} x"),
        "\\ufeffJ" => format!("\u{feff}{conf}"),
        other => other.to_owned(),
    }
}

/// Whether an answer is what a table says.
fn is_as(answer: &Answer, status: &str, stdout: &str) -> bool {
    if answer.rc.to_string() != status || stdout.is_empty() != answer.stdout.is_empty() {
        return false;
    }
    if stdout.is_empty() {
        return true;
    }
    let (wanted, found): (Value, Value) = (serde_json::from_str(stdout).unwrap(), answer.json());
    wanted.as_object().unwrap().iter().all(|(key, value)| {
        match value.as_str().and_then(|text| text.strip_suffix('…')) {
            Some(beginning) => found[key].as_str().is_some_and(|text| text.starts_with(beginning)),
            None => found[key] == *value,
        }
    })
}

#[test]
fn the_references_answers() {
    subject().host.sh("ip netns add reference");
    let differences: BTreeMap<&str, Vec<&str>> = rows(include_str!("differences.txt"), 4)
        .into_iter()
        .map(|row| (row[0], row))
        .collect();
    let mut met = 0;
    let reference = rows(include_str!("reference.txt"), 6);
    for row in &reference {
        let [name, command, words, input, status, stdout] = row[..] else {
            unreachable!()
        };
        let mut environment = environment(words);
        if !command.is_empty() || name == "empty-command" {
            environment.insert("CNI_COMMAND".to_owned(), command.to_owned());
        }
        let pairs: Vec<(&str, &str)> = environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = subject().bare(&pairs).stdin(stdin(input)).run();
        match differences.get(name) {
            None => assert!(
                is_as(&answer, status, stdout),
                "{name}: expected {status} {stdout}, found {answer:?}"
            ),
            Some(ours) => {
                met += 1;
                assert!(
                    !is_as(&answer, status, stdout),
                    "{name} is listed in differences.txt and is none: {answer:?}"
                );
                assert!(
                    is_as(&answer, ours[1], ours[2]),
                    "{name}: differences.txt says {ours:?}, found {answer:?}"
                );
                assert!(ours[3].len() > 20, "{name}: why?");
            }
        }
    }
    assert_eq!(
        met,
        differences.len(),
        "differences.txt has names that reference.txt has not"
    );
    assert_eq!(
        subject().host.sh("ip -n reference -br link | wc -l"),
        "1",
        "something was attached"
    );
}
