//! The JSON of requests and replies, read and written as Go's encoding/json does (pkg/request/cniserver.go).

use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

#[derive(Default, Clone)]
pub(crate) struct CniRequest {
    pub(crate) cni_type: String,
    pub(crate) pod_name: String,
    pub(crate) pod_namespace: String,
    pub(crate) container_id: String,
    pub(crate) net_ns: String,
    pub(crate) if_name: String,
    pub(crate) provider: String,
    pub(crate) routes: Vec<Route>,
    pub(crate) vf_driver: String,
    pub(crate) device_id: String,
    vhost_user_socket_volume_name: String,
    vhost_user_socket_name: String,
    vhost_user_socket_consumption: String,
    /// Our extension; read always, honoured only with `--vf-plumbing cni`.
    pub(crate) vf_plumbing: String,
}

#[derive(Default, Clone, Serialize, Deserialize)]
pub(crate) struct Route {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) dst: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) gw: String,
}

#[derive(Serialize, Clone)]
pub(crate) struct IpConfig {
    pub(crate) protocol: &'static str,
    pub(crate) ip: String,
    pub(crate) cidr: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) gateway: String,
}

/// Never filled by the daemon, so always `{}`.
#[derive(Serialize, Default, Clone)]
pub(crate) struct Dns {}

/// `None` is Go's nil slice: `null`.
#[derive(Serialize, Default, Clone)]
pub(crate) struct CniResponse {
    pub(crate) ips: Option<Vec<IpConfig>>,
    pub(crate) mac_address: String,
    pub(crate) routes: Option<Vec<Route>>,
    pub(crate) mtu: u32,
    pub(crate) nicname: String,
    pub(crate) dns: Dns,
    pub(crate) error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vf_plumbing: Option<&'static str>,
}

/// What daemons up to v1.15 answer.
#[derive(Serialize, Default)]
pub(crate) struct OldResponse {
    pub(crate) protocol: &'static str,
    pub(crate) address: String,
    pub(crate) mac_address: String,
    pub(crate) cidr: String,
    pub(crate) gateway: String,
    pub(crate) mtu: u32,
    pub(crate) nicname: String,
    pub(crate) routes: Option<Vec<Value>>,
    pub(crate) dns: Dns,
    pub(crate) error: String,
}

/// Routes of an old reply: in the oldest, both keys are always there.
pub(crate) fn old_routes(routes: Vec<Route>, full: bool) -> Vec<Value> {
    let value = |Route { dst, gw }: Route| {
        if full {
            json!({"dst": dst, "gw": gw})
        } else {
            serde_json::to_value(Route { dst, gw }).unwrap_or_default()
        }
    };
    routes.into_iter().map(value).collect()
}

/// `json.MarshalIndent(value, "", " ")`, HTML characters escaped as Go does.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    // writing plain structs to memory cannot fail
    let _ = value.serialize(&mut serializer);
    String::from_utf8_lossy(&text)
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .into_bytes()
}

/// The first JSON value of the body; what follows it is not looked at. The error is worded as Go words it, except for
/// the position and character of a syntax error in the middle.
pub(crate) fn decode(body: &[u8]) -> Result<CniRequest, String> {
    let top = match serde_json::Deserializer::from_slice(body).into_iter::<Top>().next() {
        None => return Err("EOF".to_owned()),
        Some(Err(error)) if error.is_eof() => return Err("unexpected EOF".to_owned()),
        Some(Err(_)) => {
            let first = String::from_utf8_lossy(body).trim_start().chars().next().unwrap_or(' ');
            let wanted = if first == '{' {
                "in JSON object"
            } else {
                "looking for beginning of value"
            };
            return Err(format!("invalid character '{first}' {wanted}"));
        }
        Some(Ok(top)) => top,
    };
    let mut request = CniRequest::default();
    let pairs = match top {
        Top::Object(pairs) => pairs,
        Top::Null => return Ok(request),
        Top::Other(kind) => {
            return Err(format!(
                "json: cannot unmarshal {kind} into Go value of type request.CniRequest"
            ));
        }
    };
    for (key, value) in pairs {
        // names match without case, unknown ones are skipped, a later duplicate wins, null changes nothing
        let key = key.to_lowercase();
        if value.is_null() {
            continue;
        }
        match key.as_str() {
            "routes" => request.routes = routes(&value)?,
            "dns" if !value.is_object() => return Err(wrong_type(&value, "dns", "types.DNS")),
            _ => {
                if let Some((field, name)) = request.text_field(&key) {
                    *field = match value {
                        Value::String(text) => text,
                        other => return Err(wrong_type(&other, name, "string")),
                    };
                }
            }
        }
    }
    Ok(request)
}

impl CniRequest {
    fn text_field(&mut self, key: &str) -> Option<(&mut String, &'static str)> {
        Some(match key {
            "cni_type" => (&mut self.cni_type, "cni_type"),
            "pod_name" => (&mut self.pod_name, "pod_name"),
            "pod_namespace" => (&mut self.pod_namespace, "pod_namespace"),
            "container_id" => (&mut self.container_id, "container_id"),
            "net_ns" => (&mut self.net_ns, "net_ns"),
            "if_name" => (&mut self.if_name, "if_name"),
            "provider" => (&mut self.provider, "provider"),
            "vf_driver" => (&mut self.vf_driver, "vf_driver"),
            "deviceid" => (&mut self.device_id, "deviceID"),
            "vhost_user_socket_volume_name" => {
                (&mut self.vhost_user_socket_volume_name, "vhost_user_socket_volume_name")
            }
            "vhost_user_socket_name" => (&mut self.vhost_user_socket_name, "vhost_user_socket_name"),
            "vhost_user_socket_consumption" => {
                (&mut self.vhost_user_socket_consumption, "vhost_user_socket_consumption")
            }
            "vf_plumbing" => (&mut self.vf_plumbing, "vf_plumbing"),
            _ => return None,
        })
    }

    pub(crate) fn wants_dpdk(&self) -> bool {
        self.device_id.is_empty()
            && (!self.vhost_user_socket_volume_name.is_empty() || self.vhost_user_socket_consumption == "kubevirt")
    }
}

fn routes(value: &Value) -> Result<Vec<Route>, String> {
    let items = value
        .as_array()
        .ok_or_else(|| wrong_type(value, "routes", "[]request.Route"))?;
    items
        .iter()
        .map(|item| Route::deserialize(item).map_err(|_| wrong_type(item, "routes", "request.Route")))
        .collect()
}

fn wrong_type(value: &Value, field: &str, wanted: &str) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {kind} into Go struct field CniRequest.{field} of type {wanted}")
}

/// A JSON value whose object keeps order and duplicates of its keys, which `serde_json::Map` does not.
enum Top {
    Object(Vec<(String, Value)>),
    Null,
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Top {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TopVisitor;
        impl<'de> Visitor<'de> for TopVisitor {
            type Value = Top;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a JSON value")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Top, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Top::Object(pairs))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Top, A::Error> {
                while seq.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(Top::Other("array"))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Top, E> {
                Ok(Top::Null)
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Top, E> {
                Ok(Top::Other("bool"))
            }
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Top, E> {
                Ok(Top::Other("string"))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Top, E> {
                Ok(Top::Other("number"))
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Top, E> {
                Ok(Top::Other("number"))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Top, E> {
                Ok(Top::Other("number"))
            }
        }
        deserializer.deserialize_any(TopVisitor)
    }
}
