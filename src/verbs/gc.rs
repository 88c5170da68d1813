use std::time::Duration;

use super::{Clock, failed, this_host};
use crate::attach::{self, World};
use crate::cni::{Code, Failure, NetConf};
use crate::net::Stack;
use crate::node::Deadlines;
use crate::state::{self, Record, Store};
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
    if let Err(e) = forget_strays(&world.store).await {
        log::warn!("{e}");
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

/// A call that was killed just before it wrote a record, or just after it had dropped one, leaves the way to it or the mark that it
/// is pending. When no DEL comes, they would stay.
async fn forget_strays(store: &Store) -> Result<(), state::Error> {
    for (container, ifname) in store.attachments()? {
        let Some(device) = store.find(&container, &ifname)? else {
            continue;
        };
        if let Some(_lock) = store.try_lock(&device).await?
            && let Ok(record) = store.read(&device)
            && !record.is_some_and(|record| record.is_of(&container, &ifname))
        {
            store.forget(&container, &ifname)?;
        }
    }
    for device in store.all_pending()? {
        if let Some(_lock) = store.try_lock(&device).await?
            && let Ok(None) = store.read(&device)
        {
            store.no_longer_pending(&device)?;
        }
    }
    Ok(())
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

/// What became of an attachment that has ended, or whose pod is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// The VF.
    pub device: PciAddress,
    /// Who had it; what is wrong with the record when that can't be told.
    pub holder: String,
    /// What became of it.
    pub fate: Fate,
}

/// What became of such an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is given back wholly, and its record gone.
    GivenBack,
    /// It is given back as far as that can be: the daemon may still begin with a request that it never answered, for so long.
    Waiting(Duration),
    /// A call works on it just now.
    Busy,
    /// Something could not be given back, and stays recorded.
    Failed(String),
}

/// Goes on with all attachments of this host that have ended, and gives back those whose pod is gone beyond doubt, as GC does, of
/// any network; nobody lists the living ones here, so a network namespace that is there is the sign of life. `each` is told of each
/// when it is done.
pub async fn sweep(deadlines: &Deadlines, mut each: impl FnMut(Swept)) -> Result<(), Failure> {
    let mut world = this_host(Clock::of_del(deadlines)).map_err(failed)?;
    for device in world.store.devices().map_err(failed)? {
        world.end = Clock::of_del(deadlines).end();
        if let Some(swept) = sweep_one(&world, &device).await.map_err(failed)? {
            each(swept);
        }
    }
    Ok(())
}

/// The same for one VF; nothing when its attachment lives. An error when that can't be told.
pub(super) async fn sweep_one<S: Stack>(world: &World<S>, device: &PciAddress) -> Result<Option<Swept>, attach::Error> {
    let swept = |holder: String, fate| {
        Ok(Some(Swept {
            device: device.clone(),
            holder,
            fate,
        }))
    };
    let Some(lock) = world.store.try_lock(device).await? else {
        // an ADD is no business of ours
        return match world.store.read(device) {
            Ok(Some(record)) if record.ending => swept(record.holder(), Fate::Busy),
            _ => Ok(None),
        };
    };
    let record = match world.store.read(device) {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(None),
        Err(why) => return swept("not known".to_owned(), Fate::Failed(why.to_string())),
    };
    if !record.ending && !is_dead(world, &record, &[])? {
        return Ok(None);
    }
    let pods = attach::pods_of(world, &record, None);
    let fate = match attach::undo(world, &record, &lock, pods).await {
        Err(why) => Fate::Failed(why.to_string()),
        Ok(()) => match world.may_be_at_work(&record) {
            Some(left) => Fate::Waiting(left),
            None => Fate::GivenBack,
        },
    };
    swept(record.holder(), fate)
}
