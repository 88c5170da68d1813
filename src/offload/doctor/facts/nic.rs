//! The NICs: PFs, their VFs, and the netdevs of both and of the VFs' representors.

use kube_ovn::device::{Error, NetdevState, Pf, Sysfs};
use kube_ovn::net::devlink::Devlink;
use kube_ovn::net::{Eswitch, EswitchMode};
use kube_ovn::resolve::{resolve, uplink};
use kube_ovn::types::{DeviceId, IfName, Netdev, PciAddress};

use super::Asked;
use super::source::Source;
use crate::machine::Once;

/// Drivers with an eswitch that the kernel or a vendor's guide calls able to offload Open vSwitch' flows: the kernel's drivers with
/// `devlink_ops.eswitch_mode_set` and flower, and those of Kube-OVN's guides for Yunsilicon and Yusur.
pub(in super::super) const DRIVERS: [&str; 9] = [
    "mlx5_core",
    "nfp",
    "ice",
    "bnxt_en",
    "sfc",
    "sfc_ef100",
    "rvu_nicpf",
    "xsc_pci",
    "ysK2",
];

/// A PF with all that belongs to it.
pub(in super::super) struct Nic {
    pub(in super::super) pf: Pf,
    /// Vendor and device.
    pub(in super::super) ids: String,
    pub(in super::super) eswitch: Asked<Eswitch>,
    /// How mlx5 puts rules into the NIC: `smfs` or `dmfs`.
    pub(in super::super) steering: Asked<Option<String>>,
    pub(in super::super) uplink: Asked<Link>,
    /// The bond that the uplink is a part of, and its mode.
    pub(in super::super) bond: Option<(IfName, Option<String>)>,
    pub(in super::super) vfs: Vec<Vf>,
}

/// A VF.
pub(in super::super) struct Vf {
    pub(in super::super) address: PciAddress,
    pub(in super::super) driver: Option<String>,
    /// Its netdevs on the host; none while it is in a pod, or when its driver makes none.
    pub(in super::super) netdevs: Vec<Netdev>,
    pub(in super::super) has_iommu_group: bool,
    /// Its representor.
    pub(in super::super) representor: Asked<Link>,
}

/// A netdev on the host.
#[derive(Debug, Clone)]
pub(in super::super) struct Link {
    pub(in super::super) netdev: Netdev,
    /// `None` when it is gone meanwhile.
    pub(in super::super) state: Option<NetdevState>,
    /// Whether it takes flows from tc for its hardware.
    pub(in super::super) offload: Asked<Option<bool>>,
}

impl Nic {
    pub(in super::super) fn is_switchdev(&self) -> bool {
        self.eswitch == Ok(Eswitch::Mode(EswitchMode::Switchdev))
    }

    /// The driver is one that is known to offload.
    pub(in super::super) fn can_offload(&self) -> bool {
        let driver = self.pf.driver.as_deref().unwrap_or_default();
        DRIVERS.contains(&driver)
    }

    /// How one names it: its uplink, or its address.
    pub(in super::super) fn name(&self) -> String {
        match &self.uplink {
            Ok(link) => format!("PF {} ({})", self.pf.address, link.netdev.name),
            Err(_) => format!("PF {}", self.pf.address),
        }
    }

    /// The representors that were found.
    pub(in super::super) fn representors(&self) -> impl Iterator<Item = &Link> {
        self.vfs.iter().filter_map(|vf| vf.representor.as_ref().ok())
    }

    /// Whether somebody means this PF by a name or an address.
    pub(in super::super) fn is_called(&self, name: &str) -> bool {
        let uplink = self.uplink.as_ref().ok().map(|link| link.netdev.name.as_str());
        self.pf.address.as_str().eq_ignore_ascii_case(name) || uplink == Some(name)
    }
}

pub(super) fn gather(sysfs: &Sysfs, source: &Source) -> Asked<Vec<Nic>> {
    let pfs = match sysfs.pfs() {
        Ok(pfs) => pfs,
        Err(error) => return Err(error.to_string()),
    };
    let devlink = Once::new(&source.devlink);
    Ok(pfs.into_iter().map(|pf| nic(sysfs, source, &devlink, pf)).collect())
}

fn nic(sysfs: &Sysfs, source: &Source, devlink: &Once<'_>, pf: Pf) -> Nic {
    let found = uplink(sysfs, devlink, &pf.address);
    let bond = found.as_ref().ok().and_then(|found| found.bond.clone());
    Nic {
        ids: sysfs.pci_ids(&pf.address).ok().flatten().unwrap_or_default(),
        steering: source.steering(&pf.address),
        eswitch: devlink.eswitch(&pf.address).map_err(|error| error.to_string()),
        uplink: found
            .map(|found| link(sysfs, source, found.netdev))
            .map_err(|error| error.to_string()),
        bond: bond.map(|bond| {
            let mode = sysfs.bond_mode(&bond).ok().flatten();
            (bond, mode)
        }),
        vfs: pf
            .vfs
            .iter()
            .map(|(_, address)| vf(sysfs, source, devlink, address))
            .collect(),
        pf,
    }
}

fn vf(sysfs: &Sysfs, source: &Source, devlink: &Once<'_>, address: &PciAddress) -> Vf {
    let representor = resolve(sysfs, devlink, &DeviceId::Pci(address.clone()));
    let ok = |result: Result<Option<String>, Error>| result.ok().flatten();
    Vf {
        address: address.clone(),
        driver: ok(sysfs.driver(address)),
        netdevs: sysfs.netdevs(address).unwrap_or_default(),
        has_iommu_group: matches!(sysfs.iommu_group(address), Ok(Some(_))),
        representor: representor
            .map(|found| link(sysfs, source, found.representor.netdev))
            .map_err(|error| error.to_string()),
    }
}

fn link(sysfs: &Sysfs, source: &Source, netdev: Netdev) -> Link {
    Link {
        state: sysfs.netdev_state(&netdev.name).ok().flatten(),
        offload: source.offload(&netdev),
        netdev,
    }
}
