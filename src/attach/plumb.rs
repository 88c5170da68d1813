use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::locate::in_pod;
use super::{Error, Taken, World};
use crate::daemon::Reply;
use crate::net::{self, Link, LinkChange, Stack};

const POLL: Duration = Duration::from_millis(20);

/// Takes the VF into the pod and configures it as the daemon's reply says: for a daemon that only attached the
/// representor (docs/attach-protocol.md).
pub async fn plumb<S: Stack>(world: &World<S>, taken: &Taken<S>, reply: &Reply) -> Result<(), Error> {
    let record = &taken.record;
    let pod = &taken.pod;
    let Some(before) = &record.vf else {
        return Ok(()); // a virtual machine finds the VF where it is
    };
    world.host.move_to(before.ifindex, pod, &record.claim.ifname).await?;
    let Some(link) = in_pod(pod, record).await? else {
        return Err(net::Error::gone(before.ifindex).into());
    };
    let change = LinkChange {
        mac: reply.mac,
        mtu: (reply.mtu > 0).then_some(reply.mtu),
        // what the released daemons leave there too: the name to give back if all records are lost
        alias: Some(before.name.to_string()),
        ..LinkChange::default()
    };
    pod.change(link.index, &change).await?;
    pod.change(
        link.index,
        &LinkChange {
            up: Some(true),
            ..LinkChange::default()
        },
    )
    .await?;
    for ip in &reply.ips {
        pod.add_address(link.index, ip.address).await?;
    }
    wait_for_addresses(world, pod, &link, reply).await?;
    for (destination, gateway) in reply.all_routes() {
        pod.add_route(link.index, destination, gateway).await?;
    }
    announce(world, taken, &link, reply).await;
    Ok(())
}

/// IPv6 addresses can't be used before duplicate address detection has passed them.
async fn wait_for_addresses<S: Stack>(world: &World<S>, pod: &S, link: &Link, reply: &Reply) -> Result<(), Error> {
    if reply.ips.iter().all(|ip| ip.address.is_ipv4()) {
        return Ok(());
    }
    let start = Instant::now();
    loop {
        let addresses = pod.addresses(link.index).await?;
        let mut ours = addresses
            .iter()
            .filter(|address| reply.ips.iter().any(|ip| ip.address == address.ip));
        if let Some(taken) = ours.clone().find(|address| address.duplicate) {
            return Err(net::Error::NoAnswer {
                what: format!("address {} of {}", taken.ip, link.name),
                why: "another node of the network has it (IPv6 duplicate address detection)".to_owned(),
            }
            .into());
        }
        if !ours.any(|address| address.tentative) {
            return Ok(());
        }
        if start.elapsed() > world.patience.dad {
            log::warn!(
                "{}: IPv6 duplicate address detection has not finished after {:?}",
                link.name,
                world.patience.dad
            );
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Neighbours that remember the addresses elsewhere learn the new place. Never a reason to fail: they find out
/// without it, only later.
async fn announce<S: Stack>(world: &World<S>, taken: &Taken<S>, link: &Link, reply: &Reply) {
    let start = Instant::now();
    while start.elapsed() < world.patience.carrier
        && matches!(taken.pod.link(link.index).await, Ok(Some(link)) if !link.carrier)
    {
        tokio::time::sleep(POLL).await;
    }
    let addresses: Vec<IpAddr> = reply.ips.iter().map(|ip| ip.address.ip()).collect();
    if let Some(mac) = reply.mac
        && let Err(e) = taken.pod.announce(&taken.record.claim.ifname, mac, &addresses)
    {
        log::warn!("{e}");
    }
}
