//! The kernel's networking, one network namespace at a time.
//!
//! [`Stack`] is what the rest of the plugin may ask of a namespace; [`Netlink`] answers from the kernel. It is a
//! trait because the order in which a VF is taken and given back is worth testing
//! against a world that fails at any chosen call, and a kernel can't be told to.

mod announce;
mod datapath;
pub mod devlink;
mod error;
mod ethtool;
pub mod genl;
mod interface;
mod link;
mod mounts;
mod netlink;
mod netns;
mod qdisc;

use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;

use crate::types::{IfName, Mac, NetnsId};

pub use datapath::shares_recirculation;
pub use devlink::{Devlink, Eswitch, EswitchMode};
pub use error::Error;
pub use ethtool::{Ethtool, set_tc_offload, tc_offload};
pub use interface::has_interface;
pub use link::{Address, Link, LinkChange};
pub use netlink::{Netlink, extended_ack, route_by};
pub use netns::{Netns, set_sysctls};

/// The networking of one network namespace. A link is always meant by its index: names change under us.
#[allow(async_fn_in_trait)] // one thread, nothing is sent anywhere
pub trait Stack: Devlink + Sized {
    /// Which namespace this is.
    fn id(&self) -> NetnsId;

    /// The stack of another namespace, found by a path that a runtime bind-mounted.
    fn open(&self, path: &Path) -> Result<Self, Error>;

    /// The link with this index; `None` when there is none.
    async fn link(&self, index: u32) -> Result<Option<Link>, Error>;

    /// The link with this name or alternative name; `None` when there is none.
    async fn link_named(&self, name: &IfName) -> Result<Option<Link>, Error>;

    /// Every link. For the namespaces of pods, which hold a few; never for the host's, which may hold thousands.
    async fn links(&self) -> Result<Vec<Link>, Error>;

    /// Changes what `change` names, in one message. Not atomic: what stands before the failing part may have been done.
    async fn change(&self, index: u32, change: &LinkChange) -> Result<(), Error>;

    /// Takes an alternative name, which may be longer than a name, off a link.
    async fn drop_alt_name(&self, index: u32, name: &str) -> Result<(), Error>;

    /// Gives a link an alternative name.
    async fn add_alt_name(&self, index: u32, name: &str) -> Result<(), Error>;

    /// Deletes a software link.
    async fn delete(&self, index: u32) -> Result<(), Error>;

    /// Moves a link to `target` and renames it to `name` there, in one message: the one expensive call (an RCU
    /// grace period under RTNL, about 15 ms). The link is down afterwards and has lost its addresses. EEXIST tells little:
    /// the link has not moved when one of its alternative names is taken in `target`, or both `name` and the name that it has; and it
    /// has, under its old name, when only `name` is: the kernel looks at the new one only if the old one is taken
    /// (`__dev_change_net_namespace`, then `do_setlink` renames).
    async fn move_to(&self, index: u32, target: &Self, name: &IfName) -> Result<(), Error>;

    /// The MAC that the PF with link index `pf` administers for its VF number `vf`; `None` when it tells none.
    async fn vf_mac(&self, pf: u32, vf: u32) -> Result<Option<Mac>, Error>;

    /// Sets the MAC that the PF administers for a VF.
    async fn set_vf_mac(&self, pf: u32, vf: u32, mac: Mac) -> Result<(), Error>;

    /// The addresses of a link.
    async fn addresses(&self, index: u32) -> Result<Vec<Address>, Error>;

    /// Adds an address; it is no error when the link has it already.
    async fn add_address(&self, index: u32, address: IpNetwork) -> Result<(), Error>;

    /// The routes of the main table that leave by a link: destination (`None`: default) and gateway.
    async fn routes(&self, index: u32) -> Result<Vec<(Option<IpNetwork>, Option<IpAddr>)>, Error>;

    /// Adds a route by a link; it is no error when the route is there already.
    async fn add_route(&self, index: u32, destination: IpNetwork, gateway: Option<IpAddr>) -> Result<(), Error>;

    /// Runs `look` with the root of a sysfs that shows this namespace's devices; see [`Netns::with_sysfs`].
    fn with_sysfs<T: Send>(&self, look: impl FnOnce(&Path) -> T + Send) -> Result<T, Error>;

    /// Whether there is an interface with this name or alternative name; see [`has_interface`].
    fn has_interface(&self, name: &IfName) -> Result<bool, Error>;

    /// Writes sysctls of this namespace; see [`set_sysctls`].
    fn set_sysctls(&self, settings: &[(&str, &str)]) -> Result<(), Error>;

    /// Whether we would see a network namespace that is mounted at `path` on the host: only then does its absence prove
    /// anything. A runtime may run us in a mount namespace of its own.
    fn sees_namespaces_at(&self, path: &Path) -> Result<bool, Error>;

    /// Tells the neighbours that `addresses` are now behind `mac`: a gratuitous ARP (RFC 5227, 2.3) or an
    /// unsolicited neighbour advertisement (RFC 4861, 7.2.6) for each.
    fn announce(&self, name: &IfName, mac: Mac, addresses: &[IpAddr]) -> Result<(), Error>;
}

/// What a pod's namespace needs before the daemon adds addresses: since v1.13 the daemon leaves this to the CNI plugin,
/// and since v1.14.20 router advertisements are off as well (cmd/cni/sysctl.go of kube-ovn at 1533681d7).
pub const IPV6_SYSCTLS: [(&str, &str); 4] = [
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/all/accept_ra", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
];

/// Renames a link that may be up and that may hold the new name as an alternative name already (udev gives the old
/// name back to a renamed link in that form, and then the kernel answers EEXIST). Leaves the link down.
pub async fn rename(stack: &impl Stack, index: u32, name: &IfName) -> Result<(), Error> {
    let Some(link) = stack.link(index).await? else {
        return Err(Error::gone(index));
    };
    if link.name == *name {
        return Ok(());
    }
    if link.alt_names.iter().any(|alt| alt == name.as_str()) {
        stack.drop_alt_name(index, name.as_str()).await?;
    }
    // kernels before 6.2 rename only a link that is down, and in one message the name comes before the flags
    if link.up {
        stack
            .change(
                index,
                &LinkChange {
                    up: Some(false),
                    ..LinkChange::default()
                },
            )
            .await?;
    }
    stack
        .change(
            index,
            &LinkChange {
                name: Some(name.clone()),
                ..LinkChange::default()
            },
        )
        .await
}
