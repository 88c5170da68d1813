//! The daemon's reply as a CNI result.

use serde_json::{Map, Value, json};

pub(crate) fn render(reply: &Value, version: &str, netns: &str) -> Result<String, String> {
    let mut routes: Vec<Value> = list(&reply["routes"]).map(route).collect();
    let add_routes = routes.is_empty();
    let mut ips = Vec::new();
    for ip in list(&reply["ips"]) {
        let six = ip["protocol"] == "IPv6";
        let cidr = text(&ip["cidr"]);
        let prefix = cidr
            .split('/')
            .nth(1)
            .ok_or_else(|| format!("failed to assign address: failed to parse CIDR {cidr:?}"))?;
        let gateway = text(&ip["gateway"]);
        let mut entry = json!({"interface": 0, "address": format!("{}/{prefix}", text(&ip["ip"]))});
        if !gateway.is_empty() {
            entry["gateway"] = gateway.into();
            if add_routes {
                routes.push(route(&json!({"gw": gateway})));
            }
        }
        if !version.starts_with('1') {
            entry["version"] = if six { "6" } else { "4" }.into();
        }
        ips.push(entry);
    }
    let dns = if reply["dns"].is_object() {
        reply["dns"].clone()
    } else {
        json!({})
    };
    if matches!(version, "0.1.0" | "0.2.0") {
        return old(version, &ips, &routes, &dns);
    }
    let mut interface = json!({"name": reply["nicname"], "mac": reply["mac_address"], "sandbox": netns});
    if version.starts_with('1') {
        interface["mtu"] = reply["mtu"].clone();
    }
    Ok(format!(
        "{:#}",
        json!({"cniVersion": version, "interfaces": [interface], "ips": ips, "routes": routes, "dns": dns})
    ))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn route(route: &Value) -> Value {
    let gateway = text(&route["gw"]);
    let default = if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" };
    let destination = Some(text(&route["dst"])).filter(|destination| !destination.is_empty());
    let mut result = Map::new();
    result.insert("dst".to_owned(), destination.unwrap_or(default).into());
    if !gateway.is_empty() {
        result.insert("gw".to_owned(), gateway.into());
    }
    result.into()
}

/// One address and its routes for each family.
fn old(version: &str, ips: &[Value], routes: &[Value], dns: &Value) -> Result<String, String> {
    let mut result = json!({"cniVersion": version, "dns": dns});
    for (key, family) in [("ip4", "4"), ("ip6", "6")] {
        let six = family == "6";
        if let Some(ip) = ips.iter().find(|ip| ip["version"] == family) {
            let routes: Vec<&Value> = routes
                .iter()
                .filter(|route| text(&route["dst"]).contains(':') == six)
                .collect();
            result[key] = json!({"ip": ip["address"], "routes": routes});
            if ip["gateway"].is_string() {
                result[key]["gateway"] = ip["gateway"].clone();
            }
        }
    }
    if ips.is_empty() {
        return Err("cannot convert: no valid IP addresses".to_owned());
    }
    Ok(format!("{result:#}"))
}
