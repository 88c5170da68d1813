//! `install` and `uninstall`, in directories of the test's own.

mod places;
mod stay;
mod trouble;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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
