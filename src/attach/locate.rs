//! Where a VF's netdev is now: by PCI address, never by name alone.

use super::{Error, World};
use crate::device::Kind;
use crate::net::{Link, Stack};
use crate::state::Record;
use crate::{device, net};

/// Where the netdev of a VF is.
pub(super) enum Place<'a, S> {
    /// In the host's namespace.
    Host(Link),
    /// In the pod's.
    Pod(&'a S, Link),
    /// In neither: in another namespace, or on its way home.
    Elsewhere,
    /// The function is there, but has no driver, or one without a netdev.
    NoNetdev,
    /// There is no such function any more.
    Gone,
}

/// Looks for the VF of a record: in the host, then in the namespaces that may be the pod's.
pub(super) async fn locate<'a, S: Stack>(
    world: &World<S>,
    record: &Record,
    pods: &'a [S],
) -> Result<Place<'a, S>, Error> {
    let netdevs = match world.sysfs.netdevs(&record.claim.device) {
        Err(device::Error::NoSuchDevice { .. }) => return Ok(Place::Gone),
        other => other?,
    };
    for netdev in &netdevs {
        if let Some(link) = world.host.link(netdev.ifindex).await? {
            return Ok(Place::Host(link));
        }
    }
    for pod in pods.iter().filter(|pod| pod.id() == record.netns_id) {
        if let Some(link) = in_pod(pod, record).await? {
            return Ok(Place::Pod(pod, link));
        }
    }
    match world.sysfs.vf(&record.claim.device) {
        Err(device::Error::NoSuchDevice { .. }) => Ok(Place::Gone),
        Ok(vf) if Kind::of_driver(vf.driver.as_deref()) != Kind::Vf => Ok(Place::NoNetdev),
        _ => Ok(Place::Elsewhere),
    }
}

/// The VF's netdev in a pod's namespace. The index stays on a move unless it is taken there, and a tenant with
/// `CAP_NET_ADMIN` may have given any name to any link, so only the parent device is proof. Kernels before 5.14 tell none;
/// nor does any kernel for a software link, which may well have the index that the VF had in the host.
pub(super) async fn in_pod<S: Stack>(pod: &S, record: &Record) -> Result<Option<Link>, net::Error> {
    let Some(before) = &record.vf else {
        return Ok(None);
    };
    let is_ours = |link: &Link| {
        link.belongs_to(&record.claim.device)
            .unwrap_or(!link.software && link.index == before.ifindex)
    };
    if let Some(link) = pod.link(before.ifindex).await?
        && is_ours(&link)
    {
        return Ok(Some(link));
    }
    if let Some(link) = pod.link_named(&record.claim.ifname).await?
        && is_ours(&link)
    {
        return Ok(Some(link));
    }
    Ok(pod.links().await?.into_iter().find(is_ours))
}
