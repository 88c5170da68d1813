//! The result of an earlier ADD, as CHECK gets it back. libcni converts it to the netconf's version, and plugins after us may
//! have changed it.

use ipnetwork::IpNetwork;
use serde::Deserialize;

use super::{Call, Code, Failure};
use crate::text::cut;
use crate::types::Mac;

/// Such an error has the whole text that stands where something else should.
const MAX_REASON: usize = 200;

/// What an earlier ADD told about the pod's interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Its MAC, if one was told.
    pub mac: Option<Mac>,
    /// Its MTU; 0: not told (it is new in 1.1.0).
    pub mtu: u32,
    /// The device; "": not told (it is new in 1.1.0).
    pub pci_id: String,
    /// Its addresses.
    pub addresses: Vec<IpNetwork>,
}

/// The parts of all layouts from 0.3.0 on that are of use here; `ips[].version`, which ended with 0.4.0, is not.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Layout {
    interfaces: Option<Vec<Interface>>,
    ips: Option<Vec<Ip>>,
}

#[derive(Deserialize)]
struct Interface {
    name: String,
    mac: Option<String>,
    mtu: Option<u32>,
    sandbox: Option<String>,
    #[serde(rename = "pciID")]
    pci_id: Option<String>,
}

#[derive(Deserialize)]
struct Ip {
    address: String,
    interface: Option<i64>,
}

impl Told {
    /// Reads the call's `prevResult`.
    pub fn by(call: &Call) -> Result<Self, Failure> {
        let invalid = |msg: String| {
            let details = "prevResult must be what ADD gave back for this container and interface";
            Err(Failure::new(Code::InvalidConfig, msg, details))
        };
        let Some(json) = &call.conf.prev_result else {
            return invalid("required prevResult missing".to_owned());
        };
        let layout: Layout = serde_json::from_value(json.clone()).map_err(|why| {
            Failure::new(
                Code::Decode,
                format!("could not parse prevResult: {}", cut(&why.to_string(), MAX_REASON)),
                "",
            )
        })?;
        let interfaces = layout.interfaces.unwrap_or_default();
        let netns = call.netns.as_ref().map(|path| path.display().to_string());
        let of_pod = |(_, interface): &(usize, &Interface)| {
            interface.name == call.ifname.as_str() && interface.sandbox.as_ref().is_some_and(|path| !path.is_empty())
        };
        let candidates = || interfaces.iter().enumerate().filter(of_pod);
        // a thick Multus may see the namespace under another path than its caller
        let own = candidates().find(|(_, interface)| interface.sandbox == netns);
        let Some((index, interface)) = own.or_else(|| candidates().next()) else {
            return invalid(format!("prevResult has no interface {} with a sandbox", call.ifname));
        };
        let text = interface.mac.as_deref().unwrap_or_default();
        let mac = match text {
            "" => None,
            text => match text.parse() {
                Ok(mac) => Some(mac),
                Err(why) => return invalid(format!("prevResult: {why}")),
            },
        };
        let mut addresses = Vec::new();
        for ip in layout.ips.unwrap_or_default() {
            // one without an index is of the only interface that there is
            if ip.interface.is_some_and(|of| usize::try_from(of) != Ok(index)) {
                continue;
            }
            match ip.address.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => return invalid(format!("prevResult: {:?} is no address with a prefix", ip.address)),
            }
        }
        Ok(Self {
            mac,
            mtu: interface.mtu.unwrap_or_default(),
            pci_id: interface.pci_id.clone().unwrap_or_default(),
            addresses,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cni::{self, Environment, Invocation};

    fn told(version: &str, prev_result: &Value) -> Result<Told, Failure> {
        let env = Environment {
            command: Some("CHECK".into()),
            container_id: Some("0123456789abcdef".into()),
            netns: Some("/run/netns/a".into()),
            ifname: Some("net1".into()),
            path: Some("/opt/cni/bin".into()),
            ..Environment::default()
        };
        let conf = json!({"cniVersion": version, "name": "n", "type": "kube-ovn", "prevResult": prev_result});
        match cni::parse(&env, conf.to_string().as_bytes(), "kube-ovn").unwrap() {
            Invocation::Check(call) => Told::by(&call),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_layout() {
        let wanted = Told {
            mac: Some("0a:58:0a:10:00:05".parse().unwrap()),
            mtu: 0,
            pci_id: String::new(),
            addresses: vec!["10.16.0.5/16".parse().unwrap(), "fd00::5/64".parse().unwrap()],
        };
        let v040 = json!({
            "cniVersion": "0.4.0", "dns": {}, "routes": [{"dst": "0.0.0.0/0", "gw": "10.16.0.1"}],
            "interfaces": [{"name": "01234567_net1_h", "mac": "02:00:00:00:00:01"},
                {"name": "net1", "mac": "0A:58:0A:10:00:05", "sandbox": "/run/netns/a"}],
            "ips": [{"version": "4", "interface": 1, "address": "10.16.0.5/16", "gateway": "10.16.0.1"},
                {"version": "4", "interface": 0, "address": "10.16.0.9/16"},
                {"version": "6", "interface": 1, "address": "fd00::5/64"}],
        });
        assert_eq!(told("0.4.0", &v040), Ok(wanted.clone()));
        assert_eq!(told("1.0.0", &v040), Ok(wanted.clone()), "a result of an older version");
        let v110 = json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "net1", "mac": "02:00:00:00:00:09", "sandbox": "/run/netns/other"},
                {"name": "net1", "mac": "0a:58:0a:10:00:05", "mtu": 1400, "sandbox": "/run/netns/a", "pciID": "0000:84:00.3"}],
            "ips": [{"address": "10.16.0.5/16"}, {"address": "fd00::5/64", "interface": 1}],
        });
        let more = Told {
            mtu: 1400,
            pci_id: "0000:84:00.3".into(),
            ..wanted
        };
        assert_eq!(told("1.1.0", &v110), Ok(more));
        // the namespace under a path of the caller's
        let elsewhere = json!({"interfaces": [{"name": "net1", "sandbox": "/host/run/netns/a"}], "ips": null});
        assert_eq!(told("1.0.0", &elsewhere), Ok(Told::default()));
    }

    #[test]
    fn results_that_say_nothing_about_the_interface() {
        let interface = |rest: Value| {
            let mut interface = json!({"name": "net1", "sandbox": "/run/netns/a"});
            interface
                .as_object_mut()
                .unwrap()
                .append(&mut rest.as_object().unwrap().clone());
            json!({"interfaces": [interface], "ips": []})
        };
        for (prev_result, code, words) in [
            (Value::Null, Code::InvalidConfig, "required prevResult missing"),
            (json!({}), Code::InvalidConfig, "no interface net1 with a sandbox"),
            (
                json!({"interfaces": [{"name": "net1"}]}),
                Code::InvalidConfig,
                "no interface net1",
            ),
            (
                json!({"interfaces": [{"name": "eth0", "sandbox": "/x"}]}),
                Code::InvalidConfig,
                "no interface net1",
            ),
            (json!({"interfaces": {}}), Code::Decode, "could not parse prevResult"),
            (
                json!({"interfaces": "x".repeat(5000)}),
                Code::Decode,
                "could not parse prevResult",
            ),
            (
                interface(json!({"mtu": "1400"})),
                Code::Decode,
                "could not parse prevResult",
            ),
            (
                interface(json!({"mac": "02"})),
                Code::InvalidConfig,
                "is not a MAC address",
            ),
            (
                json!({"interfaces": [{"name": "net1", "sandbox": "/x"}], "ips": [{"address": "10.0.0.1/33"}]}),
                Code::InvalidConfig,
                "\"10.0.0.1/33\" is no address",
            ),
        ] {
            let failure = told("1.0.0", &prev_result).unwrap_err();
            assert_eq!(failure.code, code, "{prev_result}: {failure}");
            assert!(
                failure.msg.contains(words) && failure.msg.len() < 400,
                "{prev_result}: {failure}"
            );
        }
    }
}
