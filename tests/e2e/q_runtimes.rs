//! VF pods by podman and by containerd's CRI, as an administrator without Multus gives them one: `deviceID` in the network's file. Their
//! configuration, the image and the client of the CRI are those of tests/callers.

#[path = "../callers/cri.rs"]
mod cri;
#[path = "../callers/runtimes.rs"]
#[allow(dead_code, reason = "tests/callers uses all of it")]
mod runtimes;

use std::fs::File;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::attachment::{assert_attached, assert_in_pod, assert_no_port};
use crate::command::{attempt, eventually, names, write};
use crate::daemon::{Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::{Vf, vf};
use crate::pod::Pod;
use crate::traffic::ping;
use cri::{Cri, Sandbox, Status};
use runtimes::{
    CONTAINERD_CGROUP, CONTAINERD_CONFIG, CONTAINERD_NETWORKS, IMAGE, IMPORT, PODMAN_CGROUP, PODMAN_CONFIG,
    PODMAN_LIMITS, PODMAN_NETWORKS, conflist,
};

fn sh(script: &str) -> Result<String, String> {
    attempt("bash", &["-euc", script])
}

/// What is on a node with both runtimes; and a port of the host's own in the pods' subnet, as Kube-OVN gives each node one.
fn set_up() {
    let beside = std::env::var("LAB_DIR").expect("LAB_DIR") + "/../callers";
    sh(IMAGE).unwrap();
    sh(&format!(
        "install -m 755 {beside}/with-namespace /usr/lib/cni/portmap /usr/lib/cni/loopback /opt/cni/bin/
         mkdir -p /etc/containers /etc/containerd {PODMAN_NETWORKS} {CONTAINERD_NETWORKS}
         ovn-nbctl lsp-add ovn-default node -- lsp-set-addresses node '02:00:00:00:ff:02 10.16.0.2'
         ovs-vsctl add-port br-int node0 -- set Interface node0 type=internal external_ids:iface-id=node mac='\"02:00:00:00:ff:02\"' mtu_request=1400
         ip address add 10.16.0.2/16 dev node0; ip link set node0 up"
    ))
    .unwrap();
    write("/etc/containers/containers.conf", PODMAN_CONFIG);
    write("/etc/containerd/config.toml", CONTAINERD_CONFIG);
}

fn take_down() {
    sh("ovs-vsctl del-port br-int node0; ovn-nbctl lsp-del node").unwrap();
}

/// A network's file.
fn network(directory: &str, list: &Value) {
    write(format!("{directory}/kube-ovn.conflist"), &list.to_string());
}

/// What the daemon was asked for this pod.
fn requests(pod: &Pod) -> Vec<Value> {
    let bodies = Daemon::requests().into_iter();
    let bodies = bodies.filter_map(|line| serde_json::from_str::<Value>(line["body"].as_str()?).ok());
    bodies.filter(|body| body["pod_name"] == pod.name.as_str()).collect()
}

/// The runtime chose container ID and namespace.
fn is_in(pod: &mut Pod) {
    let request = requests(pod).pop().expect("a request for the pod");
    let text = |key: &str| request[key].as_str().expect("a string").to_owned();
    pod.container = text("container_id");
    pod.netns = text("net_ns")
        .replacen("/var/run/", "/run/", 1)
        .replacen("/run/netns/", "", 1);
}

fn podman(words: &str) -> Result<String, String> {
    sh(&format!("podman --storage-driver vfs {words}"))
}

fn run_podman(pod: &mut Pod) {
    podman(&format!(
        "run -d --name {} --cgroup-parent {PODMAN_CGROUP} {PODMAN_LIMITS} -p 21080:80 --rootfs /tmp/image \
         /bin/httpd -f -p 80 -h /www",
        pod.name
    ))
    .unwrap();
    is_in(pod);
    let networks = podman(&format!(
        "inspect {} --format '{{{{json .NetworkSettings.Networks}}}}'",
        pod.name
    ))
    .unwrap();
    assert!(
        networks.contains(&format!("\"IPAddress\":\"{}\"", pod.ipv4)),
        "{networks}"
    );
    assert!(
        networks.contains(&format!("\"MacAddress\":\"{}\"", pod.mac)),
        "{networks}"
    );
}

/// A running containerd, which ends with this value.
struct Containerd {
    process: Child,
    cri: Cri,
}

impl Containerd {
    fn start() -> Self {
        let log = File::create("/run/containerd.log").unwrap();
        let process = Command::new("containerd")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            process,
            cri: Cri { inside: Vec::new() },
        }
    }

    /// The network of the next pods. Without portmap, which podman's has: its iptables take most of the time here.
    fn write_network(vf: &Vf) {
        let mut list = conflist("kube-ovn", "0.4.0", "kube-ovn", &json!({"deviceID": vf.pci}));
        list["plugins"].as_array_mut().expect("plugins").truncate(1);
        network(CONTAINERD_NETWORKS, &list);
    }

    /// The same, and it has read the file.
    fn network(&self, vf: &Vf) {
        Self::write_network(vf);
        eventually("containerd has read the network's file", || {
            let configuration = self.cri.configuration();
            configuration.is_some_and(|configuration| configuration.contains(&vf.pci))
        });
    }

    fn run(&self, pod: &Pod) -> Result<String, String> {
        self.cri.run(&Sandbox {
            name: &pod.name,
            uid: &pod.name,
            cgroup: CONTAINERD_CGROUP,
            port: None,
        })
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

#[test]
fn vf_pods_of_podman_and_containerd() {
    let mut lab = Lab::with(HEAD);
    let [mut web, mut late, mut container] = [1, 2, 3].map(|number| {
        let pod = lab.pod_in(1, number, "eth0");
        pod.destroy(); // the runtime makes it one
        pod
    });
    lab.fault(&late, "configure");
    let (first, second) = (vf(0, 0), vf(1, 0));
    set_up();
    let podmans_keys = json!({"deviceID": second.pci});
    network(
        PODMAN_NETWORKS,
        &conflist("kube-ovn", "0.4.0", "with-namespace", &podmans_keys),
    );
    Containerd::write_network(&first);
    let containerd = Containerd::start();
    let cri = &containerd.cri;

    let id = std::thread::scope(|both| {
        let by_podman = both.spawn(|| run_podman(&mut container));
        eventually("containerd answers", || cri.configuration().is_some());
        sh(IMPORT).unwrap();
        // an ADD that fails when the VF is in the pod: its reason is what kubelet shows, and the VF is back
        let why = containerd.run(&late).unwrap_err();
        assert!(
            why.contains("plugin type=\"kube-ovn\" failed (add): ") && why.contains("device or resource busy"),
            "{why}"
        );
        is_in(&mut late);
        assert_no_port(&late);
        lab.before.assert_same_for(std::slice::from_ref(&first));
        let id = containerd.run(&web).unwrap();
        by_podman.join().unwrap();
        id
    });
    is_in(&mut web);
    let (ready, ip) = (true, web.ipv4.clone());
    assert_eq!(cri.status(&id).unwrap(), Status { ready, ip });
    assert_attached(&web, &first);
    let address = format!("{}/16", container.ipv4);
    let address = [address.as_str()];
    assert_in_pod(&container, &second, &address);
    ping(&container, &web.ipv4, 3);
    // portmap leads from the node's port to the VF
    eventually("the page of the pod", || {
        sh("curl -sS --max-time 5 http://127.0.0.1:21080/").is_ok_and(|page| page == "a pod\n")
    });

    // now containerd's network has the VF of podman's container, and with that comes the DEL of the pod; whose namespace is gone before,
    // so that the DEL of Stop has an empty CNI_NETNS, and so has that of Remove
    containerd.network(&second);
    sh(&format!(
        "ip netns pids {0} | xargs kill -9; ip netns del {0}",
        web.netns
    ))
    .unwrap();
    cri.stop(&id).unwrap();
    let asked = requests(&web).pop().expect("a DEL");
    assert_eq!((&asked["net_ns"], &asked["container_id"]), (&json!("none"), &json!(id)));
    assert_no_port(&web);
    lab.before.assert_same_for(std::slice::from_ref(&first));
    assert_in_pod(&container, &second, &address);
    std::thread::scope(|both| {
        both.spawn(|| cri.remove(&id).unwrap());
        podman(&format!("rm -f -t 0 {}", container.name)).unwrap();
    });
    assert_no_port(&container);
    let rules = sh("iptables-save").unwrap();
    assert!(!rules.contains(&container.container), "{rules}");
    assert_eq!(names("/var/lib/cni/results"), Vec::<String>::new());
    drop(containerd);
    take_down();
    lab.assert_as_before();
}
