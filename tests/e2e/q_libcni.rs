//! VF pods by a runtime of a few lines on the real libcni, with its cache (tests/callers/libcni.go): what it makes of our result, and
//! what it gives back to CHECK and DEL.

use serde_json::{Value, json};

use crate::attachment::{assert_attached, assert_no_port};
use crate::command::{attempt, names, write};
use crate::daemon::{HEAD, SOCKET};
use crate::lab::Lab;
use crate::nic::{Vf, vf};
use crate::pod::Pod;
use crate::traffic::ping;

fn driver(verb: &str, pod: &Pod, netns: &str, vf: &Vf) -> Result<String, String> {
    let driver = std::env::var("WORLD_LIBCNI").expect("WORLD_LIBCNI: scripts/test builds the driver");
    attempt(&driver, &[verb, "vf", &pod.container, netns, &pod.name, "", &vf.pci])
}

#[test]
fn a_vf_pod_by_libcni() {
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let mut lab = Lab::with(HEAD);
        let (pod, other, vf, second) = (lab.pod(1), lab.pod(2), vf(0, 0), vf(0, 1));
        let plugin =
            json!({"type": "kube-ovn", "server_socket": SOCKET, "provider": pod.provider, "device": "required"});
        let list = json!({"cniVersion": version, "name": "vf", "plugins": [plugin]});
        std::fs::create_dir_all("/etc/cni/net.d").unwrap();
        write("/etc/cni/net.d/vf.conflist", &list.to_string());

        let result: Value = serde_json::from_str(&driver("add", &pod, &pod.netns_path(), &vf).unwrap()).unwrap();
        let inside = &result["interfaces"][1];
        assert_eq!(
            (&inside["name"], &inside["sandbox"]),
            (&json!("eth0"), &json!(pod.netns_path())),
            "{result}"
        );
        assert_eq!(result["ips"][0]["interface"], 1, "{result}");
        assert_attached(&pod, &vf);
        driver("add", &other, &other.netns_path(), &second).unwrap();
        ping(&pod, &other.ipv4, 3);
        // another pod is not given the VF that this one has
        let third = lab.pod(3);
        let why = driver("add", &third, &third.netns_path(), &vf).unwrap_err();
        assert!(why.contains(&vf.pci), "{why}");
        if version != "0.3.1" {
            driver("check", &pod, &pod.netns_path(), &vf).unwrap();
        }
        driver("del", &pod, &pod.netns_path(), &vf).unwrap();
        driver("del", &pod, &pod.netns_path(), &vf).unwrap();
        assert_no_port(&pod);
        pod.assert_empty();
        // as containerd does when the namespace has gone
        other.destroy();
        driver("del", &other, "", &second).unwrap();
        assert_no_port(&other);
        assert_eq!(names("/var/lib/cni/results"), Vec::<String>::new());
        lab.assert_as_before();
    }
}
