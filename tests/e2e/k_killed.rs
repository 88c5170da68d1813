//! The process is killed at every system call by which it changes something: at a part of them in a usual run, at all of them in
//! `scripts/soak kills`.

use std::time::{Duration, Instant};

use crate::attachment::{add_all, assert_attached, assert_no_port};
use crate::call::{Call, Running};
use crate::daemon::{ATTACH_ONLY, HEAD};
use crate::lab::{Lab, gc};
use crate::nic::{Vf, vf};
use crate::pod::Pod;
use crate::random::{Random, long_run};
use crate::strace::{Point, points};

/// At once: as many pods, each with a VF of its own.
const BATCH: usize = 8;

/// All of them in a long run, else this many, by chance.
fn choose(test: &str, mut points: Vec<Point>, count: usize) -> Vec<Point> {
    let mut random = Random::of(test);
    let all = points.len();
    assert!(all > 10, "only {all} calls that change something");
    if !long_run() {
        random.shuffle(&mut points);
        points.truncate(count);
    }
    println!("{} of {all} calls", points.len());
    points
}

fn vfs() -> Vec<Vf> {
    (0..BATCH).map(|number| vf(number % 2, number / 2)).collect()
}

/// Kills a call of each pod, at a point each.
#[track_caller]
fn kill(points: &[Point], pods: &[Pod], vfs: &[Vf], call: impl Fn(&Pod, &Vf) -> Call) {
    let doomed: Vec<_> = points
        .iter()
        .zip(pods.iter().zip(vfs))
        .map(|(point, (pod, vf))| point.kill(&call(pod, vf), pod, vf))
        .collect();
    let mut missed = 0;
    for ((doomed, point), vf) in doomed.into_iter().zip(points).zip(vfs) {
        match doomed.end() {
            Ok(last) => println!("VF {}: to die at {}\n    died at {last}", vf.pci, point.describe()),
            Err(answer) => {
                println!("VF {}: did not come to {}: {answer:?}", vf.pci, point.describe());
                missed += 1;
            }
        }
    }
    // how often it looks for what takes its time is never the same; a kill that never comes would test nothing
    assert!(
        missed * 2 <= points.len(),
        "{missed} of {} were not killed",
        points.len()
    );
}

/// DEL of all, side by side.
#[track_caller]
fn del_all(pods: &[Pod], vfs: &[Vf]) {
    let calls: Vec<_> = pods
        .iter()
        .zip(vfs)
        .map(|(pod, vf)| (pod.del(vf).start(), vf))
        .collect();
    let answers: Vec<_> = calls.into_iter().map(|(call, vf)| (call.end(), vf)).collect();
    for (answer, vf) in answers {
        assert_eq!(
            (answer.rc, answer.stdout.as_str()),
            (0, ""),
            "VF {}: {answer:?}",
            vf.pci
        );
    }
}

fn sandboxes(lab: &mut Lab, count: usize) -> Vec<Pod> {
    (1..=count).map(|number| lab.pod(number)).collect()
}

#[track_caller]
fn assert_nothing_left(lab: &Lab, pods: &[Pod]) {
    for pod in pods {
        pod.assert_empty();
        assert_no_port(pod);
        pod.destroy();
    }
    lab.before.assert_still_so();
}

/// The points of an ADD; its attachment is taken back.
fn points_of_add(lab: &mut Lab) -> Vec<Point> {
    let (pod, vf) = (lab.pod(1), vf(0, 0));
    let points = points(&pod.add(&vf), &pod, &vf);
    assert_attached(&pod, &vf);
    pod.del(&vf).run().silent();
    pod.destroy();
    points
}

fn add_then_del(switches: &[&str], test: &str) {
    let mut lab = Lab::with(switches);
    let points = points_of_add(&mut lab);
    for batch in choose(test, points, BATCH).chunks(BATCH) {
        let (pods, vfs) = (sandboxes(&mut lab, batch.len()), vfs());
        kill(batch, &pods, &vfs, Pod::add);
        del_all(&pods, &vfs);
        assert_nothing_left(&lab, &pods);
    }
    lab.assert_as_before();
}

#[test]
fn in_add_of_a_vf_that_the_daemon_plumbs() {
    add_then_del(HEAD, "in_add_of_a_vf_that_the_daemon_plumbs");
}

#[test]
fn in_add_of_a_vf_that_it_plumbs_itself() {
    add_then_del(ATTACH_ONLY, "in_add_of_a_vf_that_it_plumbs_itself");
}

/// One that was killed while it waited for the daemon does not know whether that was at work: for a while the VF is nobody's.
/// That while is waited for in a long run only.
fn add_when_the_daemon_has_had_its_time(pairs: &[(&Pod, &Vf)]) {
    let start = Instant::now();
    let mut waiting = pairs.to_vec();
    while !waiting.is_empty() {
        let adds: Vec<_> = waiting.iter().map(|(pod, vf)| pod.add(vf).start()).collect();
        let answers: Vec<_> = adds.into_iter().map(Running::end).collect();
        let ended = waiting.into_iter().zip(answers);
        let refused = ended.filter(|(_, answer)| answer.rc != 0);
        waiting = refused
            .map(|((pod, vf), answer)| {
                answer.failure(11, "may still begin with it");
                assert!(start.elapsed() < Duration::from_secs(600), "{answer:?}");
                pod.del(vf).run().silent();
                (pod, vf)
            })
            .collect();
        if long_run() {
            std::thread::sleep(Duration::from_secs(2));
        } else {
            Lab::let_time_pass();
        }
    }
}

/// No DEL ever comes: the sandbox dies, and the next pod gets the VF.
#[test]
fn in_add_and_then_another_pod() {
    let mut lab = Lab::with(ATTACH_ONLY);
    let points = points_of_add(&mut lab);
    for batch in choose("in_add_and_then_another_pod", points, BATCH).chunks(BATCH) {
        let (dead, vfs) = (sandboxes(&mut lab, batch.len()), vfs());
        kill(batch, &dead, &vfs, Pod::add);
        dead.iter().for_each(Pod::destroy);
        let next = sandboxes(&mut lab, batch.len());
        let pairs: Vec<_> = next.iter().zip(&vfs).collect();
        add_when_the_daemon_has_had_its_time(&pairs);
        dead.iter().for_each(assert_no_port);
        // the dead ones' DELs come late, and must not touch what is another's now
        del_all(&dead, &vfs);
        for (pod, vf) in pairs {
            assert_attached(pod, vf);
        }
        del_all(&next, &vfs);
        assert_nothing_left(&lab, &next);
    }
    lab.assert_as_before();
}

/// DEL is killed, and comes again; with the sandbox still there, and without it.
#[test]
fn in_del() {
    let mut lab = Lab::with(ATTACH_ONLY);
    let (pod, first) = (lab.pod(1), vf(0, 0));
    pod.add(&first).run().result();
    let points = points(&pod.del(&first), &pod, &first);
    pod.destroy();
    for (number, batch) in choose("in_del", points, 2 * BATCH).chunks(BATCH).enumerate() {
        let (pods, vfs) = (sandboxes(&mut lab, batch.len()), vfs());
        add_all(&pods.iter().zip(&vfs).collect::<Vec<_>>());
        kill(batch, &pods, &vfs, Pod::del);
        if number % 2 == 1 {
            pods.iter().for_each(Pod::destroy);
            del_all(&pods, &vfs);
            pods.iter().for_each(assert_no_port);
            lab.before.assert_still_so();
        } else {
            del_all(&pods, &vfs);
            assert_nothing_left(&lab, &pods);
        }
    }
    lab.assert_as_before();
}

/// GC is killed while it works on what a dead sandbox left; the next one ends it.
#[test]
fn in_gc() {
    let mut lab = Lab::with(ATTACH_ONLY);
    let (pod, vf) = (lab.pod(1), vf(0, 0));
    pod.add(&vf).run().result();
    pod.destroy();
    let points = points(&gc(), &pod, &vf);
    assert_no_port(&pod);
    lab.before.assert_still_so();
    let (points, mut killed) = (choose("in_gc", points, BATCH / 2), 0);
    for point in &points {
        let dead = lab.pod(1);
        dead.add(&vf).run().result();
        dead.destroy();
        match point.kill(&gc(), &dead, &vf).end() {
            Ok(last) => {
                println!("to die at {}\n    died at {last}", point.describe());
                killed += 1;
            }
            Err(answer) => println!("did not come to {}: {answer:?}", point.describe()),
        }
        gc().run().silent();
        assert_no_port(&dead);
        lab.before.assert_still_so();
    }
    assert!(killed * 2 >= points.len(), "{killed} of {} were killed", points.len());
    lab.assert_as_before();
}
