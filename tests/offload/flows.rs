//! `flows` on dumps of real flows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{stderr, stdout, tool};

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/flows")
        .join(name)
}

/// The lab's node, changed.
fn node(change: impl FnOnce(&mut Value)) -> (TempDir, PathBuf) {
    let mut node: Value = serde_json::from_str(&fs::read_to_string(fixture("node.json")).unwrap()).unwrap();
    change(&mut node);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.json");
    fs::write(&path, node.to_string()).unwrap();
    (directory, path)
}

/// Without where its lines end.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn flows_of(dump: &Path, node: &Path, more: &[&str]) -> Output {
    let mut command = tool(&["flows"]);
    command.env_remove("COLUMNS");
    command
        .arg("--dump")
        .arg(dump)
        .arg("--node")
        .arg(node)
        .args(more)
        .output()
        .unwrap()
}

/// How many flows are in which state for which reason, and the share of bytes that is offloaded.
fn verdicts(dump: &str, node: &Path) -> String {
    let output = flows_of(&fixture(&format!("{dump}.txt")), node, &["-o", "json"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{dump}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for flow in answer["flows"].as_array().unwrap() {
        let mut verdict = flow["state"].as_str().unwrap().to_owned();
        if let Some(code) = flow["reason"]["code"].as_str() {
            let mark = if flow["reason"]["likely"] == true { "?" } else { "" };
            let _ = write!(verdict, " {code}{mark}");
        }
        *counts.entry(verdict).or_default() += 1;
    }
    assert_eq!(answer["not_understood"], 0, "{dump}");
    let counts: Vec<String> = counts
        .iter()
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    let share = &answer["traffic"]["total"]["offloaded_percent"];
    format!("{}; {share} %", counts.join(", "))
}

/// What research saw in the lab, and why it is so.
#[test]
fn each_set_up_of_ovn_gets_its_verdict() {
    let lab = fixture("node.json");
    for (dump, expected) in [
        ("acl-drop", "1 hardware; 100.0 %"),
        ("acl-stateful", "15 kernel recirculation; 0.0 %"),
        ("acl-stateless", "2 hardware; 100.0 %"),
        ("l2-port-security", "3 hardware, 2 kernel slow-path; 100.0 %"),
        ("l2", "2 hardware, 2 kernel slow-path, 1 tc port-not-of-nic; 100.0 %"),
        ("lb-dp-hash", "10 kernel dp-hash, 15 kernel recirculation; 0.0 %"),
        ("lb-hash", "26 kernel recirculation, 1 tc port-not-of-nic; 0.0 %"),
        ("lb-pod-to-pod", "8 kernel recirculation; 0.0 %"),
        ("mirror-internal", "2 tc mirror?, 1 tc port-not-of-nic; 0.0 %"),
        ("mirror-vf", "3 hardware; 100.0 %"),
        (
            "routed-nic-without-pedit",
            "2 kernel slow-path, 6 tc refused-by-nic?; 0.0 %",
        ),
        ("routed", "6 hardware, 2 kernel slow-path; 100.0 %"),
        ("slow-path", "1 kernel controller, 1 kernel slow-path; 0.0 %"),
        (
            "geneve-remote",
            "1 kernel slow-path, 2 tc hw-tc-offload-off, 1 tc port-not-of-nic, 1 tc tunnel?; 0.0 %",
        ),
        (
            "underlay-vlan",
            "1 hardware, 3 tc hw-tc-offload-off, 2 tc port-not-of-nic, 1 tc port-not-of-nic?; 50.1 %",
        ),
    ] {
        assert_eq!(verdicts(dump, &lab), expected, "{dump}");
    }
    let (_keep, skip_sw) = node(|node| node["tc_policy"] = json!("skip_sw"));
    assert_eq!(verdicts("skip-sw", &skip_sw), "6 hardware, 4 kernel slow-path; 100.0 %");
    assert_eq!(
        verdicts("skip-sw-acl-stateful", &skip_sw),
        "8 kernel recirculation; 0.0 %"
    );
    let (_keep, uplink_on) = node(|node| node["ports"]["eth0"]["hw_tc_offload"] = json!(true));
    assert_eq!(
        verdicts("underlay-vlan-uplink-hw-tc-on", &uplink_on),
        "3 hardware, 3 tc port-not-of-nic, 3 tc port-not-of-nic?; 99.6 %"
    );
}

/// The same flows on nodes where something else is wrong.
#[test]
fn the_reason_is_that_of_the_node() {
    let not_in_hardware = "routed-nic-without-pedit";
    let change = |path: &'static [&'static str], value: Value| {
        node(move |node| {
            let place = path.iter().fold(node, |node, key| &mut node[*key]);
            *place = value;
        })
    };
    for (dump, path, value, expected) in [
        (
            "acl-stateful",
            &["hw_offload"][..],
            json!(false),
            "15 kernel hw-offload-off; 0.0 %",
        ),
        (
            "acl-stateful",
            &["shares_recirculation"],
            json!(true),
            "15 kernel not-in-tc; 0.0 %",
        ),
        (
            "acl-stateful",
            &["shares_recirculation"],
            Value::Null,
            "15 kernel recirculation?; 0.0 %",
        ),
        (
            not_in_hardware,
            &["tc_policy"],
            json!("skip_hw"),
            "2 kernel slow-path, 6 tc tc-policy-skip-hw; 0.0 %",
        ),
        (
            not_in_hardware,
            &["ports", "eth8", "hw_tc_offload"],
            json!(false),
            "2 kernel slow-path, 3 tc hw-tc-offload-off, 3 tc refused-by-nic?; 0.0 %",
        ),
        (
            not_in_hardware,
            &["ports", "eth10", "switch_id"],
            json!("99"),
            "2 kernel slow-path, 6 tc other-eswitch?; 0.0 %",
        ),
        (
            not_in_hardware,
            &["ports", "eth10", "kind"],
            json!("software"),
            "2 kernel slow-path, 3 tc port-not-of-nic, 3 tc port-not-of-nic?; 0.0 %",
        ),
        (
            not_in_hardware,
            &["ports", "eth9"],
            json!({}),
            "2 kernel slow-path, 6 tc refused-by-nic?; 0.0 %",
        ),
    ] {
        let (_keep, node) = change(path, value.clone());
        assert_eq!(verdicts(dump, &node), expected, "{dump} with {path:?} = {value}");
    }
}

#[test]
fn a_table_at_a_glance() {
    let output = flows_of(&fixture("routed.txt"), &fixture("node.json"), &[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let expected = "\
FLOWS    8: 6 hardware, 2 kernel
TRAFFIC  319 kB: 100.0 % offloaded

POD          SENT    OFFLOADED  RECEIVED  OFFLOADED
lab/p0       315 kB  100.0 %    4.3 kB    100.0 %
lab/p2:net1  4.3 kB  100.0 %    315 kB    100.0 %

STATE     BYTES   WHY        FROM         TO           WHAT
hardware  314 kB  -          lab/p0       lab/p2:net1  ip 10.16.0.8/29 > 10.17.0.12 tcp: set eth ipv4
";
    assert!(stdout(&output).starts_with(expected), "{}", stdout(&output));
    let end = "
WHY NOT IN HARDWARE
slow-path (2 flows, 0 B): ovs-vswitchd handles each packet itself: OVN answers ARP
    remedy: none needed: these are few packets, unless their rate says otherwise
";
    assert!(stdout(&output).ends_with(end), "{}", stdout(&output));
}

#[test]
fn icmp_through_conntrack_proves_nothing_and_that_is_said() {
    let lab = fixture("node.json");
    let output = flows_of(&fixture("acl-stateful.txt"), &lab, &[]);
    let note = "NOTE 7 of these flows are ICMP through conntrack, which no NIC tracks: they prove nothing. Test with TCP or UDP.";
    assert!(words(stdout(&output)).contains(note), "{}", stdout(&output));
    // even of flows that are in hardware
    let directory = tempfile::tempdir().unwrap();
    let dump = directory.path().join("dump");
    let text = fs::read_to_string(fixture("acl-stateful.txt")).unwrap();
    fs::write(&dump, text.replace("dp:ovs", "offloaded:yes, dp:tc")).unwrap();
    let output = flows_of(&dump, &lab, &[]);
    assert!(words(stdout(&output)).contains(note), "{}", stdout(&output));
    assert!(
        stdout(&output).contains("FLOWS    15: 15 hardware\n"),
        "{}",
        stdout(&output)
    );
    assert!(stdout(&output).contains("  (icmp)  "), "{}", stdout(&output));
    let output = flows_of(&fixture("l2.txt"), &lab, &[]);
    assert!(!stdout(&output).contains("NOTE"), "{}", stdout(&output));
}

#[test]
fn one_pod_and_what_is_expected_of_it() {
    let (dump, lab) = (fixture("underlay-vlan.txt"), fixture("node.json"));
    let output = flows_of(&fixture("routed.txt"), &lab, &["--pod", "lab/p2", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["flow_count"], 7, "{answer}");
    let output = flows_of(
        &fixture("routed.txt"),
        &lab,
        &["--pod", "lab/p2", "--not-offloaded", "-o", "json"],
    );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["flows"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(answer["flows"][0]["from"]["pod"]["interface"], "net1");
    assert_eq!(answer["flow_count"], 7, "the sums are of all: {answer}");

    let output = flows_of(&dump, &lab, &["--pod", "lab/other"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(3), ""));
    assert!(
        stderr(&output).contains("no port of Open vSwitch on this node is pod lab/other's"),
        "{}",
        stderr(&output)
    );
    for (expected, status) in [("50", 0), ("51", 1), ("0", 0)] {
        assert_eq!(
            flows_of(&dump, &lab, &["--expect", expected]).status.code(),
            Some(status),
            "{expected}"
        );
    }
    // no traffic is not "all of it is offloaded"
    assert_eq!(
        flows_of(&dump, &lab, &["--pod", "lab/p0", "--expect", "0"])
            .status
            .code(),
        Some(1)
    );
    for wrong in [
        &["--pod", "web"][..],
        &["--expect", "101"],
        &["--rates", "0"],
        &["--watch", "x"],
    ] {
        assert_eq!(flows_of(&dump, &lab, wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// A pod may be called what it likes as far as this tool knows, and a dump may hold anything.
#[test]
fn what_is_foreign_is_shown_not_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let dump = directory.path().join("dump");
    let text = fs::read_to_string(fixture("l2.txt")).unwrap();
    fs::write(
        &dump,
        format!(
            "{}\nno flow at all\n\u{1b}[31m(,,((\n",
            text.replace("eth9", "e\u{1b}[2J")
        ),
    )
    .unwrap();
    let (_keep, node) = node(|node| node["ports"]["eth8"]["pod"]["name"] = json!("p\u{1b}[31m\n0"));
    let output = flows_of(&dump, &node, &[]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    assert!(
        !text.contains('\u{1b}') && text.contains("lab/p\\u{1b}[31m\\n0") && text.contains("e\\u{1b}[2J"),
        "{text}"
    );
    assert!(
        text.contains("NOTE  2 lines of the dump were not understood."),
        "{text}"
    );
}

/// Every reason that can be given has its section.
#[test]
fn each_reason_is_documented() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_to_string(top.join("docs/flows.md")).unwrap();
    let code = fs::read_to_string(top.join("src/offload/flows/reason.rs")).unwrap();
    let code = code
        .split("fn code(&self)")
        .nth(1)
        .unwrap()
        .split("fn text(")
        .next()
        .unwrap();
    let codes: Vec<&str> = code
        .split("=> \"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(codes.len() >= 20, "{codes:?}");
    for code in codes {
        assert!(
            docs.contains(&format!("\n### `{code}`\n")),
            "docs/flows.md has no section {code}"
        );
    }
}

/// A dump goes through in less memory than it has itself: this one has 12 MB, and with all of its flows in memory it would be
/// several times that.
#[test]
fn a_large_dump_takes_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let dump = directory.path().join("dump");
    let line = fs::read_to_string(fixture("l2.txt"))
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let rest = line.split_once('-').unwrap().1;
    let mut text = String::new();
    for number in 0..30_000 {
        let _ = writeln!(text, "ufid:{number:08x}-{rest}");
    }
    assert!(text.len() > 12_000_000);
    fs::write(&dump, &text).unwrap();
    let flows = tool(&["flows"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -v 24576; exec \"$@\"", "sh"])
        .arg(flows.get_program());
    limited
        .arg("flows")
        .arg("--dump")
        .arg(&dump)
        .arg("--node")
        .arg(fixture("node.json"));
    let output = limited.output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert!(
        stdout(&output).starts_with("FLOWS    30000: 30000 hardware\n"),
        "{}",
        stdout(&output)
    );
    assert!(stdout(&output).contains("\n… 29960 more flows with less traffic: --limit 0 shows all\n"));
}

#[test]
fn no_dump() {
    let output = flows_of(Path::new("/nonexistent"), &fixture("node.json"), &[]);
    assert_eq!(output.status.code(), Some(4));
}
