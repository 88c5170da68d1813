//! Who else manages netdevs of the host.

use super::node::Node;

const DEVICES: &str = "/run/NetworkManager/devices";

#[test]
fn network_manager() {
    let node = Node::healthy();
    node.says("network-manager", "irrelevant", "NetworkManager does not run here");
    // the uplink may be managed
    node.lay(&format!("{DEVICES}/10 = [device]"));
    node.lay(&format!("{DEVICES}/10 : managed=true"));
    node.is_well("network-manager");
    for index in [11, 20] {
        node.lay(&format!("{DEVICES}/{index} = [device]"));
        node.lay(&format!("{DEVICES}/{index} : managed=true"));
    }
    let found = node.says("network-manager", "warning", "NetworkManager manages p0_0, p0v0");
    assert_eq!(
        found.remedy,
        [
            "printf '[keyfile]\\nunmanaged-devices+=%s\\n' 'interface-name:p0_0;interface-name:p0v0' > \
             /etc/NetworkManager/conf.d/90-kube-ovn-doctor.conf",
            "nmcli general reload",
        ]
    );
    node.lay("/etc/NetworkManager/conf.d/");
    node.shell(&found.remedy); // nmcli does as NetworkManager would with the file
    node.is_well("network-manager");
    // it has ended, and left its files
    node.lay("/run/NetworkManager/NetworkManager.pid = 4711");
    node.says("network-manager", "irrelevant", "does not run here");
}
