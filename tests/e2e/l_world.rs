//! The world changes while an attachment is made, and while it is there: namespaces, VFs, PF, eswitch. What comes of
//! each is in tests/faults.md.

use crate::attachment::assert_no_port;
use crate::call::Answer;
use crate::command::{eventually, names, run, write};
use crate::daemon::HEAD;
use crate::lab::Lab;
use crate::nic::{self, Vf, pfs, vf};
use crate::pod::Pod;
use crate::snapshot::records;

/// Where the daemon is in the ADDs of the first pods when it happens: nothing is done; representor and admin MAC are set; the
/// VF is in the pod without an address; everything is done but the reply. With a fourth pod that has been attached.
const STEPS: [&str; 3] = ["add", "port", "moved"];

/// Four pods on the second PF: three ADDs wait at `STEPS`, one attachment is there.
struct Scene {
    lab: Lab,
    pods: Vec<Pod>,
    vfs: Vec<Vf>,
}

impl Scene {
    /// Changes the world in the middle of it all, and ends the ADDs.
    #[track_caller]
    fn play(change: impl FnOnce(&[Pod])) -> Self {
        let mut lab = Lab::with(HEAD);
        let pods: Vec<Pod> = (1..=STEPS.len() + 1).map(|number| lab.pod(number)).collect();
        let vfs: Vec<Vf> = (0..pods.len()).map(|index| vf(1, index)).collect();
        pods[STEPS.len()].add(&vfs[STEPS.len()]).run().result();
        let paused = STEPS.iter().zip(pods.iter().zip(&vfs));
        let running: Vec<_> = paused
            .map(|(step, (pod, vf))| lab.add_paused_at(step, pod, vf))
            .collect();
        change(&pods);
        for pod in &pods {
            lab.fault(pod, "");
        }
        for (running, step) in running.into_iter().zip(STEPS) {
            assert_honest(step, &running.end());
        }
        Self { lab, pods, vfs }
    }

    /// DEL of all ends well, and leaves nothing of OVS and no record.
    #[track_caller]
    fn end(&self) {
        for (pod, vf) in self.pods.iter().zip(&self.vfs) {
            pod.del(vf).run().silent();
            assert_no_port(pod);
        }
        assert_eq!(records(), Vec::<String>::new());
    }

    /// The same, when functions of the NIC were made anew by `put_back`: names and MACs of new netdevs are the kernel's choice.
    #[track_caller]
    fn end_with_new_functions(self, put_back: impl FnOnce()) {
        self.end();
        self.pods.iter().for_each(Pod::destroy);
        put_back();
        self.lab.before.restore();
        self.lab.assert_as_before();
    }
}

/// An error that says what is wrong, and not that the plugin is.
#[track_caller]
fn assert_honest(step: &str, answer: &Answer) {
    println!("at {step}, {:?}: {}", answer.took, answer.stdout);
    assert_eq!(answer.rc, 1, "at {step}: {answer:?}");
    let error = answer.json();
    assert!(
        matches!(error["code"].as_u64(), Some(4 | 7 | 11 | 100 | 102)),
        "at {step}: {answer:?}"
    );
}

fn numvfs(pf: &str, count: usize) {
    write(format!("/sys/bus/pci/devices/{pf}/sriov_numvfs"), &count.to_string());
}

fn eswitch(pf: &str, mode: &str) {
    run(
        "devlink",
        &["dev", "eswitch", "set", &format!("pci/{pf}"), "mode", mode],
    );
}

#[test]
fn namespaces_are_destroyed() {
    let scene = Scene::play(|pods| pods.iter().for_each(Pod::destroy));
    scene.end();
    scene.lab.assert_as_before();
}

#[test]
fn vfs_disappear() {
    let pf = pfs()[1].clone();
    let count = nic::vfs(&pf).len();
    let scene = Scene::play(|_| numvfs(&pf, 0));
    scene.end_with_new_functions(|| {
        numvfs(&pf, count);
        eventually("the VFs have netdevs", || {
            nic::vfs(&pf).iter().all(|vf| vf.netdev().is_some())
        });
    });
}

#[test]
fn pf_is_unbound() {
    let pf = pfs()[1].clone();
    let count = nic::vfs(&pf).len();
    let driver = std::fs::read_link(format!("/sys/bus/pci/devices/{pf}/driver")).unwrap();
    let driver = format!("/sys/bus/pci/drivers/{}", driver.file_name().unwrap().to_string_lossy());
    let cables = || {
        names("/sys/class/net")
            .into_iter()
            .filter(|name| name.starts_with("wire"))
    };
    let before: Vec<String> = cables().collect();
    let scene = Scene::play(|_| write(format!("{driver}/unbind"), &pf));
    scene.end_with_new_functions(|| {
        let unplugged = before.iter().find(|name| cables().all(|other| other != **name));
        write(format!("{driver}/bind"), &pf);
        // simnic's other end of the port's cable is a new link, with the next number
        let plugged = cables().find(|name| !before.contains(name));
        if let (Some(old), Some(new)) = (unplugged, plugged) {
            run("ip", &["link", "set", &new, "name", old]);
        }
        numvfs(&pf, count);
        eswitch(&pf, "switchdev");
        eventually("the VFs have netdevs", || {
            nic::vfs(&pf).iter().all(|vf| vf.netdev().is_some())
        });
    });
}

#[test]
fn eswitch_becomes_legacy() {
    let pf = pfs()[1].clone();
    let scene = Scene::play(|_| eswitch(&pf, "legacy"));
    scene.end_with_new_functions(|| eswitch(&pf, "switchdev"));
}
