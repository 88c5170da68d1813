//! What comes where, whose is what was there, and the way back.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{Node, STOCK, mode};
use crate::stdout;

#[test]
fn on_a_fresh_node_and_twice() {
    let node = Node::new();
    let path = node.bin("kube-ovn");
    assert_eq!(
        node.fine("install", &[]),
        format!("{} {}: installed\n", path.display(), env!("CARGO_PKG_VERSION"))
    );
    assert!(node.is_installed());
    assert_eq!(node.files(), ["kube-ovn"]);
    // it runs
    let output = Command::new(&path).arg("--version").output().unwrap();
    assert_eq!(stdout(&output), concat!("kube-ovn ", env!("CARGO_PKG_VERSION"), "\n"));
    let inode = fs::metadata(&path).unwrap().ino();
    assert!(node.fine("install", &[]).ends_with(": unchanged\n"));
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);

    assert_eq!(node.fine("uninstall", &[]), format!("{}: removed\n", path.display()));
    assert!(node.files().is_empty());
    assert_eq!(node.fine("uninstall", &[]), format!("{}: not there\n", path.display()));
}

#[test]
fn over_the_stock_plugin_which_comes_back() {
    let node = Node::with_stock();
    let report: Value = serde_json::from_str(&node.fine("install", &["--output", "json"])).unwrap();
    let kept = node.bin("kube-ovn.before-offload");
    assert_eq!(
        report,
        json!({"executable": node.bin("kube-ovn"), "version": env!("CARGO_PKG_VERSION"), "action": "replaced", "kept": kept, "conflist": null})
    );
    assert!(node.is_installed());
    assert_eq!(node.files(), ["kube-ovn", "kube-ovn.before-offload"]);
    node.fine("install", &[]);
    assert_eq!(fs::read(&kept).unwrap(), STOCK, "ours is not taken for another's");

    // a newer stock plugin in place of ours: that one is kept
    fs::write(node.dir.path().join("new"), "stock v2").unwrap();
    fs::rename(node.dir.path().join("new"), node.bin("kube-ovn")).unwrap();
    node.fine("install", &[]);
    assert_eq!(fs::read(&kept).unwrap(), b"stock v2");

    let report: Value = serde_json::from_str(&node.fine("uninstall", &["--output", "json"])).unwrap();
    assert_eq!(report["files"][0]["action"], "what was there before is back");
    assert_eq!(fs::read(node.bin("kube-ovn")).unwrap(), b"stock v2");
    assert_eq!(node.files(), ["kube-ovn"]);
}

#[test]
fn what_comes_back_is_the_same_file() {
    let node = Node::with_stock();
    let before = fs::metadata(node.bin("kube-ovn")).unwrap();
    node.fine("install", &[]);
    node.fine("uninstall", &[]);
    let after = fs::metadata(node.bin("kube-ovn")).unwrap();
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
    // and a link stays a link, even one that leads nowhere
    fs::remove_file(node.bin("kube-ovn")).unwrap();
    symlink("multi-call", node.bin("kube-ovn")).unwrap();
    node.fine("install", &[]);
    assert!(node.is_installed() && fs::symlink_metadata(node.bin("kube-ovn")).unwrap().is_file());
    node.fine("uninstall", &[]);
    assert_eq!(fs::read_link(node.bin("kube-ovn")).unwrap(), Path::new("multi-call"));
}

#[test]
fn a_stock_plugin_that_is_back_is_left_alone() {
    let node = Node::with_stock();
    node.fine("install", &[]);
    fs::remove_file(node.bin("kube-ovn")).unwrap();
    fs::write(node.bin("kube-ovn"), "stock v2").unwrap();
    assert!(node.fine("uninstall", &[]).ends_with(": another's, left alone\n"));
    assert_eq!(fs::read(node.bin("kube-ovn")).unwrap(), b"stock v2");
    assert_eq!(node.files(), ["kube-ovn"]);
}

#[test]
fn under_another_name_beside_the_stock_plugin() {
    let node = Node::with_stock();
    node.fine("install", &["--name", "kube-ovn-offload", "--conflist"]);
    assert_eq!(fs::read(node.bin("kube-ovn")).unwrap(), STOCK);
    assert_eq!(
        node.files(),
        ["01-kube-ovn-offload.conflist", "kube-ovn", "kube-ovn-offload"]
    );
    let list: Value = serde_json::from_slice(&fs::read(node.conf("01-kube-ovn-offload.conflist")).unwrap()).unwrap();
    assert_eq!(list["plugins"][0]["type"], "kube-ovn-offload");
    node.fine("uninstall", &["--name", "kube-ovn-offload"]);
    assert_eq!(node.files(), ["kube-ovn"]);
    for name in ["", "..", "a/b", ".x", "a b", "a\"", &"a".repeat(65)] {
        let output = node.run("install", &["--name", name]);
        assert_eq!(output.status.code(), Some(2), "{name:?}: {output:?}");
    }
    assert_eq!(node.files(), ["kube-ovn"]);
}

#[test]
fn the_drop_in_is_written_and_taken_away() {
    let node = Node::new();
    let name = "01-kube-ovn.conflist";
    assert!(
        node.fine("install", &["--conflist"])
            .ends_with(&format!("{name}: installed\n"))
    );
    let written = fs::read(node.conf(name)).unwrap();
    assert!(
        node.fine("install", &["--conflist"])
            .ends_with(&format!("{name}: unchanged\n"))
    );
    assert_eq!(mode(&node.conf(name)), 0o600);
    // the plugin takes it
    let list: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(list["plugins"][0]["type"], "kube-ovn");
    let removed = node.fine("uninstall", &[]);
    assert!(removed.contains(&format!("{name}: removed\n")), "{removed}");
    assert!(node.files().is_empty());
}

#[test]
fn a_drop_in_of_others_stays() {
    let ours = {
        let node = Node::new();
        node.fine("install", &["--conflist"]);
        fs::read_to_string(node.conf("01-kube-ovn.conflist")).unwrap()
    };
    let kube_ovns = include_str!("../../../conf/01-kube-ovn.conflist").to_owned();
    // Kube-OVN's own, and ours after the user has edited it: they run the plugin, and so all is well
    for text in [kube_ovns, ours.replace("0.3.1", "1.1.0")] {
        let node = Node::with_stock();
        fs::write(node.conf("01-kube-ovn.conflist"), &text).unwrap();
        let report = node.fine("install", &["--conflist"]);
        assert!(
            report.ends_with("another's, which runs the plugin: left alone\n"),
            "{report}"
        );
        node.fine("install", &["--conflist", "--check"]);
        node.fine("uninstall", &[]);
        assert_eq!(fs::read_to_string(node.conf("01-kube-ovn.conflist")).unwrap(), text);
    }
    // what does not run the plugin: nothing at all is changed
    for text in [
        "",
        "not JSON",
        r#"{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"calico"}]}"#,
    ] {
        let node = Node::with_stock();
        fs::write(node.conf("01-kube-ovn.conflist"), text).unwrap();
        let line = node.fails("install", &["--conflist"], 1);
        assert!(
            line.contains("01-kube-ovn.conflist is not ours") && line.contains("--conf-name"),
            "{line}"
        );
        assert_eq!(fs::read(node.bin("kube-ovn")).unwrap(), STOCK);
        assert_eq!(fs::read_to_string(node.conf("01-kube-ovn.conflist")).unwrap(), text);
        assert_eq!(node.files(), ["01-kube-ovn.conflist", "kube-ovn"]);
        node.fine("install", &["--conflist", "--conf-name", "00-offload.conflist"]);
        assert_eq!(fs::read_to_string(node.conf("01-kube-ovn.conflist")).unwrap(), text);
        assert!(node.conf("00-offload.conflist").exists());
    }
    let output = Node::new().run("install", &["--conflist", "--conf-name", "00.conf"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
