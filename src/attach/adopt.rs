use super::locate::of_device;
use super::restore::before;
use super::take::attempt_name;
use super::{Error, World};
use crate::device::Kind;
use crate::net::{Link, Stack};
use crate::ovs;
use crate::state::{Before, Claim, FORMAT, Lock, Record, Stage};
use crate::types::{IfName, Mac, NetnsId};

const IFF_MULTICAST: u32 = 1 << 12;

/// Of a namespace that is gone; no inode has this number.
const NO_NAMESPACE: NetnsId = NetnsId { device: 0, inode: 0 };

/// A record for an attachment that the stock plugin made before this one took its place: DEL has none, but the VF is in
/// the pod, beyond doubt (its device says so), and would come home only when the kernel ends the namespace,
/// under the pod's name. Or it is a virtual machine's and nowhere, but its representor is the port of this very interface.
/// `None`: that is not so, and there is nothing to give back. To be called when the VF has no record.
///
/// What was before is not known but for the name, which the daemon left as alias; stock's DEL zeroes the MAC that the PF
/// administers (`ovs_linux.go:433` at 1533681d7), and so does this.
pub async fn adopt<S: Stack>(world: &World<S>, claim: &Claim, _lock: &Lock) -> Result<Option<Record>, Error> {
    let pod = world.host.open(&claim.netns).ok();
    let pod = pod.filter(|pod| pod.id() != world.host.id());
    let link = match &pod {
        Some(pod) => of_device(pod, &claim.device, &claim.ifname, None).await?,
        None => None,
    };
    if link.is_none() && !is_machines(world, claim) {
        return Ok(None);
    }
    let found = match world.resolve(&claim.device) {
        Err(error) if error.is_unanswered() => return Err(error.into()),
        Err(_) => return Ok(None),
        Ok(found) => found,
    };
    let Some(representor) = world.host.link(found.representor.netdev.ifindex).await? else {
        return Ok(None);
    };
    let port = ovs::port_name(&claim.container, &claim.ifname);
    if link.is_none() && (representor.master.is_none() || port.as_deref() != Some(representor.name.as_str())) {
        return Ok(None);
    }
    let attempt = attempt_name()?;
    let vf = match link {
        Some(link) => Some(as_it_was(world, &link, &attempt).await?),
        None => None,
    };
    log::warn!("VF {} was attached by another program: giving it back", claim.device);
    let record = Record {
        format: FORMAT,
        stage: Stage::Attached,
        claim: claim.clone(),
        netns_id: pod.map_or(NO_NAMESPACE, |pod| pod.id()),
        pf: found.pf,
        vf_index: found.number,
        vf,
        representor: before(&representor),
        admin_mac: Some(Mac([0; 6])),
        attempt,
        ending: false,
        asked: None,
    };
    world.store.write(&record)?;
    Ok(Some(record))
}

/// Whether the VF is one that a virtual machine may have.
fn is_machines<S: Stack>(world: &World<S>, claim: &Claim) -> bool {
    matches!(world.sysfs.vf(&claim.device), Ok(vf) if Kind::of_driver(vf.driver.as_deref()) == Kind::Userspace)
}

async fn as_it_was<S: Stack>(world: &World<S>, link: &Link, attempt: &IfName) -> Result<Before, Error> {
    let mut name = link.alias.parse().unwrap_or_else(|_| attempt.clone());
    if world.host.link_named(&name).await?.is_some() {
        name = attempt.clone();
    }
    Ok(Before {
        name,
        alias: String::new(),
        // what ether_setup gives; the pod may have set others
        flags: Some(IFF_MULTICAST),
        // udev's can't be told from the pod's
        alt_names: None,
        xdp: 0,
        ..before(link)
    })
}
