//! The network configuration on stdin. The keys are stock's (kube-ovn's pkg/netconf/netconf.go), those that Multus
//! adds, and `device`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use super::keys::Keys;
use super::{Code, Failure, Version};
use crate::types::{ContainerId, IfName};

/// The `type` under which the stock plugin is installed.
const STOCK_TYPE: &str = "kube-ovn";
/// The provider of kube-ovn's default network.
const DEFAULT_PROVIDER: &str = "ovn";
/// `sun_path` in `struct sockaddr_un` has 108 bytes, one of them for the final NUL.
const MAX_SOCKET_PATH: usize = 107;

/// What the netconf asks of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Give the pod an interface.
    Interface,
    /// Another plugin does that, and runs us for the addresses.
    Ipam,
}

/// A network configuration.
#[derive(Debug, Clone)]
pub struct NetConf {
    /// The version that the result is in.
    pub version: Version,
    /// The network's name.
    pub name: String,
    /// `type` as it stands there.
    pub cni_type: String,
    /// What the netconf asks of us.
    pub mode: Mode,
    /// The daemon's socket; see [`NetConf::socket`].
    pub server_socket: Option<PathBuf>,
    /// Never empty.
    pub provider: String,
    /// Routes for the pod.
    pub routes: Vec<ConfRoute>,
    /// Resolver settings, for the daemon.
    pub dns: Dns,
    /// Only `vfio-pci` means something.
    pub vf_driver: String,
    /// For pods with DPDK.
    pub vhost_user_socket_volume_name: String,
    /// For pods with DPDK.
    pub vhost_user_socket_name: String,
    /// For pods with DPDK.
    pub vhost_user_socket_consumption: String,
    /// `"device": "required"`: an ADD without a device ID is an error.
    pub device_required: bool,
    /// `runtimeConfig.CNIDeviceInfoFile`: as it stands there, and a netconf can have a `runtimeConfig` of its own.
    pub device_info_file: Option<String>,
    /// The result of the plugins before us (ADD), or of the whole ADD (CHECK, DEL).
    pub prev_result: Option<serde_json::Value>,
    /// See [`NetConf::valid_attachments`].
    valid_attachments: Result<Option<Vec<(ContainerId, IfName)>>, Failure>,
    /// Key and value of each device ID that is there, most trusted first; or the failure to read one.
    device_ids: Result<Vec<(&'static str, String)>, Failure>,
}

impl NetConf {
    pub(super) fn read(keys: &Keys, version: Version, name: String, own_name: &str) -> Result<Self, Failure> {
        let cni_type = keys.string("type")?;
        let ipam = match keys.object("ipam")? {
            Some(ipam) if cni_type != STOCK_TYPE && cni_type != own_name => Some(ipam),
            _ => None,
        };
        let mode = if ipam.is_some() { Mode::Ipam } else { Mode::Interface };
        // In IPAM mode these are ipam's, even where they are empty (stock's loadNetConf), and the interface's device
        // is the other plugin's business: host-device, for one, has a `device` of its own.
        let ours = ipam.as_ref().unwrap_or(keys);
        let server_socket = ours.string("server_socket")?;
        let provider = ours.string("provider")?;
        Ok(Self {
            version,
            name,
            cni_type,
            mode,
            server_socket: Some(server_socket).filter(|path| !path.is_empty()).map(PathBuf::from),
            provider: if provider.is_empty() {
                DEFAULT_PROVIDER.to_owned()
            } else {
                provider
            },
            routes: routes(ours)?,
            dns: dns(keys)?,
            vf_driver: keys.string("vf_driver")?,
            vhost_user_socket_volume_name: keys.string("vhost_user_socket_volume_name")?,
            vhost_user_socket_name: keys.string("vhost_user_socket_name")?,
            vhost_user_socket_consumption: keys.string("vhost_user_socket_consumption")?,
            device_required: mode == Mode::Interface && device_required(keys)?,
            device_info_file: match mode {
                Mode::Interface => device_info_file(keys),
                Mode::Ipam => None,
            },
            prev_result: keys.raw_object("prevResult")?,
            valid_attachments: valid_attachments(keys),
            device_ids: match mode {
                Mode::Interface => device_ids(keys),
                Mode::Ipam => Ok(Vec::new()),
            },
        })
    }

    /// The device that the pod got, in the words of the caller: a PCI address, or the name of an auxiliary device.
    ///
    /// Multus writes it to up to three places; which of them depends on the delegate and on its version. Two that
    /// disagree are an error: one of them is another pod's.
    pub fn device_id(&self) -> Result<Option<&str>, Failure> {
        let ids = self.device_ids.as_ref().map_err(Clone::clone)?;
        let Some((_, first)) = ids.first() else {
            return Ok(None);
        };
        if ids.iter().all(|(_, id)| id.eq_ignore_ascii_case(first)) {
            return Ok(Some(first));
        }
        let all: Vec<String> = ids.iter().map(|(key, id)| format!("{key} is {id:?}")).collect();
        Err(Failure::new(
            Code::InvalidConfig,
            format!("the network config names different devices: {}", all.join(", ")),
            "Multus sets them to one device: remove those that the NetworkAttachmentDefinition sets itself",
        ))
    }

    /// GC: the attachments that the caller knows to be alive; `None` when it does not say.
    pub fn valid_attachments(&self) -> Result<Option<Vec<(ContainerId, IfName)>>, Failure> {
        self.valid_attachments.clone()
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> Result<&Path, Failure> {
        let invalid = |msg: String| {
            Err(Failure::new(
                Code::InvalidConfig,
                msg,
                "the key server_socket in the netconf",
            ))
        };
        let Some(path) = &self.server_socket else {
            return invalid("server_socket is required".to_owned());
        };
        let bytes = path.as_os_str().as_encoded_bytes();
        if !path.is_absolute() {
            invalid(format!(
                "server_socket must be an absolute path, found {}",
                path.display()
            ))
        } else if bytes.contains(&0) {
            invalid("server_socket must not contain a NUL".to_owned())
        } else if bytes.len() > MAX_SOCKET_PATH {
            invalid(format!(
                "server_socket must be at most {MAX_SOCKET_PATH} bytes long, found {}",
                bytes.len()
            ))
        } else {
            Ok(path)
        }
    }
}

/// The network's name, in a form that can be part of a file name.
pub(super) fn network_name(keys: &Keys) -> Result<String, Failure> {
    let name = keys.string("name").map_err(|failure| Failure {
        msg: format!("error unmarshall network config: {}", failure.msg),
        ..failure
    })?;
    if name.is_empty() {
        return Err(Failure::new(Code::InvalidConfig, "missing network name", ""));
    }
    // the specification gives both the same alphabet
    if name.parse::<ContainerId>().is_err() {
        return Err(Failure::new(
            Code::InvalidConfig,
            "invalid characters found in network name",
            name,
        ));
    }
    Ok(name)
}

fn device_required(keys: &Keys) -> Result<bool, Failure> {
    match keys.string("device")?.as_str() {
        "" => Ok(false),
        "required" => Ok(true),
        _ if keys.is_lenient() => Ok(false),
        other => {
            let msg = format!("\"device\" in the network config must be \"required\" or absent, found {other:?}");
            Err(Failure::new(Code::InvalidConfig, msg, ""))
        }
    }
}

fn device_ids(keys: &Keys) -> Result<Vec<(&'static str, String)>, Failure> {
    let runtime = keys.object("runtimeConfig")?.unwrap_or_default();
    let ids = [
        ("runtimeConfig.deviceID", runtime.string("deviceID")?),
        ("deviceID", keys.string("deviceID")?),
        ("pciBusID", keys.string("pciBusID")?),
    ];
    Ok(ids.into_iter().filter(|(_, id)| !id.is_empty()).collect())
}

/// The key of the specification's text, or the one that its release 1.1.0 has; libcni from 1.2.3 on sends both
/// (`pkg/types/types.go`, `libcni/api.go` of containernetworking/cni). What is no container ID or no interface name names no
/// attachment of ours.
fn valid_attachments(keys: &Keys) -> Result<Option<Vec<(ContainerId, IfName)>>, Failure> {
    let names = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let Some(name) = names.into_iter().find(|name| keys.has(name)) else {
        return Ok(None);
    };
    let mut valid = Vec::new();
    for item in keys.objects(name)? {
        let (container, ifname) = (item.string("containerID")?, item.string("ifname")?);
        if let (Ok(container), Ok(ifname)) = (container.parse(), ifname.parse()) {
            valid.push((container, ifname));
        }
    }
    Ok(Some(valid))
}

/// Nothing depends on it, so it may have any type.
fn device_info_file(keys: &Keys) -> Option<String> {
    let path = keys.object("runtimeConfig").ok()??.string("CNIDeviceInfoFile").ok()?;
    Some(path).filter(|path| !path.is_empty())
}

fn routes(keys: &Keys) -> Result<Vec<ConfRoute>, Failure> {
    let routes = keys.objects("routes")?;
    routes
        .iter()
        .map(|route| {
            Ok(ConfRoute {
                dst: route.string("dst")?,
                gw: route.string("gw")?,
            })
        })
        .collect()
}

fn dns(keys: &Keys) -> Result<Dns, Failure> {
    let dns = keys.object("dns")?.unwrap_or_default();
    Ok(Dns {
        nameservers: dns.strings("nameservers")?,
        domain: dns.string("domain")?,
        search: dns.strings("search")?,
        options: dns.strings("options")?,
    })
}

/// A route, as netconf and daemon write it: "" is "not given".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfRoute {
    /// A CIDR; "" for the default route.
    #[serde(deserialize_with = "null_is_nothing")]
    pub dst: String,
    /// The next hop.
    #[serde(deserialize_with = "null_is_nothing")]
    pub gw: String,
}

/// Settings for the pod's resolver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses.
    #[serde(deserialize_with = "null_is_nothing", skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(deserialize_with = "null_is_nothing", skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to look in.
    #[serde(deserialize_with = "null_is_nothing", skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of resolv.conf.
    #[serde(deserialize_with = "null_is_nothing", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Go writes an unset slice as `null`, and reads `null` as "leave it".
fn null_is_nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
#[path = "netconf_tests.rs"]
mod tests;
