//! rtnetlink, one request at a time. The kernel works on a request in send(2), so nothing is gained by waiting for the answer in any
//! other way than at once: it is there when send(2) comes back, and each further part of a dump when recv(2) does.

use std::cell::Cell;
use std::io;

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use super::{Error, genl};

/// The message of a PF tells of all its VFs.
const BUFFER: usize = 64 * 1024;
/// More packets than any dump has; each is up to 32 KiB.
const MAX_PACKETS: u32 = 4096;
/// How often a dump is begun anew that was interrupted: what it lists changed meanwhile. Whoever changes links in a pod all the
/// time must not keep it from ending, so the last one counts as it is.
const DUMPS: u32 = 4;

/// A socket.
pub(super) struct Session {
    socket: Socket,
    /// What packets are read into, kept from one to the next.
    buffer: Cell<Vec<u8>>,
    sequence: Cell<u32>,
}

impl Session {
    /// A socket in the network namespace of this thread.
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        // gives the socket its own address, and keeps out what other programs send it (`netlink_getsockbyportid` in
        // net/netlink/af_netlink.c): in a pod's namespace those are a tenant's
        socket.connect(&SocketAddr::new(0, 0))?;
        // without these two the kernel's own words for an error don't reach us
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // since Linux 4.20 (89d35528d17d); before, a dump gives all there is, and we leave out what is not asked for
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self {
            socket,
            buffer: Cell::default(),
            sequence: Cell::new(0),
        })
    }

    /// Has something changed; `flags` besides those of every request.
    pub(super) fn tell(
        &self,
        what: impl Fn() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), Error> {
        self.ask(&what, message, NLM_F_ACK | flags).map(|_| ())
    }

    /// Asks for one thing.
    pub(super) fn get(
        &self,
        what: impl Fn() -> String,
        message: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, Error> {
        let mut answers = self.ask(&what, message, 0)?.messages;
        answers.pop().ok_or_else(|| no_answer(what(), "an empty reply"))
    }

    /// Asks for all of a kind.
    pub(super) fn dump(
        &self,
        what: impl Fn() -> String,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let mut found = Replies::default();
        for _ in 0..DUMPS {
            found = self.ask(&what, message.clone(), NLM_F_DUMP)?;
            if !found.interrupted {
                break;
            }
        }
        Ok(found.messages)
    }

    fn ask(&self, what: &impl Fn() -> String, message: RouteNetlinkMessage, flags: u16) -> Result<Replies, Error> {
        let io = |cause| Error::Io { what: what(), cause };
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(io)?;
        let mut buffer = self.buffer.take();
        let mut replies = Replies::default();
        for _ in 0..MAX_PACKETS {
            buffer.clear();
            buffer.reserve(BUFFER);
            let flags = nix::libc::MSG_TRUNC | nix::libc::MSG_DONTWAIT;
            let length = self.socket.recv(&mut buffer, flags).map_err(io)?;
            // with MSG_TRUNC it is the length that the packet has
            if length > buffer.len() {
                return Err(no_answer(
                    what(),
                    &format!("a reply of {length} bytes, expected at most {BUFFER}"),
                ));
            }
            match replies.add(&buffer, sequence) {
                Ok(true) => {
                    self.buffer.set(buffer);
                    return Ok(replies);
                }
                Ok(false) => {}
                Err(Bad::Refused(errno, hint)) => {
                    self.buffer.set(buffer);
                    let what = what();
                    return Err(Error::Kernel { what, errno, hint });
                }
                Err(Bad::Garbled(why)) => return Err(no_answer(what(), &why)),
            }
        }
        Err(no_answer(what(), &format!("more than {MAX_PACKETS} packets")))
    }
}

fn no_answer(what: String, why: &str) -> Error {
    let why = why.to_owned();
    Error::NoAnswer { what, why }
}

/// What has come back.
#[derive(Debug, Default)]
pub struct Replies {
    /// Answers of the kernel.
    pub messages: Vec<RouteNetlinkMessage>,
    /// What is listed has changed while it was.
    pub interrupted: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Bad {
    /// The kernel says no, with its words.
    Refused(Errno, Option<String>),
    /// It can't be understood.
    Garbled(String),
}

impl Replies {
    /// Takes in the messages of one packet; whether that was the last of the request with that number. What an earlier request
    /// has left behind is passed over.
    pub fn add(&mut self, mut packet: &[u8], sequence: u32) -> Result<bool, Bad> {
        while !packet.is_empty() {
            let cut = || Bad::Garbled("reply is cut short".to_owned());
            let header = NetlinkBuffer::new_checked(packet).map_err(|_| cut())?;
            let length = usize::try_from(header.length()).map_err(|_| cut())?;
            let bytes = packet.get(..length).ok_or_else(cut)?;
            packet = packet.get(length.next_multiple_of(4)..).unwrap_or_default();
            if header.sequence_number() == sequence && self.add_message(bytes, header.flags())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn add_message(&mut self, bytes: &[u8], flags: u16) -> Result<bool, Bad> {
        let of_many = flags & NLM_F_MULTIPART != 0;
        self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => self.messages.push(message),
            Ok(NetlinkPayload::Done(done)) if done.code != 0 => {
                return Err(Bad::Refused(Errno::from_raw(done.code.saturating_abs()), None));
            }
            Ok(NetlinkPayload::Done(_)) => return Ok(true),
            Ok(NetlinkPayload::Error(error)) if error.code.is_some() => {
                let errno = Errno::from_raw(error.raw_code().saturating_abs());
                return Err(Bad::Refused(errno, extended_ack(&error)));
            }
            Ok(NetlinkPayload::Error(_)) => return Ok(true),
            // one link in a pod that nobody understands must not hide the others
            Err(why) if of_many => log::info!("a message of a list can't be decoded: {why}"),
            Err(why) => return Err(Bad::Garbled(format!("reply can't be decoded: {why}"))),
            Ok(other) => return Err(Bad::Garbled(format!("a reply of type {}", other.message_type()))),
        }
        Ok(!of_many)
    }
}

/// The text of an extended ACK: with a capped ACK, attributes follow the 16 bytes of the request's header
/// (`NLMSGERR_ATTR_MSG` is type 1, linux/netlink.h).
fn extended_ack(message: &ErrorMessage) -> Option<String> {
    let text = genl::attribute(message.header.get(16..)?, 1)?;
    let text = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DoneMessage;
    use netlink_packet_route::link::{LinkAttribute, LinkMessage};

    use super::*;

    fn bytes(payload: NetlinkPayload<RouteNetlinkMessage>, flags: u16, sequence: u32) -> Vec<u8> {
        let mut message = NetlinkMessage::new(netlink_packet_core::NetlinkHeader::default(), payload);
        message.header.flags = flags;
        message.header.sequence_number = sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn link(index: u32) -> NetlinkPayload<RouteNetlinkMessage> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::IfName(format!("eth{index}")));
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message))
    }

    fn done(code: i32) -> NetlinkPayload<RouteNetlinkMessage> {
        let mut done = DoneMessage::default();
        done.code = code;
        NetlinkPayload::Done(done)
    }

    fn indices(replies: &Replies) -> Vec<u32> {
        let index = |message: &RouteNetlinkMessage| match message {
            RouteNetlinkMessage::NewLink(link) => link.header.index,
            other => panic!("{other:?}"),
        };
        replies.messages.iter().map(index).collect()
    }

    #[test]
    fn one_answer_and_what_an_earlier_request_left() {
        let mut replies = Replies::default();
        assert!(!replies.add(&bytes(link(3), 0, 1), 2).unwrap());
        assert!(replies.add(&bytes(link(4), 0, 2), 2).unwrap());
        assert_eq!(indices(&replies), [4]);
    }

    #[test]
    fn a_dump_in_two_packets() {
        let mut replies = Replies::default();
        let first = [bytes(link(1), NLM_F_MULTIPART, 7), bytes(link(2), NLM_F_MULTIPART, 7)].concat();
        let last = [bytes(link(3), NLM_F_MULTIPART, 7), bytes(done(0), NLM_F_MULTIPART, 7)].concat();
        assert!(!replies.add(&first, 7).unwrap());
        assert!(replies.add(&last, 7).unwrap());
        assert_eq!((indices(&replies), replies.interrupted), (vec![1, 2, 3], false));
        let mut changed = Replies::default();
        let end = bytes(done(0), NLM_F_MULTIPART | NLM_F_DUMP_INTR, 7);
        assert!(changed.add(&end, 7).unwrap() && changed.interrupted);
        let refused = Replies::default().add(&bytes(done(-90), NLM_F_MULTIPART, 7), 7);
        assert!(
            matches!(refused, Err(Bad::Refused(Errno::EMSGSIZE, None))),
            "{refused:?}"
        );
    }

    #[test]
    fn what_is_cut_short() {
        let whole = bytes(link(1), 0, 1);
        for length in 1..whole.len() {
            let cut = Replies::default().add(&whole[..length], 1);
            assert!(matches!(cut, Err(Bad::Garbled(_))), "{length}: {cut:?}");
        }
        // in a list the others are kept
        let mut odd = bytes(link(1), NLM_F_MULTIPART, 1);
        let last = odd.len() - 8; // the length of its one attribute
        odd[last..last + 2].copy_from_slice(&[2, 0]);
        let mut replies = Replies::default();
        let packet = [
            odd,
            bytes(link(2), NLM_F_MULTIPART, 1),
            bytes(done(0), NLM_F_MULTIPART, 1),
        ]
        .concat();
        let complete = replies.add(&packet, 1);
        assert!(complete.is_ok_and(|complete| complete), "{replies:?}");
        assert_eq!(indices(&replies).last(), Some(&2));
    }

    /// The machine's own loopback link, and words of the kernel.
    #[test]
    fn the_kernel() {
        let session = Session::open().unwrap();
        let what = || "link".to_owned();
        let mut loopback = LinkMessage::default();
        loopback.header.index = 1;
        let RouteNetlinkMessage::NewLink(found) = session.get(what, RouteNetlinkMessage::GetLink(loopback)).unwrap()
        else {
            panic!("no link");
        };
        assert_eq!(found.header.index, 1);
        let all = session.dump(what, &RouteNetlinkMessage::GetLink(LinkMessage::default()));
        assert!(!all.unwrap().is_empty());
        let mut none = LinkMessage::default();
        none.header.index = i32::MAX as u32;
        let refused = session.get(what, RouteNetlinkMessage::GetLink(none)).unwrap_err();
        assert!(refused.is_gone(), "{refused}");
    }
}
