use super::locate::in_pod;
use super::{Error, Taken, World};
use crate::daemon::Reply;
use crate::net::{Link, Stack};

/// Compares what the kernel shows with what the daemon said; gives back the representor as it is now. All that is
/// not so is in one error. Routes and gateways are the daemon's business: a difference is only logged.
pub async fn verify<S: Stack>(world: &World<S>, taken: &Taken<S>, reply: &Reply) -> Result<Link, Error> {
    let record = &taken.record;
    has_its_own(world, taken, reply).await?;
    let mut findings = Vec::new();
    match in_pod(&taken.pod, record).await? {
        _ if taken.vfio.is_some() => {
            let driver = world.sysfs.vf(&record.claim.device)?.driver;
            if driver != taken.vfio {
                let now = driver.as_deref().unwrap_or("no driver");
                let then = taken.vfio.as_deref().unwrap_or_default();
                findings.push(format!("the VF is bound to {now} by now, and was to {then}"));
            }
        }
        Some(link) => interface(taken, &link, reply, &mut findings).await?,
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
    let representor = representor(world, taken, &mut findings).await?;
    match representor {
        Some(link) if findings.is_empty() => Ok(link),
        _ => Err(Error::NotAsSaid {
            device: record.claim.device.clone(),
            ifname: record.claim.ifname.clone(),
            findings,
        }),
    }
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

async fn interface<S: Stack>(
    taken: &Taken<S>,
    link: &Link,
    reply: &Reply,
    findings: &mut Vec<String>,
) -> Result<(), Error> {
    let ifname = &taken.record.claim.ifname;
    if link.name != *ifname {
        findings.push(format!("it is called {} in the pod, expected {ifname}", link.name));
    }
    if reply.mac != link.mac {
        let text = link.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
        findings.push(format!("its MAC is {text}, expected {}", reply.mac_text));
    }
    if !link.up {
        findings.push("it is down".to_owned());
    }
    if reply.mtu > 0 && reply.mtu != link.mtu {
        findings.push(format!("its MTU is {}, expected {}", link.mtu, reply.mtu));
    }
    let addresses = taken.pod.addresses(link.index).await?;
    for wanted in &reply.ips {
        match addresses.iter().find(|address| address.ip == wanted.address) {
            Some(address) if address.duplicate => {
                findings.push(format!("another node has its address {}", wanted.address));
            }
            Some(_) => {}
            None => {
                let have: Vec<String> = addresses.iter().map(|address| address.ip.to_string()).collect();
                findings.push(format!(
                    "it lacks the address {} (it has: {})",
                    wanted.address,
                    have.join(", ")
                ));
            }
        }
    }
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

/// The representor must still be this VF's (re-resolved: it may have been made anew), up, and in a datapath.
async fn representor<S: Stack>(
    world: &World<S>,
    taken: &Taken<S>,
    findings: &mut Vec<String>,
) -> Result<Option<Link>, Error> {
    let record = &taken.record;
    let now = world.resolve(&record.claim.device)?.representor;
    let Some(link) = world.host.link(now.netdev.ifindex).await? else {
        findings.push(format!("its representor {} has gone", now.netdev.name));
        return Ok(None);
    };
    if link.index != record.representor.ifindex {
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
