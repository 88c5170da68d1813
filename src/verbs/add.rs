use std::path::Path;

use super::del::del_without_record;
use super::request::{check_names, claim_of, has_long_name, makes_interface, request, trust};
use super::{Caller, Clock, failed, failure, outcome, pending, policy, this_host};
use crate::attach::{self, Taken, World};
use crate::cni::{Call, Code, Failure, Mode};
use crate::daemon::{self, Client, Reply, Request};
use crate::log::step;
use crate::net::{Netlink, Netns, Stack};
use crate::node::Settings;
use crate::resolve::Resolved;
use crate::state::{self, BootTime, Stage, Store};
use crate::types::{DeviceId, PciAddress};

/// ADD: the result goes to the caller, or the attachment does not stay.
pub async fn add(mut call: Call, settings: &Settings, clock: Clock, caller: &Caller<'_>) -> Result<(), Failure> {
    trust(&mut call, settings)?;
    let call = &call;
    if call.conf.mode == Mode::Interface {
        check_names(call)?;
    }
    let Some(netns) = call.netns.as_deref() else {
        return Err(Failure::new(
            Code::InvalidEnvironment,
            "required env variables [CNI_NETNS] missing",
            "",
        ));
    };
    let store = Store::at(Path::new(state::DIRECTORY));
    match call.conf.device_id()? {
        Some(text) => {
            if let Some(problem) = &settings.problem {
                return Err(Failure::new(Code::NodeNotReady, problem.to_string(), ""));
            }
            let device = pci_vf(text)?;
            policy::allocation(call, &device, settings.config.allocation)?;
            let mut world = this_host(clock).map_err(|e| failure(&e))?;
            let wanted = async |found: &Resolved| policy::offload(&world, found, settings.config.offload).await;
            let result = add_vf(&world, call, &device, clock, caller, wanted).await;
            pending::go_on_in(&mut world, Some(&device)).await;
            result
        }
        None => {
            let result = add_without_device(call, netns, clock, caller, &store).await;
            pending::go_on(&store, None).await;
            result
        }
    }
}

/// The VF of a `deviceID`. Sub-functions can be resolved, but no release of kube-ovn-daemon takes one.
fn pci_vf(text: &str) -> Result<PciAddress, Failure> {
    let why = match text.parse() {
        Ok(DeviceId::Pci(address)) => return Ok(address),
        Ok(DeviceId::Aux(name)) => {
            format!("{name} is a sub-function, expected a PCI VF: kube-ovn-daemon attaches no others")
        }
        Err(why) => format!("{why}; the plugin attaches PCI VFs only"),
    };
    Err(Failure::new(
        Code::InvalidConfig,
        format!("deviceID {why}"),
        "check the device plugin's resource pool that the NetworkAttachmentDefinition names",
    ))
}

/// Pods with a veth, and IPAM for another plugin: everything is the daemon's work, as with stock. But for one thing: what
/// nobody learns of is taken back.
async fn add_without_device(
    call: &Call,
    path: &Path,
    clock: Clock,
    caller: &Caller<'_>,
    store: &Store,
) -> Result<(), Failure> {
    if call.conf.mode == Mode::Interface {
        log::warn!(
            "no device ID came with network {}: the pod gets a veth, which is not offloaded",
            call.conf.name
        );
    }
    let netns = Netns::open(path).map_err(failed)?;
    if !call.netns_override && netns.id() == Netns::own().map_err(failed)?.id() {
        let msg = format!(
            "CNI_NETNS {} is the plugin's own network namespace, expected the pod's",
            path.display()
        );
        return Err(Failure::new(Code::OwnNetns, msg, ""));
    }
    let makes_interface = makes_interface(call);
    if makes_interface && has_long_name(call) {
        let host = Netlink::own().map_err(failed)?;
        attach::refuse_taken_port_name(&host, &call.container, &call.ifname, None)
            .await
            .map_err(failed)?;
    }
    let ifname = makes_interface.then_some(&call.ifname);
    attach::prepare_netns(&netns, ifname).map_err(failed)?;
    let client = Client::new(call.conf.socket()?);
    let request = request(call);
    let reply = step("daemon", client.add(&request, clock.reply()));
    let reply = reply.await.map_err(failed)?;
    let printed = outcome::print(call, &outcome::of_reply(call, &reply));
    let taken = printed.and_then(|result| {
        caller.wants(store, call)?;
        caller.take(&result)
    });
    if taken.is_err()
        && call.conf.mode == Mode::Interface
        && let Err(undo) = del_without_record(call, clock).await
    {
        log::warn!("what the daemon made stays until DEL: {undo}");
    }
    taken
}

/// `wanted`: whether the node wants the VF as it was found, asked before anything is done to it.
pub(super) async fn add_vf<S: Stack>(
    world: &World<S>,
    call: &Call,
    device: &PciAddress,
    clock: Clock,
    caller: &Caller<'_>,
    wanted: impl AsyncFnOnce(&Resolved) -> Result<(), Failure>,
) -> Result<(), Failure> {
    call.conf.socket()?;
    let held = attach::hold(world, claim_of(call, device), &call.conf.vf_driver, clock.lock());
    let held = step("take", held).await.map_err(failed)?;
    wanted(&held.found).await?;
    let mut taken = step("record", attach::take(world, held)).await.map_err(failed)?;
    let given = match steps(world, call, &mut taken, clock, caller).await {
        Ok(result) => caller.take(&result),
        Err(cause) => Err(cause),
    };
    match given {
        Ok(()) => Ok(()),
        Err(cause) => match step("undo", taken.give_back(world)).await {
            Ok(()) => Err(cause),
            Err(undo) => Err(Failure {
                details: format!("and on the way back: {undo}"),
                ..cause
            }),
        },
    }
}

/// What may fail once the VF is ours; whoever calls this gives it back then.
async fn steps<S: Stack>(
    world: &World<S>,
    call: &Call,
    taken: &mut Taken<S>,
    clock: Clock,
    caller: &Caller<'_>,
) -> Result<Vec<u8>, Failure> {
    let wanted = || caller.wants(&world.store, call);
    wanted()?;
    step("prepare", attach::prepare(world, taken)).await.map_err(failed)?;
    wanted()?;
    let device = taken.record.claim.device.clone();
    let reply = tokio::select! {
        reply = step("daemon", ask(world, call, taken, clock)) => reply?,
        why = caller.lost(&world.store, call) => return Err(why),
    };
    wanted()?;
    complete(call, &reply).map_err(failed)?;
    if reply.vf_plumbing_by_cni {
        taken.advance(world, Stage::Plumbing).map_err(failed)?;
        step("plumb", attach::plumb(world, taken, &reply))
            .await
            .map_err(failed)?;
        wanted()?;
    }
    if let (Some(_), Some(mac)) = (&taken.vfio, reply.mac) {
        let administered = step("mac", attach::administer_mac(world, taken, mac));
        administered.await.map_err(failed)?;
    }
    let representor = step("verify", attach::verify(world, taken, &reply));
    let representor = representor.await.map_err(failed)?;
    let result = outcome::print(call, &outcome::of_vf(call, &device, &representor, &reply))?;
    taken.advance(world, Stage::Attached).map_err(failed)?;
    wanted()?;
    policy::device_info(call, &taken.record, &representor.name);
    Ok(result)
}

/// Asks the daemon for the VF. The record says that it was asked for as long as it may be working on it.
async fn ask<S: Stack>(world: &World<S>, call: &Call, taken: &mut Taken<S>, clock: Clock) -> Result<Reply, Failure> {
    taken.record.asked = Some(BootTime::now());
    taken.advance(world, Stage::Asked).map_err(failed)?;
    let request = Request {
        device_id: taken.record.claim.device.to_string(),
        // the one word by which the daemon knows that there is no netdev, whatever the driver is called
        vf_driver: match taken.vfio {
            Some(_) => "vfio-pci".to_owned(),
            None => call.conf.vf_driver.clone(),
        },
        representor: taken.record.representor.name.to_string(),
        vf_plumbing: "cni".to_owned(),
        ..request(call)
    };
    let client = Client::new(&taken.record.claim.socket);
    let reply = client.add(&request, clock.reply()).await;
    // on disk with the next stage, or with the way back
    taken.record.asked = match &reply {
        Err(daemon::Error::NoReply { at_work: true, .. }) => taken.record.asked,
        _ => None,
    };
    if let Err(daemon::Error::Unreachable { .. }) = reply {
        // it has heard nothing, so it need not be reached to undo it
        taken.advance(world, Stage::Preparing).map_err(failed)?;
    }
    reply.map_err(|error| of_variant(taken.vfio.as_deref(), failed(error)))
}

/// Released daemons look for the VF among those of the driver vfio-pci itself (`ovs_linux.go:1778-1797` at 1533681d7).
fn of_variant(vfio: Option<&str>, failure: Failure) -> Failure {
    match vfio {
        Some(driver) if driver != "vfio-pci" && failure.msg.contains("is not 'vfio-pci'") => Failure {
            details: format!(
                "the VF is bound to {driver}, a variant of vfio-pci, which this kube-ovn-daemon does not serve: bind the VF to vfio-pci"
            ),
            ..failure
        },
        _ => failure,
    }
}

/// A reply about a VF names the interface and its MAC. One without them comes from a daemon that configured nothing:
/// the provider has no subnet on this node, or its annotations never came (handler.go:201-378 at v1.14.41).
fn complete(call: &Call, reply: &Reply) -> Result<(), daemon::Error> {
    let nonsense = |why: String| Err(daemon::Error::Nonsense { status: 200, why });
    if reply.nic_name.is_empty() {
        return nonsense(format!(
            "it configured no interface: provider {} must end in \"ovn\" and be the provider of a Subnet",
            call.conf.provider
        ));
    }
    if reply.nic_name != call.ifname.as_str() {
        return nonsense(format!("for interface {:?}, expected {}", reply.nic_name, call.ifname));
    }
    if reply.mac.is_none() {
        return nonsense("without a MAC".to_owned());
    }
    Ok(())
}
