//! The emulator of kube-ovn-daemon, started for one test.
#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(clippy::unwrap_used, reason = "a helper's panic fails its test")]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Where it listens as the plugin sees it, in calls that are made `on` its directory.
pub(crate) const SOCKET: &str = "/run/openvswitch/socket";

/// A running emulator; ends with this value.
pub(crate) struct Daemon {
    process: Child,
    directory: TempDir,
}

impl Daemon {
    /// With these pods (the pods file) and further options.
    pub(crate) fn start(pods: &Value, options: &[&str]) -> Self {
        Self::start_as(0, pods, options)
    }

    /// As this user.
    pub(crate) fn start_as(user: u32, pods: &Value, options: &[&str]) -> Self {
        let test = std::env::current_exe().unwrap();
        let program: PathBuf = test.parent().unwrap().join("../examples/kube-ovn-daemon-emulator");
        assert!(
            program.exists(),
            "{} is missing: run `cargo build --examples` first",
            program.display()
        );
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("pods"), pods.to_string()).unwrap();
        let program = if user == 0 {
            program
        } else {
            runnable(&program, directory.path(), user)
        };
        // a stale socket of a daemon that was killed
        drop(std::os::unix::net::UnixListener::bind(path("socket")).unwrap());
        std::os::unix::fs::chown(path("socket"), Some(user), None).unwrap();
        let process = Command::new(program)
            .uid(user)
            .arg("--socket")
            .arg(path("socket"))
            .arg("--pods")
            .arg(path("pods"))
            .arg("--log")
            .arg(path("log"))
            .arg("--ready-file")
            .arg(path("ready"))
            .args(options)
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let daemon = Self { process, directory };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !daemon.path("ready").exists() {
            assert!(Instant::now() < deadline, "the emulator does not get ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon
    }

    /// One that answers without doing anything.
    pub(crate) fn at_once(pods: &Value) -> Self {
        Self::start(pods, &["--answer-at-once", "--retry-seconds", "0"])
    }

    /// The directory that is the node's /run/openvswitch.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file of its: `socket`, `pods`, `log`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What it was asked and answered, a line each.
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A copy of the program in a directory that is now that user's. Made by cp(1): a file that we wrote ourselves can't be run
/// while another test's child, forked meanwhile, still has it open.
fn runnable(program: &Path, directory: &Path, user: u32) -> PathBuf {
    let copy = directory.join("emulator");
    let status = Command::new("cp").arg(program).arg(&copy).status().unwrap();
    assert!(status.success(), "cp {}", program.display());
    std::os::unix::fs::chown(directory, Some(user), None).unwrap();
    copy
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
