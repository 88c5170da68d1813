//! VFs that virtual machines (`KubeVirt`, Kata) get as PCI devices: bound to vfio-pci, without a netdev.

use serde_json::json;

use crate::attachment::{assert_no_port, assert_port, assert_result};
use crate::command::{eventually, external_ids, ip, ip_json, read, run, write};
use crate::daemon::{ATTACH_ONLY, Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::{Vf, uplink, vf};
use crate::pod::Pod;
use crate::snapshot::Snapshot;

const PCI: &str = "/sys/bus/pci/devices";

/// A VF on vfio-pci; it gets its own driver back, and its netdev the name and MAC that it had.
struct Machine {
    vf: Vf,
    netdev: String,
    mac: String,
}

impl Machine {
    fn bind(vf: Vf) -> Self {
        let netdev = vf.netdev().unwrap();
        let mac = read(format!("/sys/class/net/{netdev}/address")).unwrap();
        run("modprobe", &["vfio-pci"]);
        bind(&vf, "vfio-pci");
        let driver = std::fs::read_link(format!("{PCI}/{}/driver", vf.pci));
        assert!(
            driver.is_ok_and(|driver| driver.ends_with("vfio-pci")),
            "vfio-pci does not take the VF: the guest needs an IOMMU (tests/lab/run.sh)"
        );
        Self { vf, netdev, mac }
    }

    fn give_back(&self) {
        bind(&self.vf, "\n");
        eventually("the VF has a netdev again", || self.vf.netdev().is_some());
        let now = self.vf.netdev().unwrap();
        if now != self.netdev {
            ip(&["link", "set", &now, "name", &self.netdev]);
        }
        ip(&["link", "set", &self.netdev, "address", &self.mac]);
    }
}

fn bind(vf: &Vf, driver: &str) {
    write(format!("{PCI}/{}/driver/unbind", vf.pci), &vf.pci);
    write(format!("{PCI}/{}/driver_override", vf.pci), driver);
    write("/sys/bus/pci/drivers_probe", &vf.pci);
}

/// The MAC that the PF administers for the VF: what the machine's driver will find.
fn admin_mac(vf: &Vf) -> String {
    let link = ip_json(&["link", "show", "dev", &uplink(&vf.pf)]).remove(0);
    let mac = &link["vfinfo_list"][vf.index as usize]["address"];
    mac.as_str().unwrap().to_owned()
}

fn assert_attached(pod: &Pod, vf: &Vf) {
    let port = crate::attachment::port_name(pod);
    // the daemon does not wait for it when there is no netdev
    eventually("ovn-controller has installed the port's flows", || {
        external_ids(&port)["ovn-installed"] == "true"
    });
    assert_port(pod, vf, &pod.ipv4);
    assert_eq!(admin_mac(vf), pod.mac);
    pod.assert_empty();
}

/// As stock: the result names the interface with the pod's namespace, although the machine makes it.
#[test]
fn a_machine_gets_its_vf() {
    for switches in [HEAD, ATTACH_ONLY] {
        let mut lab = Lab::with(switches);
        let machine = Machine::bind(vf(1, 2));
        let before = Snapshot::take();
        let (pod, other) = (lab.pod(1), lab.pod(2));
        let vf = &machine.vf;
        let answer = pod
            .add(vf)
            .key("vf_driver", "vfio-pci")
            .key("cniVersion", "1.1.0")
            .run();
        assert_result(&answer, "1.1.0", &pod, vf);
        assert_attached(&pod, vf);
        let holder = format!("is held by pod default/pod1 (eth0 of sandbox {})", &pod.container[..12]);
        other.add(vf).key("vf_driver", "vfio-pci").run().failure(101, &holder);
        other.del(vf).key("vf_driver", "vfio-pci").run().silent();
        assert_attached(&pod, vf);
        pod.del(vf).key("vf_driver", "vfio-pci").run().silent();
        pod.del(vf).key("vf_driver", "vfio-pci").run().silent();
        assert_no_port(&pod);
        for pod in [&pod, &other] {
            pod.destroy();
        }
        before.assert_still_so();
        // the device tells by itself what it is; and the sandbox dies without a DEL before the next one comes
        let pods = [lab.pod(1), lab.pod(2)];
        pods[0].add(vf).run().result();
        pods[0].destroy();
        pods[1].add(vf).run().result();
        assert_attached(&pods[1], vf);
        pods[0].del(vf).env("CNI_NETNS", "").run().silent();
        assert_attached(&pods[1], vf);
        pods[1].del(vf).run().silent();
        machine.give_back();
        lab.assert_as_before();
    }
}

/// What the network says and what the VF is must be the same.
#[test]
fn vf_driver_and_driver_disagree() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let asked = Daemon::requests().len();
    let netdev = vf(0, 0);
    pod.add(&netdev).key("vf_driver", "vfio-pci").run().failure(
        7,
        &format!(
            "VF {} is bound to mlx5_core, but the NetworkAttachmentDefinition says vf_driver \"vfio-pci\"",
            netdev.pci
        ),
    );
    pod.del(&netdev).key("vf_driver", "vfio-pci").run().silent();
    let machine = Machine::bind(vf(1, 2));
    pod.add(&machine.vf)
        .key("vf_driver", json!("mlx5_core"))
        .run()
        .failure(7, &format!("VF {} is bound to vfio-pci, but", machine.vf.pci));
    let adds = Daemon::requests().split_off(asked);
    assert!(adds.iter().all(|line| line["verb"] != "POST /api/v1/add"), "{adds:?}");
    pod.del(&machine.vf).run().silent();
    machine.give_back();
    lab.assert_as_before();
}
