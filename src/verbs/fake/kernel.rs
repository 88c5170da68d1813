//! A kernel with one NIC, as far as taking a VF and giving it back depends on it.

mod links;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnetwork::IpNetwork;

use super::faults::Faults;
use crate::device::PortName;
use crate::device::fixture::Tree;
use crate::net::devlink::{Flavour, Handle, Port};
use crate::net::{Address, Eswitch, EswitchMode, Link};
use crate::types::{self, IfName, Mac};

pub(in crate::verbs) const PF: &str = "0000:03:00.0";
pub(in crate::verbs) const VF: &str = "0000:03:00.2";
pub(in crate::verbs) const OTHER_VF: &str = "0000:03:00.3";
/// The host's namespace.
pub(in crate::verbs) const HOST: usize = 0;
pub(in crate::verbs) const OVS: u32 = 2;
pub(in crate::verbs) const UPLINK: u32 = 10;
pub(in crate::verbs) const REPRESENTOR: u32 = 11;
pub(in crate::verbs) const VF_LINK: u32 = 20;

const FUNCTIONS: &str = "
    /sys/bus/pci/devices/0000:03:00.0 -> ../../../devices/pci0000:00/0000:03:00.0
    /sys/bus/pci/devices/0000:03:00.2 -> ../../../devices/pci0000:00/0000:03:00.2
    /sys/bus/pci/devices/0000:03:00.3 -> ../../../devices/pci0000:00/0000:03:00.3
    /sys/devices/pci0000:00/0000:03:00.0/driver -> ../../../bus/pci/drivers/mlx5_core
    /sys/devices/pci0000:00/0000:03:00.0/sriov_totalvfs = 8
    /sys/devices/pci0000:00/0000:03:00.0/sriov_offset = 2
    /sys/devices/pci0000:00/0000:03:00.0/sriov_stride = 1
    /sys/devices/pci0000:00/0000:03:00.0/virtfn0 -> ../0000:03:00.2
    /sys/devices/pci0000:00/0000:03:00.0/virtfn1 -> ../0000:03:00.3
    /sys/devices/pci0000:00/0000:03:00.2/driver -> ../../../bus/pci/drivers/mlx5_core
    /sys/devices/pci0000:00/0000:03:00.2/physfn -> ../0000:03:00.0
    /sys/devices/pci0000:00/0000:03:00.3/driver -> ../../../bus/pci/drivers/mlx5_core
    /sys/devices/pci0000:00/0000:03:00.3/physfn -> ../0000:03:00.0";

/// A netdev of some namespace.
pub(in crate::verbs) struct Netdev {
    pub(in crate::verbs) ns: usize,
    pub(in crate::verbs) link: Link,
    /// The function that it belongs to.
    device: Option<&'static str>,
    /// Its `phys_port_name`.
    pub(in crate::verbs) port: Option<&'static str>,
    /// The name that udev gives.
    persistent: IfName,
    pub(in crate::verbs) addresses: Vec<Address>,
    pub(super) routes: Vec<(Option<IpNetwork>, Option<IpAddr>)>,
}

pub(in crate::verbs) struct Namespace {
    /// Where it is mounted; nowhere when it has been destroyed.
    pub(in crate::verbs) path: Option<PathBuf>,
    pub(in crate::verbs) sysctls: BTreeMap<String, String>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(in crate::verbs) struct Kernel {
    pub(in crate::verbs) links: Vec<Netdev>,
    pub(in crate::verbs) namespaces: Vec<Namespace>,
    /// The MACs that the PF administers, by VF number.
    pub(in crate::verbs) admin: BTreeMap<u32, Mac>,
    pub(in crate::verbs) mode: EswitchMode,
    /// devlink has ports for VFs: bnxt's driver makes none.
    pub(in crate::verbs) devlink_ports_of_vfs: bool,
    /// A link that is up can be renamed: since 6.2 (bd039b5ea2a9 took the check out of `dev_change_name`).
    pub(in crate::verbs) live_rename: bool,
    /// `IFLA_PARENT_DEV_NAME` is there: since 5.14.
    pub(in crate::verbs) tells_parent: bool,
    /// udev gives a link of the host that is renamed its persistent name as an alternative one.
    pub(in crate::verbs) udev: bool,
    /// The plugin runs in a mount namespace that shows the namespaces which the host mounts.
    pub(in crate::verbs) host_mounts: bool,
    /// The driver that hands the VF to user space, if it has such a one.
    pub(in crate::verbs) vfio: Option<&'static str>,
    /// Ports of br-int in OVSDB, and the link that the datapath has for each.
    pub(in crate::verbs) ports: BTreeMap<String, u32>,
    /// Their `external_ids`.
    pub(in crate::verbs) port_ids: BTreeMap<String, BTreeMap<String, String>>,
    /// ovs-vswitchd does what OVSDB says.
    pub(in crate::verbs) vswitchd: bool,
    pub(in crate::verbs) faults: Faults,
    pub(in crate::verbs) tree: Tree,
    shown: Vec<(&'static str, String, u32)>,
}

pub(in crate::verbs) fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

impl Kernel {
    pub(super) fn new() -> Self {
        let mut kernel = Self {
            links: Vec::new(),
            namespaces: vec![Namespace {
                path: Some(PathBuf::from("/host")),
                sysctls: BTreeMap::new(),
            }],
            admin: BTreeMap::from([(0, Mac([0; 6])), (1, Mac([2, 0, 0, 0, 0, 0x99]))]),
            mode: EswitchMode::Switchdev,
            devlink_ports_of_vfs: true,
            live_rename: false,
            tells_parent: true,
            udev: false,
            host_mounts: true,
            vfio: None,
            ports: BTreeMap::new(),
            port_ids: BTreeMap::new(),
            vswitchd: true,
            faults: Faults::default(),
            tree: Tree::new(FUNCTIONS),
            shown: Vec::new(),
        };
        for (index, text, device, port) in [
            (OVS, "ovs-system", None, None),
            (UPLINK, "p0", Some(PF), Some("p0")),
            (REPRESENTOR, "eth0_rep", Some(PF), Some("pf0vf0")),
            (12, "eth1_rep", Some(PF), Some("pf0vf1")),
            (VF_LINK, "ens1f0v0", Some(VF), None),
            (21, "ens1f0v1", Some(OTHER_VF), None),
        ] {
            kernel.plug(index, text, device, port);
        }
        kernel
    }

    /// The PF gets four more VFs.
    pub(in crate::verbs) fn grow(&mut self) {
        const MORE: [(&str, &str, &str, &str); 4] = [
            ("0000:03:00.4", "pf0vf2", "eth2_rep", "ens1f0v2"),
            ("0000:03:00.5", "pf0vf3", "eth3_rep", "ens1f0v3"),
            ("0000:03:00.6", "pf0vf4", "eth4_rep", "ens1f0v4"),
            ("0000:03:00.7", "pf0vf5", "eth5_rep", "ens1f0v5"),
        ];
        for ((vf, port, representor, netdev), number) in MORE.into_iter().zip(2..) {
            for line in [
                format!("/sys/bus/pci/devices/{vf} -> ../../../devices/pci0000:00/{vf}"),
                format!("/sys/devices/pci0000:00/0000:03:00.0/virtfn{number} -> ../{vf}"),
                format!("/sys/devices/pci0000:00/{vf}/driver -> ../../../bus/pci/drivers/mlx5_core"),
                format!("/sys/devices/pci0000:00/{vf}/physfn -> ../0000:03:00.0"),
            ] {
                self.tree.add(&line).unwrap();
            }
            self.admin.insert(number, Mac([0; 6]));
            self.plug(11 + number, representor, Some(PF), Some(port));
            self.plug(20 + number, netdev, Some(vf), None);
        }
    }

    /// A new netdev in the host.
    pub(in crate::verbs) fn plug(
        &mut self,
        index: u32,
        text: &str,
        device: Option<&'static str>,
        port: Option<&'static str>,
    ) {
        let link = Link {
            index,
            name: name(text),
            mac: Some(Mac([2, 0, 0, 0, 1, u8::try_from(index).unwrap()])),
            mtu: 1500,
            up: true,
            carrier: true,
            flags: 0x1000,
            txqlen: 1000,
            xdp: 0,
            alias: String::new(),
            alt_names: Vec::new(),
            master: None,
            lower: None,
            software: device.is_none(),
            parent: device.map(str::to_owned),
        };
        self.links.push(Netdev {
            ns: HOST,
            link,
            device,
            port,
            persistent: name(text),
            addresses: Vec::new(),
            routes: Vec::new(),
        });
        self.show();
    }

    /// Takes netdevs away.
    pub(in crate::verbs) fn unplug(&mut self, gone: impl Fn(&Netdev) -> bool) {
        self.links.retain(|netdev| !gone(netdev));
        let links = &self.links;
        self.ports.values_mut().for_each(|index| {
            if !links.iter().any(|netdev| netdev.link.index == *index) {
                *index = 0;
            }
        });
        self.show();
    }

    /// The VF and all that it had are gone.
    pub(in crate::verbs) fn unplug_function(&mut self, function: &'static str) {
        self.unplug(|netdev| netdev.device == Some(function));
        fs::remove_file(self.tree.path(&format!("/sys/bus/pci/devices/{function}"))).unwrap();
        fs::remove_dir_all(self.tree.path(&format!("/sys/devices/pci0000:00/{function}"))).unwrap();
    }

    /// The VF loses its driver.
    pub(in crate::verbs) fn unbind(&mut self) {
        self.unplug(|netdev| netdev.device == Some(VF));
        let link = format!("/sys/devices/pci0000:00/{VF}/driver");
        fs::remove_file(self.tree.path(&link)).unwrap();
    }

    /// The VF gets a driver that hands it to user space.
    pub(in crate::verbs) fn bind_vfio(&mut self, driver: &'static str) {
        self.unbind();
        self.vfio = Some(driver);
        let link = format!("/sys/devices/pci0000:00/{VF}/driver");
        self.tree
            .add(&format!("{link} -> ../../../bus/pci/drivers/{driver}"))
            .unwrap();
    }

    /// The VF carries a vDPA device, for virtual machines.
    pub(in crate::verbs) fn add_vdpa(&mut self, name: &str) {
        self.unplug(|netdev| netdev.device == Some(VF));
        let device = format!("devices/pci0000:00/{VF}/{name}");
        for (link, target) in [
            (
                format!("/sys/{device}/driver"),
                "../../../../bus/vdpa/drivers/vhost_vdpa".to_owned(),
            ),
            (format!("/sys/bus/vdpa/devices/{name}"), format!("../../../{device}")),
        ] {
            self.tree.add(&format!("{link} -> {target}")).unwrap();
        }
    }

    /// A sysfs that was mounted in a namespace.
    pub(super) fn tree_of(&self, ns: usize) -> Tree {
        let tree = Tree::new(FUNCTIONS);
        for netdev in self.links.iter().filter(|netdev| netdev.ns == ns) {
            if let Some(device) = netdev.device {
                let (name, index) = (&netdev.link.name, netdev.link.index);
                let line = format!("/sys/devices/pci0000:00/{device}/net/{name}/ifindex = {index}");
                tree.add(&line).unwrap();
            }
        }
        tree
    }

    /// Brings sysfs in step: it shows the netdevs of the host's namespace.
    fn show(&mut self) {
        let now: Vec<_> = (self.links.iter().filter(|netdev| netdev.ns == HOST))
            .filter_map(|netdev| Some((netdev.device?, netdev.link.name.to_string(), netdev.link.index)))
            .collect();
        if now == self.shown {
            return;
        }
        let dir = |device: &str, name: &str| format!("/sys/devices/pci0000:00/{device}/net/{name}");
        for (device, name, _) in self.shown.iter().filter(|entry| !now.contains(entry)) {
            fs::remove_dir_all(self.tree.path(&dir(device, name))).unwrap();
        }
        for netdev in self.links.iter().filter(|netdev| netdev.ns == HOST) {
            let Some(device) = netdev.device else { continue };
            let entry = (device, netdev.link.name.to_string(), netdev.link.index);
            if self.shown.contains(&entry) {
                continue;
            }
            let dir = dir(device, &entry.1);
            self.tree.add(&format!("{dir}/ifindex = {}", entry.2)).unwrap();
            if let Some(port) = netdev.port {
                self.tree.add(&format!("{dir}/phys_port_name = {port}")).unwrap();
                let switch_id = format!("{dir}/phys_switch_id = c2cfc60003a1420c");
                self.tree.add(&switch_id).unwrap();
            }
        }
        self.shown = now;
    }

    pub(super) fn eswitch(&self, pf: &str) -> Eswitch {
        match pf {
            PF => Eswitch::Mode(self.mode),
            _ => Eswitch::Unknown,
        }
    }

    /// The ports of the PF's eswitch; those of VFs are there in switchdev mode only.
    pub(super) fn devlink_ports(&self) -> Vec<Port> {
        let netdevs = self.links.iter().filter(|netdev| netdev.device == Some(PF));
        netdevs
            .filter_map(|netdev| {
                let (flavour, hw_addr) = match netdev.port?.parse().ok()? {
                    PortName::Physical { port, .. } => (Flavour::Physical { number: Some(port) }, None),
                    PortName::Vf { pf, vf, .. } if self.devlink_ports_of_vfs && self.mode == EswitchMode::Switchdev => {
                        let flavour = Flavour::Vf {
                            pf: Some(pf),
                            vf: Some(vf),
                        };
                        (flavour, self.admin.get(&vf).copied())
                    }
                    _ => return None,
                };
                Some(Port {
                    handle: Handle::pci(&PF.parse().ok()?),
                    index: netdev.link.index,
                    flavour,
                    external: false,
                    controller: Some(0),
                    // devlink shows the netdevs of its own namespace
                    netdev: (netdev.ns == HOST).then(|| types::Netdev {
                        name: netdev.link.name.clone(),
                        ifindex: netdev.link.index,
                    }),
                    hw_addr,
                })
            })
            .collect()
    }

    /// All that must be as it was: but for the VF and its representor, also whether links are up.
    pub(in crate::verbs) fn snapshot(&self) -> String {
        let mut text = String::new();
        for Netdev {
            ns, link, port, device, ..
        } in &self.links
        {
            // with more VFs than two, each may have been attached
            let is_grown = self.admin.len() > 2 && *port != Some("p0");
            let up = (*device != Some(VF) && *port != Some("pf0vf0") && !is_grown).then_some(link.up);
            let mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
            writeln!(
                text,
                "ns{ns} {} {} {mac} mtu {} alias {:?} alt {:?} master {:?} up {up:?} flags {:x} txqlen {} xdp {}",
                link.index,
                link.name,
                link.mtu,
                link.alias,
                link.alt_names,
                link.master,
                link.flags,
                link.txqlen,
                link.xdp
            )
            .unwrap();
        }
        let _ = write!(text, "admin {:?}\nports {:?}", self.admin, self.ports);
        text
    }
}
