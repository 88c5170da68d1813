//! From PF to uplink, and from VF to representor.

use std::collections::BTreeSet;

use super::error::Seen;
use super::{Error, Netdev, PortName, Representor, Sysfs, Uplink, Vf};
use crate::types::PciAddress;

/// A netdev of a PF and what tells which port of the eswitch it is.
struct Port {
    netdev: Netdev,
    /// `phys_port_name` as it stands.
    text: Option<String>,
    /// The same, understood.
    name: Option<PortName>,
    /// `phys_switch_id`, where it was asked for.
    switch_id: Option<String>,
}

impl Port {
    fn seen(&self) -> Seen {
        Seen {
            name: self.netdev.name.clone(),
            port: self.text.clone(),
            switch_id: self.switch_id.clone(),
        }
    }

    fn is_physical(&self) -> bool {
        matches!(self.name, Some(PortName::Physical { .. }))
    }

    /// PF and VF number of a VF representor of this host; one with a controller belongs to another host's VF.
    fn local_vf(&self) -> Option<(u32, u32)> {
        match self.name {
            Some(PortName::Vf {
                controller: None,
                pf,
                vf,
            }) => Some((pf, vf)),
            _ => None,
        }
    }
}

fn seen(ports: &[Port]) -> Vec<Seen> {
    ports.iter().map(Port::seen).collect()
}

impl Sysfs {
    /// The netdevs under a PF: its own, and with most drivers its representors. `relevant` says whose switch id is wanted:
    /// each read of a `phys_*` attribute takes the kernel's one lock for network configuration, and there are many VFs.
    fn ports(&self, pf: &PciAddress, relevant: impl Fn(&Port) -> bool) -> Result<Vec<Port>, Error> {
        self.each_netdev(pf, |dir, name| {
            let Some(ifindex) = self.ifindex(dir)? else {
                return Ok(None);
            };
            let text = self.attribute(&dir.join("phys_port_name"))?;
            let parsed = text.as_deref().and_then(|text| text.parse().ok());
            let mut port = Port {
                netdev: Netdev { name, ifindex },
                text,
                name: parsed,
                switch_id: None,
            };
            if relevant(&port) {
                port.switch_id = self.attribute(&dir.join("phys_switch_id"))?;
            }
            // a name can pass from one netdev to another between two reads
            Ok((self.ifindex(dir)? == Some(ifindex)).then_some(port))
        })
    }

    /// The PF's own netdev: the one that is a physical port, or, as some drivers give it no port name, the only one
    /// without. Netdevs with any other port name are representors.
    pub fn uplink(&self, pf: &PciAddress) -> Result<Uplink, Error> {
        let ports = self.ports(pf, |port| port.text.is_none() || port.is_physical())?;
        let mut candidates: Vec<&Port> = ports.iter().filter(|port| port.is_physical()).collect();
        if candidates.is_empty() {
            candidates = ports.iter().filter(|port| port.text.is_none()).collect();
        }
        match candidates.as_slice() {
            [port] => Ok(Uplink {
                netdev: port.netdev.clone(),
                switch_id: port.switch_id.clone(),
                port: port.name,
            }),
            [] => Err(Error::NoUplink {
                pf: pf.clone(),
                driver: self.driver(pf)?,
                seen: seen(&ports),
            }),
            several => Err(Error::Ambiguous {
                wanted: format!("the uplink of PF {pf}"),
                candidates: several.iter().map(|port| port.seen()).collect(),
                because: "nothing tells which of the function's ports its VFs use",
            }),
        }
    }

    /// The netdev that stands for the VF in the eswitch of its PF.
    pub fn representor(&self, vf: &Vf, uplink: &Uplink) -> Result<Representor, Error> {
        let Some(switch_id) = &uplink.switch_id else {
            return Err(Error::legacy(&vf.pf, &uplink.netdev.name));
        };
        let has_index = |port: &Port| port.local_vf().is_some_and(|(_, index)| index == vf.index);
        let mut ports = self.ports(&vf.pf, has_index)?;
        ports.retain(|port| port.netdev.ifindex != uplink.netdev.ifindex);
        // what is most like the VF first: an error shows only the first few
        ports.sort_by_key(|port| !matches!(port.name, Some(PortName::Vf { vf: index, .. }) if index == vf.index));

        let numbers: BTreeSet<u32> = ports
            .iter()
            .filter_map(|port| port.local_vf().map(|(pf, _)| pf))
            .collect();
        let own = own_number(&numbers, uplink, &vf.pf);
        let fits = |port: &&Port| has_index(port) && port.switch_id.as_ref() == Some(switch_id);
        let ambiguous = |candidates: &[&Port], because| Error::Ambiguous {
            wanted: format!("the representor of VF {} (VF {} of PF {})", vf.address, vf.index, vf.pf),
            candidates: candidates.iter().map(|port| port.seen()).collect(),
            because,
        };
        let mut candidates: Vec<&Port> = ports.iter().filter(fits).collect();
        if let Some(own) = own {
            candidates.retain(|port| port.local_vf().is_some_and(|(pf, _)| pf == own));
        } else if !candidates.is_empty() {
            let because = "the PF's port number and PCI function do not tell which PF number is its own";
            return Err(ambiguous(&candidates, because));
        }
        match candidates.as_slice() {
            [
                Port {
                    netdev,
                    name: Some(port),
                    ..
                },
            ] => Ok(Representor {
                netdev: netdev.clone(),
                port: *port,
            }),
            [] => Err(Error::NoRepresentor {
                vf: vf.address.clone(),
                pf: vf.pf.clone(),
                index: vf.index,
                uplink: uplink.netdev.name.clone(),
                switch_id: switch_id.clone(),
                seen: seen(&ports),
            }),
            several => Err(ambiguous(several, "no two netdevs can be the same port")),
        }
    }
}

/// The number that the PF has in port names, out of those that its representors show.
///
/// A single number is the PF's own, whatever it is: drivers count PFs in many ways. With several (mlx5 also parents VFs of
/// a neighbour PF here) it is the one that is the uplink's port number or the PCI function; where these two name different
/// PFs, drivers and versions differ in which is right, so neither is believed.
fn own_number(numbers: &BTreeSet<u32>, uplink: &Uplink, pf: &PciAddress) -> Option<u32> {
    let port = match uplink.port {
        Some(PortName::Physical { port, .. }) => Some(port),
        _ => None,
    };
    let mut likely = numbers.clone();
    if numbers.len() > 1 {
        likely.retain(|number| Some(*number) == port || *number == pf.function());
    }
    match likely.len() {
        1 => likely.first().copied(),
        _ => None,
    }
}
