//! The steps as the guide's shell lines.

use std::collections::BTreeMap;

use kube_ovn::net::EswitchMode;
use kube_ovn::types::PciAddress;

use crate::node::facts::{Facts, Vf};

/// The shell lines of one PF.
pub(super) struct Lines<'a> {
    pub(super) facts: &'a Facts,
    /// Where the VFs will be that are not there yet, as far as that can be told.
    pub(super) coming: &'a [PciAddress],
}

impl Lines<'_> {
    pub(super) fn uplink(&self) -> &str {
        self.facts
            .uplink
            .as_ref()
            .map_or("UPLINK", |uplink| uplink.netdev.name.as_str())
    }

    pub(super) fn count(&self, count: u32) -> String {
        format!("echo {count} > /sys/class/net/{}/device/sriov_numvfs", self.uplink())
    }

    pub(super) fn mode(&self, mode: EswitchMode) -> String {
        format!("devlink dev eswitch set pci/{} mode {mode}", self.facts.pf.address)
    }

    pub(super) fn tc(netdev: &str, on: bool) -> String {
        format!("ethtool -K {netdev} hw-tc-offload {}", if on { "on" } else { "off" })
    }

    pub(super) fn link(&self, up: bool) -> String {
        format!("ip link set {} {}", self.uplink(), if up { "up" } else { "down" })
    }

    /// Each VF from its driver. The guide names the driver in the path; that of a VF that is not there yet is not known.
    pub(super) fn unbind(&self, recreated: bool) -> Vec<String> {
        if recreated {
            let line = |vf: &PciAddress| format!("echo {vf} > /sys/bus/pci/devices/{vf}/driver/unbind");
            return self.coming.iter().map(line).collect();
        }
        let bound = self
            .facts
            .vfs
            .iter()
            .filter_map(|vf| Some((&vf.address, vf.driver.as_ref()?)));
        bound
            .map(|(vf, driver)| format!("echo {vf} > /sys/bus/pci/drivers/{driver}/unbind"))
            .collect()
    }

    /// Each VF to its driver: the one that it had, or had `before`.
    pub(super) fn bind(&self, recreated: bool, before: &BTreeMap<PciAddress, String>, all: bool) -> Vec<String> {
        let probe = |vf: &PciAddress| format!("echo {vf} > /sys/bus/pci/drivers_probe");
        if recreated {
            return self.coming.iter().map(probe).collect();
        }
        let line = |vf: &Vf| match vf.driver.as_ref().or_else(|| before.get(&vf.address)) {
            Some(driver) => format!("echo {} > /sys/bus/pci/drivers/{driver}/bind", vf.address),
            None => probe(&vf.address),
        };
        self.facts
            .vfs
            .iter()
            .filter(|vf| all || vf.driver.is_none())
            .map(line)
            .collect()
    }

    /// The representors of VFs; of all, whatever they will be called.
    pub(super) fn representors(&self, which: Option<&[u32]>, on: bool) -> Vec<String> {
        let Some(which) = which else {
            let set = Self::tc("${netdev##*/}", on);
            return vec![format!(
                "for netdev in /sys/bus/pci/devices/{}/net/*; do case $(cat $netdev/phys_port_name 2> /dev/null) in *vf*) {set};; esac; done",
                self.facts.pf.address
            )];
        };
        let names = self
            .facts
            .vfs
            .iter()
            .filter(|vf| which.contains(&vf.index))
            .filter_map(|vf| vf.representor.as_ref()?.as_ref().ok());
        names.map(|port| Self::tc(port.netdev.name.as_str(), on)).collect()
    }
}
