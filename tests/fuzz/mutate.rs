//! Inputs from inputs.

/// No input is longer.
pub(crate) const MAX_INPUT: usize = 64 * 1024;

/// xorshift64*: small, and the same numbers for the same seed, so that a run can be had again.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `limit` - 1; 0 when there is nothing to choose from.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Lengths, counts and signs at which parsers err.
const NUMBERS: [u32; 14] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
];

/// A new input: one of the corpus with a few changes, or now and then just noise.
pub(crate) fn next(random: &mut Random, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut input = if corpus.is_empty() || random.below(64) == 0 {
        (0..random.below(64)).map(|_| random.byte()).collect()
    } else {
        random.one_of(corpus).clone()
    };
    for _ in 0..=random.below(4) {
        change(random, &mut input, corpus, words);
    }
    input.truncate(MAX_INPUT);
    input
}

fn change(random: &mut Random, input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str]) {
    let at = random.below(input.len() + 1);
    // changes at most this far from `at`: small ones are the more telling
    let farthest = if random.below(4) == 0 { 256 } else { 8 };
    let reach = 1 + random.below(farthest);
    let end = (at + reach).min(input.len());
    match random.below(10) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.byte(),
        2 => input.insert(at, random.byte()),
        3 => drop(input.drain(at..end)),
        4 => input.truncate(at),
        // once more, or many times: nesting, long lists, long names
        5 => {
            let part = input[at..end].to_vec();
            let times = if random.below(16) == 0 {
                1 + random.below(4096)
            } else {
                1
            };
            let room = MAX_INPUT.saturating_sub(input.len()) / part.len().max(1);
            drop(input.splice(at..at, part.repeat(times.min(room))));
        }
        // a number in binary, as netlink has them
        6 => {
            let bytes = random.one_of(&NUMBERS).to_ne_bytes();
            let width = [1, 2, 4][random.below(3)];
            let end = (at + width).min(input.len());
            drop(input.splice(at..end, bytes[..width].iter().copied()));
        }
        // and in decimal
        7 => {
            let text = random.one_of(&NUMBERS).to_string();
            drop(input.splice(at..end, text.bytes()));
        }
        8 if !words.is_empty() => {
            let word = random.one_of(words).bytes();
            let end = if random.below(2) == 0 { at } else { end };
            drop(input.splice(at..end, word));
        }
        // a part of another input
        9 if !corpus.is_empty() => {
            let other = random.one_of(corpus);
            let from = random.below(other.len() + 1);
            let to = (from + 1 + random.below(128)).min(other.len());
            drop(input.splice(at..end, other[from..to].iter().copied()));
        }
        _ => {}
    }
}
