//! configureContainerNic, configureNic and the gateway check of `pkg/daemon/ovs_linux.go`: the interface in the pod.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::inet::{self, Address};
use crate::kernel::{self, Change, NOT_FOUND, Place};
use crate::nic::{Gateway, Plan};
use crate::pods::{self, Pods};
use crate::record::{self, Context, Fail};
use crate::wire::Route;

/// Alias, move, rename, configure. What fails after the move leaves the interface in the pod.
pub(crate) fn configure(context: &Context, plan: &Plan, nic: &str) -> Result<Option<Vec<Route>>, Fail> {
    let netns = plan.request.net_ns.as_str();
    let pod = Place::Pod(netns);
    let if_name = plan.if_name;
    context.step(plan.request, "move")?;
    Place::Host
        .link(nic)
        .map_err(|error| format!("can not find container nic {nic}: {error}"))?;
    // the alias is the only record of the VF's own name
    Place::Host
        .set(nic, Change::Alias(nic))
        .map_err(|error| match error.as_str() {
            NOT_FOUND => format!("can not find container nic {nic}: {error}"),
            _ => error,
        })?;
    let moved = if context.faults.has("move") {
        Err("operation not permitted".to_owned())
    } else {
        Place::Host.set(nic, Change::Netns(netns))
    };
    moved.map_err(|error| format!("failed to move link to netns: {error}"))?;
    pod.set(nic, Change::Name(if_name))?;
    context.step(plan.request, "moved")?;
    if context.options.version.sets_sysctl && matches!(pods::protocol(plan.addresses), "IPv6" | "Dual") {
        let write =
            || std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0").map_err(|error| error.to_string());
        pod.within(write)
            .map_err(|error| format!("failed to enable ipv6 on all nic: {error}"))?;
    }
    configure_link(context, plan, pod)?;
    context.step(plan.request, "configured")?;
    if plan.addresses.is_empty() {
        return Ok(None);
    }
    set_routes(context, plan, pod)?;
    let routes = list_routes(pod, if_name)?;
    if plan.gateway_check != Gateway::Skip {
        if pods::protocol(plan.addresses) != "IPv4" {
            wait_preferred(context, pod, if_name, !plan.migration)?;
        }
        if !plan.u2o_ip.is_empty() {
            check_gateway(context, plan, pod, plan.u2o_ip, false)?;
        }
        check_gateway(context, plan, pod, plan.gateway, plan.underlay)?;
    }
    Ok((!routes.is_empty()).then_some(routes))
}

fn configure_link(context: &Context, plan: &Plan, pod: Place) -> Result<(), String> {
    let name = plan.if_name;
    let link = pod
        .link(name)
        .map_err(|error| format!("can not find nic {name}: {error}"))?;
    let mac = if context.faults.has("configure") {
        Err("device or resource busy".to_owned())
    } else {
        pod.set(name, Change::Mac(plan.mac))
    };
    mac.map_err(|error| format!("can not set mac address to nic {name}: {error}"))?;
    if plan.mtu > 0 {
        pod.set(name, Change::Mtu(plan.mtu))
            .map_err(|error| format!("failed to set nic {name} mtu: {error}"))?;
    }
    if !link.up {
        pod.set(name, Change::Up)
            .map_err(|error| format!("can not set node nic {name} up: {error}"))?;
    }
    let wanted: Vec<&str> = plan
        .addresses
        .split(',')
        .filter(|address| !address.is_empty())
        .collect();
    let present = addresses(pod, name)?;
    for (text, stale) in present.iter().filter(|(text, _)| !wanted.contains(&text.as_str())) {
        pod.delete_address(name, stale)
            .map_err(|error| format!("delete address {text}: {error}"))?;
    }
    for address in wanted
        .into_iter()
        .filter(|address| !present.iter().any(|(known, _)| known == address))
    {
        add_address(context, plan, pod, address)?;
    }
    turn_off_ufo(context, pod, name)
}

/// With masks, link-local ones left out: they are never touched.
fn addresses(pod: Place, name: &str) -> Result<Vec<(String, Address)>, String> {
    let listed = pod
        .addresses(name)
        .map_err(|error| format!("failed to list addresses on link {name}: {error}"))?;
    let is_link_local = |text: &str| text.starts_with("fe80:") || text.starts_with("169.254.");
    let with_text = listed
        .into_iter()
        .map(|address| (format!("{}/{}", address.ip, address.length), address));
    Ok(with_text.filter(|(text, _)| !is_link_local(text)).collect())
}

fn add_address(context: &Context, plan: &Plan, pod: Place, address: &str) -> Result<(), String> {
    let name = plan.if_name;
    let is_ipv4 = pods::protocol(address) == "IPv4";
    if is_ipv4 && !plan.migration && (plan.underlay || context.options.version.detects_everywhere) {
        // the time of the conflict detection; nobody is asked
        std::thread::sleep(context.options.conflict_detection);
    }
    pod.add_address(name, address, is_ipv4 || !plan.migration)
        .map_err(|error| format!("can not add address {address} to nic {name}: {error}"))
}

fn turn_off_ufo(context: &Context, pod: Place, name: &str) -> Result<(), String> {
    match pod.run("ethtool", &["-k", name]) {
        Err(error) => {
            context.note(format!("failed to query offload features of device {name}, skip disabling ufo: {error}"));
            Ok(())
        }
        Ok(features) if !features.contains("udp-fragmentation-offload") => Ok(()),
        Ok(_) => pod.run("ethtool", &["-K", name, "ufo", "off"]).map(|_| ()).map_err(|error| {
            format!("failed to disable udp-fragmentation-offload feature of device {name} to off: exit status 1, {error}")
        }),
    }
}

/// The default routes must succeed; of the others every error is only logged.
fn set_routes(context: &Context, plan: &Plan, pod: Place) -> Result<(), String> {
    let replace = |dst: &str, gw: &str| {
        let parse = |text: &str| (!text.is_empty()).then(|| inet::parse(text)).transpose();
        let gateway = parse(gw)?.map(|(ip, _)| ip);
        pod.replace_route(plan.if_name, parse(dst)?, gateway)
    };
    if plan.default_route {
        let gateways = if plan.u2o_ip.is_empty() {
            plan.gateway
        } else {
            plan.u2o_ip
        };
        for gateway in pods::trimmed(gateways) {
            replace("", gateway).map_err(|error| format!("failed to configure default gateway {gateway}: {error}"))?;
        }
    }
    for Route { dst, gw } in plan.routes {
        let is_network = |text: &str| {
            text.split_once('/')
                .is_some_and(|(ip, mask)| ip.parse::<IpAddr>().is_ok() && mask.parse::<u8>().is_ok())
        };
        if !dst.is_empty() && !is_network(dst) {
            context.note(format!("invalid route destination {dst}"));
        } else if !gw.is_empty() && gw.parse::<IpAddr>().is_err() {
            context.note(format!("invalid route gateway {gw}"));
        } else if dst.is_empty() && gw.is_empty() {
            context.note("failed to add route {Destination: Gateway:}: either Dst.IP, Src.IP or Gw must be set");
        } else if let Err(error) = replace(dst, gw) {
            context.note(format!(
                "failed to add route {{Destination:{dst} Gateway:{gw}}}: {error}"
            ));
        }
    }
    Ok(())
}

/// What is on the link now, for the reply; only `fe80::/10` is left out.
fn list_routes(pod: Place, name: &str) -> Result<Vec<Route>, String> {
    let mut routes = Vec::new();
    for (is_ipv6, default) in [(false, "0.0.0.0/0"), (true, "::/0")] {
        let listed = pod
            .routes(is_ipv6, Some(name))
            .map_err(|error| format!("failed to get routes on interface {name}: {error}"))?;
        for route in listed {
            let dst = match route.destination {
                None => default.to_owned(),
                Some((ip, length)) => format!("{ip}/{length}"),
            };
            if !dst.starts_with("fe80:") {
                let gw = route.gateway.map(|ip| ip.to_string()).unwrap_or_default();
                routes.push(Route { dst, gw });
            }
        }
    }
    Ok(routes)
}

/// 10 looks, 500 ms apart, for IPv6 addresses that are not usable yet.
fn wait_preferred(context: &Context, pod: Place, name: &str, duplicates_matter: bool) -> Result<(), String> {
    let mut unready = Vec::new();
    for attempt in 0..10 {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(500));
        }
        unready = pod
            .addresses(name)?
            .into_iter()
            .filter(|address| address.ip.is_ipv6())
            .filter(|address| address.is_deprecated_or_tentative() || duplicates_matter && address.is_a_duplicate())
            .map(|address| address.ip.to_string())
            .collect();
        if unready.is_empty() {
            return Ok(());
        }
    }
    Err(if context.options.version.names_unready {
        format!(
            "ip address(es) {} on interface {name} are not in preferred state",
            unready.join(",")
        )
    } else {
        format!("failed to find non-link-local IPv6 addresses in preferred state on interface {name} after 10 retries")
    })
}

/// IPv4 gateways must answer ARP, IPv6 ones ping, whatever mode the subnet asks for; in old releases ping will do without
/// a VLAN.
fn check_gateway(context: &Context, plan: &Plan, pod: Place, gateways: &str, vlan: bool) -> Result<(), String> {
    let (ips, gateways_listed) = (pods::trimmed(plan.addresses), pods::trimmed(gateways));
    let once = plan.gateway_check == Gateway::TryOnce;
    let version = context.options.version;
    if version.counts_gateways && ips.len() != gateways_listed.len() {
        let error = format!(
            "the count of ip addresses and gateways mismatch: ips {:?}, gateways {gateways:?}",
            plan.addresses
        );
        return if once { Ok(()) } else { Err(error) };
    }
    for (position, gateway) in gateways_listed.into_iter().enumerate() {
        let Some(ip) = ips.get(position) else {
            // P5: an index out of range where nothing recovers
            record::die(context.options);
        };
        let name = plan.if_name;
        let by_arp = pods::protocol(gateway) == "IPv4" && (vlan || version.arp_everywhere);
        if once {
            // with one try the original's ARP loop ends before its first packet
            if !by_arp && !reached(pod, name, gateway, false) {
                context.note(format!("no packets received from gateway {gateway}"));
                return Ok(());
            }
            continue;
        }
        let checked = probe(context, plan, pod, gateway, by_arp);
        checked.map_err(|(count, error)| {
            if by_arp {
                format!("network {ip} with gateway {gateway} is not ready for interface {name} after {count} checks: {error}")
            } else {
                error
            }
        })?;
    }
    Ok(())
}

fn probe(context: &Context, plan: &Plan, pod: Place, gateway: &str, by_arp: bool) -> Result<(), (u32, String)> {
    let attempts = context.options.gateway_attempts;
    let mut looked = Instant::now();
    for count in 1..=attempts {
        let started = Instant::now();
        if !context.faults.has("gateway-check") && reached(pod, plan.if_name, gateway, by_arp) {
            return Ok(());
        }
        // one try a second
        std::thread::sleep(Duration::from_secs(1).saturating_sub(started.elapsed()));
        if context.options.version.stops_without_pod && looked.elapsed() >= Duration::from_secs(5) {
            looked = Instant::now();
            let request = plan.request;
            let gone = Pods::read(context.options)
                .is_ok_and(|pods| pods.pod(&request.pod_namespace, &request.pod_name).is_none());
            if gone && by_arp {
                return Err((count, format!("operation canceled after {count} retries")));
            } else if gone {
                return Err((
                    count,
                    format!("gateway check of {gateway} canceled after {count} retries"),
                ));
            }
        }
    }
    Err(if by_arp {
        (
            attempts,
            format!("resolve MAC address of {gateway} timeout: i/o timeout"),
        )
    } else {
        (attempts, format!("no packets received from gateway {gateway}"))
    })
}

/// One ping, or one question for the MAC address.
fn reached(pod: Place, name: &str, gateway: &str, by_arp: bool) -> bool {
    if by_arp {
        return pod.resolves(name, gateway).unwrap_or(false);
    }
    let words = ["-q", "-n", "-c", "1", "-W", "1", "-I", name, gateway];
    pod.run("ping", &words).is_ok()
}

pub(crate) fn remove_default_routes(netns: &str, ipv4: bool, ipv6: bool) -> Result<(), String> {
    kernel::check_netns(netns).map_err(|error| format!("failed to open netns {netns:?}: {error}"))?;
    let pod = Place::Pod(netns);
    for (is_ipv6, wanted) in [(false, ipv4), (true, ipv6)] {
        if !wanted {
            continue;
        }
        for route in pod.routes(is_ipv6, None)? {
            if route.destination.is_none() {
                pod.delete_route(&route)
                    .map_err(|error| format!("failed to delete route: {error}"))?;
            }
        }
    }
    Ok(())
}
