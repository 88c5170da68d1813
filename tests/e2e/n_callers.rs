//! Whoever called ADD dies, or does not want it any more. libcni kills its child when the runtime gives up, but Multus stands
//! between the two: an ADD goes on when nobody waits for it.

use crate::attachment::{assert_attached, assert_no_port};
use crate::command::eventually;
use crate::daemon::{ATTACH_ONLY, Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::{Vf, vf};
use crate::pod::Pod;
use crate::snapshot::records;

/// As Multus: a process that runs the plugin, with its own stdin and stdout, and waits for it.
const PARENT: [&str; 3] = ["sh", "-c", "exec 3<&0; \"$0\" <&3 & wait $!"];

fn is_running(pod: &Pod) -> bool {
    let environment = |process: &String| std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    let program = |process: &String| std::fs::read_link(format!("/proc/{process}/exe"));
    crate::command::names("/proc").iter().any(|process| {
        program(process).is_ok_and(|path| path.ends_with("kube-ovn"))
            && String::from_utf8_lossy(&environment(process)).contains(&pod.container)
    })
}

/// It takes everything back by itself: no DEL has come.
#[track_caller]
fn assert_given_up(lab: &mut Lab, pod: &Pod, vf: &Vf) {
    eventually("the plugin has ended", || !is_running(pod));
    lab.fault(pod, "");
    Daemon::settle();
    pod.assert_empty();
    assert_no_port(pod);
    println!("VF {}: {:?}", vf.pci, records());
}

/// Killed while the daemon works, in either way of plumbing. Then the DEL that the runtime sends.
#[test]
fn parent_is_killed() {
    for switches in [HEAD, ATTACH_ONLY] {
        let mut lab = Lab::with(switches);
        let (pod, vf) = (lab.pod(1), vf(0, 0));
        let parent = lab.add_paused_by(&pod.add(&vf).through(&PARENT), "reply", &pod);
        assert!(is_running(&pod));
        parent.kill();
        assert_given_up(&mut lab, &pod, &vf);
        pod.del(&vf).run().silent();
        lab.assert_as_before();
    }
}

/// Nobody reads the result: the pipe is closed before there is one; the file system is full.
#[test]
fn result_is_lost() {
    let mut lab = Lab::with(ATTACH_ONLY);
    let (pods, vfs) = ([lab.pod(1), lab.pod(2)], [vf(0, 0), vf(1, 0)]);
    let closed = pods[0].add(&vfs[0]).start().without_stdout();
    let full = pods[1]
        .add(&vfs[1])
        .through(&["sh", "-c", "exec \"$0\" > /dev/full"])
        .start();
    for running in [closed, full] {
        let answer = running.end();
        assert_eq!(answer.rc, 1, "{answer:?}");
        println!("{answer:?}");
    }
    // without a DEL
    pods.iter().for_each(Pod::assert_empty);
    pods.iter().for_each(assert_no_port);
    assert_eq!(records(), Vec::<String>::new());
    pods.iter().for_each(Pod::destroy);
    lab.before.assert_still_so();
    lab.assert_as_before();
}

/// The runtime has given up on a sandbox whose ADD is still running: DEL does not wait until the daemon answers.
#[test]
fn del_during_add() {
    for switches in [HEAD, ATTACH_ONLY] {
        let mut lab = Lab::with(switches);
        let (pod, vf) = (lab.pod(1), vf(0, 0));
        let add = lab.add_paused_at("reply", &pod, &vf);
        // the daemon goes on only when this test lets it
        pod.del(&vf).run().silent();
        add.end().failure(11, "a DEL for it has come meanwhile");
        pod.assert_empty();
        assert_no_port(&pod);
        lab.fault(&pod, "");
        Daemon::settle();
        Lab::forget_unanswered();
        // the mark is of that ADD, not of the next one
        pod.add(&vf).run().result();
        assert_attached(&pod, &vf);
        pod.del(&vf).run().silent();
        lab.assert_as_before();
    }
}
