use std::path::Path;

use super::request::{check_names, request};
use super::{Clock, failed, this_host};
use crate::attach::{self, NO_NETNS, World};
use crate::cni::{Call, Failure, Mode};
use crate::daemon::{Client, Request};
use crate::net::Stack;
use crate::state::{self, Store};

/// DEL: nothing is printed.
pub async fn del(call: &Call, clock: Clock) -> Result<(), Failure> {
    if call.conf.mode == Mode::Interface && holds_a_vf(call)? {
        let world = this_host().map_err(failed)?;
        if del_vf(&world, call, clock).await? {
            return Ok(());
        }
    }
    del_without_record(call, clock).await
}

/// Asked without making the state directory: most pods of most nodes have no VF.
fn holds_a_vf(call: &Call) -> Result<bool, Failure> {
    let directory = Path::new(state::DIRECTORY);
    if !directory.exists() {
        return Ok(false);
    }
    let store = Store::open(directory).map_err(failed)?;
    Ok(store.find(&call.container, &call.ifname).map_err(failed)?.is_some())
}

/// Gives the VF of this attachment back, by what its record says and not by what stdin says. `false`: there is no
/// record of it (any more).
pub(super) async fn del_vf<S: Stack>(world: &World<S>, call: &Call, clock: Clock) -> Result<bool, Failure> {
    let Some(device) = world.store.find(&call.container, &call.ifname).map_err(failed)? else {
        return Ok(false);
    };
    let lock = world.store.lock(&device, clock.del_lock()).await.map_err(failed)?;
    match world.store.read(&device).map_err(failed)? {
        Some(record) if record.is_of(&call.container, &call.ifname) => {
            attach::undo(world, &record, &lock, call.netns.as_deref())
                .await
                .map_err(failed)?;
            Ok(true)
        }
        _ => {
            world.store.forget(&call.container, &call.ifname).map_err(failed)?;
            Ok(false)
        }
    }
}

/// A veth, an address for another plugin, an ADD that never came to anything, or an attachment that stock made. The
/// daemon removes what it finds by the names in the request. Never with a device ID, and never with an empty
/// namespace, on which it would do nothing; see [`attach::port_removal`].
pub(super) async fn del_without_record(call: &Call, clock: Clock) -> Result<(), Failure> {
    if check_names(call).is_err() {
        return Ok(()); // the daemon could not have made anything, and would die of the request
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
    Client::new(socket)
        .del(&request, clock.del_reply())
        .await
        .map_err(failed)
}
