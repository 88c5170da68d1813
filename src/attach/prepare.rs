use super::port::{NO_NETNS, NO_PROVIDER, wait_until_gone};
use super::{Error, Taken, World};
use crate::daemon::{Client, Request};
use crate::net::{self, Netns, Stack};
use crate::types::IfName;

/// Makes host and pod fit for the daemon: it finds exactly one netdev for the VF, under a name that only this attempt
/// knows, and a representor that is in no bridge.
pub async fn prepare<S: Stack>(world: &World<S>, taken: &Taken<S>) -> Result<(), Error> {
    taken.pod.set_sysctls(&net::IPV6_SYSCTLS)?;
    purge_stale_port(world, taken).await?;
    if let Some(vf) = &taken.record.vf {
        net::rename(&world.host, vf.ifindex, &taken.record.attempt).await?;
    }
    Ok(())
}

/// The same for a pod without a VF, in one visit to its namespace. `ifname`: the interface that the daemon is to make. When it
/// is there already, the specification wants an error; and the daemon would take away the one that an earlier ADD of this sandbox
/// made, and fail then (`setupVethPair`, `ovs_linux.go:1753` at 1533681d7).
pub fn prepare_netns(netns: &Netns, ifname: Option<&IfName>) -> Result<(), Error> {
    netns.run(|| {
        if let Some(ifname) = ifname
            && net::has_interface(ifname)?
        {
            return Err(Error::NameTaken {
                netns: netns.path().display().to_string(),
                ifname: ifname.clone(),
            });
        }
        Ok(net::set_sysctls(&net::IPV6_SYSCTLS)?)
    })?
}

/// A representor that is still in a bridge carries the port of a sandbox that ended without a DEL: the VF is in the
/// host, so nobody uses it. The daemon would only rename the representor and leave that port in OVSDB, in the way of
/// the new one.
async fn purge_stale_port<S: Stack>(world: &World<S>, taken: &Taken<S>) -> Result<(), Error> {
    let record = &taken.record;
    let Some(link) = world.host.link(record.representor.ifindex).await? else {
        return Err(net::Error::gone(record.representor.ifindex).into());
    };
    // [`super::take`] has refused a port with any other name
    let Some((container, ifname)) = link.master.and_then(|_| port_owner(&link.name)) else {
        return Ok(());
    };
    log::warn!(
        "representor {} of VF {} is still the port of a sandbox that is gone: removing it",
        link.name,
        record.claim.device
    );
    let request = Request {
        cni_type: "kube-ovn".to_owned(),
        // the names of the new pod: up to v1.12 the daemon does nothing for a pod that it does not know
        pod_name: record.claim.pod.name.clone(),
        pod_namespace: record.claim.pod.namespace.clone(),
        container_id: container,
        net_ns: NO_NETNS.to_owned(),
        if_name: ifname,
        // no annotations go with this provider, so that no egress route of the new pod is touched
        provider: NO_PROVIDER.to_owned(),
        ..Request::default()
    };
    Client::new(&record.claim.socket)
        .del(&request, world.until(world.patience.daemon_del))
        .await?;
    wait_until_gone(world, &record.claim.device, link.index).await
}

/// The container ID (padded to what the daemon needs) and interface name that make the daemon compute this port name:
/// `<first 12>_h` for eth0, otherwise `<first 12 - length>_<interface>_h` (generateNicName, ovs_linux.go:450-460 at
/// 1533681d7).
pub(super) fn port_owner(port: &IfName) -> Option<(String, String)> {
    let stem = port.as_str().strip_suffix("_h")?;
    let is_id = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    };
    if stem.len() == 12 && is_id(stem) {
        return Some((stem.to_owned(), "eth0".to_owned()));
    }
    // the length of the interface's name says where it starts
    (stem.len() == 13).then_some(())?;
    let (id, ifname) = stem
        .split_once('_')
        .filter(|(id, ifname)| id.len() + ifname.len() == 12)?;
    (is_id(id) && !ifname.is_empty()).then(|| (format!("{id:0<12}"), ifname.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_ports() {
        let owner = |name: &str| port_owner(&name.parse().unwrap());
        let is = |id: &str, ifname: &str| Some((id.to_owned(), ifname.to_owned()));
        assert_eq!(owner("0123456789ab_h"), is("0123456789ab", "eth0"));
        assert_eq!(owner("01234567_net1_h"), is("012345670000", "net1"));
        assert_eq!(owner("01234_1234567_h"), is("012340000000", "1234567"));
        for foreign in ["eth4", "ens1f0_0", "br-int", "_h", "0123_h", "x_net1_h"] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }
}
