//! The representor by what netdevs say of themselves in sysfs: for drivers and kernels without devlink ports of VFs.

use std::collections::BTreeSet;

use super::notes::{Notes, Source, Verdict};
use super::uplink::{self, Uplink, may_be_uplink};
use super::{Answer, Error, Found, Representor, Search, own_number};
use crate::device::{NetdevPort, PortName};
use crate::net::devlink::Devlink;
use crate::net::{Eswitch, EswitchMode};

/// Where netdevs were looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    BelowPf,
    Everywhere,
}

impl<D: Devlink> Search<'_, D> {
    /// Below the PF first, where all current kernels have them; else among all netdevs of its eswitch. The kernel gave mlx5's
    /// representors a parent in 5.9, bnxt's in 6.7.
    pub(super) fn by_netdevs(&self, eswitch: Eswitch, notes: &mut Notes) -> Result<Answer, Error> {
        let pf = &self.function.pf;
        let wanted = |port: &NetdevPort| may_be_uplink(port) || self.has_number(port);
        let children = self.sysfs.ports(pf, wanted)?;
        let uplink = uplink::among(self.sysfs, pf, &children)?;
        let Some(switch_id) = uplink.switch_id.as_deref() else {
            return Err(self.no_eswitch(eswitch, &uplink)?);
        };
        notes.add(Source::Sysfs, Verdict::Says, || {
            let port = uplink
                .port
                .map_or_else(|| "no port name".to_owned(), |port| port.to_string());
            format!(
                "the uplink of {pf} is {} ({port}), switch id {switch_id}",
                uplink.netdev.name
            )
        });
        if let Some(representor) = self.choose(&children, &uplink, switch_id, Place::BelowPf, notes)? {
            return Ok(answer(representor, uplink, Found::BelowPf));
        }
        let (all, looked_at) = self.sysfs.ports_of_eswitch(switch_id)?;
        log::info!(
            "{} has no representor below its PF: looked at all {looked_at} netdevs, of which {} have switch id {switch_id}",
            self.what(),
            all.len()
        );
        notes.add(Source::Sysfs, Verdict::Says, || {
            format!(
                "nothing below {pf} fits; {} of all {looked_at} netdevs have its switch id",
                all.len()
            )
        });
        match self.choose(&all, &uplink, switch_id, Place::Everywhere, notes)? {
            Some(representor) => Ok(answer(representor, uplink, Found::Scan { looked_at })),
            None => Err(self.no_representor(children, all, &uplink, switch_id, looked_at)),
        }
    }

    /// It is not in legacy mode, but its netdev is a port of no eswitch.
    fn no_eswitch(&self, eswitch: Eswitch, uplink: &Uplink) -> Result<Error, Error> {
        let pf = self.function.pf.clone();
        let driver = self.sysfs.driver(&pf)?;
        let found = match eswitch {
            Eswitch::NotManaged => match driver {
                // its answer on the host of a DPU; other drivers answer so when they have no eswitch at all
                Some(driver) if driver == uplink::MLX5 => return Ok(Error::NotManaged { pf, driver }),
                _ => "a devlink instance without eswitch, and no phys_switch_id",
            },
            Eswitch::Unknown => "no devlink instance, and no phys_switch_id",
            Eswitch::Mode(EswitchMode::Switchdev) => {
                "switchdev mode, but no devlink ports of VFs and no phys_switch_id"
            }
            Eswitch::Mode(_) => "another mode",
        };
        let uplink = Some(uplink.netdev.name.clone());
        Ok(Error::NoEswitch {
            pf,
            uplink,
            driver,
            found,
        })
    }

    /// Whether a netdev's port name has the number that is looked for.
    fn has_number(&self, port: &NetdevPort) -> bool {
        self.local(port)
            .is_some_and(|(_, number)| number == self.function.number)
    }

    /// PF number, if it tells, and VF or sub-function number of a representor of this host; one with a controller belongs to
    /// another host's function.
    fn local(&self, port: &NetdevPort) -> Option<(Option<u32>, u32)> {
        match port.name? {
            PortName::Vf {
                controller: None,
                pf,
                vf,
                ..
            } if !self.is_sub_function() => Some((Some(pf), vf)),
            PortName::Sf {
                controller: None,
                pf,
                sf,
            } if self.is_sub_function() => Some((Some(pf), sf)),
            PortName::Plain { vf } if !self.is_sub_function() => Some((None, vf)),
            _ => None,
        }
    }

    fn choose(
        &self,
        ports: &[NetdevPort],
        uplink: &Uplink,
        switch_id: &str,
        place: Place,
        notes: &mut Notes,
    ) -> Result<Option<Representor>, Error> {
        let ports = || ports.iter().filter(|port| port.netdev.ifindex != uplink.netdev.ifindex);
        let numbers: BTreeSet<u32> = ports().filter_map(|port| self.local(port)?.0).collect();
        let wire = match uplink.port {
            Some(PortName::Physical { port, .. }) => Some(port),
            _ => None,
        };
        // below the PF they are its own; anywhere else they are if no other PF has this eswitch
        let sole = place == Place::BelowPf || !ports().any(may_be_uplink);
        let own = own_number(&numbers, wire, &self.function.pf, sole);
        let mut candidates = Vec::new();
        for port in ports() {
            let verdict = match self.local(port) {
                None => Err("no local port of this kind"),
                Some((_, number)) if number != self.function.number => Err("another number"),
                _ if port.switch_id.as_deref() != Some(switch_id) => Err("another eswitch"),
                Some((Some(pf), _)) if own.is_some_and(|own| own != pf) => Err("another PF's"),
                _ if matches!(port.name, Some(PortName::Vf { port: Some(port), .. }) if wire.is_some_and(|own| own != port)) => {
                    Err("another physical port's")
                }
                Some(_) => Ok(()),
            };
            match verdict {
                Ok(()) => candidates.push(port),
                Err(why) => notes.add(Source::Sysfs, Verdict::RuledOut, || format!("{port}: {why}")),
            }
        }
        // plain numbers are an old form: they count only where nothing says more
        if candidates.iter().any(|port| !is_plain(port)) {
            candidates.retain(|port| !is_plain(port));
        }
        let ambiguous = |because| Error::Ambiguous {
            wanted: format!("the representor of {}", self.what()),
            candidates: candidates.iter().map(ToString::to_string).collect(),
            because,
        };
        match candidates.as_slice() {
            [] => Ok(None),
            several if several.iter().any(|port| is_plain(port)) && !sole => Err(ambiguous(
                "port names without PF number, and more than one PF has this switch id",
            )),
            several if own.is_none() && several.iter().any(|port| !is_plain(port)) => Err(ambiguous(
                "the PF's port number and PCI function do not tell which PF number is its own",
            )),
            [
                NetdevPort {
                    netdev,
                    name: Some(name),
                    ..
                },
            ] => {
                notes.add(Source::Sysfs, Verdict::Chosen, || {
                    candidates.iter().map(ToString::to_string).collect()
                });
                Ok(Some(Representor {
                    netdev: netdev.clone(),
                    port: *name,
                }))
            }
            _ => Err(ambiguous("no two netdevs can be the same port")),
        }
    }

    fn no_representor(
        &self,
        children: Vec<NetdevPort>,
        all: Vec<NetdevPort>,
        uplink: &Uplink,
        switch_id: &str,
        looked_at: usize,
    ) -> Error {
        let mut seen: Vec<NetdevPort> = Vec::new();
        for port in children.into_iter().chain(all) {
            let known = |other: &NetdevPort| other.netdev.ifindex == port.netdev.ifindex;
            if port.netdev.ifindex != uplink.netdev.ifindex && !seen.iter().any(known) {
                seen.push(port);
            }
        }
        // what is most like the function first: an error shows only the first few
        let number = self.function.number;
        seen.sort_by_key(|port| match port.name {
            Some(PortName::Vf { vf, .. }) if vf == number && !self.is_sub_function() => 0,
            Some(PortName::Sf { sf, .. }) if sf == number && self.is_sub_function() => 0,
            _ => 1,
        });
        let form = if self.is_sub_function() { "sf" } else { "vf" };
        Error::NoRepresentor {
            what: self.what(),
            looked: format!(
                "below PF {} ({}), and at all {looked_at} netdevs, for port name pfN{form}{number} with switch id {switch_id}",
                self.function.pf, uplink.netdev.name
            ),
            seen: seen.iter().map(ToString::to_string).collect(),
        }
    }
}

fn is_plain(port: &NetdevPort) -> bool {
    matches!(port.name, Some(PortName::Plain { .. }))
}

fn answer(representor: Representor, uplink: Uplink, found: Found) -> Answer {
    Answer {
        representor,
        uplink: Some(uplink.netdev),
        admin_mac: None,
        found,
    }
}
