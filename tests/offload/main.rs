//! `kube-ovn-offload` as its user sees it: what it prints, and how it ends. A file for each subcommand.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test as a whole

mod attachments;
mod check_gc;
mod doctor;
mod flows;
mod flows_asked;
mod help;
mod install;
mod node_prepare;
mod node_status;
mod vf;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A fixture's sysfs in a directory. A file whose read should fail is left out: that it is not there says the same.
struct Machine {
    dir: TempDir,
    fixture: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Self {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/sysfs/{name}.txt"));
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = dir.path().join(path.strip_prefix('/').unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for line in fs::read_to_string(&fixture).unwrap().lines() {
            if !line.starts_with("/sys/") || line.contains(" ! ") {
                continue;
            }
            if let Some((path, target)) = line.split_once(" -> ") {
                symlink(target, make(path)).unwrap();
            } else if let Some((path, text)) = line.split_once(" = ") {
                fs::write(make(path), format!("{text}\n")).unwrap();
            } else {
                fs::create_dir_all(make(line)).unwrap();
            }
        }
        Self { dir, fixture }
    }

    /// One without anything; its devlink is in the file `devlink`.
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fixture = dir.path().join("devlink");
        fs::write(&fixture, "").unwrap();
        Self { dir, fixture }
    }

    /// Adds a file.
    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    /// Adds a link.
    fn link(&self, path: &str, target: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// The tool on this machine.
    fn tool(&self, arguments: &[&str]) -> Output {
        self.run(tool(arguments))
    }

    /// A call of the tool on this machine.
    fn run(&self, mut command: Command) -> Output {
        command.arg("--sysfs").arg(self.dir.path().join("sys"));
        command.arg("--devlink").arg(&self.fixture).output().unwrap()
    }
}

fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kube-ovn-offload"));
    command.args(arguments);
    command
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn without_a_command_it_helps() {
    assert_eq!(tool(&[]).output().unwrap().status.code(), Some(2));
    let version = tool(&["--version"]).output().unwrap();
    assert_eq!(
        stdout(&version),
        format!("kube-ovn-offload {}\n", env!("CARGO_PKG_VERSION"))
    );
}
