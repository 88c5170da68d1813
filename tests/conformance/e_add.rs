//! ADD: items 43 to 53.

use serde_json::{Value, json};

use crate::VERSIONS;
use crate::subject::{Pod, assert_silent, merge, subject};

/// Versions whose results have interfaces.
const WITH_INTERFACES: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

#[test]
fn item_43_the_result_has_the_configurations_version() {
    for version in subject().of(&VERSIONS) {
        let pod = Pod::new();
        assert_eq!(pod.add(version)["cniVersion"], version);
        assert_silent(&pod.del(version));
    }
    let pod = Pod::new();
    let conf = subject().conf("1.0.0", json!({"cniVersion": null}));
    let answer = pod.call("ADD", &conf).run();
    assert_eq!(
        (answer.rc, &answer.json()["cniVersion"]),
        (0, &json!("0.1.0")),
        "{answer:?}"
    );
    assert_silent(&pod.call("DEL", &conf).run());
}

#[test]
fn item_44_the_interface_is_there_and_a_name_that_is_taken_is_refused() {
    let pod = Pod::new();
    pod.add("1.0.0");
    assert_eq!(pod.links(), ["lo", "eth0"]);
    assert_silent(&pod.del("1.0.0"));
    pod.assert_untouched();

    let taken = Pod::new();
    subject()
        .host
        .sh(&format!("ip -n {} link add eth0 type bridge", taken.name));
    let before = taken.ip("link show dev eth0");
    let answer = taken.call("ADD", &subject().conf("1.0.0", json!({}))).run();
    assert!(
        answer.rc == 1 && answer.json()["msg"].as_str().unwrap().contains("eth0"),
        "{answer:?}"
    );
    assert_eq!(taken.ip("link show dev eth0"), before);
    assert_eq!((taken.links().len(), taken.outside().as_str()), (2, ""));
}

#[test]
fn item_45_interfaces_have_a_sandbox_in_the_pod_and_none_on_the_host() {
    for version in subject().of(&WITH_INTERFACES) {
        let pod = Pod::new();
        // verbatim, however the path is written
        let netns = format!("/run/../run/netns/{}", pod.name);
        let answer = pod
            .call("ADD", &subject().conf(version, json!({})))
            .env("CNI_NETNS", &netns)
            .run();
        let result = answer.json();
        let interfaces = result["interfaces"].as_array().unwrap();
        let inside: Vec<&Value> = interfaces
            .iter()
            .filter(|interface| interface["sandbox"] != json!(null))
            .collect();
        let [eth0] = inside[..] else { panic!("{result}") };
        assert_eq!(
            (&eth0["name"], &eth0["sandbox"]),
            (&json!("eth0"), &json!(netns)),
            "{result}"
        );
        let host = subject().host.sh("ip -o link show");
        for interface in interfaces.iter().filter(|interface| interface["sandbox"].is_null()) {
            assert!(interface.get("sandbox").is_none(), "{result}");
            assert!(
                host.contains(&format!(" {}@", interface["name"].as_str().unwrap())),
                "{result} {host}"
            );
        }
        assert_silent(&pod.del(version));
    }
}

#[test]
fn item_46_addresses_name_their_interface() {
    for version in subject().of(&WITH_INTERFACES) {
        let pod = Pod::new();
        let result = pod.add(version);
        let ips = result["ips"].as_array().unwrap();
        assert!(!ips.is_empty(), "{result}");
        for ip in ips {
            let index = usize::try_from(ip["interface"].as_u64().unwrap()).unwrap();
            let interface = &result["interfaces"][index];
            assert!(
                interface["name"] == "eth0" && interface["sandbox"] == json!(pod.netns()),
                "{result}"
            );
        }
        assert_silent(&pod.del(version));
    }
}

/// A plugin that is not the first of its list passes on what those before it did, and adds its own.
#[test]
fn item_47_prev_result_on_add_is_passed_on() {
    let earlier = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "veth0"}, {"name": "net7", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/x"}],
        "ips": [{"address": "192.0.2.7/24", "interface": 1}],
        "routes": [{"dst": "198.51.100.0/24", "gw": "192.0.2.1"}],
        "dns": {"nameservers": ["192.0.2.53"]}
    });
    let pod = Pod::new();
    let answer = pod
        .call("ADD", &subject().conf("1.0.0", json!({"prevResult": earlier})))
        .run();
    assert_eq!(answer.rc, 0, "{answer:?}");
    let result = answer.json();
    for key in ["interfaces", "ips", "routes"] {
        let (all, first) = (result[key].as_array().unwrap(), earlier[key].as_array().unwrap());
        assert!(all.starts_with(first) && all.len() > first.len(), "{key}: {result}");
    }
    let last = result["ips"].as_array().unwrap().last().unwrap();
    let index = usize::try_from(last["interface"].as_u64().unwrap()).unwrap();
    assert_eq!(result["interfaces"][index]["name"], "eth0", "{result}");
    assert_eq!(result["dns"], earlier["dns"]);
    assert_silent(&pod.del("1.0.0"));

    for (version, garbage) in [
        ("1.0.0", json!({"interfaces": "eth0"})),
        ("1.0.0", json!({"ips": [{"address": 3}]})),
        ("1.0.0", json!("x")),
        ("1.0.0", json!({"cniVersion": "0.4.0", "interfaces": []})),
        ("0.3.1", json!({"cniVersion": "7.0.0"})),
    ] {
        let pod = Pod::new();
        pod.call("ADD", &subject().conf(version, json!({"prevResult": garbage})))
            .run()
            .error(6);
        pod.assert_untouched();
    }
}

/// The real portmap, fed with our result.
#[test]
fn item_48_portmap_understands_the_result() {
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let pod = Pod::new();
        let result = pod.add(version);
        let mappings = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
        let conf = json!({
            "cniVersion": version, "name": "net", "type": "portmap", "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": mappings}, "prevResult": result
        });
        let portmap = |verb| {
            pod.call(verb, &conf)
                .program(&subject().host.inside(), "/opt/cni/bin/portmap")
                .env("PATH", "/usr/sbin:/usr/bin")
                .run()
        };
        let answer = portmap("ADD");
        assert_eq!(answer.rc, 0, "{answer:?}");
        // the result goes on through it
        for key in ["ips", "routes"] {
            assert_eq!(answer.json()[key], result[key], "{answer:?}");
        }
        let address = match result["ips"][0]["address"].as_str().unwrap().split_once('/') {
            Some((address, _)) => address.to_owned(),
            None => panic!("{result}"),
        };
        let rules = subject().host.sh("iptables-save -t nat");
        assert!(rules.contains(&format!("--to-destination {address}:80")), "{rules}");
        assert_silent(&portmap("DEL"));
        assert_silent(&pod.del(version));
    }
}

/// The daemon fails after everything is done; or, of another plugin, its IPAM has no address.
#[test]
fn item_49_a_failed_add_leaves_nothing() {
    for fault in ["gateway-check", "configure", "move", "netns"] {
        let pod = Pod::with(json!({"fault": fault}));
        let full =
            json!({"type": "host-local", "subnet": "10.21.0.0/30", "rangeStart": "10.21.0.2", "rangeEnd": "10.21.0.1"});
        let mut conf = subject().conf("1.0.0", json!({}));
        if conf.get("ipam").is_some() {
            merge(&mut conf, json!({"ipam": full}));
        }
        let answer = pod.call("ADD", &conf).run();
        assert!(
            answer.rc == 1 && answer.json()["code"].as_u64().unwrap() > 0,
            "{answer:?}"
        );
        pod.assert_untouched();
    }
}

#[test]
fn item_50_a_second_add_is_refused_and_the_first_goes_on() {
    let pod = Pod::new();
    let result = pod.add("1.0.0");
    let (eth0, outside) = (pod.ip("address show dev eth0"), pod.outside());
    let again = pod.call("ADD", &subject().conf("1.0.0", json!({}))).run();
    assert!(again.rc == 1 && again.json()["code"].is_u64(), "{again:?}");
    assert_eq!(pod.ip("address show dev eth0"), eth0);
    assert_eq!(pod.outside(), outside);
    assert_silent(&pod.check("1.0.0", &result));
    assert_silent(&pod.del("1.0.0"));
    pod.assert_untouched();
}

#[test]
fn item_51_at_the_same_time() {
    let pods: Vec<Pod> = (0..6).map(|_| Pod::new()).collect();
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| pod.add("1.0.0"));
        }
    });
    let addresses: std::collections::BTreeSet<String> = pods
        .iter()
        .map(|pod| pod.ip("address show dev eth0")[0]["address"].to_string())
        .collect();
    assert_eq!(addresses.len(), pods.len());
    // a second interface of one pod
    let first = &pods[0];
    let conf = subject().conf("1.0.0", json!({}));
    let second = first.call("ADD", &conf).env("CNI_IFNAME", "net1").run();
    assert_eq!(second.rc, 0, "{second:?}");
    assert_eq!(first.links(), ["lo", "eth0", "net1"]);
    assert_silent(&first.call("DEL", &conf).env("CNI_IFNAME", "net1").run());
    assert_eq!(first.links(), ["lo", "eth0"]);
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| assert_silent(&pod.del("1.0.0")));
        }
    });
    pods.iter().for_each(Pod::assert_untouched);
}

#[test]
fn item_52_runtime_config() {
    for no_object in [json!([]), json!("x"), json!(3)] {
        let pod = Pod::new();
        pod.call("ADD", &subject().conf("1.0.0", json!({"runtimeConfig": no_object})))
            .run()
            .error(6);
        pod.assert_untouched();
    }
    // it is asked for a device first, and none that it does not agree with is taken
    let keys = json!({"deviceID": "0000:84:00.3", "runtimeConfig": {"deviceID": "0000:84:00.4"}});
    let msg = subject().call("ADD", keys).run().error(7);
    assert!(msg.contains("runtimeConfig.deviceID is \"0000:84:00.4\""), "{msg}");
}

/// kube-ovn's addresses come from its controller: a foreign `ipam` is neither asked nor an error.
#[test]
fn item_53_no_ipam_plugin_is_asked() {
    let pod = Pod::new();
    let conf = subject().conf(
        "1.0.0",
        json!({"ipam": {"type": "no-such-plugin", "subnet": "10.99.0.0/16"}}),
    );
    let answer = pod.call("ADD", &conf).run();
    assert_eq!(answer.rc, 0, "{answer:?}");
    assert_eq!(answer.json()["ips"][0]["address"], format!("{}/16", pod.ip));
    assert_silent(&pod.call("DEL", &conf).run());
}
