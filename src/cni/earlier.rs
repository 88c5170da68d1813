//! `prevResult` on ADD: the result of the plugins before us in a list. Whoever gets one passes it on with what it adds
//! (SPEC.md, "Section 2: Execution Protocol", ADD). Stock leaves it out, and with it what those plugins did.

use ipnetwork::IpNetwork;
use serde_json::{Map, Value};

use super::result::to_json;
use super::{Code, Failure, NetConf, Version};

/// The result of earlier plugins, checked as far as ours is joined to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier(Map<String, Value>);

impl Earlier {
    /// That of a netconf. Before 0.3.0 there were no lists.
    pub(super) fn of(conf: &NetConf) -> Result<Option<Self>, Failure> {
        let Some(Value::Object(result)) = &conf.prev_result else {
            return Ok(None);
        };
        if conf.version < Version::V0_3_0 || result.is_empty() {
            return Ok(None);
        }
        check(result, conf.version).map_err(|why| {
            Failure::new(
                Code::Decode,
                format!("could not parse prevResult: {why}"),
                format!(
                    "it must be a result of version {}, of the plugins before this one",
                    conf.version
                ),
            )
        })?;
        Ok(Some(Self(result.clone())))
    }

    /// The two as one: theirs first, so that what they told of their interfaces by number stays true.
    pub fn with(&self, ours: &[u8]) -> Result<Vec<u8>, Failure> {
        let broken = |why: serde_json::Error| Failure::new(Code::Internal, format!("cannot join results: {why}"), "");
        let mut ours: Map<String, Value> = serde_json::from_slice(ours).map_err(broken)?;
        let first = u64::try_from(list(&self.0, "interfaces").len()).unwrap_or_default();
        for ip in ours.get_mut("ips").and_then(Value::as_array_mut).into_iter().flatten() {
            let own = ip.get("interface").and_then(Value::as_u64);
            if let (Some(own), Some(ip)) = (own, ip.as_object_mut()) {
                ip.insert("interface".to_owned(), Value::from(own + first));
            }
        }
        let mut joined = self.0.clone();
        for (key, value) in ours {
            match (joined.get_mut(&key), value) {
                (Some(Value::Array(theirs)), Value::Array(ours)) => theirs.extend(ours),
                // that of the resolver is one setting; ours, if there is one
                (Some(_), Value::Object(ours)) if ours.is_empty() => {}
                (_, value) => drop(joined.insert(key, value)),
            }
        }
        to_json(&joined).map_err(broken)
    }
}

fn list<'a>(result: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    result.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Sees that lists are lists, and that what is in them is what its version has.
fn check(result: &Map<String, Value>, version: Version) -> Result<(), String> {
    match result.get("cniVersion") {
        None | Some(Value::Null) => {}
        Some(Value::String(own)) if own == version.as_str() => {}
        Some(other) => return Err(format!("its cniVersion is {other}, expected {version}")),
    }
    for key in ["interfaces", "ips", "routes"] {
        if result
            .get(key)
            .is_some_and(|value| !value.is_array() && !value.is_null())
        {
            return Err(format!("{key} is no list"));
        }
    }
    let text = |object: &Value, key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    for (i, interface) in list(result, "interfaces").iter().enumerate() {
        text(interface, "name").ok_or_else(|| format!("interfaces[{i}] has no name"))?;
    }
    for (i, ip) in list(result, "ips").iter().enumerate() {
        let address = text(ip, "address").and_then(|text| text.parse::<IpNetwork>().ok());
        address.ok_or_else(|| format!("ips[{i}] has no address with a prefix"))?;
        let index = ip.get("interface").filter(|index| !index.is_null());
        if index.is_some_and(|index| index.as_i64().is_none()) {
            return Err(format!("ips[{i}].interface is no number"));
        }
    }
    for (i, route) in list(result, "routes").iter().enumerate() {
        let destination = text(route, "dst").and_then(|text| text.parse::<IpNetwork>().ok());
        destination.ok_or_else(|| format!("routes[{i}] has no dst"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn earlier(result: &Value) -> Earlier {
        Earlier(result.as_object().unwrap().clone())
    }

    fn joined(theirs: &Value, ours: &Value) -> Value {
        serde_json::from_slice(&earlier(theirs).with(ours.to_string().as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn ours_comes_after_theirs() {
        let theirs = json!({
            "cniVersion": "1.0.0", "interfaces": [{"name": "a"}, {"name": "net1", "sandbox": "/x"}],
            "ips": [{"address": "10.0.0.1/8", "interface": 1}], "dns": {"domain": "a"}, "x": 1
        });
        let ours = json!({
            "cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/x"}],
            "ips": [{"address": "10.16.0.5/16", "interface": 0}], "routes": [{"dst": "0.0.0.0/0"}], "dns": {}
        });
        let wanted = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "a"}, {"name": "net1", "sandbox": "/x"}, {"name": "eth0", "sandbox": "/x"}],
            "ips": [{"address": "10.0.0.1/8", "interface": 1}, {"address": "10.16.0.5/16", "interface": 2}],
            "routes": [{"dst": "0.0.0.0/0"}], "dns": {"domain": "a"}, "x": 1
        });
        assert_eq!(joined(&theirs, &ours), wanted);
        // with nothing in theirs it is ours
        let mut dns = ours.clone();
        dns["dns"] = json!({"domain": "b"});
        assert_eq!(joined(&json!({"interfaces": null, "dns": {"domain": "a"}}), &dns), dns);
    }

    #[test]
    fn what_is_no_result_of_the_version() {
        for (result, why) in [
            (
                json!({"cniVersion": "0.4.0"}),
                "its cniVersion is \"0.4.0\", expected 1.0.0",
            ),
            (json!({"cniVersion": 1}), "its cniVersion is 1, expected 1.0.0"),
            (json!({"interfaces": "eth0"}), "interfaces is no list"),
            (json!({"interfaces": [3]}), "interfaces[0] has no name"),
            (
                json!({"ips": [{"address": "10.0.0.1"}, {}]}),
                "ips[1] has no address with a prefix",
            ),
            (
                json!({"ips": [{"address": "10.0.0.1/8", "interface": "0"}]}),
                "ips[0].interface is no number",
            ),
            (json!({"routes": [{}]}), "routes[0] has no dst"),
        ] {
            let result = result.as_object().unwrap();
            assert_eq!(check(result, Version::V1_0_0).unwrap_err(), why);
        }
        check(
            json!({"interfaces": null, "x": []}).as_object().unwrap(),
            Version::V1_0_0,
        )
        .unwrap();
    }
}
