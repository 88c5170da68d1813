//! A suite that can't fail proves nothing: it is run against plugins that are not ours, and fails what is listed; and each item that
//! those pass, against one of ours that is wrong in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use crate::subject::{DEBIANS, OTHER};

/// The tests of a run of this executable against another plugin: name, and whether it passed.
fn run_against(plugin: &Path, filters: &[&str]) -> BTreeMap<String, bool> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(filters)
        .args(["--test-threads=2", "--color=never"])
        .env(OTHER, plugin)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let verdict = |line: &str| {
        let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
        let (_, name) = name.rsplit_once("::")?;
        Some((name.to_owned(), verdict == "ok"))
    };
    text.lines().filter_map(verdict).collect()
}

/// What is listed in `ptp.txt`: a test a line, and why the plugin fails it.
fn listed_of_ptp() -> BTreeMap<&'static str, &'static str> {
    let lines = include_str!("ptp.txt").lines();
    lines
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(' ').expect("a name and why"))
        .collect()
}

#[test]
fn debians_ptp_fails_what_is_listed() {
    let listed = listed_of_ptp();
    assert!(listed.values().all(|why| why.trim().len() > 10), "why?");
    let found = run_against(&Path::new(DEBIANS).join("ptp"), &["item_"]);
    assert_eq!(found.len(), 88, "there are 88 items: {found:?}");
    let mut wrong = Vec::new();
    for (name, passed) in &found {
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
}

/// What is around the lines of a wrong plugin.
const WRONG: &str = "#!/usr/bin/bash
# a pipe fails as ours does
set -o pipefail
ours() { /opt/cni/bin/ours \"$@\"; }
no() { echo '{\"code\":999,\"msg\":\"no\"}'; exit 1; }
";

/// The items of `wrong.txt`, each with a plugin.
fn wrong_plugins() -> Vec<(&'static str, String)> {
    let mut plugins: Vec<(&str, String)> = Vec::new();
    for line in include_str!("wrong.txt").lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("    ") {
            Some(code) => plugins.last_mut().unwrap().1.extend([code, "\n"]),
            None => plugins.push((
                line.split_once(' ').expect("an item and what is wrong").0,
                WRONG.to_owned(),
            )),
        }
    }
    plugins
}

#[test]
fn ours_made_wrong_in_one_thing_fails_there() {
    let plugins = wrong_plugins();
    let shown: BTreeSet<&str> = plugins
        .iter()
        .map(|(item, _)| *item)
        .chain(listed_of_ptp().into_keys().map(|name| &name[.."item_00".len()]))
        .collect();
    let not_shown: Vec<String> = (1..=88)
        .map(|number| format!("item_{number:02}"))
        .filter(|item| !shown.contains(item.as_str()))
        .collect();
    assert_eq!(not_shown, Vec::<String>::new(), "nothing shows that these can fail");

    let unnoticed = Mutex::new(Vec::new());
    let waiting = Mutex::new(plugins.into_iter());
    let work = || {
        loop {
            let next = waiting.lock().unwrap().next();
            let Some((item, code)) = next else { return };
            let directory = tempfile::tempdir().unwrap();
            let plugin = directory.path().join("kube-ovn");
            fs::write(&plugin, code).unwrap();
            fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
            fs::copy(env!("CARGO_BIN_EXE_kube-ovn"), directory.path().join("ours")).unwrap();
            // that an item passes shows that the plugin is wrong in this one, and not as a whole
            let other = if item == "item_08" { "item_02" } else { "item_08" };
            let found = run_against(&plugin, &[item, other]);
            let of = |item: &str| {
                found
                    .iter()
                    .find(|(name, _)| name.starts_with(item))
                    .map(|(_, passed)| *passed)
            };
            if (of(item), of(other)) != (Some(false), Some(true)) {
                unnoticed.lock().unwrap().push(format!("{item}: {found:?}"));
            }
        }
    };
    std::thread::scope(|scope| {
        // mostly they wait, for Open vSwitch to start
        for _ in 0..6 {
            scope.spawn(work);
        }
    });
    let unnoticed = unnoticed.into_inner().unwrap();
    assert!(
        unnoticed.is_empty(),
        "wrong, and passes, or wrong as a whole: {unnoticed:#?}"
    );
}
