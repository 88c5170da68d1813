//! configureNic of `pkg/daemon/ovs_linux.go`: the host side of an attachment, and what is rolled back when.

use crate::at_once;
use crate::container;
use crate::kernel::{self, Change, NOT_FOUND, Place};
use crate::ovs;
use crate::pods;
use crate::record::{Context, Fail};
use crate::sriov;
use crate::versions::Rollback;
use crate::wire::{CniRequest, Route};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Gateway {
    Check,
    /// The subnet disables the check: one try, its result ignored.
    TryOnce,
    Skip,
}

/// What handleAdd worked out for the interface.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the original passes them as separate arguments, too"
)]
pub(crate) struct Plan<'a> {
    pub(crate) request: &'a CniRequest,
    /// Of the pod; the request's may by now be the VM's.
    pub(crate) pod_name: &'a str,
    pub(crate) if_name: &'a str,
    pub(crate) mac: &'a str,
    pub(crate) mtu: u32,
    /// With masks; empty for an allocation of a MAC only.
    pub(crate) addresses: &'a str,
    pub(crate) gateway: &'a str,
    pub(crate) default_route: bool,
    pub(crate) migration: bool,
    pub(crate) underlay: bool,
    pub(crate) routes: &'a [Route],
    pub(crate) gateway_check: Gateway,
    pub(crate) u2o_ip: &'a str,
    pub(crate) encap_ip: &'a str,
    pub(crate) localnet_subnet: &'a str,
    pub(crate) with_if_name: bool,
    pub(crate) attach_only: bool,
}

/// Host and container name. Go slices the id without a look at its length: too short an id or too long an interface
/// name panics the handler.
pub(crate) fn nic_names(container_id: &str, if_name: &str) -> Result<(String, String), Fail> {
    let panic = Fail::Panic("slice bounds out of range in generateNicName");
    if if_name == "eth0" {
        let id = container_id.get(..12).ok_or(panic)?;
        return Ok((format!("{id}_h"), format!("{id}_c")));
    }
    let short = if if_name.starts_with("pod") && if_name.len() == 14 {
        if_name.get(3..10)
    } else {
        Some(if_name)
    };
    let Some((short, length)) = short.and_then(|short| Some((short, 12_usize.checked_sub(short.len())?))) else {
        return Err(panic);
    };
    let id = container_id.get(..length).ok_or(panic)?;
    Ok((format!("{id}_{short}_h"), format!("{id}_{short}_c")))
}

struct Nic {
    host: String,
    /// Empty for a VF that has no netdev.
    container: String,
}

/// A failure, and whether the variable that the deferred rollbacks look at was set: an `err` that is shadowed leaves
/// everything as it is.
enum Stop {
    RollBack(Fail),
    Leave(Fail),
}

impl<T: Into<Fail>> From<T> for Stop {
    fn from(error: T) -> Self {
        Self::RollBack(error.into())
    }
}

pub(crate) fn configure(context: &Context, plan: &Plan) -> Result<Option<Vec<Route>>, Fail> {
    let request = plan.request;
    if request.wants_dpdk() || sriov::is_yusur(&request.device_id) {
        return Err(Fail::text(
            "emulator: vhost-user sockets and Yusur cards are not modelled",
        ));
    }
    if context.options.answer_at_once {
        nic_names(&request.container_id, plan.if_name)?;
        if let Some(bridge) = context
            .options
            .bridge
            .as_deref()
            .filter(|_| !request.device_id.is_empty())
        {
            let nic = set_up_vf(context, plan)?;
            at_once::attach(plan, bridge, &nic.host, &nic.container)?;
        }
        return Ok(planned_routes(plan));
    }
    let nic = if request.device_id.is_empty() {
        set_up_veth(plan)?
    } else {
        set_up_vf(context, plan)?
    };
    let mut has_port = false;
    match attach(context, plan, &nic, &mut has_port) {
        Ok(routes) => Ok(routes),
        Err(Stop::Leave(fail)) => Err(fail),
        Err(Stop::RollBack(fail)) => {
            let rollback = context.options.version.rollback;
            if rollback == Rollback::Nothing {
                return Err(fail);
            }
            if has_port && let Err(error) = ovs::del_port(&nic.host) {
                context.note(format!("failed to rollback ovs port {}, {error}", nic.host));
            }
            if request.device_id.is_empty() {
                remove_veth(context, &nic.host);
            } else if rollback == Rollback::PortAndRepresentor
                && let Err(error) = Place::Host.set(&nic.host, Change::Up)
            {
                context.note(format!("failed to bring {} back up during rollback: {error}", nic.host));
            }
            Err(fail)
        }
    }
}

fn set_up_veth(plan: &Plan) -> Result<Nic, Fail> {
    let (host, container) = nic_names(&plan.request.container_id, plan.if_name)?;
    if let Err(error) = Place::Host.add_veth(&host, &container, plan.mtu) {
        // the original deletes what stands in its way: a second ADD removes the first one's pair, then fails
        Place::Host.delete_link(&host)?;
        return Err(Fail::text(format!("failed to create veth for {error}")));
    }
    Ok(Nic { host, container })
}

fn remove_veth(context: &Context, host: &str) {
    if Place::Host.link(host).is_ok_and(|link| link.kind == "veth")
        && let Err(error) = Place::Host.delete_link(host)
    {
        context.note(format!("failed to rollback veth pair {host}, {error}"));
    }
}

/// setupSriovInterface: nothing here is undone when a later part of it fails.
fn set_up_vf(context: &Context, plan: &Plan) -> Result<Nic, Fail> {
    let pci = plan.request.device_id.as_str();
    let container = if plan.request.vf_driver == "vfio-pci" {
        // the extension is content with any driver of VFIO
        let takes_it = if plan.attach_only {
            sriov::has_vfio_driver(pci)
        } else {
            sriov::is_bound_to_vfio(pci)
        };
        if !takes_it {
            return Err(Fail::text(format!("driver of device {pci} is not 'vfio-pci'")));
        }
        String::new()
    } else {
        match sriov::netdevs(pci)?.as_slice() {
            [one] => one.clone(),
            _ => return Err(Fail::text(format!("failed to get one netdevice interface per {pci}"))),
        }
    };
    let version = context.options.version;
    let uplink = sriov::uplink(version, pci)?;
    let index = sriov::vf_index(pci)?;
    let representor = sriov::representor(version, &uplink, index)?;
    let (host, _) = nic_names(&plan.request.container_id, plan.if_name)?;
    // down, renamed, and left down until it is in br-int, or not
    Place::Host
        .set(&representor, Change::Down)
        .and_then(|()| match context.faults.has("rename-representor") {
            true => Err("file exists".to_owned()),
            false if representor == host => Ok(()),
            false => Place::Host.set(&representor, Change::Name(&host)),
        })
        .and_then(|()| {
            if version.representor_up_early {
                Place::Host.set(&host, Change::Up)
            } else {
                Ok(())
            }
        })
        .map_err(|error| format!("failed to rename {representor} to {host}: {error}"))?;
    if version.representor_up_early {
        set_representor_mtu(context, plan, &host)?;
    }
    sriov::set_vf_mac(pci, index, plan.mac, context.faults.has("set-vf-mac"))?;
    Ok(Nic { host, container })
}

fn attach(context: &Context, plan: &Plan, nic: &Nic, has_port: &mut bool) -> Result<Option<Vec<Route>>, Stop> {
    let request = plan.request;
    let faults = &context.faults;
    let version = context.options.version;
    let host = nic.host.as_str();
    let iface_id = iface_id(plan);
    context.step(request, "renamed")?;
    ovs::clean_duplicates(context, &iface_id, host);
    add_port(context, plan, host, &iface_id).map_err(|fail| Stop::Leave(Fail::text(fail)))?;
    *has_port = true;
    context.step(request, "port")?;
    if version.annotates && !request.device_id.is_empty() {
        if faults.has("annotations") {
            return Err(Fail::text(format!("pods \"{}\" not found", plan.pod_name)).into());
        }
        let pod = format!("{}/{}", request.pod_namespace, plan.pod_name);
        pods::annotate(context.options, &pod, &request.provider, host, &nic.container)?;
    }
    if !sriov::is_mac(plan.mac) {
        return Err(Fail::text(format!(
            "failed to parse mac {0:?}: address {0}: invalid MAC address",
            plan.mac
        ))
        .into());
    }
    if !version.representor_up_early && !request.device_id.is_empty() {
        set_representor_mtu(context, plan, host).map_err(|fail| Stop::Leave(Fail::text(fail)))?;
    }
    bring_up(host)?;
    ovs::clear_policing(&iface_id)?;
    if nic.container.is_empty() {
        return Ok(None);
    }
    if ovs::datapath_type()? == "netdev" {
        Place::Host
            .run("ethtool", &["-K", &nic.container, "tx", "off"])
            .map_err(|error| format!("failed to turn off nic tx checksum, output {error}, err exit status 1"))?;
    }
    if version.waits_for_installed {
        ovs::wait_installed(context, host)?;
    }
    if !plan.localnet_subnet.is_empty() {
        wait_localnet(context, plan.localnet_subnet).map_err(|fail| Stop::Leave(Fail::text(fail)))?;
    }
    if plan.attach_only {
        return Ok(planned_routes(plan));
    }
    if faults.has("netns") {
        return Err(Fail::text(format!(
            "failed to open netns {:?}: no such file or directory",
            request.net_ns
        ))
        .into());
    }
    kernel::check_netns(&request.net_ns)
        .map_err(|error| format!("failed to open netns {:?}: {error}", request.net_ns))?;
    Ok(container::configure(context, plan, &nic.container)?)
}

fn iface_id(plan: &Plan) -> String {
    let request = plan.request;
    let mut id = format!("{}.{}", request.pod_name, request.pod_namespace);
    if request.provider != "ovn" {
        id = format!("{id}.{}", request.provider);
    }
    if plan.with_if_name {
        format!("{id}.{}", plan.if_name)
    } else {
        id
    }
}

fn add_port(context: &Context, plan: &Plan, host: &str, iface_id: &str) -> Result<(), String> {
    let request = plan.request;
    let mut ids = vec![
        ("iface-id", iface_id),
        ("vendor", "kube-ovn"),
        ("pod_name", &request.pod_name),
        ("pod_namespace", &request.pod_namespace),
        ("pod_netns", &request.net_ns),
    ];
    let bare: Vec<&str> = plan
        .addresses
        .split(',')
        .map(|ip| ip.split('/').next().unwrap_or_default())
        .collect();
    let bare = bare.join(",");
    if context.options.version.empty_ip || !plan.addresses.is_empty() {
        ids.push(("ip", &bare));
    }
    if context.options.version.encap_ip && !plan.encap_ip.is_empty() {
        ids.push(("encap-ip", plan.encap_ip));
    }
    let added = if context.faults.has("add-port") {
        let arguments = format!("--may-exist add-port br-int {host}");
        Err(format!(
            "failed to run 'ovs-vsctl --timeout=30 {arguments}': exit status 1\n  \"fault add-port\""
        ))
    } else {
        ovs::add_port(host, &ids)
    };
    // the output is "" whenever there is an error, and printed all the same
    added.map_err(|error| format!("add nic to ovs failed {error}: \"\""))
}

fn set_representor_mtu(context: &Context, plan: &Plan, host: &str) -> Result<(), String> {
    let set = if context.faults.has("representor-mtu") {
        Err("invalid argument".to_owned())
    } else {
        Place::Host.set(host, Change::Mtu(plan.mtu))
    };
    set.map_err(|error| match error.as_str() {
        NOT_FOUND => format!("failed to get host link {host}: {error}"),
        _ => format!("failed to set MTU on {host}: {error}"),
    })
}

fn bring_up(host: &str) -> Result<(), String> {
    Place::Host
        .set(host, Change::Up)
        .map_err(|error| match error.as_str() {
            NOT_FOUND => format!("can not find host nic {host}: {error}"),
            _ => format!("can not set host nic {host} up: {error}"),
        })?;
    Place::Host
        .set(host, Change::QueueLength(1000))
        .map_err(|error| format!("can not set host nic {host} qlen: {error}"))
}

fn wait_localnet(context: &Context, subnet: &str) -> Result<(), String> {
    let port = format!("patch-localnet.{subnet}-to-br-int");
    let waited = if context.faults.has("localnet-patch") {
        Err("fault localnet-patch".to_owned())
    } else {
        ovs::wait_for_port(&port)
    };
    waited.map_err(|error| format!("failed waiting for localnet patch port {port}: {error}"))
}

/// The routes the daemon would have set: what it tells a plugin that sets them itself.
fn planned_routes(plan: &Plan) -> Option<Vec<Route>> {
    let gateways = if plan.u2o_ip.is_empty() {
        plan.gateway
    } else {
        plan.u2o_ip
    };
    let gateways = if plan.default_route && !plan.addresses.is_empty() {
        gateways
    } else {
        ""
    };
    let default = |gw: &str| Route {
        dst: if pods::protocol(gw) == "IPv6" {
            "::/0"
        } else {
            "0.0.0.0/0"
        }
        .to_owned(),
        gw: gw.to_owned(),
    };
    let routes: Vec<Route> = pods::trimmed(gateways)
        .into_iter()
        .map(default)
        .chain(plan.routes.iter().cloned())
        .collect();
    (!routes.is_empty()).then_some(routes)
}
