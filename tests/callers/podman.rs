//! podman with its CNI backend.

use crate::{assert_gone, conflist, get, host};

/// Its cgroups are below this one.
const CGROUP: &str = "/kube-ovn-callers-podman";

fn podman(words: &str) -> Result<String, String> {
    host().attempt(&format!("podman --storage-driver vfs {words}"))
}

#[track_caller]
fn set_up() {
    let config = r#"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/podman/net.d"
default_network = "kube-ovn"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"#;
    host().sh("mkdir -p /etc/containers /etc/podman/net.d");
    std::fs::write(host().path("/etc/containers/containers.conf"), config).unwrap();
    for (name, plugin) in [("kube-ovn", "with-namespace"), ("bare", "kube-ovn")] {
        let file = host().path(&format!("/etc/podman/net.d/{name}.conflist"));
        std::fs::write(file, conflist(name, "0.4.0", plugin)).unwrap();
    }
    podman("import /tmp/image.tar pod:1").unwrap();
}

fn run(name: &str, options: &str) -> Result<String, String> {
    podman(&format!(
        "run -d --name {name} --cgroup-parent {CGROUP} --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 {options} \
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
    host().remove_cgroups(CGROUP);
}
