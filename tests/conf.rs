//! The files of conf/: each JSON in them is fed to the built plugin as Multus or a runtime makes it of the file, and the
//! names by which the files refer to each other agree.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is a failed test"
)]

mod support;

use serde_json::{Value, json};
use support::Call;

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/conf/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The JSON of a YAML block `key: |`: the lines after it that are indented deeper.
fn block(yaml: &str, key: &str) -> Value {
    let mut lines = yaml.lines().skip_while(|line| line.trim() != format!("{key}: |"));
    let head = lines.next().unwrap_or_else(|| panic!("no block {key}"));
    let depth = |line: &str| line.len() - line.trim_start().len();
    let text: Vec<&str> = lines
        .take_while(|line| line.trim().is_empty() || depth(line) > depth(head))
        .collect();
    serde_json::from_str(&text.join("\n")).unwrap()
}

/// The value of the only line `key: value`.
fn value<'a>(yaml: &'a str, key: &str) -> &'a str {
    let mut found = yaml
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
    found
        .next()
        .unwrap_or_else(|| panic!("no {key}"))
        .trim()
        .trim_matches('"')
}

/// The plugin's own part of a list, as libcni hands it on (libcni/api.go `buildOneConfig`), with what Multus adds for
/// a device (pkg/types/conf.go:632-667 at v4.3.0).
fn stdin(list: &Value, device: Option<&str>) -> String {
    let plugins = list["plugins"].as_array().unwrap();
    assert_eq!(
        (&plugins[0]["type"], &plugins[1]["type"]),
        (&json!("kube-ovn"), &json!("portmap"))
    );
    let mut conf = plugins[0].clone();
    conf["name"] = list["name"].clone();
    conf["cniVersion"] = list["cniVersion"].clone();
    if let Some(device) = device {
        conf["deviceID"] = json!(device);
        conf["pciBusID"] = json!(device);
    }
    conf.to_string()
}

#[test]
fn the_networkattachmentdefinitions() {
    for (file, vf_driver) in [
        ("network-attachment-definition.yaml", Value::Null),
        ("network-attachment-definition-vfio.yaml", json!("vfio-pci")),
    ] {
        let nad = read(file);
        check(&nad);
        assert_eq!(block(&nad, "config")["plugins"][0]["vf_driver"], vf_driver, "{file}");
    }
}

fn check(nad: &str) {
    let list = block(nad, "config");
    // complete: the plugin takes it, and comes as far as the namespace
    let answer = Call::verb("ADD").stdin(stdin(&list, Some("0000:84:00.3"))).run();
    assert_eq!(
        answer.failure(4),
        "CNI_NETNS: network namespace /nonexistent/netns does not exist"
    );
    // without a device from Multus it says what is missing
    let answer = Call::verb("ADD").stdin(stdin(&list, None)).run();
    assert!(answer.failure(7).contains("deviceID"), "{answer:?}");
    assert!(
        answer.details().contains("k8s.v1.cni.cncf.io/resourceName"),
        "{answer:?}"
    );
    let provider = format!("{}.{}.ovn", value(nad, "name"), value(nad, "namespace"));
    assert_eq!(list["plugins"][0]["provider"], provider.as_str());
}

#[test]
fn the_drop_in() {
    let list: Value = serde_json::from_str(&read("01-kube-ovn.conflist")).unwrap();
    let answer = Call::verb("ADD").stdin(stdin(&list, None)).run();
    assert_eq!(
        answer.failure(4),
        "CNI_NETNS: network namespace /nonexistent/netns does not exist"
    );
    assert_eq!(
        list["cniVersion"], "0.3.1",
        "runtimes send STATUS from 1.1.0 on, which is the operator's choice"
    );
}

#[test]
fn the_names_agree() {
    let pools = block(&read("device-plugin-configmap.yaml"), "config.json");
    let vfio = &pools["resourceList"][1];
    let offered = format!("mellanox.com/{}", vfio["resourceName"].as_str().unwrap());
    let nad = read("network-attachment-definition-vfio.yaml");
    assert_eq!(value(&nad, "k8s.v1.cni.cncf.io/resourceName"), offered);
    assert_eq!(vfio["selectors"]["drivers"], json!(["vfio-pci"]));

    let (nad, pod) = (read("network-attachment-definition.yaml"), read("pod.yaml"));
    let resource = value(&nad, "k8s.v1.cni.cncf.io/resourceName");
    let pools = block(&read("device-plugin-configmap.yaml"), "config.json");
    let pool = &pools["resourceList"][0];
    let offered = format!(
        "{}/{}",
        pool["resourcePrefix"].as_str().unwrap(),
        pool["resourceName"].as_str().unwrap()
    );
    assert_eq!(offered, resource);
    let asked: Vec<&str> = pod
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with(resource))
        .collect();
    assert_eq!(asked, vec![format!("{resource}: \"1\""); 2], "requests and limits");
    let network = format!("{}/{}", value(&nad, "namespace"), value(&nad, "name"));
    assert_eq!(value(&pod, "v1.multus-cni.io/default-network"), network);
    let provider = block(&nad, "config")["plugins"][0]["provider"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        value(&pod, &format!("{provider}.kubernetes.io/logical_switch")),
        "ovn-default"
    );
}
