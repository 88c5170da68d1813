//! The NIC: its driver, its eswitch, its VFs, its uplink.

use kube_ovn::device::Kind;
use kube_ovn::net::{Eswitch, EswitchMode};

use super::one;
use crate::doctor::facts::{DRIVERS, Facts, Nic, Vf};
use crate::doctor::verdict::{Check, Finding, few, word};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "nic",
        what: "there is a NIC with SR-IOV",
        look: nic,
    },
    Check {
        id: "nic-driver",
        what: "its driver can offload flows",
        look: driver,
    },
    Check {
        id: "vfs",
        what: "it has VFs",
        look: vfs,
    },
    Check {
        id: "eswitch-mode",
        what: "its eswitch is in switchdev mode",
        look: eswitch,
    },
    Check {
        id: "steering-mode",
        what: "an mlx5 puts rules into its NIC by itself (smfs), and not by its firmware",
        look: steering,
    },
    Check {
        id: "vf-driver",
        what: "each VF has a driver, and an IOMMU when it is for user space",
        look: vf_driver,
    },
    Check {
        id: "vf-order",
        what: "no VF was probed by its driver before the eswitch was in switchdev mode",
        look: vf_order,
    },
    Check {
        id: "uplink",
        what: "the PF's netdev is up and has a carrier",
        look: uplink,
    },
    Check {
        id: "bond",
        what: "the PF is in no bond, or in one that the NIC can offload",
        look: bond,
    },
];

/// The NICs that are to offload: those in switchdev mode, and those with VFs whose driver could; when there is no such one, those whose
/// driver could, and else all that there are. A node may have others for other things.
pub(super) fn meant(facts: &Facts) -> Result<Vec<&Nic>, Finding> {
    let all = match &facts.nics {
        Ok(nics) => nics,
        Err(why) => return Err(Finding::unknown(why)),
    };
    if all.is_empty() {
        return Err(Finding::irrelevant("there is no NIC with SR-IOV"));
    }
    let kinds: [fn(&Nic) -> bool; 3] = [
        |nic| nic.is_switchdev() || (nic.can_offload() && nic.pf.vf_count > 0),
        Nic::can_offload,
        |_| true,
    ];
    let found = kinds
        .iter()
        .map(|kind| all.iter().filter(|nic| kind(nic)).collect::<Vec<_>>());
    Ok(found.into_iter().find(|nics| !nics.is_empty()).unwrap_or_default())
}

/// What a look says of each of the NICs.
pub(super) fn each(facts: &Facts, look: impl Fn(&Nic) -> Vec<Finding>) -> Vec<Finding> {
    match meant(facts) {
        Ok(nics) => nics.into_iter().flat_map(look).collect(),
        Err(finding) => one(finding),
    }
}

fn nic(facts: &Facts) -> Vec<Finding> {
    let nics = match (&facts.nics, meant(facts)) {
        (Err(why), _) => return one(Finding::unknown(why)),
        (Ok(_), Ok(nics)) => nics,
        (Ok(_), Err(_)) => {
            return one(
                Finding::problem("no PCI function below /sys/bus/pci/devices has sriov_totalvfs and a netdev").note(
                    "there is no such NIC in this machine, or its driver is not loaded, or SR-IOV is off in its firmware or in the BIOS \
                     (for Mellanox: mstconfig -d ADDRESS set SRIOV_EN=1 NUM_OF_VFS=8, and a cold boot)",
                ),
            );
        }
    };
    let named = nics.iter().map(|nic| {
        let driver = nic.pf.driver.as_deref().unwrap_or("no driver");
        let count = format!("{} of {} VFs", nic.pf.vf_count, nic.pf.most_vfs);
        format!("{}: {}, {driver}, {count}", nic.name(), nic.ids)
    });
    one(Finding::ok(named.collect::<Vec<_>>().join("; ")))
}

fn driver(facts: &Facts) -> Vec<Finding> {
    each(facts, |nic| {
        let name = nic.name();
        one(match nic.pf.driver.as_deref() {
            Some(driver) if nic.can_offload() || nic.is_switchdev() => Finding::ok(format!("{name}: {driver}")),
            Some(driver) => Finding::problem(format!("{name}: {driver} is not known to offload flows")).note(format!(
                "drivers that are known to: {}; give pods VFs of a NIC with one of these",
                DRIVERS.join(", ")
            )),
            None => Finding::problem(format!("{name} has no driver"))
                .remedy(format!("echo {} > /sys/bus/pci/drivers_probe", nic.pf.address)),
        })
    })
}

fn vfs(facts: &Facts) -> Vec<Finding> {
    each(facts, |nic| {
        let (name, address) = (nic.name(), &nic.pf.address);
        one(match (nic.pf.vf_count, nic.pf.most_vfs) {
            (0, 0) => Finding::problem(format!("{name}: sriov_totalvfs is 0"))
                .note("allow VFs in its firmware (for Mellanox: mstconfig -d ADDRESS set SRIOV_EN=1 NUM_OF_VFS=8, and a cold boot)"),
            (0, most) => Finding::problem(format!("{name}: sriov_numvfs is 0, sriov_totalvfs {most}"))
                .remedy(format!("echo {} > /sys/bus/pci/devices/{address}/sriov_numvfs", most.min(4)))
                .note(format!("each pod takes one; kube-ovn-offload node prepare --pf {address} --vfs N does this and all that follows")),
            (count, most) => Finding::ok(format!("{name}: {count} of {most}")),
        })
    })
}

/// Lines that run `command` for each VF; nothing for none.
fn for_each_vf<'a>(vfs: impl Iterator<Item = &'a Vf>, command: &str) -> Option<String> {
    let addresses: Vec<&str> = vfs.map(|vf| vf.address.as_str()).collect();
    match addresses.as_slice() {
        [] => None,
        [one] => Some(command.replace("$vf", one)),
        _ => Some(format!("for vf in {}; do {command}; done", addresses.join(" "))),
    }
}

fn eswitch(facts: &Facts) -> Vec<Finding> {
    each(facts, |nic| {
        let (name, address) = (nic.name(), &nic.pf.address);
        one(match &nic.eswitch {
            Err(why) => Finding::unknown(why),
            Ok(Eswitch::Mode(EswitchMode::Switchdev)) => {
                Finding::ok(format!("devlink says of pci/{address}: switchdev"))
            }
            Ok(Eswitch::Mode(mode)) => to_switchdev(
                nic,
                Finding::problem(format!("{name}: devlink says {mode}, so that no VF has a representor")),
            ),
            Ok(Eswitch::NotManaged) => Finding::problem(format!("{name}: its driver manages no eswitch")).note(
                "on the host of a DPU the eswitch belongs to the DPU: take the DPU out of its mode, or run Kube-OVN there; a port in \
                 InfiniBand mode must become Ethernet (mstconfig -d ADDRESS set LINK_TYPE_P1=2)",
            ),
            Ok(Eswitch::Unknown) if nic.representors().next().is_some() => {
                Finding::ok(format!("{name}: devlink does not know it, and its VFs have representors"))
            }
            Ok(Eswitch::Unknown) if nic.can_offload() => {
                Finding::unknown(format!("{name}: devlink does not know pci/{address}, and no VF has a representor"))
                    .note("the driver is older than its eswitch, or the firmware has none (for Corigine: the flower firmware)")
            }
            Ok(Eswitch::Unknown) => Finding::irrelevant(format!("{name}: it has no eswitch")),
        })
    })
}

/// The guide's order: VFs without a driver, switchdev, and the drivers again.
fn to_switchdev(nic: &Nic, mut finding: Finding) -> Finding {
    let address = &nic.pf.address;
    let bound = || nic.vfs.iter().filter(|vf| vf.driver.is_some());
    let all = "/sys/bus/pci/devices/$vf/driver/unbind";
    finding
        .remedy
        .extend(for_each_vf(bound(), &format!("echo $vf > {all}")));
    finding
        .remedy
        .push(format!("devlink dev eswitch set pci/{address} mode switchdev"));
    finding
        .remedy
        .extend(for_each_vf(bound(), "echo $vf > /sys/bus/pci/drivers_probe"));
    let in_pods = nic
        .vfs
        .iter()
        .filter(|vf| vf.netdevs.is_empty() && Kind::of_driver(vf.driver.as_deref()) == Kind::Vf);
    let in_pods: Vec<&str> = in_pods.map(|vf| vf.address.as_str()).collect();
    let in_one = format!(
        "kube-ovn-offload node prepare --pf {address} --vfs {}",
        nic.pf.vf_count.max(1)
    );
    finding.note = if in_pods.is_empty() {
        format!("{in_one} does the same, looks first who uses the PF, and can take it back")
    } else {
        format!(
            "{} may be in pods, which lose them: drain the node first; or see what {in_one} says",
            few(in_pods)
        )
    };
    finding
}

/// dmfs is "optimized for throughput with a small amount of rules" (Kube-OVN's guide, "Steering Mode"): with it a rule takes a command of the
/// firmware, and flows of short connections come too late to be offloaded.
fn steering(facts: &Facts) -> Vec<Finding> {
    each(facts, |nic| {
        let (name, address) = (nic.name(), &nic.pf.address);
        one(match &nic.steering {
            Err(why) => Finding::unknown(why),
            Ok(None) => Finding::irrelevant(format!("{name}: its driver has no flow_steering_mode")),
            Ok(Some(mode)) if mode == "dmfs" => Finding::warning(format!(
                "{name}: devlink's flow_steering_mode is dmfs: a rule takes a command of the firmware, which is slow where flows come and go"
            ))
            .remedy(format!("devlink dev param set pci/{address} name flow_steering_mode value smfs cmode runtime"))
            .note("to be set before switchdev mode"),
            Ok(Some(mode)) => Finding::ok(format!("{name}: devlink's flow_steering_mode is {mode}")),
        })
    })
}

fn vf_driver(facts: &Facts) -> Vec<Finding> {
    each(facts, |nic| {
        if nic.vfs.is_empty() {
            return one(Finding::irrelevant(format!("{}: it has no VFs", nic.name())));
        }
        let mut findings = Vec::new();
        let unbound = || nic.vfs.iter().filter(|vf| vf.driver.is_none());
        if let Some(line) = for_each_vf(unbound(), "echo $vf > /sys/bus/pci/drivers_probe") {
            let addresses = few(unbound().map(|vf| &vf.address));
            findings.push(
                Finding::warning(format!(
                    "{}: no driver is bound to {addresses}: they can't be attached",
                    nic.name()
                ))
                .remedy(line),
            );
        }
        let userspace = |vf: &&Vf| Kind::of_driver(vf.driver.as_deref()) == Kind::Userspace;
        let without: Vec<&str> = nic
            .vfs
            .iter()
            .filter(userspace)
            .filter(|vf| !vf.has_iommu_group)
            .map(|vf| vf.address.as_str())
            .collect();
        if !without.is_empty() {
            findings.push(
                Finding::problem(format!("{}: {} are for user space and in no IOMMU group", nic.name(), few(without)))
                    .note("switch VT-d or AMD-Vi on in the BIOS, and boot with intel_iommu=on iommu=pt or amd_iommu=on iommu=pt"),
            );
        }
        if findings.is_empty() {
            let mut drivers: Vec<&str> = nic.vfs.iter().filter_map(|vf| vf.driver.as_deref()).collect();
            let count = drivers.len();
            drivers.sort_unstable();
            drivers.dedup();
            findings.push(Finding::ok(format!(
                "{}: {count} VFs with {}",
                nic.name(),
                drivers.join(", ")
            )));
        }
        findings
    })
}

/// mlx5 makes a VF's representor before it makes the VF, or when the eswitch goes to switchdev mode; so a VF whose netdev is older than its
/// representor was probed in legacy mode. Indices of netdevs only grow. Other drivers make representors when the VF's own driver
/// has already come.
fn vf_order(facts: &Facts) -> Vec<Finding> {
    each(facts, |nic| {
        if nic.pf.driver.as_deref() != Some("mlx5_core") || !nic.is_switchdev() {
            return one(Finding::irrelevant(format!(
                "{}: it is no mlx5 in switchdev mode",
                nic.name()
            )));
        }
        let older = |vf: &&Vf| {
            let representor = vf.representor.as_ref().map(|link| link.netdev.ifindex);
            let own = vf.netdevs.first().map(|netdev| netdev.ifindex);
            own.zip(representor.ok())
                .is_some_and(|(own, representor)| own < representor)
        };
        let older: Vec<&Vf> = nic.vfs.iter().filter(older).collect();
        let rebind = "echo $vf > /sys/bus/pci/drivers/mlx5_core/unbind; echo $vf > /sys/bus/pci/drivers/mlx5_core/bind";
        let Some(line) = for_each_vf(older.iter().copied(), rebind) else {
            return one(Finding::ok(format!(
                "{}: no VF on the host is older than its representor",
                nic.name()
            )));
        };
        let addresses = few(older.iter().map(|vf| &vf.address));
        one(Finding::warning(format!(
            "{}: the netdevs of {addresses} are older than their representors: they were probed in legacy mode",
            nic.name()
        ))
        .remedy(line))
    })
}

fn uplink(facts: &Facts) -> Vec<Finding> {
    each(facts, |nic| {
        let link = match &nic.uplink {
            Ok(link) => link,
            Err(why) => return one(Finding::problem(why)),
        };
        let name = &link.netdev.name;
        one(match &link.state {
            None => Finding::unknown(format!("{name} has gone since it was found")),
            Some(state) if !state.up => Finding::problem(format!("{name} is down (/sys/class/net/{name}/flags)"))
                .remedy(format!("ip link set {} up", word(name.as_str()))),
            Some(state) if state.carrier == Some(false) => Finding::warning(format!(
                "{name} is up and has no carrier (/sys/class/net/{name}/carrier)"
            ))
            .note("is the cable in, and the switch's port on?"),
            Some(_) => Finding::ok(format!("{name} is up")),
        })
    })
}

/// The modes of bonds that mlx5 offloads (VF LAG; Kube-OVN's guide, "SR-IOV VF LAG").
const LAG_MODES: [&str; 3] = ["active-backup", "balance-xor", "802.3ad"];

fn bond(facts: &Facts) -> Vec<Finding> {
    each(facts, |nic| {
        let name = nic.name();
        let Some((bond, mode)) = &nic.bond else {
            return one(Finding::irrelevant(format!("{name} is in no bond")));
        };
        // a bridge of Open vSwitch is no bond
        let Some(mode) = mode else {
            return one(Finding::irrelevant(format!(
                "{name} is a port of {bond}, which is no bond"
            )));
        };
        let uplink = nic.uplink.as_ref().map(|link| link.netdev.name.to_string());
        let leave = format!("ip link set {} nomaster", word(&uplink.unwrap_or_default()));
        let is_mlx5 = nic.pf.driver.as_deref() == Some("mlx5_core");
        one(if is_mlx5 && LAG_MODES.contains(&mode.as_str()) {
            Finding::ok(format!("{name} is in {bond} with mode {mode}, which mlx5 offloads (VF LAG)"))
                .note("all PFs of the bond must be ports of one card, all in switchdev mode, and no VF bound when the bond is made")
        } else if is_mlx5 {
            Finding::problem(format!(
                "{name} is in {bond} with mode {mode}; mlx5 offloads {}",
                LAG_MODES.join(", ")
            ))
            .remedy(leave)
        } else {
            Finding::problem(format!("{name} is in {bond}, and only mlx5 is known to offload a bond")).remedy(leave)
        })
    })
}
