//! Generic netlink by hand, since no crate for devlink is alive and small: one socket, one request at a time. Messages are laid
//! out as in the kernel's Documentation/userspace-api/netlink/intro.rst.

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use nix::errno::Errno;

use super::Error;

#[cfg(test)]
mod tests;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
/// The kernel is to say that it has done it.
const NLM_F_ACK: u16 = 0x4;
/// The kernel's words are in the reply (`NLM_F_ACK_TLVS`), and the request's payload is not (`NLM_F_CAPPED`).
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLM_F_CAPPED: u16 = 0x100;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLM_F_MULTI: u16 = 0x2;
/// What is dumped changed meanwhile.
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLA_TYPE_MASK: u16 = 0x3fff;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Length of `struct nlmsghdr`, and with `struct genlmsghdr`.
const HEADER: usize = 16;
const HEADERS: usize = HEADER + 4;

/// The kernel makes the packets of a dump as large as the largest buffer that the socket was read with, up to 32 KiB
/// (`netlink_dump` in `net/netlink/af_netlink.c`): with this one about 200 ports come in one.
const BUFFER: usize = 32 * 1024;
/// More packets than any dump has; each is up to 32 KiB.
const MAX_PACKETS: u32 = 4096;
/// How often a dump is begun anew that was interrupted.
const DUMPS: u32 = 4;

/// A socket, and the number that the kernel has for one family.
pub(super) struct Genl {
    socket: Socket,
    /// `None`: this kernel does not have the family.
    family: Option<u16>,
}

/// What a family answers to a request.
pub(super) enum Answer {
    /// The attributes of the reply.
    Attributes(Vec<u8>),
    /// It says no; also when there is no such family (ENOENT).
    Refused(Errno),
}

/// How a dump ended.
pub(super) enum Dump {
    /// Whole; in so many packets.
    Whole(u32),
    /// The kernel says no; also when there is no such family (ENOENT).
    Refused(Errno),
}

impl Genl {
    /// A socket in the network namespace of this thread.
    pub(super) fn open(family: &str) -> Result<Self, Error> {
        let what = format!("netlink family {family}");
        let io = |cause| Error::Io {
            what: what.clone(),
            cause,
        };
        let socket = Socket::new(NETLINK_GENERIC).map_err(io)?;
        // gives the socket its own address as well (`netlink_connect` in net/netlink/af_netlink.c)
        socket.connect(&SocketAddr::new(0, 0)).map_err(io)?;
        let mut genl = Self {
            socket,
            family: Some(GENL_ID_CTRL),
        };
        // without these the kernel's own words for an error don't come; before 4.12 and 4.20 there are none, or hidden ones
        let _ = genl.socket.set_ext_ack(true);
        let _ = genl.socket.set_cap_ack(true);
        genl.family = match genl.ask(&what, CTRL_CMD_GETFAMILY, &[(CTRL_ATTR_FAMILY_NAME, family)])? {
            Answer::Attributes(attributes) => attribute(&attributes, CTRL_ATTR_FAMILY_ID).and_then(as_u16),
            Answer::Refused(Errno::ENOENT) => None,
            Answer::Refused(errno) => return Err(refused(&what, errno)),
        };
        Ok(genl)
    }

    /// One request with text attributes, and its one reply.
    pub(super) fn ask(&self, what: &str, command: u8, attributes: &[(u16, &str)]) -> Result<Answer, Error> {
        self.ask_with(what, command, &texts(attributes))
    }

    /// One request with a run of attributes, and its one reply.
    pub(super) fn ask_with(&self, what: &str, command: u8, attributes: &[u8]) -> Result<Answer, Error> {
        let Some(family) = self.family else {
            return Ok(Answer::Refused(Errno::ENOENT));
        };
        self.send(what, &request(family, NLM_F_REQUEST, command, attributes))?;
        let mut buffer = Vec::new();
        self.receive(what, &mut buffer)?;
        match messages(&buffer).next() {
            Some(Message::Refused(errno)) => Ok(Answer::Refused(errno)),
            Some(Message::Data { attributes, .. }) => Ok(Answer::Attributes(attributes.to_vec())),
            _ => Err(garbled(what)),
        }
    }

    /// A request that changes something. It is done when this comes back: the kernel works on it in `send(2)`, which can take
    /// many seconds. Its own words for an error are in the error.
    pub(super) fn tell(&self, what: &str, command: u8, attributes: &[u8]) -> Result<(), Error> {
        let Some(family) = self.family else {
            return Err(Error::Kernel {
                what: what.to_owned(),
                errno: Errno::ENOENT,
                hint: Some("this kernel does not have that netlink family".to_owned()),
            });
        };
        self.send(what, &request(family, NLM_F_REQUEST | NLM_F_ACK, command, attributes))?;
        let mut buffer = Vec::new();
        for _ in 0..MAX_PACKETS {
            self.receive(what, &mut buffer)?;
            if let Some(answer) = acknowledgement(&buffer) {
                return answer.map_err(|(errno, hint)| Error::Kernel {
                    what: what.to_owned(),
                    errno,
                    hint,
                });
            }
        }
        Err(garbled(what))
    }

    /// All replies to a request that lists things; `each` gets the attributes of one.
    /// When the list changed while it was read (`NLM_F_DUMP_INTR`) it is read anew.
    pub(super) fn dump<T: Default>(
        &self,
        what: &str,
        command: u8,
        attributes: &[(u16, &str)],
        each: impl Fn(&mut T, &[u8]) -> Result<(), Error>,
    ) -> Result<(T, Dump), Error> {
        let Some(family) = self.family else {
            return Ok((T::default(), Dump::Refused(Errno::ENOENT)));
        };
        let mut packets = 0;
        let mut buffer = Vec::new();
        for _ in 0..DUMPS {
            self.send(
                what,
                &request(family, NLM_F_REQUEST | NLM_F_DUMP, command, &texts(attributes)),
            )?;
            let mut found = T::default();
            let receive = |buffer: &mut Vec<u8>| self.receive(what, buffer);
            match dump_once(what, &mut packets, &mut buffer, receive, |attributes| {
                each(&mut found, attributes)
            })? {
                Once::Whole => return Ok((found, Dump::Whole(packets))),
                Once::Interrupted => {}
                Once::Refused(errno) => return Ok((T::default(), Dump::Refused(errno))),
            }
        }
        Err(Error::NoAnswer {
            what: what.to_owned(),
            why: format!("it changed in each of {DUMPS} readings; try again when the NIC is set up"),
        })
    }

    fn send(&self, what: &str, message: &[u8]) -> Result<(), Error> {
        let sent = self.socket.send(message, 0);
        sent.map(drop).map_err(|cause| Error::Io {
            what: what.to_owned(),
            cause,
        })
    }

    /// The next packet. The kernel answers a generic netlink request before send(2) returns, and goes on with a dump before
    /// recv(2) returns: what is not there then never comes.
    fn receive(&self, what: &str, buffer: &mut Vec<u8>) -> Result<(), Error> {
        buffer.clear();
        buffer.reserve(BUFFER);
        let length = self
            .socket
            .recv(buffer, nix::libc::MSG_TRUNC | nix::libc::MSG_DONTWAIT)
            .map_err(|cause| Error::Io {
                what: what.to_owned(),
                cause,
            })?;
        // with MSG_TRUNC it is the length that the packet has
        if length > buffer.len() {
            return Err(Error::NoAnswer {
                what: what.to_owned(),
                why: format!("a reply of {length} bytes, expected at most {BUFFER}"),
            });
        }
        Ok(())
    }
}

enum Once {
    Whole,
    Interrupted,
    Refused(Errno),
}

/// Reads the packets of one dump.
fn dump_once(
    what: &str,
    packets: &mut u32,
    buffer: &mut Vec<u8>,
    receive: impl Fn(&mut Vec<u8>) -> Result<(), Error>,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Once, Error> {
    let mut interrupted = false;
    while *packets < MAX_PACKETS {
        *packets += 1;
        receive(buffer)?;
        for message in messages(buffer) {
            match message {
                Message::Done { flags, code: 0 } => {
                    let whole = !interrupted && flags & NLM_F_DUMP_INTR == 0;
                    return Ok(if whole { Once::Whole } else { Once::Interrupted });
                }
                // the dump itself failed; EMSGSIZE: one message did not fit, and never will
                Message::Done { code, .. } => return Ok(Once::Refused(Errno::from_raw(code.saturating_neg()))),
                Message::Refused(errno) => return Ok(Once::Refused(errno)),
                Message::Data { flags, attributes } => {
                    interrupted |= flags & NLM_F_DUMP_INTR != 0;
                    each(attributes)?;
                    if flags & NLM_F_MULTI == 0 {
                        return Ok(Once::Whole); // an answer in one message, not a dump
                    }
                }
                Message::Garbled => return Err(garbled(what)),
            }
        }
    }
    Err(Error::NoAnswer {
        what: what.to_owned(),
        why: format!("more than {MAX_PACKETS} packets"),
    })
}

pub(super) fn refused(what: &str, errno: Errno) -> Error {
    Error::Kernel {
        what: what.to_owned(),
        errno,
        hint: None,
    }
}

fn garbled(what: &str) -> Error {
    Error::NoAnswer {
        what: what.to_owned(),
        why: "reply is cut short".to_owned(),
    }
}

/// What came of a request that asked for an acknowledgement, if this packet has it: nothing, or the kernel's error number and
/// words.
fn acknowledgement(packet: &[u8]) -> Option<Result<(), (Errno, Option<String>)>> {
    let kind = as_u16(packet.get(4..6)?)?;
    let flags = as_u16(packet.get(6..8)?)?;
    if kind != NLMSG_ERROR {
        return None;
    }
    let code = i32::from_ne_bytes(packet.get(HEADER..HEADER + 4)?.try_into().ok()?);
    if code == 0 {
        return Some(Ok(()));
    }
    // the header of the request follows the number, and unless it was left out the rest of the request
    let theirs = usize::try_from(as_u32(packet.get(HEADER + 4..HEADER + 8)?)?).ok()?;
    let skip = if flags & NLM_F_CAPPED == 0 {
        theirs.next_multiple_of(4)
    } else {
        HEADER
    };
    let hint = (flags & NLM_F_ACK_TLVS != 0)
        .then(|| {
            packet
                .get(HEADER + 4 + skip..)
                .and_then(|run| attribute(run, NLMSGERR_ATTR_MSG))
        })
        .flatten()
        .and_then(as_text)
        .map(str::to_owned);
    Some(Err((Errno::from_raw(code.saturating_neg()), hint)))
}

/// A request with text attributes.
fn request(family: u16, flags: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend(family.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(1u32.to_ne_bytes()); // sequence: one request is under way at a time
    message.extend(0u32.to_ne_bytes());
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message.splice(0..4, length.to_ne_bytes());
    message
}

/// A run of text attributes, each with its NUL.
pub(super) fn texts(attributes: &[(u16, &str)]) -> Vec<u8> {
    let mut run = Vec::new();
    for (kind, text) in attributes {
        put(&mut run, *kind, &[text.as_bytes(), b"\0"].concat());
    }
    run
}

/// Adds an attribute to a run of them.
pub(super) fn put(run: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    run.extend(length.to_ne_bytes());
    run.extend(kind.to_ne_bytes());
    run.extend(value);
    run.resize(run.len().next_multiple_of(4), 0);
}

/// One message of a packet.
#[derive(Debug)]
pub enum Message<'a> {
    /// An answer.
    Data {
        /// `nlmsg_flags`.
        flags: u16,
        /// What follows the headers; see [`attributes`].
        attributes: &'a [u8],
    },
    /// The kernel says no.
    Refused(Errno),
    /// The end of a dump, with its error number.
    Done {
        /// `nlmsg_flags`.
        flags: u16,
        /// The negative of an `errno`, or 0.
        code: i32,
    },
    /// No message.
    Garbled,
}

/// The messages of a packet. One that is cut short or says a length that can't be is the last.
pub fn messages(mut packet: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        if packet.is_empty() {
            return None;
        }
        let (message, rest) = message(packet).unwrap_or((Message::Garbled, &[]));
        packet = rest;
        Some(message)
    })
}

fn message(packet: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = usize::try_from(as_u32(packet.get(0..4)?)?).ok()?;
    let kind = as_u16(packet.get(4..6)?)?;
    let flags = as_u16(packet.get(6..8)?)?;
    let body = packet.get(HEADER..length)?;
    let rest = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
    let message = match kind {
        NLMSG_ERROR => match i32::from_ne_bytes(body.get(..4)?.try_into().ok()?) {
            0 => Message::Garbled, // an acknowledgement: none was asked for
            code => Message::Refused(Errno::from_raw(code.saturating_neg())),
        },
        NLMSG_DONE => Message::Done {
            flags,
            code: body
                .get(..4)
                .map_or(Some(0), |code| code.try_into().ok().map(i32::from_ne_bytes))?,
        },
        _ => Message::Data {
            flags,
            attributes: packet.get(HEADERS..length)?,
        },
    };
    Some((message, rest))
}

/// The attributes of a run of them: type and value. Ends where the run is cut short.
pub fn attributes(mut run: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(as_u16(run.get(0..2)?)?);
        let kind = as_u16(run.get(2..4)?)? & NLA_TYPE_MASK;
        let value = run.get(4..length)?;
        run = run.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of this type.
pub(super) fn attribute(run: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(run).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

pub(super) fn as_u16(value: &[u8]) -> Option<u16> {
    value.first_chunk().copied().map(u16::from_ne_bytes)
}

pub(super) fn as_u32(value: &[u8]) -> Option<u32> {
    value.first_chunk().copied().map(u32::from_ne_bytes)
}

/// A text: up to its NUL.
pub(super) fn as_text(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    std::str::from_utf8(value.get(..end)?).ok()
}
