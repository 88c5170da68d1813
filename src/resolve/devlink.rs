//! The representor by devlink's ports. A port says which function is behind it in numbers of the driver, not in a name that
//! has to be parsed, and names its netdev by index; drivers that have such ports make the port names of sysfs from them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::notes::{Notes, Source, Verdict};
use super::uplink::{MLX5, MLX5_UPLINK, mlx5_index, wire};
use super::{Answer, Error, Found, Representor, Search, own_number};
use crate::device::{Function, PortName};
use crate::net::devlink::{Devlink, Flavour, Handle, Port};
use crate::net::{Eswitch, EswitchMode};
use crate::types::DeviceId;

/// A port loses its netdev for a moment when the eswitch or the netdev is set up. Nothing else runs in this process, so the
/// wait is a sleep.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(30);

/// PF number and VF or sub-function number of a port.
#[derive(Clone, Copy)]
struct Numbers {
    pf: Option<u32>,
    own: u32,
}

impl<D: Devlink> Search<'_, D> {
    /// Nothing when devlink has no ports of VFs (or of sub-functions) for this PF: bnxt has none, and old kernels don't number
    /// them.
    pub(super) fn by_devlink(&self, eswitch: Eswitch, notes: &mut Notes) -> Result<Option<Answer>, Error> {
        if eswitch != Eswitch::Mode(EswitchMode::Switchdev) {
            return Ok(None);
        }
        let handle = Handle::pci(&self.function.pf);
        if let Some(answer) = self.by_index(&handle, notes)? {
            return Ok(Some(answer));
        }
        let mut tries = 1;
        loop {
            let ports = self.devlink.ports(&handle)?;
            let Some(port) = self.port(&handle, &ports, notes)? else {
                return Ok(None);
            };
            let Some((netdev, numbers)) = port.netdev.clone().zip(self.numbers(port)) else {
                if tries == TRIES {
                    return Err(Error::NoNetdev {
                        what: self.what(),
                        port: port.to_string(),
                        milliseconds: (PAUSE * (TRIES - 1)).as_millis(),
                    });
                }
                tries += 1;
                std::thread::sleep(PAUSE);
                continue;
            };
            notes.add(Source::Devlink, Verdict::Chosen, || port.to_string());
            return Ok(Some(Answer {
                representor: Representor {
                    netdev,
                    port: self.port_name(numbers),
                },
                uplink: wire(self.sysfs, &self.function.pf, &ports)?,
                admin_mac: port.hw_addr,
                found: Found::Port {
                    handle,
                    index: port.index,
                },
            }));
        }
    }

    /// The port of an mlx5 VF, by the index that the driver gives it. Then the ports of the other VFs are not read, each of which
    /// can cost a command to the NIC's firmware (`mlx5_devlink_port_fn_max_io_eqs_get`, 6.10).
    ///
    /// VF n is vport n + 1. As the index is a guess ([`mlx5_index`]), the port must say itself that it is the VF's, in numbers
    /// that can't be another's whatever ports there are besides: PF number, PCI function and, where the uplink is a port of
    /// this instance, the uplink's port number are the same (see [`own_number`]). Else all ports are read.
    fn by_index(&self, handle: &Handle, notes: &mut Notes) -> Result<Option<Answer>, Error> {
        let Function {
            device,
            driver,
            pf,
            number,
            ..
        } = self.function;
        if driver.as_deref() != Some(MLX5) || !matches!(device, DeviceId::Pci(_)) || *number >= MLX5_UPLINK {
            return Ok(None);
        }
        let own = pf.function();
        let Some(port) = self.devlink.port(handle, mlx5_index(pf, number + 1))? else {
            return Ok(None);
        };
        let is_the_vfs = port.flavour
            == (Flavour::Vf {
                pf: Some(own),
                vf: Some(*number),
            })
            && !port.external;
        let Some(netdev) = port.netdev.clone().filter(|_| is_the_vfs) else {
            return Ok(None);
        };
        let uplink = match self.devlink.port(handle, mlx5_index(pf, MLX5_UPLINK))? {
            Some(Port {
                flavour: Flavour::Physical { number: Some(number) },
                netdev,
                ..
            }) if number == own => netdev,
            None => None, // since 6.3 it has an instance of its own
            Some(_) => return Ok(None),
        };
        if notes.are_taken() {
            // for what it rules out
            let _ = self.port(handle, &self.devlink.ports(handle)?, notes);
        }
        notes.add(Source::Devlink, Verdict::Chosen, || port.to_string());
        Ok(Some(Answer {
            representor: Representor {
                netdev,
                port: self.port_name(Numbers {
                    pf: Some(own),
                    own: *number,
                }),
            },
            uplink,
            admin_mac: port.hw_addr,
            found: Found::Port {
                handle: handle.clone(),
                index: port.index,
            },
        }))
    }

    /// The numbers of a port of the flavour that is looked for.
    fn numbers(&self, port: &Port) -> Option<Numbers> {
        match port.flavour {
            Flavour::Vf { pf, vf: Some(own) } if !self.is_sub_function() => Some(Numbers { pf, own }),
            Flavour::Sf { pf, sf: Some(own) } if self.is_sub_function() => Some(Numbers { pf, own }),
            _ => None,
        }
    }

    /// The function's port; nothing when the PF has no ports of its flavour.
    fn port<'p>(&self, handle: &Handle, ports: &'p [Port], notes: &mut Notes) -> Result<Option<&'p Port>, Error> {
        let ours = || ports.iter().filter(|port| port.handle == *handle);
        let flavoured: Vec<(&Port, Numbers)> = ours()
            .filter_map(|port| self.numbers(port).map(|numbers| (port, numbers)))
            .collect();
        let flavour = if self.is_sub_function() { "pcisf" } else { "pcivf" };
        if flavoured.is_empty() {
            notes.add(Source::Devlink, Verdict::Says, || {
                format!("{} ports, none of flavour {flavour} with its number", ours().count())
            });
            return Ok(None);
        }
        // those of another host's functions (on a DPU) are not ours, whatever their numbers
        let local = || flavoured.iter().filter(|(port, _)| !port.external);
        let pfs: BTreeSet<u32> = local().filter_map(|(_, numbers)| numbers.pf).collect();
        let wire = ours().find_map(|port| match port.flavour {
            Flavour::Physical { number } => number,
            _ => None,
        });
        let own = own_number(&pfs, wire, &self.function.pf, true);
        let number = self.function.number;
        let fits: Vec<&Port> = local()
            .filter(|(_, numbers)| {
                numbers.own == number && (own.is_none() || numbers.pf.is_none() || numbers.pf == own)
            })
            .map(|(port, _)| *port)
            .collect();
        for (port, numbers) in &flavoured {
            if !fits.iter().any(|fit| std::ptr::eq(*fit, *port)) {
                notes.add(Source::Devlink, Verdict::RuledOut, || {
                    let why = if port.external {
                        "another host's"
                    } else if numbers.own != number {
                        "another number"
                    } else {
                        "another PF's"
                    };
                    format!("{port}: {why}")
                });
            }
        }
        let ambiguous = |because| Error::Ambiguous {
            wanted: format!("the representor of {}", self.what()),
            candidates: fits.iter().map(ToString::to_string).collect(),
            because,
        };
        match fits.as_slice() {
            [] => Err(Error::NoRepresentor {
                what: self.what(),
                looked: format!(
                    "among devlink's ports of {handle} for flavour {flavour}{} and number {number}",
                    own.map(|own| format!(", pfnum {own}")).unwrap_or_default()
                ),
                seen: self.most_alike(&flavoured),
            }),
            _ if own.is_none() && !pfs.is_empty() => Err(ambiguous(
                "the PF's port number and PCI function do not tell which pfnum is its own",
            )),
            [port] => Ok(Some(port)),
            _ => Err(ambiguous("no two ports can be the same function's")),
        }
    }

    /// The ports with the function's number first: an error shows only the first few.
    fn most_alike(&self, flavoured: &[(&Port, Numbers)]) -> Vec<String> {
        let mut ports: Vec<_> = flavoured.iter().collect();
        ports.sort_by_key(|(_, numbers)| numbers.own != self.function.number);
        ports.iter().map(|(port, _)| port.to_string()).collect()
    }

    fn port_name(&self, numbers: Numbers) -> PortName {
        let Numbers { pf, own } = numbers;
        match pf {
            Some(pf) if self.is_sub_function() => PortName::Sf {
                controller: None,
                pf,
                sf: own,
            },
            Some(pf) => PortName::Vf {
                port: None,
                controller: None,
                pf,
                vf: own,
            },
            None => PortName::Plain { vf: own },
        }
    }
}
