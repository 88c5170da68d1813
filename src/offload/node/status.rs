//! `node status`: PFs, their VFs, and who has them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use kube_ovn::device::{Kind, Pf};
use kube_ovn::net::{Eswitch, EswitchMode};
use kube_ovn::ovs::{self, Offload, Ovs};
use kube_ovn::state;
use serde_json::{Value, json};

use super::facts::{Facts, Links, Port, Vf, gather};
use super::holders::{Holder, Holders, Sources};
use crate::Status;
use crate::machine::{Machine, Source, block_on};
use crate::output::{Output, complain, shown, table};

/// Open vSwitch answers from memory.
const ANSWER: Duration = Duration::from_secs(2);

/// Shows each PF, its VFs, their representors, which pod has them, and the switches that decide about offload.
///
/// A pod is told by the plugin's own records; one that is only known from kubelet's checkpoint is marked so. MAC is the VF's own, or
/// the one that the PF administers while the VF is away. STATE is the representor's: up or down, and what it is a port of.
///
/// Exit status: 0 shown, 3 this node has no PF, or not that one, 4 something could not be asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kube-ovn-offload node status
  kube-ovn-offload node status --output json |
      jq -r '.pfs[].vfs[] | select(.pod == null) | .address'
      the VFs that are free")]
pub(crate) struct Arguments {
    /// Only this PF, by the name of its netdev or its PCI address.
    #[arg(long, value_name = "NAME|PCI")]
    pf: Option<String>,
    /// How to show the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    pub(super) source: Source,
    /// Another directory of records.
    #[arg(long, hide = true, value_name = "DIR", default_value = state::DIRECTORY)]
    state: PathBuf,
}

/// Writes what there is to `out`.
pub(crate) fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    let machine = match arguments.source.open() {
        Ok(machine) => machine,
        Err(why) => return fail(&why, Status::NoAnswer),
    };
    let pfs = match &arguments.pf {
        Some(text) => match super::find_pf(&machine.sysfs, text) {
            Ok(pf) => vec![pf],
            Err((why, status)) => return fail(&why, status),
        },
        None => match machine.sysfs.pfs() {
            Ok(pfs) if pfs.is_empty() => {
                return fail(
                    "this node has no PCI function with SR-IOV and a netdev",
                    Status::NoSuchThing,
                );
            }
            Ok(pfs) => pfs,
            Err(error) => return fail(&error.to_string(), Status::NoAnswer),
        },
    };
    let (found, problems) = match look(&machine, &arguments.state, pfs) {
        Ok(found) => found,
        Err(why) => return fail(&why, Status::NoAnswer),
    };
    let offload = machine.is_this.then(offload);
    // writing to a Vec can't fail
    let _ = match arguments.output {
        Output::Json => {
            let pfs: Vec<Value> = found.iter().map(object).collect();
            writeln!(
                out,
                "{:#}",
                json!({"open_vswitch": offload.as_ref().map(offload_object), "pfs": pfs})
            )
        }
        Output::Table => write!(out, "{}", tree(&found, offload.as_ref())),
    };
    for problem in &problems {
        complain(problem);
    }
    if problems.is_empty() {
        Status::Fine
    } else {
        Status::NoAnswer
    }
}

fn fail(why: &str, status: Status) -> Status {
    complain(why);
    status
}

/// The facts of each PF, and what could not be asked.
fn look(machine: &Machine, state: &Path, pfs: Vec<Pf>) -> Result<(Vec<Facts>, Vec<String>), String> {
    let mut problems = Vec::new();
    let holders = if machine.is_this || state != Path::new(state::DIRECTORY) {
        Holders::of(&Sources::of_this_node(state)).unwrap_or_else(|why| {
            problems.push(format!("what kubelet has given to pods can't be told: {why}"));
            Holders::recorded(state)
        })
    } else {
        Holders::nobody()
    };
    let links = Links::of(machine)?;
    let found: Result<Vec<Facts>, String> = pfs
        .into_iter()
        .map(|pf| gather(machine, &links, &holders, pf))
        .collect();
    Ok((found?, problems))
}

/// What Open vSwitch has been told about offload.
fn offload() -> Result<Offload, String> {
    let ovs = Ovs::at(Path::new(ovs::DIRECTORY));
    block_on(ovs.offload(Instant::now() + ANSWER))?.map_err(|error| error.to_string())
}

fn offload_object(offload: &Result<Offload, String>) -> Value {
    match offload {
        Ok(offload) => json!({"hw_offload": offload.hw_offload, "tc_policy": offload.tc_policy}),
        Err(why) => json!({"error": why}),
    }
}

fn mode(eswitch: Eswitch) -> String {
    match eswitch {
        Eswitch::Mode(EswitchMode::Legacy) => "legacy mode".to_owned(),
        Eswitch::Mode(EswitchMode::Switchdev) => "switchdev mode".to_owned(),
        Eswitch::Mode(mode @ EswitchMode::Other(_)) => format!("eswitch mode {mode}"),
        Eswitch::NotManaged => "manages no eswitch".to_owned(),
        Eswitch::Unknown => "no eswitch (devlink does not know it)".to_owned(),
    }
}

fn on_off(switch: Option<bool>) -> &'static str {
    match switch {
        Some(true) => "on",
        Some(false) => "off",
        None => "?",
    }
}

fn tree(found: &[Facts], offload: Option<&Result<Offload, String>>) -> String {
    let mut parts = Vec::new();
    match offload {
        Some(Ok(offload)) => parts.push(format!(
            "Open vSwitch: hw-offload {}, tc-policy {}\n",
            offload
                .hw_offload
                .as_deref()
                .map_or_else(|| "not set, so off".to_owned(), shown),
            offload
                .tc_policy
                .as_deref()
                .map_or_else(|| "not set, so none".to_owned(), shown),
        )),
        Some(Err(why)) => parts.push(format!("Open vSwitch: {}\n", shown(why))),
        None => {}
    }
    parts.extend(found.iter().map(branch));
    parts.join("\n")
}

/// A PF, and a line for each VF.
fn branch(facts: &Facts) -> String {
    let mut words = vec![
        facts.pf.driver.clone().unwrap_or_else(|| "no driver".to_owned()),
        mode(facts.eswitch),
        format!("{} of {} VFs", facts.pf.vf_count, facts.pf.most_vfs),
    ];
    match &facts.uplink {
        Ok(uplink) => {
            words.push(state(uplink));
            words.push(format!("hw-tc-offload {}", on_off(uplink.tc)));
        }
        Err(why) => words.push(why.clone()),
    }
    let mut text = format!("PF {}: {}\n", facts.name(), shown(&words.join(", ")));
    if facts.vfs.is_empty() {
        return text;
    }
    let header = [
        "  VF",
        "ADDRESS",
        "DRIVER",
        "NETDEV",
        "MAC",
        "REPRESENTOR",
        "STATE",
        "TC",
        "POD",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(facts.vfs.iter().map(row));
    let last = rows.len() - 1;
    for (number, line) in table(&rows).lines().enumerate() {
        let glyph = match number {
            0 => ' ',
            _ if number == last => '└',
            _ => '├',
        };
        text.push(glyph);
        text.push_str(line.get(1..).unwrap_or_default());
        text.push('\n');
    }
    for why in facts
        .vfs
        .iter()
        .filter_map(|vf| vf.representor.as_ref()?.as_ref().err())
    {
        text.push_str("  ! ");
        text.push_str(&shown(why));
        text.push('\n');
    }
    text
}

/// Up or down, and where.
fn state(port: &Port) -> String {
    let state = match port.up {
        Some(true) => "up",
        Some(false) => "down",
        None => "?",
    };
    match &port.master {
        Some(master) => format!("{state}, in {master}"),
        None => state.to_owned(),
    }
}

fn row(vf: &Vf) -> Vec<String> {
    let none = || "-".to_owned();
    let names: Vec<&str> = vf.netdevs.iter().map(|port| port.netdev.name.as_str()).collect();
    let (representor, state, tc) = match &vf.representor {
        Some(Ok(port)) => (port.netdev.name.to_string(), state(port), on_off(port.tc).to_owned()),
        Some(Err(_)) => ("not found!".to_owned(), none(), none()),
        None => (none(), none(), none()),
    };
    vec![
        format!("  {}", vf.index),
        vf.address.to_string(),
        vf.driver.clone().unwrap_or_else(|| "no driver!".to_owned()),
        if names.is_empty() { none() } else { names.join(",") },
        mac(vf).unwrap_or_else(none),
        representor,
        state,
        tc,
        vf.holder.as_ref().map_or_else(String::new, Holder::short),
    ]
}

fn mac(vf: &Vf) -> Option<String> {
    let own = vf.netdevs.iter().find_map(|port| port.mac);
    own.or(vf.admin_mac.filter(|mac| !mac.is_zero()))
        .map(|mac| mac.to_string())
}

fn object(facts: &Facts) -> Value {
    let port = |port: &Port| {
        json!({
            "name": port.netdev.name, "ifindex": port.netdev.ifindex, "up": port.up, "mac": port.mac,
            "hw_tc_offload": port.tc, "master": port.master,
        })
    };
    let vf = |vf: &Vf| {
        let (representor, problem) = match &vf.representor {
            Some(Ok(found)) => (port(found), None),
            Some(Err(why)) => (Value::Null, Some(why)),
            None => (Value::Null, None),
        };
        let kind = match vf.kind {
            Kind::Unbound => "unbound",
            Kind::Userspace => "userspace",
            Kind::Vdpa { .. } => "vdpa",
            Kind::Vf | Kind::Sf => "netdev",
        };
        let pod = vf.holder.as_ref().map(|holder| match holder {
            Holder::Attached { pod, ifname, ended } => json!({
                "by": if *ended { "ended_record" } else { "record" }, "name": pod, "interface": ifname,
            }),
            Holder::Unreadable => json!({"by": "unreadable_record"}),
            Holder::Given { pod, resource } => json!({"by": "kubelet", "name": pod, "resource": resource}),
            Holder::Elsewhere => json!({"by": "missing_netdev"}),
            Holder::Machine(group) => json!({"by": "vfio", "group": group}),
        });
        json!({
            "index": vf.index, "address": vf.address, "driver": vf.driver, "kind": kind,
            "netdevs": vf.netdevs.iter().map(port).collect::<Vec<_>>(), "admin_mac": vf.admin_mac,
            "representor": representor, "problem": problem, "pod": pod,
        })
    };
    let eswitch = match facts.eswitch {
        Eswitch::Mode(mode) => json!(mode.to_string()),
        Eswitch::NotManaged => json!("not_managed"),
        Eswitch::Unknown => Value::Null,
    };
    json!({
        "address": facts.pf.address, "driver": facts.pf.driver, "eswitch": eswitch,
        "vf_count": facts.pf.vf_count, "most_vfs": facts.pf.most_vfs,
        "uplink": facts.uplink.as_ref().ok().map(port), "bond": facts.bond,
        "vfs": facts.vfs.iter().map(vf).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
