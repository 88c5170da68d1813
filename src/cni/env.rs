//! What a call says in environment variables.

use super::{Code, Failure};
use crate::types::{ContainerId, IfName};

/// A command that takes a network configuration, so: any but VERSION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Del,
    Check,
    Gc,
    Status,
}

impl Verb {
    pub(super) fn of(command: &str) -> Option<Self> {
        Some(match command {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            _ => return None,
        })
    }

    /// Whether the verb is about one attachment.
    fn is_attachment(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }
}

/// The variables of the protocol. Empty is as good as not set: libcni sets all of them for GC and STATUS,
/// most to nothing.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `CNI_COMMAND`
    pub command: Option<String>,
    /// `CNI_CONTAINERID`
    pub container_id: Option<String>,
    /// `CNI_NETNS`
    pub netns: Option<String>,
    /// `CNI_IFNAME`
    pub ifname: Option<String>,
    /// `CNI_ARGS`
    pub args: Option<String>,
    /// `CNI_PATH`
    pub path: Option<String>,
    /// `CNI_NETNS_OVERRIDE`
    pub netns_override: Option<String>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn from_process() -> Self {
        Self::from_lookup(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn from_lookup(get: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name| get(name).filter(|value| !value.is_empty());
        Self {
            command: get("CNI_COMMAND"),
            container_id: get("CNI_CONTAINERID"),
            netns: get("CNI_NETNS"),
            ifname: get("CNI_IFNAME"),
            args: get("CNI_ARGS"),
            path: get("CNI_PATH"),
            netns_override: get("CNI_NETNS_OVERRIDE"),
        }
    }

    /// Checks what `verb` needs: a malformed value is told before missing ones, and those all at once.
    /// `CNI_PATH` is optional in the specification and required by skel; every caller sets it.
    pub(super) fn check(&self, verb: Verb) -> Result<(), Failure> {
        let attachment = verb.is_attachment();
        if attachment && self.container_id.is_some() {
            self.container()?;
        }
        if attachment && self.ifname.is_some() {
            self.interface()?;
        }
        let missing: Vec<&str> = [
            ("CNI_CONTAINERID", &self.container_id, attachment),
            ("CNI_NETNS", &self.netns, attachment && verb != Verb::Del),
            ("CNI_IFNAME", &self.ifname, attachment),
            ("CNI_PATH", &self.path, true),
        ]
        .into_iter()
        .filter(|(_, value, required)| *required && value.is_none())
        .map(|(name, ..)| name)
        .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let msg = format!("required env variables [{}] missing", missing.join(","));
        Err(Failure::new(Code::InvalidEnvironment, msg, ""))
    }

    pub(super) fn container(&self) -> Result<ContainerId, Failure> {
        let text = self.container_id.as_deref().unwrap_or_default();
        text.parse()
            .map_err(|_| Failure::new(Code::InvalidEnvironment, "invalid characters in containerID", text))
    }

    pub(super) fn interface(&self) -> Result<IfName, Failure> {
        let text = self.ifname.as_deref().unwrap_or_default();
        text.parse().map_err(|crate::types::Invalid(why)| {
            Failure::new(
                Code::InvalidEnvironment,
                why,
                format!("CNI_IFNAME is {text:?}; at most 15 bytes"),
            )
        })
    }

    /// The values that count as yes for `pkg/ns/ns_linux.go` of containernetworking/plugins.
    pub(super) fn overrides_netns(&self) -> bool {
        self.netns_override
            .as_deref()
            .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }
}

/// The pod, from `CNI_ARGS`. What is not there is "".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodArgs {
    /// `K8S_POD_NAME`
    pub name: String,
    /// `K8S_POD_NAMESPACE`
    pub namespace: String,
    /// `K8S_POD_UID`
    pub uid: String,
}

impl PodArgs {
    /// Takes the first value that is not empty: thin Multus sends its own keys, maybe empty, and then the runtime's
    /// again (`mergeCNIRuntimeConfig` in its pkg/types/conf.go). Other keys, and what is no `K=V`, are not ours to judge.
    pub(super) fn parse(args: &str) -> Self {
        let first = |key: &str| {
            args.split(';')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, value)| *name == key && !value.is_empty())
                .map_or_else(String::new, |(_, value)| value.to_owned())
        };
        Self {
            name: first("K8S_POD_NAME"),
            namespace: first("K8S_POD_NAMESPACE"),
            uid: first("K8S_POD_UID"),
        }
    }

    /// What ADD demands: without name and namespace the daemon cannot find the pod.
    pub fn require(&self) -> Result<(), Failure> {
        let missing: Vec<&str> = [("K8S_POD_NAME", &self.name), ("K8S_POD_NAMESPACE", &self.namespace)]
            .into_iter()
            .filter(|(_, value)| value.is_empty())
            .map(|(key, _)| key)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let verb = if missing.len() == 1 { "is" } else { "are" };
        Err(Failure::new(
            Code::InvalidConfig,
            format!("{} {verb} required in CNI_ARGS", missing.join(" and ")),
            "kubelet's runtime and Multus set it; this plugin attaches Kubernetes pods only",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Environment {
        Environment::from_lookup(|name| {
            Some(match name {
                "CNI_CONTAINERID" => "c1".to_owned(),
                "CNI_IFNAME" => "eth0".to_owned(),
                "CNI_NETNS_OVERRIDE" => String::new(),
                other => format!("/{other}"),
            })
        })
    }

    #[test]
    fn empty_is_unset() {
        assert_eq!(full().netns_override, None);
        assert_eq!(full().netns.as_deref(), Some("/CNI_NETNS"));
    }

    #[test]
    fn every_verb_has_its_variables() {
        let bare = Environment::default();
        for (verb, missing) in [
            (Verb::Add, "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
            (Verb::Check, "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
            (Verb::Del, "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
            (Verb::Gc, "CNI_PATH"),
            (Verb::Status, "CNI_PATH"),
        ] {
            full().check(verb).unwrap();
            let failure = bare.check(verb).unwrap_err();
            assert_eq!(failure.code, Code::InvalidEnvironment);
            assert_eq!(failure.msg, format!("required env variables [{missing}] missing"));
        }
    }

    #[test]
    fn a_bad_value_matters_only_where_it_is_needed_and_before_a_missing_one() {
        let bad = Environment {
            ifname: Some("a:b".into()),
            path: None,
            ..full()
        };
        assert_eq!(
            bad.check(Verb::Del).unwrap_err().msg,
            "interface name contains / or : or whitespace characters"
        );
        assert_eq!(
            bad.check(Verb::Gc).unwrap_err().msg,
            "required env variables [CNI_PATH] missing"
        );
        let bad = Environment {
            container_id: Some("--".into()),
            ..full()
        };
        bad.check(Verb::Gc).unwrap();
        assert_eq!(bad.check(Verb::Add).unwrap_err().details, "--");
    }

    #[test]
    fn netns_override() {
        for (value, yes) in [
            ("1", true),
            ("TRUE", true),
            ("true", true),
            ("0", false),
            ("yes", false),
        ] {
            let env = Environment {
                netns_override: Some(value.into()),
                ..Environment::default()
            };
            assert_eq!(env.overrides_netns(), yes, "{value}");
        }
        assert!(!full().overrides_netns());
    }

    #[test]
    fn pod_args_as_the_callers_send_them() {
        let pod = |name: &str, namespace: &str, uid: &str| PodArgs {
            name: name.into(),
            namespace: namespace.into(),
            uid: uid.into(),
        };
        for (args, expected) in [
            ("", pod("", "", "")),
            // thin Multus: everything twice, and the runtime's own keys after it
            (
                "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx;K8S_POD_INFRA_CONTAINER_ID=abc;\
                 K8S_POD_UID=1111;IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx;\
                 K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=1111;MAC=0a:58:0a:00:00:01;IP=10.88.77.99/24",
                pod("nginx", "default", "1111"),
            ),
            // the first that is not empty
            (
                "K8S_POD_UID=;K8S_POD_NAME=;K8S_POD_NAME=a;K8S_POD_NAME=b",
                pod("a", "", ""),
            ),
            // podman
            ("IgnoreUnknown=1;K8S_POD_NAME=ctr", pod("ctr", "", "")),
            // what Go's LoadArgs refuses
            (
                ";;K8S_POD_NAME;=;K8S_POD_NAMESPACE=a=b;k8s_pod_name=x",
                pod("", "a=b", ""),
            ),
        ] {
            assert_eq!(PodArgs::parse(args), expected, "{args}");
        }
    }

    #[test]
    fn require_names_what_is_missing() {
        for (args, msg) in [
            ("", "K8S_POD_NAME and K8S_POD_NAMESPACE are required in CNI_ARGS"),
            ("K8S_POD_NAME=a", "K8S_POD_NAMESPACE is required in CNI_ARGS"),
            ("K8S_POD_NAMESPACE=a", "K8S_POD_NAME is required in CNI_ARGS"),
        ] {
            let failure = PodArgs::parse(args).require().unwrap_err();
            assert_eq!((failure.code, failure.msg.as_str()), (Code::InvalidConfig, msg));
        }
        PodArgs::parse("K8S_POD_NAMESPACE=a;K8S_POD_NAME=b").require().unwrap();
    }
}
