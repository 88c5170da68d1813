use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::locate::{Place, locate};
use super::{Error, World, port_removal};
use crate::daemon::Client;
use crate::net::{self, Link, LinkChange, Stack};
use crate::state::{Before, Lock, Record, Stage};
use crate::types::PciAddress;

const POLL: Duration = Duration::from_millis(20);

/// Gives a VF back and makes everything as the record says it was: the failed ADD's way back, DEL, and the repair of
/// what a killed call left. Goes by what it finds, so it can be repeated and can begin anywhere.
///
/// The order matters. The VF comes home first, so that no late step of the daemon finds it in the pod; then the
/// representor goes down, so that nothing of the pod is forwarded any more; then the port goes. What another pod's
/// ADD could trip over (MAC, MTU, names) is restored once nothing of OVS holds the representor. The record goes last.
///
/// On an error the record stays and says what to go on with. `_lock` is the proof that nobody else works on the VF.
pub async fn undo<S: Stack>(
    world: &World<S>,
    record: &Record,
    _lock: &Lock,
    netns_hint: Option<&Path>,
) -> Result<(), Error> {
    let mut problems = Vec::new();
    // every step is taken even when an earlier one failed: what can be given back is
    let vf = note(&mut problems, bring_home(world, record, netns_hint).await).flatten();
    let representor = note(&mut problems, representor(world, record).await).flatten();
    if let Some(link) = &representor
        && link.up
    {
        let down = LinkChange {
            up: Some(false),
            ..LinkChange::default()
        };
        note(&mut problems, unless_gone(world.host.change(link.index, &down).await));
    }
    let port = note(&mut problems, remove_port(world, record, representor.as_ref()).await);
    note(&mut problems, restore_admin_mac(world, record).await);
    if let Some(link) = &vf {
        note(&mut problems, restore(world, link, &record.vf).await);
        note(&mut problems, restore_name(world, link.index, &record.vf).await);
    }
    // a representor that OVS still holds keeps the name by which OVSDB knows it
    if let (Some(link), Some(())) = (&representor, port)
        && link.index == record.representor.ifindex
    {
        note(&mut problems, restore(world, link, &record.representor).await);
        note(
            &mut problems,
            restore_name(world, link.index, &record.representor).await,
        );
    }
    if problems.is_empty() {
        return Ok(world.store.remove(record)?);
    }
    Err(Error::Unfinished {
        device: record.device.clone(),
        problems,
    })
}

/// Keeps the error of a step in words, and goes on.
fn note<T, E: std::fmt::Display>(problems: &mut Vec<String>, result: Result<T, E>) -> Option<T> {
    result.map_err(|e| problems.push(e.to_string())).ok()
}

fn unless_gone(result: Result<(), net::Error>) -> Result<(), net::Error> {
    match result {
        Err(e) if e.is_gone() => Ok(()),
        other => other,
    }
}

/// Brings the VF's netdev into the host's namespace, down and under its old name. `None`: it has none any more.
async fn bring_home<S: Stack>(world: &World<S>, record: &Record, hint: Option<&Path>) -> Result<Option<Link>, Error> {
    let start = Instant::now();
    let mut name = &record.vf.name;
    loop {
        match locate(world, record, hint).await? {
            Place::Gone | Place::NoNetdev => return Ok(None),
            Place::Host(link) => {
                if link.up {
                    let down = LinkChange {
                        up: Some(false),
                        ..LinkChange::default()
                    };
                    unless_gone(world.host.change(link.index, &down).await)?;
                }
                return match restore_name(world, link.index, &record.vf).await {
                    Err(e) if e.is_gone() => Ok(None),
                    Err(e) => Err(e.into()),
                    Ok(()) => Ok(Some(link)),
                };
            }
            Place::Pod(pod, link) => match pod.move_to(link.index, &world.host, name).await {
                // ENODEV: it moved or went by itself. Look again.
                Ok(()) => {}
                Err(e) if e.is_gone() => {}
                // The VF is in the host under the name that it had in the pod, or, when another link has that name there
                // as well, still in the pod (__dev_change_net_namespace). Then by a name that nobody else has.
                Err(e) if e.errno() == Some(Errno::EEXIST) => name = &record.attempt,
                Err(e) => return Err(e.into()),
            },
            Place::Elsewhere => {
                if start.elapsed() > world.patience.vf_return {
                    let vf = world.sysfs.vf(&record.device)?;
                    return Err(Error::Elsewhere {
                        device: record.device.clone(),
                        driver: vf.driver.unwrap_or_default(),
                        seconds: world.patience.vf_return.as_secs(),
                    });
                }
                tokio::time::sleep(POLL).await;
            }
        }
        if start.elapsed() > world.patience.vf_return * 2 {
            let why = "it does not stay where it was put; does another program move it?".to_owned();
            return Err(net::Error::NoAnswer {
                what: format!("bring VF {} home", record.device),
                why,
            }
            .into());
        }
    }
}

/// The representor as it is now; `None` when the VF has none (eswitch mode changed, VF or PF gone).
async fn representor<S: Stack>(world: &World<S>, record: &Record) -> Result<Option<Link>, Error> {
    let resolved = world.sysfs.vf(&record.device).and_then(|vf| {
        let uplink = world.sysfs.uplink(&vf.pf)?;
        world.sysfs.representor(&vf, &uplink)
    });
    match resolved {
        Ok(representor) => Ok(world.host.link(representor.netdev.ifindex).await?),
        Err(why) => {
            log::info!("no representor to restore: {why}");
            Ok(None)
        }
    }
}

/// Has the daemon remove the port, and sees that it did.
async fn remove_port<S: Stack>(world: &World<S>, record: &Record, representor: Option<&Link>) -> Result<(), Error> {
    if record.stage < Stage::Asked {
        return Ok(());
    }
    let deadline = Instant::now() + world.patience.daemon_del;
    Client::new(&record.socket).del(&port_removal(record), deadline).await?;
    match representor {
        Some(link) => wait_for_port_gone(world, &record.device, link.index).await,
        None => Ok(()),
    }
}

/// Waits until a representor is in no datapath.
pub(super) async fn wait_for_port_gone<S: Stack>(
    world: &World<S>,
    device: &PciAddress,
    representor: u32,
) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        match world.host.link(representor).await? {
            Some(link) if link.master.is_some() => {
                if start.elapsed() > world.patience.port_gone {
                    let seconds = world.patience.port_gone.as_secs();
                    return Err(Error::PortRemains {
                        name: link.name,
                        device: device.clone(),
                        seconds,
                    });
                }
                tokio::time::sleep(POLL).await;
            }
            _ => return Ok(()),
        }
    }
}

/// The daemon set the VF's MAC through the PF.
async fn restore_admin_mac<S: Stack>(world: &World<S>, record: &Record) -> Result<(), Error> {
    let Some(before) = record.admin_mac.filter(|_| record.stage >= Stage::Asked) else {
        return Ok(());
    };
    let Ok(uplink) = world.sysfs.vf(&record.device).and_then(|vf| world.sysfs.uplink(&vf.pf)) else {
        return Ok(()); // no VF or no PF driver: there is nothing that could hold a MAC
    };
    let pf = uplink.netdev.ifindex;
    match world.host.vf_mac(pf, record.vf_index).await? {
        Some(now) if now != before => Ok(tolerate(world.host.set_vf_mac(pf, record.vf_index, before).await)?),
        _ => Ok(()),
    }
}

/// Gives a link its MAC, MTU and alias back, each on its own: a driver that refuses one must not keep the others.
async fn restore<S: Stack>(world: &World<S>, link: &Link, before: &Before) -> Result<(), net::Error> {
    let Some(now) = world.host.link(link.index).await? else {
        return Ok(());
    };
    let changes = [
        LinkChange {
            mac: before.mac.filter(|mac| now.mac != Some(*mac)),
            ..LinkChange::default()
        },
        LinkChange {
            mtu: Some(before.mtu).filter(|mtu| now.mtu != *mtu),
            ..LinkChange::default()
        },
        LinkChange {
            alias: Some(before.alias.clone()).filter(|alias| now.alias != *alias),
            ..LinkChange::default()
        },
    ];
    for change in changes.iter().filter(|change| **change != LinkChange::default()) {
        tolerate(world.host.change(link.index, change).await)?;
    }
    Ok(())
}

/// What a driver refuses to take back it will refuse for ever, and a pod that can't end is worse: say it and go on.
fn tolerate(result: Result<(), net::Error>) -> Result<(), net::Error> {
    match result {
        Err(e) if e.is_gone() => Ok(()),
        Err(e) if e.is_refusal() => {
            log::warn!("left as it is: {e}");
            Ok(())
        }
        other => other,
    }
}

/// Gives a link its old name. When another has taken that name, the link keeps the one it has, unless that is a
/// pod's; the VF is known by its PCI address, so this keeps nobody from using it.
async fn restore_name<S: Stack>(world: &World<S>, index: u32, before: &Before) -> Result<(), net::Error> {
    match net::rename(&world.host, index, &before.name).await {
        Err(e) if e.errno() == Some(Errno::EEXIST) => {
            log::warn!(
                "link with index {index} can't have its name {} back: another link has it now",
                before.name
            );
            Ok(())
        }
        other => unless_gone(other),
    }
}
