//! Who else manages netdevs of this host.

use super::one;
use crate::doctor::facts::{Facts, Link, Nic};
use crate::doctor::verdict::{Check, Finding, few};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "network-manager",
    what: "NetworkManager leaves VFs and representors alone",
    look: network_manager,
}];

/// The drop-in that says so, for these netdevs of now. `node prepare --persist` has one of its own, for those to come, and lets no
/// file of another lie in its place.
const FILE: &str = "/etc/NetworkManager/conf.d/90-kube-ovn-doctor.conf";

fn network_manager(facts: &Facts) -> Vec<Finding> {
    let managed = match &facts.host.managed {
        Ok(Some(managed)) => managed,
        Ok(None) => return one(Finding::irrelevant("NetworkManager does not run here")),
        Err(why) => return one(Finding::unknown(why)),
    };
    let nics = || facts.nics.iter().flatten();
    let vfs = nics().flat_map(|nic| &nic.vfs).flat_map(|vf| &vf.netdevs);
    let representors = nics().flat_map(Nic::representors).map(|link: &Link| &link.netdev);
    let mut names: Vec<&str> = vfs
        .chain(representors)
        .filter(|netdev| managed.contains(&netdev.ifindex))
        .map(|netdev| netdev.name.as_str())
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        return one(Finding::ok(
            "NetworkManager runs, and manages no VF and no representor (/run/NetworkManager/devices)",
        ));
    }
    // a name in a list of NetworkManager's may have neither , nor ;, and these names have no white space
    let list: Vec<String> = names
        .iter()
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:@".contains(&b)))
        .map(|name| format!("interface-name:{name}"))
        .collect();
    one(Finding::warning(format!(
        "NetworkManager manages {} (/run/NetworkManager/devices): it may configure or rename what pods get",
        few(&names)
    ))
    .remedy(format!("printf '[keyfile]\\nunmanaged-devices+=%s\\n' '{}' > {FILE}", list.join(";")))
    .remedy("nmcli general reload")
    .note("names change when VFs are made anew: kube-ovn-offload node prepare --persist has it match by what they are, and Kube-OVN's guide has systemctl disable --now NetworkManager"))
}
