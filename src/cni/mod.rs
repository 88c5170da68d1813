//! The CNI protocol: environment and stdin in, results and errors out; no files, no sockets.
//!
//! Where the specification leaves a choice, the answer is that of `skel`, the library under the stock plugin
//! (`pkg/skel/skel.go` of containernetworking/cni v1.3.0): same checks, same order, same texts.

mod earlier;
mod env;
mod error;
mod keys;
mod lax;
mod netconf;
mod prev_result;
mod result;
mod version;

pub use earlier::Earlier;
pub use env::{Environment, PodArgs};
pub use error::{Code, Failure};
pub use keys::MAX_NETCONF;
pub use netconf::{ConfRoute, Dns, Mode, NetConf};
pub use prev_result::Told;
pub use result::{Interface, Ip, Outcome, Route, render};
pub use version::Version;

use std::path::PathBuf;

use crate::types::{ContainerId, IfName};
use env::Verb;
use keys::Keys;

/// What the caller wants.
#[derive(Debug)]
pub enum Invocation {
    /// No `CNI_COMMAND`: a person at a shell. A text for stderr, success.
    Usage,
    /// The answer is ready to be printed.
    Version {
        /// For stdout.
        answer: Vec<u8>,
    },
    /// Attach.
    Add(Box<Call>),
    /// Detach.
    Del(Box<Call>),
    /// See whether the attachment is as ADD left it.
    Check(Box<Call>),
    /// Remove what no attachment uses.
    Gc(Box<NetConf>),
    /// Tell whether ADD could be served.
    Status(Box<NetConf>),
}

/// One attachment to make, remove or check.
#[derive(Debug)]
pub struct Call {
    /// The sandbox.
    pub container: ContainerId,
    /// Its network namespace; a DEL may come without one, the others do not.
    pub netns: Option<PathBuf>,
    /// The interface's name in the sandbox.
    pub ifname: IfName,
    /// The pod, as far as `CNI_ARGS` names it.
    pub pod: PodArgs,
    /// The network's configuration.
    pub conf: NetConf,
    /// What the plugins before us in the list did; ADD of an interface only.
    pub earlier: Option<Earlier>,
    /// The caller insists that `netns` may be the plugin's own (`CNI_NETNS_OVERRIDE`).
    pub netns_override: bool,
}

impl Call {
    fn new(env: &Environment, conf: NetConf) -> Result<Self, Failure> {
        Ok(Self {
            container: env.container()?,
            netns: env.netns.as_ref().map(PathBuf::from),
            ifname: env.interface()?,
            pod: PodArgs::parse(env.args.as_deref().unwrap_or_default()),
            conf,
            earlier: None,
            netns_override: env.overrides_netns(),
        })
    }

    /// What ADD needs beyond what every verb needs; in stock's order, the netconf before `CNI_ARGS`.
    fn fit_for_add(mut self) -> Result<Self, Failure> {
        self.conf.socket()?;
        // for another plugin's IPAM it is that plugin's business
        if self.conf.mode == Mode::Interface {
            self.earlier = Earlier::of(&self.conf)?;
        }
        let device = self.conf.device_id()?;
        if device.is_none() && self.conf.device_required {
            return Err(Failure::new(
                Code::InvalidConfig,
                "the netconf has \"device\": \"required\", but no deviceID came with it",
                "Multus adds deviceID when the pod requests the resource that the NetworkAttachmentDefinition's annotation \
                 k8s.v1.cni.cncf.io/resourceName names, and kubelet got a device from the SR-IOV device plugin for it: \
                 check the pod's resource limits, the annotation and the device plugin",
            ));
        }
        self.pod.require()?;
        Ok(self)
    }
}

/// Reads and checks one call. `own_name` is the plugin's file name: a netconf of that `type` means us.
///
/// The order of the checks is skel's, so that a call with several faults gets the error that callers know:
/// environment, JSON, network name, command, version, and then the keys.
/// A failure carries the netconf's version when stdin has one that we speak.
pub fn parse(env: &Environment, stdin: &[u8], own_name: &str) -> Result<Invocation, Failure> {
    let Some(command) = env.command.as_deref() else {
        return Ok(Invocation::Usage);
    };
    let keys = Keys::from_json(stdin);
    if command == "VERSION" {
        return Ok(Invocation::Version {
            answer: version::answer(keys.as_ref().ok()),
        });
    }
    let spoken = keys
        .as_ref()
        .ok()
        .and_then(|keys| version::decode(keys).ok()?.parse().ok());
    dispatch(env, command, keys, own_name).map_err(|failure| Failure {
        version: spoken,
        ..failure
    })
}

fn dispatch(
    env: &Environment,
    command: &str,
    keys: Result<Keys, Failure>,
    own_name: &str,
) -> Result<Invocation, Failure> {
    let verb = Verb::of(command);
    if let Some(verb) = verb {
        env.check(verb)?;
    }
    let keys = keys?;
    let name = netconf::network_name(&keys)?;
    let Some(verb) = verb else {
        return Err(Failure::new(
            Code::InvalidEnvironment,
            format!("unknown CNI_COMMAND: {command}"),
            "",
        ));
    };
    let version = version::agree(verb, &version::decode(&keys)?)?;
    // A DEL that fails is sent again until it succeeds, and the pod stays until then: a key of a wrong type,
    // with which no ADD can have succeeded, must not keep it.
    let keys = if verb == Verb::Del { keys.lenient() } else { keys };
    let conf = NetConf::read(&keys, version, name, own_name)?;
    Ok(match verb {
        Verb::Add => Invocation::Add(Box::new(Call::new(env, conf)?.fit_for_add()?)),
        Verb::Del => Invocation::Del(Box::new(Call::new(env, conf)?)),
        Verb::Check => Invocation::Check(Box::new(Call::new(env, conf)?)),
        Verb::Gc => Invocation::Gc(Box::new(conf)),
        Verb::Status => Invocation::Status(Box::new(conf)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// What Multus and containerd really send; see `tests/fixtures/multus/README.md`.
    fn parse_fixture(verb: &str, file: &str) -> Call {
        let path = format!("{}/tests/fixtures/multus/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let stdin = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let env = Environment {
            command: Some(verb.into()),
            container_id: Some("0123456789abcdef".into()),
            netns: Some("/run/netns/a3pod1".into()),
            ifname: Some("eth0".into()),
            args: Some("IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx;K8S_POD_UID=1111".into()),
            path: Some("/opt/cni/bin".into()),
            netns_override: None,
        };
        match parse(&env, &stdin, "kube-ovn").unwrap() {
            Invocation::Add(call) if verb == "ADD" => *call,
            Invocation::Del(call) if verb == "DEL" => *call,
            other => panic!("{file}: {other:?}"),
        }
    }

    #[test]
    fn golden_calls() {
        let sriov = "sriov.default.ovn";
        let vf = Some("0000:84:00.3");
        for (verb, file, version, provider, device, prev) in [
            ("ADD", "b1-add", Version::V0_3_1, sriov, vf, false),
            ("DEL", "b2-del", Version::V0_3_1, sriov, vf, false),
            ("DEL", "b2-del-released", Version::V0_3_1, sriov, None, false),
            ("DEL", "b2-del-cluster-conf", Version::V0_3_1, "ovn", None, false),
            ("DEL", "b3-del-0.4.0", Version::V0_4_0, sriov, vf, true),
            ("DEL", "b4-del-1.0.0", Version::V1_0_0, sriov, vf, true),
            ("ADD", "b5-add-drop-in", Version::V0_3_1, "ovn", None, false),
            ("ADD", "secondary-add", Version::V1_0_0, sriov, vf, false),
        ] {
            let call = parse_fixture(verb, file);
            let conf = &call.conf;
            assert_eq!((conf.version, conf.provider.as_str()), (version, provider), "{file}");
            assert_eq!(conf.device_id(), Ok(device), "{file}");
            assert_eq!(conf.prev_result.is_some(), prev, "{file}");
            assert_eq!(
                (conf.name.as_str(), conf.cni_type.as_str(), conf.mode),
                ("kube-ovn", "kube-ovn", Mode::Interface)
            );
            assert_eq!(
                conf.socket(),
                Ok(Path::new("/run/openvswitch/kube-ovn-daemon.sock")),
                "{file}"
            );
            assert!(
                conf.routes.is_empty() && conf.dns.is_empty() && !conf.device_required,
                "{file}"
            );
            assert_eq!(
                (call.container.as_str(), call.ifname.as_str()),
                ("0123456789abcdef", "eth0")
            );
            assert_eq!(call.netns.as_deref(), Some(Path::new("/run/netns/a3pod1")));
            let pod = PodArgs {
                name: "nginx".into(),
                namespace: "default".into(),
                uid: "1111".into(),
            };
            assert_eq!((&call.pod, call.netns_override), (&pod, false));
        }
    }

    #[test]
    fn a_del_may_come_without_a_netns_and_a_pod() {
        let env = Environment {
            command: Some("DEL".into()),
            container_id: Some("c1".into()),
            ifname: Some("eth0".into()),
            path: Some("/opt/cni/bin".into()),
            ..Environment::default()
        };
        let Ok(Invocation::Del(call)) = parse(&env, b"{\"name\":\"n\"}", "kube-ovn") else {
            panic!("no DEL")
        };
        assert_eq!(
            (call.netns, call.pod, call.conf.version),
            (None, PodArgs::default(), Version::V0_1_0)
        );
    }
}
