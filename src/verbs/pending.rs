//! Attachments that have ended but could not be given back wholly: each later call goes on with a few of them.

use std::time::{Duration, Instant};

use super::{Clock, this_host};
use crate::attach::{self, World};
use crate::net::Stack;
use crate::node::Deadlines;
use crate::state::Store;
use crate::types::PciAddress;

/// What a call spends on others' attachments.
const BUDGET: Duration = Duration::from_millis(200);

/// Goes on with some pending attachments of this host, except that of one VF, which this call has just worked on.
pub(super) async fn go_on(store: &Store, except: Option<&PciAddress>) {
    // on nearly every call of nearly every node there is nothing, and nothing more is opened for that
    if !matches!(store.some_pending(except), Ok(devices) if !devices.is_empty()) {
        return;
    }
    match this_host(Clock::of_del(&Deadlines::default())) {
        Ok(mut world) => go_on_in(&mut world, except).await,
        Err(e) => log::warn!("pending attachments are left for later: {e}"),
    }
}

/// The same on a given host. Never waits for a lock, nor longer than the budget: what does not come to its end now can be
/// gone on with, like everything.
pub(super) async fn go_on_in<S: Stack>(world: &mut World<S>, except: Option<&PciAddress>) {
    let end = Instant::now() + BUDGET;
    // the daemon, and then OVSDB
    world.patience.daemon_del = BUDGET / 3;
    world.patience.ovsdb = BUDGET / 3;
    let devices = world.store.some_pending(except).unwrap_or_default();
    for device in devices {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        match tokio::time::timeout(left, finish(world, &device)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => log::info!("VF {device} stays pending: {e}"),
            Err(_) => log::info!("VF {device} stays pending: not done in {} ms", BUDGET.as_millis()),
        }
    }
}

async fn finish<S: Stack>(world: &World<S>, device: &PciAddress) -> Result<(), attach::Error> {
    let Some(lock) = world.store.try_lock(device).await? else {
        return Ok(());
    };
    match world.store.read(device)? {
        Some(record) if record.ending && world.may_be_at_work(&record).is_some() => Ok(()),
        Some(record) if record.ending => {
            let pods = attach::pods_of(world, &record, None);
            attach::undo(world, &record, &lock, pods).await
        }
        // killed between the mark and the record, or between the record and the mark
        _ => Ok(world.store.no_longer_pending(device)?),
    }
}
