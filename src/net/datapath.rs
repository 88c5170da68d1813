//! The kernel's data path of Open vSwitch (linux/openvswitch.h): what its user has asked it to do.

use nix::errno::Errno;

use super::Error;
use super::genl::{self, Answer, Genl};

const CMD_GET: u8 = 3;
const ATTR_NAME: u16 = 1;
const ATTR_USER_FEATURES: u16 = 5;
/// `OVS_DP_F_TC_RECIRC_SHARING`: recirculation IDs and tc's chains are the same numbers, by which a flow can go on in the data path
/// where it left off in tc. A kernel without `CONFIG_NET_TC_SKB_EXT` refuses it (`ovs_dp_change`, net/openvswitch/datapath.c).
const TC_RECIRC_SHARING: u32 = 1 << 2;
/// `struct ovs_header` stands before the attributes.
const OVS_HEADER: usize = 4;

/// Whether a data path shares its recirculation IDs with tc, without which ovs-vswitchd puts no flow that recirculates into tc; `None`
/// when there is no such data path. To be asked where Open vSwitch runs only: the question loads its module.
pub fn shares_recirculation(name: &str) -> Result<Option<bool>, Error> {
    let what = format!("features of data path {name}");
    let genl = Genl::open("ovs_datapath")?;
    let mut payload = vec![0; OVS_HEADER];
    genl::put(&mut payload, ATTR_NAME, format!("{name}\0").as_bytes());
    match genl.ask_with(&what, CMD_GET, &payload)? {
        Answer::Attributes(reply) => Ok(Some(is_shared(&reply))),
        Answer::Refused(Errno::ENOENT | Errno::ENODEV) => Ok(None),
        Answer::Refused(errno) => Err(genl::refused(&what, errno)),
    }
}

fn is_shared(reply: &[u8]) -> bool {
    let features = genl::attribute(reply.get(OVS_HEADER..).unwrap_or_default(), ATTR_USER_FEATURES);
    features.and_then(genl::as_u32).unwrap_or_default() & TC_RECIRC_SHARING != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features() {
        for (features, shared) in [(7_u32, true), (3, false), (4, true)] {
            let mut reply = vec![1, 0, 0, 0];
            genl::put(&mut reply, ATTR_NAME, b"ovs-system\0");
            genl::put(&mut reply, ATTR_USER_FEATURES, &features.to_ne_bytes());
            assert_eq!(is_shared(&reply), shared);
            for cut in 0..reply.len() {
                let _ = is_shared(&reply[..cut]); // never a panic
            }
        }
    }
}
