//! `vf ADDRESS`: the resolver's answer, and its reasons.

use std::io::Write;

use clap::Args;
use kube_ovn::device::{self, Kind, Sysfs};
use kube_ovn::net;
use kube_ovn::resolve::{Error, Note, Resolved, Uplink, explain, uplink};
use kube_ovn::types::{DeviceId, Netdev};
use serde_json::{Value, json};

use crate::Status;
use crate::machine::Source;
use crate::output::{Output, complain, table};

/// Shows the representor of a VF or sub-function, how it was found, and what was ruled out.
///
/// Exit status: 0 found, 1 no representor or not a device that the plugin attaches, 2 wrong arguments, 3 no such device or not
/// a VF or sub-function, 4 the kernel did not answer.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kube-ovn-offload vf 0000:84:00.2
  kube-ovn-offload vf 0000:84:00.2 --output json |
      jq -r .found.representor.name")]
pub(crate) struct Arguments {
    /// PCI address such as 0000:03:00.2, or sub-function such as `mlx5_core.sf.4`.
    address: DeviceId,
    /// How to show the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    source: Source,
}

type Explained = (Result<Resolved, Error>, Vec<Note>, Option<Uplink>);

/// Writes the answer to `out`, and a failure to stderr as well.
pub(crate) fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    let (result, notes, uplink) = match ask(arguments) {
        Ok(explained) => explained,
        Err(message) => {
            complain(&message);
            return Status::NoAnswer;
        }
    };
    let (status, unusable) = match &result {
        Ok(found) => match unusable(found) {
            Some(why) => (Status::Wrong, Some(why)),
            None => (Status::Fine, None),
        },
        Err(error) => (status(error), Some(error.to_string())),
    };
    match arguments.output {
        Output::Json => {
            let object = object(
                &arguments.address,
                &result,
                unusable.as_deref(),
                &notes,
                uplink.as_ref(),
            );
            let _ = writeln!(out, "{object:#}");
        }
        Output::Table => {
            if let Ok(found) = &result {
                let _ = writeln!(out, "{}", table(&facts(found, uplink.as_ref())));
            }
            let mut rows = vec![["SOURCE", "VERDICT", "WHAT"].map(str::to_owned).to_vec()];
            rows.extend(
                notes
                    .iter()
                    .map(|note| vec![note.source.to_string(), note.verdict.to_string(), note.text.clone()]),
            );
            if !notes.is_empty() {
                let _ = write!(out, "{}", table(&rows));
            }
        }
    }
    if let Some(why) = unusable {
        complain(&why);
    }
    status
}

fn ask(arguments: &Arguments) -> Result<Explained, String> {
    let machine = arguments.source.open()?;
    Ok(explained(&machine.sysfs, &machine.devlink, &arguments.address))
}

fn explained(sysfs: &Sysfs, devlink: &impl net::Devlink, device: &DeviceId) -> Explained {
    let (result, notes) = explain(sysfs, devlink, device);
    let uplink = match &result {
        Ok(found) => uplink(sysfs, devlink, &found.pf).ok(),
        Err(_) => None,
    };
    (result, notes, uplink)
}

/// Why the plugin would not attach a device whose representor is known.
fn unusable(found: &Resolved) -> Option<String> {
    let device = &found.device;
    match &found.kind {
        Kind::Vf | Kind::Userspace => None,
        Kind::Unbound => Some(format!(
            "VF {device} has no driver bound: echo {device} > /sys/bus/pci/drivers_probe"
        )),
        Kind::Vdpa { name, .. } => Some(format!(
            "{device} carries the vDPA device {name}, and the plugin attaches the netdev of a VF only: vdpa dev del {name}, or \
             choose a device plugin pool without vdpaType"
        )),
        Kind::Sf => Some(format!(
            "{device} is a sub-function, which kube-ovn-daemon can't attach: choose a device plugin pool of VFs"
        )),
    }
}

fn status(error: &Error) -> Status {
    match error {
        Error::Device(device::Error::Io { .. } | device::Error::Malformed { .. }) | Error::Net(_) => Status::NoAnswer,
        Error::Device(device::Error::Unlisted { .. }) => Status::Wrong,
        Error::Device(_) => Status::NoSuchThing,
        _ => Status::Wrong,
    }
}

fn kind(found: &Resolved) -> &'static str {
    match found.kind {
        Kind::Vf => "VF with a netdev",
        Kind::Userspace => "VF for user space",
        Kind::Vdpa { .. } => "vDPA",
        Kind::Unbound => "VF without a driver",
        Kind::Sf => "sub-function",
    }
}

fn show(netdev: &Netdev) -> String {
    format!("{} (index {})", netdev.name, netdev.ifindex)
}

fn facts(found: &Resolved, uplink: Option<&Uplink>) -> Vec<Vec<String>> {
    let none = || "none here".to_owned();
    let netdevs: Vec<String> = found.netdevs.iter().map(show).collect();
    let uplink = uplink.map_or_else(none, |uplink| match &uplink.bond {
        Some(bond) => format!("{}, in {bond}", show(&uplink.netdev)),
        None => show(&uplink.netdev),
    });
    let mut rows = vec![
        ("DEVICE", found.device.to_string()),
        ("KIND", kind(found).to_owned()),
        ("NUMBER", found.number.to_string()),
        ("PF", found.pf.to_string()),
        ("DRIVER", found.driver.clone().unwrap_or_else(|| "none".to_owned())),
        ("NETDEV", if netdevs.is_empty() { none() } else { netdevs.join(", ") }),
        ("UPLINK", uplink),
        ("REPRESENTOR", show(&found.representor.netdev)),
        ("PORT", found.representor.port.to_string()),
        ("FOUND BY", found.found.to_string()),
    ];
    if let Kind::Vdpa { name, driver } = &found.kind {
        let driver = driver.as_deref().unwrap_or("no driver");
        rows.insert(2, ("VDPA", format!("{name} ({driver})")));
    }
    if let Some(mac) = found.admin_mac {
        rows.push(("ADMIN MAC", mac.to_string()));
    }
    rows.into_iter()
        .map(|(key, value)| vec![key.to_owned(), value])
        .collect()
}

fn object(
    device: &DeviceId,
    result: &Result<Resolved, Error>,
    unusable: Option<&str>,
    notes: &[Note],
    uplink: Option<&Uplink>,
) -> Value {
    let netdev = |netdev: &Netdev| json!({"name": netdev.name, "ifindex": netdev.ifindex});
    let notes: Vec<Value> = notes
        .iter()
        .map(|note| {
            json!({
                "source": note.source.to_string(), "verdict": note.verdict.to_string(), "what": note.text,
            })
        })
        .collect();
    let found = result.as_ref().ok().map(|found| {
        let vdpa = match &found.kind {
            Kind::Vdpa { name, driver } => json!({"name": name, "driver": driver}),
            _ => Value::Null,
        };
        json!({
            "kind": kind(found),
            "vdpa": vdpa,
            "number": found.number,
            "pf": found.pf,
            "driver": found.driver,
            "netdevs": found.netdevs.iter().map(netdev).collect::<Vec<_>>(),
            "uplink": uplink.map(|uplink| json!({
                "name": uplink.netdev.name, "ifindex": uplink.netdev.ifindex, "bond": uplink.bond,
            })),
            "representor": netdev(&found.representor.netdev),
            "port": found.representor.port.to_string(),
            "found_by": found.found.to_string(),
            "admin_mac": found.admin_mac.map(|mac| mac.to_string()),
        })
    });
    json!({
        "device": device.to_string(),
        "found": found,
        "error": unusable,
        "steps": notes,
    })
}
