//! As thick Multus runs us: in the mount namespace of its container, chrooted to the host's root, which is mounted there
//! with slave propagation, within its 50 MiB.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::attachment::{assert_attached, assert_no_port};
use crate::call::Call;
use crate::command::{read, run, write};
use crate::daemon::HEAD;
use crate::lab::Lab;
use crate::nic::vf;
use crate::traffic::ping;

const CGROUP: &str = "/sys/fs/cgroup/multus";

/// Its container: a process that holds the mount namespace.
struct Container {
    process: Child,
}

impl Container {
    fn start() -> Self {
        // a system manager's root is shared; the lab's has none
        run("mount", &["--make-rshared", "/"]);
        std::fs::create_dir_all("/hostroot").unwrap();
        std::fs::create_dir_all(CGROUP).unwrap();
        write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
        write(format!("{CGROUP}/memory.max"), "50M");
        let script = "mount --rbind / /hostroot && mount --make-rslave /hostroot && echo ready && exec sleep 600";
        let mut process = Command::new("unshare")
            .args(["--mount", "--propagation", "slave", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut ready = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout)
            .read_line(&mut ready)
            .expect("the container's word");
        assert_eq!(ready, "ready\n");
        Self { process }
    }

    fn run(&self, call: Call) -> Call {
        let script = format!(
            "echo $$ > {CGROUP}/cgroup.procs && exec nsenter --mount=/proc/{}/ns/mnt chroot /hostroot \"$0\"",
            self.process.id()
        );
        call.through(&["sh", "-c", &script])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(peak) = read(format!("{CGROUP}/memory.peak")) {
            println!(
                "peak of memory, page cache included: {} KiB",
                peak.parse::<u64>().unwrap_or(0) / 1024
            );
        }
    }
}

fn out_of_memory_kills() -> String {
    let events = read(format!("{CGROUP}/memory.events")).expect("memory.events");
    let kills = events.lines().find(|line| line.starts_with("oom_kill "));
    kills.expect("oom_kill").to_owned()
}

static ONE: Mutex<()> = Mutex::new(());

#[test]
fn attaches_and_gives_back() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lab = Lab::with(HEAD);
    let multus = Container::start();
    // made after the container, so that it is only there by propagation
    let (pod, other) = (lab.pod(1), lab.pod(2));
    let vfs = [vf(0, 0), vf(1, 0)];
    for (pod, vf) in [(&pod, &vfs[0]), (&other, &vfs[1])] {
        multus.run(pod.add(vf)).run().result();
        assert_attached(pod, vf);
    }
    ping(&pod, &other.ipv4, 3);
    multus.run(pod.del(&vfs[0])).run().silent();
    pod.assert_empty();
    // the kernel sends the VF home while the container may still hold a mount of the namespace
    other.destroy();
    multus.run(other.del(&vfs[1])).run().silent();
    assert_no_port(&other);
    assert_eq!(out_of_memory_kills(), "oom_kill 0");
    drop(multus);
    lab.assert_as_before();
}

#[test]
fn gives_back_after_a_failed_gateway_check() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lab = Lab::with(HEAD);
    let multus = Container::start();
    let pod = lab.pod(1);
    lab.fault(&pod, "gateway-check");
    multus
        .run(pod.add(&vf(0, 0)))
        .run()
        .failure(11, "is not ready for interface eth0");
    pod.assert_empty();
    assert_no_port(&pod);
    drop(multus);
    lab.assert_as_before();
}

/// A call from outside (a runtime's own, a thin Multus) and one from the container for one VF: the lock is one file.
#[test]
fn races_a_call_from_outside_for_one_vf() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lab = Lab::with(HEAD);
    let multus = Container::start();
    let pods = [lab.pod(1), lab.pod(2)];
    let vf = vf(0, 0);
    let inside = multus.run(pods[0].add(&vf)).start();
    let outside = pods[1].add(&vf).start();
    let answers = [inside.end(), outside.end()];
    let winners: Vec<usize> = (0..2).filter(|&i| answers[i].rc == 0).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    let (winner, loser) = (winners[0], 1 - winners[0]);
    let code = answers[loser].json()["code"].as_u64();
    assert!(matches!(code, Some(11 | 101)), "{:?}", answers[loser]);
    assert_attached(&pods[winner], &vf);
    pods[loser].assert_empty();
    // both DELs at once, each from the other side
    let outside = pods[0].del(&vf).start();
    let inside = multus.run(pods[1].del(&vf)).start();
    outside.end().silent();
    inside.end().silent();
    pods.iter().for_each(crate::pod::Pod::assert_empty);
    drop(multus);
    lab.assert_as_before();
}
