//! What the original knows from Kubernetes: the pods file, and the comma lists of its annotations (pkg/util/net.go).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::faults::Faults;
use crate::options::Options;
use crate::record::Fail;
use crate::versions::{Providers as Served, Version};
use crate::wire::{CniRequest, Route};

/// The annotations and the subnet of one interface of a pod. An unknown key is an error: it would be a test's typo.
#[derive(Deserialize, Default, Clone)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Attachment {
    pub(crate) ip: String,
    pub(crate) mac: String,
    pub(crate) cidr: String,
    pub(crate) gateway: String,
    pub(crate) subnet: String,
    /// Absent: only `eth0` gets the default route.
    pub(crate) default_route: Option<bool>,
    pub(crate) allocated: Option<bool>,
    pub(crate) routed: Option<bool>,
    pub(crate) routes: Vec<Route>,
    pub(crate) mtu: u32,
    pub(crate) gateway_check: Option<bool>,
    /// A subnet with a VLAN and no logical gateway: waits for its localnet patch port.
    pub(crate) underlay: bool,
    pub(crate) u2o_ip: String,
    pub(crate) encap_ip: String,
    /// The `KubeVirt` VM whose name stands for the pod's.
    pub(crate) vm: String,
    pub(crate) migration: bool,
    pub(crate) fault: String,
}

type Providers = BTreeMap<String, Attachment>;

/// The file, as it is now.
pub(crate) struct Pods(BTreeMap<String, Providers>);

impl Pods {
    pub(crate) fn read(options: &Options) -> Result<Self, String> {
        let text = std::fs::read(&options.pods)
            .map_err(|error| format!("emulator: cannot read {}: {error}", options.pods.display()))?;
        serde_json::from_slice(&text)
            .map(Self)
            .map_err(|error| format!("emulator: {} is not a pods file: {error}", options.pods.display()))
    }

    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<&Providers> {
        self.0.get(&format!("{namespace}/{name}"))
    }

    /// handler.go providerExists: is there a subnet of this provider? Here: has any pod an interface of it.
    pub(crate) fn binds(&self, version: &Version, provider: &str, if_name: &str) -> bool {
        let suffix = format!(".{if_name}");
        let name = (provider.strip_suffix(&suffix).filter(|_| version.two_nics)).unwrap_or(provider);
        let numbered = format!("{name}{suffix}");
        provider.is_empty()
            || provider == "ovn"
            || match version.providers {
                Served::AnyOvn => provider.ends_with("ovn"),
                Served::ThreeParts => is_ovn(provider),
                Served::OfSubnets => false,
            }
            || self
                .0
                .values()
                .flat_map(BTreeMap::keys)
                .any(|known| known == name || *known == numbered)
    }

    /// The faults for a request: those of `--fault`, and of the pod's interface of this provider, or, when the request
    /// names a provider the pod does not have, of all its interfaces.
    pub(crate) fn faults(&self, options: &Options, request: &CniRequest) -> Result<Faults, String> {
        let mut faults = options.faults.clone();
        let Some(providers) = self.pod(&request.pod_namespace, &request.pod_name) else {
            return Ok(faults);
        };
        let ours = lookup(options.version, providers, request).map(|(attachment, _)| attachment);
        let listed: Vec<&Attachment> = ours.map_or_else(|| providers.values().collect(), |ours| vec![ours]);
        for attachment in listed {
            faults = faults.and(&Faults::parse(&attachment.fault)?);
        }
        Ok(faults)
    }
}

/// The interface, and whether its annotations carry the interface's name (two NICs of one subnet).
pub(crate) fn lookup<'a>(
    version: &Version,
    providers: &'a Providers,
    request: &CniRequest,
) -> Option<(&'a Attachment, bool)> {
    providers
        .get(&format!("{}.{}", request.provider, request.if_name))
        .filter(|_| version.two_nics)
        .map(|attachment| (attachment, true))
        .or_else(|| providers.get(&request.provider).map(|attachment| (attachment, false)))
}

/// util.IsOvnProvider.
pub(crate) fn is_ovn(provider: &str) -> bool {
    matches!(
        provider.split('.').collect::<Vec<_>>().as_slice(),
        ["" | "ovn"] | [_, _, "ovn"]
    )
}

/// The merge patch of the pod's annotations, one at a time as at the API server.
pub(crate) fn annotate(options: &Options, pod: &str, provider: &str, nic: &str, vf: &str) -> Result<(), Fail> {
    static PATCHING: Mutex<()> = Mutex::new(());
    let Some(path) = &options.annotations else {
        return Ok(());
    };
    let _one = PATCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = |error: String| Fail::text(format!("emulator: cannot write {}: {error}", path.display()));
    let mut all: Value = match std::fs::read(path) {
        Ok(text) if !text.is_empty() => serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?,
        _ => json!({}),
    };
    let mut own = all.get(pod).cloned().unwrap_or_else(|| json!({}));
    if let (Some(all), Some(own_map)) = (all.as_object_mut(), own.as_object_mut()) {
        own_map.insert(format!("{provider}.kubernetes.io/vf_representor"), json!(nic));
        own_map.insert(format!("{provider}.kubernetes.io/vf"), json!(vf));
        own_map.insert(format!("{provider}.kubernetes.io/pod_nic_type"), json!("sriov"));
        all.insert(pod.to_owned(), own);
    }
    let unfinished = path.with_extension("new");
    std::fs::write(&unfinished, format!("{all:#}\n"))
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(|error| failed(error.to_string()))
}

/// `IPv4`, `IPv6`, `Dual` or "" of an address list, with or without masks.
pub(crate) fn protocol(list: &str) -> &'static str {
    let parse = |item: &str| item.split('/').next().unwrap_or_default().parse::<IpAddr>().ok();
    let items: Vec<&str> = list.split(',').collect();
    match items.as_slice() {
        [first, second] => match (parse(first), parse(second)) {
            (Some(first), Some(second)) if first.is_ipv4() != second.is_ipv4() => "Dual",
            _ => "",
        },
        _ => match parse(list) {
            Some(IpAddr::V4(_)) => "IPv4",
            Some(IpAddr::V6(_)) => "IPv6",
            None => "",
        },
    }
}

/// The IPv4 and the IPv6 part of a list.
pub(crate) fn split(list: &str) -> (String, String) {
    let pick = |wanted| {
        list.split(',')
            .find(|item| protocol(item) == wanted)
            .unwrap_or_default()
            .to_owned()
    };
    match protocol(list) {
        "" => (String::new(), String::new()),
        _ => (pick("IPv4"), pick("IPv6")),
    }
}

pub(crate) fn trimmed(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// Addresses with the masks of the subnet; P3 of the contract: a CIDR without a mask panics the handler.
pub(crate) fn with_mask(version: &Version, ip: &str, cidr: &str) -> Result<String, Fail> {
    if ip.is_empty() {
        return Ok(String::new());
    }
    let bad = |error: String| Fail::Status(500, format!("failed to get ip address with mask, {error}"));
    if protocol(cidr) == "Dual" {
        let (v4, v6) = cidr.split_once(',').unwrap_or_default();
        if !version.by_family {
            let Some((first, second)) = ip.split_once(',').filter(|(_, rest)| !rest.contains(',')) else {
                return Err(bad(format!("ip {ip} should be dualstack")));
            };
            return match (v4.split_once('/'), v6.split_once('/')) {
                (Some((_, first_mask)), Some((_, second_mask))) => {
                    Ok(format!("{first}/{first_mask},{second}/{second_mask}"))
                }
                _ => Err(Fail::Panic("index out of range in GetIPAddrWithMask")),
            };
        }
        let masked = ip.split(',').map(|ip| {
            // by position, not by family: the first block is taken to be IPv4
            let block = match protocol(ip) {
                "IPv4" => v4,
                "IPv6" => v6,
                _ => return Err(bad(format!("invalid ip {ip}"))),
            };
            match block.split_once('/') {
                Some((_, mask)) if !mask.is_empty() => Ok(format!("{ip}/{mask}")),
                _ => Err(bad(format!("invalid cidr {block}"))),
            }
        });
        return Ok(masked.collect::<Result<Vec<_>, _>>()?.join(","));
    }
    if ip.contains(',') {
        return Err(bad(format!("ip {ip} should be singlestack")));
    }
    let mask = cidr
        .split('/')
        .nth(1)
        .ok_or(Fail::Panic("index out of range in GetIPAddrWithMask"))?;
    Ok(format!("{ip}/{mask}"))
}

/// handler.go gatewayForCNIIPFamily: of a dual-stack gateway only the families the interface has; older ones take all.
pub(crate) fn gateway_of_family(version: &Version, addresses: &str, gateway: &str) -> String {
    if !version.by_family || addresses.is_empty() || protocol(gateway) != "Dual" {
        return gateway.to_owned();
    }
    let gateways = trimmed(gateway);
    let matching: Vec<&str> = trimmed(addresses)
        .into_iter()
        .filter_map(|ip| {
            gateways
                .iter()
                .find(|gateway| protocol(gateway) == protocol(ip))
                .copied()
        })
        .collect();
    if matching.is_empty() {
        gateway.to_owned()
    } else {
        matching.join(",")
    }
}
