//! The reply to ADD, in both of its shapes: up to v1.15 `protocol/address/cidr/gateway` with comma lists for dual
//! stack, from v1.16 on `ips[]` (`CniResponse` of pkg/request/cniserver.go at either tag).

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Deserialize;

use crate::types::Mac;

/// More than any pod has; a reply beyond it is not believed.
const MAX_IPS: usize = 64;
const MAX_ROUTES: usize = 4096;

/// What the daemon allocated, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The MAC as the daemon wrote it; empty in IPAM mode.
    pub mac_text: String,
    /// The same, parsed.
    pub mac: Option<Mac>,
    /// The interface that it configured in the pod; empty when it configured none.
    pub nic_name: String,
    /// MTU in bytes; 0 when the daemon does not tell (up to v1.12).
    pub mtu: u32,
    /// The addresses; none when only a MAC was allocated.
    pub ips: Vec<ReplyIp>,
    /// The routes.
    pub routes: Vec<ReplyRoute>,
    /// Never filled by any version so far; kept for the result.
    pub dns: serde_json::Value,
    /// The daemon left the VF to us (docs/attach-protocol.md).
    pub vf_plumbing_by_cni: bool,
}

/// An address of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyIp {
    /// Address with the prefix length of its subnet.
    pub address: IpNetwork,
    /// The gateway, only when this is the pod's default route.
    pub gateway: Option<IpAddr>,
}

/// A route of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyRoute {
    /// Destination; a missing one was completed to the default route of the gateway's family.
    pub destination: IpNetwork,
    /// Gateway.
    pub gateway: Option<IpAddr>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Raw {
    ips: Option<Vec<RawIp>>,
    address: Option<String>,
    cidr: Option<String>,
    gateway: Option<String>,
    mac_address: Option<String>,
    nicname: Option<String>,
    mtu: Option<i64>,
    routes: Option<Vec<RawRoute>>,
    dns: serde_json::Value,
    error: Option<String>,
    vf_plumbing: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawIp {
    ip: String,
    cidr: String,
    gateway: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawRoute {
    dst: Option<String>,
    gw: Option<String>,
}

impl Reply {
    /// The pod's routes: those of the reply, or else a default route for each gateway (as cmd/cni/cni.go does).
    #[must_use]
    pub fn all_routes(&self) -> Vec<(IpNetwork, Option<IpAddr>)> {
        if self.routes.is_empty() {
            let defaults = self.ips.iter().filter_map(|ip| ip.gateway);
            return defaults
                .map(|gateway| (default_route(gateway.is_ipv4()), Some(gateway)))
                .collect();
        }
        self.routes
            .iter()
            .map(|route| (route.destination, route.gateway))
            .collect()
    }

    /// Reads the body of a 200; the error ends the sentence "answered ADD with 200, but …".
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        if body.iter().all(u8::is_ascii_whitespace) {
            // the daemon returns without writing when the U2O address is missing and when a mirror fails
            return Err("the body is empty: its log (kube-ovn-cni) has the cause".to_owned());
        }
        let raw: Raw = serde_json::from_slice::<serde_json::Map<_, _>>(body)
            .and_then(|object| serde_json::from_value(object.into()))
            .map_err(|e| format!("the body is no reply of its API: {e}"))?;
        if let Some(error) = raw.error.as_deref().filter(|error| !error.is_empty()) {
            return Err(format!("with an error: {error}"));
        }
        let mac_text = raw.mac_address.unwrap_or_default();
        let mac = match mac_text.as_str() {
            "" => None,
            text => Some(
                text.parse::<Mac>()
                    .ok()
                    .filter(|mac| mac.is_unicast())
                    .ok_or_else(|| format!("mac_address {text:?} is no address that an interface can have"))?,
            ),
        };
        let mtu = match raw.mtu.unwrap_or(0) {
            0 => 0,
            // 68 is the least that IPv4 works with (RFC 791), 65535 the most that Linux lets an Ethernet device have
            mtu @ 68..=65535 => u32::try_from(mtu).unwrap_or(0),
            mtu => return Err(format!("mtu {mtu} is not between 68 and 65535")),
        };
        let ips = match raw.ips {
            Some(ips) if !ips.is_empty() => new_shape(&ips)?,
            _ => old_shape(
                &raw.address.unwrap_or_default(),
                &raw.cidr.unwrap_or_default(),
                raw.gateway.as_deref(),
            )?,
        };
        let routes = raw.routes.unwrap_or_default();
        if ips.len() > MAX_IPS || routes.len() > MAX_ROUTES {
            return Err(format!("it has {} addresses and {} routes", ips.len(), routes.len()));
        }
        Ok(Self {
            mac_text,
            mac,
            nic_name: raw.nicname.unwrap_or_default(),
            mtu,
            ips,
            routes: routes.iter().map(route).collect::<Result<_, _>>()?,
            dns: raw.dns,
            vf_plumbing_by_cni: raw.vf_plumbing.as_deref() == Some("cni"),
        })
    }
}

fn new_shape(ips: &[RawIp]) -> Result<Vec<ReplyIp>, String> {
    ips.iter().map(|raw| ip(&raw.ip, &raw.cidr, &raw.gateway)).collect()
}

fn old_shape(addresses: &str, cidrs: &str, gateways: Option<&str>) -> Result<Vec<ReplyIp>, String> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let gateways: Vec<&str> = gateways
        .unwrap_or_default()
        .split(',')
        .filter(|text| !text.is_empty())
        .collect();
    let cidrs: Vec<&str> = cidrs.split(',').collect();
    addresses
        .split(',')
        .map(|address| {
            let same_family = |text: &&&str| text.contains(':') == address.contains(':');
            let cidr = cidrs.iter().find(same_family).copied().unwrap_or_default();
            let gateway = gateways.iter().find(same_family).copied().unwrap_or_default();
            ip(address, cidr, gateway)
        })
        .collect()
}

fn ip(address: &str, cidr: &str, gateway: &str) -> Result<ReplyIp, String> {
    let parsed: IpAddr = address
        .parse()
        .map_err(|_| format!("ip {address:?} is no IP address"))?;
    let subnet: IpNetwork = Some(cidr)
        .filter(|cidr| cidr.contains('/'))
        .and_then(|cidr| cidr.parse().ok())
        .ok_or_else(|| format!("cidr {cidr:?} of ip {address} is no subnet"))?;
    let address = IpNetwork::new(parsed, subnet.prefix())
        .ok()
        .filter(|_| parsed.is_ipv4() == subnet.is_ipv4())
        .ok_or_else(|| format!("cidr {cidr} is not of the family of ip {parsed}"))?;
    let gateway = match gateway {
        "" => None,
        text => Some(
            text.parse()
                .ok()
                .filter(|gateway: &IpAddr| gateway.is_ipv4() == parsed.is_ipv4())
                .ok_or_else(|| format!("gateway {text:?} of ip {parsed} is no address of its family"))?,
        ),
    };
    Ok(ReplyIp { address, gateway })
}

/// The default route of a family.
fn default_route(v4: bool) -> IpNetwork {
    let zero = if v4 {
        IpAddr::from([0; 4])
    } else {
        IpAddr::from([0; 16])
    };
    // a prefix length of 0 fits every address, so the fallback is never taken
    IpNetwork::new(zero, 0).unwrap_or_else(|_| zero.into())
}

fn route(raw: &RawRoute) -> Result<ReplyRoute, String> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (destination, gateway) = (text(&raw.dst), text(&raw.gw));
    let gateway: Option<IpAddr> = match gateway.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| format!("gw {text:?} of a route is no IP address"))?,
        ),
    };
    let destination = match destination.as_str() {
        // the netlink library of the daemon writes a default route without a destination
        "" => default_route(gateway.is_none_or(|gateway| gateway.is_ipv4())),
        text => text
            .parse()
            .map_err(|_| format!("dst {text:?} of a route is no network"))?,
    };
    Ok(ReplyRoute { destination, gateway })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(reply: &Reply) -> Vec<String> {
        reply
            .ips
            .iter()
            .map(|ip| format!("{} {:?}", ip.address, ip.gateway.map(|g| g.to_string())))
            .collect()
    }

    #[test]
    fn shape_of_1_16() {
        let reply = Reply::parse(
            br#"{"ips":[{"protocol":"IPv4","ip":"10.16.0.5","cidr":"10.16.0.0/16","gateway":"10.16.0.1"},
                {"protocol":"IPv6","ip":"fd00::5","cidr":"fd00::/112"}],"mac_address":"00:00:00:AA:BB:CC",
                "routes":[{"gw":"10.16.0.1"},{"dst":"10.1.0.0/16","gw":"10.16.0.9"}],"mtu":1400,"nicname":"eth0","dns":{},"error":""}"#,
        )
        .unwrap();
        assert_eq!(ips(&reply), ["10.16.0.5/16 Some(\"10.16.0.1\")", "fd00::5/112 None"]);
        assert_eq!(reply.mac_text, "00:00:00:AA:BB:CC");
        assert_eq!(reply.mac.unwrap().to_string(), "00:00:00:aa:bb:cc");
        assert_eq!(
            (reply.mtu, reply.nic_name.as_str(), reply.vf_plumbing_by_cni),
            (1400, "eth0", false)
        );
        assert_eq!(reply.routes[0].destination.to_string(), "0.0.0.0/0");
    }

    #[test]
    fn shape_of_1_8_to_1_15() {
        let reply = Reply::parse(
            br#"{"protocol":"Dual","address":"10.16.0.5,fd00::5","cidr":"10.16.0.0/16,fd00::/112",
                "gateway":"10.16.0.1,fd00::1","mac_address":"00:00:00:aa:bb:cc","nicname":"eth0","mtu":0,"routes":null}"#,
        )
        .unwrap();
        assert_eq!(
            ips(&reply),
            ["10.16.0.5/16 Some(\"10.16.0.1\")", "fd00::5/112 Some(\"fd00::1\")"]
        );
        assert_eq!(reply.mtu, 0);
    }

    #[test]
    fn mac_only_and_attach_only() {
        let reply =
            Reply::parse(br#"{"ips":null,"mac_address":"02:00:00:00:00:01","nicname":"net1","vf_plumbing":"cni"}"#)
                .unwrap();
        assert!(reply.ips.is_empty() && reply.vf_plumbing_by_cni);
    }

    #[test]
    fn nonsense_is_named() {
        for (body, part) in [
            ("", "the body is empty"),
            (" \n", "the body is empty"),
            ("[]", "no reply of its API"),
            ("{", "no reply of its API"),
            (r#"{"error":"boom"}"#, "with an error: boom"),
            (r#"{"mac_address":"01:00:00:00:00:00"}"#, "mac_address"),
            (r#"{"mac_address":"x"}"#, "mac_address"),
            (r#"{"mtu":67}"#, "mtu 67"),
            (r#"{"mtu":-1}"#, "mtu -1"),
            (r#"{"mtu":70000}"#, "mtu 70000"),
            (r#"{"ips":[{"ip":"10.0.0.1"}]}"#, "cidr \"\" of ip 10.0.0.1"),
            (r#"{"ips":[{"ip":"10.0.0.1","cidr":"10.0.0.0"}]}"#, "is no subnet"),
            (r#"{"ips":[{"ip":"10.0.0.1","cidr":"fd00::/64"}]}"#, "family"),
            (
                r#"{"ips":[{"ip":"10.0.0.1","cidr":"10.0.0.0/8","gateway":"fd00::1"}]}"#,
                "gateway",
            ),
            (r#"{"ips":[{"ip":"ten","cidr":"10.0.0.0/8"}]}"#, "is no IP address"),
            (r#"{"routes":[{"dst":"x"}]}"#, "is no network"),
            (r#"{"routes":[{"gw":"x"}]}"#, "gw \"x\""),
        ] {
            let why = Reply::parse(body.as_bytes()).unwrap_err();
            assert!(why.contains(part), "{body}: {why}");
        }
        let many = format!(
            r#"{{"ips":[{}]}}"#,
            vec![r#"{"ip":"10.0.0.1","cidr":"10.0.0.0/8"}"#; 65].join(",")
        );
        assert!(Reply::parse(many.as_bytes()).unwrap_err().contains("65 addresses"));
    }
}
