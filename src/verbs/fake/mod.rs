//! A host for tests: a kernel, its sysfs, kube-ovn-daemon, and processes of the plugin that fail or die at a call of
//! one's choice. The kernel's rules are those of net/core/dev.c and net/core/rtnetlink.c at v6.1.

mod daemon;
mod faults;
mod kernel;
mod ovsdb;
mod stack;
#[path = "../../../tests/emulator/versions.rs"]
#[allow(dead_code, reason = "the daemon in memory waits for nothing and makes no texts")]
pub(super) mod versions;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::add::add_vf;
use super::check::{device_of, look};
use super::del::{cancel, del_vf, del_without_record};
use super::gc::collect;
use super::pending::go_on_in;
use super::{Caller, Clock, World};
use crate::attach::Patience;
use crate::cni::{self, Call, Environment, Failure, Invocation, Told};
use crate::device::fixture;
use crate::node::Deadlines;
use crate::ovs::Ovs;
use crate::state::{BootTime, Lock, Store};

pub(super) use daemon::{Daemon, FailAdd, Hold, Switches, host_nic, mac_of};
pub(super) use faults::{Fault, Faults};
pub(super) use kernel::{HOST, Kernel, Namespace, Netdev, OTHER_VF, PF, REPRESENTOR, VF, VF_LINK, name};
use stack::{FakeStack, Shared};

/// A pod's interface.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) container: String,
    pub(super) ifname: String,
    pub(super) ns: usize,
    /// `CNI_NETNS` of ADD, and of DEL while it is there.
    pub(super) netns: PathBuf,
    /// What its `NetworkAttachmentDefinition` says.
    /// Its VF.
    pub(super) device: &'static str,
    pub(super) vf_driver: &'static str,
}

/// How a process ended.
#[derive(Debug)]
pub(super) enum Ended {
    Well,
    Badly(Failure),
    Killed,
}

impl Ended {
    pub(super) fn well(&self) -> bool {
        matches!(self, Self::Well)
    }

    /// The message of the failure.
    pub(super) fn failure(self) -> String {
        match self {
            Self::Badly(failure) => failure.to_string(),
            other => panic!("expected a failure, found {other:?}"),
        }
    }
}

/// A daemon: which release, and whether it leaves the VF to a plugin that says it can move it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Release {
    pub(super) version: &'static versions::Version,
    pub(super) attach_only: bool,
}

impl From<bool> for Release {
    /// HEAD, without and with the extension.
    fn from(attach_only: bool) -> Self {
        Self {
            version: versions::version("head").unwrap(),
            attach_only,
        }
    }
}

pub(super) struct Host {
    pub(super) shared: Shared,
    pub(super) daemon: Daemon,
    ovsdb: JoinHandle<()>,
    pub(super) socket: PathBuf,
    /// How long the daemon may still begin with a request; not at all, but where a test is about that.
    pub(super) late_daemon: Mutex<Duration>,
    /// Nobody reads the result of ADD.
    pub(super) deaf: Mutex<bool>,
    pub(super) deadlines: Mutex<Deadlines>,
    /// The result of ADD can't be written.
    pub(super) full_pipe: Mutex<bool>,
    dir: TempDir,
}

/// A call as a runtime makes it.
fn call(verb: &str, pod: &Pod, socket: &Path) -> Call {
    let env = Environment {
        command: Some(verb.to_owned()),
        container_id: Some(pod.container.clone()),
        netns: Some(pod.netns.display().to_string()),
        ifname: Some(pod.ifname.clone()),
        args: Some(format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", pod.name)),
        path: Some("/opt/cni/bin".to_owned()),
        netns_override: None,
    };
    let mut conf = serde_json::json!({
        "cniVersion": "1.1.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": socket,
        "provider": "sriov.default.ovn", "deviceID": pod.device, "vf_driver": pod.vf_driver,
    });
    if verb == "CHECK" {
        conf["prevResult"] = serde_json::json!({
            "cniVersion": "1.1.0",
            "interfaces": [{"name": host_nic(&pod.container, &pod.ifname)},
                {"name": pod.ifname, "mac": mac_of(&pod.name), "mtu": 1400, "sandbox": pod.netns}],
            "ips": [{"address": "10.16.0.5/16", "interface": 1}, {"address": "fd00::5/112", "interface": 1}],
        });
    }
    match cni::parse(&env, conf.to_string().as_bytes(), "kube-ovn").unwrap() {
        Invocation::Add(call) | Invocation::Del(call) | Invocation::Check(call) => *call,
        other => panic!("{other:?}"),
    }
}

impl Host {
    /// Needs a tokio runtime around it.
    pub(super) fn new(daemon: impl Into<Release>) -> Self {
        let daemon = daemon.into();
        let dir = fixture::directory();
        let shared = Shared {
            kernel: Arc::new(Mutex::new(Kernel::new())),
            obstacle: dir.path().join(format!("state/vf/{VF}.json.new")),
            killed: Arc::new(Notify::new()),
        };
        let socket = dir.path().join("daemon.sock");
        let switches = Switches {
            version: daemon.version,
            attach_only: daemon.attach_only,
            ..Switches::default()
        };
        Self {
            daemon: Daemon::start(&socket, &shared, switches),
            ovsdb: ovsdb::start(&dir.path().join("openvswitch"), &shared),
            shared,
            socket,
            late_daemon: Mutex::default(),
            deaf: Mutex::default(),
            full_pipe: Mutex::default(),
            deadlines: Mutex::default(),
            dir,
        }
    }

    /// Another call works on the VF.
    pub(super) async fn lock_vf(&self) -> Lock {
        let device = VF.parse().unwrap();
        self.world().store.lock(&device, Instant::now()).await.unwrap()
    }

    /// A pod with a namespace of its own.
    pub(super) fn pod(&self, name: &str, ifname: &str) -> Pod {
        let (ns, netns) = self.with(|kernel| {
            let ns = kernel.namespaces.len();
            let path = PathBuf::from(format!("/var/run/netns/cni-{ns}"));
            kernel.namespaces.push(Namespace {
                path: Some(path.clone()),
                sysctls: BTreeMap::new(),
            });
            (ns, path)
        });
        Pod {
            name: name.to_owned(),
            container: format!("{ns:04x}56789abcdef0"),
            ifname: ifname.to_owned(),
            ns,
            netns,
            device: VF,
            vf_driver: "",
        }
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Kernel) -> T) -> T {
        self.shared.with(work)
    }

    pub(super) fn switch(&self, work: impl FnOnce(&mut Switches)) {
        work(&mut self.daemon.switches.lock().unwrap());
    }

    /// The next call goes this way.
    pub(super) fn plan(&self, faults: Faults) {
        self.with(|kernel| kernel.faults = faults);
    }

    pub(super) fn world(&self) -> World<FakeStack> {
        World {
            host: FakeStack {
                shared: self.shared.clone(),
                ns: HOST,
            },
            sysfs: self.with(|kernel| kernel.tree.sysfs()),
            store: Store::at(&self.dir.path().join("state")),
            ovs: Ovs::at(&self.dir.path().join("openvswitch")),
            end: Instant::now() + Duration::from_secs(60),
            patience: Patience {
                vf_return: Duration::from_millis(250),
                port_gone: Duration::from_millis(100),
                daemon_del: Duration::from_secs(8),
                ovsdb: Duration::from_millis(500),
                late_daemon: *self.late_daemon.lock().unwrap(),
                dad: Duration::from_millis(200),
                carrier: Duration::from_millis(50),
            },
        }
    }

    /// Runs a process until it ends or is killed.
    async fn process(&self, work: impl Future<Output = Result<(), Failure>>) -> Ended {
        let ended = tokio::select! {
            biased;
            () = self.shared.killed.notified() => Ended::Killed,
            result = work => {
                if self.with(|kernel| kernel.faults.is_dead()) {
                    self.shared.killed.notified().await; // killed in a call that can't wait
                    Ended::Killed
                } else {
                    result.map_or_else(Ended::Badly, |()| Ended::Well)
                }
            }
        };
        // the daemon sees that the connection is closed
        tokio::task::yield_now().await;
        ended
    }

    pub(super) async fn add(&self, pod: &Pod) -> Ended {
        self.add_by(pod, &self.socket).await
    }

    /// ADD, and libcni kills the process when the daemon, which is to hold the request, has it.
    pub(super) async fn give_up(&self, pod: &Pod) {
        tokio::select! {
            ended = self.add(pod) => panic!("the ADD was not held: {ended:?}"),
            () = self.daemon.is_asked() => {}
        }
    }

    /// ADD of a netconf with this socket.
    pub(super) async fn add_by(&self, pod: &Pod, socket: &Path) -> Ended {
        let call = call("ADD", pod, socket);
        let world = self.world();
        let device = pod.device.parse().unwrap();
        let clock = Clock::of_add(&self.deadlines.lock().unwrap());
        let deaf = || *self.deaf.lock().unwrap();
        let caller = Caller {
            since: BootTime::now(),
            listens: &|| !deaf(),
            answer: &|json| {
                let result: serde_json::Value = serde_json::from_slice(json).unwrap();
                assert_eq!(result["interfaces"][1]["pciID"], pod.device, "{result}");
                if *self.full_pipe.lock().unwrap() {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                Ok(())
            },
        };
        self.process(add_vf(&world, &call, &device, clock, &caller, async |_| Ok(())))
            .await
    }

    /// DEL as `super::del` runs it, once it knows which world it is in.
    pub(super) async fn del(&self, pod: &Pod) -> Ended {
        self.del_by(pod, &self.socket).await
    }

    /// DEL of a netconf with this socket.
    pub(super) async fn del_by(&self, pod: &Pod, socket: &Path) -> Ended {
        let call = call("DEL", pod, socket);
        let world = self.world();
        let clock = Clock::of_del(&self.deadlines.lock().unwrap());
        self.process(async {
            cancel(&world.store, &call);
            if del_vf(&world, &call, clock).await? {
                return Ok(());
            }
            del_without_record(&call, clock).await
        })
        .await
    }

    /// What CHECK finds in the kernel.
    pub(super) async fn check(&self, pod: &Pod) -> Result<Vec<String>, Failure> {
        let call = call("CHECK", pod, &self.socket);
        let world = self.world();
        let told = Told::by(&call)?;
        let device = device_of(&world, &call, &told)?;
        look(&world, &call, &told, device.as_ref()).await
    }

    /// The pod's namespace dies, as when a runtime has lost its DEL, and the kernel has brought its links home.
    pub(super) fn destroy(&self, pod: &Pod) {
        self.with(|kernel| {
            kernel.destroy(pod.ns);
            kernel.refund(pod.ns);
        });
    }

    /// A DEL without faults, that must succeed.
    pub(super) async fn del_well(&self, pod: &Pod, context: &str) {
        self.plan(Faults::default());
        let ended = self.del(pod).await;
        assert!(ended.well(), "{context}: DEL: {ended:?}");
    }

    pub(super) fn snapshot(&self) -> String {
        self.with(|kernel| kernel.snapshot())
    }

    /// The records, and the ways to them.
    pub(super) fn records(&self) -> Vec<String> {
        let mut names: Vec<String> = ["vf", "attachment"]
            .iter()
            .filter_map(|dir| std::fs::read_dir(self.dir.path().join("state").join(dir)).ok())
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.contains(".lock") && !name.contains(".new"))
            .collect();
        names.sort();
        names
    }

    /// ovsdb-server ends.
    pub(super) fn stop_ovsdb(&self) {
        self.ovsdb.abort();
        std::fs::remove_file(self.dir.path().join("openvswitch/db.sock")).unwrap();
    }

    /// The lock of the VF, as a call of another process has it.
    pub(super) async fn lock(&self) -> Lock {
        let device = VF.parse().unwrap();
        self.world().store.lock(&device, Instant::now()).await.unwrap()
    }

    /// There is room again; see [`Shared::fill_disk`].
    pub(super) fn clear_disk(&self) {
        let _ = std::fs::remove_dir(&self.shared.obstacle);
    }

    /// A path in the state directory.
    pub(super) fn state(&self, path: &str) -> PathBuf {
        self.dir.path().join("state").join(path)
    }

    /// GC of this network, with the attachments that the caller knows to be alive.
    pub(super) async fn gc(&self, network: &str, valid: &[&Pod]) -> Ended {
        let world = self.world();
        let valid: Vec<_> = (valid.iter())
            .map(|pod| (pod.container.parse().unwrap(), pod.ifname.parse().unwrap()))
            .collect();
        self.process(collect(&world, network, &valid)).await
    }

    /// Calls of others, one after the other, until nothing is pending any more: each has little time for that.
    pub(super) async fn go_on_to_the_end(&self) {
        for _ in 0..100 {
            self.go_on().await;
            if self.records().is_empty() {
                return;
            }
        }
    }

    /// What a call does for the attachments of others at its end.
    pub(super) async fn go_on(&self) {
        let mut world = self.world();
        self.process(async {
            go_on_in(&mut world, None).await;
            Ok(())
        })
        .await;
    }

    /// What a process leaves that is killed after it has written the first file of a record.
    pub(super) fn write_attachment(&self, pod: &Pod) {
        let directory = self.dir.path().join("state/attachment");
        std::fs::create_dir_all(&directory).unwrap();
        let key = format!("{}:{}", pod.container, pod.ifname);
        std::fs::write(directory.join(key), VF).unwrap();
    }

    /// Makes the record of a pod's attachment be one of this VF.
    pub(super) fn give_record_to(&self, pod: &Pod, device: &str) {
        let state = self.dir.path().join("state");
        let record = std::fs::read_to_string(state.join(format!("vf/{VF}.json"))).unwrap();
        std::fs::write(state.join(format!("vf/{device}.json")), record.replace(VF, device)).unwrap();
        std::fs::remove_file(state.join(format!("vf/{VF}.json"))).unwrap();
        let key = format!("{}:{}", pod.container, pod.ifname);
        std::fs::write(state.join("attachment").join(key), device).unwrap();
    }

    /// The state directory is gone, or never was: another program made the attachments.
    pub(super) fn lose_records(&self) {
        std::fs::remove_dir_all(self.dir.path().join("state")).unwrap();
    }

    #[track_caller]
    pub(super) fn assert_restored(&self, before: &str, context: &str) {
        let now = self.snapshot();
        assert_eq!(now, before, "{context}");
        assert!(self.records().is_empty(), "{context}: {:?}", self.records());
        let pending = std::fs::read_dir(self.state("pending")).map_or(0, Iterator::count);
        assert_eq!(pending, 0, "{context}");
    }

    /// The pod has what the daemon promised.
    #[track_caller]
    pub(super) fn assert_attached(&self, pod: &Pod, context: &str) {
        self.with(|kernel| {
            let vf = (kernel.links.iter()).find(|netdev| netdev.link.parent.as_deref() == Some(VF));
            assert_eq!(vf.is_none(), kernel.vfio.is_some(), "{context}");
            if let Some(vf) = vf {
                assert_eq!(
                    (vf.ns, vf.link.name.as_str()),
                    (pod.ns, pod.ifname.as_str()),
                    "{context}"
                );
                assert_eq!(
                    (vf.link.mac, vf.link.mtu, vf.link.up),
                    (Some(mac_of(&pod.name)), 1400, true)
                );
            }
            let port = host_nic(&pod.container, &pod.ifname);
            assert_eq!(kernel.ports, BTreeMap::from([(port, REPRESENTOR)]), "{context}");
            assert_eq!(kernel.admin[&0], mac_of(&pod.name), "{context}");
            assert_eq!(kernel.namespaces[pod.ns].sysctls.len(), 4, "{context}");
        });
    }
}
