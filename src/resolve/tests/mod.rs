//! The resolver on machines that are described in text.

mod fixtures;
mod ports;
mod spoilt;

use std::fmt::Display;

use super::{Error, Found, Resolved, resolve, uplink};
use crate::device::fixture::Tree;
use crate::device::{Kind, Netdev, Sysfs};
use crate::net::devlink::{Devlink, Recorded};
use crate::types::PciAddress;

pub(super) fn pci(text: &str) -> PciAddress {
    text.parse().unwrap()
}

pub(super) fn recorded(lines: &[String]) -> Recorded {
    let mut recorded = Recorded::default();
    for line in lines {
        recorded.add(line).unwrap_or_else(|error| panic!("devlink {error}"));
    }
    recorded
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn show(netdev: &Netdev) -> String {
    format!("{}/{}", netdev.name, netdev.ifindex)
}

/// Everything that can be learnt from a device's address, in the words of the fixtures.
pub(super) fn facts(sysfs: &Sysfs, devlink: &impl Devlink, device: &str) -> Result<String, Error> {
    let found = resolve(sysfs, devlink, &device.parse().unwrap())?;
    assert_eq!(found.device.to_string(), device);
    let uplink = uplink(sysfs, devlink, &found.pf).ok();
    if let Some(seen) = &found.uplink {
        assert_eq!(uplink.as_ref().map(|uplink| &uplink.netdev), Some(seen));
    }
    let uplink = uplink.map(|uplink| match uplink.bond {
        Some(bond) => format!("{}@{bond}", show(&uplink.netdev)),
        None => show(&uplink.netdev),
    });
    let Resolved {
        kind,
        pf,
        number,
        driver,
        netdevs,
        representor,
        ..
    } = &found;
    let kind = match kind {
        Kind::Vf => "vf".to_owned(),
        Kind::Userspace => "userspace".to_owned(),
        Kind::Vdpa { name, driver } => format!("vdpa:{name}:{}", or_dash(driver.as_ref())),
        Kind::Unbound => "unbound".to_owned(),
        Kind::Sf => "sf".to_owned(),
    };
    let netdevs: Vec<String> = netdevs.iter().map(show).collect();
    let by = match found.found {
        Found::Port { .. } => "devlink".to_owned(),
        Found::BelowPf => "sysfs".to_owned(),
        Found::Scan { looked_at } => format!("scan:{looked_at}"),
    };
    Ok(format!(
        "{kind} {number} of {pf} driver={} netdevs={} uplink={} representor={}:{} by={by}",
        or_dash(driver.as_ref()),
        or_dash((!netdevs.is_empty()).then(|| netdevs.join(","))),
        or_dash(uplink),
        show(&representor.netdev),
        representor.port,
    ))
}

pub(super) fn answer(tree: &Tree, devlink: &impl Devlink, device: &str) -> String {
    match facts(&tree.sysfs(), devlink, device) {
        Ok(facts) => format!("=> {facts}"),
        Err(error) => tree.shown(&format!("error: {error}")),
    }
}
