//! Why a PF can't or must not be changed: one line each. Pure.

use kube_ovn::net::{Eswitch, EswitchMode};

use super::facts::Facts;
use super::plan::Step;

/// VFs that a message names; the others are only counted.
const SHOWN: usize = 4;

/// What keeps this PF from having `count` VFs in switchdev mode, whoever uses it.
pub(super) fn unfit(facts: &Facts, count: u32) -> Result<(), String> {
    let name = facts.name();
    let Some(driver) = &facts.pf.driver else {
        return Err(format!(
            "PF {name} has no driver: echo {0} > /sys/bus/pci/drivers_probe",
            facts.pf.address
        ));
    };
    match facts.eswitch {
        Eswitch::Mode(EswitchMode::Legacy | EswitchMode::Switchdev) => {}
        Eswitch::Mode(other) => {
            return Err(format!(
                "the eswitch of PF {name} is in mode {other}, expected legacy or switchdev"
            ));
        }
        Eswitch::NotManaged if driver == "mlx5_core" => {
            return Err(format!(
                "PF {name} manages no eswitch: it belongs to the DPU when this is the host of one (then this is done there), and a \
                 port in InfiniBand mode has none (mlxconfig -d {} set LINK_TYPE_P1=ETH)",
                facts.pf.address
            ));
        }
        Eswitch::NotManaged | Eswitch::Unknown => {
            return Err(format!(
                "driver {driver} of PF {name} has no switchdev mode (devlink knows no eswitch of it), and without that nothing is \
                 offloaded: it takes a NIC and a driver with switchdev mode, such as mlx5_core, nfp, bnxt_en or ice"
            ));
        }
    }
    if count > facts.pf.most_vfs {
        return Err(format!(
            "PF {name} can have {} VFs (sriov_totalvfs), and {count} are wanted: ask for less, or raise the number in the NIC's \
             firmware (Mellanox: mlxconfig -d {} set SRIOV_EN=1 NUM_OF_VFS={count}, then reboot)",
            facts.pf.most_vfs, facts.pf.address
        ));
    }
    facts
        .uplink
        .as_ref()
        .map(drop)
        .map_err(|why| format!("the uplink of PF {name} is not found: {why}"))
}

/// What keeps these steps from being done now.
pub(super) fn in_the_way(facts: &Facts, steps: &[Step]) -> Result<(), String> {
    let name = facts.name();
    if steps.iter().any(|step| step.action.takes_vfs()) {
        let in_use: Vec<String> = facts
            .vfs
            .iter()
            .filter_map(|vf| Some(format!("VF {}: {}", vf.address, vf.holder.as_ref()?.text())))
            .collect();
        if !in_use.is_empty() {
            let more = match in_use.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            let first = in_use
                .iter()
                .take(SHOWN)
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join("; ");
            return Err(format!(
                "{} of the {} VFs of PF {name} are in use, and would be taken from their pods: {first}{more}; end these pods first \
                 (kubectl drain)",
                in_use.len(),
                facts.vfs.len()
            ));
        }
    }
    if let (Some(bond), Ok(uplink)) = (&facts.bond, &facts.uplink)
        && steps.iter().any(|step| step.action.interrupts())
    {
        let uplink = &uplink.netdev.name;
        return Err(format!(
            "PF {name} is in {bond}, and the eswitch's mode can't be changed there: ip link set {uplink} nomaster, and that for the \
             other PFs of {bond} too; then this again for each; then ip link set {uplink} down, and ip link set {uplink} master {bond}"
        ));
    }
    Ok(())
}

/// Whether steps that interrupt the PF may be done; `carries`: what goes by it.
pub(super) fn may_interrupt(facts: &Facts, steps: &[Step], carries: &[String]) -> Result<(), String> {
    let interrupts = steps.iter().any(|step| step.action.interrupts());
    if !interrupts || carries.is_empty() {
        return Ok(());
    }
    Err(format!(
        "PF {} carries {}, which this would interrupt, and it may not come back by itself: where that may be, add --yes-disrupt",
        facts.name(),
        carries.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::{facts, vf};
    use super::super::holders::Holder;
    use super::super::plan::prepare;
    use super::*;

    #[track_caller]
    fn refused(result: Result<(), String>, parts: &[&str]) {
        let why = result.unwrap_err();
        for part in parts {
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(why.lines().count(), 1);
    }

    #[test]
    fn pfs_that_can_t() {
        assert_eq!(unfit(&facts(), 8), Ok(()));
        refused(
            unfit(&facts(), 9),
            &[
                "0000:03:00.0 (ens1f0np0) can have 8 VFs",
                "9 are wanted",
                "NUM_OF_VFS=9",
            ],
        );
        let mut other = facts();
        other.pf.driver = None;
        refused(unfit(&other, 2), &["has no driver", "drivers_probe"]);
        other.pf.driver = Some("igb".to_owned());
        other.eswitch = Eswitch::Unknown;
        refused(
            unfit(&other, 2),
            &["driver igb of PF 0000:03:00.0", "no switchdev mode"],
        );
        let mut host = facts();
        host.eswitch = Eswitch::NotManaged;
        refused(unfit(&host, 2), &["belongs to the DPU"]);
        host.eswitch = Eswitch::Mode(EswitchMode::Other(7));
        refused(unfit(&host, 2), &["in mode unknown (7)"]);
        let mut lost = facts();
        lost.uplink = Err("no netdev".to_owned());
        refused(unfit(&lost, 2), &["uplink of PF 0000:03:00.0 is not found: no netdev"]);
    }

    #[test]
    fn vfs_in_use() {
        let mut facts = facts();
        facts.pf.vf_count = 6;
        facts.vfs = (0..6).map(vf).collect();
        assert_eq!(in_the_way(&facts, &prepare(&facts, 2, &[])), Ok(()));
        for vf in &mut facts.vfs {
            vf.holder = Some(Holder::Attached {
                pod: "shop/web".to_owned(),
                ifname: "eth0".to_owned(),
                ended: false,
            });
        }
        refused(
            in_the_way(&facts, &prepare(&facts, 2, &[])),
            &[
                "6 of the 6 VFs of PF 0000:03:00.0",
                "VF 0000:03:00.2: pod shop/web has it as eth0",
                "and 2 more",
                "kubectl drain",
            ],
        );
        // nothing is taken from them
        assert_eq!(in_the_way(&facts, &[]), Ok(()));
    }

    #[test]
    fn a_bond() {
        let mut facts = facts();
        facts.bond = Some("bond0".parse().unwrap());
        refused(
            in_the_way(&facts, &prepare(&facts, 2, &[])),
            &[
                "is in bond0",
                "ip link set ens1f0np0 nomaster",
                "ip link set ens1f0np0 master bond0",
            ],
        );
        assert_eq!(
            in_the_way(&facts, &[]),
            Ok(()),
            "a prepared PF is put into its bond again"
        );
    }

    #[test]
    fn what_would_be_interrupted() {
        let (facts, carries) = (facts(), ["the default route (by ens1f0np0)".to_owned()]);
        let steps = prepare(&facts, 2, &[]);
        refused(
            may_interrupt(&facts, &steps, &carries),
            &["carries the default route (by ens1f0np0)", "--yes-disrupt"],
        );
        assert_eq!(may_interrupt(&facts, &steps, &[]), Ok(()));
        assert_eq!(may_interrupt(&facts, &[], &carries), Ok(()));
    }
}
