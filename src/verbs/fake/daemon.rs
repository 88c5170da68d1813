//! What `kube-ovn-daemon` does to the host, over a unix socket. Its own calls never fail by themselves. The numbers of
//! lines are those of `pkg/daemon/ovs_linux.go` and `handler.go` at 1533681d7; what differs between releases is asked of the
//! emulator's table.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::faults::Fault;
use super::kernel::{HOST, Kernel, OVS, REPRESENTOR, VF, name};
use super::stack::Shared;
use super::versions::{self, Rollback, Shape, Version};
use crate::net::{Address, LinkChange};
use crate::types::Mac;

/// Where the daemon's ADD fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::verbs) enum FailAdd {
    /// `ovn-installed` never came (242-267): the port is taken away again.
    BeforeMove,
    /// The move is done, the rest of configureContainerNic isn't (480-637): the port goes, the VF stays in the pod.
    AfterMove,
    /// The gateway does not answer: as before, with a configured VF.
    AtGatewayCheck,
    /// The mirror can't be set (17): the port stays as well.
    AtTheEnd,
}

/// Where the daemon's ADD waits, for up to 40 s each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::verbs) enum Hold {
    /// For the pod's addresses (steps before setupSriovInterface, `handler.go` 209-333).
    AtFirst,
    /// For `ovn-installed`, when it has read the VF's name and before it moves it (242-267).
    BeforeMove,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(in crate::verbs) struct Switches {
    pub(in crate::verbs) version: &'static Version,
    /// The API server does not know the pod any more.
    pub(in crate::verbs) pod_gone: bool,
    /// It leaves the VF to a plugin that says it can move it.
    pub(in crate::verbs) attach_only: bool,
    pub(in crate::verbs) fail_add: Option<FailAdd>,
    pub(in crate::verbs) fail_del: bool,
    /// Its ADD does not set the MAC that the PF administers.
    pub(in crate::verbs) forgets_mac: bool,
    /// Its ADD goes on from here only when told by [`Daemon::go_on`].
    pub(in crate::verbs) hold_add: Option<Hold>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            version: versions::version("head").unwrap(),
            pod_gone: false,
            attach_only: false,
            fail_add: None,
            fail_del: false,
            forgets_mac: false,
            hold_add: None,
        }
    }
}

/// A request, and what the host was like when it came.
#[derive(Debug)]
pub(in crate::verbs) struct Asked {
    pub(in crate::verbs) path: String,
    pub(in crate::verbs) body: Value,
    /// The namespace that the VF was in.
    pub(in crate::verbs) vf_in: Option<usize>,
    pub(in crate::verbs) representor_up: bool,
}

#[derive(Clone)]
pub(in crate::verbs) struct Daemon {
    pub(in crate::verbs) switches: Arc<Mutex<Switches>>,
    /// The requests that it has had, in the order in which they came.
    pub(in crate::verbs) requests: Arc<Mutex<Vec<Asked>>>,
    /// An ADD that was held is to go on.
    pub(in crate::verbs) go_on: Arc<Notify>,
    /// A request that was held has ended.
    pub(in crate::verbs) ended: Arc<Notify>,
    shared: Shared,
}

impl Daemon {
    /// Serves until the runtime ends.
    pub(super) fn start(socket: &Path, shared: &Shared, switches: Switches) -> Self {
        let daemon = Self {
            switches: Arc::new(Mutex::new(switches)),
            requests: Arc::default(),
            go_on: Arc::default(),
            ended: Arc::default(),
            shared: shared.clone(),
        };
        let listener = UnixListener::bind(socket).unwrap();
        let server = daemon.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        daemon
    }

    /// Waits for the first request.
    pub(in crate::verbs) async fn is_asked(&self) {
        while self.requests.lock().unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn serve(&self, stream: UnixStream) {
        let Some((path, request)) = read_request(&stream).await else {
            return;
        };
        let what = format!("daemon {path}");
        let fault = self.shared.with(|kernel| kernel.faults.count(&what));
        if fault == Some(Fault::Kill) {
            return self.shared.kill(); // it died before it asked
        }
        self.note(&path, &request);
        let (status, body) = if fault == Some(Fault::Refuse) {
            (500, json!({"error": "refused"}))
        } else if path.ends_with("/add") {
            self.add(&request).await
        } else {
            self.del(&request)
        };
        match fault {
            Some(Fault::Lose) => {}
            Some(Fault::KillAfter) => self.shared.kill(),
            fault => {
                if fault == Some(Fault::FullDisk) {
                    self.shared.fill_disk();
                }
                let body = if status == 204 { String::new() } else { body.to_string() };
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                // less than a socket's buffer, so one write takes it all
                let _ = stream.writable().await;
                let _ = stream.try_write((head + &body).as_bytes());
            }
        }
    }

    fn note(&self, path: &str, body: &Value) {
        let asked = self.shared.with(|kernel| {
            let vf = (kernel.links.iter()).find(|netdev| netdev.link.parent.as_deref() == Some(VF));
            Asked {
                path: path.to_owned(),
                body: body.clone(),
                vf_in: vf.map(|netdev| netdev.ns),
                representor_up: kernel.find(HOST, REPRESENTOR).is_ok_and(|netdev| netdev.link.up),
            }
        });
        self.requests.lock().unwrap().push(asked);
    }

    async fn add(&self, request: &Value) -> (u16, Value) {
        let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
        let (version, attach_only, fail, hold, forgets_mac) = {
            let switches = self.switches.lock().unwrap();
            (
                switches.version,
                switches.attach_only,
                switches.fail_add,
                switches.hold_add,
                switches.forgets_mac,
            )
        };
        let by_cni = attach_only && text("vf_plumbing") == "cni";
        if hold == Some(Hold::AtFirst) {
            self.go_on.notified().await;
        }
        let attached = self
            .shared
            .with(|kernel| attach(kernel, version, &text, by_cni, forgets_mac));
        if hold == Some(Hold::BeforeMove) {
            self.go_on.notified().await;
        }
        let configured = attached.and_then(|vf_name| {
            self.shared
                .with(|kernel| configure_or_roll_back(kernel, version, &text, by_cni, &vf_name, fail))
        });
        if hold.is_some() {
            self.ended.notify_one();
        }
        match configured {
            Ok(()) => {
                let mut reply = match version.shape {
                    Shape::Ips => json!({"ips": [
                        {"protocol": "IPv4", "ip": "10.16.0.5", "cidr": "10.16.0.0/16", "gateway": "10.16.0.1"},
                        {"protocol": "IPv6", "ip": "fd00::5", "cidr": "fd00::/112", "gateway": "fd00::1"},
                    ]}),
                    Shape::Lists => json!({
                        "protocol": "Dual", "address": "10.16.0.5,fd00::5", "cidr": "10.16.0.0/16,fd00::/112",
                        "gateway": "10.16.0.1,fd00::1",
                    }),
                };
                reply["mac_address"] = mac_of(&text("pod_name")).to_string().into();
                reply["nicname"] = text("if_name").into();
                reply["mtu"] = if version.tells_mtu { 1400 } else { 0 }.into();
                if by_cni {
                    reply["vf_plumbing"] = "cni".into();
                }
                (200, reply)
            }
            Err(why) => (500, json!({"error": why})),
        }
    }

    fn del(&self, request: &Value) -> (u16, Value) {
        let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
        // every DEL with a device ID would reset the MAC of a VF that may be another pod's (306-353,408-437)
        assert_eq!(text("deviceID"), "", "DEL with a device ID");
        let switches = self.switches.lock().unwrap();
        let version = switches.version;
        if switches.pod_gone && version.del_needs_pod {
            return (204, Value::Null);
        }
        if switches.fail_del {
            return (500, json!({"error": "ovs-vsctl: database connection failed"}));
        }
        drop(switches);
        // without a device ID the representor stays up (382-389)
        if !(version.del_needs_netns && text("net_ns").is_empty()) {
            self.shared.with(|kernel| {
                kernel.del_port(&host_nic(&text("container_id"), &text("if_name")));
            });
        }
        (204, Value::Null)
    }
}

/// The MAC that OVN gives a pod.
pub(in crate::verbs) fn mac_of(pod: &str) -> Mac {
    Mac([0, 0, 0, 0xaa, 0xbb, pod.bytes().fold(0, u8::wrapping_add)])
}

/// generateNicName, 450-460.
pub(in crate::verbs) fn host_nic(container: &str, ifname: &str) -> String {
    if ifname == "eth0" {
        format!("{}_h", &container[..12])
    } else {
        format!("{}_{ifname}_h", &container[..12 - ifname.len()])
    }
}

fn set(kernel: &mut Kernel, ns: usize, index: u32, what: &str) -> Result<(), Errno> {
    let change = match what.split_once(' ') {
        Some(("name", text)) => LinkChange {
            name: Some(name(text)),
            ..LinkChange::default()
        },
        Some(("alias", text)) => LinkChange {
            alias: Some(text.to_owned()),
            ..LinkChange::default()
        },
        _ => LinkChange {
            up: Some(what == "up"),
            ..LinkChange::default()
        },
    };
    kernel.change(ns, index, &change)
}

/// setupSriovInterface and the port (1776-1884, 146-242); gives back the VF's name.
fn attach(
    kernel: &mut Kernel,
    version: &Version,
    text: &impl Fn(&str) -> String,
    by_cni: bool,
    forgets_mac: bool,
) -> Result<String, String> {
    let said = |what: &'static str| move |errno: Errno| format!("{what}: {errno}");
    let device = text("deviceID");
    let number: u32 = device.strip_prefix("0000:03:00.").unwrap().parse::<u32>().unwrap() - 2;
    let vf_name = vf_name(kernel, &device, &text("vf_driver"), by_cni)?;
    let eswitch_port = format!("pf0vf{number}");
    let representor = (kernel.links.iter())
        .find(|netdev| netdev.port == Some(&eswitch_port))
        .map(|netdev| netdev.link.index)
        .ok_or("failed to find VF representor")?;
    let port = host_nic(&text("container_id"), &text("if_name"));
    set(kernel, HOST, representor, "down").map_err(said("representor down"))?;
    set(kernel, HOST, representor, &format!("name {port}")).map_err(said("rename representor"))?;
    let mtu = LinkChange {
        mtu: Some(1400),
        txqlen: Some(500), // 1000 in truth (473), which is what it was
        ..LinkChange::default()
    };
    if version.representor_up_early {
        set(kernel, HOST, representor, "up").map_err(said("up"))?;
        kernel.change(HOST, representor, &mtu).map_err(said("mtu"))?;
    }
    if !forgets_mac {
        kernel.admin.insert(number, mac_of(&text("pod_name")));
    }
    kernel.add_port(&port);
    let ids = [
        ("vendor", "kube-ovn".to_owned()),
        ("pod_name", text("pod_name")),
        ("pod_namespace", text("pod_namespace")),
        ("pod_netns", text("net_ns")),
        (
            "iface-id",
            format!("{}.{}.{}", text("pod_name"), text("pod_namespace"), text("provider")),
        ),
    ];
    let ids = ids.map(|(key, value)| (key.to_owned(), value));
    kernel.port_ids.insert(port, ids.into());
    if !version.representor_up_early {
        kernel.change(HOST, representor, &mtu).map_err(said("mtu"))?;
        set(kernel, HOST, representor, "up").map_err(said("up"))?;
    }
    Ok(vf_name)
}

/// Empty for a VF without a netdev, which must have one driver only, unless the daemon leaves VFs alone (1777-1812).
fn vf_name(kernel: &Kernel, device: &str, vf_driver: &str, by_cni: bool) -> Result<String, String> {
    if vf_driver == "vfio-pci" {
        return match kernel.vfio {
            Some("vfio-pci") => Ok(String::new()),
            Some(_) if by_cni => Ok(String::new()),
            _ => Err(format!("driver of device {device} is not 'vfio-pci'")),
        };
    }
    let netdevs: Vec<_> = (kernel.links.iter())
        .filter(|netdev| netdev.ns == HOST && netdev.link.parent.as_deref() == Some(device))
        .map(|netdev| netdev.link.name.to_string())
        .collect();
    match netdevs.as_slice() {
        [name] => Ok(name.clone()),
        _ => Err(format!("failed to get one netdevice interface per {device}")),
    }
}

/// The pod's side, unless that is the plugin's.
fn configure_or_roll_back(
    kernel: &mut Kernel,
    version: &Version,
    text: &impl Fn(&str) -> String,
    by_cni: bool,
    vf_name: &str,
    fail: Option<FailAdd>,
) -> Result<(), String> {
    let result = match fail {
        Some(FailAdd::BeforeMove) => Err("ovn-installed did not come".to_owned()),
        _ if by_cni || vf_name.is_empty() => return Ok(()),
        _ => configure(kernel, text, vf_name, fail),
    };
    if result.is_err() {
        let port = host_nic(&text("container_id"), &text("if_name"));
        if version.rollback != Rollback::Nothing {
            kernel.del_port(&port);
        }
        let representor = kernel.find_named(HOST, &port).map(|netdev| netdev.link.index);
        if version.rollback == Rollback::PortAndRepresentor
            && let Ok(index) = representor
        {
            let _ = set(kernel, HOST, index, "up"); // only logged
        }
    } else if fail == Some(FailAdd::AtTheEnd) {
        return Err("mirror".to_owned());
    }
    result
}

/// configureContainerNic (480-637). The VF is looked for by the name that it had in the beginning: with another name
/// now, it is not found.
fn configure(
    kernel: &mut Kernel,
    text: &impl Fn(&str) -> String,
    vf_name: &str,
    fail: Option<FailAdd>,
) -> Result<(), String> {
    let path = text("net_ns");
    let pod = (kernel.namespaces.iter())
        .position(|namespace| namespace.path.as_deref() == Some(Path::new(&path)))
        .ok_or("failed to get netns")?;
    let vf = kernel
        .find_named(HOST, vf_name)
        .map_err(|e| format!("can not find container nic: {e}"))?;
    let vf = vf.link.index;
    let steps = |kernel: &mut Kernel| {
        set(kernel, HOST, vf, &format!("alias {vf_name}"))?;
        kernel.move_to(HOST, vf, pod, &name(vf_name))?;
        let moved = kernel.find_named(pod, vf_name)?.link.index;
        if fail == Some(FailAdd::AfterMove) {
            return Err(Errno::EIO);
        }
        let change = LinkChange {
            name: Some(name(&text("if_name"))),
            mac: Some(mac_of(&text("pod_name"))),
            mtu: Some(1400),
            ..LinkChange::default()
        };
        kernel.change(pod, moved, &change)?;
        set(kernel, pod, moved, "up")?;
        let netdev = kernel.find(pod, moved)?;
        netdev.addresses = ["10.16.0.5/16", "fd00::5/112"]
            .map(|ip| Address {
                ip: ip.parse().unwrap(),
                tentative: false,
                duplicate: false,
                permanent: true,
            })
            .to_vec();
        netdev.routes = ["10.16.0.1", "fd00::1"]
            .map(|gateway| (None, Some(gateway.parse().unwrap())))
            .to_vec();
        match fail {
            Some(FailAdd::AtGatewayCheck) => Err(Errno::EHOSTUNREACH),
            _ => Ok(()),
        }
    };
    steps(kernel).map_err(|errno| format!("configure nic: {errno}"))
}

impl Kernel {
    /// `ovs-vsctl --may-exist add-port`: the datapath takes the link of that name.
    pub(in crate::verbs) fn add_port(&mut self, port: &str) {
        let index = match self.find_named(HOST, port) {
            Ok(netdev) => {
                netdev.link.master = Some(OVS);
                netdev.link.index
            }
            Err(_) => 0,
        };
        self.ports.insert(port.to_owned(), index);
    }

    /// `ovs-vsctl --if-exists del-port`: the datapath lets go of the link, whatever its name is by now.
    pub(in crate::verbs) fn del_port(&mut self, port: &str) {
        if let Some(index) = self.ports.remove(port)
            && self.vswitchd
            && let Ok(netdev) = self.find(HOST, index)
        {
            netdev.link.master = None;
        }
    }
}

/// Path and body.
async fn read_request(stream: &UnixStream) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let path = head.split(' ').nth(1)?.to_owned();
            let length: usize = (head.to_ascii_lowercase().split("content-length: ").nth(1)?)
                .split("\r\n")
                .next()?
                .parse()
                .ok()?;
            if body.len() >= length {
                return Some((path, serde_json::from_str(body).ok()?));
            }
        }
        let mut chunk = [0; 4096];
        stream.readable().await.ok()?;
        match stream.try_read(&mut chunk) {
            Ok(read @ 1..) => bytes.extend(&chunk[..read]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            _ => return None,
        }
    }
}
