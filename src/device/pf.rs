//! PFs: how many VFs they have and can have, and where these are or will be.

use super::function::{routing_id, virtfns};
use super::read::{Dir, entries};
use super::{Error, Sysfs};
use crate::types::PciAddress;

/// A physical function with SR-IOV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pf {
    /// Its address.
    pub address: PciAddress,
    /// The driver that is bound to it, if any.
    pub driver: Option<String>,
    /// How many VFs it has (`sriov_numvfs`).
    pub vf_count: u32,
    /// How many it can have (`sriov_totalvfs`): the firmware's setting, or less when the driver says so.
    pub most_vfs: u32,
    /// The VFs that it lists, by index.
    pub vfs: Vec<(u32, PciAddress)>,
}

impl Sysfs {
    /// The PF that has this address; nothing when the function has no SR-IOV, as VFs haven't.
    pub fn pf(&self, address: &PciAddress) -> Result<Option<Pf>, Error> {
        let dir = Dir::open(self.function_dir(address));
        let Some(most_vfs) = self.number(&dir, "sriov_totalvfs")? else {
            return self.require_function(address).map(|()| None);
        };
        Ok(Some(Pf {
            address: address.clone(),
            driver: self.driver(address)?,
            vf_count: self.number(&dir, "sriov_numvfs")?.unwrap_or_default(),
            most_vfs,
            vfs: virtfns(&dir)?,
        }))
    }

    /// The PFs of this machine that have netdevs in this network namespace, in the order of their addresses.
    pub fn pfs(&self) -> Result<Vec<Pf>, Error> {
        let names = entries(&self.devices_dir())?.ok_or_else(|| self.no_bus())?;
        let mut found = Vec::new();
        for address in names.iter().filter_map(|name| name.parse::<PciAddress>().ok()) {
            if entries(&self.function_dir(&address).join("net"))?.is_none_or(|netdevs| netdevs.is_empty()) {
                continue;
            }
            // one that is removed meanwhile is none
            match self.pf(&address) {
                Ok(pf) => found.extend(pf),
                Err(Error::NoSuchDevice { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(found)
    }

    /// Where VF number `index` of a PF is, or will be once it is made; nothing when the PF does not tell.
    pub fn vf_address(&self, pf: &PciAddress, index: u32) -> Result<Option<PciAddress>, Error> {
        let dir = Dir::open(self.function_dir(pf));
        let offset = self.number(&dir, "sriov_offset")?;
        let stride = self.number(&dir, "sriov_stride")?;
        let at = || {
            let (offset, stride) = (offset.filter(|offset| *offset > 0)?, stride?);
            let id = routing_id(pf)?
                .checked_add(offset)?
                .checked_add(stride.checked_mul(index)?)?;
            let (domain, _) = pf.as_str().split_once(':')?;
            // a VF beyond the last bus of the domain can't be
            (id <= 0xffff).then_some(())?;
            format!("{domain}:{:02x}:{:02x}.{}", id >> 8, id >> 3 & 0x1f, id & 7)
                .parse()
                .ok()
        };
        Ok(at())
    }
}

#[cfg(test)]
mod tests {
    use crate::device::fixture::Tree;
    use crate::types::PciAddress;

    const DEVICE: &str = "/sys/devices/pci0000:00/0000:03:00.0";

    fn tree(more: &str) -> Tree {
        Tree::new(&format!(
            "/sys/bus/pci/devices/0000:03:00.0 -> ../../../devices/pci0000:00/0000:03:00.0\n{}",
            more.replace('@', DEVICE)
        ))
    }

    #[test]
    fn a_pf_without_vfs() {
        let tree = tree(
            "@/sriov_totalvfs = 127\n@/sriov_numvfs = 0\n@/sriov_offset = 2\n@/sriov_stride = 1\n\
             @/driver -> ../../bus/pci/drivers/mlx5_core\n@/net/p0/ifindex = 3",
        );
        let pf: PciAddress = "0000:03:00.0".parse().unwrap();
        let found = tree.sysfs().pf(&pf).unwrap().unwrap();
        assert_eq!(
            (found.vf_count, found.most_vfs, found.driver.as_deref()),
            (0, 127, Some("mlx5_core"))
        );
        assert_eq!(tree.sysfs().pfs().unwrap(), [found]);
        let at = |index| tree.sysfs().vf_address(&pf, index).unwrap().unwrap().to_string();
        assert_eq!(
            [at(0), at(5), at(6), at(126)],
            ["0000:03:00.2", "0000:03:00.7", "0000:03:01.0", "0000:03:10.0"]
        );
    }

    #[test]
    fn what_is_no_pf_and_what_does_not_tell() {
        let pf: PciAddress = "0000:03:00.0".parse().unwrap();
        let tree = tree("@/vendor = 0x8086\n@/net/p0/ifindex = 3");
        assert_eq!(tree.sysfs().pf(&pf).unwrap(), None);
        assert_eq!(tree.sysfs().pfs().unwrap(), []);
        assert_eq!(tree.sysfs().vf_address(&pf, 0).unwrap(), None);
        assert!(tree.sysfs().pf(&"0000:09:00.0".parse().unwrap()).is_err());
        assert!(Tree::new("/sys/kernel/").sysfs().pfs().is_err());
    }
}
