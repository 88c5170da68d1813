//! [`Stack`] by rtnetlink.

use std::cell::RefCell;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage, LinkVfInfo, Prop, VfInfo, VfInfoMac};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::devlink::{Handle as DevlinkHandle, Port, Session as DevlinkSession};
use super::{
    Address, Devlink, Error, Eswitch, Link, LinkChange, Netns, NetnsId, Stack, announce, link::message_of, mounts, rtnl,
};
use crate::types::{IfName, Mac, PciAddress};

/// A namespace's stack, by a netlink socket that was made inside it.
pub struct Netlink {
    netns: Netns,
    pub(super) session: rtnl::Session,
    /// Made when it is first needed, which for a pod's namespace is never.
    devlink: RefCell<Option<DevlinkSession>>,
}

impl Netlink {
    /// The stack of the namespace that the program was started in.
    pub fn own() -> Result<Self, Error> {
        Self::inside(Netns::own()?)
    }

    fn inside(netns: Netns) -> Result<Self, Error> {
        let session = netns.run(rtnl::Session::open)?.map_err(|cause| Error::Io {
            what: "netlink socket".to_owned(),
            cause,
        })?;
        Ok(Self {
            netns,
            session,
            devlink: RefCell::new(None),
        })
    }

    /// Asks devlink in this namespace. A session that failed is not used again: what it was sent may still come.
    fn ask_devlink<T>(&self, question: impl FnOnce(&DevlinkSession) -> Result<T, Error>) -> Result<T, Error> {
        let session = match self.devlink.take() {
            Some(session) => session,
            None => self.netns.run(DevlinkSession::open)??,
        };
        let answer = question(&session)?;
        self.devlink.replace(Some(session));
        Ok(answer)
    }

    /// The one link that a message means.
    fn get(
        &self,
        mut message: LinkMessage,
        mask: Vec<LinkExtentMask>,
        what: impl Fn() -> String,
    ) -> Result<Option<LinkMessage>, Error> {
        message.attributes.push(LinkAttribute::ExtMask(mask));
        match self.session.get(what, RouteNetlinkMessage::GetLink(message)) {
            Ok(RouteNetlinkMessage::NewLink(link)) => Ok(Some(link)),
            Ok(_) => Ok(None),
            Err(e) if e.is_gone() => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn alt_name(index: u32, name: &str) -> LinkMessage {
        message_of(index, [LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())])])
    }
}

/// A request that is no error when the object exists already.
fn exists_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(e) if e.errno() == Some(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

impl Stack for Netlink {
    fn id(&self) -> NetnsId {
        self.netns.id()
    }

    fn open(&self, path: &Path) -> Result<Self, Error> {
        Self::inside(Netns::open(path)?)
    }

    async fn link(&self, index: u32) -> Result<Option<Link>, Error> {
        let what = || format!("get link with index {index}");
        let message = self.get(message_of(index, []), vec![LinkExtentMask::SkipStats], what)?;
        Ok(message.as_ref().and_then(Link::from_message))
    }

    async fn link_named(&self, name: &IfName) -> Result<Option<Link>, Error> {
        let named = message_of(0, [LinkAttribute::IfName(name.to_string())]);
        let message = self.get(named, vec![LinkExtentMask::SkipStats], || format!("get link {name}"))?;
        Ok(message.as_ref().and_then(Link::from_message))
    }

    async fn links(&self) -> Result<Vec<Link>, Error> {
        let all = message_of(0, [LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])]);
        let links = self
            .session
            .dump(|| "list links".to_owned(), &RouteNetlinkMessage::GetLink(all))?;
        let links = links.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Link::from_message(link),
            _ => None,
        });
        Ok(links.collect())
    }

    async fn change(&self, index: u32, change: &LinkChange) -> Result<(), Error> {
        let what = || format!("set {} of link with index {index}", change.describe());
        self.session
            .tell(what, RouteNetlinkMessage::SetLink(change.to_message(index)), 0)
    }

    async fn drop_alt_name(&self, index: u32, name: &str) -> Result<(), Error> {
        let what = || format!("take alternative name {name} off link with index {index}");
        self.session
            .tell(what, RouteNetlinkMessage::DelLinkProp(Self::alt_name(index, name)), 0)
    }

    async fn add_alt_name(&self, index: u32, name: &str) -> Result<(), Error> {
        let what = || format!("give link with index {index} the alternative name {name}");
        let flags = NLM_F_EXCL | NLM_F_CREATE | NLM_F_APPEND;
        self.session.tell(
            what,
            RouteNetlinkMessage::NewLinkProp(Self::alt_name(index, name)),
            flags,
        )
    }

    async fn delete(&self, index: u32) -> Result<(), Error> {
        let what = || format!("delete link with index {index}");
        self.session
            .tell(what, RouteNetlinkMessage::DelLink(message_of(index, [])), 0)
    }

    async fn move_to(&self, index: u32, target: &Self, name: &IfName) -> Result<(), Error> {
        let attributes = [
            LinkAttribute::NetNsFd(target.netns.as_fd().as_raw_fd()),
            LinkAttribute::IfName(name.to_string()),
        ];
        let what = || format!("move link with index {index} to {} as {name}", target.id());
        self.session
            .tell(what, RouteNetlinkMessage::SetLink(message_of(index, attributes)), 0)
    }

    async fn vf_mac(&self, pf: u32, vf: u32) -> Result<Option<Mac>, Error> {
        let mask = vec![LinkExtentMask::Vf, LinkExtentMask::SkipStats];
        let what = || format!("get VF information of link with index {pf}");
        let Some(message) = self.get(message_of(pf, []), mask, what)? else {
            return Ok(None);
        };
        let infos = message.attributes.iter().filter_map(|attribute| match attribute {
            LinkAttribute::VfInfoList(list) => Some(list.iter().flat_map(|LinkVfInfo(infos)| infos)),
            _ => None,
        });
        Ok(infos.flatten().find_map(|info| match info {
            VfInfo::Mac(found) if found.vf_id == vf => found.mac.first_chunk().copied().map(Mac),
            _ => None,
        }))
    }

    async fn set_vf_mac(&self, pf: u32, vf: u32, mac: Mac) -> Result<(), Error> {
        let info = LinkVfInfo(vec![VfInfo::Mac(VfInfoMac::new(vf, &mac.0))]);
        let message = message_of(pf, [LinkAttribute::VfInfoList(vec![info])]);
        let what = || format!("set MAC {mac} of VF {vf} of link with index {pf}");
        self.session.tell(what, RouteNetlinkMessage::SetLink(message), 0)
    }

    async fn addresses(&self, index: u32) -> Result<Vec<Address>, Error> {
        let mut wanted = AddressMessage::default();
        // with strict checks the kernel leaves out the addresses of other links (inet_valid_dump_ifaddr_req): a host may
        // have thousands
        wanted.header.index = index;
        let what = || format!("list addresses of link with index {index}");
        let addresses = self.session.dump(what, &RouteNetlinkMessage::GetAddress(wanted))?;
        let of_link = addresses.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) if address.header.index == index => Address::from_message(address),
            _ => None,
        });
        Ok(of_link.collect())
    }

    async fn add_address(&self, index: u32, address: IpNetwork) -> Result<(), Error> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = address.prefix();
        message.header.family = family(address.ip());
        let own = address.ip();
        message.attributes = vec![AddressAttribute::Address(own), AddressAttribute::Local(own)];
        // of two hosts there is none (RFC 3021)
        if let IpNetwork::V4(address) = address
            && address.prefix() < 31
        {
            message
                .attributes
                .push(AddressAttribute::Broadcast(address.broadcast()));
        }
        let what = || format!("add address {address} to link with index {index}");
        let added = self.session.tell(
            what,
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_EXCL | NLM_F_CREATE,
        );
        exists_is_fine(added)
    }

    async fn routes(&self, index: u32) -> Result<Vec<(Option<IpNetwork>, Option<IpAddr>)>, Error> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            // not the table: one that has no route yet is an error
            filter.attributes.push(RouteAttribute::Oif(index));
            let routes = self
                .session
                .dump(|| "list routes".to_owned(), &RouteNetlinkMessage::GetRoute(filter))?;
            found.extend(routes.iter().filter_map(|message| match message {
                RouteNetlinkMessage::NewRoute(route) => route_by(route, index),
                _ => None,
            }));
        }
        Ok(found)
    }

    async fn add_route(&self, index: u32, destination: IpNetwork, gateway: Option<IpAddr>) -> Result<(), Error> {
        let what = || match gateway {
            Some(gateway) => format!("add route {destination} via {gateway}"),
            None => format!("add route {destination} by link with index {index}"),
        };
        let mut route = RouteMessage::default();
        route.header.address_family = family(destination.ip());
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Static;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unicast;
        route.header.destination_prefix_length = destination.prefix();
        route.attributes = vec![
            RouteAttribute::Oif(index),
            RouteAttribute::Destination(destination.network().into()),
        ];
        route.attributes.extend(match (destination, gateway) {
            (IpNetwork::V4(_), Some(IpAddr::V6(gateway))) => Some(RouteAttribute::Via(RouteVia::Inet6(gateway))),
            (_, Some(gateway)) => Some(RouteAttribute::Gateway(gateway.into())),
            (_, None) => None,
        });
        exists_is_fine(
            self.session
                .tell(what, RouteNetlinkMessage::NewRoute(route), NLM_F_EXCL | NLM_F_CREATE),
        )
    }

    fn with_sysfs<T: Send>(&self, look: impl FnOnce(&Path) -> T + Send) -> Result<T, Error> {
        self.netns.with_sysfs(look)
    }

    fn set_sysctls(&self, settings: &[(&str, &str)]) -> Result<(), Error> {
        self.netns.set_sysctls(settings)
    }

    fn sees_namespaces_at(&self, path: &Path) -> Result<bool, Error> {
        mounts::sees_namespaces_at(path)
    }

    fn announce(&self, name: &IfName, mac: Mac, addresses: &[IpAddr]) -> Result<(), Error> {
        self.netns
            .run(|| announce::send_all(name, mac, addresses))?
            .map_err(|cause| Error::Io {
                what: format!("announce the addresses of {name}"),
                cause,
            })
    }
}

impl Devlink for Netlink {
    fn eswitch(&self, pf: &PciAddress) -> Result<Eswitch, Error> {
        self.ask_devlink(|session| session.eswitch(pf))
    }

    fn port(&self, of: &DevlinkHandle, index: u32) -> Result<Option<Port>, Error> {
        self.ask_devlink(|session| session.port(of, index))
    }

    fn ports(&self, of: &DevlinkHandle) -> Result<Vec<Port>, Error> {
        self.ask_devlink(|session| session.ports(of))
    }
}

/// Destination and gateway of a route of the main table that leaves by the link.
#[must_use]
pub fn route_by(message: &RouteMessage, index: u32) -> Option<(Option<IpNetwork>, Option<IpAddr>)> {
    let mut by_link = false;
    let mut table = u32::from(message.header.table);
    let mut destination = None;
    let mut gateway = None;
    let ip = |address: &RouteAddress| match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => by_link = *oif == index,
            RouteAttribute::Table(full) => table = *full,
            RouteAttribute::Destination(address) => destination = ip(address),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            _ => {}
        }
    }
    let prefix = message.header.destination_prefix_length;
    (by_link && table == u32::from(RouteHeader::RT_TABLE_MAIN))
        .then(|| (destination.and_then(|ip| IpNetwork::new(ip, prefix).ok()), gateway))
}
