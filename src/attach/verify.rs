use ipnetwork::IpNetwork;

use super::locate::in_pod;
use super::{Error, Taken, World};
use crate::daemon::Reply;
use crate::device::Kind;
use crate::net::{Link, Stack};
use crate::state::Record;
use crate::types::{IfName, Mac, PciAddress};

/// What is expected of the pod's interface, by the daemon's reply or by the result of an earlier ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// `None`: not told.
    pub mac: Option<Mac>,
    /// 0: not told.
    pub mtu: u32,
    /// Each with its prefix. The interface may have more.
    pub addresses: Vec<IpNetwork>,
}

impl From<&Reply> for Expectation {
    fn from(reply: &Reply) -> Self {
        Self {
            mac: reply.mac,
            mtu: reply.mtu,
            addresses: reply.ips.iter().map(|ip| ip.address).collect(),
        }
    }
}

/// What a look at the kernel found.
#[derive(Debug)]
pub struct Inspection {
    /// The VF in the pod.
    pub vf: Option<Link>,
    /// The representor as it is now.
    pub representor: Option<Link>,
    /// Each difference from what is expected, in words.
    pub findings: Vec<String>,
}

/// Compares what the kernel shows with what the daemon said; gives back the representor as it is now. All that is
/// not so is in one error. Routes and gateways are the daemon's business: a difference is only logged.
pub async fn verify<S: Stack>(world: &World<S>, taken: &Taken<S>, reply: &Reply) -> Result<Link, Error> {
    has_its_own(world, taken, reply).await?;
    let found = inspect(
        world,
        &taken.record,
        &taken.pod,
        &Expectation::from(reply),
        taken.vfio.as_deref(),
    )
    .await?;
    // those that we have added ourselves are there
    if let Some(link) = found.vf.as_ref().filter(|_| !reply.vf_plumbing_by_cni) {
        log_routes(taken, link, reply).await?;
    }
    match found.representor {
        Some(link) if found.findings.is_empty() => Ok(link),
        _ => Err(Error::NotAsSaid {
            device: taken.record.claim.device.clone(),
            ifname: taken.record.claim.ifname.clone(),
            findings: found.findings,
        }),
    }
}

/// Looks whether an attachment is as it should be: the VF in the pod's namespace, and its representor. Of a VF of a virtual
/// machine `vfio` is the driver that it should have, where that is known.
pub async fn inspect<S: Stack>(
    world: &World<S>,
    record: &Record,
    pod: &S,
    expected: &Expectation,
    vfio: Option<&str>,
) -> Result<Inspection, Error> {
    let mut findings = Vec::new();
    let vf = in_pod(pod, record).await?;
    match &vf {
        _ if record.vf.is_none() => userspace(world, record, vfio, &mut findings),
        Some(link) => interface(pod, link, &record.claim.ifname, expected, &mut findings).await?,
        None => {
            let place = match world.sysfs.netdevs(&record.claim.device) {
                Ok(netdevs) if !netdevs.is_empty() => "it is in the host's network namespace",
                Ok(_) => "it is in another network namespace, or gone",
                Err(_) => "the VF is gone",
            };
            findings.push(format!(
                "the VF's netdev is not in the pod's network namespace {}: {place}",
                record.claim.netns.display()
            ));
        }
    }
    let before = Some(record.representor.ifindex);
    let representor = representor_of(world, &record.claim.device, before, &mut findings).await?;
    Ok(Inspection {
        vf,
        representor,
        findings,
    })
}

/// Before v1.16.2 the daemon does not look at the interface's name in a request: two interfaces of one network get one
/// address and one MAC, and the second takes the first one's port from OVN (handler.go:106-132 at v1.15.24; 7a2b2a246).
async fn has_its_own<S: Stack>(world: &World<S>, taken: &Taken<S>, reply: &Reply) -> Result<(), Error> {
    let (Some(mac), claim) = (reply.mac, &taken.record.claim) else {
        return Ok(());
    };
    for link in taken.pod.links().await? {
        if link.mac != Some(mac) || link.name == claim.ifname {
            continue;
        }
        let Some(device) = world.store.find(&claim.container, &link.name)? else {
            continue;
        };
        let other = world.store.read(&device)?;
        if other.is_some_and(|record| record.claim.provider == claim.provider && device != claim.device) {
            return Err(Error::Twins {
                ifname: claim.ifname.clone(),
                mac,
                other: link.name,
                provider: claim.provider.clone(),
            });
        }
    }
    Ok(())
}

/// A VF of a virtual machine has no netdev to look at: it must still have such a driver.
fn userspace<S>(world: &World<S>, record: &Record, vfio: Option<&str>, findings: &mut Vec<String>) {
    let driver = match world.sysfs.vf(&record.claim.device) {
        Ok(vf) => vf.driver,
        Err(why) => return findings.push(why.to_string()),
    };
    let now = driver.as_deref().unwrap_or("no driver");
    match vfio {
        Some(then) if driver.as_deref() != Some(then) => {
            findings.push(format!("the VF is bound to {now} by now, and was to {then}"));
        }
        None if Kind::of_driver(driver.as_deref()) != Kind::Userspace => {
            findings.push(format!(
                "the VF is bound to {now} by now, expected a driver for virtual machines"
            ));
        }
        _ => {}
    }
}

/// Compares an interface with what is expected of it.
pub async fn interface<S: Stack>(
    pod: &S,
    link: &Link,
    ifname: &IfName,
    expected: &Expectation,
    findings: &mut Vec<String>,
) -> Result<(), Error> {
    if link.name != *ifname {
        findings.push(format!("it is called {} in the pod, expected {ifname}", link.name));
    }
    if let Some(mac) = expected.mac
        && link.mac != Some(mac)
    {
        let text = link.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
        findings.push(format!("its MAC is {text}, expected {mac}"));
    }
    if !link.up {
        findings.push("it is down".to_owned());
    }
    if expected.mtu > 0 && expected.mtu != link.mtu {
        findings.push(format!("its MTU is {}, expected {}", link.mtu, expected.mtu));
    }
    let addresses = pod.addresses(link.index).await?;
    for wanted in &expected.addresses {
        match addresses.iter().find(|address| address.ip == *wanted) {
            Some(address) if address.duplicate => findings.push(format!("another node has its address {wanted}")),
            Some(_) => {}
            None => {
                let have: Vec<String> = addresses.iter().map(|address| address.ip.to_string()).collect();
                findings.push(format!("it lacks the address {wanted} (it has: {})", have.join(", ")));
            }
        }
    }
    Ok(())
}

async fn log_routes<S: Stack>(taken: &Taken<S>, link: &Link, reply: &Reply) -> Result<(), Error> {
    let ifname = &taken.record.claim.ifname;
    let routes = taken.pod.routes(link.index).await?;
    for (destination, gateway) in reply.all_routes() {
        let destination = (destination.prefix() > 0).then_some(destination);
        if !routes
            .iter()
            .any(|(to, via)| *to == destination && (gateway.is_none() || *via == gateway))
        {
            let to = destination.map_or_else(|| "default".to_owned(), |network| network.to_string());
            log::info!("{ifname} has no route {to} by the gateway that kube-ovn-daemon named");
        }
    }
    Ok(())
}

/// The representor must still be this VF's (resolved anew; `before` is its index then, where that is known), up, and in a
/// datapath. That it can't be resolved is a finding among others: the VF is gone, or has no representor any more.
pub async fn representor_of<S: Stack>(
    world: &World<S>,
    device: &PciAddress,
    before: Option<u32>,
    findings: &mut Vec<String>,
) -> Result<Option<Link>, Error> {
    let now = match world.resolve(device) {
        Ok(resolved) => resolved.representor,
        Err(why) => {
            findings.push(why.to_string());
            return Ok(None);
        }
    };
    let Some(link) = world.host.link(now.netdev.ifindex).await? else {
        findings.push(format!("its representor {} has gone", now.netdev.name));
        return Ok(None);
    };
    if before.is_some_and(|index| index != link.index) {
        findings.push(format!("its representor was made anew as {} meanwhile", link.name));
    }
    if !link.up {
        findings.push(format!("its representor {} is down", link.name));
    }
    if link.master.is_none() {
        findings.push(format!("its representor {} is in no OVS bridge", link.name));
    }
    Ok(Some(link))
}
