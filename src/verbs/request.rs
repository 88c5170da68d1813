use crate::cni::{Call, Code, Failure, Mode};
use crate::daemon::{Request, RequestRoute};
use crate::node::{Settings, trusted_socket};
use crate::state::{Claim, Pod};
use crate::types::PciAddress;

/// What the daemon is asked for a call, as stock asks it.
pub(super) fn request(call: &Call) -> Request {
    let conf = &call.conf;
    Request {
        // versions up to 1.12 compare it on DEL; we may be installed under another name
        cni_type: match conf.mode {
            Mode::Interface => "kube-ovn".to_owned(),
            Mode::Ipam => conf.cni_type.clone(),
        },
        pod_name: call.pod.name.clone(),
        pod_namespace: call.pod.namespace.clone(),
        container_id: call.container.to_string(),
        net_ns: call
            .netns
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        if_name: call.ifname.to_string(),
        provider: conf.provider.clone(),
        routes: conf
            .routes
            .iter()
            .map(|route| RequestRoute {
                dst: route.dst.clone(),
                gw: route.gw.clone(),
            })
            .collect(),
        dns: serde_json::to_value(&conf.dns).unwrap_or_default(),
        vf_driver: conf.vf_driver.clone(),
        vhost_user_socket_volume_name: conf.vhost_user_socket_volume_name.clone(),
        vhost_user_socket_name: conf.vhost_user_socket_name.clone(),
        vhost_user_socket_consumption: conf.vhost_user_socket_consumption.clone(),
        ..Request::default()
    }
}

/// Sees that the netconf's socket is where the node means one to be; what is asked later goes to the path that was looked
/// at here. It is no error yet when there is none.
pub(super) fn trust(call: &mut Call, settings: &Settings) -> Result<(), Failure> {
    if let Ok(socket) = call.conf.socket() {
        let socket = trusted_socket(socket, &settings.config)
            .map_err(|refused| Failure::new(Code::InvalidConfig, refused.to_string(), ""))?;
        call.conf.server_socket = Some(socket);
    }
    Ok(())
}

/// Who wants, or has, which VF, as the call says it.
pub(super) fn claim_of(call: &Call, device: &PciAddress) -> Claim {
    Claim {
        network: call.conf.name.clone(),
        container: call.container.clone(),
        ifname: call.ifname.clone(),
        pod: Pod {
            namespace: call.pod.namespace.clone(),
            name: call.pod.name.clone(),
            uid: call.pod.uid.clone(),
        },
        socket: call.conf.server_socket.clone().unwrap_or_default(),
        provider: call.conf.provider.clone(),
        netns: call.netns.clone().unwrap_or_default(),
        device: device.clone(),
    }
}

/// Whether the daemon is to make an interface of this name, and its port. For a pod with DPDK it makes a socket, for a provider that
/// is not Open vSwitch's it has only addresses (`IsOvnProvider` in pkg/util/k8s.go at 1533681d7).
pub(super) fn makes_interface(call: &Call) -> bool {
    let conf = &call.conf;
    conf.mode == Mode::Interface
        && conf.vhost_user_socket_volume_name.is_empty()
        && conf.provider.rsplit('.').next() == Some("ovn")
}

/// Whether the interface's name leaves so little of the container ID in the port's name that the ports of two pods may have one.
pub(super) fn has_long_name(call: &Call) -> bool {
    matches!(call.ifname.as_str().len(), 11 | 12)
}

/// Whether the daemon can make the name of the host's interface, for which it cuts the container ID; it dies in the
/// attempt otherwise (generateNicName, ovs_linux.go:450-460 at 1533681d7: `<id>_h` with 12 characters of the ID for
/// eth0, `<id>_<interface>_h` with the rest of 12 for others, and 5 for `KubeVirt`'s `pod` and 11 characters).
pub(super) fn check_names(call: &Call) -> Result<(), Failure> {
    let (id, ifname) = (call.container.as_str(), call.ifname.as_str());
    let needed = match ifname.len() {
        _ if ifname == "eth0" => 12,
        14 if ifname.starts_with("pod") => 5,
        length @ 0..=12 => 12 - length,
        length => {
            let msg = format!(
                "CNI_IFNAME {ifname} has {length} bytes, expected at most 12: kube-ovn-daemon can't name its other end"
            );
            return Err(Failure::new(Code::InvalidEnvironment, msg, ""));
        }
    };
    if id.len() < needed {
        let msg = format!(
            "CNI_CONTAINERID {id} has {} characters, expected at least {needed}: kube-ovn-daemon makes an interface name of them",
            id.len()
        );
        return Err(Failure::new(Code::InvalidEnvironment, msg, ""));
    }
    Ok(())
}
