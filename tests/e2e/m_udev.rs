//! udev names links on a real node, and renames them again whenever they appear or get another name. systemd-udevd runs with
//! its own rules and with the one by which the SR-IOV network operator names representors.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::attachment::{assert_attached, assert_no_port};
use crate::command::{attempt, read, run, write};
use crate::daemon::{ATTACH_ONLY, HEAD};
use crate::lab::Lab;
use crate::nic::{pfs, uplink, vf};
use crate::pod::Pod;
use crate::random::long_run;
use crate::snapshot::Snapshot;

const RULES: &str = "/run/udev/rules.d";
const SCRIPT: &str = "/run/udev/vf-number.sh";

struct Udevd {
    process: Child,
}

impl Udevd {
    /// Names all links that are there.
    fn start() -> Self {
        std::fs::create_dir_all(RULES).unwrap();
        // the operator's script prints the number that follows "vf" in the port's name
        write(SCRIPT, "#!/bin/sh\necho NUMBER=${1##*vf}\n");
        run("chmod", &["755", SCRIPT]);
        let mut rules = String::new();
        for (number, pf) in pfs().iter().enumerate() {
            let switch = read(format!("/sys/class/net/{}/phys_switch_id", uplink(pf))).unwrap();
            // GetSwitchdevRules of the operator's pkg/host/internal/udev has this form, with ATTRS and with move
            let rule = format!(
                "SUBSYSTEM==\"net\", ACTION==\"add|move\", ATTRS{{phys_switch_id}}==\"{switch}\", \
                 ATTR{{phys_port_name}}==\"pf{number}vf*\", IMPORT{{program}}=\"{SCRIPT} $attr{{phys_port_name}}\", \
                 NAME=\"ens{number}f0_$env{{NUMBER}}\"\n"
            );
            rules.push_str(&rule);
        }
        write(format!("{RULES}/20-switchdev.rules"), &rules);
        let process = Command::new("/lib/systemd/systemd-udevd")
            .stdin(Stdio::null())
            .spawn()
            .expect("systemd-udevd, of the package udev");
        crate::command::eventually("udevd answers", || attempt("udevadm", &["control", "--ping"]).is_ok());
        run("udevadm", &["trigger", "--subsystem-match=net", "--action=add"]);
        Self::settle();
        Self { process }
    }

    /// Until it has nothing more to do.
    fn settle() {
        run("udevadm", &["settle", "--timeout=60"]);
    }
}

impl Drop for Udevd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(Path::new(RULES));
    }
}

fn attach_and_give_back(switches: &[&str]) {
    let mut lab = Lab::with(switches);
    let udevd = Udevd::start();
    let named = Snapshot::take();
    let representor = vf(0, 2).representor();
    assert_eq!(representor.as_deref(), Some("ens0f0_2"), "the operator's rule");
    let mut attached = 0;
    // udevd takes its time on an emulated machine
    let rounds = if long_run() { 10 } else { 1 };
    for round in 0..rounds {
        let pods: Vec<Pod> = (1..=4).map(|number| lab.pod(number)).collect();
        let vfs: Vec<_> = (0..4).map(|number| vf(number % 2, number / 2)).collect();
        let calls: Vec<_> = pods.iter().zip(&vfs).map(|(pod, vf)| pod.add(vf).start()).collect();
        for (call, (pod, vf)) in calls.into_iter().zip(pods.iter().zip(&vfs)) {
            let answer = call.end();
            if answer.rc == 0 {
                assert_attached(pod, vf);
                attached += 1;
            } else {
                // the daemon lost its race against udev
                println!("round {round}: {}", answer.stdout);
                assert_eq!(answer.json()["code"], 11, "{answer:?}");
                pod.assert_empty();
            }
        }
        for (number, (pod, vf)) in pods.iter().zip(&vfs).enumerate() {
            if number == 3 {
                pod.destroy();
            }
            pod.del(vf).run().silent();
            assert_no_port(pod);
        }
        pods.iter().take(3).for_each(Pod::destroy);
        Udevd::settle();
        named.assert_still_so();
    }
    println!("{attached} of {} were attached", 4 * rounds);
    assert!(attached > 0, "not one was attached");
    drop(udevd);
    lab.before.restore();
    lab.assert_as_before();
}

#[test]
fn renames_what_the_daemon_plumbs() {
    attach_and_give_back(HEAD);
}

#[test]
fn renames_what_the_plugin_plumbs() {
    attach_and_give_back(ATTACH_ONLY);
}
