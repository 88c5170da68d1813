//! Links and addresses as rtnetlink shows them.

use ipnetwork::IpNetwork;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, Prop};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use crate::types::{IfName, Mac, PciAddress};

/// The flags that user space sets and that stay when a link moves to another namespace (`__dev_change_flags`,
/// net/core/dev.c); of promiscuous and allmulti, netlink shows what was set and not what a packet socket asks for
/// (`dev_get_flags`). `IFF_UP` is not among them: a move takes it away.
const SETTABLE: LinkFlags = LinkFlags::Debug
    .union(LinkFlags::Notrailers)
    .union(LinkFlags::Noarp)
    .union(LinkFlags::Promisc)
    .union(LinkFlags::Allmulti)
    .union(LinkFlags::Multicast)
    .union(LinkFlags::Portsel)
    .union(LinkFlags::Automedia)
    .union(LinkFlags::Dynamic);

/// `XDP_FLAGS_SKB_MODE`, `XDP_FLAGS_DRV_MODE` and `XDP_FLAGS_HW_MODE` of `linux/if_link.h`.
const XDP_MODES: [u32; 3] = [1 << 1, 1 << 2, 1 << 3];

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
    /// What else user space sets by flags (`IFF_*`): promiscuous, allmulti, no ARP …
    pub flags: u32,
    /// Length of its transmit queue.
    pub txqlen: u32,
    /// How XDP programs are attached to it, as `XDP_FLAGS_*_MODE`: they stay when it moves to another namespace.
    pub xdp: u32,
    /// Its alias (`ifalias`), empty when it has none.
    pub alias: String,
    /// Its alternative names.
    pub alt_names: Vec<String>,
    /// Index of the link it is a port of: the bridge, bond, or OVS datapath.
    pub master: Option<u32>,
    /// Index of the link of the same namespace that it is stacked on: a VLAN's or a macvlan's lower device.
    pub lower: Option<u32>,
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
            flags: message.header.flags.intersection(SETTABLE).bits(),
            txqlen: 0,
            xdp: 0,
            alias: String::new(),
            alt_names: Vec::new(),
            master: None,
            lower: None,
            software: false,
            parent: None,
        };
        let mut is_elsewhere = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = text.parse().ok(),
                LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::TxQueueLen(length) => link.txqlen = *length,
                LinkAttribute::Xdp(list) => link.xdp = xdp_modes(list),
                LinkAttribute::Link(index) => link.lower = Some(*index).filter(|index| *index != 0),
                LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
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
        link.lower = link.lower.filter(|lower| !is_elsewhere && *lower != link.index);
        Some(link)
    }
}

/// A program that is attached in one mode is shown with its mode, programs in several by an ID for each
/// (`rtnl_xdp_fill`, net/core/rtnetlink.c).
fn xdp_modes(list: &[LinkXdp]) -> u32 {
    let [skb, driver, hardware] = XDP_MODES;
    list.iter().fold(0, |modes, attribute| {
        modes
            | match attribute {
                LinkXdp::SkbProgId(_) => skb,
                LinkXdp::DrvProgId(_) => driver,
                LinkXdp::HwProgId(_) => hardware,
                _ => 0,
            }
    })
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
    /// A new length of the transmit queue.
    pub txqlen: Option<u32>,
    /// All flags of [`Link::flags`] as they are to be.
    pub flags: Option<u32>,
    /// Takes the XDP program off that is attached in this one mode (`XDP_FLAGS_*_MODE`).
    pub without_xdp: Option<u32>,
}

impl LinkChange {
    /// Changes nothing.
    pub const NONE: Self = Self {
        name: None,
        mac: None,
        mtu: None,
        up: None,
        alias: None,
        txqlen: None,
        flags: None,
        without_xdp: None,
    };

    /// A change for each mode in which an XDP program is attached: the kernel takes one at a time.
    pub fn without_xdp(modes: u32) -> impl Iterator<Item = Self> {
        let modes = XDP_MODES.into_iter().filter(move |mode| modes & mode != 0);
        modes.map(|mode| Self {
            without_xdp: Some(mode),
            ..Self::NONE
        })
    }

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
        if let Some(length) = self.txqlen {
            message = message.append_extra_attribute(LinkAttribute::TxQueueLen(length));
        }
        if let Some(mode) = self.without_xdp {
            // file descriptor -1: none
            let xdp = vec![LinkXdp::Fd(-1), LinkXdp::Flags(mode)];
            message = message.append_extra_attribute(LinkAttribute::Xdp(xdp));
        }
        let mut message = match self.up {
            Some(true) => message.up(),
            Some(false) => message.down(),
            None => message,
        }
        .build();
        if let Some(flags) = self.flags {
            message.header.flags |= LinkFlags::from_bits_retain(flags).intersection(SETTABLE);
            message.header.change_mask |= SETTABLE;
        }
        message
    }

    /// For error texts: what is changed.
    pub(super) fn describe(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.name.as_ref().map(|name| format!("name {name}")));
        parts.extend(self.mac.map(|mac| format!("MAC {mac}")));
        parts.extend(self.mtu.map(|mtu| format!("MTU {mtu}")));
        parts.extend(self.alias.as_ref().map(|alias| format!("alias {alias:?}")));
        parts.extend(self.txqlen.map(|length| format!("transmit queue length {length}")));
        parts.extend(self.flags.map(|flags| format!("flags {flags:#x}")));
        parts.extend(self.without_xdp.map(|mode| format!("no XDP program (mode {mode:#x})")));
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
    /// It stays until somebody takes it away: no lease, no router advertisement.
    pub permanent: bool,
}

impl Address {
    /// Takes what matters out of an address message; `None` when it has no address.
    #[must_use]
    pub fn from_message(message: &AddressMessage) -> Option<Self> {
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
            permanent: flags.contains(AddressFlags::Permanent),
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
