//! One call of the plugin, as its callers make it.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::random::number;

const SIGKILL: i32 = 9;
/// No call takes longer than ADD's own limit, 200 s; a plugin that has none is killed, and the test fails. `E2E_CALL_SECONDS` may be
/// another number.
const LONGEST: usize = 300;

/// Where a node has it.
pub(crate) const PLUGIN: &str = "/opt/cni/bin/kube-ovn";

#[derive(Clone)]
pub(crate) struct Call {
    program: String,
    wrapper: Vec<String>,
    env: BTreeMap<String, String>,
    pub(crate) conf: Value,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) rc: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// A call that is under way.
pub(crate) struct Running {
    child: Child,
    start: Instant,
}

impl Call {
    pub(crate) fn new(env: &[(&str, &str)], conf: Value) -> Self {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            program: PLUGIN.to_owned(),
            wrapper: Vec::new(),
            env: env.collect(),
            conf,
        }
    }

    /// A variable more, or another value.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A variable less.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// A key of the netconf more, or another value.
    pub(crate) fn key(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.conf[name] = value.into();
        self
    }

    /// A key less.
    pub(crate) fn without_key(mut self, name: &str) -> Self {
        self.conf.as_object_mut().expect("a netconf").remove(name);
        self
    }

    /// The device, under both of Multus' keys.
    pub(crate) fn device(self, pci: &str) -> Self {
        self.key("deviceID", pci).key("pciBusID", pci)
    }

    /// The same attachment's DEL.
    pub(crate) fn to_del(&self) -> Self {
        self.clone().env("CNI_COMMAND", "DEL")
    }

    /// The stock plugin is called instead: the thin client that plays it.
    pub(crate) fn by_stock(mut self) -> Self {
        self.program = std::env::var("WORLD_THIN_CLIENT").expect("WORLD_THIN_CLIENT: tests/lab/e2e-guest.sh sets it");
        self
    }

    /// Run by another program: the plugin's path and nothing else is appended to its arguments.
    pub(crate) fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub(crate) fn start(&self) -> Running {
        let words: Vec<&str> = self
            .wrapper
            .iter()
            .map(String::as_str)
            .chain([self.program.as_str()])
            .collect();
        let start = Instant::now();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(&self.env)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let mut stdin = child.stdin.take().expect("its stdin");
        // smaller than a pipe's buffer; one that does not read it is no fault of ours
        let _ = stdin.write_all(self.conf.to_string().as_bytes());
        Running { child, start }
    }

    pub(crate) fn run(&self) -> Answer {
        self.start().end()
    }
}

impl Running {
    #[track_caller]
    pub(crate) fn end(self) -> Answer {
        self.end_or_death()
            .expect("the plugin was killed, by the test if it took too long")
    }

    /// `None`: it was killed.
    pub(crate) fn end_or_death(self) -> Option<Answer> {
        let limit = Duration::from_secs(number("E2E_CALL_SECONDS", LONGEST) as u64);
        let group = Pid::from_raw(self.child.id().try_into().expect("a process ID"));
        let (ended, end) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            if end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = killpg(group, Signal::SIGKILL);
            }
        });
        let output = self.child.wait_with_output().expect("wait for the plugin");
        drop(ended);
        watchdog.join().expect("the watchdog");
        if output.status.signal() == Some(SIGKILL) {
            return None;
        }
        Some(Answer {
            rc: output
                .status
                .code()
                .unwrap_or_else(|| panic!("the plugin ended by a signal: {}", output.status)),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
            took: self.start.elapsed(),
        })
    }

    /// Nobody reads what it prints.
    pub(crate) fn without_stdout(mut self) -> Self {
        drop(self.child.stdout.take());
        self
    }

    /// SIGKILL, unless it has ended: then its answer.
    pub(crate) fn kill_if_running(mut self) -> Option<Answer> {
        self.child.kill().expect("kill the plugin");
        self.end_or_death()
    }

    /// SIGKILL: what a runtime does to a call that takes too long.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill the plugin");
        self.child.wait().expect("wait for the plugin");
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON value on stdout: {error}\n{self:?}"))
    }

    /// An ADD's result.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        assert_eq!(self.rc, 0, "{self:?}");
        self.json()
    }

    /// A DEL's: nothing.
    #[track_caller]
    pub(crate) fn silent(&self) {
        assert_eq!((self.rc, self.stdout.as_str()), (0, ""), "{self:?}");
    }

    /// Sees that this is a failure with this code whose message has these words.
    #[track_caller]
    pub(crate) fn failure(&self, code: u64, words: &str) {
        assert_eq!(self.rc, 1, "{self:?}");
        let object = self.json();
        assert_eq!(object["code"], json!(code), "{self:?}");
        let msg = object["msg"].as_str().unwrap_or_default();
        assert!(msg.contains(words), "no {words:?} in the message\n{self:?}");
        // what is left behind is told there, and nothing must be
        assert!(
            !object["details"].as_str().unwrap_or_default().contains("way back"),
            "{self:?}"
        );
    }
}
