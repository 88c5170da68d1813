use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::request::{makes_interface, trust};
use super::{Clock, failed, this_host};
use crate::attach::{self, Expectation, World};
use crate::cni::{Call, Code, Failure, Mode, Told};
use crate::daemon::Client;
use crate::net::Stack;
use crate::node::{Deadlines, Settings};
use crate::ovs::{self, Expected, Ovs, Port};
use crate::state::{Record, Stage};
use crate::types::PciAddress;

/// An answer of the daemon or of Open vSwitch that takes longer is none.
const ANSWER: Duration = Duration::from_secs(5);

/// CHECK: silent when the attachment is as ADD left it. All that is not so is in one error.
///
/// Routes are not compared: Multus takes the default route away when another network has it.
pub async fn check(mut call: Call, settings: &Settings, clock: Clock) -> Result<(), Failure> {
    let told = Told::by(&call)?;
    trust(&mut call, settings)?;
    let call = &call;
    let socket = call.conf.socket()?;
    let mut findings = Vec::new();
    // a pod with DPDK has a socket and no interface; in IPAM mode it is another plugin's
    if call.conf.mode == Mode::Interface && call.conf.vhost_user_socket_volume_name.is_empty() {
        let world = this_host(clock).map_err(failed)?;
        let device = device_of(&world, call, &told)?;
        findings = look(&world, call, &told, device.as_ref()).await?;
        if (device.is_some() || makes_interface(call))
            && let Some(netns) = call.netns.as_deref()
        {
            let expected = Expected {
                container: &call.container,
                ifname: &call.ifname,
                namespace: &call.pod.namespace,
                pod: &call.pod.name,
                provider: &call.conf.provider,
                netns,
            };
            findings.extend(port(&world.ovs, &expected).await.err());
        }
    }
    if let Err(why) = Client::new(socket).reach(Instant::now() + ANSWER).await {
        findings.push(why.to_string());
    }
    result(call, &findings)
}

/// All findings in one error.
pub(super) fn result(call: &Call, findings: &[String]) -> Result<(), Failure> {
    if findings.is_empty() {
        return Ok(());
    }
    let msg = format!(
        "interface {} of pod {}/{} is not as ADD left it: {}",
        call.ifname,
        call.pod.namespace,
        call.pod.name,
        findings.join("; ")
    );
    Err(Failure::new(Code::NotAsAdded, msg, ""))
}

/// The VF, if the attachment has one: by our own record, or as netconf or result tell, which is all there is about a VF that stock
/// attached.
pub(super) fn device_of<S: Stack>(world: &World<S>, call: &Call, told: &Told) -> Result<Option<PciAddress>, Failure> {
    let recorded = world.store.find(&call.container, &call.ifname).map_err(failed)?;
    let named = call.conf.device_id().ok().flatten().unwrap_or(&told.pci_id);
    Ok(recorded.or_else(|| named.parse().ok()))
}

/// Compares the kernel with prevResult, by the rules of ADD.
pub(super) async fn look<S: Stack>(
    world: &World<S>,
    call: &Call,
    told: &Told,
    device: Option<&PciAddress>,
) -> Result<Vec<String>, Failure> {
    let path = call.netns.as_deref().unwrap_or(Path::new(""));
    let pod = world.host.open(path).map_err(failed)?;
    if !call.netns_override && pod.id() == world.host.id() {
        let msg = format!(
            "CNI_NETNS {} is the plugin's own network namespace, expected the pod's",
            path.display()
        );
        return Err(Failure::new(Code::OwnNetns, msg, ""));
    }
    let expected = Expectation {
        mac: told.mac,
        mtu: told.mtu,
        addresses: told.addresses.clone(),
    };
    let mut findings = Vec::new();
    if let Some(device) = device {
        let record = world.store.read(device).map_err(failed)?;
        if let Some(record) = record.filter(|record| record.is_of(&call.container, &call.ifname)) {
            recorded(&record, &pod, &mut findings);
            let found = attach::inspect(world, &record, &pod, &expected, None)
                .await
                .map_err(failed)?;
            findings.extend(found.findings);
            if let (None, Some(mac)) = (&record.vf, expected.mac) {
                let compared = attach::administered_mac(world, device, mac, &mut findings);
                compared.await.map_err(failed)?;
            }
            return Ok(findings);
        }
    }
    let userspace = call.conf.vf_driver == "vfio-pci"; // the device is a virtual machine's, and has no netdev
    match pod.link_named(&call.ifname).await.map_err(failed)? {
        Some(link) => {
            if let Some(device) = device.filter(|device| link.belongs_to(device) == Some(false)) {
                findings.push(format!("it is another link than VF {device}"));
            }
            let compared = attach::interface(&pod, &link, &call.ifname, &expected, &mut findings);
            compared.await.map_err(failed)?;
        }
        None if userspace && device.is_some() => {
            if let (Some(device), Some(mac)) = (device, expected.mac) {
                let compared = attach::administered_mac(world, device, mac, &mut findings);
                compared.await.map_err(failed)?;
            }
        }
        None => findings.push(format!("it is not in network namespace {}", path.display())),
    }
    if let Some(device) = device {
        attach::representor_of(world, device, None, &mut findings)
            .await
            .map_err(failed)?;
    }
    Ok(findings)
}

/// What the record itself says.
fn recorded<S: Stack>(record: &Record, pod: &S, findings: &mut Vec<String>) {
    if record.ending || record.stage != Stage::Attached {
        findings.push(format!(
            "the attachment of VF {} is not finished, or has ended",
            record.claim.device
        ));
    }
    if record.netns_id != pod.id() {
        findings.push(format!(
            "network namespace {} is not the one that VF {} was attached to",
            record.claim.netns.display(),
            record.claim.device
        ));
    }
}

/// What OVSDB and ovs-vswitchd say about the port of representor or veth. The kernel shows that it is in a datapath, but not that OVN
/// knows whose it is.
/// It is the port as it is, or how it is not as it should be.
async fn port(ovs: &Ovs, expected: &Expected<'_>) -> Result<Option<Port>, String> {
    let Some(name) = ovs::port_name(expected.container, expected.ifname) else {
        return Ok(None);
    };
    let port = match ovs.port(&name, Instant::now() + ANSWER).await {
        Ok(Some(port)) => port,
        Ok(None) => return Err(format!("OVSDB has no port {name}")),
        Err(why) => return Err(why.to_string()),
    };
    if port.bridge != ovs::BRIDGE {
        return Err(format!(
            "port {name} is in bridge {}, expected {}",
            port.bridge,
            ovs::BRIDGE
        ));
    }
    if !port.error.is_empty() {
        return Err(format!("ovs-vswitchd says of port {name}: {}", port.error));
    }
    if !port.external_ids.contains_key("iface-id") {
        return Err(format!(
            "port {name} has lost its external_ids:iface-id, by which OVN knows it"
        ));
    }
    match port.difference(expected) {
        Some(difference) => Err(format!("port {name} is not this attachment's: {difference}")),
        None => Ok(Some(port)),
    }
}

/// CHECK without a runtime that asks: compares kernel, OVSDB and daemon with the record of a running attachment, and gives back what
/// differs. What ADD's result said is not in the record; the addresses are those that the daemon wrote on the port.
pub async fn check_record(record: &Record, deadlines: &Deadlines) -> Result<Vec<String>, Failure> {
    let world = this_host(Clock::of_del(deadlines)).map_err(failed)?;
    let claim = &record.claim;
    let mut findings = Vec::new();
    let port = port(&world.ovs, &attach::expected_port(claim))
        .await
        .unwrap_or_else(|why| {
            findings.push(why);
            None
        });
    match world.host.open(&claim.netns) {
        Ok(pod) => recorded_in(&world, record, &pod, port.as_ref(), &mut findings).await?,
        Err(why) => findings.push(why.to_string()),
    }
    if let Err(why) = Client::new(&claim.socket).reach(Instant::now() + ANSWER).await {
        findings.push(why.to_string());
    }
    Ok(findings)
}

async fn recorded_in<S: Stack>(
    world: &World<S>,
    record: &Record,
    pod: &S,
    port: Option<&Port>,
    findings: &mut Vec<String>,
) -> Result<(), Failure> {
    recorded(record, pod, findings);
    let untold = Expectation {
        mac: None,
        mtu: 0,
        addresses: Vec::new(),
    };
    let found = attach::inspect(world, record, pod, &untold, None)
        .await
        .map_err(failed)?;
    findings.extend(found.findings);
    let (Some(link), Some(port)) = (found.vf, port) else {
        return Ok(());
    };
    let have = pod.addresses(link.index).await.map_err(failed)?;
    let written = port.external_ids.get("ip").map(String::as_str).unwrap_or_default();
    for wanted in written.split(',').filter_map(|text| text.trim().parse::<IpAddr>().ok()) {
        if !have.iter().any(|address| address.ip.ip() == wanted) {
            findings.push(format!("it lacks the address {wanted}, which its port has in OVSDB"));
        }
    }
    Ok(())
}
