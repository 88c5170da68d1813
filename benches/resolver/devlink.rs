//! All devlink ports of the machine, as vishvananda/netlink's `DevLinkGetAllPortList` asks for them: a socket for the number
//! of the family, and another one for the ports.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

use crate::sriovnet::Port;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_MULTI: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const DEVLINK_CMD_PORT_GET: u8 = 5;

/// The ports of all eswitches.
pub(crate) fn all_ports() -> io::Result<Vec<Port>> {
    let mut family = None;
    let name = attribute(2, b"devlink\0");
    execute(GENL_ID_CTRL, NLM_F_REQUEST, CTRL_CMD_GETFAMILY, &name, |kind, value| {
        if kind == 1 {
            family = u16_of(value);
        }
    })?;
    let family = family.ok_or_else(|| io::Error::other("devlink has no number"))?;
    let mut ports = Vec::new();
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_DUMP;
    execute(family, flags, DEVLINK_CMD_PORT_GET, &[], |kind, value| {
        let text = || String::from_utf8_lossy(value.split_last().map_or(&[], |(_, text)| text)).into_owned();
        // the bus is the first attribute of a port (`devlink_nl_put_handle`)
        if kind == 1 {
            ports.push(Port::default());
        }
        let Some(port) = ports.last_mut() else { return };
        match kind {
            1 => port.bus = text(),
            2 => port.device = text(),
            7 => port.netdev = text(),
            77 => port.flavour = u16_of(value).unwrap_or(u16::MAX),
            128 => port.vf = u16_of(value),
            149 => port.external = value.first().is_some_and(|byte| *byte != 0),
            _ => {}
        }
    })?;
    Ok(ports)
}

/// One request on a socket of its own; `each` gets every attribute of every message.
fn execute(family: u16, flags: u16, command: u8, body: &[u8], mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.set_non_blocking(true)?;
    socket.bind_auto()?; // asks for its own address as well, as the original does
    let mut message = u32::try_from(20 + body.len()).unwrap_or(0).to_ne_bytes().to_vec();
    message.extend(family.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0, command, 1, 0, 0]);
    message.extend(body);
    socket.send_to(&message, &SocketAddr::new(0, 0), 0)?;
    loop {
        let mut buffer = Vec::with_capacity(64 * 1024);
        socket.recv_from(&mut buffer, 0)?;
        let mut rest = buffer.as_slice();
        while let Some(length) = u32_of(rest) {
            let length = usize::try_from(length).unwrap_or(0);
            let message = rest.get(..length).filter(|message| message.len() >= 16);
            let message = message.ok_or_else(|| io::Error::other("a message is cut short"))?;
            let (kind, flags) = (u16_of(&message[4..]), u16_of(&message[6..]));
            match kind {
                Some(NLMSG_DONE) => return Ok(()),
                Some(NLMSG_ERROR) => return Err(io::Error::other("devlink refused")),
                _ => attributes(message.get(20..).unwrap_or_default(), &mut each),
            }
            if flags.is_some_and(|flags| flags & NLM_F_MULTI == 0) {
                return Ok(());
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn attributes(mut run: &[u8], mut each: impl FnMut(u16, &[u8])) {
    while let (Some(length), Some(kind)) = (u16_of(run), run.get(2..).and_then(u16_of)) {
        let length = usize::from(length);
        let Some(value) = run.get(4..length) else { return };
        each(kind & 0x3fff, value);
        run = run.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(0);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn u16_of(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}
