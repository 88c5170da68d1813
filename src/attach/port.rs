//! The port of an attachment: out of its bridge.

use std::time::{Duration, Instant};

use super::{Error, World};
use crate::daemon::{Client, Request};
use crate::net::{Link, Stack};
use crate::ovs::{Expected, Removal};
use crate::state::{Claim, Record};
use crate::types::PciAddress;

const POLL: Duration = Duration::from_millis(20);

/// The request that makes the daemon remove the port of an attachment, and nothing else.
///
/// It carries no device ID: with one, the daemon would rename and set down whatever has the interface's name in the
/// namespace, fail for ever when that namespace or the VF has gone, and zero the MAC of a VF that may by then be
/// another pod's. The namespace is a word that is no path: an empty one makes the daemon do nothing at all
/// (pkg/daemon/handler.go:659-663 and ovs_linux.go:306-353,408-437 at 1533681d7).
fn port_removal(record: &Record) -> Request {
    removal(record, &record.claim.provider)
}

/// The same when the pod has a newer sandbox already. No annotations go with this provider, so the daemon does not find the
/// egress route to remove, which is the newer sandbox's by now.
fn port_removal_beside_a_newer_sandbox(record: &Record) -> Request {
    removal(record, NO_PROVIDER)
}

fn removal(record: &Record, provider: &str) -> Request {
    Request {
        cni_type: "kube-ovn".to_owned(),
        pod_name: record.claim.pod.name.clone(),
        pod_namespace: record.claim.pod.namespace.clone(),
        container_id: record.claim.container.to_string(),
        net_ns: NO_NETNS.to_owned(),
        if_name: record.claim.ifname.to_string(),
        provider: provider.to_owned(),
        ..Request::default()
    }
}

/// Stands for a provider in requests to the daemon that are about a port and nothing else of the pod.
pub(crate) const NO_PROVIDER: &str = "none";

/// Stands for a namespace in requests to the daemon; never a path.
pub const NO_NETNS: &str = "none";

/// The port of an attachment, as Open vSwitch's database should have it.
#[must_use]
pub fn expected_port(claim: &Claim) -> Expected<'_> {
    Expected {
        container: &claim.container,
        ifname: &claim.ifname,
        namespace: &claim.pod.namespace,
        pod: &claim.pod.name,
        provider: &claim.provider,
        netns: &claim.netns,
    }
}

/// Takes the port of an attachment out of its bridge, and sees that it is out.
///
/// That is the daemon's work, which also forgets the pod's other settings. When it is down, or says that it did and did not
/// (up to v1.12 it does nothing for a pod that is gone: handler.go:421-424 at v1.12.35), the port is removed from OVSDB, if what
/// is written there says that it is this attachment's.
pub(super) async fn remove<S: Stack>(
    world: &World<S>,
    record: &Record,
    representor: Option<&Link>,
) -> Result<(), Error> {
    let by_daemon = ask_the_daemon(world, record, representor).await;
    if by_daemon.is_ok() && representor.is_some() {
        return Ok(()); // the datapath has let go of the representor
    }
    let claim = &record.claim;
    let deadline = world.end.min(Instant::now() + world.patience.ovsdb);
    match (world.ovs.remove_port(&expected_port(claim), deadline).await, by_daemon) {
        (Ok(Removal::Removed), said) => {
            let why = said.map_or_else(|e| e.to_string(), |()| "it left the port".to_owned());
            log::warn!("kube-ovn-daemon did not remove the port, so it was removed from OVSDB: {why}");
        }
        (Ok(Removal::Absent), _) => {}
        (Ok(Removal::NotOurs(why)), _) => log::warn!("a port with the attachment's name is another's: {why}"),
        // without a representor nothing but the daemon's word can tell
        (Err(e), Ok(())) => log::info!("not looked for in OVSDB: {e}"),
        (Err(e), Err(said)) => {
            return Err(Error::PortStays {
                daemon: said.to_string(),
                ovs: e.to_string(),
            });
        }
    }
    match representor {
        Some(link) => wait_until_gone(world, &claim.device, link.index).await,
        None => Ok(()),
    }
}

async fn ask_the_daemon<S: Stack>(world: &World<S>, record: &Record, representor: Option<&Link>) -> Result<(), Error> {
    let request = if world.store.has_newer_sandbox(record)? {
        port_removal_beside_a_newer_sandbox(record)
    } else {
        port_removal(record)
    };
    let deadline = world.until(world.patience.daemon_del);
    Client::new(&record.claim.socket).del(&request, deadline).await?;
    match representor {
        Some(link) => wait_until_gone(world, &record.claim.device, link.index).await,
        None => Ok(()),
    }
}

/// Waits until a representor is in no datapath.
pub(super) async fn wait_until_gone<S: Stack>(
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
