//! Many pods at once that want a few VFs: killed in the middle, repeated, ended in any order.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::time::Duration;

use super::MODES;
use crate::verbs::fake::{Ended, Host, Kernel, Pod};

const ROUNDS: u64 = 20;
const PODS: u64 = 64;
const SIDE_BY_SIDE: u64 = 4;
const VFS: [&str; 6] = [
    "0000:03:00.2",
    "0000:03:00.3",
    "0000:03:00.4",
    "0000:03:00.5",
    "0000:03:00.6",
    "0000:03:00.7",
];

/// Numbers that look like chance, and come again with the same seed.
struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.drawn += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, self.drawn).hash(&mut hasher);
        hasher.finish() % limit
    }

    fn milliseconds(&mut self, limit: u64) -> Duration {
        Duration::from_micros(self.below(limit * 1000))
    }
}

/// What happened, to see that everything did.
#[derive(Debug, Default)]
struct Tally {
    attached: u32,
    refused: u32,
    killed_adds: u32,
    killed_dels: u32,
}

/// Others have the VF, or something has not ended yet: the only reasons there are.
fn assert_honest(ended: &Ended, context: &str) {
    if let Ended::Badly(failure) = ended {
        let code = failure.code as u16;
        assert!([11, 101].contains(&code), "{context}: {code}: {failure}");
    }
}

fn assert_has_its_vf(host: &Host, pod: &Pod, context: &str) {
    host.with(|kernel| {
        let vf = (kernel.links.iter()).find(|netdev| netdev.link.parent.as_deref() == Some(pod.device));
        let vf = vf.unwrap();
        assert_eq!(
            (vf.ns, vf.link.name.as_str(), vf.link.up),
            (pod.ns, pod.ifname.as_str(), true),
            "{context}"
        );
    });
}

/// One pod from its ADD to its end.
async fn live(host: &Host, seed: u64, number: u64, tally: &Mutex<Tally>) {
    let mut chance = Chance {
        seed: seed * 1000 + number,
        drawn: 0,
    };
    let context = format!("seed {seed}, pod {number}");
    let count = |what: fn(&mut Tally)| what(&mut tally.lock().unwrap());
    tokio::time::sleep(chance.milliseconds(1000)).await;
    let pod = Pod {
        device: VFS[usize::try_from(chance.below(6)).unwrap()],
        ..host.pod(
            &format!("pod{number}"),
            if chance.below(2) == 0 { "eth0" } else { "net1" },
        )
    };
    for _ in 0..3 {
        let limit = if chance.below(3) == 0 { 12 } else { 10_000 };
        let killed_after = chance.milliseconds(limit);
        match tokio::time::timeout(killed_after, host.add(&pod)).await {
            Err(_) => count(|tally| tally.killed_adds += 1),
            Ok(Ended::Well) => {
                count(|tally| tally.attached += 1);
                assert_has_its_vf(host, &pod, &context);
                tokio::time::sleep(chance.milliseconds(10)).await;
                assert_has_its_vf(host, &pod, &context);
                break;
            }
            Ok(ended) => {
                count(|tally| tally.refused += 1);
                assert_honest(&ended, &context);
            }
        }
        // the runtime sends DEL after an ADD that failed, and not always before the next one
        if chance.below(2) == 0 {
            assert_honest(&host.del(&pod).await, &context);
        }
    }
    // a sandbox that is lost: no DEL, only GC
    let lost = chance.below(8) == 0;
    if lost || chance.below(4) == 0 {
        host.with(|kernel| kernel.destroy(pod.ns));
        tokio::time::sleep(chance.milliseconds(5)).await;
        host.with(|kernel| kernel.refund(pod.ns));
    }
    if lost {
        return;
    }
    if chance.below(3) == 0 {
        let killed_after = chance.milliseconds(8);
        if tokio::time::timeout(killed_after, host.del(&pod)).await.is_err() {
            count(|tally| tally.killed_dels += 1);
        }
    }
    for _ in 0..20 {
        let ended = host.del(&pod).await;
        assert_honest(&ended, &context);
        if ended.well() {
            return;
        }
        tokio::time::sleep(chance.milliseconds(20)).await;
    }
    panic!("{context}: no DEL succeeds");
}

async fn round(seed: u64, tally: &Mutex<Tally>) {
    let host = Host::new(MODES[usize::try_from(seed % 2).unwrap()]);
    host.with(Kernel::grow);
    host.deadlines.lock().unwrap().add = Duration::from_secs(2);
    *host.late_daemon.lock().unwrap() = Duration::from_millis(200);
    let before = host.snapshot();
    let pods = (0..PODS).map(|number| live(&host, seed, number, tally));
    futures_util::future::join_all(pods).await;
    // the time in which the daemon may still begin is over
    tokio::time::sleep(Duration::from_millis(200)).await;
    let ended = host.gc("kube-ovn", &[]).await;
    assert!(ended.well(), "seed {seed}: {ended:?}");
    host.assert_restored(&before, &format!("seed {seed}"));
}

/// The rounds mostly wait, so several go on side by side.
#[test]
fn in_any_order_with_kills_and_retries() {
    let tally = Mutex::default();
    std::thread::scope(|scope| {
        for first in 0..SIDE_BY_SIDE {
            let tally = &tally;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                for seed in (first..ROUNDS).step_by(usize::try_from(SIDE_BY_SIDE).unwrap()) {
                    runtime.block_on(round(seed, tally));
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("{tally:?}");
    let each = [tally.attached, tally.refused, tally.killed_adds, tally.killed_dels];
    assert!(each.iter().all(|count| *count > 20), "{tally:?}");
}
