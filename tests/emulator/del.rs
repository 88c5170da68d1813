//! POST /api/v1/del: handleDel of pkg/daemon/handler.go, releaseVf and deleteNic of `ovs_linux.go`.

use crate::at_once;
use crate::kernel::{self, Change, NOT_FOUND, Place};
use crate::nic;
use crate::ovs;
use crate::pods::{self, Pods};
use crate::record::{Answer, Context, Fail};
use crate::sriov;
use crate::wire::CniRequest;

pub(crate) fn handle(context: &Context, pods: &Pods, request: &CniRequest) -> Result<Answer, Fail> {
    let faults = &context.faults;
    faults.sleep("del-hang");
    context.step(request, "del")?;
    if faults.has("del-eof") {
        return Err(Fail::Panic("fault del-eof"));
    }
    let version = context.options.version;
    if version.del_needs_netns && request.net_ns.is_empty() {
        // B5: nothing is done, the port stays
        return Ok(Answer::empty(204));
    }
    if faults.has("del-garbage") {
        return Ok(Answer::json(200, b"<html>not JSON</html>".to_vec()));
    }
    if faults.has("del-500") {
        let error = "del nic failed failed to delete ovs port fault del-500, \"\"";
        return Err(Fail::Status(500, error.to_owned()));
    }
    let pod = pods.pod(&request.pod_namespace, &request.pod_name);
    let served = request.provider == "ovn" || request.cni_type == "kube-ovn";
    if version.del_needs_pod && !(pod.is_some() && served) {
        // B6: the port stays
        return Ok(Answer::empty(204));
    }
    let mut pod_name = request.pod_name.clone();
    // pod found: the nic type, and with it the release of the VF, is only set for our own kind of request
    let mut releases = version.releases_vf && !request.device_id.is_empty();
    if let Some(providers) = pod {
        let is_ours = pods::is_ovn(&request.provider) || request.cni_type == "kube-ovn";
        releases &= is_ours;
        if let Some((attachment, _)) = pods::lookup(version, providers, request).filter(|_| is_ours)
            && !attachment.vm.is_empty()
        {
            pod_name.clone_from(&attachment.vm);
        }
    }
    delete_nic(context, request, &pod_name, releases).map_err(|fail| match fail {
        Fail::Text(error) => Fail::Status(500, format!("del nic failed {error}")),
        other => other,
    })?;
    context.step(request, "del-reply")?;
    faults.sleep("del-late");
    if faults.has("del-late-eof") {
        return Err(Fail::Panic("fault del-late-eof"));
    }
    Ok(Answer::empty(204))
}

fn delete_nic(context: &Context, request: &CniRequest, pod_name: &str, releases: bool) -> Result<(), Fail> {
    let owner = format!("{}/{pod_name}", request.pod_namespace);
    if context.options.answer_at_once {
        let (port, _) = nic::nic_names(&request.container_id, &request.if_name)?;
        return match context.options.bridge {
            Some(_) => Ok(at_once::detach(&port)?),
            None => Ok(()),
        };
    }
    if releases {
        release_vf(context, request, pod_name).map_err(|error| {
            let what = format!(
                "VF {} assigned to the Pod {pod_name}/{}",
                request.if_name, request.pod_namespace
            );
            format!("failed to release {what} back to the host network namespace: {error}")
        })?;
    }
    // only now: a name that panics leaves the VF released and the port in place
    let (host, _) = nic::nic_names(&request.container_id, &request.if_name)?;
    let device = request.device_id.as_str();
    if context.options.version.representor_down
        && !device.is_empty()
        && Place::Host.link(&host).is_ok()
        && let Err(error) = Place::Host.set(&host, Change::Down)
    {
        context.note(format!("failed to set link {host} down: {error}"));
    }
    context.step(request, "del-port")?;
    ovs::del_port(&host).map_err(|error| format!("failed to delete ovs port {error}, \"\""))?;
    ovs::clear_qos(&owner)?;
    if device.is_empty() {
        match Place::Host.link(&host) {
            Err(error) if error == NOT_FOUND => {}
            Err(error) => return Err(Fail::text(format!("find host link {host} failed {error}"))),
            Ok(link) if link.kind == "veth" => Place::Host
                .delete_link(&host)
                .map_err(|error| format!("delete host link {host} failed {error}"))?,
            Ok(_) => {}
        }
    } else if has_pci_address(device) {
        let index = sriov::vf_index(device)?;
        sriov::set_vf_mac(device, index, "00:00:00:00:00:00", false)?;
    }
    Ok(())
}

/// B4: a netns that is gone is an error for ever. B1: the VF is moved into the netns it is in. Whatever goes wrong in
/// the netns is only logged. B14: any interface of this name is taken down and renamed.
fn release_vf(context: &Context, request: &CniRequest, pod_name: &str) -> Result<(), String> {
    let owner = format!("for pod {}/{pod_name}", request.pod_namespace);
    let netns = request.net_ns.as_str();
    let name = request.if_name.as_str();
    kernel::check_netns(netns).map_err(|error| format!("failed to get container namespace {owner}: {error}"))?;
    let pod = Place::Pod(netns);
    let release = || -> Result<(), String> {
        let of = |what: &str| format!("failed to {what} container interface {name}");
        let link = pod
            .link(name)
            .map_err(|error| format!("{} {owner}: {error}", of("get")))?;
        pod.set(name, Change::Down)
            .map_err(|error| format!("{} {owner}: {error}", of("bring down")))?;
        let alias = link.alias.as_str();
        pod.set(name, Change::Name(alias))
            .map_err(|error| format!("{} to {alias} {owner}: {error}", of("rename")))?;
        pod.set(alias, Change::Netns(netns))
            .map_err(|error| format!("{} back to host namespace {owner}: {error}", of("move")))
    };
    if let Err(error) = release() {
        context.note(error);
    }
    Ok(())
}

/// The original's pattern is not anchored: an address anywhere in the text will do.
fn has_pci_address(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(12).any(|window| {
        window.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b':',
            10 => true,
            11 => byte.is_ascii_digit(),
            _ => byte.is_ascii_hexdigit(),
        })
    })
}
