//! What a netdev, a bond and a PCI function say of themselves, for who looks at a node as a whole.

use super::read::{Dir, link, malformed};
use super::{Error, Sysfs};
use crate::types::{IfName, PciAddress};

/// `IFF_UP` of linux/if.h.
const IFF_UP: u32 = 1;

/// How a netdev is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetdevState {
    /// Its index.
    pub ifindex: u32,
    /// Administratively up.
    pub up: bool,
    /// It has a carrier; `None` while it is down.
    pub carrier: Option<bool>,
    /// In bytes.
    pub mtu: u32,
    /// The bridge, bond or datapath that it is a port of.
    pub master: Option<IfName>,
}

impl Sysfs {
    /// How a netdev of this network namespace is; nothing when there is none of that name.
    pub fn netdev_state(&self, name: &IfName) -> Result<Option<NetdevState>, Error> {
        let dir = Dir::open(self.class_net().join(name.as_str()));
        let facts = (self.ifindex(&dir)?, self.number(&dir, "mtu")?);
        let (Some(ifindex), Some(mtu)) = facts else {
            return Ok(None);
        };
        Ok(Some(NetdevState {
            ifindex,
            up: self.hexadecimal(&dir, "flags")?.unwrap_or_default() & IFF_UP != 0,
            // reading it of a netdev that is down is EINVAL (carrier_show in net/core/net-sysfs.c)
            carrier: self.number(&dir, "carrier")?.map(|carrier| carrier != 0),
            mtu,
            master: self.master(name)?,
        }))
    }

    /// The mode of a bond, such as `802.3ad`; nothing for what is no bond.
    pub fn bond_mode(&self, name: &IfName) -> Result<Option<String>, Error> {
        let mode = self.attribute(&Dir::closed(self.class_net().join(name.as_str())), "bonding/mode")?;
        // "802.3ad 4"
        Ok(mode.and_then(|mode| mode.split(' ').next().map(str::to_owned)))
    }

    /// Vendor and device of a PCI function, such as `15b3:101d`.
    pub fn pci_ids(&self, address: &PciAddress) -> Result<Option<String>, Error> {
        let dir = Dir::open(self.function_dir(address));
        let ids = (self.attribute(&dir, "vendor")?, self.attribute(&dir, "device")?);
        let (Some(vendor), Some(device)) = ids else {
            return Ok(None);
        };
        let digits = |text: &str| text.trim_start_matches("0x").to_owned();
        Ok(Some(format!("{}:{}", digits(&vendor), digits(&device))))
    }

    /// The number of a PCI function's IOMMU group; nothing when no IOMMU is on.
    pub fn iommu_group(&self, address: &PciAddress) -> Result<Option<u32>, Error> {
        link(
            &Dir::closed(self.function_dir(address)),
            "iommu_group",
            "a link to an IOMMU group",
        )
    }

    fn hexadecimal(&self, dir: &Dir, name: &str) -> Result<Option<u32>, Error> {
        let Some(text) = self.attribute(dir, name)? else {
            return Ok(None);
        };
        let digits = text
            .strip_prefix("0x")
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        digits
            .map(Some)
            .ok_or_else(|| malformed(&dir.path(name), "a hexadecimal number", &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::fixture::Tree;

    #[test]
    fn netdevs_and_functions() {
        let tree = Tree::new(
            "/sys/class/net/eth0 -> ../../devices/virtual/net/eth0\n\
             /sys/devices/virtual/net/eth0/ifindex = 7\n\
             /sys/devices/virtual/net/eth0/flags = 0x1003\n\
             /sys/devices/virtual/net/eth0/mtu = 1500\n\
             /sys/devices/virtual/net/eth0/carrier = 1\n\
             /sys/devices/virtual/net/eth0/master -> ../bond0\n\
             /sys/class/net/bond0/bonding/mode = 802.3ad 4\n\
             /sys/class/net/down/ifindex = 8\n\
             /sys/class/net/down/flags = 0x1002\n\
             /sys/class/net/down/mtu = 9000\n\
             /sys/class/net/odd/ifindex = 9\n\
             /sys/class/net/odd/flags = 3\n\
             /sys/class/net/odd/mtu = 9000\n\
             /sys/bus/pci/devices/0000:03:00.0/vendor = 0x15b3\n\
             /sys/bus/pci/devices/0000:03:00.0/device = 0x101d\n\
             /sys/bus/pci/devices/0000:03:00.0/iommu_group -> ../../../../kernel/iommu_groups/7",
        );
        let sysfs = tree.sysfs();
        let state = |name: &str| sysfs.netdev_state(&name.parse().unwrap());
        let eth0 = state("eth0").unwrap().unwrap();
        assert_eq!(
            (eth0.ifindex, eth0.up, eth0.carrier, eth0.mtu),
            (7, true, Some(true), 1500)
        );
        assert_eq!(eth0.master, Some("bond0".parse().unwrap()));
        let down = state("down").unwrap().unwrap();
        assert_eq!((down.up, down.carrier, down.master), (false, None, None));
        assert_eq!(state("none").unwrap(), None);
        assert!(state("odd").is_err());
        let mode = |name: &str| sysfs.bond_mode(&name.parse().unwrap()).unwrap();
        assert_eq!((mode("bond0").as_deref(), mode("eth0")), (Some("802.3ad"), None));
        let pf: PciAddress = "0000:03:00.0".parse().unwrap();
        let other: PciAddress = "0000:04:00.0".parse().unwrap();
        assert_eq!(sysfs.pci_ids(&pf).unwrap().as_deref(), Some("15b3:101d"));
        assert_eq!(sysfs.iommu_group(&pf).unwrap(), Some(7));
        assert_eq!(
            (sysfs.pci_ids(&other).unwrap(), sysfs.iommu_group(&other).unwrap()),
            (None, None)
        );
    }
}
