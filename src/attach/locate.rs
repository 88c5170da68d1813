//! Where a VF's netdev is now: by PCI address, never by name alone.

use std::path::Path;

use super::{Error, World};
use crate::device::{Kind, Sysfs};
use crate::net::{Link, Stack};
use crate::state::Record;
use crate::types::{ContainerId, IfName, PciAddress};
use crate::{device, net, ovs};

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

/// The VF's netdev in a pod's namespace.
pub(super) async fn in_pod<S: Stack>(pod: &S, record: &Record) -> Result<Option<Link>, net::Error> {
    match &record.vf {
        Some(before) => of_device(pod, &record.claim.device, &record.claim.ifname, Some(before.ifindex)).await,
        None => Ok(None),
    }
}

/// The VF that an interface of a sandbox is; `None` when it is none, or not beyond doubt one that kube-ovn-daemon attached: then
/// its representor has the name of this sandbox's port. A tenant may have given the interface's name to a VF of another network.
pub async fn vf_of_interface<S: Stack>(
    world: &World<S>,
    netns: &Path,
    container: &ContainerId,
    ifname: &IfName,
) -> Result<Option<PciAddress>, Error> {
    let Ok(pod) = world.host.open(netns) else {
        return Ok(None);
    };
    if pod.id() == world.host.id() {
        return Ok(None);
    }
    let Some(link) = pod.link_named(ifname).await?.filter(|link| !link.software) else {
        return Ok(None);
    };
    let device = match &link.parent {
        Some(parent) => parent.parse().ok(),
        None => pod.with_sysfs(|root| Sysfs::new(root).function_of(&link.name))??,
    };
    let port = ovs::port_name(container, ifname);
    let is_its_port = |device: &PciAddress| {
        let found = world.resolve(device);
        found.is_ok_and(|found| Some(found.representor.netdev.name.as_str()) == port.as_deref())
    };
    Ok(device.filter(is_its_port))
}

/// The netdev of a PCI function in a pod's namespace. Its index in the host stays on a move unless it is taken there, and a tenant
/// with `CAP_NET_ADMIN` may have given any name to any link, so these two say where to look first, and only the device is
/// proof. Netlink names it since Linux 5.14; before, the sysfs of the pod's namespace shows it.
pub(super) async fn of_device<S: Stack>(
    pod: &S,
    device: &PciAddress,
    ifname: &IfName,
    index: Option<u32>,
) -> Result<Option<Link>, net::Error> {
    let is_ours = |link: &Link| link.belongs_to(device) == Some(true);
    if let Some(index) = index
        && let Some(link) = pod.link(index).await?
        && is_ours(&link)
    {
        return Ok(Some(link));
    }
    if let Some(link) = pod.link_named(ifname).await?
        && is_ours(&link)
    {
        return Ok(Some(link));
    }
    let links = pod.links().await?;
    if let Some(at) = links.iter().position(is_ours) {
        return Ok(links.into_iter().nth(at));
    }
    let mut mute = links.into_iter().filter(is_mute).peekable();
    if mute.peek().is_none() {
        return Ok(None);
    }
    let seen = pod.with_sysfs(|root| Sysfs::new(root).netdevs(device));
    match seen {
        Ok(Ok(netdevs)) => Ok(mute.find(|link| netdevs.iter().any(|netdev| netdev.ifindex == link.index))),
        // a function that has gone takes its netdevs along
        Ok(Err(device::Error::NoSuchDevice { .. })) => Ok(None),
        Ok(Err(e)) => Err(net::Error::NoAnswer {
            what: format!("look for the netdev of {device} in its pod"),
            why: e.to_string(),
        }),
        Err(e) => Err(e),
    }
}

/// `LOOPBACK_IFINDEX` of the kernel's include/net/flow.h: a namespace's loopback has no other index.
const LOOPBACK: u32 = 1;

/// A link of which netlink does not tell the device, and which may have one.
fn is_mute(link: &Link) -> bool {
    link.parent.is_none() && !link.software && link.index != LOOPBACK
}
