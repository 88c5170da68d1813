//! From a PCI address to VF netdev, uplink, VF index and representor, as sriovnet does it: 1.3.0 by devlink first, then
//! sysfs; 1.2.0 by sysfs.

use std::fs;
use std::path::Path;

use crate::devlink::{self, Port};
use crate::kernel::{Change, Place};
use crate::versions::Version;

const PCI: &str = "/sys/bus/pci/devices";
const NET: &str = "/sys/class/net";
const VFIO: &str = "/sys/bus/pci/drivers/vfio-pci";

/// Sorted, as Go's `ReadDir` lists.
fn names(directory: &str) -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

fn attribute(netdev: &str, name: &str) -> Option<String> {
    fs::read_to_string(format!("{NET}/{netdev}/{name}"))
        .ok()
        .map(|text| text.trim().to_owned())
}

fn errno(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

pub(crate) fn netdevs(pci: &str) -> Result<Vec<String>, String> {
    let directory = format!("{PCI}/{pci}/net");
    names(&directory).map_err(|error| {
        format!(
            "could not stat the directory {directory}: stat {directory}: {}",
            errno(&error)
        )
    })
}

/// Any link under the driver's directory that contains the address will do.
pub(crate) fn is_bound_to_vfio(pci: &str) -> bool {
    names(VFIO)
        .unwrap_or_default()
        .iter()
        .filter_map(|name| fs::read_link(format!("{VFIO}/{name}")).ok())
        .any(|target| target.to_string_lossy().contains(pci))
}

/// vfio-pci or a variant of it.
pub(crate) fn has_vfio_driver(pci: &str) -> bool {
    fs::read_link(format!("{PCI}/{pci}/driver")).is_ok_and(|target| {
        target
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains("vfio"))
    })
}

/// Yusur cards take another path, which is not modelled.
pub(crate) fn is_yusur(pci: &str) -> bool {
    !pci.is_empty() && Path::new(&format!("{PCI}/{pci}/hw/plat_name")).exists()
}

fn pf_pci(pci: &str) -> Result<String, String> {
    let link = format!("{PCI}/{pci}/physfn");
    let target = fs::read_link(&link).map_err(|error| {
        format!(
            "failed to read physfn link, provided address may not be a VF. readlink {link}: {}",
            errno(&error)
        )
    })?;
    Ok(target.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

fn devlink_ports(version: &Version) -> Vec<Port> {
    if version.devlink { devlink::ports() } else { Vec::new() }
}

pub(crate) fn uplink(version: &Version, pci: &str) -> Result<String, String> {
    let own = if Path::new(&format!("{PCI}/{pci}/physfn/net")).exists() {
        "physfn/net"
    } else {
        "net"
    };
    let directory = format!("{PCI}/{pci}/{own}");
    let listed =
        names(&directory).map_err(|error| format!("failed to lookup {pci}: open {directory}: {}", errno(&error)))?;
    let by_devlink = devlink_ports(version)
        .into_iter()
        .find(|port| port.is_physical() && listed.contains(&port.netdev))
        .map(|port| port.netdev);
    let is_uplink = |name: &&String| {
        let number = attribute(name, "phys_port_name").unwrap_or_default();
        let digits = number.strip_prefix('p').unwrap_or_default();
        is_switchdev(name) && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    by_devlink
        .or_else(|| listed.iter().find(is_uplink).cloned())
        .ok_or_else(|| format!("uplink for {pci} not found"))
}

fn is_switchdev(netdev: &str) -> bool {
    attribute(netdev, "phys_switch_id").is_some_and(|id| !id.is_empty())
}

pub(crate) fn vf_index(pci: &str) -> Result<u32, String> {
    let directory = format!("{PCI}/{pci}/physfn");
    names(&directory)
        .unwrap_or_default()
        .iter()
        .filter_map(|name| Some((name, name.strip_prefix("virtfn")?.parse().ok()?)))
        .find(|(name, _)| {
            fs::read_link(format!("{directory}/{name}")).is_ok_and(|target| target.to_string_lossy().contains(pci))
        })
        .map(|(_, index)| index)
        .ok_or_else(|| format!("vf index for {pci} not found"))
}

pub(crate) fn representor(version: &Version, uplink: &str, index: u32) -> Result<String, String> {
    if !is_switchdev(uplink) {
        return Err(format!("uplink {uplink} is not a switchdev"));
    }
    let device = fs::read_link(format!("{NET}/{uplink}/device"))
        .map_err(|error| format!("failed to get pci address for uplink {uplink}: {}", errno(&error)))?;
    let pf = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !version.devlink {
        return old_representor(uplink, &pf, index);
    }
    let by_devlink = devlink_ports(version).into_iter().find(|port| {
        port.pci == pf && port.is_of_a_vf() && !port.is_external && port.vf == Some(index) && !port.netdev.is_empty()
    });
    if let Some(port) = by_devlink {
        return Ok(port.netdev);
    }
    // the VF number alone decides: the PF number in the name is not compared
    let siblings = names(&format!("{NET}/{uplink}/device/net")).map_err(|error| errno(&error))?;
    siblings
        .into_iter()
        .find(|name| {
            let port_name = attribute(name, "phys_port_name").unwrap_or_default();
            let parts = port_name.strip_prefix("pf").and_then(|rest| rest.split_once("vf"));
            parts.is_some_and(|(pf, vf)| pf.parse::<u32>().is_ok() && vf.parse() == Ok(index))
        })
        .ok_or_else(|| format!("failed to find VF representor for uplink {uplink}, vfIndex {index}"))
}

/// `GetVfRepresentor` of sriovnet 1.2.0: among all netdevs with the uplink's switch ID; the PF's number in the name must be
/// that of its PCI function. A bare number stands for PF 0.
fn old_representor(uplink: &str, pf: &str, index: u32) -> Result<String, String> {
    let function = pf.chars().next_back().and_then(|digit| digit.to_digit(10));
    let switch = attribute(uplink, "phys_switch_id");
    let number = |name: &str| -> Option<(u32, u32)> {
        let port_name = attribute(name, "phys_port_name")?;
        let bare = port_name.parse().ok().map(|vf| (0, vf));
        bare.or_else(|| {
            let (pf, vf) = port_name.strip_prefix("pf")?.split_once("vf")?;
            Some((pf.parse().ok()?, vf.parse().ok()?))
        })
    };
    let all = names(NET).map_err(|error| errno(&error))?;
    all.into_iter()
        .filter(|name| attribute(name, "phys_switch_id") == switch)
        .find(|name| number(name).is_some_and(|(pf, vf)| Some(pf) == function && vf == index))
        .ok_or_else(|| format!("failed to find VF representor for uplink {uplink}"))
}

/// setVfMac: the "PF" is the first netdev of the PF's PCI device whose port name has no "vf" in it.
pub(crate) fn set_vf_mac(pci: &str, index: u32, mac: &str, fail: bool) -> Result<(), String> {
    if !is_mac(mac) {
        return Err(format!("failed to parse mac  address {mac}: invalid MAC address"));
    }
    let of_device = |error: String| format!("failed to get pf of device {pci} {error}");
    let candidates = netdevs(&pf_pci(pci).map_err(of_device)?).map_err(of_device)?;
    let pf = candidates
        .iter()
        .find(|name| attribute(name, "phys_port_name").is_some_and(|port| !port.contains("vf")))
        .ok_or_else(|| {
            format!(
                "the PF device was not found in the device list, [{}]",
                candidates.join(" ")
            )
        })?;
    let set = if fail {
        Err("operation not supported".to_owned())
    } else {
        Place::Host.set(pf, Change::VfMac(index, mac))
    };
    set.map_err(|error| format!("can not set mac address to vf nic:{pf} vf:{index} {error}"))
}

pub(crate) fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    parts.len() == 6
        && parts
            .iter()
            .all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
}
