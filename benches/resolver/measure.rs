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
    /// Seconds of the fastest time that each VF was resolved, ours and sriovnet's; the mean over the VFs.
    pub(crate) fastest: (f64, f64),
    /// System calls for one VF, ours and sriovnet's; the mean over those that were resolved.
    pub(crate) calls: Option<(f64, f64)>,
}

/// One way to resolve VFs, and how long it took.
struct Side<'a, T> {
    resolve: &'a dyn Fn(&T),
    /// How often a turn goes over all VFs.
    passes: u32,
    /// The fastest time of each VF.
    fastest: Vec<Duration>,
}

impl<'a, T> Side<'a, T> {
    fn new(vfs: &[T], resolve: &'a dyn Fn(&T)) -> Self {
        let mut side = Self {
            resolve,
            passes: 1,
            fastest: vec![Duration::MAX; vfs.len()],
        };
        side.turn(vfs); // warm
        let one = Duration::from_secs_f64(side.turn(vfs) * vfs.len() as f64).max(Duration::from_micros(1));
        side.passes = u32::try_from(ROUND.as_nanos() / one.as_nanos()).unwrap_or(1).max(1);
        side
    }

    /// Seconds for a VF.
    fn turn(&mut self, vfs: &[T]) -> f64 {
        let start = Instant::now();
        for _ in 0..self.passes {
            for (vf, fastest) in vfs.iter().zip(&mut self.fastest) {
                let start = Instant::now();
                (self.resolve)(black_box(vf));
                *fastest = start.elapsed().min(*fastest);
            }
        }
        start.elapsed().as_secs_f64() / (f64::from(self.passes) * vfs.len() as f64)
    }

    fn fastest(&self) -> f64 {
        self.fastest.iter().sum::<Duration>().as_secs_f64() / self.fastest.len() as f64
    }
}

/// The times of the rounds, and the fastest of both sides.
pub(crate) type Times = (Vec<(f64, f64)>, (f64, f64));

/// Times two ways over the same VFs, turn by turn: what the machine does besides hits both. A turn resolves every VF once or
/// more.
pub(crate) fn side_by_side<T>(vfs: &[T], ours: impl Fn(&T), peer: impl Fn(&T)) -> Times {
    let mut ours = Side::new(vfs, &ours);
    let mut peer = Side::new(vfs, &peer);
    let rounds = (0..ROUNDS).map(|round| {
        // who goes first changes
        if round % 2 == 0 {
            let time = ours.turn(vfs);
            (time, peer.turn(vfs))
        } else {
            let time = peer.turn(vfs);
            (ours.turn(vfs), time)
        }
    });
    (rounds.collect(), (ours.fastest(), peer.fastest()))
}

/// Least, median and greatest.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    (at(0), at(values.len() / 2), at(values.len().saturating_sub(1)))
}
