//! A sysfs on disk: one PF in switchdev mode as mlx5 shows it since Linux 5.9, its representors below it.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use kube_ovn::net::devlink::Recorded;

use crate::sriovnet::{FLAVOUR_PCI_VF, FLAVOUR_PHYSICAL, Port};

/// Netdevs that have nothing to do with the NIC.
pub(crate) const UNRELATED: usize = 10;

const PF: &str = "0000:03:00.0";

/// Offset of the first VF's routing ID from the PF's; each further one is 1 more.
const OFFSET: u32 = 2;

/// Netdev and index of a VF's representor in the tree.
fn representor(index: u32) -> (String, u32) {
    (format!("eth{index}"), 4 + 2 * index)
}

/// What devlink would say about the tree's PF: for our resolver, and for sriovnet's algorithm.
pub(crate) fn devlink(vfs: u32) -> (Recorded, Vec<Port>) {
    let mut recorded = Recorded::default();
    let mut add = |line: &str| recorded.add(line).expect("a line of devlink's");
    let port = |flavour, netdev: &str, vf| Port {
        bus: "pci".to_owned(),
        device: PF.to_owned(),
        flavour,
        netdev: netdev.to_owned(),
        vf,
        external: false,
    };
    add(&format!("pci/{PF} eswitch switchdev"));
    add(&format!("pci/{PF}/65535 netdev p0/2 flavour physical port 0"));
    let mut ports = vec![port(FLAVOUR_PHYSICAL, "p0", None)];
    for vf in 0..vfs {
        let (netdev, ifindex) = representor(vf);
        add(&format!(
            "pci/{PF}/{} netdev {netdev}/{ifindex} flavour pcivf controller 0 pfnum 0 vfnum {vf}",
            vf + 1
        ));
        ports.push(port(FLAVOUR_PCI_VF, &netdev, u16::try_from(vf).ok()));
    }
    (recorded, ports)
}

/// Writes the tree below `root`; the addresses of the VFs, by index.
pub(crate) fn write(root: &Path, vfs: u32) -> io::Result<Vec<String>> {
    let devices = root.join("devices/pci0000:00/0000:00:02.0");
    let bus = root.join("bus/pci/devices");
    let class = root.join("class/net");
    for dir in [&devices, &bus, &class, &root.join("bus/pci/drivers/mlx5_core")] {
        fs::create_dir_all(dir)?;
    }
    let function = |address: &str| -> io::Result<()> {
        fs::create_dir_all(devices.join(address).join("net"))?;
        symlink(
            "../../../../bus/pci/drivers/mlx5_core",
            devices.join(address).join("driver"),
        )?;
        symlink(
            format!("../../../devices/pci0000:00/0000:00:02.0/{address}"),
            bus.join(address),
        )
    };
    let mut ifindex = 1;
    let mut netdev = |device: &str, name: &str, port: Option<&str>| -> io::Result<()> {
        ifindex += 1;
        let dir = root.join("devices").join(device).join("net").join(name);
        fs::create_dir_all(&dir)?;
        symlink(format!("../../devices/{device}/net/{name}"), class.join(name))?;
        fs::write(dir.join("ifindex"), format!("{ifindex}\n"))?;
        if let Some((_, address)) = device.rsplit_once('/') {
            symlink(format!("../../../{address}"), dir.join("device"))?;
        }
        if let Some(port) = port {
            fs::write(dir.join("phys_port_name"), format!("{port}\n"))?;
            fs::write(dir.join("phys_switch_id"), "c2cfc60003a1420c\n")?;
        }
        Ok(())
    };

    let below = |address: &str| format!("pci0000:00/0000:00:02.0/{address}");
    function(PF)?;
    for (name, value) in [
        ("sriov_totalvfs", vfs),
        ("sriov_numvfs", vfs),
        ("sriov_offset", OFFSET),
        ("sriov_stride", 1),
    ] {
        fs::write(devices.join(PF).join(name), format!("{value}\n"))?;
    }
    netdev(&below(PF), "p0", Some("p0"))?;
    let mut addresses = Vec::new();
    for index in 0..vfs {
        let id = (3 << 8) + OFFSET + index;
        let address = format!("0000:{:02x}:{:02x}.{}", id >> 8, id >> 3 & 0x1f, id & 7);
        function(&address)?;
        symlink(format!("../{PF}"), devices.join(&address).join("physfn"))?;
        symlink(format!("../{address}"), devices.join(PF).join(format!("virtfn{index}")))?;
        netdev(&below(&address), &format!("ens1f0v{index}"), None)?;
        netdev(&below(PF), &representor(index).0, Some(&format!("pf0vf{index}")))?;
        addresses.push(address);
    }
    for number in 0..UNRELATED {
        netdev("virtual", &format!("dummy{number}"), None)?;
    }
    Ok(addresses)
}
