//! Results of ADD, in the layout of each version.
//!
//! The layouts are those of the reference's types (pkg/types/{020,040,100} of containernetworking/cni), and so is the
//! order of the keys: as declared there up to 0.4.0, sorted from 1.0.0 on, where the reference goes through a map.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use super::{Code, Dns, Failure, Version};

/// What ADD made.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Host side first.
    pub interfaces: Vec<Interface>,
    /// Addresses of the pod.
    pub ips: Vec<Ip>,
    /// Routes of the pod.
    pub routes: Vec<Route>,
    /// Resolver settings.
    pub dns: Dns,
    /// Print what stock prints, which has `mtu` in a 1.0.0 result already.
    pub as_stock: bool,
}

/// One end of what was made.
#[derive(Debug, Clone, Default)]
pub struct Interface {
    /// Its name; "" when another plugin makes it.
    pub name: String,
    /// Its address, or "".
    pub mac: String,
    /// 0: not told.
    pub mtu: u32,
    /// `CNI_NETNS` to the letter, or "" for the host side.
    pub sandbox: String,
    /// The device, or "".
    pub pci_id: String,
}

/// One address.
#[derive(Debug, Clone)]
pub struct Ip {
    /// With the host's bits.
    pub address: IpNetwork,
    /// Of the subnet.
    pub gateway: Option<IpAddr>,
    /// Which of the interfaces has it.
    pub interface: usize,
}

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Host bits do not matter.
    pub dst: IpNetwork,
    /// The next hop.
    pub gw: Option<IpAddr>,
}

/// The result object for stdout.
///
/// Fails when the version cannot say it: up to 0.2.0 a result without an address is none.
pub fn render(version: Version, outcome: &Outcome) -> Result<Vec<u8>, Failure> {
    let rendered = if version <= Version::V0_2_0 {
        let [ip4, ip6] = [by_family(outcome, true), by_family(outcome, false)];
        if ip4.is_none() && ip6.is_none() {
            let msg = format!("a result of version {version} needs an address, and the pod has none");
            let details = "set cniVersion in the netconf to 0.3.0 or later";
            return Err(Failure {
                version: Some(version),
                ..Failure::new(Code::Internal, msg, details)
            });
        }
        to_json(&V020 {
            version,
            ip4,
            ip6,
            dns: &outcome.dns,
        })
    } else if version <= Version::V0_4_0 {
        to_json(&V040 {
            version,
            interfaces: outcome.interfaces.iter().map(V040Interface::from).collect(),
            ips: outcome.ips.iter().map(V040Ip::from).collect(),
            routes: outcome.routes.iter().map(RouteLayout::from).collect(),
            dns: &outcome.dns,
        })
    } else {
        to_json(&V100 {
            version,
            dns: &outcome.dns,
            interfaces: outcome
                .interfaces
                .iter()
                .map(|i| V100Interface::new(i, version, outcome.as_stock))
                .collect(),
            ips: outcome.ips.iter().map(V100Ip::from).collect(),
            routes: outcome.routes.iter().map(RouteLayout::from).collect(),
        })
    };
    rendered.map_err(|error| Failure::new(Code::Internal, format!("cannot write the result as JSON: {error}"), ""))
}

/// Indented and escaped as Go does it (`json.MarshalIndent` with four spaces).
pub(super) fn to_json(object: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    object.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter))?;
    let mut json = String::from_utf8(json).map_err(serde_json::Error::custom)?;
    // these occur within strings only
    for (raw, escaped) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        if json.contains(raw) {
            json = json.replace(raw, escaped);
        }
    }
    Ok(json.into_bytes())
}

#[derive(Serialize)]
struct V020<'a> {
    #[serde(rename = "cniVersion")]
    version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<V020Ip>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<V020Ip>,
    dns: &'a Dns,
}

#[derive(Serialize)]
struct V020Ip {
    #[serde(serialize_with = "as_text")]
    ip: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteLayout>,
}

/// The first address of a family, which is all that these versions have room for, and the family's routes.
fn by_family(outcome: &Outcome, v4: bool) -> Option<V020Ip> {
    let ip = outcome.ips.iter().find(|ip| ip.address.is_ipv4() == v4)?;
    let routes = outcome.routes.iter().filter(|route| route.dst.is_ipv4() == v4);
    Some(V020Ip {
        ip: ip.address,
        gateway: ip.gateway,
        routes: routes.map(RouteLayout::from).collect(),
    })
}

#[derive(Serialize)]
struct V040<'a> {
    #[serde(rename = "cniVersion")]
    version: Version,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<V040Interface<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<V040Ip>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteLayout>,
    dns: &'a Dns,
}

#[derive(Serialize)]
struct V040Interface<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
}

impl<'a> From<&'a Interface> for V040Interface<'a> {
    fn from(interface: &'a Interface) -> Self {
        Self {
            name: &interface.name,
            mac: &interface.mac,
            sandbox: &interface.sandbox,
        }
    }
}

#[derive(Serialize)]
struct V040Ip {
    version: &'static str,
    interface: usize,
    #[serde(serialize_with = "as_text")]
    address: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

impl From<&Ip> for V040Ip {
    fn from(ip: &Ip) -> Self {
        let version = if ip.address.is_ipv4() { "4" } else { "6" };
        Self {
            version,
            interface: ip.interface,
            address: ip.address,
            gateway: ip.gateway,
        }
    }
}

#[derive(Serialize)]
struct V100<'a> {
    #[serde(rename = "cniVersion")]
    version: Version,
    #[serde(skip_serializing_if = "Dns::is_empty", serialize_with = "sorted")]
    dns: &'a Dns,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<V100Interface<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<V100Ip>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteLayout>,
}

#[derive(Serialize)]
struct V100Interface<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: u32,
    name: &'a str,
    #[serde(rename = "pciID", skip_serializing_if = "str::is_empty")]
    pci_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
}

impl<'a> V100Interface<'a> {
    /// 1.1.0 brought `mtu` and `pciID`; the reference's types have them for 1.0.0 as well.
    fn new(interface: &'a Interface, version: Version, as_stock: bool) -> Self {
        let all = as_stock || version >= Version::V1_1_0;
        Self {
            mac: &interface.mac,
            mtu: if all { interface.mtu } else { 0 },
            name: &interface.name,
            pci_id: if all { &interface.pci_id } else { "" },
            sandbox: &interface.sandbox,
        }
    }
}

#[derive(Serialize)]
struct V100Ip {
    #[serde(serialize_with = "as_text")]
    address: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    interface: usize,
}

impl From<&Ip> for V100Ip {
    fn from(ip: &Ip) -> Self {
        Self {
            address: ip.address,
            gateway: ip.gateway,
            interface: ip.interface,
        }
    }
}

#[derive(Serialize)]
struct RouteLayout {
    dst: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
}

impl From<&Route> for RouteLayout {
    fn from(route: &Route) -> Self {
        Self {
            dst: format!("{}/{}", route.dst.network(), route.dst.prefix()),
            gw: route.gw,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn as_text<S: Serializer>(text: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}

/// With sorted keys: that is how `serde_json` keeps a map.
fn sorted<S: Serializer>(dns: &Dns, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::to_value(dns)
        .map_err(S::Error::custom)?
        .serialize(serializer)
}

#[cfg(test)]
#[path = "result_tests.rs"]
mod tests;
