//! `node`: the NICs of this node: prepared, shown, put back.

mod checks;
mod execute;
mod facts;
mod holders;
mod journal;
mod kubelet;
mod persist;
mod plan;
mod prepare;
mod render;
mod reset;
mod status;
mod traffic;

use clap::Subcommand;
use kube_ovn::device::{self, NotAVf, Pf, PortName, Sysfs};
use kube_ovn::types::{IfName, PciAddress};

use crate::Status;
use crate::output::complain;

/// What to do with the node's NICs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Prepare(prepare::Arguments),
    Reset(reset::Arguments),
    Status(status::Arguments),
}

/// Runs one of them.
pub(crate) fn run(command: &Command, out: &mut Vec<u8>) -> Status {
    let source = match command {
        Command::Prepare(arguments) => &arguments.source,
        Command::Reset(arguments) => &arguments.source,
        Command::Status(arguments) => &arguments.source,
    };
    // devlink and the namespaces of others answer nobody else
    if source.is_this_machine() && !nix::unistd::geteuid().is_root() {
        complain(
            "only root may ask this node's NICs, and change them: run this with sudo, or in a privileged container of the host's network",
        );
        return Status::NoAnswer;
    }
    match command {
        Command::Prepare(arguments) => prepare::run(arguments, out),
        Command::Reset(arguments) => reset::run(arguments, out),
        Command::Status(arguments) => status::run(arguments, out),
    }
}

/// The PF that an operator means by the name of its netdev or its address; or what is wrong with that.
fn find_pf(sysfs: &Sysfs, text: &str) -> Result<Pf, (String, Status)> {
    let no_such = |why: String| (why, Status::NoSuchThing);
    let unanswered = |error: device::Error| match error {
        device::Error::NoSuchDevice { address } => no_such(format!("no PCI device {address} on this node")),
        other => (other.to_string(), Status::NoAnswer),
    };
    let address = match text.parse::<PciAddress>() {
        Ok(address) => address,
        Err(_) => {
            let name: IfName = text.parse().map_err(|_| {
                no_such(format!(
                    "{text:?} is neither a PCI address such as 0000:03:00.0 nor a netdev's name"
                ))
            })?;
            by_name(sysfs, &name)?
        }
    };
    if let Some(pf) = sysfs.pf(&address).map_err(unanswered)? {
        return Ok(pf);
    }
    Err(match sysfs.vf(&address) {
        Ok(vf) => no_such(format!("{text} is VF {} of PF {}: give the PF", vf.index, vf.pf)),
        Err(device::Error::NotAVf {
            reason: NotAVf::NoSriov,
            ..
        }) => no_such(format!(
            "{text} has no SR-IOV (no sriov_totalvfs in sysfs): it must be on in the NIC's firmware and in the BIOS, and the \
             driver must know it"
        )),
        Err(other) => unanswered(other),
    })
}

/// The PCI function of a netdev that is the PF's own.
fn by_name(sysfs: &Sysfs, name: &IfName) -> Result<PciAddress, (String, Status)> {
    let no_such = |why: String| (why, Status::NoSuchThing);
    if !sysfs.has_netdev(name) {
        return Err(no_such(format!("no netdev {name} on this node")));
    }
    if sysfs.is_bond(name) {
        return Err(no_such(format!(
            "{name} is a bond: give the PFs in it, one after the other"
        )));
    }
    let function = sysfs
        .function_above(name)
        .map_err(|error| (error.to_string(), Status::NoAnswer))?;
    let function = function.ok_or_else(|| no_such(format!("{name} is the netdev of no PCI function")))?;
    let ports = sysfs
        .ports(&function, |_| false)
        .map_err(|error| (error.to_string(), Status::NoAnswer))?;
    match ports
        .iter()
        .find(|port| port.netdev.name == *name)
        .and_then(|port| port.name)
    {
        Some(port @ (PortName::Vf { .. } | PortName::Sf { .. })) => Err(no_such(format!(
            "{name} is a representor ({port}) of PF {function}: give the PF"
        ))),
        _ => Ok(function),
    }
}
