use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::locate::{Place, locate};
use super::restore::{restore, restore_addresses, restore_admin_mac, strip_in_pod, unless_gone};
use super::{Error, World, port};
use crate::net::{self, Link, LinkChange, Stack};
use crate::state::{Before, Lock, Record, Stage};
use crate::types::IfName;

const POLL: Duration = Duration::from_millis(20);
/// How often a VF is moved home that is in the pod once more: a name may be taken, and the index may be another.
const MOVES: u32 = 5;

/// Gives a VF back and makes everything as the record says it was: the failed ADD's way back, DEL, and the repair of
/// what a killed call left. Goes by what it finds, so it can be repeated and can begin anywhere.
///
/// The order matters. The VF comes home first, so that no late step of the daemon finds it in the pod; then the
/// representor goes down, so that nothing of the pod is forwarded any more; then the port goes. What another pod's
/// ADD could trip over (MACs, MTUs, the representor's name) is restored once nothing of OVS holds the representor. The record goes last.
///
/// On an error the record stays and says what to go on with. `_lock` is the proof that nobody else works on the VF;
/// `pods` are the namespaces where the VF may be, held open so that they can't go meanwhile.
pub async fn undo<S: Stack>(world: &World<S>, record: &Record, _lock: &Lock, pods: Vec<S>) -> Result<(), Error> {
    let record = &ending(world, record);
    let mut problems = Vec::new();
    // every step is taken even when an earlier one failed: what can be given back is
    let vf = match &record.vf {
        Some(before) => note(&mut problems, bring_home(world, record, before, pods).await).flatten(),
        None => None, // a virtual machine has it, and never its netdev
    };
    if record.stage >= Stage::Asked {
        let representor = note(&mut problems, representor(world, record).await).flatten();
        if let Some(link) = representor.as_ref().filter(|link| link.up) {
            note(&mut problems, unless_gone(world.host.change(link.index, &DOWN).await));
        }
        let port = note(&mut problems, port::remove(world, record, representor.as_ref()).await);
        note(&mut problems, restore_admin_mac(world, record).await);
        // a representor that OVS still holds keeps the name by which OVSDB knows it
        if let (Some(link), Some(())) = (&representor, port)
            && link.index == record.representor.ifindex
        {
            note(&mut problems, restore(world, link, &record.representor).await);
            let name = &record.representor.name;
            note(&mut problems, restore_name(world, link.index, name).await);
        }
    }
    if let (Some(link), Some(before)) = (&vf, &record.vf) {
        note(&mut problems, restore(world, link, before).await);
        // the daemon has never heard of this attempt, so the VF may be as it was in every way
        if record.stage == Stage::Preparing && before.up {
            note(&mut problems, unless_gone(world.host.change(link.index, &UP).await));
        }
        restore_addresses(world, link, before).await;
    }
    if problems.is_empty() {
        if world.may_be_at_work(record).is_some() {
            // what it does from now on, the next call finds and takes back
            log::warn!(
                "VF {} is given back, and stays pending: kube-ovn-daemon may still begin with the ADD that it never answered",
                record.claim.device
            );
            return Ok(());
        }
        return Ok(world.store.remove(record)?);
    }
    Err(Error::Unfinished {
        device: record.claim.device.clone(),
        problems,
    })
}

/// Puts on disk that the attachment has ended: whoever comes next goes on with this, be the pod's namespace alive or not.
/// When that can't be written, giving back is still the best that can be done.
fn ending<S>(world: &World<S>, record: &Record) -> Record {
    if record.ending {
        return record.clone();
    }
    let record = Record {
        ending: true,
        ..record.clone()
    };
    let written = world
        .store
        .pending(&record.claim.device)
        .and_then(|()| world.store.write(&record));
    if let Err(e) = written {
        log::warn!("not noted that {} has ended: {e}", record.holder());
    }
    record
}

const DOWN: LinkChange = LinkChange {
    up: Some(false),
    ..LinkChange::NONE
};
const UP: LinkChange = LinkChange {
    up: Some(true),
    ..LinkChange::NONE
};

/// Keeps the error of a step in words, and goes on.
fn note<T, E: std::fmt::Display>(problems: &mut Vec<String>, result: Result<T, E>) -> Option<T> {
    result.map_err(|e| problems.push(e.to_string())).ok()
}

/// Brings the VF's netdev into the host's namespace, down and under its old name. `None`: it has none any more.
async fn bring_home<S: Stack>(
    world: &World<S>,
    record: &Record,
    before: &Before,
    mut pods: Vec<S>,
) -> Result<Option<Link>, Error> {
    let start = Instant::now();
    let mut refused = false;
    let mut moves = 0;
    loop {
        match locate(world, record, &pods).await? {
            Place::Gone | Place::NoNetdev => return Ok(None),
            Place::Host(link) => {
                if link.up && (link.name != before.name || record.stage >= Stage::Asked) {
                    unless_gone(world.host.change(link.index, &DOWN).await)?;
                }
                restore_vf_name(world, link.index, &before.name, &record.attempt).await?;
                return Ok(Some(link));
            }
            Place::Pod(_, _) if moves == MOVES => {
                let why = "it does not stay where it was put; does another program move it?".to_owned();
                return Err(net::Error::NoAnswer {
                    what: format!("bring VF {} home", record.claim.device),
                    why,
                }
                .into());
            }
            Place::Pod(pod, link) => {
                moves += 1;
                let name = if refused { &record.attempt } else { &before.name };
                strip_in_pod(pod, &link, before, refused).await?;
                match pod.move_to(link.index, &world.host, name).await {
                    // ENODEV: it moved or went by itself. Look again.
                    Ok(()) => {}
                    Err(e) if e.is_gone() => {}
                    // The VF is in the host under the name that it had in the pod. Or it has not moved at all: both
                    // names are taken in the host, or one of its alternative names is, which a tenant can bring about
                    // (__dev_change_net_namespace in net/core/dev.c). Then once more without what may be taken.
                    Err(e) if e.errno() == Some(Errno::EEXIST) => refused = true,
                    Err(e) => return Err(e.into()),
                }
            }
            Place::Elsewhere => {
                // it comes home when its namespace ends, which we must not prevent
                pods.clear();
                if start.elapsed() > world.patience.vf_return {
                    let vf = world.sysfs.vf(&record.claim.device)?;
                    return Err(Error::Elsewhere {
                        device: record.claim.device.clone(),
                        driver: vf.driver.unwrap_or_default(),
                        seconds: world.patience.vf_return.as_secs(),
                    });
                }
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

/// The representor as it is now; `None` when the VF has none (eswitch mode changed, VF or PF gone). When it can't be
/// resolved, the one of the record may still be there: a VF can be unplugged without it.
async fn representor<S: Stack>(world: &World<S>, record: &Record) -> Result<Option<Link>, Error> {
    match world.resolve(&record.claim.device) {
        Ok(found) => Ok(world.host.link(found.representor.netdev.ifindex).await?),
        Err(why) => {
            log::info!("looking for the representor by its index: {why}");
            let link = world.host.link(record.representor.ifindex).await?;
            // the host gives no index twice before it has given all
            Ok(link.filter(|link| !link.software && link.belongs_to(&record.pf) != Some(false)))
        }
    }
}

/// Gives a link its old name; `false` when another has taken that name.
async fn restore_name<S: Stack>(world: &World<S>, index: u32, name: &IfName) -> Result<bool, net::Error> {
    match net::rename(&world.host, index, name).await {
        Err(e) if e.errno() == Some(Errno::EEXIST) => {
            log::warn!("link with index {index} can't have its name {name} back: another link has it now");
            Ok(false)
        }
        other => unless_gone(other).map(|()| true),
    }
}

/// The same for the VF. A name that a pod gave it must not stay in the host, so it gets the attempt's, which nobody
/// else has, when it can't have its own; a VF is known by its PCI address, so this keeps nobody from using it.
async fn restore_vf_name<S: Stack>(
    world: &World<S>,
    index: u32,
    name: &IfName,
    attempt: &IfName,
) -> Result<(), net::Error> {
    if restore_name(world, index, name).await? {
        return Ok(());
    }
    unless_gone(net::rename(&world.host, index, attempt).await)
}
