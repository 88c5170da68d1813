//! The plugin that is looked at, and the node that it runs on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};

use crate::VERSIONS;
use crate::host::Host;
use crate::support::{Answer, Call};

/// Another plugin than ours: one that attaches a pod with addresses from host-local, such as ptp or bridge.
pub(crate) const OTHER: &str = "CONFORMANCE_PLUGIN";

/// Where Debian's package containernetworking-plugins has its executables.
pub(crate) const DEBIANS: &str = "/usr/lib/cni";

/// Where the daemon listens.
pub(crate) const SOCKET: &str = "/run/openvswitch/kube-ovn-daemon.sock";

/// A socket of which nobody listens, where a plugin may look for one.
pub(crate) const NO_DAEMON: &str = "/run/openvswitch/nobody.sock";

/// The plugin, and the node.
pub(crate) struct Subject {
    pub(crate) host: Host,
    name: String,
}

/// The one of this process: the node is started once, and the tests share it.
pub(crate) fn subject() -> &'static Subject {
    static SUBJECT: OnceLock<Subject> = OnceLock::new();
    SUBJECT.get_or_init(|| {
        let path = std::env::var_os(OTHER).map_or_else(|| env!("CARGO_BIN_EXE_kube-ovn").into(), PathBuf::from);
        let others = ["host-local", "portmap", "tuning"].map(|name| Path::new(DEBIANS).join(name));
        let ours = path.with_file_name("ours"); // that a wrong one calls
        let mut plugins: Vec<&Path> = vec![&path];
        plugins.extend(Some(ours.as_path()).filter(|ours| ours.exists()));
        plugins.extend(others.iter().map(PathBuf::as_path));
        Subject {
            host: Host::start(&plugins),
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        }
    })
}

impl Subject {
    /// Its path on the node.
    pub(crate) fn program(&self) -> String {
        format!("/opt/cni/bin/{}", self.name)
    }

    /// Those of these versions that it says it speaks. Ours speaks all (items 25 and 41); what another does in those that it does not
    /// know tells nothing about the other items.
    pub(crate) fn of(&self, versions: &[&'static str]) -> Vec<&'static str> {
        static SPOKEN: OnceLock<Value> = OnceLock::new();
        let spoken = SPOKEN.get_or_init(|| {
            let answer = self.bare(&[("CNI_COMMAND", "VERSION")]).run();
            answer.json()["supportedVersions"].clone()
        });
        let spoken = spoken.as_array().unwrap();
        let versions = versions.iter().filter(|version| spoken.contains(&json!(version)));
        versions.copied().collect()
    }

    /// The newest that it speaks.
    pub(crate) fn newest(&self) -> &'static str {
        self.of(&VERSIONS).pop().unwrap()
    }

    /// A network configuration that it takes, and some keys more; `null` takes one away.
    pub(crate) fn conf(&self, version: &str, keys: Value) -> Value {
        let mut conf = json!({"cniVersion": version, "name": "net", "type": self.name});
        if self.name == "kube-ovn" {
            conf["server_socket"] = json!(SOCKET);
        } else {
            conf["ipam"] = json!({
                "type": "host-local", "subnet": "10.20.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]
            });
        }
        merge(&mut conf, keys);
        conf
    }

    /// The same for a pod with an address of each family.
    pub(crate) fn dual_conf(&self, version: &str) -> Value {
        let mut conf = self.conf(version, json!({}));
        if conf.get("ipam").is_some() {
            let ranges = json!([[{"subnet": "10.20.0.0/16"}], [{"subnet": "fd20::/64"}]]);
            let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
            conf["ipam"] = json!({"type": "host-local", "ranges": ranges, "routes": routes});
        }
        conf
    }

    /// With these variables only.
    pub(crate) fn bare(&self, env: &[(&str, &str)]) -> Call {
        Call::new(env).program(&self.host.inside(), &self.program())
    }

    /// A call with all that it needs, of an attachment that there is not and in a namespace that does not exist, so that nothing
    /// can come of it.
    pub(crate) fn call(&self, verb: &str, keys: Value) -> Call {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let container = format!("fedcba98{:08x}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Call::verb(verb)
            .program(&self.host.inside(), &self.program())
            .env("CNI_CONTAINERID", &container)
            .env("CNI_PATH", "/opt/cni/bin")
            .stdin(self.conf("1.0.0", keys).to_string())
    }
}

/// Sets keys of an object; `null` takes one away.
pub(crate) fn merge(object: &mut Value, keys: Value) {
    for (key, value) in keys.as_object().unwrap() {
        object[key] = value.clone();
    }
    object.as_object_mut().unwrap().retain(|_, value| !value.is_null());
}

/// A sandbox on the node, with an address of its own.
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) container: String,
    pub(crate) ip: String,
}

impl Pod {
    /// A new one.
    pub(crate) fn new() -> Self {
        Self::with(json!({}))
    }

    /// A new one, whose annotations differ from the usual ones.
    pub(crate) fn with(annotation: Value) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let host = &subject().host;
        let name = format!("pod{number}");
        host.sh(&format!("ip netns add {name}; ip -n {name} link set lo up"));
        let ip = host.annotate(&format!("default/{name}"), "ovn", &annotation);
        Self {
            ip,
            container: format!("{number:06}c0ffee0123456789"),
            name,
        }
    }

    pub(crate) fn netns(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// A call for its eth0.
    pub(crate) fn call(&self, verb: &str, conf: &Value) -> Call {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={}",
            self.name, self.container
        );
        Call::verb(verb)
            .program(&subject().host.inside(), &subject().program())
            .env("CNI_CONTAINERID", &self.container)
            .env("CNI_NETNS", &self.netns())
            .env("CNI_ARGS", &args)
            .env("CNI_PATH", "/opt/cni/bin")
            .stdin(conf.to_string())
    }

    /// An ADD that succeeds; its result.
    #[track_caller]
    pub(crate) fn add(&self, version: &str) -> Value {
        let answer = self.call("ADD", &subject().conf(version, json!({}))).run();
        assert_eq!(answer.rc, 0, "{answer:?}");
        answer.json()
    }

    /// The result of ADD for one with an address of each family, which is deleted already; the same to everyone who asks.
    pub(crate) fn dual_result(version: &'static str) -> Value {
        static RESULTS: Mutex<BTreeMap<&str, Value>> = Mutex::new(BTreeMap::new());
        let mut results = RESULTS.lock().unwrap_or_else(PoisonError::into_inner);
        results
            .entry(version)
            .or_insert_with(|| Self::add_dual(version))
            .clone()
    }

    #[track_caller]
    fn add_dual(version: &str) -> Value {
        let pod = Self::with(json!({"dual": true}));
        let conf = subject().dual_conf(version);
        let answer = pod.call("ADD", &conf).run();
        assert_eq!(answer.rc, 0, "{answer:?}");
        assert_silent(&pod.call("DEL", &conf).run());
        answer.json()
    }

    /// A DEL, without prevResult.
    pub(crate) fn del(&self, version: &str) -> Answer {
        self.call("DEL", &subject().conf(version, json!({}))).run()
    }

    /// CHECK of what ADD gave.
    pub(crate) fn check(&self, version: &str, result: &Value) -> Answer {
        let conf = subject().conf(version, json!({"prevResult": result}));
        self.call("CHECK", &conf).run()
    }

    /// What `ip -j` says in it.
    pub(crate) fn ip(&self, words: &str) -> Value {
        let text = subject().host.sh(&format!("ip -n {} -j {words}", self.name));
        if text.is_empty() {
            json!([])
        } else {
            serde_json::from_str(&text).unwrap()
        }
    }

    /// The names of its links.
    pub(crate) fn links(&self) -> Vec<String> {
        let links = self.ip("link show");
        let name = |link: &Value| link["ifname"].as_str().unwrap().to_owned();
        links.as_array().unwrap().iter().map(name).collect()
    }

    /// What of it is outside of it: the other ends of its links, and what is named after it on the host and in OVS.
    pub(crate) fn outside(&self) -> String {
        let (id, name) = (&self.container[..12], &self.name);
        subject().host.sh(&format!(
            "ip -o link show | grep -E '{id}|link-netns {name} ' || true; ovs-vsctl list-ports br-int | grep {id} || true"
        ))
    }

    /// Nothing is left, in it or outside of it.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(self.links(), ["lo"]);
        assert_eq!(self.outside(), "");
    }
}

/// A DEL or the like that says nothing but that it went well.
#[track_caller]
pub(crate) fn assert_silent(answer: &Answer) {
    assert_eq!((answer.rc, answer.stdout.as_str()), (0, ""), "{answer:?}");
}

/// The protocol has no objection to a call of [`Subject::call`]: what fails then is the attachment.
#[track_caller]
pub(crate) fn assert_accepted(answer: &Answer) {
    if answer.rc != 0 {
        let json = answer.json();
        let (code, text) = (json["code"].as_u64().unwrap(), json.to_string());
        assert!(
            text.contains("/nonexistent/netns") && ![1, 2, 6, 7].contains(&code),
            "{answer:?}"
        );
    }
}
