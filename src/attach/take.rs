use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::time::{Duration, Instant};

use super::prepare::port_owner;
use super::restore::{admin_mac, before, with_addresses};
use super::{Error, World, is_live, pods_of, readable, undo};
use crate::device::{Kind, Netdev};
use crate::net::{Link, Stack};
use crate::ovs;
use crate::resolve::Resolved;
use crate::state::{Claim, FORMAT, Lock, Record, Stage};
use crate::types::{ContainerId, IfName};

/// How often to look again for a VF that is on its way home.
const POLL: Duration = Duration::from_millis(50);

/// A VF that is ours until it is given back: its record is on disk, its lock held.
pub struct Taken<S> {
    /// What is on disk.
    pub record: Record,
    /// The driver by which the VF is handed to user space; such a VF has no netdev.
    pub vfio: Option<String>,
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

/// A VF that nobody else has or works on, and as it was found: what may still be asked of it before it is taken.
pub struct Held<S> {
    /// It and its representor.
    pub found: Resolved,
    claim: Claim,
    vfio: Option<String>,
    pod: S,
    lock: Lock,
}

/// Locks the VF and looks at it; an attachment of it that has ended is given back first. `vf_driver` is the netconf's.
pub async fn hold<S: Stack>(
    world: &World<S>,
    claim: Claim,
    vf_driver: &str,
    lock_deadline: Instant,
) -> Result<Held<S>, Error> {
    let pod = world.host.open(&claim.netns)?;
    if pod.id() == world.host.id() {
        return Err(Error::OwnNetns {
            path: claim.netns.display().to_string(),
            device: claim.device.clone(),
        });
    }
    // asked before the lock, so that a wrong address does not leave a lock file behind
    world.sysfs.vf(&claim.device)?;
    refuse_second_interface(world, &claim)?;
    let lock = world.store.lock(&claim.device, lock_deadline).await?;
    end_dead_holder(world, &claim, &lock, lock_deadline).await?;
    refuse_taken_interface(&pod, &claim.netns, &claim.ifname)?;
    let found = world.resolve(&claim.device)?;
    let vfio = vfio_driver(&claim, &found, vf_driver)?;
    Ok(Held {
        found,
        claim,
        vfio,
        pod,
        lock,
    })
}

/// Makes the VF ours: on an error, nothing was changed and no record is left. Links are looked at anew by their indices, which
/// the kernel gives to no other link.
pub async fn take<S: Stack>(world: &World<S>, held: Held<S>) -> Result<Taken<S>, Error> {
    let Held {
        found,
        claim,
        vfio,
        pod,
        lock,
    } = held;
    let vf = match vfio {
        Some(_) => None,
        None => {
            let link = fresh(world, &the_netdev(world, &claim, &found).await?).await?;
            Some(with_addresses(world, before(&link)).await?)
        }
    };
    let representor_link = fresh(world, &found.representor.netdev).await?;
    refuse_foreign_port(world, &claim, &representor_link, vfio.is_some()).await?;
    refuse_taken_port_name(
        &world.host,
        &claim.container,
        &claim.ifname,
        Some(representor_link.index),
    )
    .await?;
    let record = Record {
        format: FORMAT,
        stage: Stage::Preparing,
        netns_id: pod.id(),
        pf: found.pf.clone(),
        vf_index: found.number,
        vf,
        representor: before(&representor_link),
        admin_mac: admin_mac(world, &found).await?,
        attempt: attempt_name()?,
        ending: false,
        asked: None,
        claim,
    };
    if let Err(error) = world.store.write(&record) {
        // the way to the record may be there, and leads nowhere
        world.store.forget(&record.claim.container, &record.claim.ifname)?;
        return Err(error.into());
    }
    Ok(Taken {
        record,
        vfio,
        pod,
        lock,
    })
}

/// The specification wants an error when the interface is there already.
fn refuse_taken_interface<S: Stack>(pod: &S, netns: &Path, ifname: &IfName) -> Result<(), Error> {
    if pod.has_interface(ifname)? {
        return Err(Error::NameTaken {
            netns: netns.display().to_string(),
            ifname: ifname.clone(),
        });
    }
    Ok(())
}

/// The daemon makes the name of the port of the first characters of the container ID and of the interface's name, and one of
/// 11 or 12 leaves one character or none of the ID: two pods with such an interface would have one name. The daemon would fail
/// half-way then, and take away another pod's veth of that name (`setupVethPair`, `ovs_linux.go:1753` at 1533681d7). `own` is the
/// index of the link that is to have it.
pub async fn refuse_taken_port_name<S: Stack>(
    host: &S,
    container: &ContainerId,
    ifname: &IfName,
    own: Option<u32>,
) -> Result<(), Error> {
    let name = ovs::port_name(container, ifname).and_then(|name| name.parse::<IfName>().ok());
    let Some(name) = name else {
        return Ok(()); // the daemon makes no port with such names
    };
    match host.link_named(&name).await? {
        Some(link) if Some(link.index) != own => Err(Error::PortNameTaken {
            name,
            ifname: ifname.clone(),
        }),
        _ => Ok(()),
    }
}

/// The driver by which a virtual machine gets the VF; `None` for a VF with a netdev. And whether the netconf means such a VF:
/// for the daemon only the word `vfio-pci` means something there (`ovs_linux.go:1778` at 1533681d7), with it, it is content with
/// any VF of that driver, and without it, it wants a netdev.
fn vfio_driver(claim: &Claim, found: &Resolved, vf_driver: &str) -> Result<Option<String>, Error> {
    let device = claim.device.clone();
    let driver = found.driver.clone().unwrap_or_default();
    let vfio = match &found.kind {
        Kind::Vf | Kind::Sf => None,
        Kind::Unbound => return Err(Error::NoDriver(device)),
        Kind::Userspace if is_vfio(&driver) => Some(driver.clone()),
        Kind::Userspace => return Err(Error::UserspaceDriver { device, driver }),
        Kind::Vdpa { name, driver } => {
            return Err(Error::Vdpa {
                device,
                name: name.clone(),
                driver: driver.clone().unwrap_or_else(|| "no driver".to_owned()),
            });
        }
    };
    if vf_driver.is_empty() || is_vfio(vf_driver) == vfio.is_some() {
        return Ok(vfio);
    }
    Err(Error::OtherDriver {
        device,
        driver,
        vf_driver: vf_driver.to_owned(),
    })
}

/// vfio-pci, or one that does more for a certain device; all of these have it in their names (drivers/vfio/pci in the kernel:
/// `mlx5_vfio_pci`, `nvgrace-gpu-vfio-pci`, `hisi-acc-vfio-pci` …).
fn is_vfio(driver: &str) -> bool {
    driver.contains("vfio")
}

/// A VF has one holder. A dead one's attachment is ended first; a live one's is none of our business.
///
/// The daemon goes on with a request when its client has given up. As long as it may not have looked at the VF yet, it would
/// take it from whoever has it then: rename the representor, set the MAC, and take its own port away when it fails.
async fn end_dead_holder<S: Stack>(
    world: &World<S>,
    claim: &Claim,
    lock: &Lock,
    deadline: Instant,
) -> Result<(), Error> {
    let Some(record) = readable(world, &claim.device)? else {
        return Ok(());
    };
    if is_live(world, &record)? {
        return Err(held(claim, &record));
    }
    log::warn!(
        "VF {} is still recorded for {}, which has ended: giving it back first",
        claim.device,
        record.holder()
    );
    while let Some(left) = world.may_be_at_work(&record) {
        if Instant::now() >= deadline {
            return Err(Error::LateDaemon {
                device: claim.device.clone(),
                holder: record.holder(),
                ago: record.asked.map_or(0, |asked| asked.elapsed().as_secs()),
                left: left.as_secs() + 1,
            });
        }
        tokio::time::sleep(POLL).await;
    }
    undo(world, &record, lock, pods_of(world, &record, None)).await
}

/// Multus sends one VF for two interfaces of a pod, and then nothing that is under way will change that: the answer need not
/// wait for the lock.
fn refuse_second_interface<S: Stack>(world: &World<S>, claim: &Claim) -> Result<(), Error> {
    match world.store.read(&claim.device) {
        Ok(Some(record))
            if record.claim.container == claim.container
                && record.claim.ifname != claim.ifname
                && is_live(world, &record)? =>
        {
            Err(held(claim, &record))
        }
        // whatever else is the matter is found under the lock
        _ => Ok(()),
    }
}

fn held(claim: &Claim, record: &Record) -> Error {
    let hint = if record.is_of(&claim.container, &claim.ifname) {
        "it was added already: a repeated ADD needs a DEL first"
    } else if record.claim.container == claim.container {
        "Multus gives the default network and a further network of a pod the same VF when both name the same \
             NetworkAttachmentDefinition: name another one for the second"
    } else {
        "delete that pod first, or ask why the device plugin gave one VF to two pods"
    };
    Error::Held {
        device: claim.device.clone(),
        holder: record.holder(),
        netns: record.claim.netns.display().to_string(),
        hint,
    }
}

/// The VF's one netdev in the host's namespace; waits for one that is still coming home from a pod.
async fn the_netdev<S: Stack>(world: &World<S>, claim: &Claim, found: &Resolved) -> Result<Netdev, Error> {
    let start = Instant::now();
    let mut netdevs = found.netdevs.clone();
    loop {
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
        netdevs = world.sysfs.netdevs(&claim.device)?;
    }
}

/// A representor that is in a bridge under a name that the daemon does not give was put there by somebody else. Under one that
/// it gives, it is a sandbox's that has ended without a DEL, if the VF's netdev is in the host; but where a VF without a netdev
/// is proves nothing: a virtual machine that another plugin attached may be using it.
async fn refuse_foreign_port<S: Stack>(
    world: &World<S>,
    claim: &Claim,
    representor: &Link,
    is_vfio: bool,
) -> Result<(), Error> {
    let Some(master) = representor
        .master
        .filter(|_| is_vfio || port_owner(&representor.name).is_none())
    else {
        return Ok(());
    };
    if is_vfio && port_owner(&representor.name).is_some() {
        return Err(Error::MachinesPort {
            name: representor.name.clone(),
            device: claim.device.clone(),
        });
    }
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
