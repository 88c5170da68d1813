//! A node without a NIC, in namespaces of its own: what is in it, and where, says `host.sh`. Whatever is left behind in it
//! ends with the process that started it, however that ends.
#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper's panic fails its test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Map, Value, json};

/// A running node.
pub(crate) struct Host {
    process: Child,
    /// Its process 1, by the number that it has outside.
    init: u32,
    pods: Mutex<Map<String, Value>>,
    next_address: AtomicU16,
}

impl Host {
    /// One whose /opt/cni/bin has these executables. Needs root and Debian's openvswitch-switch, iproute2, ethtool.
    pub(crate) fn start(plugins: &[&Path]) -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let test = std::env::current_exe().unwrap();
        let emulator = test.parent().unwrap().join("../examples/kube-ovn-daemon-emulator");
        for file in plugins.iter().copied().chain([emulator.as_path()]) {
            assert!(
                file.exists(),
                "{} is missing: scripts/test says what to build and to install",
                file.display()
            );
        }
        let mut process = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--ipc",
                "--uts",
                "--fork",
                "--kill-child",
                "bash",
            ])
            .arg(top.join("tests/host/host.sh"))
            .args(["mnt", "net"].map(|kind| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap()))
            .arg(&emulator)
            .args(plugins)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        while said.lines().last() != Some("ready") {
            let length = stdout.read_line(&mut said).unwrap();
            assert!(
                length > 0,
                "the node of these tests (it needs root) did not start: {said}"
            );
        }
        let children = format!("/proc/{0}/task/{0}/children", process.id());
        let init = fs::read_to_string(children).unwrap().trim().parse().unwrap();
        Self {
            process,
            init,
            pods: Mutex::default(),
            next_address: AtomicU16::new(0),
        }
    }

    /// The words before a command that is to run in it.
    pub(crate) fn inside(&self) -> Vec<String> {
        let target = format!("--target={}", self.init);
        let mut words = vec!["nsenter".to_owned(), target];
        words.extend(["--mount", "--net", "--pid", "--ipc", "--uts", "--root", "--wd"].map(str::to_owned));
        words
    }

    /// A program to run in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let words = self.inside();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root");
        command
    }

    /// A script of bash in it, and whether it went well, with what it printed.
    pub(crate) fn attempt(&self, script: &str) -> Result<String, String> {
        let output = self.command("bash").args(["-euc", script]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!("{} {}", text(&output.stdout), text(&output.stderr)))
        }
    }

    /// A script of bash in it that must succeed.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        self.attempt(script)
            .unwrap_or_else(|output| panic!("{script}: {output}"))
    }

    /// A file of its, as seen from here.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }

    /// What kube-ovn-controller writes for a pod: its addresses, of which the IPv4 one is given back. The provider is the key.
    /// With `"dual": true` in the changes there is an IPv6 one, too.
    pub(crate) fn annotate(&self, pod: &str, provider: &str, changes: &Value) -> String {
        let mut changes = changes.clone();
        let number = self.next_address.fetch_add(1, Ordering::Relaxed);
        // the last byte is neither 0 nor that of the gateway; a byte alone is not enough for all pods of tests/conformance
        let [high, low] = [number / 250, number % 250 + 2];
        let ip = format!("10.16.{high}.{low}");
        let dual = changes.as_object_mut().unwrap().remove("dual").is_some();
        let of_both = |four: &str, six: &str| if dual { format!("{four},{six}") } else { four.to_owned() };
        let mut annotation = json!({
            "ip": of_both(&ip, &format!("fd00::{:x}", number + 2)), "mac": format!("02:00:00:10:{high:02x}:{low:02x}"),
            "cidr": of_both("10.16.0.0/16", "fd00::/64"), "gateway": of_both("10.16.0.1", "fd00::1"),
            "default_route": true, "mtu": 1400, "subnet": "ovn-default", "gateway_check": true, "routes": [],
            "allocated": true, "routed": true
        });
        for (key, value) in changes.as_object().unwrap() {
            annotation[key] = value.clone();
        }
        let mut pods = self.pods.lock().unwrap();
        pods.entry(pod).or_insert_with(|| json!({}))[provider] = annotation;
        let part = self.path("/run/world/pods.part");
        fs::write(&part, Value::Object(pods.clone()).to_string()).unwrap();
        fs::rename(part, self.path("/run/world/pods.json")).unwrap();
        ip
    }

    /// Takes away the cgroups below this one, in every hierarchy, once nothing runs in them: those are not the node's, but the machine's.
    pub(crate) fn remove_cgroups(&self, parent: &str) {
        assert!(parent.len() > 5 && parent.starts_with('/'), "{parent}");
        self.sh(&format!(
            "for i in {{1..50}}; do find /sys/fs/cgroup -depth -type d -path '*{parent}*' -exec rmdir {{}} + 2> /dev/null || true
                 [ -n \"$(find /sys/fs/cgroup -type d -path '*{parent}*' -print -quit)\" ] || exit 0; sleep 0.1; done; exit 1"
        ));
    }

    /// What the daemon was asked for this pod, a request each.
    pub(crate) fn requests(&self, pod: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.path("/run/world/daemon.log")).unwrap_or_default();
        let of_pod = |line: &Value| {
            let body: Value = serde_json::from_str(line["body"].as_str()?).ok()?;
            (body["pod_name"] == pod).then_some(body)
        };
        log.lines()
            .filter_map(|line| of_pod(&serde_json::from_str(line).unwrap()))
            .collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
