use super::locate::of_device;
use super::restore::before;
use super::take::attempt_name;
use super::{Error, World};
use crate::net::Stack;
use crate::state::{Before, Claim, FORMAT, Lock, Record, Stage};
use crate::types::Mac;

const IFF_MULTICAST: u32 = 1 << 12;

/// A record for an attachment that the stock plugin made before this one took its place: DEL has none, but the VF is in
/// the pod, beyond doubt (its device says so), and would come home only when the kernel ends the namespace,
/// under the pod's name. `None`: that is not so, and there is nothing to give back. To be called when the VF has no record.
///
/// What was before is not known but for the name, which the daemon left as alias; stock's DEL zeroes the MAC that the PF
/// administers (`ovs_linux.go:433` at 1533681d7), and so does this.
pub async fn adopt<S: Stack>(world: &World<S>, claim: &Claim, _lock: &Lock) -> Result<Option<Record>, Error> {
    let Ok(pod) = world.host.open(&claim.netns) else {
        return Ok(None);
    };
    if pod.id() == world.host.id() {
        return Ok(None);
    }
    let Some(link) = of_device(&pod, &claim.device, &claim.ifname, None).await? else {
        return Ok(None);
    };
    let found = match world.resolve(&claim.device) {
        Err(error) if error.is_unanswered() => return Err(error.into()),
        Err(_) => return Ok(None),
        Ok(found) => found,
    };
    let Some(representor) = world.host.link(found.representor.netdev.ifindex).await? else {
        return Ok(None);
    };
    let attempt = attempt_name()?;
    let mut name = link.alias.parse().unwrap_or_else(|_| attempt.clone());
    if world.host.link_named(&name).await?.is_some() {
        name = attempt.clone();
    }
    log::warn!(
        "VF {} was attached by another program; bringing it home as {name}",
        claim.device
    );
    let record = Record {
        format: FORMAT,
        stage: Stage::Attached,
        claim: claim.clone(),
        netns_id: pod.id(),
        pf: found.pf,
        vf_index: found.number,
        vf: Some(Before {
            name,
            alias: String::new(),
            // what ether_setup gives; the pod may have set others
            flags: Some(IFF_MULTICAST),
            // udev's can't be told from the pod's
            alt_names: None,
            xdp: 0,
            ..before(&link)
        }),
        representor: before(&representor),
        admin_mac: Some(Mac([0; 6])),
        attempt,
        ending: false,
        asked: None,
    };
    world.store.write(&record)?;
    Ok(Some(record))
}
