//! `attachments`, on records that are made here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{stderr, stdout, tool};

/// A record of VF `number`, whose pod's namespace is the file `netns` as it is now.
pub(crate) fn record(state: &Path, number: usize, pod: &str, netns: &Path, change: impl FnOnce(&mut Value)) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state/format-1.json");
    let mut record: Value = serde_json::from_slice(&fs::read(fixture).unwrap()).unwrap();
    let device = format!("0000:03:00.{number}");
    let file = fs::metadata(netns).unwrap();
    record["device"] = json!(device);
    record["pod"]["name"] = json!(pod);
    record["netns"] = json!(netns);
    record["netns_id"] = json!({"device": file.dev(), "inode": file.ino()});
    change(&mut record);
    fs::create_dir_all(state.join("vf")).unwrap();
    fs::write(state.join(format!("vf/{device}.json")), record.to_string()).unwrap();
}

fn node() -> TempDir {
    let node = tempfile::tempdir().unwrap();
    let netns = node.path().join("netns");
    fs::write(&netns, "").unwrap();
    record(node.path(), 2, "web", &netns, |_| {});
    record(node.path(), 3, "starting", &netns, |record| {
        record["stage"] = json!("asked");
    });
    node
}

fn attachments(node: &TempDir, more: &[&str]) -> std::process::Output {
    let mut command = tool(&["attachments", "--state"]);
    command.arg(node.path()).args(more).output().unwrap()
}

#[test]
fn living_ones() {
    let node = node();
    let output = attachments(&node, &[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert_eq!(
        stdout(&output),
        "\
VF            POD               INTERFACE  STATE           NETWORK   SANDBOX
0000:03:00.2  default/web       eth0       attached        kube-ovn  0123456789ab
0000:03:00.3  default/starting  eth0       being attached  kube-ovn  0123456789ab
"
    );
    let json = attachments(&node, &["--output", "json"]);
    let answer: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(answer["attachments"][1]["state"], "being_attached");
    assert_eq!(answer["attachments"][0]["pod"]["name"], "web");
    assert_eq!(answer["attachments"][0]["vf_index"], 0);
}

#[test]
fn what_has_ended_is_orphaned_or_cannot_be_read_ends_with_1() {
    let node = node();
    let netns = node.path().join("gone");
    fs::write(&netns, "").unwrap();
    record(node.path(), 4, "gone", &netns, |_| {});
    record(node.path(), 5, "ended", &netns, |record| record["ending"] = json!(true));
    // another file at the same path: the namespace's inode tells
    fs::remove_file(&netns).unwrap();
    fs::write(node.path().join("vf/0000:03:00.6.json"), "{").unwrap();
    let output = attachments(&node, &[]);
    assert_eq!(output.status.code(), Some(1));
    for line in [
        "0000:03:00.4  default/gone      eth0       orphaned ",
        "0000:03:00.5  default/ended     eth0       ended ",
        "0000:03:00.6  ?                 ?          unreadable ",
    ] {
        assert!(stdout(&output).contains(line), "{}", stdout(&output));
    }
    assert!(
        stderr(&output).contains("0000:03:00.6.json can't be understood"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn no_records_and_none_that_may_be_read() {
    let node = tempfile::tempdir().unwrap();
    let output = attachments(&node, &[]);
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(0), "no VF is attached to a pod\n")
    );
    let file = node.path().join("vf");
    fs::write(file, "").unwrap();
    let output = attachments(&node, &[]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(4), ""));
    assert!(
        stderr(&output).starts_with("kube-ovn-offload: list "),
        "{}",
        stderr(&output)
    );
}
