use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use super::prepare::port_owner;
use super::{Error, World, is_live, pods_of, readable, undo};
use crate::device::{Kind, Netdev};
use crate::net::{Link, Stack};
use crate::resolve::Resolved;
use crate::state::{Before, Claim, FORMAT, Lock, Record, Stage};
use crate::types::{IfName, Mac, PciAddress};

/// How often to look again for a VF that is on its way home.
const POLL: Duration = Duration::from_millis(50);

/// A VF that is ours until it is given back: its record is on disk, its lock held.
pub struct Taken<S> {
    /// What is on disk.
    pub record: Record,
    /// The pod's namespace.
    pub pod: S,
    pub(super) lock: Lock,
}

impl<S> Taken<S> {
    /// Puts on disk how far we are about to go.
    pub fn advance(&mut self, world: &World<S>, stage: Stage) -> Result<(), Error> {
        self.record.stage = stage;
        Ok(world.store.write(&self.record)?)
    }
}

impl<S: Stack> Taken<S> {
    /// Gives the VF back from whatever point was reached; see [`undo()`].
    pub async fn give_back(self, world: &World<S>) -> Result<(), Error> {
        undo(world, &self.record, &self.lock, vec![self.pod]).await
    }
}

/// Makes the VF ours: on an error, nothing was changed and no record is left.
pub async fn take<S: Stack>(world: &World<S>, claim: &Claim, lock_deadline: Instant) -> Result<Taken<S>, Error> {
    let pod = world.host.open(&claim.netns)?;
    if pod.id() == world.host.id() {
        return Err(Error::OwnNetns {
            path: claim.netns.display().to_string(),
            device: claim.device.clone(),
        });
    }
    // asked before the lock, so that a wrong address does not leave a lock file behind
    world.sysfs.vf(&claim.device)?;
    let lock = world.store.lock(&claim.device, lock_deadline).await?;
    end_dead_holder(world, claim, &lock).await?;
    wait_for_a_late_daemon(world, &claim.device, lock_deadline).await?;
    if pod.link_named(&claim.ifname).await?.is_some() {
        return Err(Error::NameTaken {
            netns: claim.netns.display().to_string(),
            ifname: claim.ifname.clone(),
        });
    }
    let found = world.resolve(&claim.device)?;
    refuse_without_netdev(claim, &found)?;
    let netdev = the_netdev(world, claim, &found).await?;
    let vf_link = fresh(world, &netdev).await?;
    let representor_link = fresh(world, &found.representor.netdev).await?;
    refuse_foreign_port(world, claim, &representor_link).await?;
    let record = Record {
        format: FORMAT,
        stage: Stage::Preparing,
        claim: claim.clone(),
        netns_id: pod.id(),
        pf: found.pf.clone(),
        vf_index: found.number,
        vf: before(&vf_link),
        representor: before(&representor_link),
        admin_mac: admin_mac(world, &found).await?,
        attempt: attempt_name()?,
        ending: false,
        asked: None,
    };
    if let Err(error) = world.store.write(&record) {
        // the way to the record may be there, and leads nowhere
        world.store.forget(&record.claim.container, &record.claim.ifname)?;
        return Err(error.into());
    }
    Ok(Taken { record, pod, lock })
}

/// A VF has one holder. A dead one's attachment is ended first; a live one's is none of our business.
async fn end_dead_holder<S: Stack>(world: &World<S>, claim: &Claim, lock: &Lock) -> Result<(), Error> {
    let Some(record) = readable(world, &claim.device)? else {
        return Ok(());
    };
    if is_live(world, &record)? {
        let hint = if record.is_of(&claim.container, &claim.ifname) {
            "it was added already: a repeated ADD needs a DEL first"
        } else if record.claim.container == claim.container {
            "Multus gives the default network and a further network of a pod the same VF when both name the same \
             NetworkAttachmentDefinition: name another one for the second"
        } else {
            "delete that pod first, or ask why the device plugin gave one VF to two pods"
        };
        return Err(Error::Held {
            device: claim.device.clone(),
            holder: record.holder(),
            netns: record.claim.netns.display().to_string(),
            hint,
        });
    }
    log::warn!(
        "VF {} is still recorded for {}, which has ended: giving it back first",
        claim.device,
        record.holder()
    );
    undo(world, &record, lock, pods_of(world, &record, None)).await
}

/// The daemon goes on with a request when its client has given up. As long as it may not have looked at the VF yet, it would
/// take it from whoever has it then: rename the representor, set the MAC, and take its own port away when it fails.
async fn wait_for_a_late_daemon<S: Stack>(
    world: &World<S>,
    device: &PciAddress,
    deadline: Instant,
) -> Result<(), Error> {
    loop {
        let Some(request) = world.store.unanswered(device)? else {
            return Ok(());
        };
        let since = request.asked.elapsed();
        if since >= world.patience.late_daemon {
            return Ok(world.store.forget_unanswered(device)?);
        }
        if Instant::now() >= deadline {
            return Err(Error::LateDaemon {
                device: device.clone(),
                holder: request.holder,
                ago: since.as_secs(),
                left: (world.patience.late_daemon.saturating_sub(since)).as_secs() + 1,
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Of what can be resolved, only a VF with a netdev can be attached.
fn refuse_without_netdev(claim: &Claim, found: &Resolved) -> Result<(), Error> {
    let device = claim.device.clone();
    let driver = found.driver.clone().unwrap_or_default();
    match &found.kind {
        Kind::Vf | Kind::Sf => Ok(()),
        Kind::Unbound => Err(Error::NoDriver(device)),
        Kind::Userspace => Err(Error::UserspaceDriver { device, driver }),
        Kind::Vdpa { name, driver } => Err(Error::Vdpa {
            device,
            name: name.clone(),
            driver: driver.clone().unwrap_or_else(|| "no driver".to_owned()),
        }),
    }
}

/// The MAC that the PF administers for the VF. devlink tells it with the port; else the PF's link does, in a message that holds
/// all its VFs.
async fn admin_mac<S: Stack>(world: &World<S>, found: &Resolved) -> Result<Option<Mac>, Error> {
    if found.admin_mac.is_some() {
        return Ok(found.admin_mac);
    }
    let uplink = match &found.uplink {
        Some(uplink) => uplink.ifindex,
        None => world.uplink(&found.pf)?.netdev.ifindex,
    };
    Ok(world.host.vf_mac(uplink, found.number).await?)
}

/// The VF's one netdev in the host's namespace; waits for one that is still coming home from a pod.
async fn the_netdev<S: Stack>(world: &World<S>, claim: &Claim, found: &Resolved) -> Result<Netdev, Error> {
    let start = Instant::now();
    loop {
        let netdevs = world.sysfs.netdevs(&claim.device)?;
        match netdevs.as_slice() {
            [one] => return Ok(one.clone()),
            [] if start.elapsed() < world.patience.vf_return => tokio::time::sleep(POLL).await,
            [] => {
                return Err(Error::Elsewhere {
                    device: claim.device.clone(),
                    driver: found.driver.clone().unwrap_or_default(),
                    seconds: world.patience.vf_return.as_secs(),
                });
            }
            many => {
                let names: Vec<&str> = many.iter().map(|netdev| netdev.name.as_str()).collect();
                return Err(Error::ManyNetdevs {
                    device: claim.device.clone(),
                    found: many.len(),
                    names: names.join(", "),
                });
            }
        }
    }
}

/// A representor that is in a bridge under a name that the daemon does not give was put there by somebody else.
async fn refuse_foreign_port<S: Stack>(world: &World<S>, claim: &Claim, representor: &Link) -> Result<(), Error> {
    let Some(master) = representor.master.filter(|_| port_owner(&representor.name).is_none()) else {
        return Ok(());
    };
    let master = world
        .host
        .link(master)
        .await?
        .map_or_else(|| format!("link {master}"), |link| link.name.to_string());
    Err(Error::ForeignPort {
        name: representor.name.clone(),
        device: claim.device.clone(),
        master,
    })
}

async fn fresh<S: Stack>(world: &World<S>, netdev: &Netdev) -> Result<Link, Error> {
    match world.host.link(netdev.ifindex).await? {
        Some(link) => Ok(link),
        None => Err(crate::net::Error::gone(netdev.ifindex).into()),
    }
}

pub(super) fn before(link: &Link) -> Before {
    Before {
        ifindex: link.index,
        name: link.name.clone(),
        mac: link.mac,
        mtu: link.mtu,
        alias: link.alias.clone(),
        up: link.up,
    }
}

/// A name that no netdev and no other attempt has, so that an ADD which the daemon finishes after we gave up does not
/// find the VF and rolls itself back. The hasher's keys are random (std), 48 bits of them are shown.
pub(super) fn attempt_name() -> Result<IfName, Error> {
    let random = RandomState::new().build_hasher().finish();
    format!("vf{:012x}", random & 0xffff_ffff_ffff)
        .parse()
        .map_err(|why: crate::types::Invalid| {
            crate::net::Error::NoAnswer {
                what: "name of the attempt".to_owned(),
                why: why.to_string(),
            }
            .into()
        })
}
