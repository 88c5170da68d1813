//! A node that is not set up for offload: code 100, and what to do. These change the NIC itself, so they come last.

use crate::command::{eventually, ip, read, run, write};
use crate::daemon::{Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::{Vf, pfs, uplink, vf};
use crate::snapshot::Snapshot;

fn name_and_mac(vf: &Vf) -> (String, String) {
    let name = vf.netdev().unwrap();
    let mac = read(format!("/sys/class/net/{name}/address")).unwrap();
    (name, mac)
}

/// The VF gets its driver back, as the message says, and is what it was.
fn bind(vf: &Vf, name: &str, mac: &str) {
    write("/sys/bus/pci/drivers_probe", &vf.pci);
    eventually("the VF has a netdev again", || vf.netdev().is_some());
    let now = vf.netdev().unwrap();
    if now != name {
        ip(&["link", "set", &now, "name", name]);
    }
    ip(&["link", "set", name, "address", mac]);
}

#[test]
fn vf_without_a_driver() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(1, 3);
    let (own, mac) = name_and_mac(&vf);
    write(format!("/sys/bus/pci/devices/{}/driver/unbind", vf.pci), &vf.pci);
    let before = Snapshot::take();
    let asked = Daemon::requests().len();
    pod.add(&vf)
        .run()
        .failure(100, &format!("VF {0} has no driver bound, expected the NIC's", vf.pci));
    assert_eq!(Daemon::requests().len(), asked, "the daemon was asked");
    before.assert_still_so();
    pod.del(&vf).run().silent();
    bind(&vf, &own, &mac);
    lab.assert_as_before();
}

/// The driver goes while the VF is in the pod, and so does its netdev: there is nothing to bring home.
#[test]
fn vf_that_loses_its_driver_in_the_pod() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(1, 3);
    let (own, mac) = name_and_mac(&vf);
    pod.add(&vf).run().result();
    write(format!("/sys/bus/pci/devices/{}/driver/unbind", vf.pci), &vf.pci);
    pod.del(&vf).run().silent();
    crate::attachment::assert_no_port(&pod);
    bind(&vf, &own, &mac);
    lab.assert_as_before();
}

/// The message has the command that helps; its representors are made anew by it.
#[test]
fn pf_in_legacy_mode() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(1, 0);
    let pf = pfs()[1].clone();
    let mode = |mode: &str| {
        run(
            "devlink",
            &["dev", "eswitch", "set", &format!("pci/{pf}"), "mode", mode],
        )
    };
    mode("legacy");
    let before = Snapshot::take();
    let asked = Daemon::requests().len();
    let message = format!(
        "PF {pf} ({}) is in legacy mode, offload needs switchdev: devlink dev eswitch set pci/{pf} mode switchdev",
        uplink(&pf)
    );
    pod.add(&vf).run().failure(100, &message);
    assert_eq!(Daemon::requests().len(), asked, "the daemon was asked");
    before.assert_still_so();
    mode("switchdev");
    // the representors are others now: only that nothing is left can be seen
    assert_eq!(crate::snapshot::records(), Vec::<String>::new());
    pod.add(&vf).run().result();
    crate::attachment::assert_attached(&pod, &vf);
    pod.del(&vf).run().silent();
    lab.before = Snapshot::take();
    pod.assert_empty();
}
