//! The daemon works on after the plugin was killed or gave up; it dies in the middle of a request; it answers DEL badly.

use crate::attachment::{assert_attached, assert_no_port, port_name};
use crate::call::Running;
use crate::command::{eventually, ports};
use crate::daemon::{Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::{Vf, vf};
use crate::pod::Pod;
use crate::snapshot::records;
use crate::traffic::ping;

/// It collects ports without a netdev every minute; here, every second.
const GC: &[&str] = &["--gc-seconds", "1"];

fn has_paused(pod: &Pod) -> bool {
    let of_pod = |line: &serde_json::Value| line["container"] == pod.container.as_str() && line["paused"].is_string();
    Daemon::requests().iter().any(of_pod)
}

fn has_ended(pod: &Pod) -> bool {
    let of_pod = |line: &serde_json::Value| {
        line["verb"] == "POST /api/v1/add" && line["body"].as_str().unwrap_or_default().contains(&pod.container)
    };
    Daemon::requests().iter().any(of_pod)
}

/// ADD of four pods, each of which the daemon lets wait at another step; killed there, as libcni kills what takes too
/// long; then DEL.
fn given_up(lab: &mut Lab, pods: &[Pod], vfs: &[Vf]) {
    let steps = ["add", "renamed", "move", "configured"];
    for (pod, step) in pods.iter().zip(steps) {
        lab.fault(pod, &format!("pause@{step}"));
    }
    let adds: Vec<Running> = pods.iter().zip(vfs).map(|(pod, vf)| pod.add(vf).start()).collect();
    for (pod, step) in pods.iter().zip(steps) {
        eventually(&format!("the daemon waits at {step}"), || has_paused(pod));
    }
    for add in adds {
        add.kill();
    }
    del_all(pods, vfs);
    for pod in pods {
        pod.assert_empty();
        pod.destroy();
    }
}

fn add_all(pods: &[Pod], vfs: &[Vf]) {
    let pairs: Vec<_> = pods.iter().zip(vfs).collect();
    crate::attachment::add_all(&pairs);
}

fn del_all(pods: &[Pod], vfs: &[Vf]) {
    let dels: Vec<Running> = pods.iter().zip(vfs).map(|(pod, vf)| pod.del(vf).start()).collect();
    for del in dels {
        del.end().silent();
    }
}

fn go_on(lab: &mut Lab, pods: &[Pod]) {
    for pod in pods {
        lab.fault(pod, "");
    }
    eventually("the daemon has ended what it was asked first", || {
        pods.iter().all(has_ended)
    });
    // it adds a port of a name that no netdev has any more, and leaves that to its garbage collection
    eventually("no port of theirs is left", || {
        let ports = ports();
        pods.iter().all(|pod| !ports.contains(&port_name(pod)))
    });
}

/// For a while nobody else gets the VF. Then it is another pod's, which keeps it: its name, and with it all that the daemon
/// knows of it, is another.
#[test]
fn it_goes_on_when_the_vf_has_a_new_pod() {
    let mut lab = Lab::with(&[HEAD, GC].concat());
    let old: Vec<Pod> = (1..=4).map(|number| lab.pod(number)).collect();
    let vfs = [vf(0, 0), vf(0, 1), vf(1, 0), vf(1, 1)];
    given_up(&mut lab, &old, &vfs);
    let new: Vec<Pod> = (1..=4).map(|number| lab.pod_in(2, number, "eth0")).collect();
    Lab::no_time_has_passed();
    let adds: Vec<Running> = new.iter().zip(&vfs).map(|(pod, vf)| pod.add(vf).start()).collect();
    for add in adds {
        add.end().failure(11, "may still begin with it");
    }
    Lab::let_time_pass();
    add_all(&new, &vfs);
    go_on(&mut lab, &old);
    for (pod, vf) in new.iter().zip(&vfs) {
        assert_attached(pod, vf);
        ping(pod, "10.16.0.1", 2);
    }
    del_all(&new, &vfs);
    lab.assert_as_before();
}

/// Nobody has the VF yet: what the daemon does to it now, the next ADD takes back by the record of the first.
#[test]
fn it_goes_on_when_the_vf_is_free() {
    let mut lab = Lab::with(&[HEAD, GC].concat());
    let old: Vec<Pod> = (1..=4).map(|number| lab.pod(number)).collect();
    let vfs = [vf(0, 0), vf(0, 1), vf(1, 0), vf(1, 1)];
    given_up(&mut lab, &old, &vfs);
    go_on(&mut lab, &old);
    assert!(!records().is_empty(), "it may still begin");
    let new: Vec<Pod> = (1..=4).map(|number| lab.pod_in(2, number, "eth0")).collect();
    Lab::let_time_pass();
    add_all(&new, &vfs);
    del_all(&new, &vfs);
    lab.assert_as_before();
}

/// Its container is started anew, a second later; the plugin asks the new one.
#[test]
fn it_dies_in_an_add() {
    let mut lab = Lab::with(HEAD);
    for step in ["renamed", "port", "moved", "reply"] {
        let pod = lab.pod(1);
        let vf = vf(0, 0);
        lab.fault(&pod, &format!("die@{step}"));
        let add = pod.add(&vf).start();
        lab.daemon().wait_until_dead();
        lab.fault(&pod, "");
        lab.daemon().ensure(HEAD);
        let answer = add.end();
        println!("{step}: {:?} {}", answer.took, answer.stdout);
        answer.failure(11, "gave no reply to ADD: connection closed");
        pod.assert_empty();
        assert_no_port(&pod);
        pod.destroy();
        lab.before.assert_still_so();
    }
    lab.assert_as_before();
}

#[test]
fn it_dies_in_a_del() {
    let mut lab = Lab::with(HEAD);
    for step in ["del-port", "del-reply"] {
        let pod = lab.pod(1);
        let vf = vf(0, 0);
        pod.add(&vf).run().result();
        lab.fault(&pod, &format!("die@{step}"));
        let del = pod.del(&vf).start();
        lab.daemon().wait_until_dead();
        lab.fault(&pod, "");
        lab.daemon().ensure(HEAD);
        let first = del.end();
        println!("{step}: {:?} {}", first.took, first.stdout);
        first.silent();
        pod.assert_empty();
        assert!(vf.netdev().is_some(), "the VF is home");
        assert_no_port(&pod);
        pod.del(&vf).run().silent();
        assert_no_port(&pod);
        pod.destroy();
    }
    lab.assert_as_before();
}

#[test]
fn it_answers_a_del_badly_or_late() {
    let mut lab = Lab::with(HEAD);
    let pods: Vec<Pod> = (1..=3).map(|number| lab.pod(number)).collect();
    let vfs = [vf(0, 0), vf(1, 0), vf(0, 1)];
    crate::attachment::add_all(&[(&pods[0], &vfs[0]), (&pods[1], &vfs[1]), (&pods[2], &vfs[2])]);
    for (pod, fault) in pods.iter().zip(["del-garbage", "del-late-eof", "del-late=2"]) {
        lab.fault(pod, fault);
    }
    let dels: Vec<Running> = pods.iter().zip(&vfs).map(|(pod, vf)| pod.del(vf).start()).collect();
    // the port went by way of OVSDB, or was gone already
    for del in dels {
        del.end().silent();
    }
    for (pod, vf) in pods.iter().zip(&vfs) {
        pod.assert_empty();
        lab.fault(pod, "");
        pod.del(vf).run().silent();
        assert_no_port(pod);
    }
    lab.assert_as_before();
}
