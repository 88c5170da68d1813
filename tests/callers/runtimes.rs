//! What podman and containerd are given, wherever they run.

use serde_json::{Value, json};

/// The cgroups of their containers are below these.
pub(crate) const PODMAN_CGROUP: &str = "/kube-ovn-callers-podman";
pub(crate) const CONTAINERD_CGROUP: &str = "/kube-ovn-callers-containerd";

/// Where they look for networks.
pub(crate) const PODMAN_NETWORKS: &str = "/etc/podman/net.d";
pub(crate) const CONTAINERD_NETWORKS: &str = "/etc/containerd/net.d";

/// /etc/containers/containers.conf
pub(crate) const PODMAN_CONFIG: &str = r#"
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

/// /etc/containerd/config.toml
pub(crate) const CONTAINERD_CONFIG: &str = r#"
version = 2
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/containerd/net.d"
"#;

/// For bash: files of a container that serves a page on its port 80 (/tmp/image, and so /tmp/image.tar), and containerd's pause image
/// with them (/tmp/pause.tar, as `docker save` writes it).
pub(crate) const IMAGE: &str = r#"
mkdir -p /tmp/image/bin /tmp/image/www /tmp/image/etc
cp /bin/busybox /tmp/image/bin/
for name in sh httpd sleep; do ln -s busybox /tmp/image/bin/$name; done
echo a pod > /tmp/image/www/index.html
tar -C /tmp/image -cf /tmp/image.tar .
sum=$(sha256sum < /tmp/image.tar)
cat > /tmp/config.json << CONFIG
{"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/httpd", "-f", "-p", "80", "-h", "/www"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:${sum%% *}"]}}
CONFIG
echo '[{"Config": "config.json", "RepoTags": ["localhost/pause:1"], "Layers": ["image.tar"]}]' > /tmp/manifest.json
tar -C /tmp -cf /tmp/pause.tar manifest.json config.json image.tar
"#;

/// Imports the pause image, once containerd answers.
pub(crate) const IMPORT: &str = "ctr -n k8s.io images import /tmp/pause.tar";

/// What podman is run with in places where this machine's limits are all there is.
pub(crate) const PODMAN_LIMITS: &str = "--ulimit nofile=1024:1024 --ulimit nproc=1024:1024";

/// A network as an administrator writes it: ours, with these keys, then portmap.
pub(crate) fn conflist(name: &str, version: &str, first: &str, keys: &Value) -> Value {
    let mut ours = json!({"type": first, "server_socket": "/run/openvswitch/kube-ovn-daemon.sock"});
    for (key, value) in keys.as_object().into_iter().flatten() {
        ours[key] = value.clone();
    }
    json!({"cniVersion": version, "name": name, "plugins": [
        ours,
        {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
    ]})
}
