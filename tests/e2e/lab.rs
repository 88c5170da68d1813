//! What a test begins with and must leave behind.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::call::{Call, PLUGIN, Running};
use crate::command::{attempt, eventually, names, run};
use crate::daemon::{Daemon, SOCKET};
use crate::nic::{self, Vf};
use crate::pod::{Pod, SUBNETS};
use crate::snapshot::{STATE, Snapshot};

static DAEMON: Mutex<Option<Daemon>> = Mutex::new(None);

/// The node, for one test.
pub(crate) struct Lab {
    daemon: MutexGuard<'static, Option<Daemon>>,
    /// The node as the test found it.
    pub(crate) before: Snapshot,
    /// Pods file of the emulator.
    pods: Value,
    /// Namespaces that were there before the test.
    netns: Vec<String>,
    start: Instant,
    /// Requests to the daemon before the test.
    asked: usize,
}

fn in_the_guest() -> bool {
    std::env::var_os("LAB_DIR").is_some() && Path::new("/sys/module/simnic").exists() && Path::new("/out/job").exists()
}

fn executable(variable: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(
        || panic!("{variable} must name an executable: tests/lab/e2e-guest.sh sets it"),
        PathBuf::from,
    )
}

/// Once: the pods' logical switch ports, and an IPv6 address for the gateway.
fn set_up() -> Daemon {
    assert!(
        Path::new(PLUGIN).exists(),
        "{PLUGIN} is missing: tests/lab/e2e-guest.sh installs it"
    );
    let mut words: Vec<String> =
        "set logical_router_port ovn-cluster-ovn-default networks=[\"10.16.0.1/16\",\"fd00:10:16::1/112\"]"
            .split(' ')
            .map(str::to_owned)
            .collect();
    let vfs: usize = nic::pfs().iter().map(|pf| nic::vfs(pf).len()).sum();
    // a pod for each VF in the first subnet, four in the others
    let pods = |subnet| if subnet == 0 { vfs } else { 4 };
    for (subnet, number) in (0..SUBNETS.len()).flat_map(|subnet| (1..=pods(subnet)).map(move |number| (subnet, number)))
    {
        let (port, addresses) = Pod::logical_port(subnet, number);
        words.extend(["--", "--may-exist", "lsp-add", "ovn-default"].map(str::to_owned));
        words.extend([
            port.clone(),
            "--".to_owned(),
            "lsp-set-addresses".to_owned(),
            port,
            addresses,
        ]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run("ovn-nbctl", &words);
    Daemon::new(executable("WORLD_EMULATOR"))
}

impl Lab {
    /// The node with a daemon that has these switches.
    pub(crate) fn with(switches: &[&str]) -> Self {
        assert!(
            in_the_guest(),
            "the end-to-end tests change PCI devices and Open vSwitch: run them in the lab's guest with: scripts/test end-to-end"
        );
        let start = Instant::now();
        // a failed test has poisoned it, and put the node right
        let mut daemon = DAEMON.lock().unwrap_or_else(PoisonError::into_inner);
        daemon.get_or_insert_with(set_up).ensure(switches);
        Self::forget_unanswered();
        Self {
            daemon,
            before: Snapshot::take(),
            pods: json!({}),
            netns: names("/run/netns"),
            start,
            asked: Daemon::requests().len(),
        }
    }

    /// The plugin keeps the record of an attachment for as long as the daemon may still begin with a request that it never
    /// answered. Where a test knows that it has ended them all, it need not wait: the time passes, and GC ends what is left.
    pub(crate) fn forget_unanswered() {
        if Self::let_time_pass() {
            gc().run().silent();
        }
    }

    /// Whether there are such records. Nothing else that is recorded is touched.
    pub(crate) fn let_time_pass() -> bool {
        Self::asked_at(1)
    }

    /// The other way round: the daemon was asked just now, however long this machine has taken since then.
    pub(crate) fn no_time_has_passed() {
        let uptime = std::fs::read_to_string("/proc/uptime").expect("proc(5)");
        let seconds: f64 = uptime
            .split(' ')
            .next()
            .and_then(|text| text.parse().ok())
            .expect("seconds");
        Self::asked_at(Duration::from_secs_f64(seconds).as_nanos());
    }

    /// Puts a time, in nanoseconds since the node booted, into the records of requests without an answer.
    fn asked_at(time: u128) -> bool {
        let mut some = false;
        for name in names(format!("{STATE}/vf")) {
            let path = format!("{STATE}/vf/{name}");
            if Path::new(&path).extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let record = std::fs::read(&path).expect("a record");
            let mut record: Value = serde_json::from_slice(&record).expect("JSON");
            if record["asked"].is_u64() {
                record["asked"] = u64::try_from(time).expect("a time").into();
                std::fs::write(&path, record.to_string()).expect("write a record");
                some |= record["ending"] == true;
            }
        }
        some
    }

    pub(crate) fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("the daemon was set up")
    }

    /// A new sandbox of pod number `number`, 1 to the number of VFs, with what kube-ovn-controller wrote for it: IPv4, in `SUBNETS[0]`.
    pub(crate) fn pod(&mut self, number: usize) -> Pod {
        self.pod_in(0, number, "eth0")
    }

    pub(crate) fn pod_in(&mut self, subnet: usize, number: usize, ifname: &str) -> Pod {
        let pod = Pod::new(subnet, number, ifname);
        self.pods[pod.key()][pod.provider] = pod.annotations();
        Daemon::write_pods(&self.pods);
        pod
    }

    /// Other annotations.
    pub(crate) fn annotate(&mut self, pod: &Pod, key: &str, value: impl Into<Value>) {
        self.pods[pod.key()][pod.provider][key] = value.into();
        Daemon::write_pods(&self.pods);
    }

    /// The pod's annotations under another provider, too.
    pub(crate) fn provide(&mut self, pod: &Pod, provider: &str) {
        self.pods[pod.key()][provider] = self.pods[pod.key()][pod.provider].clone();
        Daemon::write_pods(&self.pods);
    }

    /// Other annotations under another provider.
    pub(crate) fn annotate_as(&mut self, pod: &Pod, provider: &str, key: &str, value: impl Into<Value>) {
        self.pods[pod.key()][provider][key] = value.into();
        Daemon::write_pods(&self.pods);
    }

    /// No annotations under its own provider.
    pub(crate) fn withdraw(&mut self, pod: &Pod) {
        let providers = self.pods[pod.key()].as_object_mut().expect("an object");
        providers.remove(pod.provider);
        Daemon::write_pods(&self.pods);
    }

    /// It is gone from the API server.
    pub(crate) fn forget(&mut self, pod: &Pod) {
        self.pods.as_object_mut().expect("an object").remove(&pod.key());
        Daemon::write_pods(&self.pods);
    }

    pub(crate) fn fault(&mut self, pod: &Pod, fault: &str) {
        self.annotate(pod, "fault", fault);
    }

    /// Starts an ADD, and comes back when the daemon is about to do this step of it; it waits there until the pod's fault is
    /// another.
    #[track_caller]
    pub(crate) fn add_paused_at(&mut self, step: &str, pod: &Pod, vf: &Vf) -> Running {
        self.add_paused_by(&pod.add(vf), step, pod)
    }

    #[track_caller]
    pub(crate) fn add_paused_by(&mut self, call: &Call, step: &str, pod: &Pod) -> Running {
        self.fault(pod, &format!("pause@{step}"));
        let running = call.start();
        eventually(&format!("the daemon waits at {step}"), || {
            let paused = |line: &Value| line["paused"] == step && line["container"] == pod.container.as_str();
            Daemon::requests().iter().any(paused)
        });
        running
    }

    /// The pods' namespaces are deleted, then the node must be as it was before.
    #[track_caller]
    pub(crate) fn assert_as_before(mut self) {
        self.delete_namespaces();
        self.before.assert_still_so();
    }

    fn delete_namespaces(&mut self) {
        for netns in names("/run/netns").iter().filter(|name| !self.netns.contains(name)) {
            let _ = attempt("ip", &["netns", "del", netns]);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let ours = Daemon::requests().split_off(self.asked);
        let daemon: f64 = ours
            .iter()
            .filter_map(|line| Some(line["end"].as_f64()? - line["start"].as_f64()?))
            .sum();
        let total = self.start.elapsed().as_secs_f32();
        println!(
            "{total:.1} s; the daemon worked {daemon:.1} s on {} requests",
            ours.len()
        );
        if std::thread::panicking() {
            Daemon::write_pods(&json!({}));
            self.delete_namespaces();
            self.before.restore();
        }
    }
}

/// GC of this network; nobody lists an attachment.
pub(crate) fn gc() -> Call {
    let env = [("CNI_COMMAND", "GC"), ("CNI_PATH", "/opt/cni/bin")];
    let conf = json!({
        "cniVersion": "1.1.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": SOCKET, "provider": SUBNETS[0],
        "cni.dev/valid-attachments": [],
    });
    Call::new(&env, conf)
}
