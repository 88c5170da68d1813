//! podman with its CNI backend.

use serde_json::json;

use crate::runtimes::{PODMAN_CGROUP, PODMAN_CONFIG, PODMAN_LIMITS, PODMAN_NETWORKS, conflist};
use crate::{assert_gone, get, host};

fn podman(words: &str) -> Result<String, String> {
    host().attempt(&format!("podman --storage-driver vfs {words}"))
}

#[track_caller]
fn set_up() {
    host().sh(&format!("mkdir -p /etc/containers {PODMAN_NETWORKS}"));
    std::fs::write(host().path("/etc/containers/containers.conf"), PODMAN_CONFIG).unwrap();
    for (name, plugin) in [("kube-ovn", "with-namespace"), ("bare", "kube-ovn")] {
        let file = host().path(&format!("{PODMAN_NETWORKS}/{name}.conflist"));
        std::fs::write(file, conflist(name, "0.4.0", plugin, &json!({})).to_string()).unwrap();
    }
    podman("import /tmp/image.tar pod:1").unwrap();
}

fn run(name: &str, options: &str) -> Result<String, String> {
    podman(&format!(
        "run -d --name {name} --cgroup-parent {PODMAN_CGROUP} {PODMAN_LIMITS} {options} \
         pod:1 /bin/httpd -f -p 80 -h /www"
    ))
}

#[test]
fn a_container_with_a_port() {
    set_up();
    let ip = host().annotate("default/ctr1", "ovn", &serde_json::json!({}));
    let container = run("ctr1", "-p 21080:80").unwrap();
    let container = container.lines().last().unwrap();
    let inspected = podman("inspect ctr1 --format '{{json .NetworkSettings.Networks}}'").unwrap();
    assert!(inspected.contains(&format!("\"IPAddress\":\"{ip}\"")), "{inspected}");
    assert_eq!(get(21_080).unwrap(), "a pod");
    // stopped and started, it has its address again
    podman("stop -t 0 ctr1").unwrap();
    assert_gone(container);
    podman("start ctr1").unwrap();
    assert_eq!(get(21_080).unwrap(), "a pod");
    podman("rm -f -t 0 ctr1").unwrap();
    assert_gone(container);

    // without a Kubernetes namespace there is no pod: the reason is what podman shows
    let why = run("ctr2", "--network bare").unwrap_err();
    assert!(why.contains("K8S_POD_NAMESPACE is required in CNI_ARGS"), "{why}");
    podman("rm -f -t 0 ctr2").unwrap();
    assert_eq!(podman("ps -a -q").unwrap(), "");
    host().remove_cgroups(PODMAN_CGROUP);
}
