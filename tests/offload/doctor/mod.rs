//! `doctor`: each check on a node that lacks what it looks for. What is files is laid out in a directory; what must be a kernel's is
//! looked at in the lab's guest (tests/e2e).

mod host;
mod kernel;
mod kubernetes;
mod nic;
mod node;
mod ovn;
mod ovs;
mod plugin;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use node::Node;
use serde_json::Value;

use crate::{stderr, stdout, tool};

#[test]
fn the_list_and_what_is_none() {
    let list = tool(&["doctor", "--list"]).output().unwrap();
    assert_eq!(list.status.code(), Some(0));
    assert!(stdout(&list).contains("\nkernel-version "), "{}", stdout(&list));
    let none = tool(&["doctor", "--only", "kernel-version,nothing"]).output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("there is no such check"), "{}", stderr(&none));
}

#[test]
fn it_needs_root() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // where anybody may run it; not copied by this process, another thread of which may just start a program that inherits the open
    // file: "Text file busy"
    let tool = directory.path().join("tool");
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_kube-ovn-offload"))
        .arg(&tool)
        .status();
    assert!(copied.unwrap().success());
    let output = Command::new(tool).arg("doctor").uid(65534).gid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("run it as root"), "{}", stderr(&output));
}

/// Every check has a row in the manual, and every row names tests that exist.
#[test]
fn the_manual_has_every_check() {
    let manual = include_str!("../../../docs/doctor.md");
    let list = tool(&["doctor", "--list"]).output().unwrap();
    let checks: Vec<&str> = stdout(&list)
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let rows: Vec<Vec<&str>> = manual
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let documented: Vec<&str> = rows.iter().map(|row| row[1].trim_matches('`')).collect();
    assert_eq!(
        documented, checks,
        "docs/doctor.md has the checks in the order of --list"
    );
}

#[test]
fn a_node_on_which_all_is_well() {
    let node = Node::with_ovn();
    let output = tool(&["doctor", "--root"]).arg(node.root()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let all = tool(&["doctor", "-o", "json", "--root"])
        .arg(node.root())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&all.stdout).unwrap();
    for verdict in ["problem", "unknown", "warning"] {
        assert_eq!(report["summary"][verdict], 0, "{report:#}");
    }
}

/// Nothing of what the tool wants is there: it says so, and what it could not ask.
#[test]
fn a_directory_with_nothing_in_it() {
    let nothing = tempfile::tempdir().unwrap();
    let output = tool(&["doctor", "-o", "json", "--root"])
        .arg(nothing.path())
        .output()
        .unwrap();
    assert!(matches!(output.status.code(), Some(1 | 4)), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for finding in report["findings"].as_array().unwrap() {
        assert!(!finding["evidence"].as_str().unwrap().is_empty(), "{finding}");
    }
}
