use crate::cni::{Call, Failure, Interface, Ip, Outcome, Route, render};
use crate::daemon::Reply;
use crate::net::Link;
use crate::types::PciAddress;

/// The result for the caller: that of the plugins before us, if there are any, and then ours.
pub(super) fn print(call: &Call, outcome: &Outcome) -> Result<Vec<u8>, Failure> {
    let ours = render(call.conf.version, outcome)?;
    match &call.earlier {
        Some(earlier) => earlier.with(&ours),
        None => Ok(ours),
    }
}

/// The result for a VF: the representor, then the pod's interface.
pub(super) fn of_vf(call: &Call, device: &PciAddress, representor: &Link, reply: &Reply) -> Outcome {
    let host = Interface {
        name: representor.name.to_string(),
        mac: representor.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        ..Interface::default()
    };
    let pod = Interface {
        name: call.ifname.to_string(),
        mac: reply.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        pci_id: device.to_string(),
        ..pod_interface(call, reply)
    };
    Outcome {
        interfaces: vec![host, pod],
        ips: ips(reply, 1),
        as_stock: false,
        ..common(reply)
    }
}

/// The result for a pod without a device, as stock has it: only the pod's interface.
pub(super) fn of_reply(call: &Call, reply: &Reply) -> Outcome {
    Outcome {
        interfaces: vec![pod_interface(call, reply)],
        ips: ips(reply, 0),
        as_stock: true,
        ..common(reply)
    }
}

fn pod_interface(call: &Call, reply: &Reply) -> Interface {
    Interface {
        name: reply.nic_name.clone(),
        mac: reply.mac_text.clone(),
        mtu: reply.mtu,
        sandbox: call
            .netns
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        pci_id: String::new(),
    }
}

fn ips(reply: &Reply, interface: usize) -> Vec<Ip> {
    reply
        .ips
        .iter()
        .map(|ip| Ip {
            address: ip.address,
            gateway: ip.gateway,
            interface,
        })
        .collect()
}

fn common(reply: &Reply) -> Outcome {
    Outcome {
        routes: reply
            .all_routes()
            .into_iter()
            .map(|(dst, gw)| Route { dst, gw })
            .collect(),
        dns: serde_json::from_value(reply.dns.clone()).unwrap_or_default(),
        ..Outcome::default()
    }
}
