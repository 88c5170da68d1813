//! The way from a VF's PCI address to its representor that kube-ovn's daemon takes: `GetUplinkRepresentor`,
//! `GetVfIndexByPciAddress` and `GetVfRepresentor` of k8snetworkplumbingwg/sriovnet v1.3.0, by the same steps in the same
//! order: each file read, each directory listed, each netlink request. Written anew from reading `sriovnet.go`,
//! `sriovnet_switchdev.go`, `pkg/utils` and the calls that they make (Go's `filepath.Glob` and `os.ReadDir`,
//! vishvananda/netlink's devlink). For the benchmark only; what differs on purpose in `src/device` is in docs/performance.md.
//!
//! Not reproduced: what Go's runtime adds (its poller, its garbage collection), so this is faster than the original.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A devlink port, as far as it is looked at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) bus: String,
    pub(crate) device: String,
    pub(crate) flavour: u16,
    pub(crate) netdev: String,
    pub(crate) vf: Option<u16>,
    pub(crate) external: bool,
}

pub(crate) const FLAVOUR_PHYSICAL: u16 = 0;
pub(crate) const FLAVOUR_PCI_VF: u16 = 4;

/// A sysfs and a devlink.
pub(crate) struct Sriovnet<'a> {
    pub(crate) sys: &'a Path,
    /// Where the ports of all eswitches come from.
    pub(crate) ports: &'a dyn Fn() -> io::Result<Vec<Port>>,
}

type Result<T> = std::result::Result<T, String>;

impl Sriovnet<'_> {
    /// The three calls, in the order of kube-ovn's `setupSriovInterface`: uplink, VF index, representor.
    pub(crate) fn resolve(&self, vf: &str) -> Result<(String, u32, String)> {
        let uplink = self.uplink_representor(vf)?;
        let index = self.vf_index(vf)?;
        let representor = self.vf_representor(&uplink, index)?;
        Ok((uplink, index, representor))
    }

    fn pci(&self, address: &str) -> PathBuf {
        self.sys.join("bus/pci/devices").join(address)
    }

    fn netdev(&self, name: &str) -> PathBuf {
        self.sys.join("class/net").join(name)
    }

    fn uplink_representor(&self, address: &str) -> Result<String> {
        if !is_pci_address(address) {
            return Err(format!("invalid PCI address {address}"));
        }
        let mut pf = address.to_owned();
        let physfn = self.pci(address).join("physfn");
        if fs::metadata(&physfn).is_ok() {
            pf = base(&fs::read_link(&physfn).map_err(|e| e.to_string())?);
        }
        if let Some(uplink) = self.uplink_by_devlink(&pf) {
            return Ok(uplink);
        }
        for netdev in read_dir(&self.pci(&pf).join("net"))? {
            if self.is_switchdev(&netdev)
                && let Some(port) = self.port_name(&netdev)
                && port.strip_prefix('p').is_some_and(is_digits)
            {
                return Ok(netdev);
            }
        }
        Err(format!("no uplink for {address}"))
    }

    fn uplink_by_devlink(&self, pf: &str) -> Option<String> {
        let ports = (self.ports)().ok()?;
        let physical = |port: &Port| port.flavour == FLAVOUR_PHYSICAL && !port.netdev.is_empty();
        let candidates: Vec<String> = ports.into_iter().filter(physical).map(|port| port.netdev).collect();
        let of_pf = |netdev: &String| fs::metadata(self.pci(pf).join("net").join(netdev)).is_ok();
        candidates.into_iter().find(of_pf)
    }

    /// `filepath.Glob` of `physfn/virtfn*`: the directory is looked at, listed and sorted; then a link for each VF is read
    /// until one fits.
    fn vf_index(&self, address: &str) -> Result<u32> {
        let dir = self.pci(address).join("physfn");
        let is_dir = fs::metadata(&dir).is_ok_and(|found| found.is_dir());
        let mut names: Vec<String> = Vec::new();
        if is_dir {
            let listing = fs::read_dir(&dir).map_err(|e| e.to_string())?;
            names.extend(listing.filter_map(|entry| entry.ok()?.file_name().into_string().ok()));
        }
        names.sort();
        for name in names.iter().filter(|name| name.starts_with("virtfn")) {
            let Ok(target) = fs::read_link(dir.join(name)) else {
                continue;
            };
            if target.to_string_lossy().contains(address)
                && let Ok(index) = name.trim_start_matches("virtfn").parse()
            {
                return Ok(index);
            }
        }
        Err(format!("vf index for {address} not found"))
    }

    fn vf_representor(&self, uplink: &str, index: u32) -> Result<String> {
        if !self.is_switchdev(uplink) {
            return Err(format!("uplink {uplink} is not a switchdev"));
        }
        let pf = base(&fs::read_link(self.netdev(uplink).join("device")).map_err(|e| e.to_string())?);
        match self.representor_by_devlink(&pf, index) {
            Some(found) if found.len() > 1 => return Err("multiple representors found".to_owned()),
            Some(mut found) if found.len() == 1 => return Ok(found.remove(0)),
            _ => {}
        }
        for netdev in read_dir(&self.pci(&pf).join("net"))? {
            let fits = |port: String| {
                let (pf, vf) = port.strip_prefix("pf")?.split_once("vf")?;
                (is_digits(pf) && is_digits(vf)).then(|| vf.parse() == Ok(index))
            };
            if self.port_name(&netdev).and_then(fits) == Some(true) {
                return Ok(netdev);
            }
        }
        Err(format!("no representor for uplink {uplink}, VF {index}"))
    }

    /// The local representors of VF `index`, whichever PF's; nothing where one has no netdev.
    fn representor_by_devlink(&self, pf: &str, index: u32) -> Option<Vec<String>> {
        let mut found = Vec::new();
        let ports = (self.ports)().ok()?;
        let of_pf = ports.into_iter().filter(|port| port.bus == "pci" && port.device == pf);
        for port in of_pf.filter(|port| port.flavour == FLAVOUR_PCI_VF && !port.external) {
            if u32::from(port.vf?) == index {
                if port.netdev.is_empty() {
                    return None;
                }
                found.push(port.netdev);
            }
        }
        Some(found)
    }

    fn is_switchdev(&self, netdev: &str) -> bool {
        fs::read(self.netdev(netdev).join("phys_switch_id")).is_ok_and(|id| !id.is_empty())
    }

    fn port_name(&self, netdev: &str) -> Option<String> {
        let bytes = fs::read(self.netdev(netdev).join("phys_port_name")).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

/// `DefaultFs.ReadDir`: the sorted names, after an lstat of each entry.
fn read_dir(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| e.to_string())?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in &names {
        fs::symlink_metadata(dir.join(name)).map_err(|e| e.to_string())?;
    }
    Ok(names)
}

fn base(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f].[0-7]$`
fn is_pci_address(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let bytes = text.as_bytes();
    bytes.len() == 12
        && bytes.iter().enumerate().all(|(at, &b)| match at {
            4 | 7 => b == b':',
            8 => matches!(b, b'0' | b'1'),
            10 => true,
            11 => (b'0'..=b'7').contains(&b),
            _ => hex(b),
        })
}
