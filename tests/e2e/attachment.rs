//! What an attachment must look like: in the pod, on the host, in OVSDB, and in the plugin's result.

use serde_json::{Value, json};

use crate::call::Answer;
use crate::command::{external_ids, ip_json, ports};
use crate::nic::Vf;
use crate::pod::{MTU, Pod};

/// Address and prefix of those that the pod got.
fn addresses(link: &Value) -> Vec<String> {
    let listed = link["addr_info"].as_array().into_iter().flatten();
    let global = listed.filter(|address| address["scope"] == "global");
    global
        .map(|address| {
            format!(
                "{}/{}",
                address["local"].as_str().unwrap_or_default(),
                address["prefixlen"]
            )
        })
        .collect()
}

fn is_up(link: &Value) -> bool {
    link["flags"]
        .as_array()
        .is_some_and(|flags| flags.contains(&json!("UP")))
}

/// The name that the daemon gives the representor of an attachment.
pub(crate) fn port_name(pod: &Pod) -> String {
    match pod.ifname.as_str() {
        "eth0" => format!("{}_h", &pod.container[..12]),
        name => {
            // of KubeVirt's 14 characters the daemon takes 7
            let short = if name.starts_with("pod") && name.len() == 14 {
                &name[3..10]
            } else {
                name
            };
            format!("{}_{short}_h", &pod.container[..12 - short.len()])
        }
    }
}

/// The VF is in the pod under its name, with MAC, MTU, addresses, and up.
#[track_caller]
pub(crate) fn assert_in_pod(pod: &Pod, vf: &Vf, wanted: &[&str]) -> Value {
    let link = pod
        .link(&pod.ifname)
        .unwrap_or_else(|| panic!("no {} in {}: {:?}", pod.ifname, pod.netns, pod.links()));
    let found = (&link["parentdev"], &link["address"], &link["mtu"], is_up(&link));
    assert_eq!(found, (&json!(vf.pci), &json!(pod.mac), &json!(MTU), true), "{link}");
    assert_eq!(addresses(&link), wanted, "{link}");
    assert_eq!(vf.netdev(), None, "the VF is in the host");
    link
}

/// The VF's own representor is up and in br-int, with all that ovn-controller and the daemon's garbage collection need.
#[track_caller]
pub(crate) fn assert_port(pod: &Pod, vf: &Vf, ips: &str) {
    let name = port_name(pod);
    assert_eq!(
        vf.representor().as_deref(),
        Some(name.as_str()),
        "the representor's name"
    );
    let link = ip_json(&["link", "show", "dev", &name]).remove(0);
    assert!(is_up(&link), "{link}");
    assert_eq!(
        (&link["master"], &link["mtu"]),
        (&json!("ovs-system"), &json!(MTU)),
        "{link}"
    );
    assert!(ports().contains(&name), "{name} is not in br-int");
    let found = external_ids(&name);
    let suffix = if pod.provider == "ovn" {
        String::new()
    } else {
        format!(".{}", pod.provider)
    };
    for (key, value) in [
        ("iface-id", format!("{}.default{suffix}", pod.name)),
        ("vendor", "kube-ovn".to_owned()),
        ("pod_name", pod.name.clone()),
        ("pod_namespace", "default".to_owned()),
        ("pod_netns", pod.netns_path()),
        ("ip", ips.to_owned()),
        ("ovn-installed", "true".to_owned()),
    ] {
        assert_eq!(found[key], value.as_str(), "{key} in {found}");
    }
}

/// The whole of it, for a pod with just an IPv4 address.
#[track_caller]
pub(crate) fn assert_attached(pod: &Pod, vf: &Vf) {
    assert_in_pod(pod, vf, &[&format!("{}/16", pod.ipv4)]);
    assert_port(pod, vf, &pod.ipv4);
}

/// Nothing of the pod is left in OVS.
#[track_caller]
pub(crate) fn assert_no_port(pod: &Pod) {
    let ports = ports();
    assert!(!ports.contains(&port_name(pod)), "{ports:?}");
}

/// The printed result in the layout of its version: the representor, then the pod's interface with the addresses.
#[track_caller]
pub(crate) fn assert_result(answer: &Answer, version: &str, pod: &Pod, vf: &Vf) {
    let result = answer.result();
    assert_eq!(result["cniVersion"], version, "{answer:?}");
    let address = format!("{}/16", pod.ipv4);
    if matches!(version, "0.1.0" | "0.2.0") {
        let ip = &result["ip4"];
        assert_eq!(
            (&ip["ip"], &ip["gateway"]),
            (&json!(address), &json!("10.16.0.1")),
            "{answer:?}"
        );
        assert!(
            ip["routes"]
                .as_array()
                .is_some_and(|routes| routes.iter().any(|route| route["dst"] == "0.0.0.0/0"))
        );
        assert!(
            result.get("interfaces").is_none() && result.get("ips").is_none(),
            "{answer:?}"
        );
        return;
    }
    let representor = vf.representor().expect("a representor");
    let mac = crate::command::read(format!("/sys/class/net/{representor}/address")).expect("its MAC");
    let host = json!({"name": representor, "mac": mac});
    let mut in_pod = json!({"name": pod.ifname, "mac": pod.mac, "sandbox": pod.netns_path()});
    if version == "1.1.0" {
        in_pod["mtu"] = json!(MTU);
        in_pod["pciID"] = json!(vf.pci);
    }
    assert_eq!(result["interfaces"], json!([host, in_pod]), "{answer:?}");
    let mut ip = json!({"interface": 1, "address": address, "gateway": "10.16.0.1"});
    if !version.starts_with('1') {
        ip["version"] = json!("4");
    }
    assert_eq!(result["ips"], json!([ip]), "{answer:?}");
    let default = json!({"dst": "0.0.0.0/0", "gw": "10.16.0.1"});
    assert!(
        result["routes"]
            .as_array()
            .is_some_and(|routes| routes.contains(&default)),
        "{answer:?}"
    );
}

/// ADD of several at once: they wait for the daemon and for OVN together.
#[track_caller]
pub(crate) fn add_all(pods: &[(&Pod, &Vf)]) {
    let running: Vec<_> = pods.iter().map(|(pod, vf)| pod.add(vf).start()).collect();
    for (running, (pod, vf)) in running.into_iter().zip(pods) {
        running.end().result();
        assert_attached(pod, vf);
    }
}
