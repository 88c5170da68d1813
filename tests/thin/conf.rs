//! The netconf.

use serde_json::Value;

use crate::{Failure, VERSIONS};

pub(crate) struct Conf {
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) socket: String,
    pub(crate) provider: String,
    pub(crate) device: String,
    pub(crate) routes: Value,
    pub(crate) dns: Value,
    pub(crate) vf_driver: Value,
}

impl Conf {
    pub(crate) fn parse(stdin: &[u8]) -> Result<Self, Failure> {
        let conf: Value = serde_json::from_slice(stdin)
            .map_err(|error| Failure(6, format!("error unmarshall network config: {error}"), String::new()))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if text(&conf["name"]).is_empty() {
            return Err(Failure(7, "missing network name".to_owned(), String::new()));
        }
        let version = conf["cniVersion"]
            .as_str()
            .filter(|version| !version.is_empty())
            .unwrap_or("0.1.0");
        if !VERSIONS.contains(&version) {
            let details = format!("config is {version:?}, plugin supports {VERSIONS:?}");
            return Err(Failure(1, "incompatible CNI versions".to_owned(), details));
        }
        let kind = text(&conf["type"]);
        // as the IPAM plugin of another plugin, all of ours is in its block
        let ours = if kind != "kube-ovn" && conf["ipam"].is_object() {
            &conf["ipam"]
        } else {
            &conf
        };
        let socket = text(&ours["server_socket"]);
        if socket.is_empty() {
            let details = format!("server_socket is required in cni.conf, {conf}");
            return Err(Failure(7, "Invalid Configuration".to_owned(), details));
        }
        let provider = Some(text(&ours["provider"])).filter(|provider| !provider.is_empty());
        Ok(Self {
            version: version.to_owned(),
            socket,
            provider: provider.unwrap_or_else(|| "ovn".to_owned()),
            device: text(&conf["deviceID"]),
            routes: ours["routes"].clone(),
            dns: if conf["dns"].is_object() {
                conf["dns"].clone()
            } else {
                serde_json::json!({})
            },
            vf_driver: text(&conf["vf_driver"]).into(),
            kind,
        })
    }
}
