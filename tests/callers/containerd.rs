//! containerd, asked as kubelet asks it.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cri::{Cri, Sandbox, Status};
use crate::runtimes::{CONTAINERD_CGROUP, CONTAINERD_CONFIG, CONTAINERD_NETWORKS, IMPORT, conflist};
use crate::{assert_gone, get, host};

/// A running containerd, which ends with this value.
struct Containerd(Child);

impl Containerd {
    fn start(cri: &Cri) -> Self {
        host().sh(&format!("mkdir -p {CONTAINERD_NETWORKS}"));
        std::fs::write(host().path("/etc/containerd/config.toml"), CONTAINERD_CONFIG).unwrap();
        std::fs::write(
            host().path(&format!("{CONTAINERD_NETWORKS}/01.conflist")),
            conflist("kube-ovn", "0.3.1", "kube-ovn", &json!({})).to_string(),
        )
        .unwrap();
        let log = std::fs::File::create(host().path("/run/world/containerd.log")).unwrap();
        let process = host()
            .command("containerd")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while cri.configuration().is_none() {
            assert!(
                Instant::now() < deadline,
                "{}",
                host().sh("tail -n 5 /run/world/containerd.log")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        host().sh(IMPORT);
        Self(process)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = host().attempt("pkill -x containerd"); // of the node: it has process IDs of its own
        let _ = self.0.wait();
    }
}

/// What the daemon was asked for a pod.
fn asked(pod: &str) -> Vec<Value> {
    host().requests(pod)
}

#[test]
fn a_pods_sandbox_from_its_beginning_to_its_end() {
    let cri = Cri {
        inside: host().inside(),
    };
    let containerd = Containerd::start(&cri);
    let ip = host().annotate("default/web", "ovn", &json!({}));
    let sandbox = |name, uid| Sandbox {
        name,
        uid,
        cgroup: CONTAINERD_CGROUP,
        port: Some(22_080),
    };
    let id = cri.run(&sandbox("web", "uid-1")).unwrap();
    // what kubelet writes into the pod's status
    assert_eq!(
        cri.status(&id).unwrap(),
        Status {
            ready: true,
            ip: ip.clone()
        }
    );
    assert_eq!(get(22_080).unwrap(), "a pod");
    let request = asked("web").pop().unwrap();
    assert_eq!(
        (&request["container_id"], &request["if_name"]),
        (&json!(id), &json!("eth0"))
    );

    // Stop is a DEL with the namespace, a second one and Remove come with an empty CNI_NETNS
    cri.stop(&id).unwrap();
    assert_gone(&id);
    assert!(!cri.status(&id).unwrap().ready);
    cri.stop(&id).unwrap();
    cri.remove(&id).unwrap();
    assert_gone(&id);
    let namespaces: Vec<Value> = asked("web").iter().map(|request| request["net_ns"].clone()).collect();
    assert!(
        namespaces.contains(&json!("none")),
        "no DEL came with an empty CNI_NETNS: {namespaces:?}"
    );
    assert!(get(22_080).is_err());

    // the pod comes back in a new sandbox, as one of a StatefulSet does
    let id = cri.run(&sandbox("web", "uid-2")).unwrap();
    assert_eq!(cri.status(&id).unwrap().ip, ip);
    assert_eq!(get(22_080).unwrap(), "a pod");
    cri.stop(&id).unwrap();
    cri.remove(&id).unwrap();

    // an ADD that fails: its reason is what kubelet shows, and nothing stays
    host().annotate("default/late", "ovn", &json!({"fault": "gateway-check"}));
    let why = cri.run(&sandbox("late", "uid-3")).unwrap_err();
    assert!(
        why.contains("plugin type=\"kube-ovn\" failed (add): ")
            && why.contains("kube-ovn-daemon answered ADD with 500"),
        "{why}"
    );
    let request = asked("late").pop().unwrap();
    assert_gone(request["container_id"].as_str().unwrap());
    drop(containerd);
    host().remove_cgroups(CONTAINERD_CGROUP);
}
