//! One question to rtnetlink that leaves no socket behind.

use netlink_packet_core::{DecodeError, ErrorBuffer, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc::MSG_DONTWAIT;

use super::Error;
use crate::types::IfName;

/// More than what the kernel says of a link without the VFs that it may have: some 2 KiB.
const MAX_REPLY: usize = 16 * 1024;

/// Whether the namespace of the calling thread has an interface with this name or alternative name. Asked by a socket that does not
/// stay; not by ioctl, for which the kernel runs modprobe with a name that it does not know (`dev_load`, `net/core/dev_ioctl.c`).
pub fn has_interface(name: &IfName) -> Result<bool, Error> {
    let what = || format!("look for interface {name}");
    let io = |cause| Error::Io { what: what(), cause };
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_string()));
    link.attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(link));
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);

    let socket = Socket::new(NETLINK_ROUTE).map_err(io)?;
    socket.connect(&SocketAddr::new(0, 0)).map_err(io)?;
    socket.send(&bytes, 0).map_err(io)?;
    // the kernel has answered before send(2) returns
    let mut reply = Vec::with_capacity(MAX_REPLY);
    socket.recv(&mut reply, MSG_DONTWAIT).map_err(io)?;
    let garbled = |why: DecodeError| Error::NoAnswer {
        what: what(),
        why: why.to_string(),
    };
    let reply = NetlinkBuffer::new_checked(&reply).map_err(garbled)?;
    if reply.message_type() != NLMSG_ERROR {
        return Ok(true);
    }
    let refused = ErrorBuffer::new_checked(reply.payload()).map_err(garbled)?;
    match Errno::from_raw(refused.code().map_or(0, |code| code.get().saturating_abs())) {
        Errno::ENODEV => Ok(false),
        errno => Err(Error::Kernel {
            what: what(),
            errno,
            hint: None,
        }),
    }
}
