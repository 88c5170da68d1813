//! Netlink (netlink(7)) byte by byte: requests, replies, and their attributes.
//!
//! A program such as ip(8) costs a tenth of a second on the lab's emulated machine, an attachment needs thirty of them.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

// include/uapi/linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
const HEAD: usize = 16;
/// The kernel puts no more of a dump into one datagram than 32 KiB.
const DATAGRAM: usize = 1 << 16;

/// What follows a message's head: a struct of the protocol, then attributes.
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) fn new(start: &[u8]) -> Self {
        Self(start.to_vec())
    }

    pub(crate) fn put(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        self.put(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(crate) fn nest(self, kind: u16, inner: &Self) -> Self {
        self.put(kind, &inner.0)
    }
}

/// An answer without its head: the protocol's struct and the attributes.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A number of the struct at its start.
    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn word(&self, at: usize) -> u32 {
        self.0.get(at..).and_then(u32_of).unwrap_or_default()
    }

    /// The attributes behind a struct of that length.
    pub(crate) fn attributes(&self, struct_length: usize) -> Attributes<'_> {
        Attributes(self.0.get(struct_length..).unwrap_or_default())
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(crate) fn get(self, kind: u16) -> Option<&'a [u8]> {
        let mut rest = self.0;
        loop {
            let length = usize::from(u16_of(rest)?);
            // the two highest bits of the type are flags (NLA_TYPE_MASK)
            let found = u16_of(rest.get(2..)?)? & 0x3fff;
            let value = rest.get(4..length)?;
            if found == kind {
                return Some(value);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }

    pub(crate) fn nested(self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or_default())
    }

    pub(crate) fn text(self, kind: u16) -> Option<String> {
        let value = self.get(kind)?;
        let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }

    pub(crate) fn number(self, kind: u16) -> Option<u32> {
        let value = self.get(kind)?;
        match value.len() {
            1 => value.first().map(|byte| u32::from(*byte)),
            2 => u16_of(value).map(u32::from),
            _ => u32_of(value),
        }
    }
}

fn u16_of(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

/// A socket belongs to the network namespace of the thread that opened it.
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(crate) fn open(protocol: SockProtocol) -> Result<Self, Errno> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Asks, and gives back all that comes before the acknowledgement or the end of the dump.
    pub(crate) fn ask(&mut self, kind: u16, flags: u16, body: &Body) -> Result<Vec<Message>, Errno> {
        self.sequence += 1;
        let length = u32::try_from(HEAD + body.0.len()).map_err(|_| Errno::EMSGSIZE)?;
        let mut request = length.to_ne_bytes().to_vec();
        request.extend(kind.to_ne_bytes());
        request.extend((flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend([0; 4]);
        request.extend(&body.0);
        send(self.fd.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut answers = Vec::new();
        let mut datagram = vec![0; DATAGRAM];
        loop {
            let received = recv(self.fd.as_raw_fd(), &mut datagram, MsgFlags::empty())?;
            let mut rest = datagram.get(..received).unwrap_or_default();
            while let Some(length) = u32_of(rest).and_then(|length| usize::try_from(length).ok()) {
                let Some((kind, payload)) = (rest.get(4..).and_then(u16_of)).zip(rest.get(HEAD..length)) else {
                    return Err(Errno::EBADMSG);
                };
                match kind {
                    // both begin with an error number, negative, or 0
                    NLMSG_ERROR | NLMSG_DONE => {
                        let number = u32_of(payload).unwrap_or_default().cast_signed();
                        return match number {
                            0 => Ok(answers),
                            error => Err(Errno::from_raw(error.saturating_neg())),
                        };
                    }
                    _ => answers.push(Message(payload.to_vec())),
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}
