//! Chance that can be repeated: a run prints its seed, and takes one from `E2E_SEED`.

use std::time::{SystemTime, UNIX_EPOCH};

/// `SplitMix64`.
pub(crate) struct Random(u64);

impl Random {
    /// For the test of this name.
    pub(crate) fn of(test: &str) -> Self {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let seed =
            std::env::var("E2E_SEED").map_or_else(|_| clock(), |seed| seed.parse().expect("E2E_SEED is a number"));
        println!("{test}: E2E_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).expect("a small number");
        usize::try_from(self.next() % limit).expect("a small number")
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Whether the run takes its time: `scripts/soak` sets this.
pub(crate) fn long_run() -> bool {
    std::env::var_os("E2E_LONG").is_some()
}

/// A number that the environment may give.
pub(crate) fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is a number"))
    })
}
