//! configureContainerNic, configureNic and the gateway check of `pkg/daemon/ovs_linux.go`: the interface in the pod.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kernel::{self, NOT_FOUND, Place};
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
        .set(nic, &["alias", nic])
        .map_err(|error| match error.as_str() {
            NOT_FOUND => format!("can not find container nic {nic}: {error}"),
            _ => error,
        })?;
    let moved = if context.faults.has("move") {
        Err("operation not permitted".to_owned())
    } else {
        Place::Host.set(nic, &["netns", netns])
    };
    moved.map_err(|error| format!("failed to move link to netns: {error}"))?;
    pod.set(nic, &["name", if_name])?;
    context.step(plan.request, "moved")?;
    if context.options.version.sets_sysctl && matches!(pods::protocol(plan.addresses), "IPv6" | "Dual") {
        pod.run("sh", &["-c", "echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6"])
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
        pod.set(name, &["address", plan.mac])
    };
    mac.map_err(|error| format!("can not set mac address to nic {name}: {error}"))?;
    if plan.mtu > 0 {
        pod.set(name, &["mtu", &plan.mtu.to_string()])
            .map_err(|error| format!("failed to set nic {name} mtu: {error}"))?;
    }
    if !link.up {
        pod.set(name, &["up"])
            .map_err(|error| format!("can not set node nic {name} up: {error}"))?;
    }
    let wanted: Vec<&str> = plan
        .addresses
        .split(',')
        .filter(|address| !address.is_empty())
        .collect();
    let present = addresses(pod, name)?;
    for stale in present.iter().filter(|address| !wanted.contains(&address.as_str())) {
        pod.ip(&["addr", "del", stale, "dev", name])
            .map_err(|error| format!("delete address {stale}: {error}"))?;
    }
    for address in wanted
        .into_iter()
        .filter(|address| !present.iter().any(|known| known == address))
    {
        add_address(context, plan, pod, address)?;
    }
    turn_off_ufo(context, pod, name)
}

/// With masks, link-local ones left out: they are never touched.
fn addresses(pod: Place, name: &str) -> Result<Vec<String>, String> {
    let links = pod
        .ip_json(&["addr", "show", "dev", name])
        .map_err(|error| format!("failed to list addresses on link {name}: {error}"))?;
    let listed = links
        .iter()
        .filter_map(|link| link.get("addr_info")?.as_array())
        .flatten();
    let text = listed.filter_map(|address| {
        let local = address.get("local")?.as_str()?;
        let length = address.get("prefixlen")?.as_u64()?;
        (!local.starts_with("fe80:") && !local.starts_with("169.254.")).then(|| format!("{local}/{length}"))
    });
    Ok(text.collect())
}

fn add_address(context: &Context, plan: &Plan, pod: Place, address: &str) -> Result<(), String> {
    let name = plan.if_name;
    let mut add = vec!["addr", "add", address, "dev", name];
    if pods::protocol(address) == "IPv4" {
        if !plan.migration && (plan.underlay || context.options.version.detects_everywhere) {
            // the time of the conflict detection; nobody is asked
            std::thread::sleep(context.options.conflict_detection);
        }
        if !address.ends_with("/32") && !address.ends_with("/31") {
            add.extend(["broadcast", "+"]);
        }
    } else if plan.migration {
        add.push("nodad");
    }
    pod.ip(&add)
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
        let ipv6 = pods::protocol(if gw.is_empty() { dst } else { gw }) == "IPv6";
        let mut arguments = vec![if ipv6 { "-6" } else { "-4" }, "route", "replace"];
        arguments.push(if dst.is_empty() { "default" } else { dst });
        if !gw.is_empty() {
            arguments.extend(["via", gw]);
        }
        arguments.extend(["dev", plan.if_name]);
        pod.ip(&arguments)
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
    for (family, default, bits) in [("-4", "0.0.0.0/0", 32), ("-6", "::/0", 128)] {
        let listed = pod
            .ip_json(&[family, "route", "show", "dev", name])
            .map_err(|error| format!("failed to get routes on interface {name}: {error}"))?;
        for route in listed {
            let text = |key: &str| route.get(key).and_then(Value::as_str).unwrap_or_default();
            let dst = match text("dst") {
                "default" => default.to_owned(),
                dst if dst.contains('/') => dst.to_owned(),
                dst => format!("{dst}/{bits}"),
            };
            if !dst.starts_with("fe80:") {
                routes.push(Route {
                    dst,
                    gw: text("gateway").to_owned(),
                });
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
        let links = pod.ip_json(&["-6", "addr", "show", "dev", name])?;
        let is = |address: &Value, flag: &str| address.get(flag).and_then(Value::as_bool) == Some(true);
        unready = links
            .iter()
            .filter_map(|link| link.get("addr_info")?.as_array())
            .flatten()
            .filter(|address| {
                let bad = is(address, "deprecated") || is(address, "tentative");
                bad || duplicates_matter && is(address, "dadfailed")
            })
            .filter_map(|address| address.get("local")?.as_str().map(str::to_owned))
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

/// One ping; for ARP its reply does not matter, only that the kernel has learnt the neighbour's MAC by it.
fn reached(pod: Place, name: &str, gateway: &str, by_arp: bool) -> bool {
    let answered = pod
        .run("ping", &["-q", "-n", "-c", "1", "-W", "1", "-I", name, gateway])
        .is_ok();
    if !by_arp {
        return answered;
    }
    let neighbours = pod
        .ip_json(&["neigh", "show", "to", gateway, "dev", name])
        .unwrap_or_default();
    neighbours.iter().any(|neighbour| neighbour.get("lladdr").is_some())
}

pub(crate) fn remove_default_routes(netns: &str, ipv4: bool, ipv6: bool) -> Result<(), String> {
    kernel::check_netns(netns).map_err(|error| format!("failed to open netns {netns:?}: {error}"))?;
    let pod = Place::Pod(netns);
    for family in [("-4", ipv4), ("-6", ipv6)]
        .into_iter()
        .filter(|(_, wanted)| *wanted)
        .map(|(family, _)| family)
    {
        for _ in pod.ip_json(&[family, "route", "show", "default"])? {
            pod.ip(&[family, "route", "del", "default"])
                .map_err(|error| format!("failed to delete route: {error}"))?;
        }
    }
    Ok(())
}
