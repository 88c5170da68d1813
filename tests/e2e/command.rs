//! Programs, files and waiting.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ovsdb::{Database, Row};

/// Runs a program; its stdout, or what it said when it failed.
pub(crate) fn attempt(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!(
        "{program} {}: {}: {}{}",
        args.join(" "),
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    ))
}

/// The same for one that must succeed.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    attempt(program, args).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
pub(crate) fn ip(args: &[&str]) {
    run("ip", args);
}

/// What `ip -j` prints; it prints nothing for an empty list.
#[track_caller]
pub(crate) fn ip_json(args: &[&str]) -> Vec<Value> {
    let text = run("ip", &[&["-j", "-d"], args].concat());
    if text.trim().is_empty() {
        return Vec::new();
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("ip {args:?}: {error}: {text}"))
}

#[track_caller]
pub(crate) fn vsctl(args: &[&str]) -> String {
    run("ovs-vsctl", &[&["--timeout=30"], args].concat())
}

fn select(table: &str, condition: &Value, columns: &[&str]) -> Vec<Row> {
    let selected = Database::open().and_then(|mut database| database.select(table, condition, columns));
    selected.unwrap_or_else(|error| panic!("{table} of OVSDB: {error}"))
}

/// Columns of all rows of a table of OVSDB, maps as objects.
#[track_caller]
pub(crate) fn ovsdb(table: &str, columns: &[&str]) -> Vec<Value> {
    let rows = select(table, &json!([]), columns).into_iter();
    rows.map(|row| {
        row.iter()
            .map(|(column, cell)| (column.clone(), plain(cell)))
            .collect::<Row>()
            .into()
    })
    .collect()
}

/// The external IDs of an interface.
#[track_caller]
pub(crate) fn external_ids(interface: &str) -> Value {
    let rows = select("Interface", &json!([["name", "==", interface]]), &["external_ids"]);
    rows.first().map(|row| plain(&row["external_ids"])).unwrap_or_default()
}

/// The names of br-int's ports, but for its own.
#[track_caller]
pub(crate) fn ports() -> Vec<String> {
    let bridges = select("Bridge", &json!([["name", "==", "br-int"]]), &["ports"]);
    let listed = bridges.first().expect("br-int")["ports"].to_string();
    let all = select("Port", &json!([]), &["_uuid", "name"]);
    let ours = all
        .iter()
        .filter(|row| listed.contains(row["_uuid"][1].as_str().expect("a UUID")));
    let names = ours.map(|row| row["name"].as_str().expect("a name").to_owned());
    names.filter(|name| name != "br-int").collect()
}

/// RFC 7047 writes a map as `["map", [[key, value], …]]`.
fn plain(cell: &Value) -> Value {
    if cell[0] != "map" {
        return cell.clone();
    }
    let pairs = cell[1].as_array().into_iter().flatten();
    pairs
        .map(|pair| (pair[0].as_str().unwrap_or_default().to_owned(), pair[1].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The trimmed text of a file; `None` if it cannot be read (attributes under /sys often cannot).
pub(crate) fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[track_caller]
pub(crate) fn write(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::write(path, text).unwrap_or_else(|error| panic!("write {text:?} to {}: {error}", path.display()));
}

/// The names in a directory, sorted; none if it is not there.
pub(crate) fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Waits for what comes about by itself.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    // an emulated machine beside others is slow; this only bounds the wait for what never comes
    let limit = Duration::from_secs(120);
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "not so after {} s: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}
