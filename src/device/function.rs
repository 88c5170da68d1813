//! A PCI function: VF, PF, index, driver, netdevs.

use std::path::Path;

use super::read::{entries, link, malformed};
use super::{Error, Netdev, NotAVf, Sysfs, Vf};
use crate::types::{IfName, PciAddress};

/// How often a directory of netdevs is listed while entries vanish from under us: udev renames netdevs just after they
/// came, and a new name is not in the old listing.
const PASSES: u32 = 3;

const PCI_ADDRESS: &str = "a link to a PCI device";

/// Bus, device and function as the one number that a PF's offset and stride count in (PCI Express Base Specification,
/// SR-IOV capability).
fn routing_id(address: &PciAddress) -> Option<u32> {
    let mut parts = address.as_str().rsplit([':', '.']);
    let mut part = || u32::from_str_radix(parts.next()?, 16).ok();
    let (function, device, bus) = (part()?, part()?, part()?);
    Some(bus << 8 | device << 3 | function)
}

impl Sysfs {
    /// The VF that has this address.
    pub fn vf(&self, address: &PciAddress) -> Result<Vf, Error> {
        let dir = self.function_dir(address);
        let Some(pf) = link::<PciAddress>(&dir.join("physfn"), PCI_ADDRESS)? else {
            self.require_function(address)?;
            return Err(Error::NotAVf {
                address: address.clone(),
                reason: self.not_a_vf(&dir)?,
            });
        };
        let index = self.vf_index(address, &pf)?;
        let driver = self.driver(address)?;
        Ok(Vf {
            address: address.clone(),
            pf,
            index,
            driver,
        })
    }

    /// The driver that is bound to a function.
    pub(super) fn driver(&self, address: &PciAddress) -> Result<Option<String>, Error> {
        link(&self.function_dir(address).join("driver"), "a link to a driver")
    }

    fn not_a_vf(&self, dir: &Path) -> Result<NotAVf, Error> {
        let vfs = virtfns(dir)?;
        if vfs.is_empty() && self.attribute(&dir.join("sriov_totalvfs"))?.is_none() {
            return Ok(NotAVf::NoSriov);
        }
        Ok(NotAVf::Pf(vfs))
    }

    /// One `readlink` confirms the computed index, however many VFs there are; only if that fails all links are read.
    fn vf_index(&self, vf: &PciAddress, pf: &PciAddress) -> Result<u32, Error> {
        let dir = self.function_dir(pf);
        if let Some(index) = self.computed_index(vf, pf, &dir)?
            && link::<PciAddress>(&dir.join(format!("virtfn{index}")), PCI_ADDRESS)?.as_ref() == Some(vf)
        {
            return Ok(index);
        }
        self.require_function(pf)?;
        let matching: Vec<u32> = virtfns(&dir)?
            .into_iter()
            .filter_map(|(index, address)| (address == *vf).then_some(index))
            .collect();
        match matching.as_slice() {
            [index] => Ok(*index),
            [] => Err(Error::Unlisted {
                vf: vf.clone(),
                pf: pf.clone(),
            }),
            [_, ..] => Err(malformed(
                &dir,
                "one virtfnN link to each VF",
                &format!("several to {vf}"),
            )),
        }
    }

    fn computed_index(&self, vf: &PciAddress, pf: &PciAddress, dir: &Path) -> Result<Option<u32>, Error> {
        let Some(offset) = self.number(&dir.join("sriov_offset"))? else {
            return Ok(None);
        };
        let Some(stride) = self.number(&dir.join("sriov_stride"))? else {
            return Ok(None);
        };
        let Some((vf, pf)) = routing_id(vf).zip(routing_id(pf)) else {
            return Ok(None);
        };
        Ok(
            match vf.checked_sub(pf).and_then(|distance| distance.checked_sub(offset)) {
                Some(0) => Some(0), // whatever the stride: with a single VF it has no meaning and can be 0
                Some(distance) if stride > 0 && distance % stride == 0 => Some(distance / stride),
                _ => None,
            },
        )
    }

    /// The netdevs of a function that are in the network namespace of this sysfs. None for a VF that is in a pod (its
    /// `net/` is empty) or has no driver (no `net/`).
    pub fn netdevs(&self, address: &PciAddress) -> Result<Vec<Netdev>, Error> {
        self.each_netdev(address, |dir, name| {
            Ok(self.ifindex(dir)?.map(|ifindex| Netdev { name, ifindex }))
        })
    }

    /// The interface index of the netdev in `dir`; nothing when it is gone.
    pub(super) fn ifindex(&self, dir: &Path) -> Result<Option<u32>, Error> {
        self.number(&dir.join("ifindex"))
    }

    /// Looks at every netdev of a function. `look` gives nothing for one that vanished since the directory was read;
    /// then all are looked at once more, and what still vanishes is left out.
    pub(super) fn each_netdev<T>(
        &self,
        address: &PciAddress,
        look: impl Fn(&Path, IfName) -> Result<Option<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        let dir = self.function_dir(address).join("net");
        let mut pass = 1;
        loop {
            let Some(names) = entries(&dir)? else {
                self.require_function(address)?;
                return Ok(Vec::new());
            };
            let listed = names.len();
            let mut found = Vec::with_capacity(listed);
            for text in names {
                let name: IfName = text
                    .parse()
                    .map_err(|_| malformed(&dir, "names of network interfaces", &text))?;
                found.extend(look(&dir.join(&text), name)?);
            }
            if found.len() == listed || pass == PASSES {
                return Ok(found);
            }
            pass += 1;
        }
    }
}

/// The VFs that a PF lists, by index.
fn virtfns(dir: &Path) -> Result<Vec<(u32, PciAddress)>, Error> {
    let mut vfs = Vec::new();
    for name in entries(dir)?.unwrap_or_default() {
        let index = name
            .strip_prefix("virtfn")
            .and_then(|digits| digits.parse::<u32>().ok());
        if let Some(index) = index.filter(|index| format!("virtfn{index}") == name)
            && let Some(vf) = link(&dir.join(&name), PCI_ADDRESS)?
        {
            vfs.push((index, vf));
        }
    }
    vfs.sort_unstable();
    Ok(vfs)
}
