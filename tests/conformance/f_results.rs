//! Results of each version: items 54 to 62.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::VERSIONS;
use crate::subject::{Pod, assert_silent, subject};

/// Only these keys.
#[track_caller]
fn assert_keys(object: &Value, allowed: &[&str]) {
    for key in object.as_object().unwrap().keys() {
        assert!(allowed.contains(&key.as_str()), "{key} in {object}");
    }
}

fn list<'a>(result: &'a Value, key: &str) -> &'a [Value] {
    result[key].as_array().map_or(&[], Vec::as_slice)
}

/// An address with its prefix, and the host's bits.
#[track_caller]
fn address(text: &Value) -> IpAddr {
    let (address, prefix) = text.as_str().unwrap().split_once('/').expect("a prefix");
    assert!(prefix.parse::<u8>().is_ok_and(|bits| bits < 128), "{text}");
    address.parse().unwrap()
}

#[test]
fn item_54_versions_0_1_0_and_0_2_0() {
    for version in ["0.1.0", "0.2.0"] {
        let result = Pod::dual_result(version);
        assert_keys(&result, &["cniVersion", "ip4", "ip6", "dns"]);
        assert!(result["dns"].is_object(), "{result}");
        for (key, is_v4) in [("ip4", true), ("ip6", false)] {
            let family = &result[key];
            assert_keys(family, &["ip", "gateway", "routes"]);
            assert_eq!(address(&family["ip"]).is_ipv4(), is_v4, "{result}");
            for route in list(family, "routes") {
                assert_keys(route, &["dst", "gw"]);
                assert_eq!(address(&route["dst"]).is_ipv4(), is_v4, "{result}");
            }
        }
    }
    // without an address there is no such result
    let pod = Pod::with(json!({"ip": "", "cidr": "", "gateway": "", "gateway_check": false}));
    let answer = pod.call("ADD", &subject().conf("0.2.0", json!({}))).run();
    assert!(
        answer.rc == 1 && answer.json()["msg"].as_str().unwrap().contains("address"),
        "{answer:?}"
    );
    pod.assert_untouched();
}

#[test]
fn item_55_versions_0_3_0_to_0_4_0() {
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        let result = Pod::dual_result(version);
        assert_keys(&result, &["cniVersion", "interfaces", "ips", "routes", "dns"]);
        assert!(result["dns"].is_object(), "{result}");
        for interface in list(&result, "interfaces") {
            assert_keys(interface, &["name", "mac", "sandbox"]);
        }
        assert_eq!(list(&result, "ips").len(), 2, "{result}");
        for ip in list(&result, "ips") {
            assert_keys(ip, &["version", "interface", "address", "gateway"]);
            let wanted = if address(&ip["address"]).is_ipv4() { "4" } else { "6" };
            assert_eq!(ip["version"], wanted);
        }
    }
}

#[test]
fn item_56_version_1_0_0() {
    let result = Pod::dual_result("1.0.0");
    assert_keys(&result, &["cniVersion", "interfaces", "ips", "routes", "dns"]);
    for interface in list(&result, "interfaces") {
        // the reference has mtu here already, which is new in 1.1.0
        assert_keys(interface, &["name", "mac", "sandbox", "mtu"]);
    }
    assert_eq!(list(&result, "ips").len(), 2, "{result}");
    for ip in list(&result, "ips") {
        assert_keys(ip, &["interface", "address", "gateway"]);
    }
}

#[test]
fn item_57_version_1_1_0() {
    let result = Pod::dual_result("1.1.0");
    assert_keys(&result, &["cniVersion", "interfaces", "ips", "routes", "dns"]);
    for interface in list(&result, "interfaces") {
        assert_keys(interface, &["name", "mac", "mtu", "sandbox", "socketPath", "pciID"]);
        assert!(
            interface.get("mtu").is_none_or(|mtu| mtu.as_u64() > Some(0)),
            "{result}"
        );
    }
    let pod = list(&result, "interfaces")
        .iter()
        .find(|interface| interface["name"] == "eth0")
        .unwrap();
    assert!(pod["mtu"].is_u64(), "{result}");
    for route in list(&result, "routes") {
        assert_keys(route, &["dst", "gw", "mtu", "advmss", "priority", "table", "scope"]);
        for key in ["mtu", "advmss", "priority"] {
            assert!(route.get(key).is_none_or(|value| value.as_u64() > Some(0)), "{result}");
        }
    }
}

#[test]
fn item_58_addresses_have_a_prefix_and_the_hosts_bits() {
    for version in subject().of(&["0.3.1", "1.0.0", "1.1.0"]) {
        let result = Pod::dual_result(version);
        let addresses: Vec<IpAddr> = list(&result, "ips").iter().map(|ip| address(&ip["address"])).collect();
        assert!(
            addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6),
            "{result}"
        );
        for found in addresses {
            let is_network = match found {
                IpAddr::V4(v4) => v4.octets()[3] == 0,
                IpAddr::V6(v6) => v6.segments()[7] == 0,
            };
            assert!(!is_network, "{result}");
        }
        assert!(
            list(&result, "ips").iter().all(|ip| ip["interface"].is_u64()),
            "{result}"
        );
    }
    // and are those that the interface has
    let pod = Pod::new();
    let result = pod.add("1.0.0");
    let interface = &pod.ip("address show dev eth0")[0];
    let listed = list(interface, "addr_info").iter();
    let has: Vec<String> = listed
        .filter(|found| found["scope"] == "global")
        .map(|found| format!("{}/{}", found["local"].as_str().unwrap_or_default(), found["prefixlen"]))
        .collect();
    let told: Vec<&str> = list(&result, "ips")
        .iter()
        .filter_map(|ip| ip["address"].as_str())
        .collect();
    assert!(!has.is_empty() && has == told, "{interface} {result}");
    assert_silent(&pod.del("1.0.0"));
}

/// A route to everywhere without a gateway becomes the text "<nil>" in Multus' network-status.
#[test]
fn item_59_default_routes_have_a_gateway() {
    for version in subject().of(&["0.3.1", "1.0.0", "1.1.0"]) {
        let result = Pod::dual_result(version);
        let routes = list(&result, "routes");
        for destination in ["0.0.0.0/0", "::/0"] {
            let route = routes
                .iter()
                .find(|route| route["dst"] == destination)
                .expect("a default route");
            assert!(route["gw"].as_str().unwrap().parse::<IpAddr>().is_ok(), "{result}");
        }
        for route in routes {
            assert!(route.get("gw").is_none_or(|gateway| gateway != ""), "{result}");
        }
    }
}

#[test]
fn item_60_the_results_version_is_one_that_callers_know() {
    for version in subject().of(&VERSIONS) {
        let result = Pod::dual_result(version);
        assert!(VERSIONS.iter().any(|known| result["cniVersion"] == *known), "{result}");
    }
}

#[test]
fn item_61_a_result_always_has_a_version() {
    let pod = Pod::new();
    let conf = subject().conf("1.0.0", json!({"cniVersion": ""}));
    let answer = pod.call("ADD", &conf).run();
    assert_eq!(answer.json()["cniVersion"], "0.1.0", "{answer:?}");
    assert_silent(&pod.call("DEL", &conf).run());
}

#[test]
fn item_62_a_result_is_one_json_object() {
    for version in subject().of(&VERSIONS) {
        assert!(Pod::dual_result(version).is_object());
    }
}
