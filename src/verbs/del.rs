use std::path::Path;

use super::request::{check_names, claim_of, has_long_name, request, trust};
use super::{Clock, failed, pending, this_host};
use crate::attach::{self, NO_NETNS, World};
use crate::cni::{Call, Failure, Mode};
use crate::daemon::{self, Client, Request};
use crate::log::step;
use crate::net::Stack;
use crate::node::Settings;
use crate::ovs::{self, Ovs};
use crate::state::{self, Store};
use crate::types::PciAddress;

/// DEL: nothing is printed.
pub async fn del(mut call: Call, settings: &Settings, clock: Clock) -> Result<(), Failure> {
    // No ADD came through with a socket that is refused, so there is nobody to ask. What has a record is undone by the
    // socket in it.
    let refused = trust(&mut call, settings).err();
    if let Some(refused) = refused {
        log::warn!("{refused}");
        call.conf.server_socket = None;
    }
    let call = &call;
    let store = Store::at(Path::new(state::DIRECTORY));
    let device = match call.conf.mode {
        Mode::Interface => store.find(&call.container, &call.ifname).map_err(failed)?,
        Mode::Ipam => None,
    }
    .or_else(|| named_device(call));
    let result = del_here(&store, call, device.is_some(), clock).await;
    pending::go_on(&store, device.as_ref()).await;
    result
}

/// `is_known`: a record or the call tells of a VF.
async fn del_here(store: &Store, call: &Call, is_known: bool, clock: Clock) -> Result<(), Failure> {
    if call.conf.mode == Mode::Interface {
        // on a node that never attached a VF nothing is written for pods that have none
        if store.exists() {
            cancel(store, call);
        }
        // nothing tells of a VF; but stock leaves no record, and Multus may have lost the device's ID
        if is_known || call.netns.as_deref().is_some_and(Path::exists) {
            match this_host(clock) {
                Ok(world) if del_vf(&world, call, clock).await? => return Ok(()),
                Err(e) if is_known => return Err(failed(e)),
                _ => {}
            }
        }
    }
    del_without_record(call, clock).await
}

/// An ADD that is still running has no one any more who wants its attachment.
pub(super) fn cancel(store: &Store, call: &Call) {
    if let Err(e) = store.cancel(&call.container, &call.ifname) {
        log::warn!("an ADD that may still be running can't be told that DEL has come: {e}");
    }
}

/// The VF that stdin names, if it is one word and a PCI address; a record is trusted before it.
fn named_device(call: &Call) -> Option<PciAddress> {
    call.conf.device_id().ok().flatten()?.parse().ok()
}

/// Gives the VF of this attachment back, by what its record says and not by what stdin says. `false`: there is no
/// record of it (any more), and the VF is not in the pod.
pub(super) async fn del_vf<S: Stack>(world: &World<S>, call: &Call, clock: Clock) -> Result<bool, Failure> {
    let recorded = world.store.find(&call.container, &call.ifname).map_err(failed)?;
    // stdin may name anything, and each lock leaves a file: only what exists. And only with a daemon to ask: what can't be
    // finished must not be begun.
    let named = || named_device(call).filter(|device| call.conf.socket().is_ok() && world.sysfs.vf(device).is_ok());
    let device = match recorded.or_else(named) {
        Some(device) => device,
        None => match of_the_interface(world, call).await {
            Some(device) => device,
            None => return Ok(false),
        },
    };
    crate::log::device(&device);
    let lock = step("lock", world.store.lock(&device, clock.lock()));
    let lock = lock.await.map_err(failed)?;
    let record = match attach::readable(world, &device).map_err(failed)? {
        Some(record) if record.is_of(&call.container, &call.ifname) => Some(record),
        Some(_) => None,
        None => attach::adopt(world, &claim_of(call, &device), &lock)
            .await
            .map_err(failed)?,
    };
    match record {
        Some(record) => {
            let pods = attach::pods_of(world, &record, call.netns.as_deref());
            let undone = step("undo", attach::undo(world, &record, &lock, pods));
            undone.await.map_err(failed)?;
            Ok(true)
        }
        None => {
            world.store.forget(&call.container, &call.ifname).map_err(failed)?;
            Ok(false)
        }
    }
}

/// The VF that the pod's interface is, which no record and nothing in the call names. Most pods have none: what can't be found
/// out keeps none of them from ending.
async fn of_the_interface<S: Stack>(world: &World<S>, call: &Call) -> Option<PciAddress> {
    call.conf.socket().ok()?;
    match attach::vf_of_interface(world, call.netns.as_deref()?, &call.container, &call.ifname).await {
        Ok(device) => device,
        Err(e) => {
            log::info!("whether {} is a VF can't be seen: {e}", call.ifname);
            None
        }
    }
}

/// Whether the port that the daemon would remove by its name is another pod's: a long interface name leaves too little of
/// the container ID in it, and this pod's ADD was refused for that.
async fn is_anothers(call: &Call, clock: Clock) -> bool {
    let Some(name) = ovs::port_name(&call.container, &call.ifname).filter(|_| has_long_name(call)) else {
        return false;
    };
    let port = match Ovs::at(Path::new(ovs::DIRECTORY)).port(&name, clock.reply()).await {
        Ok(Some(port)) => port,
        Ok(None) => return false,
        Err(e) => {
            log::warn!("whose port {name} is can't be seen: {e}"); // nor can the daemon remove it then
            return false;
        }
    };
    let differs = |key: &str, value: &str| port.external_ids.get(key).is_some_and(|found| found != value);
    // a virtual machine's port has the machine's name, and not the pod's
    let anothers = match &call.netns {
        Some(netns) => differs("pod_netns", &netns.to_string_lossy()),
        None => differs("pod_namespace", &call.pod.namespace) || differs("pod_name", &call.pod.name),
    };
    if anothers {
        log::warn!("port {name} is another pod's, and stays");
    }
    anothers
}

/// A veth, an address for another plugin, an ADD that never came to anything, or an attachment that stock made. The
/// daemon removes what it finds by the names in the request. Never with a device ID, and never with an empty
/// namespace, on which it would do nothing; see `attach/port.rs`.
pub(super) async fn del_without_record(call: &Call, clock: Clock) -> Result<(), Failure> {
    if check_names(call).is_err() {
        return Ok(()); // the daemon could not have made anything, and would die of the request
    }
    if is_anothers(call, clock).await {
        return Ok(());
    }
    let request = Request {
        net_ns: call
            .netns
            .as_ref()
            .map_or_else(|| NO_NETNS.to_owned(), |path| path.display().to_string()),
        routes: Vec::new(),
        dns: serde_json::Value::Object(serde_json::Map::new()),
        vf_driver: String::new(),
        vhost_user_socket_name: String::new(),
        ..request(call)
    };
    let socket = match call.conf.socket() {
        Ok(socket) => socket,
        Err(failure) => {
            // no ADD came through with this netconf, and a pod whose DEL fails never ends
            log::warn!("nobody to ask: {failure}");
            return Ok(());
        }
    };
    let client = Client::new(socket);
    match step("daemon", client.del(&request, clock.reply())).await {
        // as with a socket that is refused
        Err(foreign @ daemon::Error::Foreign { .. }) => {
            log::warn!("nobody to ask: {foreign}");
            Ok(())
        }
        other => other.map_err(failed),
    }
}
