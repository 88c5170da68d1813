//! devlink's answers as a text that one can read, one line each:
//!
//! ```text
//! devlink pci/0000:03:00.0 eswitch switchdev
//! devlink pci/0000:03:00.0/65535 netdev p0/10 flavour physical port 0
//! devlink pci/0000:03:00.0/1 netdev eth0/11 flavour pcivf controller 0 pfnum 0 vfnum 0 hw_addr 00:00:00:00:00:00
//! ```
//!
//! An eswitch is `switchdev`, `legacy` or `not-managed`; a PF without such a line is unknown to devlink.

use super::{Devlink, Eswitch, EswitchMode, Flavour, Handle, Port};
use crate::net::Error;
use crate::types::{Invalid, Netdev, PciAddress};

/// What devlink answered on some machine.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    eswitches: Vec<(Handle, Eswitch)>,
    ports: Vec<Port>,
}

impl Recorded {
    /// Adds what one line says, without the word `devlink` before it.
    pub fn add(&mut self, line: &str) -> Result<(), Invalid> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let refuse = |why: &str| Err(Invalid(format!("{line:?}: {why}")));
        match words.as_slice() {
            [instance, "eswitch", mode] => {
                let Some(handle) = handle(instance) else {
                    return refuse("expected BUS/DEVICE");
                };
                let eswitch = match *mode {
                    "switchdev" => Eswitch::Mode(EswitchMode::Switchdev),
                    "legacy" => Eswitch::Mode(EswitchMode::Legacy),
                    "not-managed" => Eswitch::NotManaged,
                    other => match other.parse() {
                        Ok(number) => Eswitch::Mode(EswitchMode::Other(number)),
                        Err(_) => return refuse("expected eswitch switchdev, legacy or not-managed"),
                    },
                };
                self.eswitches.push((handle, eswitch));
                Ok(())
            }
            [instance, rest @ ..] => match port(instance, rest) {
                Some(port) => {
                    self.ports.push(port);
                    Ok(())
                }
                None => refuse("is not a port as devlink shows it"),
            },
            [] => refuse("is empty"),
        }
    }
}

fn handle(text: &str) -> Option<Handle> {
    let (bus, name) = text.split_once('/')?;
    (!bus.is_empty() && !name.is_empty() && !name.contains('/')).then(|| Handle {
        bus: bus.to_owned(),
        name: name.to_owned(),
    })
}

fn port(instance: &str, words: &[&str]) -> Option<Port> {
    let (instance, index) = instance.rsplit_once('/')?;
    let mut port = Port {
        handle: handle(instance)?,
        index: index.parse().ok()?,
        flavour: Flavour::Other(u16::MAX),
        external: false,
        controller: None,
        netdev: None,
        hw_addr: None,
    };
    let (mut flavour, mut pf, mut vf, mut sf, mut number) = ("", None, None, None, None);
    for pair in words.chunks(2) {
        let [key, value] = pair else { return None };
        let parsed = || value.parse::<u32>().ok().map(Some);
        match *key {
            "flavour" => flavour = value,
            "port" => number = parsed()?,
            "pfnum" => pf = parsed()?,
            "vfnum" => vf = parsed()?,
            "sfnum" => sf = parsed()?,
            "controller" => port.controller = parsed()?,
            "external" => port.external = value.parse().ok()?,
            "hw_addr" => port.hw_addr = Some(value.parse().ok()?),
            "netdev" => {
                let (name, ifindex) = value.split_once('/')?;
                port.netdev = Some(Netdev {
                    name: name.parse().ok()?,
                    ifindex: ifindex.parse().ok()?,
                });
            }
            _ => return None,
        }
    }
    port.flavour = match flavour {
        "physical" => Flavour::Physical { number },
        "pcipf" => Flavour::Pf { pf },
        "pcivf" => Flavour::Vf { pf, vf },
        "pcisf" => Flavour::Sf { pf, sf },
        other => Flavour::Other(other.parse().ok()?),
    };
    Some(port)
}

impl Devlink for Recorded {
    fn eswitch(&self, pf: &PciAddress) -> Result<Eswitch, Error> {
        let handle = Handle::pci(pf);
        let found = self.eswitches.iter().find(|(instance, _)| *instance == handle);
        Ok(found.map_or(Eswitch::Unknown, |(_, eswitch)| *eswitch))
    }

    fn port(&self, of: &Handle, index: u32) -> Result<Option<Port>, Error> {
        let it = |port: &&Port| port.handle == *of && port.index == index;
        Ok(self.ports.iter().find(it).cloned())
    }

    /// All of them, as kernels before 6.6 do.
    fn ports(&self, _: &Handle) -> Result<Vec<Port>, Error> {
        Ok(self.ports.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        let lines = [
            "pci/0000:03:00.0/65535 netdev p0/10 flavour physical port 0",
            "auxiliary/mlx5_core.eth.5/262143 netdev p1/11 flavour physical port 1",
            "pci/0000:03:00.0/1 netdev eth0/12 flavour pcivf controller 0 pfnum 0 vfnum 0 hw_addr 02:00:00:00:00:01",
            "pci/0000:03:00.0/2 flavour pcivf controller 1 pfnum 0 vfnum 0 external true",
            "pci/0000:03:00.0/32768 netdev eth1/13 flavour pcisf controller 0 pfnum 0 sfnum 88",
            "pci/0000:03:00.0/3 flavour pcipf controller 1 pfnum 0 external true",
            "pci/0000:03:00.0/4 flavour 5",
        ];
        let mut recorded = Recorded::default();
        for line in lines {
            recorded.add(line).unwrap();
        }
        let ports = recorded.ports(&handle("pci/x").unwrap()).unwrap();
        assert_eq!(ports.iter().map(ToString::to_string).collect::<Vec<_>>(), lines);
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "pci/0000:03:00.0",
            "pci/0000:03:00.0 eswitch on",
            "pci/0000:03:00.0/x flavour physical",
            "pci/0000:03:00.0/1 flavour",
            "pci/0000:03:00.0/1 flavour pcivf vfnum -1",
            "pci/0000:03:00.0/1 netdev eth0 flavour pcivf",
            "1 flavour pcivf",
            "pci/0000:03:00.0/1 colour pcivf",
        ] {
            assert!(Recorded::default().add(line).is_err(), "{line:?}");
        }
    }
}
