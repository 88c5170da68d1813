use super::*;
use crate::node::facts::tests::{facts, representor, vf};
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
