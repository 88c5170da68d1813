//! Gratuitous ARP and unsolicited neighbour advertisements, as raw frames: the kernel's own (`arp_notify`,
//! `ndisc_notify`) leave when the link is set up, which may be before it has a carrier.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, send, socket};

use crate::types::{IfName, Mac};

/// Sends one frame for each address by the interface called `name` of the calling thread's namespace.
pub(super) fn send_all(name: &IfName, mac: Mac, addresses: &[IpAddr]) -> std::io::Result<()> {
    // getifaddrs gives the sockaddr_ll of the interface, which takes unsafe code to make by hand
    let link = getifaddrs()?
        .filter(|entry| entry.interface_name == name.as_str())
        .find_map(|entry| {
            entry
                .address
                .as_ref()
                .and_then(|address| address.as_link_addr().copied())
        })
        .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))?;
    // protocol 0 (`None`): the socket sends and receives nothing
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &link)?;
    for address in addresses {
        let frame = match address {
            IpAddr::V4(ip) => gratuitous_arp(mac, *ip),
            IpAddr::V6(ip) => neighbour_advertisement(mac, *ip),
        };
        send(socket.as_raw_fd(), &frame, MsgFlags::MSG_DONTWAIT)?;
    }
    Ok(())
}

/// An ARP announcement (RFC 5227, 2.3): a broadcast request with sender and target `ip`.
fn gratuitous_arp(mac: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac.0);
    frame.extend([0x08, 0x06]); // ARP
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1]); // Ethernet, IPv4, request
    frame.extend(mac.0);
    frame.extend(ip.octets());
    frame.extend([0; 6]);
    frame.extend(ip.octets());
    frame
}

/// An unsolicited neighbour advertisement (RFC 4861, 4.4 and 7.2.6) to all nodes, with the override flag.
fn neighbour_advertisement(mac: Mac, ip: Ipv6Addr) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut icmp = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    icmp.extend(ip.octets());
    icmp.extend([2, 1]); // option: target link-layer address
    icmp.extend(mac.0);
    let length = u16::try_from(icmp.len()).unwrap_or_default();
    // checksum over the pseudo header of RFC 8200, 8.1
    let mut pseudo = ip.octets().to_vec();
    pseudo.extend(all_nodes.octets());
    pseudo.extend(u32::from(length).to_be_bytes());
    pseudo.extend([0, 0, 0, 58]);
    pseudo.extend(&icmp);
    icmp.splice(2..4, internet_checksum(&pseudo).to_be_bytes());

    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1];
    frame.extend(mac.0);
    frame.extend([0x86, 0xdd]);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([58, 255]); // ICMPv6; a hop limit of 255 proves the sender is on the link
    frame.extend(ip.octets());
    frame.extend(all_nodes.octets());
    frame.extend(icmp);
    frame
}

/// RFC 1071, for data of an even length.
fn internet_checksum(data: &[u8]) -> u16 {
    let mut sum: u32 = data
        .chunks(2)
        .map(|pair| u32::from(*pair.first().unwrap_or(&0)) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 0x11]);

    #[test]
    fn arp_frame() {
        let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 16, 0, 5));
        assert_eq!(frame.len(), 42);
        assert_eq!(&frame[12..14], [8, 6]);
        assert_eq!(&frame[28..32], [10, 16, 0, 5]);
        assert_eq!(&frame[38..42], [10, 16, 0, 5]);
    }

    #[test]
    fn neighbour_advertisement_has_a_good_checksum() {
        let ip: Ipv6Addr = "fd00::b".parse().unwrap();
        let frame = neighbour_advertisement(MAC, ip);
        assert_eq!(frame.len(), 14 + 40 + 32);
        let mut pseudo = frame[22..54].to_vec();
        pseudo.extend([0, 0, 0, 32, 0, 0, 0, 58]);
        pseudo.extend(&frame[54..]);
        assert_eq!(
            internet_checksum(&pseudo),
            0,
            "the sum over data and its checksum is all ones"
        );
    }
}
