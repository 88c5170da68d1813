//! [`Stack`] by rtnetlink.

use std::cell::{OnceCell, RefCell};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use ipnetwork::IpNetwork;
use netlink_packet_core::ErrorMessage;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage, LinkVfInfo, VfInfo, VfInfoMac};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};
use netlink_sys::{AsyncSocket, TokioSocket, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use super::devlink::{Handle as DevlinkHandle, Port, Session};
use super::{
    Address, Devlink, Error, Eswitch, Link, LinkChange, Netns, NetnsId, Stack, announce, genl, interface, mounts, netns,
};
use crate::types::{IfName, Mac, PciAddress};

/// The kernel answers within microseconds once it has its lock on all network devices (RTNL), for which a request waits behind
/// those of everybody else: seconds on a node that starts many pods at once. Some limit there must be, for rtnetlink drops a
/// reply that it can't decode and then waits for ever.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A namespace's stack, by netlink sockets that are made inside it when they are first needed: in a pod's namespace rtnetlink's is
/// not as long as the daemon works, and devlink's never.
pub struct Netlink {
    netns: Netns,
    route: OnceCell<Handle>,
    devlink: RefCell<Option<Session>>,
}

impl Netlink {
    /// The stack of the namespace that the program was started in. Needs a tokio runtime around it.
    pub fn own() -> Result<Self, Error> {
        Ok(Self::inside(Netns::own()?))
    }

    fn inside(netns: Netns) -> Self {
        Self {
            netns,
            route: OnceCell::new(),
            devlink: RefCell::new(None),
        }
    }

    /// The way to rtnetlink.
    pub(super) fn route(&self) -> Result<&Handle, Error> {
        if let Some(handle) = self.route.get() {
            return Ok(handle);
        }
        let socket = self
            .netns
            .run(|| {
                let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
                // without these two the kernel's own words for an error don't reach us
                socket.socket_mut().set_ext_ack(true)?;
                socket.socket_mut().set_cap_ack(true)?;
                // since Linux 4.20 (89d35528d17d); before, a dump gives all there is, and we leave out what is not asked for
                let _ = socket.socket_mut().set_netlink_get_strict_chk(true);
                Ok(socket)
            })?
            .map_err(|cause: io::Error| Error::Io {
                what: "netlink socket".to_owned(),
                cause,
            })?;
        let (connection, handle, _) = rtnetlink::from_socket(socket);
        tokio::spawn(connection);
        Ok(self.route.get_or_init(|| handle))
    }

    /// Awaits a request, and gives its error the name of what was asked.
    pub(super) async fn ask<T>(
        &self,
        what: impl FnOnce() -> String,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(REPLY_TIMEOUT, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(rtnetlink::Error::NetlinkError(message))) => Err(Error::Kernel {
                what: what(),
                errno: Errno::from_raw(message.raw_code().saturating_abs()),
                hint: extended_ack(&message),
            }),
            Ok(Err(other)) => Err(Error::NoAnswer {
                what: what(),
                why: other.to_string(),
            }),
            Err(_) => Err(Error::Late {
                what: what(),
                seconds: REPLY_TIMEOUT.as_secs(),
            }),
        }
    }

    /// Asks devlink in this namespace. A session that failed is not used again: what it was sent may still come.
    fn ask_devlink<T>(&self, question: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, Error> {
        let session = match self.devlink.take() {
            Some(session) => session,
            None => self.netns.run(Session::open)??,
        };
        let answer = question(&session)?;
        self.devlink.replace(Some(session));
        Ok(answer)
    }

    async fn get(&self, request: rtnetlink::LinkGetRequest, what: &str) -> Result<Option<LinkMessage>, Error> {
        let skip_stats = vec![LinkExtentMask::SkipStats];
        let mut stream = Box::pin(request.set_filter_mask(AddressFamily::Unspec, skip_stats).execute());
        match self.ask(|| format!("get {what}"), stream.try_next()).await {
            Ok(message) => Ok(message),
            Err(e) if e.is_gone() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// The text of an extended ACK: with a capped ACK, attributes follow the 16 bytes of the request's header
/// (`NLMSGERR_ATTR_MSG` is type 1, linux/netlink.h).
#[must_use]
pub fn extended_ack(message: &ErrorMessage) -> Option<String> {
    let text = genl::attribute(message.header.get(16..)?, 1)?;
    let text = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
    Some(text).filter(|text| !text.is_empty())
}

/// A request that is no error when the object exists already.
fn exists_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(e) if e.errno() == Some(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

impl Stack for Netlink {
    fn id(&self) -> NetnsId {
        self.netns.id()
    }

    fn open(&self, path: &Path) -> Result<Self, Error> {
        Ok(Self::inside(Netns::open(path)?))
    }

    async fn link(&self, index: u32) -> Result<Option<Link>, Error> {
        let request = self.route()?.link().get().match_index(index);
        let message = self.get(request, &format!("link with index {index}")).await?;
        Ok(message.as_ref().and_then(Link::from_message))
    }

    async fn link_named(&self, name: &IfName) -> Result<Option<Link>, Error> {
        let request = self.route()?.link().get().match_name(name.as_str());
        let message = self.get(request, &format!("link {name}")).await?;
        Ok(message.as_ref().and_then(Link::from_message))
    }

    async fn links(&self) -> Result<Vec<Link>, Error> {
        let links: Vec<LinkMessage> = self
            .ask(
                || "list links".to_owned(),
                self.route()?.link().get().execute().try_collect(),
            )
            .await?;
        Ok(links.iter().filter_map(Link::from_message).collect())
    }

    async fn change(&self, index: u32, change: &LinkChange) -> Result<(), Error> {
        let request = self.route()?.link().set(change.to_message(index));
        self.ask(
            || format!("set {} of link with index {index}", change.describe()),
            request.execute(),
        )
        .await
    }

    async fn drop_alt_name(&self, index: u32, name: &str) -> Result<(), Error> {
        let request = self.route()?.link().property_del(index).alt_ifname(&[name]);
        self.ask(
            || format!("take alternative name {name} off link with index {index}"),
            request.execute(),
        )
        .await
    }

    async fn add_alt_name(&self, index: u32, name: &str) -> Result<(), Error> {
        let request = self.route()?.link().property_add(index).alt_ifname(&[name]);
        self.ask(
            || format!("give link with index {index} the alternative name {name}"),
            request.execute(),
        )
        .await
    }

    async fn delete(&self, index: u32) -> Result<(), Error> {
        let request = self.route()?.link().del(index);
        self.ask(|| format!("delete link with index {index}"), request.execute())
            .await
    }

    async fn move_to(&self, index: u32, target: &Self, name: &IfName) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index)
            .setns_by_fd(target.netns.as_fd().as_raw_fd())
            .name(name.as_str())
            .build();
        let request = self.route()?.link().set(message);
        self.ask(
            || format!("move link with index {index} to {} as {name}", target.id()),
            request.execute(),
        )
        .await
    }

    async fn vf_mac(&self, pf: u32, vf: u32) -> Result<Option<Mac>, Error> {
        let mask = vec![LinkExtentMask::Vf, LinkExtentMask::SkipStats];
        let request = self
            .route()?
            .link()
            .get()
            .match_index(pf)
            .set_filter_mask(AddressFamily::Unspec, mask);
        let mut stream = Box::pin(request.execute());
        let Some(message) = self
            .ask(
                || format!("get VF information of link with index {pf}"),
                stream.try_next(),
            )
            .await?
        else {
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
        let message = LinkUnspec::new_with_index(pf)
            .append_extra_attribute(LinkAttribute::VfInfoList(vec![info]))
            .build();
        let request = self.route()?.link().set(message);
        self.ask(
            || format!("set MAC {mac} of VF {vf} of link with index {pf}"),
            request.execute(),
        )
        .await
    }

    async fn addresses(&self, index: u32) -> Result<Vec<Address>, Error> {
        let mut request = self.route()?.address().get().set_link_index_filter(index);
        // with strict checks the kernel leaves out the addresses of other links (inet_valid_dump_ifaddr_req): a host may
        // have thousands
        request.message_mut().header.index = index;
        let messages: Vec<_> = self
            .ask(
                || format!("list addresses of link with index {index}"),
                request.execute().try_collect(),
            )
            .await?;
        Ok(messages.iter().filter_map(Address::from_message).collect())
    }

    async fn add_address(&self, index: u32, address: IpNetwork) -> Result<(), Error> {
        let request = self.route()?.address().add(index, address.ip(), address.prefix());
        exists_is_fine(
            self.ask(
                || format!("add address {address} to link with index {index}"),
                request.execute(),
            )
            .await,
        )
    }

    async fn routes(&self, index: u32) -> Result<Vec<(Option<IpNetwork>, Option<IpAddr>)>, Error> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            // not the table: one that has no route yet is an error
            filter.attributes.push(RouteAttribute::Oif(index));
            let request = self.route()?.route().get(filter);
            let messages: Vec<RouteMessage> = self
                .ask(|| "list routes".to_owned(), request.execute().try_collect())
                .await?;
            found.extend(messages.iter().filter_map(|message| route_by(message, index)));
        }
        Ok(found)
    }

    async fn add_route(&self, index: u32, destination: IpNetwork, gateway: Option<IpAddr>) -> Result<(), Error> {
        let what = || match gateway {
            Some(gateway) => format!("add route {destination} via {gateway}"),
            None => format!("add route {destination} by link with index {index}"),
        };
        let mut route = RouteMessageBuilder::<IpAddr>::new()
            .output_interface(index)
            .destination_prefix(destination.network(), destination.prefix())
            .map_err(|e| Error::NoAnswer {
                what: what(),
                why: e.to_string(),
            })?;
        if let Some(gateway) = gateway {
            route = route.gateway(gateway).map_err(|e| Error::NoAnswer {
                what: what(),
                why: e.to_string(),
            })?;
        }
        exists_is_fine(self.ask(what, self.route()?.route().add(route.build()).execute()).await)
    }

    fn with_sysfs<T: Send>(&self, look: impl FnOnce(&Path) -> T + Send) -> Result<T, Error> {
        self.netns.with_sysfs(look)
    }

    fn has_interface(&self, name: &IfName) -> Result<bool, Error> {
        self.netns.run(|| interface::has_interface(name))?
    }

    fn set_sysctls(&self, settings: &[(&str, &str)]) -> Result<(), Error> {
        self.netns.run(|| netns::set_sysctls(settings))?
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
