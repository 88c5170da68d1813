use serde::Serialize;

/// What the daemon is asked, for ADD and DEL alike (`CniRequest` of pkg/request/cniserver.go). Every version ignores
/// the keys that it does not know, so all are always sent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Request {
    /// The netconf's type. On DEL, versions up to 1.12 do nothing unless it is "kube-ovn" or the provider is "ovn".
    pub cni_type: String,
    /// The pod.
    pub pod_name: String,
    /// Its namespace.
    pub pod_namespace: String,
    /// The sandbox; its first 12 characters name the host interface.
    pub container_id: String,
    /// Path of the pod's network namespace. On DEL any text that is not empty: with an empty one, versions from
    /// 1.13 on answer 204 and leave the port.
    pub net_ns: String,
    /// The interface in the pod.
    pub if_name: String,
    /// Which subnets and annotations are meant: `ovn` or `<nad>.<namespace>.ovn`.
    pub provider: String,
    /// Routes of the netconf.
    pub routes: Vec<RequestRoute>,
    /// DNS of the netconf; unused on Linux.
    pub dns: serde_json::Value,
    /// The netconf's `vf_driver`; only "vfio-pci" means something.
    pub vf_driver: String,
    /// PCI address of the VF, or empty for a veth.
    #[serde(rename = "deviceID")]
    pub device_id: String,
    /// For DPDK pods.
    pub vhost_user_socket_volume_name: String,
    /// For DPDK pods.
    pub vhost_user_socket_name: String,
    /// For DPDK pods.
    pub vhost_user_socket_consumption: String,
    /// The representor that we resolved (docs/attach-protocol.md).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub representor: String,
    /// "cni" when we can move the VF ourselves (docs/attach-protocol.md).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vf_plumbing: String,
}

/// A route of the netconf, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestRoute {
    /// Destination in CIDR notation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dst: String,
    /// Gateway.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gw: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_contract_is_sent() {
        let json = serde_json::to_value(Request::default()).unwrap();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "cni_type",
                "container_id",
                "deviceID",
                "dns",
                "if_name",
                "net_ns",
                "pod_name",
                "pod_namespace",
                "provider",
                "routes",
                "vf_driver",
                "vhost_user_socket_consumption",
                "vhost_user_socket_name",
                "vhost_user_socket_volume_name"
            ]
        );
    }
}
