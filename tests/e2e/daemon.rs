//! The daemon's emulator: one process at a time, started anew when a test wants other switches.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::command::eventually;

pub(crate) const SOCKET: &str = "/run/openvswitch/kube-ovn-daemon.sock";
const DIRECTORY: &str = "/run/e2e";

/// As every released daemon: it moves and configures the VF.
pub(crate) const HEAD: &[&str] = &["--gateway-attempts", "3", "--retry-seconds", "1"];
/// It only attaches the representor when the plugin offers the rest.
pub(crate) const ATTACH_ONLY: &[&str] = &["--retry-seconds", "1", "--vf-plumbing", "cni"];

pub(crate) struct Daemon {
    program: PathBuf,
    process: Option<Child>,
    switches: Vec<String>,
}

impl Daemon {
    pub(crate) fn new(program: PathBuf) -> Self {
        fs::create_dir_all(DIRECTORY).expect(DIRECTORY);
        Self::write_pods(&serde_json::json!({}));
        Self {
            program,
            process: None,
            switches: Vec::new(),
        }
    }

    pub(crate) fn write_pods(pods: &Value) {
        let part = format!("{DIRECTORY}/pods.part");
        fs::write(&part, pods.to_string()).expect("write the pods file");
        fs::rename(part, format!("{DIRECTORY}/pods.json")).expect("put the pods file in place");
    }

    /// Runs with these switches, and nothing else.
    pub(crate) fn ensure(&mut self, switches: &[&str]) {
        let ended = |process: &mut Child| process.try_wait().expect("look at the emulator").is_some();
        if self.process.as_mut().is_some_and(ended) {
            self.process = None;
        }
        if self.process.is_some() && self.switches == switches {
            return;
        }
        self.stop();
        let ready = format!("{DIRECTORY}/ready");
        let _ = fs::remove_file(&ready);
        let path = |name: &str| format!("{DIRECTORY}/{name}");
        let mut process = Command::new(&self.program)
            .args(["--socket", SOCKET, "--ready-file", &ready])
            .args(["--pods", &path("pods.json"), "--log", &path("daemon.log")])
            .args(switches)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let start = Instant::now();
        while fs::metadata(&ready).is_err() {
            let ended = process.try_wait().expect("look at the emulator");
            assert!(ended.is_none(), "the emulator ended: {ended:?}");
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the emulator does not get ready"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
        self.switches = switches.iter().map(|&switch| switch.to_owned()).collect();
    }

    /// Ends it as its pod's end does: the socket goes with it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = Pid::from_raw(i32::try_from(process.id()).expect("a process ID"));
            kill(pid, Signal::SIGTERM).expect("end the emulator");
            process.wait().expect("wait for the emulator");
        }
    }

    /// Waits for its end by a fault.
    pub(crate) fn wait_until_dead(&mut self) {
        let mut process = self.process.take().expect("a running emulator");
        crate::command::eventually("the emulator is dead", || {
            process.try_wait().expect("look at the emulator").is_some()
        });
    }

    /// Waits until no request is under way any more.
    #[track_caller]
    pub(crate) fn settle() {
        let of = |path: &str| format!("POST /api/v1/{path}");
        eventually("the daemon has ended all ADDs", || {
            let requests = Self::requests();
            let paused = requests.iter().filter(|line| line["paused"].is_string());
            paused.into_iter().all(|paused| {
                requests.iter().any(|line| {
                    line["verb"] == of("add").as_str()
                        && line["body"]
                            .as_str()
                            .is_some_and(|body| body.contains(paused["container"].as_str().unwrap_or("?")))
                })
            })
        });
    }

    /// All requests so far, oldest first, and between them where one waits.
    pub(crate) fn requests() -> Vec<Value> {
        let text = fs::read_to_string(format!("{DIRECTORY}/daemon.log")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line of the emulator's log"))
            .collect()
    }
}
