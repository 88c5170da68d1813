//! Who else manages netdevs of this host.

use super::{Asked, Place};

/// Where `NetworkManager` keeps what must survive its restart.
const RUN: &str = "/run/NetworkManager";
const MAX_FILE: u64 = 64 * 1024;

/// The host's network managers.
pub(in super::super) struct Host {
    /// The indices of the netdevs that `NetworkManager` manages; `None` when it does not run.
    pub(in super::super) managed: Asked<Option<Vec<u32>>>,
}

pub(super) fn gather(place: &Place) -> Host {
    Host {
        managed: managed(place),
    }
}

/// It writes a file for each netdev that it knows, `devices/<ifindex>`, with `managed=true` in the group `[device]`
/// (`nm_config_device_state_write`, src/core/nm-config.c).
fn managed(place: &Place) -> Asked<Option<Vec<u32>>> {
    let pid = place.text(&format!("{RUN}/NetworkManager.pid"), 32)?;
    let is_alive = |pid: &String| {
        pid.parse::<u32>()
            .is_ok_and(|pid| place.exists(&format!("/proc/{pid}")))
    };
    // newer ones write no pid file, and are one D-Bus name; the directory goes when the service is stopped for good
    if pid.as_ref().is_some_and(|pid| !is_alive(pid)) || !place.exists(&format!("{RUN}/devices")) {
        return Ok(None);
    }
    let mut managed = Vec::new();
    for name in place.names(&format!("{RUN}/devices"))? {
        let Ok(index) = name.parse() else { continue };
        let text = place
            .text(&format!("{RUN}/devices/{name}"), MAX_FILE)?
            .unwrap_or_default();
        if text.lines().any(|line| line.trim() == "managed=true") {
            managed.push(index);
        }
    }
    Ok(Some(managed))
}
