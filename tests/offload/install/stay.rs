//! `--stay`, for containers.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Node, eventually, plugin};

#[test]
fn staying_puts_ours_back() {
    let node = Node::with_stock();
    let running = node.staying("install", &[]);
    eventually("installed", || node.is_installed());
    // as Kube-OVN up to v1.16 does it (cp -f), and as it does from v1.17 on (a rename)
    for replace in [
        "cp -f \"$1\" \"$2\"",
        "cp \"$1\" \"$2.tmp\" && mv -f \"$2.tmp\" \"$2\"",
        "rm \"$2\"",
    ] {
        let stock = node.dir.path().join("stock");
        fs::write(&stock, format!("stock by {replace}")).unwrap();
        let mut shell = Command::new("sh");
        let status = shell
            .args(["-c", replace, "sh"])
            .arg(&stock)
            .arg(node.bin("kube-ovn"))
            .status()
            .unwrap();
        assert!(status.success());
        eventually(replace, || node.is_installed());
        if replace != "rm \"$2\"" {
            let kept = fs::read_to_string(node.bin("kube-ovn.before-offload")).unwrap();
            assert_eq!(kept, format!("stock by {replace}"));
        }
    }
    // a newer version of ours is not fought
    let bytes = [plugin(), b"newer".to_vec()].concat();
    fs::write(node.dir.path().join("newer"), &bytes).unwrap();
    fs::rename(node.dir.path().join("newer"), node.bin("kube-ovn")).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(fs::read(node.bin("kube-ovn")).unwrap(), bytes);
    assert_eq!(running.ended_by(Signal::SIGTERM), 0);

    let running = node.staying("uninstall", &[]);
    eventually("uninstalled", || node.files() == ["kube-ovn"]);
    assert_eq!(running.ended_by(Signal::SIGINT), 0);
}

#[test]
fn staying_ends_when_the_directory_goes() {
    let node = Node::new();
    let mut running = node.staying("install", &[]);
    eventually("installed", || node.is_installed());
    fs::rename(node.bin(""), node.dir.path().join("elsewhere")).unwrap();
    let status = running.0.wait().unwrap();
    assert_eq!(status.code(), Some(4));
}
