//! Values of a match: numbers, masks, and the state of a connection.

use super::items;

/// A value and which of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Masked {
    /// The value.
    pub value: u64,
    /// The mask; all ones when none is written.
    pub mask: u64,
}

/// What conntrack says of a packet: which bits a flow looks at, and what they must be (ovs-fields(7), `ct_state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CtState(pub Masked);

impl CtState {
    /// The names of the bits, from the lowest on.
    const NAMES: [&'static str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];

    /// Whether the bit of that name must be set.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        Self::bit(name) & self.0.mask & self.0.value != 0
    }

    /// Whether the bit of that name is looked at.
    #[must_use]
    pub fn asks(self, name: &str) -> bool {
        Self::bit(name) & self.0.mask != 0
    }

    fn bit(name: &str) -> u64 {
        let at = Self::NAMES.iter().position(|known| *known == name);
        at.map_or(0, |at| 1 << at)
    }
}

/// A number, decimal or with `0x` hexadecimal.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `VALUE` or `VALUE/MASK`, of numbers.
#[must_use]
pub fn masked(text: &str) -> Option<Masked> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, number(mask)?),
        None => (text, u64::MAX),
    };
    Some(Masked {
        value: number(value)?,
        mask,
    })
}

/// The value of `ct_state(…)`: `0x22/0x3f` with `-m`, otherwise `+est+trk-rel`.
#[must_use]
pub fn ct_state(text: &str) -> Option<CtState> {
    if let Some(masked) = masked(text) {
        return Some(CtState(masked));
    }
    let mut state = Masked { value: 0, mask: 0 };
    let mut rest = text;
    while !rest.is_empty() {
        let is_set = match rest.get(..1)? {
            "+" => true,
            "-" => false,
            _ => return None,
        };
        let word = rest.get(1..)?;
        let end = word.find(['+', '-']).unwrap_or(word.len());
        let bit = CtState::bit(word.get(..end)?);
        state.mask |= bit;
        state.value |= if is_set { bit } else { 0 };
        rest = word.get(end..)?;
    }
    Some(CtState(state))
}

/// Whether a value is looked at. With `-m` those that are not are written too, with a mask that is zero: `0/0`, `::/::`,
/// `00:00:00:00:00:00/00:00:00:00:00:00`; and of a header with several fields, `src=…,dst=…`, it is enough that one is.
#[must_use]
pub fn is_matched(value: &str) -> bool {
    items(value).any(|item| !mask_is_zero(item.value().unwrap_or(item.text)))
}

fn mask_is_zero(value: &str) -> bool {
    let Some((_, mask)) = value.rsplit_once('/') else {
        return false; // all of it
    };
    let digits = mask.trim_end_matches([')', '}']).trim_start_matches("0x");
    !mask.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0' | b'.' | b':'))
}
