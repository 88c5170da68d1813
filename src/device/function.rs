//! VFs and sub-functions: PF, number, driver, netdevs.

use std::path::Path;

use super::read::{Dir, ancestors, entries, link, malformed};
use super::{Error, Function, Kind, Netdev, NotAVf, Sysfs, Vf};
use crate::types::{AuxName, DeviceId, IfName, PciAddress};

/// How often a directory of netdevs is listed while entries vanish from under us: udev renames netdevs just after they
/// came, and a new name is not in the old listing.
const PASSES: u32 = 3;

const PCI_ADDRESS: &str = "a link to a PCI device";

/// Bus, device and function as the one number that a PF's offset and stride count in (PCI Express Base Specification,
/// SR-IOV capability).
pub(super) fn routing_id(address: &PciAddress) -> Option<u32> {
    let mut parts = address.as_str().rsplit([':', '.']);
    let mut part = || u32::from_str_radix(parts.next()?, 16).ok();
    let (function, device, bus) = (part()?, part()?, part()?);
    Some(bus << 8 | device << 3 | function)
}

impl Sysfs {
    /// The function that a device plugin calls so.
    pub fn function(&self, device: &DeviceId) -> Result<Function, Error> {
        match device {
            DeviceId::Pci(address) => {
                let dir = Dir::open(self.function_dir(address));
                let vf = self.vf_in(address, &dir)?;
                let kind = match self.vdpa(dir.as_path())? {
                    Some(vdpa) => vdpa,
                    None => Kind::of_driver(vf.driver.as_deref()),
                };
                Ok(Function {
                    device: device.clone(),
                    netdevs: self.netdevs_of(address, &dir)?,
                    pf: vf.pf,
                    number: vf.index,
                    kind,
                    driver: vf.driver,
                })
            }
            DeviceId::Aux(name) => self.sub_function(name),
        }
    }

    /// A sub-function. Its number is not that of its name: `mlx5_core.sf.4` has the one that the operator chose.
    fn sub_function(&self, name: &AuxName) -> Result<Function, Error> {
        let dir = self.auxiliary_dir(name);
        let Some(ancestors) = ancestors(&dir)? else {
            return Err(self.no_such_auxiliary(name));
        };
        let Some(number) = self.number(&Dir::closed(dir.clone()), "sfnum")? else {
            return Err(Error::NotASubFunction { name: name.clone() });
        };
        let Some(pf) = ancestors.iter().find_map(|name| name.parse().ok()) else {
            return Err(malformed(
                &dir,
                "a link to a device below a PCI function",
                &ancestors.join(" in "),
            ));
        };
        Ok(Function {
            device: DeviceId::Aux(name.clone()),
            pf,
            number,
            kind: self.vdpa(&dir)?.unwrap_or(Kind::Sf),
            driver: link(&Dir::closed(dir.clone()), "driver", "a link to a driver")?,
            netdevs: self.netdevs_in(&Dir::closed(dir))?.unwrap_or_default(),
        })
    }

    /// The vDPA device of a function. Its name is free, so the names of all vDPA devices are compared with those in the
    /// function's directory: two directories are read, and most machines have not even the first.
    fn vdpa(&self, function: &Path) -> Result<Option<Kind>, Error> {
        let devices = self.vdpa_dir();
        let all = entries(&devices)?.unwrap_or_default();
        if all.is_empty() {
            return Ok(None);
        }
        let below = entries(function)?.unwrap_or_default();
        let Some(name) = all.into_iter().find(|name| below.binary_search(name).is_ok()) else {
            return Ok(None);
        };
        if name.contains(char::is_control) {
            return Err(malformed(&devices, "printable names", &name));
        }
        let driver = link(&Dir::closed(devices.join(&name)), "driver", "a link to a driver")?;
        Ok(Some(Kind::Vdpa { name, driver }))
    }

    /// The VF that has this address.
    pub fn vf(&self, address: &PciAddress) -> Result<Vf, Error> {
        self.vf_in(address, &Dir::open(self.function_dir(address)))
    }

    fn vf_in(&self, address: &PciAddress, dir: &Dir) -> Result<Vf, Error> {
        let Some(pf) = link::<PciAddress>(dir, "physfn", PCI_ADDRESS)? else {
            self.require_function(address)?;
            return Err(Error::NotAVf {
                address: address.clone(),
                reason: self.not_a_vf(dir)?,
            });
        };
        let index = self.vf_index(address, &pf)?;
        let driver = link(dir, "driver", "a link to a driver")?;
        Ok(Vf {
            address: address.clone(),
            pf,
            index,
            driver,
        })
    }

    /// The driver that is bound to a function.
    pub fn driver(&self, address: &PciAddress) -> Result<Option<String>, Error> {
        link(&Dir::closed(self.function_dir(address)), "driver", "a link to a driver")
    }

    fn not_a_vf(&self, dir: &Dir) -> Result<NotAVf, Error> {
        let vfs = virtfns(dir)?;
        if vfs.is_empty() && self.attribute(dir, "sriov_totalvfs")?.is_none() {
            return Ok(NotAVf::NoSriov);
        }
        Ok(NotAVf::Pf(vfs))
    }

    /// One `readlink` confirms the computed index, however many VFs there are; only if that fails all links are read.
    fn vf_index(&self, vf: &PciAddress, pf: &PciAddress) -> Result<u32, Error> {
        let dir = Dir::open(self.function_dir(pf));
        if let Some(index) = self.computed_index(vf, pf, &dir)?
            && link::<PciAddress>(&dir, &format!("virtfn{index}"), PCI_ADDRESS)?.as_ref() == Some(vf)
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
                dir.as_path(),
                "one virtfnN link to each VF",
                &format!("several to {vf}"),
            )),
        }
    }

    fn computed_index(&self, vf: &PciAddress, pf: &PciAddress, dir: &Dir) -> Result<Option<u32>, Error> {
        let Some(offset) = self.number(dir, "sriov_offset")? else {
            return Ok(None);
        };
        let Some(stride) = self.number(dir, "sriov_stride")? else {
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
        self.netdevs_of(address, &Dir::closed(self.function_dir(address)))
    }

    fn netdevs_of(&self, address: &PciAddress, dir: &Dir) -> Result<Vec<Netdev>, Error> {
        match self.netdevs_in(dir)? {
            Some(netdevs) => Ok(netdevs),
            None => self.require_function(address).map(|()| Vec::new()),
        }
    }

    fn netdevs_in(&self, function: &Dir) -> Result<Option<Vec<Netdev>>, Error> {
        each_netdev(&function.path("net"), |_, name| {
            let ifindex = self.number(function, &format!("net/{name}/ifindex"))?;
            Ok(ifindex.map(|ifindex| Netdev { name, ifindex }))
        })
    }

    /// The interface index of the netdev in `dir`; nothing when it is gone.
    pub(super) fn ifindex(&self, dir: &Dir) -> Result<Option<u32>, Error> {
        self.number(dir, "ifindex")
    }
}

/// Looks at every netdev in a function's `net/`; nothing when there is no such directory. `look` gives nothing for one that
/// vanished since the directory was read; then all are looked at once more, and what still vanishes is left out.
pub(super) fn each_netdev<T>(
    dir: &Path,
    look: impl Fn(&Path, IfName) -> Result<Option<T>, Error>,
) -> Result<Option<Vec<T>>, Error> {
    let mut pass = 1;
    loop {
        let Some(names) = entries(dir)? else {
            return Ok(None);
        };
        let listed = names.len();
        let mut found = Vec::with_capacity(listed);
        for text in names {
            let name: IfName = text
                .parse()
                .map_err(|_| malformed(dir, "names of network interfaces", &text))?;
            found.extend(look(&dir.join(&text), name)?);
        }
        if found.len() == listed || pass == PASSES {
            return Ok(Some(found));
        }
        pass += 1;
    }
}

/// The VFs that a PF lists, by index.
pub(super) fn virtfns(dir: &Dir) -> Result<Vec<(u32, PciAddress)>, Error> {
    let mut vfs = Vec::new();
    for name in entries(dir.as_path())?.unwrap_or_default() {
        let index = name
            .strip_prefix("virtfn")
            .and_then(|digits| digits.parse::<u32>().ok());
        if let Some(index) = index.filter(|index| format!("virtfn{index}") == name)
            && let Some(vf) = link(dir, &name, PCI_ADDRESS)?
        {
            vfs.push((index, vf));
        }
    }
    vfs.sort_unstable();
    Ok(vfs)
}
