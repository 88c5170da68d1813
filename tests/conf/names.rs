//! The names by which the files refer to each other agree.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::files::{self, Document, documents, read, top, yaml};

const VENDORS: [&str; 4] = ["corigine", "mellanox", "yunsilicon", "yusur"];
const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";
const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

fn of_kind<'a>(documents: &'a [Document], kind: &str) -> Vec<&'a Document> {
    let found: Vec<_> = documents.iter().filter(|document| document.kind() == kind).collect();
    assert!(!found.is_empty(), "conf/ has no {kind}");
    found
}

/// The pools of a device plugin's `ConfigMap`: resource, selectors.
fn pools(map: &Document) -> Vec<(String, Value)> {
    let config = map.json("/data/config.json");
    let pools = config["resourceList"].as_array().unwrap();
    pools
        .iter()
        .map(|pool| {
            let word = |key: &str| pool[key].as_str().unwrap();
            let name = format!("{}/{}", word("resourcePrefix"), word("resourceName"));
            (name, pool["selectors"].clone())
        })
        .collect()
}

/// What a pod's network annotations name: attachment definitions, as namespace/name.
fn networks(pod: &Document) -> Vec<String> {
    let mut names: Vec<String> = pod.annotation(DEFAULT_NETWORK).map(str::to_owned).into_iter().collect();
    match pod.annotation(NETWORKS) {
        None => {}
        Some(text) if text.trim_start().starts_with('[') => {
            let list: Value = serde_json::from_str(text).unwrap();
            for item in list.as_array().unwrap() {
                let word = |key: &str| item[key].as_str().unwrap();
                names.push(format!("{}/{}", word("namespace"), word("name")));
            }
        }
        Some(text) => names.extend(text.split(',').map(|name| name.trim().to_owned())),
    }
    names
}

#[test]
fn each_vendor_that_kube_ovn_documents_has_its_files() {
    let documents = documents();
    for vendor in VENDORS {
        for (file, kind) in [
            ("device-plugin.yaml", "ConfigMap"),
            ("network.yaml", "NetworkAttachmentDefinition"),
            ("network.yaml", "Subnet"),
            ("pod.yaml", "Pod"),
            ("kustomization.yaml", "Kustomization"),
        ] {
            let file = format!("{vendor}/{file}");
            assert!(
                documents
                    .iter()
                    .any(|document| document.file == file && document.kind() == kind),
                "{file} has no {kind}"
            );
        }
    }
}

/// What Kube-OVN's documentation has for each vendor (docs/advance/offload-*.md at 9f678c1), in keys that the SR-IOV device
/// plugin knows.
#[test]
fn the_selectors_are_those_of_kube_ovns_documentation() {
    let expected: BTreeMap<&str, Value> = [
        (
            "mellanox.com/cx5_sriov_switchdev",
            json!({"vendors": ["15b3"], "devices": ["1018"], "drivers": ["mlx5_core"]}),
        ),
        (
            "mellanox.com/cx5_sriov_vfio",
            json!({"vendors": ["15b3"], "devices": ["1018"], "drivers": ["vfio-pci"]}),
        ),
        (
            "corigine.com/agilio_sriov",
            json!({"vendors": ["19ee"], "devices": ["6003"], "drivers": ["nfp_netvf"]}),
        ),
        (
            "yunsilicon.com/xsc_sriov",
            json!({"vendors": ["1f67"], "devices": ["1012", "1112"]}),
        ),
        (
            "yusur.tech/sriov_dpu",
            json!({"vendors": ["1f47"], "devices": ["110f"]}),
        ),
    ]
    .into();
    let documents = documents();
    let found: Vec<(String, Value)> = of_kind(&documents, "ConfigMap").into_iter().flat_map(pools).collect();
    assert_eq!(found.len(), expected.len());
    for (name, selectors) in found {
        assert_eq!(expected.get(name.as_str()), Some(&selectors), "{name}");
    }
    for map in of_kind(&documents, "ConfigMap") {
        assert_eq!(map.name(), "kube-system/sriovdp-config", "{}", map.file);
    }
}

#[test]
fn each_network_has_its_provider_its_subnet_and_its_resource() {
    let documents = documents();
    for nad in of_kind(&documents, "NetworkAttachmentDefinition") {
        let (namespace, name) = nad
            .name()
            .split_once('/')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        let provider = format!("{name}.{namespace}.ovn");
        assert_eq!(
            nad.json("/spec/config")["plugins"][0]["provider"],
            provider.as_str(),
            "{}",
            nad.file
        );
        let subnet = documents.iter().find(|document| {
            document.kind() == "Subnet"
                && document.folder() == nad.folder()
                && document.value["spec"]["provider"] == provider.as_str()
        });
        assert!(subnet.is_some(), "{}: no Subnet has the provider {provider}", nad.file);
        let resource = nad.annotation(RESOURCE_NAME).unwrap();
        // what is no vendor's is for Mellanox' NICs
        let vendor = if VENDORS.contains(&nad.folder()) {
            nad.folder()
        } else {
            "mellanox"
        };
        let offered = of_kind(&documents, "ConfigMap")
            .into_iter()
            .filter(|map| map.folder() == vendor);
        assert!(
            offered.flat_map(pools).any(|(name, _)| name == resource),
            "{}: nothing offers {resource}",
            nad.file
        );
    }
    // in one cluster, no two networks give out the same addresses
    let mut cidrs = BTreeMap::new();
    for subnet in of_kind(&documents, "Subnet") {
        let cidr = subnet.value["spec"]["cidrBlock"].as_str().unwrap();
        let name = cidrs.entry(cidr.to_owned()).or_insert_with(|| subnet.name());
        assert_eq!(*name, subnet.name(), "{cidr}");
    }
}

#[test]
fn each_pod_asks_for_the_devices_of_its_networks() {
    let documents = documents();
    for pod in of_kind(&documents, "Pod") {
        let named = networks(pod);
        assert_eq!(
            named.iter().collect::<BTreeSet<_>>().len(),
            named.len(),
            "{}: Multus would give both interfaces the same VF",
            pod.file
        );
        let mut wanted = BTreeMap::new();
        for name in &named {
            let nad = documents
                .iter()
                .find(|document| {
                    document.kind() == "NetworkAttachmentDefinition"
                        && document.folder() == pod.folder()
                        && document.name() == *name
                })
                .unwrap_or_else(|| panic!("{}: no network {name}", pod.file));
            *wanted.entry(nad.annotation(RESOURCE_NAME).unwrap()).or_insert(0) += 1;
            let provider = nad.json("/spec/config")["plugins"][0]["provider"]
                .as_str()
                .unwrap()
                .to_owned();
            let subnet = pod
                .annotation(&format!("{provider}.kubernetes.io/logical_switch"))
                .unwrap();
            assert!(
                documents.iter().any(|document| document.kind() == "Subnet"
                    && document.folder() == pod.folder()
                    && document.value["metadata"]["name"] == subnet),
                "{}: no Subnet {subnet}",
                pod.file
            );
        }
        let resources = &pod.value["spec"]["containers"][0]["resources"];
        let wanted: Value = wanted
            .iter()
            .map(|(name, count)| ((*name).to_owned(), json!(count.to_string())))
            .collect::<serde_json::Map<_, _>>()
            .into();
        for key in ["requests", "limits"] {
            let asked = resources.get(key).cloned().unwrap_or_else(|| json!({}));
            assert_eq!(asked, wanted, "{}: {key}", pod.file);
        }
    }
}

#[test]
fn the_operators_policy_makes_the_resource_of_the_network() {
    let documents = documents();
    let policy = of_kind(&documents, "SriovNetworkNodePolicy")[0];
    // RESOURCE_PREFIX in deploy/operator-kube-ovn-offload.yaml of kubeovn/sriov-network-operator at 69ea6a2
    let resource = format!(
        "mellanox.com/{}",
        policy.value["spec"]["resourceName"].as_str().unwrap()
    );
    assert!(
        of_kind(&documents, "NetworkAttachmentDefinition")
            .iter()
            .any(|nad| nad.folder() == policy.folder() && nad.annotation(RESOURCE_NAME) == Some(&resource)),
        "{resource}"
    );
    assert_eq!(policy.value["spec"]["eSwitchMode"], "switchdev");
}

#[test]
fn what_a_kustomization_names_is_there() {
    for document in of_kind(&documents(), "Kustomization") {
        for resource in document.value["resources"].as_array().into_iter().flatten() {
            let path = top().join(document.folder()).join(resource.as_str().unwrap());
            assert!(path.exists(), "{}: {}", document.file, path.display());
        }
    }
}

/// `add` at the end of a list, as RFC 6902 has it.
fn patched(mut document: Value, patch: &Value) -> Value {
    for operation in patch.as_array().unwrap() {
        assert_eq!(operation["op"], "add");
        let list = operation["path"].as_str().unwrap().strip_suffix("/-").unwrap();
        let list = document.pointer_mut(list).and_then(Value::as_array_mut);
        list.unwrap().push(operation["value"].clone());
    }
    document
}

#[test]
fn the_patch_lets_the_plugin_be_installed_last() {
    // the init containers of Kube-OVN v1.13 and later, and the volume that install-cni writes to; those before have install-cni alone
    let theirs = json!({"spec": {"template": {"spec": {
        "initContainers": [{"name": "hostpath-init"}, {"name": "install-cni", "volumeMounts": [{"name": "cni-bin", "mountPath": "/opt/cni/bin"}]}],
        "volumes": [{"name": "cni-bin", "hostPath": {"path": "/opt/cni/bin"}}],
    }}}});
    let patch = &yaml(&read("kube-ovn-cni/patch.yaml"), "patch.yaml")[0];
    let patched = patched(theirs, patch);
    let containers = patched.pointer("/spec/template/spec/initContainers").unwrap();
    let ours = &containers[2];
    assert_eq!(ours["volumeMounts"], containers[1]["volumeMounts"]);
    assert_eq!(ours["args"], json!(["install"]));
}

#[test]
fn each_container_of_ours_has_the_least_privileges_and_this_version() {
    let documents = documents();
    let patch = &yaml(&read("kube-ovn-cni/patch.yaml"), "patch.yaml")[0];
    let of_daemonset = |daemonset: &&Document| {
        daemonset
            .value
            .pointer("/spec/template/spec/containers/0")
            .cloned()
            .unwrap()
    };
    let mut containers: Vec<Value> = of_kind(&documents, "DaemonSet").iter().map(of_daemonset).collect();
    assert_eq!(containers.len(), 2);
    containers.push(patch[0]["value"].clone());
    for container in containers {
        assert_eq!(
            container["securityContext"],
            json!({
                "runAsUser": 0, "runAsGroup": 0, "privileged": false, "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
            }),
            "{container}"
        );
        let mounts = json!([{"name": "cni-bin", "mountPath": "/opt/cni/bin"}]);
        assert_eq!(container["volumeMounts"], mounts);
    }
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        patch[0]["value"]["image"]
            .as_str()
            .unwrap()
            .ends_with(&format!(":{version}"))
    );
    let images = of_kind(&documents, "Kustomization")
        .into_iter()
        .filter_map(|file| file.value["images"].as_array());
    let tags: Vec<&Value> = images.flatten().map(|image| &image["newTag"]).collect();
    assert_eq!(tags, [version, version]);
}

#[test]
fn kube_ovns_own_settings_agree() {
    let env: BTreeMap<String, String> = read("kube-ovn/install.env")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap())
        .collect();
    let chart = &yaml(&read("kube-ovn/values.yaml"), "values.yaml")[0];
    let chart_v2 = &yaml(&read("kube-ovn/values-v2.yaml"), "values-v2.yaml")[0];
    for (variable, old, new) in [
        ("HW_OFFLOAD", "/func/HW_OFFLOAD", "/features/enableHardwareOffload"),
        ("ENABLE_LB", "/func/ENABLE_LB", "/features/enableLoadbalancer"),
        ("ENABLE_MIRROR", "/debug/ENABLE_MIRROR", "/agent/mirroring/enabled"),
        ("IFACE", "/networking/IFACE", "/agent/interface"),
    ] {
        let shown = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.clone(),
            other => other.unwrap().to_string(),
        };
        assert_eq!(shown(chart.pointer(old)), env[variable]);
        assert_eq!(shown(chart_v2.pointer(new)), env[variable]);
    }
    assert_eq!(
        (env["HW_OFFLOAD"].as_str(), env["ENABLE_LB"].as_str()),
        ("true", "false")
    );
}

#[test]
fn the_readme_names_every_file() {
    let readme = read("README.md");
    for extension in ["yaml", "json", "conflist", "env"] {
        for file in files::files(extension) {
            let (folder, name) = file.split_once('/').unwrap_or(("", &file));
            let mut named = vec![file.clone(), name.to_owned()];
            if VENDORS.contains(&folder) {
                named.push(format!("VENDOR/{name}"));
            }
            assert!(
                named.iter().any(|name| readme.contains(&format!("`{name}`"))) && readme.contains(folder),
                "README.md does not name {file}"
            );
        }
    }
}
