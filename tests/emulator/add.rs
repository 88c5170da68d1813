//! POST /api/v1/add: handleAdd of pkg/daemon/handler.go.

use std::net::IpAddr;
use std::time::Duration;

use crate::container;
use crate::http::Delivery;
use crate::nic::{self, Gateway, Plan};
use crate::pods::{self, Attachment, Pods};
use crate::record::{Answer, Context, Fail};
use crate::versions::{Providers, Shape, Version};
use crate::wire::{self, CniRequest, CniResponse, Dns, IpConfig, OldResponse, Route};

const HUGE: usize = 64 << 20;

/// What the annotations say, once they say enough.
struct Found {
    attachment: Attachment,
    with_if_name: bool,
    /// With masks.
    address: String,
    gateway: String,
    default_route: bool,
}

pub(crate) fn handle(context: &Context, pods: Pods, mut request: CniRequest) -> Result<Answer, Fail> {
    let faults = &context.faults;
    faults.sleep("hang");
    context.step(&request, "add")?;
    if faults.has("eof") {
        return Err(Fail::Panic("fault eof"));
    }
    if faults.has("http-500") {
        return Err(Fail::Status(500, "fault http-500: nothing was done".to_owned()));
    }
    let version = context.options.version;
    if !pods.binds(version, &request.provider, &request.if_name) {
        let is_not = match version.providers {
            Providers::OfSubnets => "is not bound",
            Providers::ThreeParts | Providers::AnyOvn => "not bind",
        };
        return Err(Fail::Status(
            400,
            format!("provider {} {is_not} to any subnet", request.provider),
        ));
    }
    let found = wait_for_annotations(context, pods, &request)?;
    let pod_name = request.pod_name.clone();
    if !found.attachment.vm.is_empty() {
        request.pod_name.clone_from(&found.attachment.vm);
    }
    let mut response = CniResponse {
        ips: ips(&found),
        ..CniResponse::default()
    };
    let routes = [request.routes.clone(), found.attachment.routes.clone()].concat();
    if request.provider.ends_with("ovn") && !faults.has("nothing-configured") {
        if faults.has("u2o") {
            context.note(format!(
                "failed to generate u2o ip on subnet {}",
                found.attachment.subnet
            ));
            return Ok(Answer::empty(200));
        }
        configure(context, &request, &found, &pod_name, &routes, &mut response)?;
        if faults.has("mirror") {
            context.note("failed mirror to mirror0, find mirror failed, mirror name=m0");
            return Ok(Answer::empty(200));
        }
    } else {
        make_room_for_default_routes(context, &request, &routes)?;
        response.routes = (!routes.is_empty()).then_some(routes);
    }
    context.step(&request, "reply")?;
    spoilt(context, response)
}

/// Looks once a second until address and route are there; the file is read again each time, as an informer would.
fn wait_for_annotations(context: &Context, mut pods: Pods, request: &CniRequest) -> Result<Found, Fail> {
    let provider = &request.provider;
    let owner = format!("{}/{}", request.pod_namespace, request.pod_name);
    let version = context.options.version;
    let mut missing = String::new();
    for attempt in 0..=context.options.retries {
        if attempt > 0 {
            std::thread::sleep(Duration::from_secs(1));
            pods = Pods::read(context.options)?;
        }
        let Some(providers) = pods.pod(&request.pod_namespace, &request.pod_name) else {
            let error = format!("get pod {owner} failed pod \"{}\" not found", request.pod_name);
            return Err(Fail::Status(500, error));
        };
        let (mut attachment, with_if_name) = pods::lookup(version, providers, request)
            .map_or_else(Default::default, |(found, named)| (found.clone(), named));
        let known = pods::lookup(version, providers, request).is_some();
        if context.faults.has("mac-only") {
            (attachment.ip, attachment.cidr) = (String::new(), String::new());
        }
        let mac_only = version.mac_only
            && attachment.ip.is_empty()
            && attachment.allocated.unwrap_or(true)
            && !attachment.mac.is_empty()
            && attachment.cidr.is_empty();
        let waits = if version.waits_for_address {
            attachment.ip.is_empty() && !mac_only
        } else {
            !(known && attachment.allocated.unwrap_or(true))
        };
        if waits {
            missing = format!("no address allocated to pod {owner} provider {provider}");
            continue;
        }
        let address = pods::with_mask(version, &attachment.ip, &attachment.cidr)?;
        let gateway = pods::gateway_of_family(version, &address, &attachment.gateway);
        let default_route = attachment.default_route.unwrap_or(interface(request) == "eth0");
        if !mac_only && default_route && !attachment.routed.unwrap_or(true) && pods::is_ovn(provider) {
            missing = format!("route is not ready for pod {owner} provider {provider}");
            continue;
        }
        return Ok(Found {
            attachment,
            with_if_name,
            address,
            gateway,
            default_route,
        });
    }
    Err(Fail::Status(
        500,
        format!("{missing}, please see kube-ovn-controller logs to find errors"),
    ))
}

fn interface(request: &CniRequest) -> &str {
    if request.if_name.is_empty() {
        "eth0"
    } else {
        &request.if_name
    }
}

fn configure(
    context: &Context,
    request: &CniRequest,
    found: &Found,
    pod_name: &str,
    routes: &[Route],
    response: &mut CniResponse,
) -> Result<(), Fail> {
    let attachment = &found.attachment;
    let if_name = interface(request);
    response.mtu = if attachment.mtu > 0 {
        attachment.mtu
    } else {
        context.options.mtu
    };
    response.mac_address.clone_from(&attachment.mac);
    if_name.clone_into(&mut response.nicname);
    let attach_only = context.options.attach_only && request.vf_plumbing == "cni" && !request.device_id.is_empty();
    response.vf_plumbing = (attach_only && !context.faults.has("no-echo")).then_some("cni");
    let plan = Plan {
        request,
        pod_name,
        if_name,
        mac: &attachment.mac,
        mtu: response.mtu,
        addresses: &found.address,
        gateway: &found.gateway,
        default_route: found.default_route,
        migration: attachment.migration,
        underlay: attachment.underlay,
        routes,
        gateway_check: gateway_mode(attachment),
        u2o_ip: &attachment.u2o_ip,
        encap_ip: &attachment.encap_ip,
        localnet_subnet: if attachment.underlay && context.options.version.waits_for_localnet {
            &attachment.subnet
        } else {
            ""
        },
        with_if_name: found.with_if_name,
        attach_only,
    };
    response.routes = nic::configure(context, &plan).map_err(|fail| match fail {
        Fail::Text(error) => {
            // the two names are this way round in the original
            let whose = format!("{}/{}", request.pod_name, request.pod_namespace);
            let text = if context.options.version.names_pod {
                format!("configure nic {if_name} for pod {whose} failed: {error}")
            } else {
                format!("configure nic failed {error}")
            };
            Fail::Status(500, text)
        }
        other => other,
    })?;
    Ok(())
}

/// One entry a family; the gateway only with the default route.
fn ips(found: &Found) -> Option<Vec<IpConfig>> {
    let with_gateway = |gateway: String| if found.default_route { gateway } else { String::new() };
    let ((v4, v6), (v4_cidr, v6_cidr), (v4_gw, v6_gw)) = (
        pods::split(&found.attachment.ip),
        pods::split(&found.attachment.cidr),
        pods::split(&found.gateway),
    );
    let ips: Vec<IpConfig> = [("IPv4", v4, v4_cidr, v4_gw), ("IPv6", v6, v6_cidr, v6_gw)]
        .into_iter()
        .filter(|(_, ip, ..)| !ip.is_empty())
        .map(|(protocol, ip, cidr, gw)| IpConfig {
            protocol,
            ip,
            cidr,
            gateway: with_gateway(gw),
        })
        .collect();
    (!ips.is_empty()).then_some(ips)
}

fn gateway_mode(attachment: &Attachment) -> Gateway {
    match attachment.gateway_check {
        // live migration: the mode is never set, so it stays "disabled"
        _ if attachment.migration => Gateway::Skip,
        Some(false) => Gateway::TryOnce,
        _ => Gateway::Check,
    }
}

/// IPAM only: with a default route among the routes, those the pod has are deleted so that the other plugin can add its.
fn make_room_for_default_routes(context: &Context, request: &CniRequest, routes: &[Route]) -> Result<(), Fail> {
    let defaults = |ipv6: bool| {
        routes.iter().any(|route| {
            let of_family = route.gw.parse::<IpAddr>().is_ok_and(|gw| gw.is_ipv6() == ipv6);
            of_family && (route.dst.is_empty() || route.dst.ends_with("/0"))
        })
    };
    let (v4, v6) = (defaults(false), defaults(true));
    if context.options.answer_at_once || !(v4 || v6) {
        return Ok(());
    }
    container::remove_default_routes(&request.net_ns, v4, v6).map_err(|error| {
        let whose = format!(
            "{} of pod {}/{}",
            request.if_name, request.pod_namespace, request.pod_name
        );
        Fail::Status(
            500,
            format!("failed to remove existing default route for interface {whose}: {error}"),
        )
    })
}

/// The reply, after the faults that only concern the reply.
fn spoilt(context: &Context, mut response: CniResponse) -> Result<Answer, Fail> {
    let faults = &context.faults;
    faults.sleep("late");
    if faults.has("late-eof") {
        return Err(Fail::Panic("fault late-eof"));
    }
    if faults.has("wrong-mac") {
        "02:ff:ff:ff:ff:ff".clone_into(&mut response.mac_address);
    }
    if faults.has("wrong-ip") {
        for ip in response.ips.iter_mut().flatten() {
            if ip.protocol == "IPv4" {
                "192.0.2.66"
            } else {
                "2001:db8::66"
            }
            .clone_into(&mut ip.ip);
        }
    }
    if faults.has("wrong-nicname") {
        "wrong0".clone_into(&mut response.nicname);
    }
    if faults.has("wrong-mtu") {
        response.mtu += 1;
    }
    if faults.has("error-in-200") {
        "fault error-in-200".clone_into(&mut response.error);
    }
    let version = context.options.version;
    let body = if faults.has("old-shape") || version.shape == Shape::Lists {
        wire::to_json(&old(version, response))
    } else {
        wire::to_json(&response)
    };
    let delivery = match faults {
        _ if faults.has("truncated") => Delivery::Truncated,
        _ if faults.has("huge") => Delivery::Padded(HUGE),
        _ => Delivery::Whole,
    };
    let body = if faults.has("garbage") {
        b"<html>not JSON</html>".to_vec()
    } else {
        body
    };
    Ok(Answer {
        status: 200,
        body: Some(body),
        delivery,
    })
}

fn old(version: &Version, response: CniResponse) -> OldResponse {
    let ips = response.ips.unwrap_or_default();
    let list = |pick: fn(&IpConfig) -> &String| {
        let items: Vec<&str> = ips
            .iter()
            .map(|ip| pick(ip).as_str())
            .filter(|item| !item.is_empty())
            .collect();
        items.join(",")
    };
    let (address, cidr, gateway) = (list(|ip| &ip.ip), list(|ip| &ip.cidr), list(|ip| &ip.gateway));
    OldResponse {
        protocol: pods::protocol(&cidr),
        address,
        mac_address: response.mac_address,
        cidr,
        gateway,
        mtu: if version.tells_mtu { response.mtu } else { 0 },
        nicname: response.nicname,
        routes: response
            .routes
            .map(|routes| wire::old_routes(routes, version.full_routes)),
        dns: Dns::default(),
        error: response.error,
    }
}
