//! A VF that a virtual machine gets as a PCI device (vfio-pci and its variants): it has no netdev that we could see.

use super::restore::{admin_mac, uplink_of};
use super::{Error, Taken, World};
use crate::net::Stack;
use crate::types::{Mac, PciAddress};

/// Sees that the VF has the pod's MAC: the machine's driver reads the one that the PF administers, so it must be there
/// before the machine starts. The daemon sets it as well (`setVfMac`, `ovs_linux.go:1990` at 1533681d7); what counts is what the
/// PF says.
pub async fn administer_mac<S: Stack>(world: &World<S>, taken: &Taken<S>, mac: Mac) -> Result<(), Error> {
    let device = &taken.record.claim.device;
    let found = world.resolve(device)?;
    if admin_mac(world, &found).await? == Some(mac) {
        return Ok(());
    }
    let uplink = uplink_of(world, &found)?;
    world.host.set_vf_mac(uplink, found.number, mac).await?;
    match admin_mac(world, &world.resolve(device)?).await? {
        Some(now) if now == mac => Ok(()),
        other => Err(Error::AdminMac {
            device: device.clone(),
            found: other.map_or_else(|| "none".to_owned(), |mac| mac.to_string()),
            expected: mac,
        }),
    }
}

/// Compares what the PF administers for a VF of a virtual machine with what it should be: the machine reads it whenever it starts.
pub async fn administered_mac<S: Stack>(
    world: &World<S>,
    device: &PciAddress,
    expected: Mac,
    findings: &mut Vec<String>,
) -> Result<(), Error> {
    // that it can't be resolved is said of its representor
    let Ok(found) = world.resolve(device) else {
        return Ok(());
    };
    match admin_mac(world, &found).await? {
        Some(now) if now == expected => {}
        other => {
            let now = other.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
            findings.push(format!(
                "the PF administers the MAC {now} for VF {device}, expected {expected}"
            ));
        }
    }
    Ok(())
}
