//! Runs the built plugin as its callers do.
#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper's panic fails its test"
)]

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A node in a mount namespace of the call's own: its /run, /etc and /var/lib are empty but for the daemon's directory, which
/// is where the node has it, the node's settings and kubelet's checkpoint. The plugin has no switch that would move what it trusts, and needs none.
const NODE: &str = r#"set -e
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /etc
mkdir /run/openvswitch /etc/kube-ovn-cni
mount --bind "$1" /run/openvswitch
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p /var/lib/kubelet/device-plugins
[ ! -e "$1/checkpoint" ] || cp "$1/checkpoint" /var/lib/kubelet/device-plugins/kubelet_internal_checkpoint
[ ! -e "$1/config.json" ] || cp "$1/config.json" /etc/kube-ovn-cni/config.json
shift
exec "$@""#;

/// One call to make: nothing in its environment, nothing on stdin.
pub(crate) struct Call {
    command: Command,
    program: OsString,
    stdin: Vec<u8>,
    /// The program, and first of its arguments, through which the plugin is run.
    through: Vec<OsString>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The exit code.
    pub(crate) rc: i32,
    /// As it is.
    pub(crate) stdout: String,
    /// As it is.
    pub(crate) stderr: String,
}

impl Call {
    /// With just these variables.
    pub(crate) fn new(env: &[(&str, &str)]) -> Self {
        let program = env!("CARGO_BIN_EXE_kube-ovn");
        let mut command = Command::new(program);
        command.env_clear().envs(env.iter().copied()).current_dir("/");
        // scripts/coverage: where an executable that counts writes what it counted
        command.envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)));
        Self {
            command,
            program: program.into(),
            stdin: Vec::new(),
            through: Vec::new(),
        }
    }

    /// `verb` with all that it needs. The netns does not exist, so that nothing can be done to any.
    pub(crate) fn verb(verb: &str) -> Self {
        Self::new(&[
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", "0123456789abcdef"),
            ("CNI_NETNS", "/nonexistent/netns"),
            ("CNI_IFNAME", "eth0"),
            (
                "CNI_ARGS",
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx",
            ),
            ("CNI_PATH", "/nonexistent"),
        ])
    }

    /// A variable more, or another value.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// A variable less.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// An argument.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self
    }

    /// On a node whose /run/openvswitch is this directory, whose settings are its `config.json` and whose kubelet's
    /// checkpoint is its `checkpoint`, if it has them.
    pub(crate) fn on(mut self, directory: &Path) -> Self {
        let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", NODE, "sh"];
        self.through = words.iter().map(OsString::from).collect();
        self.through.push(directory.into());
        self
    }

    /// Another program in the plugin's place, through these words, which may lead to another root directory.
    pub(crate) fn program(mut self, through: &[String], program: &str) -> Self {
        self.through = through.iter().map(OsString::from).collect();
        self.program = program.into();
        self
    }

    /// The bytes on stdin.
    pub(crate) fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().to_vec();
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Answer {
        self.run_to(Stdio::piped())
    }

    /// Runs it to its end with another stdout than one that is read.
    pub(crate) fn run_to(mut self, stdout: Stdio) -> Answer {
        if let Some((first, rest)) = self.through.split_first() {
            let mut command = Command::new(first);
            command.args(rest).arg(&self.program);
            command.args(self.command.get_args());
            let set = self.command.get_envs().filter_map(|(name, value)| Some((name, value?)));
            command.env_clear().envs(set).current_dir("/");
            self.command = command;
        }
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .expect("run the plugin");
        let mut stdin = child.stdin.take().expect("its stdin");
        let bytes = std::mem::take(&mut self.stdin);
        // a plugin that does not read all of it closes the pipe: no fault of the caller's
        let writer = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        let output = child.wait_with_output().expect("wait for the plugin");
        writer.join().expect("write stdin");
        Answer {
            rc: output.status.code().expect("the plugin exits, no signal kills it"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
        }
    }
}

impl Answer {
    /// The one JSON object on stdout.
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON value on stdout: {error}\n{self:?}"));
        assert!(value.is_object(), "{self:?}");
        value
    }

    /// Sees that this is a failure as the protocol has it, with this code, and gives its `msg`.
    pub(crate) fn failure(&self, code: u64) -> String {
        let object = self.json();
        assert!(
            object["cniVersion"].as_str().is_some_and(|version| !version.is_empty()),
            "{self:?}"
        );
        self.error(code)
    }

    /// The same, with or without `cniVersion`, which the reference leaves out.
    pub(crate) fn error(&self, code: u64) -> String {
        assert_eq!(self.rc, 1, "{self:?}");
        let object = self.json();
        for key in object.as_object().expect("an object").keys() {
            assert!(
                ["cniVersion", "code", "msg", "details"].contains(&key.as_str()),
                "key {key}: {self:?}"
            );
        }
        assert_eq!(object["code"].as_u64(), Some(code), "{self:?}");
        let msg = object["msg"].as_str().unwrap_or_default();
        assert!(!msg.is_empty() && !msg.contains('\n'), "{self:?}");
        msg.to_owned()
    }

    /// `details` of a failure, "" if there are none.
    pub(crate) fn details(&self) -> String {
        self.json()["details"].as_str().unwrap_or_default().to_owned()
    }
}
