//! The one thing that is asked of devlink so far: the mode of an eswitch. Generic netlink by hand, since no crate
//! for devlink is alive and small (`DEVLINK_CMD_ESWITCH_GET` of linux/devlink.h; messages as in
//! Documentation/userspace-api/netlink/intro.rst).

use std::fmt;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use nix::errno::Errno;

use super::Error;
use crate::types::PciAddress;

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLA_TYPE_MASK: u16 = 0x3fff;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const DEVLINK_CMD_ESWITCH_GET: u8 = 29;
const DEVLINK_ATTR_BUS_NAME: u16 = 1;
const DEVLINK_ATTR_DEV_NAME: u16 = 2;
const DEVLINK_ATTR_ESWITCH_MODE: u16 = 25;
/// Length of `struct nlmsghdr` and of `struct genlmsghdr`.
const HEADERS: usize = 16 + 4;

/// How a NIC's embedded switch works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EswitchMode {
    /// It forwards by MAC and VLAN; VFs have no representors.
    Legacy,
    /// Each VF has a representor, and flows are offloaded between them.
    Switchdev,
    /// A mode that this program does not know.
    Other(u16),
}

impl fmt::Display for EswitchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Legacy => f.write_str("legacy"),
            Self::Switchdev => f.write_str("switchdev"),
            Self::Other(mode) => write!(f, "unknown ({mode})"),
        }
    }
}

/// The mode of the eswitch of a PF; `None` when there is no devlink, or none for this device.
pub(super) fn eswitch_mode(pf: &PciAddress) -> Result<Option<EswitchMode>, Error> {
    let what = format!("devlink eswitch mode of pci/{pf}");
    let io = |cause| Error::Io {
        what: what.clone(),
        cause,
    };
    let mut socket = Socket::new(NETLINK_GENERIC).map_err(io)?;
    socket.bind_auto().map_err(io)?;
    socket.connect(&SocketAddr::new(0, 0)).map_err(io)?;
    // the kernel answers a generic netlink request before send(2) returns: what is not there then never comes
    socket.set_non_blocking(true).map_err(io)?;
    let ask = |kind: u16, command: u8, attributes: &[(u16, &str)]| -> Result<Option<Vec<u8>>, Error> {
        socket.send(&request(kind, command, attributes), 0).map_err(io)?;
        let mut reply = Vec::with_capacity(16 * 1024);
        socket.recv(&mut reply, 0).map_err(io)?;
        match parse(&reply) {
            Reply::Attributes(attributes) => Ok(Some(attributes)),
            Reply::Refused(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(None),
            Reply::Refused(errno) => Err(Error::Kernel {
                what: what.clone(),
                errno,
                hint: None,
            }),
            Reply::Garbled => Err(Error::NoAnswer {
                what: what.clone(),
                why: "reply is cut short".to_owned(),
            }),
        }
    };
    let Some(family) = ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &[(CTRL_ATTR_FAMILY_NAME, "devlink")])? else {
        return Ok(None);
    };
    let Some(family) = attribute_u16(&family, CTRL_ATTR_FAMILY_ID) else {
        return Ok(None);
    };
    let device = [(DEVLINK_ATTR_BUS_NAME, "pci"), (DEVLINK_ATTR_DEV_NAME, pf.as_str())];
    Ok(ask(family, DEVLINK_CMD_ESWITCH_GET, &device)?
        .and_then(|attributes| attribute_u16(&attributes, DEVLINK_ATTR_ESWITCH_MODE))
        .map(|mode| match mode {
            0 => EswitchMode::Legacy,
            1 => EswitchMode::Switchdev,
            other => EswitchMode::Other(other),
        }))
}

/// A generic netlink request with text attributes.
fn request(kind: u16, command: u8, attributes: &[(u16, &str)]) -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend(kind.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend(1u32.to_ne_bytes()); // sequence: one request is under way at a time
    message.extend(0u32.to_ne_bytes());
    message.extend([command, 1, 0, 0]);
    for (kind, text) in attributes {
        let length = u16::try_from(4 + text.len() + 1).unwrap_or(u16::MAX);
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(text.as_bytes());
        message.push(0);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message.splice(0..4, length.to_ne_bytes());
    message
}

enum Reply {
    Attributes(Vec<u8>),
    Refused(Errno),
    Garbled,
}

fn parse(reply: &[u8]) -> Reply {
    let kind = reply.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    match kind {
        Some(NLMSG_ERROR) => match reply
            .get(16..20)
            .and_then(|b| b.try_into().ok())
            .map(i32::from_ne_bytes)
        {
            Some(code) if code != 0 => Reply::Refused(Errno::from_raw(-code)),
            _ => Reply::Garbled,
        },
        Some(_) => reply
            .get(HEADERS..)
            .map_or(Reply::Garbled, |rest| Reply::Attributes(rest.to_vec())),
        None => Reply::Garbled,
    }
}

/// The value of a 16-bit attribute in a run of attributes; `None` when it is absent or the run is cut short.
fn attribute_u16(mut attributes: &[u8], wanted: u16) -> Option<u16> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?) & NLA_TYPE_MASK;
        if length < 4 {
            return None;
        }
        if kind == wanted {
            return Some(u16::from_ne_bytes(
                attributes.get(4..length)?.get(..2)?.try_into().ok()?,
            ));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_laid_out_as_the_kernel_reads_it() {
        let message = request(0x1234, 29, &[(1, "pci")]);
        assert_eq!(message.len(), 28);
        assert_eq!(u32::from_ne_bytes(message[0..4].try_into().unwrap()), 28);
        assert_eq!(&message[16..20], [29, 1, 0, 0]);
        assert_eq!(&message[24..28], b"pci\0");
    }

    #[test]
    fn attributes() {
        let mut run = Vec::new();
        for (kind, value) in [(1u16, &b"pci\0"[..]), (25, &[1, 0])] {
            run.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            run.extend(kind.to_ne_bytes());
            run.extend(value);
            run.resize(run.len().next_multiple_of(4), 0);
        }
        assert_eq!(attribute_u16(&run, 25), Some(u16::from_ne_bytes([1, 0])));
        assert_eq!(attribute_u16(&run, 7), None);
        for cut in 0..run.len() {
            let _ = attribute_u16(&run[..cut], 25); // never a panic
        }
        assert_eq!(attribute_u16(&[0; 64], 25), None, "a zero length must not loop");
    }

    #[test]
    fn a_device_that_devlink_does_not_know() {
        assert_eq!(eswitch_mode(&"ffff:ff:1f.7".parse().unwrap()).unwrap(), None);
    }
}
