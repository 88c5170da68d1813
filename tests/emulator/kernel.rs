//! Links, by rtnetlink; errors in the words of Go and of its netlink library.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::SockProtocol;
use nix::sys::statfs::statfs;

use crate::netlink::{Body, Message, NLM_F_CREATE, NLM_F_EXCL, Socket};

/// linux/magic.h: what the original accepts as a netns path.
const NSFS_MAGIC: i64 = 0x6e73_6673;
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

// include/uapi/linux/rtnetlink.h, if_link.h, if.h, veth.h
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const IFINFOMSG: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_VFINFO_LIST: u16 = 22;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_VF_INFO: u16 = 1;
const IFLA_VF_MAC: u16 = 1;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFF_UP: u32 = 1;
const IF_OPER_UP: u32 = 6;
/// `MAX_ADDR_LEN`
const VF_MAC: usize = 32;

/// The library's words for a link that is not there.
pub(crate) const NOT_FOUND: &str = "Link not found";

/// Whose links.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Host,
    Pod(&'a str),
}

/// What of a link the original asks for.
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) up: bool,
    pub(crate) alias: String,
    pub(crate) kind: String,
}

/// What the original changes of a link, one request each.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    Up,
    Down,
    Name(&'a str),
    Alias(&'a str),
    Mac(&'a str),
    Mtu(u32),
    QueueLength(u32),
    /// To the network namespace with this path.
    Netns(&'a str),
    /// What the PF administers for a VF.
    VfMac(u32, &'a str),
    /// Into this bridge; the original's ports are those of Open vSwitch.
    Bridge(&'a str),
    NoBridge,
}

impl Place<'_> {
    /// Does something in a thread that is there: sockets that it opens and programs that it starts are there, too.
    pub(crate) fn within<T: Send>(self, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
        let Place::Pod(netns) = self else {
            return work();
        };
        let entered = || {
            let file = File::open(netns).map_err(|error| format!("open {netns}: {error}"))?;
            setns(&file, CloneFlags::CLONE_NEWNET).map_err(words)?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(entered).join()).map_err(|_| "emulator: a thread panicked".to_owned())?
    }

    pub(crate) fn netlink(self) -> Result<Socket, String> {
        self.within(|| Socket::open(SockProtocol::NetlinkRoute).map_err(words))
    }

    /// Runs a tool here; its standard output, or what it said when it failed.
    pub(crate) fn run(self, tool: &str, arguments: &[&str]) -> Result<String, String> {
        self.within(|| {
            let output = Command::new(tool)
                .args(arguments)
                .output()
                .map_err(|error| format!("emulator: cannot run {tool}: {error}"))?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            if output.status.success() {
                Ok(text(&output.stdout))
            } else {
                Err(text(&output.stderr))
            }
        })
    }

    pub(crate) fn link(self, name: &str) -> Result<Link, String> {
        find(&mut self.netlink()?, name)
    }

    pub(crate) fn set(self, name: &str, change: Change) -> Result<(), String> {
        let mut socket = self.netlink()?;
        let index = find(&mut socket, name)?.index;
        let named = |flags, change| Body::new(&ifinfomsg(index, flags, change));
        let plain = || named(0, 0);
        // the file must be open until the kernel has seen its number
        let mut netns = None;
        let body = match change {
            Change::Up => named(IFF_UP, IFF_UP),
            Change::Down => named(0, IFF_UP),
            Change::Name(name) => plain().text(IFLA_IFNAME, name),
            Change::Alias(alias) => plain().put(IFLA_IFALIAS, alias.as_bytes()),
            Change::Mac(mac) => plain().put(IFLA_ADDRESS, &bytes_of(mac)?),
            Change::Mtu(mtu) => plain().number(IFLA_MTU, mtu),
            Change::QueueLength(length) => plain().number(IFLA_TXQLEN, length),
            Change::Netns(path) => {
                let file = netns.insert(File::open(path).map_err(|error| format!("open {path}: {error}"))?);
                plain().put(IFLA_NET_NS_FD, &file.as_raw_fd().to_ne_bytes())
            }
            Change::Bridge(bridge) => plain().number(IFLA_MASTER, find(&mut socket, bridge)?.index),
            Change::NoBridge => plain().number(IFLA_MASTER, 0),
            Change::VfMac(vf, mac) => {
                let mut value = [&vf.to_ne_bytes(), bytes_of(mac)?.as_slice()].concat();
                value.resize(4 + VF_MAC, 0);
                let info = Body::new(&[]).put(IFLA_VF_MAC, &value);
                plain().nest(IFLA_VFINFO_LIST, &Body::new(&[]).nest(IFLA_VF_INFO, &info))
            }
        };
        socket.ask(RTM_SETLINK, 0, &body).map(|_| ()).map_err(words)
    }

    /// A veth pair; one MTU for both ends, as the library gives the peer the attributes of the link, unless it is 0.
    pub(crate) fn add_veth(self, name: &str, peer: &str, mtu: u32) -> Result<(), String> {
        let end = |name: &str| {
            let body = Body::new(&ifinfomsg(0, 0, 0)).text(IFLA_IFNAME, name);
            if mtu > 0 { body.number(IFLA_MTU, mtu) } else { body }
        };
        let data = Body::new(&[]).nest(VETH_INFO_PEER, &end(peer));
        let info = Body::new(&[]).text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, &data);
        let body = end(name).nest(IFLA_LINKINFO, &info);
        let added = self.netlink()?.ask(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body);
        added.map(|_| ()).map_err(words)
    }

    pub(crate) fn delete_link(self, name: &str) -> Result<(), String> {
        let mut socket = self.netlink()?;
        let index = find(&mut socket, name)?.index;
        let deleted = socket.ask(RTM_DELLINK, 0, &Body::new(&ifinfomsg(index, 0, 0)));
        deleted.map(|_| ()).map_err(words)
    }
}

fn find(socket: &mut Socket, name: &str) -> Result<Link, String> {
    let body = Body::new(&ifinfomsg(0, 0, 0)).text(IFLA_IFNAME, name);
    let found = socket.ask(RTM_GETLINK, 0, &body).map_err(|error| match error {
        Errno::ENODEV => NOT_FOUND.to_owned(),
        other => words(other),
    })?;
    found.first().map(link).ok_or_else(|| NOT_FOUND.to_owned())
}

fn link(message: &Message) -> Link {
    let attributes = message.attributes(IFINFOMSG);
    Link {
        index: message.word(4),
        up: attributes.number(IFLA_OPERSTATE) == Some(IF_OPER_UP),
        alias: attributes.text(IFLA_IFALIAS).unwrap_or_default(),
        kind: attributes
            .nested(IFLA_LINKINFO)
            .text(IFLA_INFO_KIND)
            .unwrap_or_default(),
    }
}

/// struct ifinfomsg: family and type (of any kind), index, flags, and which of them are meant.
fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; IFINFOMSG] {
    let mut message = [0; IFINFOMSG];
    let numbers = [0, index, flags, change].map(u32::to_ne_bytes);
    for (to, from) in message.iter_mut().zip(numbers.as_flattened()) {
        *to = *from;
    }
    message
}

/// Of a MAC address.
fn bytes_of(mac: &str) -> Result<Vec<u8>, String> {
    mac.split([':', '-'])
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .map_err(|_| format!("address {mac}: invalid MAC address"))
}

/// ns.GetNS: the path must be there and of nsfs or procfs (plugins/pkg/ns `ns_linux.go`).
pub(crate) fn check_netns(path: &str) -> Result<(), String> {
    let magic = statfs(path)
        .map_err(|error| format!("failed to Statfs {path:?}: {}", words(error)))?
        .filesystem_type()
        .0;
    if magic == NSFS_MAGIC || magic == PROC_SUPER_MAGIC {
        Ok(())
    } else {
        Err(format!("unknown FS magic on {path:?}: {magic:x}"))
    }
}

/// An error number in Go's words, which are the C library's in lower case.
pub(crate) fn words(error: Errno) -> String {
    let mut letters = error.desc().chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
