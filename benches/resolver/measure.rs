//! Times, side by side.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Rounds of a measurement.
const ROUNDS: usize = 21;

/// Each side works at least so long in a round.
const ROUND: Duration = Duration::from_millis(20);

/// What one measurement gave, in a line of JSON between the program that measures and the one that reports.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// `fixture, sysfs` and the like.
    pub(crate) place: String,
    /// How many VFs the PF had.
    pub(crate) vfs: usize,
    /// How many netdevs the network namespace had that are none of the NIC's.
    pub(crate) unrelated: usize,
    /// Seconds for one VF in each round, ours and sriovnet's.
    pub(crate) times: Vec<(f64, f64)>,
    /// System calls for one VF, ours and sriovnet's; the mean over those that were resolved.
    pub(crate) calls: Option<(f64, f64)>,
}

/// Times two ways over the same VFs, turn by turn: what the machine does besides hits both. A turn resolves every VF once or
/// more.
pub(crate) fn side_by_side<T>(vfs: &[T], ours: impl Fn(&T), peer: impl Fn(&T)) -> Vec<(f64, f64)> {
    let turn = |resolve: &dyn Fn(&T), passes: u32| {
        let start = Instant::now();
        for _ in 0..passes {
            for vf in vfs {
                resolve(black_box(vf));
            }
        }
        start.elapsed()
    };
    let passes = |resolve: &dyn Fn(&T)| {
        turn(resolve, 1); // warm
        let one = turn(resolve, 1).max(Duration::from_micros(1));
        u32::try_from(ROUND.as_nanos() / one.as_nanos()).unwrap_or(1).max(1)
    };
    let ours: &dyn Fn(&T) = &ours;
    let peer: &dyn Fn(&T) = &peer;
    let (our_passes, peer_passes) = (passes(ours), passes(peer));
    let each = |passes: u32| f64::from(passes) * f64::from(u32::try_from(vfs.len()).unwrap_or(u32::MAX));
    (0..ROUNDS)
        .map(|round| {
            // who goes first changes
            let (our_time, peer_time);
            if round % 2 == 0 {
                our_time = turn(ours, our_passes);
                peer_time = turn(peer, peer_passes);
            } else {
                peer_time = turn(peer, peer_passes);
                our_time = turn(ours, our_passes);
            }
            (
                our_time.as_secs_f64() / each(our_passes),
                peer_time.as_secs_f64() / each(peer_passes),
            )
        })
        .collect()
}

/// Least, median and greatest.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    (at(0), at(values.len() / 2), at(values.len().saturating_sub(1)))
}
