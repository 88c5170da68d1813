//! Many pods at once, in an order that chance makes, with calls that are killed and repeated.

use std::time::{Duration, Instant};

use crate::attachment::{assert_attached, assert_no_port};
use crate::call::{Answer, Call};
use crate::daemon::ATTACH_ONLY;
use crate::lab::Lab;
use crate::nic::{self, Vf};
use crate::pod::Pod;
use crate::random::{Random, number};

/// What happens to one pod.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// Until its ADD begins.
    start: Duration,
    /// Until its first ADD is killed, with DEL and another ADD after it.
    add_killed: Option<Duration>,
    /// The sandbox dies before its DEL.
    dies: bool,
    /// Until its first DEL is killed, with another one after it.
    del_killed: Option<Duration>,
}

impl Fate {
    fn draw(random: &mut Random) -> Self {
        let mut milliseconds =
            |limit| Duration::from_millis(u64::try_from(random.below(limit)).expect("a small number"));
        let (start, add, del) = (milliseconds(2000), milliseconds(6000), milliseconds(1500));
        Self {
            start,
            add_killed: (random.below(3) == 0).then_some(add),
            dies: random.below(4) == 0,
            del_killed: (random.below(3) == 0).then_some(del),
        }
    }
}

/// Runs a call, and kills it after this time. `None`: killed.
fn run_for(call: &Call, limit: Option<Duration>) -> Option<Answer> {
    let running = call.start();
    if let Some(limit) = limit {
        std::thread::sleep(limit);
        running.kill_if_running()
    } else {
        Some(running.end())
    }
}

/// Again and again, as a runtime does, until it is done.
fn del(pod: &Pod, vf: &Vf, honest: &mut Vec<String>) {
    let start = Instant::now();
    loop {
        let answer = pod.del(vf).run();
        if answer.rc == 0 {
            return;
        }
        // try again later is all that a DEL may say
        assert_eq!(answer.json()["code"], 11, "{answer:?}");
        honest.push(format!("DEL of {}: {}", pod.name, answer.json()["msg"]));
        assert!(start.elapsed() < Duration::from_secs(600), "{answer:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// One pod's life; its errors.
fn live(pod: &Pod, vf: &Vf, fate: Fate) -> Vec<String> {
    let mut honest = Vec::new();
    std::thread::sleep(fate.start);
    let mut limit = fate.add_killed;
    let start = Instant::now();
    loop {
        match run_for(&pod.add(vf), limit.take()) {
            Some(answer) if answer.rc == 0 => break,
            Some(answer) => {
                let error = answer.json();
                assert!(matches!(error["code"].as_u64(), Some(11)), "{answer:?}");
                honest.push(format!("ADD of {}: {}", pod.name, error["msg"]));
                assert!(start.elapsed() < Duration::from_secs(600), "{answer:?}");
                std::thread::sleep(Duration::from_millis(500));
            }
            None => {}
        }
        del(pod, vf, &mut honest);
    }
    assert_attached(pod, vf);
    if fate.dies {
        pod.destroy();
    }
    if let Some(answer) = fate.del_killed.and_then(|limit| run_for(&pod.del(vf), Some(limit))) {
        assert_eq!(answer.rc, 0, "{answer:?}");
    }
    del(pod, vf, &mut honest);
    honest
}

/// All VFs of the node, round after round; `E2E_ROUNDS` may be another number.
#[test]
fn in_any_order_with_kills_and_retries() {
    let mut lab = Lab::with(ATTACH_ONLY);
    let mut random = Random::of("in_any_order_with_kills_and_retries");
    let mut vfs: Vec<Vf> = nic::pfs().iter().flat_map(|pf| nic::vfs(pf)).collect();
    let rounds = number("E2E_ROUNDS", 5);
    let mut honest = 0;
    for round in 1..=rounds {
        let start = Instant::now();
        random.shuffle(&mut vfs);
        let pods: Vec<Pod> = (1..=vfs.len()).map(|number| lab.pod(number)).collect();
        let fates: Vec<Fate> = pods.iter().map(|_| Fate::draw(&mut random)).collect();
        let errors: Vec<String> = std::thread::scope(|scope| {
            let lives = pods.iter().zip(&vfs).zip(&fates);
            let lives: Vec<_> = lives
                .map(|((pod, vf), fate)| scope.spawn(|| live(pod, vf, *fate)))
                .collect();
            let ends = lives.into_iter().zip(&fates);
            ends.flat_map(|(life, fate)| life.join().unwrap_or_else(|_| panic!("a pod with {fate:?}")))
                .collect()
        });
        for (pod, fate) in pods.iter().zip(&fates) {
            assert_no_port(pod);
            if !fate.dies {
                pod.destroy();
            }
        }
        lab.before.assert_still_so();
        let kills = |of: fn(&Fate) -> bool| fates.iter().filter(|fate| of(fate)).count();
        println!(
            "round {round}: {} pods, {} ADDs and {} DELs killed, {} sandboxes dead before DEL, {} honest errors, {:.0} s; nothing left",
            pods.len(),
            kills(|fate| fate.add_killed.is_some()),
            kills(|fate| fate.del_killed.is_some()),
            kills(|fate| fate.dies),
            errors.len(),
            start.elapsed().as_secs_f32()
        );
        for error in &errors {
            println!("    {error}");
        }
        honest += errors.len();
    }
    println!(
        "{} attachments: no failure that is not an honest error ({honest}), nothing left",
        rounds * vfs.len()
    );
    lab.assert_as_before();
}
