//! Addresses, routes and neighbours, by rtnetlink.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::BindToDevice};

use crate::kernel::{Place, words};
use crate::netlink::{Attributes, Body, Message, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};

// include/uapi/linux/rtnetlink.h, if_addr.h, neighbour.h
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEIGH: u16 = 30;
const IFADDRMSG: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_F_NODAD: u8 = 0x02;
const IFA_F_DADFAILED: u8 = 0x08;
const IFA_F_DEPRECATED: u8 = 0x20;
const IFA_F_TENTATIVE: u8 = 0x40;
const RTMSG: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_NOWHERE: u8 = 255;
const RTN_UNICAST: u8 = 1;
const NDMSG: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// To which nobody listens.
const DISCARD: u16 = 9;

pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    pub(crate) length: u8,
    flags: u8,
}

impl Address {
    pub(crate) fn is_deprecated_or_tentative(&self) -> bool {
        self.flags & (IFA_F_DEPRECATED | IFA_F_TENTATIVE) != 0
    }

    pub(crate) fn is_a_duplicate(&self) -> bool {
        self.flags & IFA_F_DADFAILED != 0
    }
}

/// A route of the main table.
pub(crate) struct Route {
    /// `None`: the default route.
    pub(crate) destination: Option<(IpAddr, u8)>,
    pub(crate) gateway: Option<IpAddr>,
    link: u32,
    is_ipv6: bool,
}

/// An address as it stands in annotations, with a mask or without.
pub(crate) fn parse(text: &str) -> Result<(IpAddr, u8), String> {
    let (ip, length) = match text.split_once('/') {
        Some((ip, length)) => (ip, Some(length)),
        None => (text, None),
    };
    let invalid = || format!("invalid CIDR address: {text}");
    let ip: IpAddr = ip.parse().map_err(|_| invalid())?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Ok(most), |length| length.parse().map_err(|_| invalid()))?;
    if length > most {
        Err(invalid())
    } else {
        Ok((ip, length))
    }
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip(attributes: Attributes, kind: u16) -> Option<IpAddr> {
    let value = attributes.get(kind)?;
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

fn ifaddrmsg(link: u32, ip: IpAddr, length: u8, flags: u8) -> Body {
    Body::new(&[&[family(ip), length, flags, 0], link.to_ne_bytes().as_slice()].concat())
        .put(IFA_LOCAL, &bytes(ip))
        .put(IFA_ADDRESS, &bytes(ip))
}

impl Place<'_> {
    pub(crate) fn addresses(self, name: &str) -> Result<Vec<Address>, String> {
        let link = self.link(name)?.index;
        let all = self
            .netlink()?
            .ask(RTM_GETADDR, NLM_F_DUMP, &Body::new(&[0; IFADDRMSG]))
            .map_err(words)?;
        let address = |message: &Message| {
            let attributes = message.attributes(IFADDRMSG);
            Some(Address {
                // the one without the other is that of IPv6, and both are on links with a peer
                ip: ip(attributes, IFA_LOCAL).or_else(|| ip(attributes, IFA_ADDRESS))?,
                length: message.byte(1),
                flags: message.byte(2),
            })
        };
        let ours = all.iter().filter(|message| message.word(4) == link);
        Ok(ours.filter_map(address).collect())
    }

    /// With a broadcast address where there can be one.
    pub(crate) fn add_address(self, name: &str, address: &str, detects_duplicates: bool) -> Result<(), String> {
        let (ip, length) = parse(address)?;
        let link = self.link(name)?.index;
        let flags = if detects_duplicates { 0 } else { IFA_F_NODAD };
        let mut body = ifaddrmsg(link, ip, length, flags);
        if let (IpAddr::V4(ip), ..=30) = (ip, length) {
            let hosts = u32::MAX.checked_shr(length.into()).unwrap_or_default();
            body = body.put(IFA_BROADCAST, &(ip.to_bits() | hosts).to_be_bytes());
        }
        let added = self.netlink()?.ask(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body);
        added.map(|_| ()).map_err(words)
    }

    pub(crate) fn delete_address(self, name: &str, address: &Address) -> Result<(), String> {
        let link = self.link(name)?.index;
        let body = ifaddrmsg(link, address.ip, address.length, 0);
        self.netlink()?.ask(RTM_DELADDR, 0, &body).map(|_| ()).map_err(words)
    }

    /// The main table's unicast routes of a family, of all links or of one.
    pub(crate) fn routes(self, is_ipv6: bool, name: Option<&str>) -> Result<Vec<Route>, String> {
        let only = name.map(|name| self.link(name)).transpose()?.map(|link| link.index);
        let mut head = [0; RTMSG];
        let [family, ..] = &mut head;
        *family = if is_ipv6 { AF_INET6 } else { AF_INET };
        let all = self.netlink()?.ask(RTM_GETROUTE, NLM_F_DUMP, &Body::new(&head));
        let route = |message: &Message| {
            let attributes = message.attributes(RTMSG);
            Route {
                destination: ip(attributes, RTA_DST).map(|ip| (ip, message.byte(1))),
                gateway: ip(attributes, RTA_GATEWAY),
                link: attributes.number(RTA_OIF).unwrap_or_default(),
                is_ipv6,
            }
        };
        let all = all.map_err(words)?;
        let shown = all
            .iter()
            .filter(|message| message.byte(4) == RT_TABLE_MAIN && message.byte(7) == RTN_UNICAST);
        let routes = shown.map(route);
        Ok(routes
            .filter(|route| only.is_none_or(|link| route.link == link))
            .collect())
    }

    /// `None`: the default route.
    pub(crate) fn replace_route(
        self,
        name: &str,
        destination: Option<(IpAddr, u8)>,
        gateway: Option<IpAddr>,
    ) -> Result<(), String> {
        let is_ipv6 = gateway.or(destination.map(|(ip, _)| ip)).is_some_and(|ip| ip.is_ipv6());
        let route = Route {
            destination,
            gateway,
            link: self.link(name)?.index,
            is_ipv6,
        };
        let scope = if gateway.is_none() && !is_ipv6 {
            RT_SCOPE_LINK
        } else {
            0
        };
        let body = route.body(RTPROT_BOOT, scope, RTN_UNICAST);
        let replaced = self.netlink()?.ask(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &body);
        replaced.map(|_| ()).map_err(words)
    }

    pub(crate) fn delete_route(self, route: &Route) -> Result<(), String> {
        let body = route.body(0, RT_SCOPE_NOWHERE, 0);
        self.netlink()?.ask(RTM_DELROUTE, 0, &body).map(|_| ()).map_err(words)
    }

    /// Has the kernel ask for the MAC address of a neighbour: a datagram to it can't be sent without. Whether it is known
    /// after a second at most.
    pub(crate) fn resolves(self, name: &str, neighbour: &str) -> Result<bool, String> {
        let deadline = Instant::now() + Duration::from_secs(1);
        let neighbour: IpAddr = neighbour.parse().map_err(|_| format!("{neighbour} is no address"))?;
        let any = if neighbour.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        self.within(|| {
            let socket = UdpSocket::bind(any).map_err(|error| error.to_string())?;
            setsockopt(&socket, BindToDevice, &name.into()).map_err(words)?;
            let sent = socket.send_to(&[0], (neighbour, DISCARD));
            sent.map(|_| ()).map_err(|error| error.to_string())
        })?;
        let link = self.link(name)?.index;
        let mut socket = self.netlink()?;
        loop {
            let all = socket
                .ask(RTM_GETNEIGH, NLM_F_DUMP, &Body::new(&[0; NDMSG]))
                .map_err(words)?;
            let known = all.iter().any(|message| {
                let attributes = message.attributes(NDMSG);
                message.word(4) == link
                    && ip(attributes, NDA_DST) == Some(neighbour)
                    && attributes.get(NDA_LLADDR).is_some()
            });
            if known || Instant::now() >= deadline {
                return Ok(known);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Route {
    fn body(&self, protocol: u8, scope: u8, kind: u8) -> Body {
        let family = if self.is_ipv6 { AF_INET6 } else { AF_INET };
        let length = self.destination.map_or(0, |(_, length)| length);
        let head = [family, length, 0, 0, RT_TABLE_MAIN, protocol, scope, kind, 0, 0, 0, 0];
        let mut body = Body::new(&head).number(RTA_OIF, self.link);
        if let Some((ip, _)) = self.destination.filter(|_| length > 0) {
            body = body.put(RTA_DST, &bytes(ip));
        }
        match self.gateway {
            Some(gateway) => body.put(RTA_GATEWAY, &bytes(gateway)),
            None => body,
        }
    }
}
