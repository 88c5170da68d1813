//! From how a PF is to how it should be: the steps, each as the guide's shell lines, and how to take it back. Pure: what is there
//! goes in, and only what is missing comes out.

use std::collections::BTreeMap;

use kube_ovn::net::EswitchMode;
use kube_ovn::types::PciAddress;
use serde::{Deserialize, Serialize};

use super::facts::{Facts, Vf};

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

/// The shell lines of one PF.
struct Lines<'a> {
    facts: &'a Facts,
    /// Where the VFs will be that are not there yet, as far as that can be told.
    coming: &'a [PciAddress],
}

impl Lines<'_> {
    fn uplink(&self) -> &str {
        self.facts
            .uplink
            .as_ref()
            .map_or("UPLINK", |uplink| uplink.netdev.name.as_str())
    }

    fn count(&self, count: u32) -> String {
        format!("echo {count} > /sys/class/net/{}/device/sriov_numvfs", self.uplink())
    }

    fn mode(&self, mode: EswitchMode) -> String {
        format!("devlink dev eswitch set pci/{} mode {mode}", self.facts.pf.address)
    }

    fn tc(netdev: &str, on: bool) -> String {
        format!("ethtool -K {netdev} hw-tc-offload {}", if on { "on" } else { "off" })
    }

    fn link(&self, up: bool) -> String {
        format!("ip link set {} {}", self.uplink(), if up { "up" } else { "down" })
    }

    /// Each VF from its driver. The guide names the driver in the path; that of a VF that is not there yet is not known.
    fn unbind(&self, recreated: bool) -> Vec<String> {
        if recreated {
            let line = |vf: &PciAddress| format!("echo {vf} > /sys/bus/pci/devices/{vf}/driver/unbind");
            return self.coming.iter().map(line).collect();
        }
        let bound = self
            .facts
            .vfs
            .iter()
            .filter_map(|vf| Some((&vf.address, vf.driver.as_ref()?)));
        bound
            .map(|(vf, driver)| format!("echo {vf} > /sys/bus/pci/drivers/{driver}/unbind"))
            .collect()
    }

    /// Each VF to its driver: the one that it had, or had `before`.
    fn bind(&self, recreated: bool, before: &BTreeMap<PciAddress, String>, all: bool) -> Vec<String> {
        let probe = |vf: &PciAddress| format!("echo {vf} > /sys/bus/pci/drivers_probe");
        if recreated {
            return self.coming.iter().map(probe).collect();
        }
        let line = |vf: &Vf| match vf.driver.as_ref().or_else(|| before.get(&vf.address)) {
            Some(driver) => format!("echo {} > /sys/bus/pci/drivers/{driver}/bind", vf.address),
            None => probe(&vf.address),
        };
        self.facts
            .vfs
            .iter()
            .filter(|vf| all || vf.driver.is_none())
            .map(line)
            .collect()
    }

    /// The representors of VFs; of all, whatever they will be called.
    fn representors(&self, which: Option<&[u32]>, on: bool) -> Vec<String> {
        let Some(which) = which else {
            let set = Self::tc("${netdev##*/}", on);
            return vec![format!(
                "for netdev in /sys/bus/pci/devices/{}/net/*; do case $(cat $netdev/phys_port_name 2> /dev/null) in *vf*) {set};; esac; done",
                self.facts.pf.address
            )];
        };
        let names = self
            .facts
            .vfs
            .iter()
            .filter(|vf| which.contains(&vf.index))
            .filter_map(|vf| vf.representor.as_ref()?.as_ref().ok());
        names.map(|port| Self::tc(port.netdev.name.as_str(), on)).collect()
    }
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

#[cfg(test)]
pub(super) mod tests {
    use super::super::facts::tests::{facts, representor, vf};
    use super::*;
    use kube_ovn::net::Eswitch;

    fn commands(steps: &[Step]) -> Vec<&str> {
        steps
            .iter()
            .flat_map(|step| step.commands.iter().map(String::as_str))
            .collect()
    }

    fn coming() -> Vec<PciAddress> {
        vec!["0000:03:00.2".parse().unwrap(), "0000:03:00.3".parse().unwrap()]
    }

    #[test]
    fn from_a_bare_pf() {
        let steps = prepare(&facts(), 2, &coming());
        assert_eq!(
            commands(&steps),
            [
                "echo 2 > /sys/class/net/ens1f0np0/device/sriov_numvfs",
                "echo 0000:03:00.2 > /sys/bus/pci/devices/0000:03:00.2/driver/unbind",
                "echo 0000:03:00.3 > /sys/bus/pci/devices/0000:03:00.3/driver/unbind",
                "devlink dev eswitch set pci/0000:03:00.0 mode switchdev",
                "ethtool -K ens1f0np0 hw-tc-offload on",
                "for netdev in /sys/bus/pci/devices/0000:03:00.0/net/*; do case $(cat $netdev/phys_port_name 2> /dev/null) in *vf*) \
                 ethtool -K ${netdev##*/} hw-tc-offload on;; esac; done",
                "echo 0000:03:00.2 > /sys/bus/pci/drivers_probe",
                "echo 0000:03:00.3 > /sys/bus/pci/drivers_probe",
                "ip link set ens1f0np0 up",
            ]
        );
        let back: Vec<&str> = steps
            .iter()
            .rev()
            .flat_map(|step| step.back.iter().map(String::as_str))
            .collect();
        assert_eq!(back.first(), Some(&"ip link set ens1f0np0 down"));
        assert_eq!(
            back.last(),
            Some(&"echo 0 > /sys/class/net/ens1f0np0/device/sriov_numvfs")
        );
    }

    #[test]
    fn only_what_is_missing() {
        let mut facts = facts();
        facts.pf.vf_count = 2;
        facts.vfs = vec![vf(0), vf(1)];
        assert_eq!(
            commands(&prepare(&facts, 2, &coming())).get(..3).unwrap(),
            [
                "echo 0000:03:00.2 > /sys/bus/pci/drivers/mlx5_core/unbind",
                "echo 0000:03:00.3 > /sys/bus/pci/drivers/mlx5_core/unbind",
                "devlink dev eswitch set pci/0000:03:00.0 mode switchdev",
            ],
            "the VFs stay"
        );
        facts.eswitch = Eswitch::Mode(EswitchMode::Switchdev);
        for vf in &mut facts.vfs {
            vf.representor = Some(Ok(representor(vf.index, true)));
        }
        let uplink = facts.uplink.as_mut().unwrap();
        (uplink.tc, uplink.up) = (Some(true), Some(true));
        assert_eq!(prepare(&facts, 2, &coming()), [], "nothing to do");
        facts.vfs[1].driver = None;
        facts.vfs[0].representor = Some(Ok(representor(0, false)));
        assert_eq!(
            commands(&prepare(&facts, 2, &coming())),
            [
                "ethtool -K rep0 hw-tc-offload on",
                "echo 0000:03:00.3 > /sys/bus/pci/drivers_probe"
            ]
        );
    }

    #[test]
    fn another_number_goes_by_way_of_none() {
        let mut facts = facts();
        facts.pf.vf_count = 1;
        facts.vfs = vec![vf(0)];
        facts.eswitch = Eswitch::Mode(EswitchMode::Switchdev);
        let steps = prepare(&facts, 2, &coming());
        assert_eq!(
            commands(&steps).get(..2).unwrap(),
            [
                "echo 0 > /sys/class/net/ens1f0np0/device/sriov_numvfs",
                "echo 2 > /sys/class/net/ens1f0np0/device/sriov_numvfs"
            ]
        );
        assert!(steps.iter().any(|step| step.action.takes_vfs()) && steps.iter().any(|step| step.action.interrupts()));
        assert!(
            !steps.iter().any(|step| step.action == Action::Unbind),
            "in switchdev mode already"
        );
    }

    #[test]
    fn ice_wants_no_vfs_when_the_mode_changes() {
        let mut facts = facts();
        facts.pf.driver = Some("ice".to_owned());
        facts.pf.vf_count = 2;
        facts.vfs = vec![vf(0), vf(1)];
        let actions = |steps: Vec<Step>| steps.into_iter().map(|step| step.action).collect::<Vec<_>>();
        let steps = actions(prepare(&facts, 2, &coming()));
        let switchdev = Action::SetMode(EswitchMode::Switchdev);
        assert_eq!(
            steps.get(..3).unwrap(),
            [Action::RemoveVfs, switchdev, Action::CreateVfs(2)]
        );
        assert!(!steps.contains(&Action::Unbind) && !steps.contains(&Action::Bind));
        let before = Before::now(&facts);
        facts.eswitch = Eswitch::Mode(EswitchMode::Switchdev);
        let legacy = Action::SetMode(EswitchMode::Legacy);
        assert_eq!(
            actions(reset(&facts, &before, &[])),
            [Action::RemoveVfs, legacy, Action::CreateVfs(2)]
        );
    }

    /// What a PF is after it was prepared; and the way back to each way that it can have been.
    #[test]
    fn back_to_how_it_was() {
        let bare = Before::now(&facts());
        let mut with_vfs = facts();
        with_vfs.pf.vf_count = 2;
        with_vfs.vfs = vec![vf(0), vf(1)];
        let two = Before::now(&with_vfs);
        let mut prepared = with_vfs.clone();
        prepared.eswitch = Eswitch::Mode(EswitchMode::Switchdev);
        let uplink = prepared.uplink.as_mut().unwrap();
        (uplink.tc, uplink.up) = (Some(true), Some(true));
        assert_eq!(
            commands(&reset(&prepared, &bare, &[])),
            [
                "echo 0 > /sys/class/net/ens1f0np0/device/sriov_numvfs",
                "devlink dev eswitch set pci/0000:03:00.0 mode legacy",
                "ethtool -K ens1f0np0 hw-tc-offload off",
                "ip link set ens1f0np0 down",
            ]
        );
        assert_eq!(
            commands(&reset(&prepared, &two, &[])),
            [
                "echo 0000:03:00.2 > /sys/bus/pci/drivers/mlx5_core/unbind",
                "echo 0000:03:00.3 > /sys/bus/pci/drivers/mlx5_core/unbind",
                "devlink dev eswitch set pci/0000:03:00.0 mode legacy",
                "echo 0000:03:00.2 > /sys/bus/pci/drivers/mlx5_core/bind",
                "echo 0000:03:00.3 > /sys/bus/pci/drivers/mlx5_core/bind",
                "ethtool -K ens1f0np0 hw-tc-offload off",
                "ip link set ens1f0np0 down",
            ]
        );
        // stopped after the VFs were taken from their driver
        let mut stopped = with_vfs.clone();
        stopped.vfs[1].driver = None;
        assert_eq!(
            commands(&reset(&stopped, &two, &[])),
            ["echo 0000:03:00.3 > /sys/bus/pci/drivers/mlx5_core/bind"]
        );
        assert_eq!(reset(&facts(), &bare, &[]), [], "nothing to do");
        // a flag of representors
        let off = Before {
            switchdev: true,
            representors_off: vec![1],
            ..two
        };
        for vf in &mut prepared.vfs {
            vf.representor = Some(Ok(representor(vf.index, true)));
        }
        assert_eq!(
            commands(&reset(&prepared, &off, &[])).first(),
            Some(&"ethtool -K rep1 hw-tc-offload off")
        );
    }
}
