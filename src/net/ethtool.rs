//! The one thing that is asked of ethtool: whether a netdev takes flows from tc for its hardware (feature hw-tc-offload;
//! Documentation/networking/ethtool-netlink.rst, `FEATURES_GET`; kernels from 5.6 on), and that it is to do so.

use nix::errno::Errno;

use super::Error;
use super::genl::{self, Answer, Genl, as_text};

const MSG_FEATURES_GET: u8 = 11;
const MSG_FEATURES_SET: u8 = 12;
const A_FEATURES_HEADER: u16 = 1;
const A_FEATURES_WANTED: u16 = 3;
const A_FEATURES_ACTIVE: u16 = 4;
const A_HEADER_DEV_INDEX: u16 = 1;
const A_HEADER_FLAGS: u16 = 3;
/// `ETHTOOL_FLAG_OMIT_REPLY`: what has changed is not told, only that it was done.
const OMIT_REPLY: u32 = 2;
const A_BITSET_BITS: u16 = 3;
const A_BITSET_BITS_BIT: u16 = 1;
const A_BITSET_BIT_NAME: u16 = 2;
const A_BITSET_BIT_VALUE: u16 = 3;
const A_BITSET_NOMASK: u16 = 1;
const NLA_F_NESTED: u16 = 0x8000;
/// The name of `NETIF_F_HW_TC_BIT` in `netdev_features_strings` of net/ethtool/common.c.
const FEATURE: &str = "hw-tc-offload";

/// Whether hw-tc-offload is on for a link in this thread's network namespace; `None` when the kernel does not tell.
pub fn tc_offload(index: u32) -> Result<Option<bool>, Error> {
    Ethtool::open()?.tc_offload(index)
}

/// A socket for several questions, in the network namespace of the thread that opened it.
pub struct Ethtool(Genl);

impl Ethtool {
    /// Opens it.
    pub fn open() -> Result<Self, Error> {
        Genl::open("ethtool").map(Self)
    }

    /// As [`tc_offload`].
    pub fn tc_offload(&self, index: u32) -> Result<Option<bool>, Error> {
        features(&self.0, index)
    }
}

fn features(genl: &Genl, index: u32) -> Result<Option<bool>, Error> {
    let what = format!("ethtool features of link {index}");
    let mut header = Vec::new();
    genl::put(&mut header, A_HEADER_DEV_INDEX, &index.to_ne_bytes());
    let mut payload = Vec::new();
    genl::put(&mut payload, NLA_F_NESTED | A_FEATURES_HEADER, &header);
    match genl.ask_with(&what, MSG_FEATURES_GET, &payload)? {
        Answer::Attributes(features) => Ok(is_active(&features)),
        Answer::Refused(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(None),
        Answer::Refused(errno) => Err(genl::refused(&what, errno)),
    }
}

/// Sets hw-tc-offload of a link in this thread's network namespace, as `ethtool -K NETDEV hw-tc-offload on` does. A feature that
/// the driver fixes is left as it is without an error: [`tc_offload`] tells.
pub fn set_tc_offload(index: u32, on: bool) -> Result<(), Error> {
    let what = format!("set hw-tc-offload of link {index}");
    let genl = Genl::open("ethtool")?;
    genl.tell(&what, MSG_FEATURES_SET, &wanted(index, on))
}

/// The request: a set of one bit by its name, with a mask, so that no other feature is touched.
fn wanted(index: u32, on: bool) -> Vec<u8> {
    let nest = |kind: u16, inner: &[u8]| {
        let mut outer = Vec::new();
        genl::put(&mut outer, NLA_F_NESTED | kind, inner);
        outer
    };
    let mut header = Vec::new();
    genl::put(&mut header, A_HEADER_DEV_INDEX, &index.to_ne_bytes());
    genl::put(&mut header, A_HEADER_FLAGS, &OMIT_REPLY.to_ne_bytes());
    let mut bit = genl::texts(&[(A_BITSET_BIT_NAME, FEATURE)]);
    if on {
        genl::put(&mut bit, A_BITSET_BIT_VALUE, &[]);
    }
    let bits = nest(A_BITSET_BITS, &nest(A_BITSET_BITS_BIT, &bit));
    [nest(A_FEATURES_HEADER, &header), nest(A_FEATURES_WANTED, &bits)].concat()
}

/// The active features are a list of those that are on, each with its name; a set with a mask, which other parts of the
/// reply have, would tell of each bit whether it is on.
fn is_active(features: &[u8]) -> Option<bool> {
    let set = genl::attribute(features, A_FEATURES_ACTIVE)?;
    let is_list = genl::attribute(set, A_BITSET_NOMASK).is_some();
    let bits = genl::attribute(set, A_BITSET_BITS)?;
    let is_ours = |bit: &&[u8]| genl::attribute(bit, A_BITSET_BIT_NAME).and_then(as_text) == Some(FEATURE);
    let mut all = genl::attributes(bits).filter(|(kind, _)| *kind == A_BITSET_BITS_BIT);
    let ours = all.find_map(|(_, bit)| Some(bit).filter(is_ours));
    Some(ours.is_some_and(|bit| is_list || genl::attribute(bit, A_BITSET_BIT_VALUE).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(kind: u16, parts: &[(u16, &[u8])]) -> Vec<u8> {
        let mut inner = Vec::new();
        for (kind, value) in parts {
            genl::put(&mut inner, *kind, value);
        }
        let mut outer = Vec::new();
        genl::put(&mut outer, kind, &inner);
        outer
    }

    fn reply(list: bool, bits: &[(&str, bool)]) -> Vec<u8> {
        let mut all = Vec::new();
        for (name, on) in bits {
            let name = format!("{name}\0");
            let mut parts: Vec<(u16, &[u8])> = vec![(1, &[7, 0, 0, 0]), (A_BITSET_BIT_NAME, name.as_bytes())];
            if *on && !list {
                parts.push((A_BITSET_BIT_VALUE, &[]));
            }
            all.extend(nested(NLA_F_NESTED | A_BITSET_BITS_BIT, &parts));
        }
        let mut set: Vec<(u16, &[u8])> = vec![(2, &[64, 0, 0, 0]), (NLA_F_NESTED | A_BITSET_BITS, &all)];
        if list {
            set.insert(0, (A_BITSET_NOMASK, &[]));
        }
        nested(NLA_F_NESTED | A_FEATURES_ACTIVE, &set)
    }

    #[test]
    fn the_feature_among_others() {
        assert_eq!(
            is_active(&reply(true, &[("rx-checksum", true), (FEATURE, true)])),
            Some(true)
        );
        assert_eq!(is_active(&reply(true, &[("rx-checksum", true)])), Some(false));
        assert_eq!(is_active(&reply(true, &[])), Some(false));
        assert_eq!(is_active(&reply(false, &[(FEATURE, true)])), Some(true));
        assert_eq!(is_active(&reply(false, &[(FEATURE, false)])), Some(false));
        assert_eq!(is_active(&[]), None);
        let whole = reply(true, &[(FEATURE, true)]);
        for cut in 0..whole.len() {
            let _ = is_active(&whole[..cut]); // never a panic
        }
    }

    #[test]
    fn one_feature_is_asked_for() {
        for on in [true, false] {
            let request = wanted(7, on);
            let header = genl::attribute(&request, A_FEATURES_HEADER).unwrap();
            assert_eq!(
                genl::attribute(header, A_HEADER_DEV_INDEX),
                Some(&7u32.to_ne_bytes()[..])
            );
            // what is asked for has the form in which the kernel tells
            let mut as_told = Vec::new();
            let wanted = genl::attribute(&request, A_FEATURES_WANTED).unwrap();
            genl::put(&mut as_told, A_FEATURES_ACTIVE, wanted);
            assert_eq!(is_active(&as_told), Some(on));
        }
        assert!(set_tc_offload(u32::from(u16::MAX), true).unwrap_err().is_gone());
    }

    #[test]
    fn links_of_this_machine() {
        // the loopback link never has it; a link that is not there is none
        assert_eq!(tc_offload(1).unwrap(), Some(false));
        assert_eq!(tc_offload(u32::from(u16::MAX)).unwrap(), None);
    }
}
