use super::{Clock, failed, this_host};
use crate::attach::{self, World};
use crate::cni::{Code, Failure, NetConf};
use crate::net::Stack;
use crate::state::Record;
use crate::types::{ContainerId, IfName, PciAddress};

/// GC: gives back what attachments of this network left that nobody lists and that are dead beyond doubt; and goes on with
/// those of this network that have ended. Without a list of living attachments nothing is done.
pub async fn gc(conf: &NetConf, clock: Clock) -> Result<(), Failure> {
    let Some(valid) = conf.valid_attachments()? else {
        return Ok(());
    };
    let world = this_host(clock).map_err(failed)?;
    collect(&world, &conf.name, &valid).await
}

/// The same on a given host. An error does not keep the other attachments from being looked at.
pub(super) async fn collect<S: Stack>(
    world: &World<S>,
    network: &str,
    valid: &[(ContainerId, IfName)],
) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for device in world.store.devices().map_err(failed)? {
        if let Err(e) = collect_one(world, network, valid, &device).await {
            problems.push(e.to_string());
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let msg = format!(
        "{} attachments of network {network} could not be given back, and stay recorded: {}",
        problems.len(),
        problems.join("; ")
    );
    Err(Failure::new(Code::TryAgainLater, msg, ""))
}

async fn collect_one<S: Stack>(
    world: &World<S>,
    network: &str,
    valid: &[(ContainerId, IfName)],
    device: &PciAddress,
) -> Result<(), attach::Error> {
    // a call that has the lock is about to end this attachment, or to finish it
    let Some(lock) = world.store.try_lock(device).await? else {
        return Ok(());
    };
    let record = match world.store.read(device) {
        Ok(Some(record)) if record.claim.network == network => record,
        Ok(_) => return Ok(()),
        Err(e) => {
            // nothing tells whose it is; ADD and DEL on this VF put it aside
            log::warn!("{e}");
            return Ok(());
        }
    };
    if !record.ending && !is_dead(world, &record, valid)? {
        return Ok(());
    }
    log::warn!("VF {device}: {} has ended without a DEL", record.holder());
    let pods = attach::pods_of(world, &record, None);
    attach::undo(world, &record, &lock, pods).await
}

/// Nobody lists it, and the namespace that it was made for is gone. Where the VF is proves nothing: a VF of a virtual machine
/// never leaves the host, and that of an ADD that is still running is there.
fn is_dead<S: Stack>(
    world: &World<S>,
    record: &Record,
    valid: &[(ContainerId, IfName)],
) -> Result<bool, attach::Error> {
    let listed = valid.iter().any(|(container, ifname)| record.is_of(container, ifname));
    Ok(!listed && !attach::is_live(world, record)? && world.host.sees_namespaces_at(&record.claim.netns)?)
}
