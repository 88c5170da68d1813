//! Rights, odd files and directories, death at any moment, a full disk, several at once: nothing half done.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Node, STOCK, one_line, plugin};
use crate::{stderr, stdout, tool};

#[test]
fn owner_and_mode_are_right_whatever_the_umask_and_the_directory() {
    let node = Node::new();
    // files made in it would belong to this group
    std::os::unix::fs::chown(node.bin(""), None, Some(65534)).unwrap();
    fs::set_permissions(node.bin(""), Permissions::from_mode(0o2755)).unwrap();
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "umask 077; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_kube-ovn-offload"),
        "install",
    ]);
    let output = shell.arg("--bin-dir").arg(node.bin("")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let file = fs::metadata(node.bin("kube-ovn")).unwrap();
    assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), (0o755, 0, 0));
    // another mode or owner is put right
    for spoil in [
        (|path| fs::set_permissions(path, Permissions::from_mode(0o4777)).unwrap()) as fn(&Path),
        |path| std::os::unix::fs::chown(path, Some(65534), None).unwrap(),
    ] {
        spoil(&node.bin("kube-ovn"));
        assert!(node.fails("install", &["--check"], 1).contains("mode"));
        assert!(node.fine("install", &[]).ends_with(": replaced\n"));
        let file = fs::metadata(node.bin("kube-ovn")).unwrap();
        assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), (0o755, 0, 0));
    }
    assert_eq!(node.files(), ["kube-ovn"]);
}

#[test]
fn check_changes_nothing() {
    let node = Node::new();
    assert!(node.fails("install", &["--check"], 1).contains("kube-ovn is not there"));
    fs::write(node.bin("kube-ovn"), STOCK).unwrap();
    assert!(node.fails("install", &["--check"], 1).contains("is another plugin"));
    assert_eq!(node.files(), ["kube-ovn"]);
    node.fine("install", &[]);
    node.fine("install", &["--check"]);
    assert!(
        node.fails("install", &["--check", "--conflist"], 1)
            .contains("no drop-in")
    );
    // one byte is enough
    let mut file = OpenOptions::new().append(true).open(node.bin("kube-ovn")).unwrap();
    file.write_all(b"x").unwrap();
    node.fails("install", &["--check"], 1);
}

#[test]
fn what_is_no_plugin_of_ours_is_not_installed() {
    let node = Node::with_stock();
    let own = env!("CARGO_BIN_EXE_kube-ovn-offload");
    assert!(
        node.fails("install", &["--from", own], 1)
            .contains("is not the plugin of this project")
    );
    let from = node.dir.path().join("from");
    let missing = node.fails("install", &["--from", from.to_str().unwrap()], 4);
    assert!(
        missing.contains("cannot read") && missing.contains("/from: No such file"),
        "{missing}"
    );
    // for another machine: e_machine is at 18 (elf(5))
    let mut bytes = plugin();
    bytes[18] ^= 0xff;
    fs::write(&from, bytes).unwrap();
    assert!(
        node.fails("install", &["--from", from.to_str().unwrap()], 1)
            .contains("another kind of machine")
    );
    assert_eq!(fs::read(node.bin("kube-ovn")).unwrap(), STOCK);
    assert_eq!(node.files(), ["kube-ovn"]);
}

#[test]
fn directories_that_do_not_serve() {
    let node = Node::new();
    // read-only, as /opt is on some systems
    let mut shell = Command::new("unshare");
    shell.args([
        "--mount",
        "sh",
        "-c",
        "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec \"$2\" install --bin-dir \"$1\"",
        "sh",
    ]);
    let output = shell
        .arg(node.bin(""))
        .arg(env!("CARGO_BIN_EXE_kube-ovn-offload"))
        .output()
        .unwrap();
    let line = one_line(&output, 4);
    assert!(line.contains("Read-only file system"), "{line}");
    // not root
    let command = node.command("install", &[]);
    fs::set_permissions(node.dir.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = node.dir.path().join("tool");
    fs::create_dir(&copy).unwrap();
    for name in ["kube-ovn", "kube-ovn-offload"] {
        let built = Path::new(env!("CARGO_BIN_EXE_kube-ovn-offload")).with_file_name(name);
        assert!(Command::new("cp").arg(built).arg(&copy).status().unwrap().success());
    }
    let mut other = Command::new(copy.join("kube-ovn-offload"));
    other.args(command.get_args()).uid(65534).gid(65534);
    assert!(one_line(&other.output().unwrap(), 4).contains("Permission denied"));
    // not there
    for missing in ["--bin-dir", "--conf-dir"] {
        let node = Node::new();
        let command = match missing {
            "--bin-dir" => tool(&["install", "--bin-dir", "/nonexistent/bin"]),
            _ => tool(&["install", "--conflist", "--conf-dir", "/nonexistent/net.d", "--bin-dir"]),
        };
        let mut command = command;
        if missing == "--conf-dir" {
            command.arg(node.bin(""));
        }
        let line = one_line(&command.output().unwrap(), 4);
        assert!(line.contains("cannot use /nonexistent/"), "{line}");
        assert!(node.files().is_empty());
    }
    // a directory has the plugin's name
    let node = Node::new();
    fs::create_dir(node.bin("kube-ovn")).unwrap();
    assert!(node.fails("install", &[], 4).contains("it is no file"));
}

/// The kernel kills who writes more than its limit (SIGXFSZ), so that a part of the new file is there, and no more.
#[test]
fn killed_while_it_writes_nothing_has_changed() {
    let node = Node::with_stock();
    for blocks in [0, 1, 1000] {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -c 0; ulimit -f {blocks}; exec \"$@\""), "sh"]);
        let installing = node.command("install", &[]);
        let output = shell
            .arg(installing.get_program())
            .args(installing.get_args())
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(Signal::SIGXFSZ as i32), "{output:?}");
        assert_eq!(fs::read(node.bin("kube-ovn")).unwrap(), STOCK);
        let part = fs::metadata(node.bin(".kube-ovn.unfinished")).unwrap();
        assert!(
            part.len() < plugin().len() as u64 && part.mode() & 0o111 == 0,
            "{part:?}"
        );
    }
    node.fine("install", &[]);
    assert_eq!(node.files(), ["kube-ovn", "kube-ovn.before-offload"]);
    // what a killed attempt has left goes with the rest
    File::create(node.bin(".kube-ovn.unfinished")).unwrap();
    File::create(node.bin(".kube-ovn.before-offload.unfinished")).unwrap();
    node.fine("uninstall", &[]);
    assert_eq!(node.files(), ["kube-ovn"]);
    assert_eq!(fs::read(node.bin("kube-ovn")).unwrap(), STOCK);
}

#[test]
fn killed_at_any_moment_there_is_a_whole_plugin() {
    let node = Node::with_stock();
    for pause in (0..).step_by(3) {
        fs::write(node.dir.path().join("stock"), STOCK).unwrap();
        fs::rename(node.dir.path().join("stock"), node.bin("kube-ovn")).unwrap();
        let mut child = node.command("install", &[]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        let finished = child.try_wait().unwrap().is_some_and(|status| status.success());
        child.kill().unwrap();
        child.wait().unwrap();
        let found = fs::read(node.bin("kube-ovn")).unwrap();
        assert!(
            found == STOCK || found == plugin(),
            "{} bytes after {pause} ms",
            found.len()
        );
        if let Ok(kept) = fs::read(node.bin("kube-ovn.before-offload")) {
            assert_eq!(kept, STOCK);
        }
        if finished {
            break;
        }
    }
    assert!(node.is_installed());
    assert_eq!(node.files(), ["kube-ovn", "kube-ovn.before-offload"]);
}

#[test]
fn on_a_full_disk_nothing_has_changed() {
    let node = Node::with_stock();
    let script = "mount -t tmpfs -o size=64k tmpfs \"$1\" && echo stock >\"$1/kube-ovn\" && ! \"$2\" install --bin-dir \"$1\" && ls -A \"$1\" && cat \"$1/kube-ovn\"";
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", script, "sh"]).arg(node.bin(""));
    let output = shell.arg(env!("CARGO_BIN_EXE_kube-ovn-offload")).output().unwrap();
    assert!(
        output.status.success() && stderr(&output).contains("No space left on device"),
        "{output:?}"
    );
    assert_eq!(stdout(&output), "kube-ovn\nkube-ovn.before-offload\nstock\n");
}

#[test]
fn many_at_once() {
    let node = Node::with_stock();
    let children: Vec<Child> = (0..8)
        .map(|_| {
            node.command("install", &["--conflist"])
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert!(node.is_installed());
    assert_eq!(fs::read(node.bin("kube-ovn.before-offload")).unwrap(), STOCK);
}
