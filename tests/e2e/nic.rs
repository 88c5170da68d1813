//! The NIC's functions, and what its netdevs are called just now. By sysfs, and not by the crate under test.

use crate::command::{names, read};

const PCI: &str = "/sys/bus/pci/devices";

/// A VF, named by what never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vf {
    pub(crate) pci: String,
    pub(crate) pf: String,
    pub(crate) index: u32,
}

/// The PFs that have our driver, in order.
pub(crate) fn pfs() -> Vec<String> {
    let is_pf = |pci: &String| {
        read(format!("{PCI}/{pci}/sriov_numvfs")).is_some() && !names(format!("{PCI}/{pci}/net")).is_empty()
    };
    names(PCI).into_iter().filter(is_pf).collect()
}

pub(crate) fn vfs(pf: &str) -> Vec<Vf> {
    let count: u32 = read(format!("{PCI}/{pf}/sriov_numvfs")).unwrap().parse().unwrap();
    let vf = |index| {
        let link = std::fs::read_link(format!("{PCI}/{pf}/virtfn{index}")).expect("virtfn link");
        Vf {
            pci: link.file_name().unwrap().to_string_lossy().into_owned(),
            pf: pf.to_owned(),
            index,
        }
    };
    (0..count).map(vf).collect()
}

/// VF number `index` of PF number `pf`.
pub(crate) fn vf(pf: usize, index: usize) -> Vf {
    vfs(&pfs()[pf])[index].clone()
}

/// The PF's own netdev. One that is renamed just then, as representors are, has no port name to be read.
pub(crate) fn uplink(pf: &str) -> String {
    let port = |name: &str| read(format!("{PCI}/{pf}/net/{name}/phys_port_name")).unwrap_or_default();
    names(format!("{PCI}/{pf}/net"))
        .into_iter()
        .find(|name| {
            port(name)
                .strip_prefix('p')
                .is_some_and(|number| number.parse::<u32>().is_ok())
        })
        .expect("an uplink, whose port name is pN")
}

impl Vf {
    /// Its netdev in the host's namespace.
    pub(crate) fn netdev(&self) -> Option<String> {
        names(format!("{PCI}/{}/net", self.pci)).into_iter().next()
    }

    /// Its representor: the port name says which PF and VF, the switch ID which card.
    pub(crate) fn representor(&self) -> Option<String> {
        let attribute = |name: &str, key: &str| read(format!("/sys/class/net/{name}/{key}")).unwrap_or_default();
        let uplink = uplink(&self.pf);
        let port = attribute(&uplink, "phys_port_name");
        let number = port.strip_prefix('p').expect("the uplink's port name is pN");
        let wanted = (
            format!("pf{number}vf{}", self.index),
            attribute(&uplink, "phys_switch_id"),
        );
        // thrice, since it may be renamed between the list and the look
        (0..3).find_map(|_| {
            names("/sys/class/net")
                .into_iter()
                .find(|name| (attribute(name, "phys_port_name"), attribute(name, "phys_switch_id")) == wanted)
        })
    }
}
