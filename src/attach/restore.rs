//! A link as it was before us.

use nix::errno::Errno;

use super::{Error, World};
use crate::net::{self, Link, LinkChange, Stack};
use crate::resolve::Resolved;
use crate::state::{Before, Record};
use crate::types::Mac;

/// More addresses than anybody gives a VF; a record has its bounds.
const MAX_ADDRESSES: usize = 64;

/// What there is to know of a link that we are going to change. VLAN, trust, spoof check and rate of a VF are not in it:
/// only the PF's side can change them, and neither we nor the daemon do (it sets the MAC, `ovs_linux.go:1990` at
/// 1533681d7), so that a change in between is the operator's, and stays.
pub(super) fn before(link: &Link) -> Before {
    Before {
        ifindex: link.index,
        name: link.name.clone(),
        mac: link.mac,
        mtu: link.mtu,
        alias: link.alias.clone(),
        up: link.up,
        txqlen: Some(link.txqlen),
        flags: Some(link.flags),
        alt_names: Some(link.alt_names.clone()),
        xdp: link.xdp,
        addresses: Vec::new(),
    }
}

/// The addresses of a VF that a move to a pod takes away and that nobody else would give back: no leases, and none of
/// the IPv6 link-local ones that the kernel makes when the link is set up.
pub(super) async fn with_addresses<S: Stack>(world: &World<S>, before: Before) -> Result<Before, net::Error> {
    let addresses = world.host.addresses(before.ifindex).await?;
    let own = addresses.into_iter().filter(|address| {
        address.permanent && !matches!(address.ip.ip(), std::net::IpAddr::V6(ip) if ip.is_unicast_link_local())
    });
    let mut addresses: Vec<_> = own.map(|address| address.ip).collect();
    if addresses.len() > MAX_ADDRESSES {
        log::warn!(
            "{} has {} addresses: only the first {MAX_ADDRESSES} will be given back",
            before.name,
            addresses.len()
        );
        addresses.truncate(MAX_ADDRESSES);
    }
    Ok(Before { addresses, ..before })
}

/// Takes off the VF, while it is in the pod, what the pod gave it and what would come along: links stacked on it (a VLAN or
/// macvlan stays on it through a move, `vlan_device_event` and `macvlan_device_event`, and would go on using a VF that is
/// another pod's by then), and alternative names, which would be in the way of names of the host. The kernel itself
/// takes away addresses, routes, neighbours, queueing disciplines and filters (`__dev_change_net_namespace`).
pub(super) async fn strip_in_pod<S: Stack>(
    pod: &S,
    link: &Link,
    before: &Before,
    all_names: bool,
) -> Result<(), net::Error> {
    for stacked in pod.links().await? {
        if stacked.software && stacked.lower == Some(link.index) {
            let result = pod.delete(stacked.index).await;
            tolerate(result)?;
        }
    }
    for name in &link.alt_names {
        // udev gave the old name to the renamed VF; the kernel would give it the same name once more
        if all_names || *name == before.name.as_str() || is_foreign(name, before) {
            unless_gone(pod.drop_alt_name(link.index, name).await)?;
        }
    }
    Ok(())
}

fn is_foreign(name: &String, before: &Before) -> bool {
    before.alt_names.as_ref().is_some_and(|names| !names.contains(name))
}

/// Gives a link back what it had, each on its own: a driver that refuses one must not keep the others.
pub(super) async fn restore<S: Stack>(world: &World<S>, link: &Link, before: &Before) -> Result<(), net::Error> {
    let Some(now) = world.host.link(link.index).await? else {
        return Ok(());
    };
    let changes = [
        LinkChange {
            mac: before.mac.filter(|mac| now.mac != Some(*mac)),
            ..LinkChange::NONE
        },
        LinkChange {
            mtu: Some(before.mtu).filter(|mtu| now.mtu != *mtu),
            ..LinkChange::NONE
        },
        LinkChange {
            alias: Some(before.alias.clone()).filter(|alias| now.alias != *alias),
            ..LinkChange::NONE
        },
        LinkChange {
            txqlen: before.txqlen.filter(|length| now.txqlen != *length),
            ..LinkChange::NONE
        },
        LinkChange {
            flags: before.flags.filter(|flags| now.flags != *flags),
            ..LinkChange::NONE
        },
    ];
    for change in changes.iter().filter(|change| **change != LinkChange::NONE) {
        tolerate(world.host.change(link.index, change).await)?;
    }
    for change in LinkChange::without_xdp(now.xdp & !before.xdp) {
        // EBUSY: a program that is attached by a link of bpf(2) goes when whoever has that link open ends
        tolerate_busy(world.host.change(link.index, &change).await)?;
    }
    for name in now.alt_names.iter().filter(|name| is_foreign(name, before)) {
        unless_gone(world.host.drop_alt_name(link.index, name).await)?;
    }
    let missing = before.alt_names.iter().flatten();
    for name in missing.filter(|name| !now.alt_names.contains(name) && **name != now.name.as_str()) {
        warn_of(world.host.add_alt_name(link.index, name).await);
    }
    Ok(())
}

/// Gives the VF back the addresses that it had in the host. Nothing that a pod's end could depend on: a failure is only told.
pub(super) async fn restore_addresses<S: Stack>(world: &World<S>, link: &Link, before: &Before) {
    if before.addresses.is_empty() {
        return;
    }
    let have = match world.host.addresses(link.index).await {
        Ok(addresses) => addresses,
        Err(e) => return log::warn!("addresses of {} are not given back: {e}", before.name),
    };
    for address in &before.addresses {
        if !have.iter().any(|now| now.ip == *address) {
            warn_of(world.host.add_address(link.index, *address).await);
        }
    }
}

fn warn_of(result: Result<(), net::Error>) {
    if let Err(e) = result {
        log::warn!("left as it is: {e}");
    }
}

/// The MAC that the PF administers for the VF. devlink tells it with the port; else the PF's link does, in a message that holds
/// all its VFs.
pub(super) async fn admin_mac<S: Stack>(world: &World<S>, found: &Resolved) -> Result<Option<Mac>, Error> {
    if found.admin_mac.is_some() {
        return Ok(found.admin_mac);
    }
    Ok(world.host.vf_mac(uplink_of(world, found)?, found.number).await?)
}

/// The index of the netdev by which the PF's side of the VF is administered.
pub(super) fn uplink_of<S: Stack>(world: &World<S>, found: &Resolved) -> Result<u32, Error> {
    Ok(match &found.uplink {
        Some(uplink) => uplink.ifindex,
        None => world.uplink(&found.pf)?.netdev.ifindex,
    })
}

/// The daemon set the VF's MAC through the PF.
pub(super) async fn restore_admin_mac<S: Stack>(world: &World<S>, record: &Record) -> Result<(), Error> {
    let Some(before) = record.admin_mac else {
        return Ok(());
    };
    let Ok(vf) = world.sysfs.vf(&record.claim.device) else {
        return Ok(());
    };
    let found = world.resolve(&vf.address).ok();
    let told = found.as_ref().and_then(|found| found.admin_mac);
    if told == Some(before) {
        return Ok(());
    }
    let pf = match found.and_then(|found| found.uplink) {
        Some(uplink) => uplink.ifindex,
        None => match world.uplink(&vf.pf) {
            Err(error) if error.is_unanswered() => return Err(error.into()),
            Err(_) => return Ok(()), // no PF driver: there is nothing that could hold a MAC
            Ok(uplink) => uplink.netdev.ifindex,
        },
    };
    let now = match told {
        Some(mac) => Some(mac),
        None => world.host.vf_mac(pf, record.vf_index).await?,
    };
    match now {
        Some(now) if now != before => Ok(tolerate(world.host.set_vf_mac(pf, record.vf_index, before).await)?),
        _ => Ok(()),
    }
}

/// What has gone needs nothing any more.
pub(super) fn unless_gone(result: Result<(), net::Error>) -> Result<(), net::Error> {
    match result {
        Err(e) if e.is_gone() => Ok(()),
        other => other,
    }
}

/// What a driver refuses to take back it will refuse for ever, and a pod that can't end is worse: say it and go on.
fn tolerate(result: Result<(), net::Error>) -> Result<(), net::Error> {
    match result {
        Err(e) if e.is_refusal() => {
            log::warn!("left as it is: {e}");
            Ok(())
        }
        other => unless_gone(other),
    }
}

fn tolerate_busy(result: Result<(), net::Error>) -> Result<(), net::Error> {
    match result {
        Err(e) if e.errno() == Some(Errno::EBUSY) => {
            log::warn!("left as it is: {e}");
            Ok(())
        }
        other => tolerate(other),
    }
}
