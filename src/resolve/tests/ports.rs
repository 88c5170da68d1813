//! devlink that changes while it is asked, and that is asked no more than it must be.

use std::cell::Cell;

use super::{pci, recorded};
use crate::device::fixture::{Fixture, Tree};
use crate::net::devlink::{Devlink, Handle, Port, Recorded};
use crate::net::{Error as NetError, Eswitch};
use crate::resolve::{Error, Found, Verdict, explain, resolve};
use crate::types::{DeviceId, PciAddress};

const TREE: &str = "
    /sys/bus/pci/devices/0000:03:00.0 -> ../../../devices/pci0000:00/0000:03:00.0
    /sys/bus/pci/devices/0000:03:00.2 -> ../../../devices/pci0000:00/0000:03:00.2
    /sys/devices/pci0000:00/0000:03:00.0/sriov_totalvfs = 8
    /sys/devices/pci0000:00/0000:03:00.0/virtfn0 -> ../0000:03:00.2
    /sys/devices/pci0000:00/0000:03:00.2/physfn -> ../0000:03:00.0
    /sys/devices/pci0000:00/0000:03:00.2/driver -> ../../../bus/pci/drivers/mlx5_core";
const SWITCHDEV: &str = "pci/0000:03:00.0 eswitch switchdev";

/// Has the port's netdev from the `after`-th question on.
struct Late {
    without: Recorded,
    with: Recorded,
    after: u32,
    asked: Cell<u32>,
}

impl Devlink for Late {
    fn eswitch(&self, pf: &PciAddress) -> Result<Eswitch, NetError> {
        self.with.eswitch(pf)
    }

    fn port(&self, of: &Handle, index: u32) -> Result<Option<Port>, NetError> {
        if self.asked.get() + 1 < self.after {
            self.without.port(of, index)
        } else {
            self.with.port(of, index)
        }
    }

    fn ports(&self, of: &Handle) -> Result<Vec<Port>, NetError> {
        self.asked.set(self.asked.get() + 1);
        match self.asked.get() {
            asked if asked < self.after => self.without.ports(of),
            _ => self.with.ports(of),
        }
    }
}

fn late(after: u32) -> Late {
    let lines = |port: &str| recorded(&[SWITCHDEV.to_owned(), port.to_owned()]);
    Late {
        without: lines("pci/0000:03:00.0/1 flavour pcivf controller 0 pfnum 0 vfnum 0"),
        with: lines("pci/0000:03:00.0/1 netdev eth0/11 flavour pcivf controller 0 pfnum 0 vfnum 0"),
        after,
        asked: Cell::new(0),
    }
}

fn vf() -> DeviceId {
    DeviceId::Pci(pci("0000:03:00.2"))
}

#[test]
fn a_port_without_netdev_is_asked_for_again() {
    let tree = Tree::new(TREE);
    let devlink = late(3);
    let found = resolve(&tree.sysfs(), &devlink, &vf()).unwrap();
    assert_eq!(found.representor.netdev.ifindex, 11);
    assert_eq!(devlink.asked.get(), 3);
}

#[test]
fn but_not_for_ever() {
    let tree = Tree::new(TREE);
    let devlink = late(u32::MAX);
    let error = resolve(&tree.sysfs(), &devlink, &vf()).unwrap_err();
    assert!(matches!(error, Error::NoNetdev { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the representor of VF 0000:03:00.2 (VF 0 of PF 0000:03:00.0) has no netdev: devlink has its port, pci/0000:03:00.0/1 \
         flavour pcivf controller 0 pfnum 0 vfnum 0, but no netdev for it after 270 ms; is it in another network namespace, or \
         being created?"
    );
    assert_eq!(devlink.asked.get(), 10);
}

/// The PF's `net/`, which with many VFs is long and slow, is not read; here it is not even there. Nor are the other ports, where the
/// driver's index is known.
#[test]
fn with_devlink_no_netdev_of_the_pf_is_looked_at() {
    let tree = Tree::new(TREE);
    let devlink = late(0);
    let found = resolve(&tree.sysfs(), &devlink, &vf()).unwrap();
    assert_eq!(
        found.found,
        Found::Port {
            handle: Handle::pci(&pci("0000:03:00.0")),
            index: 1
        }
    );
    assert_eq!(devlink.asked.get(), 0);
}

/// Gives all ports, or none.
struct Listed(Recorded);

impl Devlink for Listed {
    fn eswitch(&self, pf: &PciAddress) -> Result<Eswitch, NetError> {
        self.0.eswitch(pf)
    }

    fn port(&self, _: &Handle, _: u32) -> Result<Option<Port>, NetError> {
        Ok(None)
    }

    fn ports(&self, of: &Handle) -> Result<Vec<Port>, NetError> {
        self.0.ports(of)
    }
}

/// On the machines of the fixtures.
#[test]
fn a_port_by_its_index_is_the_one_among_all_ports() {
    let mut compared = 0;
    for file in super::fixtures::fixtures() {
        let Fixture {
            tree,
            devlink,
            expectations,
        } = Tree::load(&file);
        let asked = recorded(&devlink);
        let listed = Listed(recorded(&devlink));
        for device in expectations.iter().filter_map(|expected| expected.address.parse().ok()) {
            let by_index = resolve(&tree.sysfs(), &asked, &device).map_err(|e| e.to_string());
            let among_all = resolve(&tree.sysfs(), &listed, &device).map_err(|e| e.to_string());
            match (by_index, among_all) {
                (Ok(mut by_index), Ok(among_all)) => {
                    compared += u32::from(matches!(by_index.found, Found::Port { .. }));
                    // an uplink with an instance of its own is not seen on the way
                    by_index.uplink = by_index.uplink.or_else(|| among_all.uplink.clone());
                    assert_eq!(by_index, among_all, "{}: {device}", file.display());
                }
                (by_index, among_all) => assert_eq!(by_index, among_all, "{}: {device}", file.display()),
            }
        }
    }
    assert!(compared > 10, "only {compared} ports were compared");
}

/// Each would be the VF's port by its index, and says of itself that it is not, or leaves a doubt that only the others can remove.
#[test]
fn an_index_alone_is_no_proof() {
    let tree = Tree::new(TREE);
    let uplink = "pci/0000:03:00.0/65535 netdev p0/10 flavour physical port 0";
    let right = "pci/0000:03:00.0/7 netdev eth7/17 flavour pcivf controller 0 pfnum 0 vfnum 0";
    for (uplink, wrong) in [
        (
            uplink,
            "pci/0000:03:00.0/1 netdev eth0/11 flavour pcivf controller 0 pfnum 0 vfnum 1",
        ),
        (
            uplink,
            "pci/0000:03:00.0/1 netdev eth0/11 flavour pcivf controller 1 pfnum 0 vfnum 0 external true",
        ),
        (
            uplink,
            "pci/0000:03:00.0/1 netdev eth0/11 flavour pcisf controller 0 pfnum 0 sfnum 0",
        ),
        (
            uplink,
            "pci/0000:03:00.0/1 netdev eth0/11 flavour pcivf controller 0 pfnum 1 vfnum 0",
        ),
        (
            uplink,
            "pci/0000:03:00.1/1 netdev eth0/11 flavour pcivf controller 0 pfnum 0 vfnum 0",
        ),
    ] {
        let lines = [SWITCHDEV, uplink, wrong, right].map(str::to_owned);
        let found = resolve(&tree.sysfs(), &recorded(&lines), &vf()).unwrap();
        assert_eq!(found.representor.netdev.ifindex, 17, "{wrong}");
    }
    // the uplink has another number, and so has a second PF's port
    let lines = [
        SWITCHDEV,
        "pci/0000:03:00.0/65535 netdev p1/10 flavour physical port 1",
        "pci/0000:03:00.0/1 netdev eth0/11 flavour pcivf controller 0 pfnum 0 vfnum 0",
        "pci/0000:03:00.0/2 netdev eth1/12 flavour pcivf controller 0 pfnum 1 vfnum 0",
    ];
    let error = resolve(&tree.sysfs(), &recorded(&lines.map(str::to_owned)), &vf()).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { .. }), "{error}");
}

#[test]
fn everything_that_was_ruled_out_is_told() {
    let tree = Tree::new(TREE);
    let lines = [
        SWITCHDEV,
        "pci/0000:03:00.0/65535 netdev p0/10 flavour physical port 0",
        "pci/0000:03:00.0/1 netdev eth0/11 flavour pcivf controller 0 pfnum 0 vfnum 0",
        "pci/0000:03:00.0/2 netdev eth1/12 flavour pcivf controller 0 pfnum 0 vfnum 1",
        "pci/0000:03:00.0/3 netdev eth2/13 flavour pcivf controller 1 pfnum 0 vfnum 0 external true",
        "pci/0000:03:00.0/4 netdev eth3/14 flavour pcivf controller 0 pfnum 1 vfnum 0",
    ];
    let devlink = recorded(&lines.map(str::to_owned));
    let (result, notes) = explain(&tree.sysfs(), &devlink, &vf());
    assert_eq!(result.unwrap().representor.netdev.ifindex, 11);
    let told: Vec<String> = notes
        .iter()
        .filter(|note| note.verdict != Verdict::Says)
        .map(|note| format!("{} {}: {}", note.source, note.verdict, note.text))
        .collect();
    let out = |line: usize, why: &str| format!("devlink ruled out: {}: {why}", lines[line]);
    assert_eq!(
        told,
        [
            out(3, "another number"),
            out(4, "another host's"),
            out(5, "another PF's"),
            format!("devlink chosen: {}", lines[2])
        ]
    );
}

/// Kernels before 5.4 have ports of VFs, but don't say which VF: sysfs does.
#[test]
fn ports_without_numbers_are_no_ports() {
    let tree = Tree::new(TREE);
    for line in [
        "/sys/devices/pci0000:00/0000:03:00.0/net/p0/ifindex = 10",
        "/sys/devices/pci0000:00/0000:03:00.0/net/p0/phys_switch_id = c2cf",
        "/sys/devices/pci0000:00/0000:03:00.0/net/eth0/ifindex = 11",
        "/sys/devices/pci0000:00/0000:03:00.0/net/eth0/phys_port_name = 0",
        "/sys/devices/pci0000:00/0000:03:00.0/net/eth0/phys_switch_id = c2cf",
    ] {
        tree.add(line).unwrap();
    }
    let devlink = recorded(&[
        SWITCHDEV.to_owned(),
        "pci/0000:03:00.0/1 netdev eth0/11 flavour pcivf".to_owned(),
    ]);
    let found = resolve(&tree.sysfs(), &devlink, &vf()).unwrap();
    assert_eq!(found.found, Found::BelowPf);
    assert_eq!(found.representor.port.to_string(), "0");
}
