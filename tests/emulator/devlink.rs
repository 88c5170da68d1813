//! devlink's ports, by generic netlink (include/uapi/linux/genetlink.h, devlink.h).

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use crate::netlink::{Body, NLM_F_DUMP, Socket};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const GENLMSGHDR: usize = 4;
const CMD_PORT_GET: u8 = 5;
const ATTR_BUS_NAME: u16 = 1;
const ATTR_DEV_NAME: u16 = 2;
const ATTR_PORT_NETDEV_NAME: u16 = 7;
const ATTR_PORT_FLAVOUR: u16 = 77;
const ATTR_PORT_PCI_VF_NUMBER: u16 = 128;
const ATTR_PORT_EXTERNAL: u16 = 149;
const FLAVOUR_PHYSICAL: u32 = 0;
const FLAVOUR_PCI_VF: u32 = 4;

/// A port of a PCI device's instance.
pub(crate) struct Port {
    pub(crate) pci: String,
    /// Empty where it has none.
    pub(crate) netdev: String,
    flavour: Option<u32>,
    pub(crate) vf: Option<u32>,
    pub(crate) is_external: bool,
}

impl Port {
    pub(crate) fn is_physical(&self) -> bool {
        self.flavour == Some(FLAVOUR_PHYSICAL)
    }

    pub(crate) fn is_of_a_vf(&self) -> bool {
        self.flavour == Some(FLAVOUR_PCI_VF)
    }
}

/// None where the kernel has nothing to say.
pub(crate) fn ports() -> Vec<Port> {
    dump().unwrap_or_default()
}

fn dump() -> Result<Vec<Port>, Errno> {
    let mut socket = Socket::open(SockProtocol::NetlinkGeneric)?;
    // struct genlmsghdr: command, version
    let asked = Body::new(&[CTRL_CMD_GETFAMILY, 1, 0, 0]).text(CTRL_ATTR_FAMILY_NAME, "devlink");
    let families = socket.ask(GENL_ID_CTRL, 0, &asked)?;
    let id = families
        .first()
        .and_then(|family| family.attributes(GENLMSGHDR).number(CTRL_ATTR_FAMILY_ID))
        .and_then(|id| u16::try_from(id).ok())
        .ok_or(Errno::ENOENT)?;
    let ports = socket.ask(id, NLM_F_DUMP, &Body::new(&[CMD_PORT_GET, 1, 0, 0]))?;
    let port = ports.iter().filter_map(|message| {
        let attributes = message.attributes(GENLMSGHDR);
        let bus = attributes.text(ATTR_BUS_NAME)?;
        Some(Port {
            pci: attributes.text(ATTR_DEV_NAME).filter(|_| bus == "pci")?,
            netdev: attributes.text(ATTR_PORT_NETDEV_NAME).unwrap_or_default(),
            flavour: attributes.number(ATTR_PORT_FLAVOUR),
            vf: attributes.number(ATTR_PORT_PCI_VF_NUMBER),
            is_external: attributes
                .number(ATTR_PORT_EXTERNAL)
                .is_some_and(|external| external != 0),
        })
    });
    Ok(port.collect())
}
