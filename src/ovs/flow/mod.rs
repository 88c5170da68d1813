//! Flows of the data path, as `ovs-appctl dpctl/dump-flows -m` writes them, a line each (ovs-vswitchd(8); `format_dpif_flow`
//! in lib/dpctl.c and lib/odp-util.c of Open vSwitch 2.15 to 3.7):
//!
//! `ufid:…, KEY(VALUE/MASK),…, packets:N, bytes:N, used:N.NNNs, flags:SP., offloaded:yes, dp:tc, actions:ACTION,…`
//!
//! A tolerant reader: it takes the line apart and gives no meaning to names that it does not know, so that a newer Open
//! vSwitch is read as well. Nothing is copied, and no line takes more than a few passes.

mod items;
mod values;

pub use items::{Item, Items, items};
pub use values::{CtState, Masked, ct_state, is_matched, masked, number};

/// How many headers within headers (`encap(…)`) are looked into: Open vSwitch itself knows two VLANs.
const MAX_ENCAPS: usize = 4;

/// A flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow<'a> {
    /// Its unique ID, which stays while its counters grow; older versions and `dump-flows` without `-m` have none.
    pub ufid: Option<u128>,
    /// What it matches.
    pub key: &'a str,
    /// Packets that took it since it was installed.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many seconds ago it was last taken; `None`: never, or not said.
    pub used: Option<f64>,
    /// TCP flags that were seen, as `SFP.`.
    pub tcp_flags: &'a str,
    /// Whether the NIC's hardware has it.
    pub offloaded: Offloaded,
    /// Who has it: `tc`, `ovs` (the kernel's module, or user space with DPDK), `dpdk`; empty without `-m`.
    pub layer: &'a str,
    /// What is done with a packet.
    pub actions: &'a str,
}

/// Whether the hardware has a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offloaded {
    /// `offloaded:yes`.
    Yes,
    /// `offloaded:partial`: the hardware marks packets, software does the rest (DPDK).
    Partly,
    /// Nothing is said.
    No,
}

impl<'a> Flow<'a> {
    /// Takes a line apart; `None` when it is no flow. That has at least `packets:` and `actions:`.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let mut flow = Flow {
            ufid: None,
            key: "",
            packets: 0,
            bytes: 0,
            used: None,
            tcp_flags: "",
            offloaded: Offloaded::No,
            layer: "",
            actions: "",
        };
        let (mut counted, mut key_begins) = (false, 0);
        let mut all = items(line);
        loop {
            let begin = all.offset();
            let item = all.next()?;
            let Some(value) = item.attribute() else { continue };
            match item.name {
                "ufid" => {
                    flow.ufid = ufid(value);
                    key_begins = all.offset();
                }
                "packets" => {
                    flow.key = line.get(key_begins..begin)?.trim().trim_end_matches(',');
                    flow.packets = number(value)?;
                    counted = true;
                }
                "bytes" => flow.bytes = number(value)?,
                "used" => flow.used = value.strip_suffix('s').and_then(|seconds| seconds.parse().ok()),
                "flags" => flow.tcp_flags = value,
                "offloaded" if value == "yes" => flow.offloaded = Offloaded::Yes,
                "offloaded" if value == "partial" => flow.offloaded = Offloaded::Partly,
                "dp" => flow.layer = value,
                "actions" if counted => {
                    let rest = line.get(begin..)?.trim_start().strip_prefix("actions:")?;
                    // only with DPDK
                    flow.actions = rest.split(", dp-extra-info:").next().unwrap_or_default();
                    return Some(flow);
                }
                _ => {}
            }
        }
    }

    /// What it matches, header by header; what is in `encap(…)`, as behind a VLAN tag, follows its header.
    #[must_use]
    pub fn keys(&self) -> Vec<Item<'a>> {
        let mut keys: Vec<Item<'a>> = Vec::new();
        let mut text = self.key;
        for _ in 0..=MAX_ENCAPS {
            let mut inner = None;
            for item in items(text) {
                match (item.name, item.arguments()) {
                    ("encap", Some(arguments)) => inner = Some(arguments),
                    _ => keys.push(item),
                }
            }
            match inner {
                Some(inner) => text = inner,
                None => break,
            }
        }
        keys
    }

    /// What is done with a packet, in this order. Some actions have actions within them: `clone(…)`, `sample(…)`.
    #[must_use]
    pub fn actions(&self) -> Items<'a> {
        items(self.actions)
    }
}

/// 128 bits, as a UUID is written.
fn ufid(text: &str) -> Option<u128> {
    let mut id: u128 = 0;
    let mut digits = 0;
    for c in text.chars().filter(|c| *c != '-') {
        id = id << 4 | u128::from(c.to_digit(16)?);
        digits += 1;
    }
    (digits == 32).then_some(id)
}

#[cfg(test)]
mod tests;
