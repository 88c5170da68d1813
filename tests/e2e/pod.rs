//! A pod's sandbox: its namespace, its addresses, and the calls for it.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::call::Call;
use crate::command::{attempt, ip, ip_json};
use crate::daemon::SOCKET;
use crate::nic::Vf;

/// Providers of the subnets: of the NetworkAttachmentDefinition, of the cluster's default network, of a second one.
pub(crate) const SUBNETS: [&str; 3] = ["sriov.default.ovn", "ovn", "net1.default.ovn"];
pub(crate) const MTU: u32 = 1400;

pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) provider: &'static str,
    pub(crate) ifname: String,
    pub(crate) container: String,
    pub(crate) netns: String,
    pub(crate) mac: String,
    pub(crate) ipv4: String,
    pub(crate) ipv6: String,
}

fn addresses(subnet: usize, number: usize) -> (String, String, String) {
    (
        format!("02:00:00:00:0{subnet}:{}", 10 + number),
        format!("10.16.{subnet}.{}", 10 + number),
        format!("fd00:10:16::1{subnet}{}", 10 + number),
    )
}

impl Pod {
    /// Name and addresses of the logical switch port (`PodNameToPortName` of kube-ovn's pkg/ovs).
    pub(crate) fn logical_port(subnet: usize, number: usize) -> (String, String) {
        let suffix = match SUBNETS[subnet] {
            "ovn" => String::new(),
            provider => format!(".{provider}"),
        };
        let (mac, ipv4, ipv6) = addresses(subnet, number);
        (format!("pod{number}.default{suffix}"), format!("{mac} {ipv4} {ipv6}"))
    }

    pub(crate) fn new(subnet: usize, number: usize, ifname: &str) -> Self {
        static SANDBOXES: AtomicU32 = AtomicU32::new(1);
        let sandbox = SANDBOXES.fetch_add(1, Ordering::Relaxed);
        let (mac, ipv4, ipv6) = addresses(subnet, number);
        let pod = Self {
            name: format!("pod{number}"),
            provider: SUBNETS[subnet],
            ifname: ifname.to_owned(),
            // the names of the daemon's ports are made of the first 12
            container: format!("{:0<64}", format!("{sandbox:04x}e2e0cafe")),
            netns: format!("cni-{sandbox:04x}"),
            mac,
            ipv4,
            ipv6,
        };
        ip(&["netns", "add", &pod.netns]);
        pod
    }

    /// The same sandbox's other interface.
    pub(crate) fn with_interface(&self, subnet: usize, ifname: &str) -> Self {
        let number = self.name.trim_start_matches("pod").parse().expect("podN");
        let (mac, ipv4, ipv6) = addresses(subnet, number);
        Self {
            name: self.name.clone(),
            provider: SUBNETS[subnet],
            ifname: ifname.to_owned(),
            container: self.container.clone(),
            netns: self.netns.clone(),
            mac,
            ipv4,
            ipv6,
        }
    }

    pub(crate) fn key(&self) -> String {
        format!("default/{}", self.name)
    }

    pub(crate) fn annotations(&self) -> Value {
        json!({
            "ip": self.ipv4, "mac": self.mac, "cidr": "10.16.0.0/16", "gateway": "10.16.0.1", "mtu": MTU,
            "subnet": "ovn-default", "default_route": true, "gateway_check": true, "allocated": true, "routed": true,
        })
    }

    pub(crate) fn netns_path(&self) -> String {
        format!("/var/run/netns/{}", self.netns)
    }

    /// The call as thick Multus makes it, without a device.
    pub(crate) fn call(&self, verb: &str) -> Call {
        let args = format!(
            "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID=1",
            self.name, self.container
        );
        let env = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", &self.container),
            ("CNI_NETNS", &self.netns_path()),
            ("CNI_IFNAME", &self.ifname),
            ("CNI_PATH", "/opt/cni/bin"),
            ("CNI_ARGS", &args),
        ];
        let conf = json!({
            "cniVersion": "0.3.1", "name": "kube-ovn", "type": "kube-ovn", "server_socket": SOCKET, "provider": self.provider,
        });
        Call::new(&env, conf)
    }

    pub(crate) fn add(&self, vf: &Vf) -> Call {
        self.call("ADD").device(&vf.pci)
    }

    pub(crate) fn del(&self, vf: &Vf) -> Call {
        self.call("DEL").device(&vf.pci)
    }

    /// The links of its namespace, with addresses.
    #[track_caller]
    pub(crate) fn links(&self) -> Vec<Value> {
        ip_json(&["-n", &self.netns, "addr", "show"])
    }

    pub(crate) fn link(&self, name: &str) -> Option<Value> {
        self.links().into_iter().find(|link| link["ifname"] == name)
    }

    #[track_caller]
    pub(crate) fn routes(&self, family: &str) -> Vec<Value> {
        ip_json(&[family, "-n", &self.netns, "route", "show"])
    }

    /// Nothing but its loopback.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        let links = self.links();
        assert!(links.iter().all(|link| link["ifname"] == "lo"), "{links:?}");
    }

    /// Its namespace goes, as when the runtime's sandbox process dies.
    pub(crate) fn destroy(&self) {
        ip(&["netns", "del", &self.netns]);
    }

    /// Runs a program in its namespace.
    pub(crate) fn attempt(&self, words: &[&str]) -> Result<String, String> {
        attempt("ip", &[&["netns", "exec", self.netns.as_str()], words].concat())
    }
}
