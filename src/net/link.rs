//! Links and addresses as rtnetlink shows them.

use ipnetwork::IpNetwork;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Prop};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use crate::types::{IfName, Mac, PciAddress};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index, the only handle that holds while names change.
    pub index: u32,
    /// Its name now.
    pub name: IfName,
    /// Its hardware address, when that is an Ethernet address.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// It has a carrier (`IFF_LOWER_UP`): frames can leave.
    pub carrier: bool,
    /// Its alias (`ifalias`), empty when it has none.
    pub alias: String,
    /// Its alternative names.
    pub alt_names: Vec<String>,
    /// Index of the link it is a port of: the bridge, bond, or OVS datapath.
    pub master: Option<u32>,
    /// A driver without a device made it (`IFLA_INFO_KIND`): veth, bridge, tunnel …
    pub software: bool,
    /// Name of the device it belongs to (`IFLA_PARENT_DEV_NAME`, since Linux 5.14), such as its PCI address. Unlike
    /// /sys it is right in every namespace.
    pub parent: Option<String>,
}

impl Link {
    /// Whether this is a netdev of the PCI function; `None` when it belongs to none, or the kernel is too old to tell.
    #[must_use]
    pub fn belongs_to(&self, device: &PciAddress) -> Option<bool> {
        self.parent.as_ref().map(|parent| parent == device.as_str())
    }

    /// Reads a link message; `None` when it lacks what every link has.
    #[must_use]
    pub fn from_message(message: &LinkMessage) -> Option<Self> {
        let mut name = None;
        let mut link = Self {
            index: message.header.index,
            name: "none".parse().ok()?,
            mac: None,
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            carrier: message.header.flags.contains(LinkFlags::LowerUp),
            alias: String::new(),
            alt_names: Vec::new(),
            master: None,
            software: false,
            parent: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = text.parse().ok(),
                LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::IfAlias(text) => link.alias.clone_from(text),
                LinkAttribute::Controller(index) => link.master = Some(*index).filter(|index| *index != 0),
                LinkAttribute::LinkInfo(infos) => {
                    // the kind of a port's master (IFLA_INFO_SLAVE_KIND) comes in the same attribute
                    link.software = infos.iter().any(|info| matches!(info, LinkInfo::Kind(_)));
                }
                LinkAttribute::ParentDevName(text) => link.parent = Some(text.clone()),
                LinkAttribute::PropList(list) => {
                    link.alt_names.extend(list.iter().filter_map(|property| match property {
                        Prop::AltIfName(text) => Some(text.clone()),
                        _ => None,
                    }));
                }
                _ => {}
            }
        }
        link.name = name?;
        Some(link)
    }
}

/// What to change of a link; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// A new name.
    pub name: Option<IfName>,
    /// A new hardware address.
    pub mac: Option<Mac>,
    /// A new MTU in bytes.
    pub mtu: Option<u32>,
    /// Up or down.
    pub up: Option<bool>,
    /// A new alias; the empty text takes it away.
    pub alias: Option<String>,
}

impl LinkChange {
    pub(super) fn to_message(&self, index: u32) -> LinkMessage {
        let mut message: LinkMessageBuilder<LinkUnspec> = LinkUnspec::new_with_index(index);
        if let Some(name) = &self.name {
            message = message.name(name.as_str());
        }
        if let Some(mac) = self.mac {
            message = message.address(mac.0.to_vec());
        }
        if let Some(mtu) = self.mtu {
            message = message.mtu(mtu);
        }
        if let Some(alias) = &self.alias {
            message = message.alias(alias.as_str());
        }
        match self.up {
            Some(true) => message.up(),
            Some(false) => message.down(),
            None => message,
        }
        .build()
    }

    /// For error texts: what is changed.
    pub(super) fn describe(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.name.as_ref().map(|name| format!("name {name}")));
        parts.extend(self.mac.map(|mac| format!("MAC {mac}")));
        parts.extend(self.mtu.map(|mtu| format!("MTU {mtu}")));
        parts.extend(self.alias.as_ref().map(|alias| format!("alias {alias:?}")));
        parts.extend(self.up.map(|up| if up { "up".to_owned() } else { "down".to_owned() }));
        parts.join(", ")
    }
}

/// An address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Address and prefix length.
    pub ip: IpNetwork,
    /// Duplicate address detection has not finished: the address can't be used yet.
    pub tentative: bool,
    /// Duplicate address detection found another owner.
    pub duplicate: bool,
}

impl Address {
    pub(super) fn from_message(message: &AddressMessage) -> Option<Self> {
        let mut address = None;
        let mut local = None;
        let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Address(ip) => address = Some(*ip),
                // IFA_LOCAL is the link's own address, IFA_ADDRESS may be a peer's (rtnetlink(7))
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        Some(Self {
            ip: IpNetwork::new(local.or(address)?, message.header.prefix_len).ok()?,
            tentative: flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic),
            duplicate: flags.contains(AddressFlags::Dadfailed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::link::{InfoKind, InfoPortKind};

    fn link(infos: Vec<LinkInfo>) -> Link {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName("net1".to_owned()), LinkAttribute::LinkInfo(infos)];
        Link::from_message(&message).unwrap()
    }

    #[test]
    fn a_port_of_a_bridge_is_no_software_link() {
        assert!(link(vec![LinkInfo::Kind(InfoKind::Veth)]).software);
        assert!(!link(vec![LinkInfo::PortKind(InfoPortKind::Other("openvswitch".to_owned()))]).software);
    }
}
