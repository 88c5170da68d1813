//! From how a PF is to how it should be: the steps, each as the guide's shell lines, and how to take it back. Pure: what is there
//! goes in, and only what is missing comes out.

mod lines;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kube_ovn::net::EswitchMode;
use kube_ovn::types::PciAddress;
use serde::{Deserialize, Serialize};

use super::facts::{Facts, Vf};
use lines::Lines;

/// A change of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    RemoveVfs,
    CreateVfs(u32),
    /// All VFs from their drivers.
    Unbind,
    SetMode(EswitchMode),
    /// hw-tc-offload of the uplink.
    UplinkTc(bool),
    /// hw-tc-offload of the representors of these VFs; of all VFs that there are by then.
    RepresentorTc(Option<Vec<u32>>, bool),
    /// All VFs without a driver to the one that they had, or that the kernel finds.
    Bind,
    /// The uplink up or down.
    Uplink(bool),
}

impl Action {
    /// Whether the PF's own traffic may stop for a while.
    pub(super) fn interrupts(&self) -> bool {
        matches!(
            self,
            Self::RemoveVfs | Self::CreateVfs(_) | Self::SetMode(_) | Self::Uplink(false)
        )
    }

    /// Whether the VFs that are there are taken from whoever has them.
    pub(super) fn takes_vfs(&self) -> bool {
        matches!(self, Self::RemoveVfs | Self::Unbind | Self::SetMode(_))
    }
}

/// A step, for people too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) action: Action,
    /// What it does, in words.
    pub(super) what: String,
    /// The same as shell lines.
    pub(super) commands: Vec<String>,
    /// How to take it back.
    pub(super) back: Vec<String>,
}

/// How a PF was before it was prepared: what `node reset` brings back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) vf_count: u32,
    pub(super) switchdev: bool,
    pub(super) uplink_up: Option<bool>,
    pub(super) uplink_tc: Option<bool>,
    /// The VFs' drivers.
    pub(super) drivers: BTreeMap<PciAddress, String>,
    /// The VFs whose representors did not take flows from tc.
    pub(super) representors_off: Vec<u32>,
}

impl Before {
    /// As it is now.
    pub(super) fn now(facts: &Facts) -> Self {
        let uplink = facts.uplink.as_ref().ok();
        let drivers = facts
            .vfs
            .iter()
            .filter_map(|vf| Some((vf.address.clone(), vf.driver.clone()?)));
        Self {
            vf_count: facts.pf.vf_count,
            switchdev: facts.is_switchdev(),
            uplink_up: uplink.and_then(|uplink| uplink.up),
            uplink_tc: uplink.and_then(|uplink| uplink.tc),
            drivers: drivers.collect(),
            representors_off: with_tc(facts, false),
        }
    }
}

/// The VFs whose representors are known to have hw-tc-offload on, or off.
fn with_tc(facts: &Facts, on: bool) -> Vec<u32> {
    let is = |vf: &&Vf| matches!(&vf.representor, Some(Ok(port)) if port.tc == Some(on));
    facts.vfs.iter().filter(is).map(|vf| vf.index).collect()
}

fn step(action: Action, what: String, commands: Vec<String>, back: Vec<String>) -> Step {
    Step {
        action,
        what,
        commands,
        back,
    }
}

fn vfs(count: usize) -> String {
    if count == 1 {
        "the VF".to_owned()
    } else {
        format!("the {count} VFs")
    }
}

/// Whether a driver changes the eswitch's mode only while there are no VFs: ice does (`ice_eswitch_mode_set` of its `ice_eswitch.c` says
/// so). Others want the VFs first (bnxt, and old mlx5), or take both.
fn wants_mode_first(facts: &Facts) -> bool {
    facts.pf.driver.as_deref() == Some("ice")
}

/// What is missing for `count` VFs in switchdev mode that take flows from tc. `coming`: where the VFs will be.
pub(super) fn prepare(facts: &Facts, count: u32, coming: &[PciAddress]) -> Vec<Step> {
    let lines = Lines { facts, coming };
    let none = BTreeMap::new();
    let have = facts.pf.vf_count;
    let switches = !facts.is_switchdev();
    let mode_first = switches && wants_mode_first(facts);
    let recreates = have != count || (mode_first && have > 0);
    let set_mode = step(
        Action::SetMode(EswitchMode::Switchdev),
        "set the eswitch to switchdev mode: each VF gets a representor".to_owned(),
        vec![lines.mode(EswitchMode::Switchdev)],
        vec![lines.mode(EswitchMode::Legacy)],
    );
    let number = usize::try_from(count).unwrap_or(usize::MAX);
    let mut steps = Vec::new();
    if recreates && have > 0 {
        steps.push(step(
            Action::RemoveVfs,
            format!("remove the {have} VFs that there are: the kernel changes their number by way of none only"),
            vec![lines.count(0)],
            vec![lines.count(have)],
        ));
    }
    if mode_first {
        steps.push(set_mode.clone());
    }
    if recreates {
        steps.push(step(
            Action::CreateVfs(count),
            format!("create {count} VFs"),
            vec![lines.count(count)],
            vec![lines.count(0)],
        ));
    }
    if switches && !mode_first {
        let unbind = lines.unbind(recreates);
        if recreates || !unbind.is_empty() {
            steps.push(step(
                Action::Unbind,
                format!(
                    "take {} from their driver: a VF that was probed in legacy mode does not work in switchdev mode",
                    vfs(number)
                ),
                unbind,
                lines.bind(recreates, &none, true),
            ));
        }
        steps.push(set_mode);
    }
    if facts.uplink.as_ref().is_ok_and(|uplink| uplink.tc != Some(true)) {
        steps.push(step(
            Action::UplinkTc(true),
            "let the uplink take flows from tc".to_owned(),
            vec![Lines::tc(lines.uplink(), true)],
            vec![Lines::tc(lines.uplink(), false)],
        ));
    }
    let off = with_tc(facts, false);
    if switches || recreates || !off.is_empty() {
        let which = (!switches && !recreates).then_some(off);
        steps.push(step(
            Action::RepresentorTc(which.clone(), true),
            "let the representors take flows from tc".to_owned(),
            lines.representors(which.as_deref(), true),
            lines.representors(which.as_deref(), false),
        ));
    }
    let unbound = !recreates && facts.vfs.iter().any(|vf| vf.driver.is_none());
    if (switches && !mode_first) || unbound {
        steps.push(step(
            Action::Bind,
            "give the VFs to their driver again".to_owned(),
            lines.bind(recreates, &none, switches),
            lines.unbind(recreates),
        ));
    }
    if facts.uplink.as_ref().is_ok_and(|uplink| uplink.up != Some(true)) {
        steps.push(step(
            Action::Uplink(true),
            "set the uplink up".to_owned(),
            vec![lines.link(true)],
            vec![lines.link(false)],
        ));
    }
    steps
}

/// What brings a PF back to how it was.
pub(super) fn reset(facts: &Facts, before: &Before, coming: &[PciAddress]) -> Vec<Step> {
    let lines = Lines { facts, coming };
    let have = facts.pf.vf_count;
    let switches = facts.is_switchdev() && !before.switchdev;
    let recreates = have != before.vf_count || (switches && wants_mode_first(facts) && have > 0);
    let mut steps = Vec::new();
    if recreates && have > 0 {
        steps.push(step(
            Action::RemoveVfs,
            format!("remove {}", vfs(facts.vfs.len())),
            vec![lines.count(0)],
            vec![lines.count(have)],
        ));
    } else if switches && facts.vfs.iter().any(|vf| vf.driver.is_some()) {
        steps.push(step(
            Action::Unbind,
            format!("take {} from their driver", vfs(facts.vfs.len())),
            lines.unbind(false),
            lines.bind(false, &before.drivers, true),
        ));
    }
    if switches {
        steps.push(step(
            Action::SetMode(EswitchMode::Legacy),
            "set the eswitch to legacy mode".to_owned(),
            vec![lines.mode(EswitchMode::Legacy)],
            vec![lines.mode(EswitchMode::Switchdev)],
        ));
    }
    if recreates && before.vf_count > 0 {
        steps.push(step(
            Action::CreateVfs(before.vf_count),
            format!("create the {} VFs that there were", before.vf_count),
            vec![lines.count(before.vf_count)],
            vec![lines.count(0)],
        ));
    }
    let lost = |vf: &Vf| vf.driver.is_none() && before.drivers.contains_key(&vf.address);
    if !recreates && (steps.iter().any(|step| step.action == Action::Unbind) || facts.vfs.iter().any(lost)) {
        steps.push(step(
            Action::Bind,
            "give the VFs to their driver again".to_owned(),
            lines.bind(false, &before.drivers, switches),
            lines.unbind(false),
        ));
    }
    let on = with_tc(facts, true);
    let off: Vec<u32> = before
        .representors_off
        .iter()
        .copied()
        .filter(|index| on.contains(index))
        .collect();
    if !recreates && !switches && !off.is_empty() {
        steps.push(step(
            Action::RepresentorTc(Some(off.clone()), false),
            "no flows from tc for the representors".to_owned(),
            lines.representors(Some(&off), false),
            lines.representors(Some(&off), true),
        ));
    }
    let Ok(uplink) = &facts.uplink else { return steps };
    if before.uplink_tc == Some(false) && uplink.tc == Some(true) {
        steps.push(step(
            Action::UplinkTc(false),
            "no flows from tc for the uplink".to_owned(),
            vec![Lines::tc(lines.uplink(), false)],
            vec![Lines::tc(lines.uplink(), true)],
        ));
    }
    if before.uplink_up == Some(false) && uplink.up == Some(true) {
        steps.push(step(
            Action::Uplink(false),
            "set the uplink down".to_owned(),
            vec![lines.link(false)],
            vec![lines.link(true)],
        ));
    }
    steps
}
