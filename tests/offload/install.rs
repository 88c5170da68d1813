//! `install` and `uninstall`, in directories of the test's own.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{stderr, stdout, tool};

const STOCK: &[u8] = b"\x7fELF the stock plugin";

/// A node's /opt/cni/bin and /etc/cni/net.d.
struct Node {
    dir: TempDir,
}

impl Node {
    fn new() -> Self {
        let node = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(node.bin("")).unwrap();
        fs::create_dir(node.conf("")).unwrap();
        node
    }

    fn with_stock() -> Self {
        let node = Self::new();
        fs::write(node.bin("kube-ovn"), STOCK).unwrap();
        fs::set_permissions(node.bin("kube-ovn"), Permissions::from_mode(0o751)).unwrap();
        node
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.dir.path().join("bin").join(name)
    }

    fn conf(&self, name: &str) -> PathBuf {
        self.dir.path().join("net.d").join(name)
    }

    fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = tool(&[verb, "--bin-dir"]);
        command.arg(self.bin("")).arg("--conf-dir").arg(self.conf(""));
        if verb == "uninstall" {
            command.arg("--state").arg(self.dir.path().join("no-records"));
        }
        command.args(arguments);
        command
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> Output {
        self.command(verb, arguments).output().unwrap()
    }

    fn fine(&self, verb: &str, arguments: &[&str]) -> String {
        let output = self.run(verb, arguments);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(stderr(&output), "");
        stdout(&output).to_owned()
    }

    /// Exits with this status and one line; gives the line.
    fn fails(&self, verb: &str, arguments: &[&str], status: i32) -> String {
        one_line(&self.run(verb, arguments), status)
    }

    /// The names in both directories, but for those of the files that an administrator put there.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = [self.bin(""), self.conf("")]
            .iter()
            .flat_map(|directory| fs::read_dir(directory).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn is_installed(&self) -> bool {
        fs::read(self.bin("kube-ovn")).is_ok_and(|bytes| bytes == plugin())
    }

    /// Runs it until the test ends it.
    fn staying(&self, verb: &str, arguments: &[&str]) -> Running {
        let mut command = self.command(verb, &["--stay"]);
        command.args(arguments).stdout(Stdio::piped());
        Running(command.spawn().unwrap())
    }
}

struct Running(Child);

impl Running {
    fn ended_by(mut self, signal: Signal) -> i32 {
        let pid = i32::try_from(self.0.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        self.0.wait().unwrap().code().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn one_line(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    let (text, shown) = (stderr(output), stdout(output));
    assert_eq!((text.lines().count(), shown), (1, ""), "{output:?}");
    text.trim_end().to_owned()
}

fn plugin_path() -> &'static str {
    env!("CARGO_BIN_EXE_kube-ovn")
}

fn plugin() -> Vec<u8> {
    fs::read(plugin_path()).unwrap()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "not so after two minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

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
    let kube_ovns = include_str!("../../conf/01-kube-ovn.conflist").to_owned();
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
