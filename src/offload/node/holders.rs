//! Which pod has which VF: by the plugin's records, else by what kubelet has given to pods that are there.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use kube_ovn::node::{Given, given};
use kube_ovn::state::Store;
use kube_ovn::text::cut;
use kube_ovn::types::PciAddress;

/// kubelet's directory of pods, one for each that is not wholly gone. `--root-dir` moves it; then it is not known who lives.
const PODS: &str = "/var/lib/kubelet/pods";
/// Its directory of logs, whose names are `NAMESPACE_NAME_UID`.
const LOGS: &str = "/var/log/pods";
/// Of a name from a directory, in characters: a namespace and a pod's name have up to 63 and 253.
const MAX_NAME: usize = 320;

/// Who has a VF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A pod that the plugin attached it to.
    Attached {
        pod: String,
        ifname: String,
        /// The attachment has ended, and is not wholly given back.
        ended: bool,
    },
    /// A record that can't be understood.
    Unreadable,
    /// A pod that kubelet gave it to, and that the plugin has not attached it to (yet).
    Given { pod: String, resource: String },
    /// Its netdev is neither here nor known to be in a pod.
    Elsewhere,
    /// A process has it by vfio, of this group.
    Machine(u32),
}

impl Holder {
    /// As the end of a sentence about the VF.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Attached {
                pod,
                ifname,
                ended: false,
            } => format!("pod {pod} has it as {ifname}"),
            Self::Attached { pod, ended: true, .. } => {
                format!("pod {pod} had it, and it is not wholly given back (kube-ovn-offload gc)")
            }
            Self::Unreadable => "its record can't be read (kube-ovn-offload attachments)".to_owned(),
            Self::Given { pod, resource } => format!("kubelet gave it to pod {pod} as {resource}"),
            Self::Elsewhere => "its netdev is not in the host's network namespace: a pod may have it".to_owned(),
            Self::Machine(group) => format!("a process, such as a virtual machine, has /dev/vfio/{group} open"),
        }
    }

    /// In a table.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Attached {
                pod,
                ifname,
                ended: false,
            } => format!("{pod} ({ifname})"),
            Self::Attached { pod, ended: true, .. } => format!("{pod} (ended)"),
            Self::Unreadable => "? (unreadable record)".to_owned(),
            Self::Given { pod, .. } => format!("{pod} (given by kubelet)"),
            Self::Elsewhere => "? (not in the host's namespace)".to_owned(),
            Self::Machine(group) => format!("? (/dev/vfio/{group} is open)"),
        }
    }
}

/// Whether a process has a function by vfio: then taking it from its driver waits for ever. A group can be opened once only
/// (`vfio_group_fops_open` in drivers/vfio says EBUSY), and opening it does nothing to the function.
pub(super) fn in_machine(group: Option<u32>) -> Option<Holder> {
    let group = group?;
    let opened = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/dev/vfio/{group}"));
    let is_busy = opened.is_err_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy);
    is_busy.then_some(Holder::Machine(group))
}

/// What is known of pods, read once.
pub(crate) struct Holders {
    store: Option<Store>,
    given: HashMap<PciAddress, Given>,
    names: HashMap<String, String>,
}

/// Where that is read.
pub(crate) struct Sources {
    pub(crate) state: PathBuf,
    pub(crate) pods: PathBuf,
    pub(crate) logs: PathBuf,
}

impl Sources {
    /// Of this node, with the records in this directory.
    pub(crate) fn of_this_node(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            pods: PODS.into(),
            logs: LOGS.into(),
        }
    }
}

impl Holders {
    /// Nobody, for another machine's sysfs.
    pub(crate) fn nobody() -> Self {
        Self {
            store: None,
            given: HashMap::new(),
            names: HashMap::new(),
        }
    }

    /// Those that the plugin's records tell, and no others.
    pub(crate) fn recorded(state: &Path) -> Self {
        Self {
            store: Some(Store::at(state)),
            ..Self::nobody()
        }
    }

    /// Those of this node; an error when what kubelet has given can't be told.
    pub(crate) fn of(sources: &Sources) -> Result<Self, String> {
        Ok(Self::from_given(sources, given()?))
    }

    fn from_given(sources: &Sources, given: Vec<Given>) -> Self {
        let knows_pods = sources.pods.is_dir();
        let lives = |given: &Given| {
            let is_uid = given.uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            !knows_pods || (is_uid && sources.pods.join(&given.uid).is_dir())
        };
        Self {
            store: Some(Store::at(&sources.state)),
            given: given
                .into_iter()
                .filter(lives)
                .map(|given| (given.device.clone(), given))
                .collect(),
            names: names(&sources.logs),
        }
    }

    /// Who has a VF; `is_away`: it should have a netdev in the host's namespace, and has none.
    pub(crate) fn of_vf(&self, vf: &PciAddress, is_away: bool) -> Result<Option<Holder>, String> {
        if let Some(store) = &self.store {
            match store.read(vf) {
                Ok(None) => {}
                Ok(Some(record)) => {
                    return Ok(Some(Holder::Attached {
                        pod: format!("{}/{}", record.claim.pod.namespace, record.claim.pod.name),
                        ifname: record.claim.ifname.to_string(),
                        ended: record.ending,
                    }));
                }
                Err(kube_ovn::state::Error::Unreadable { .. }) => return Ok(Some(Holder::Unreadable)),
                Err(other) => return Err(other.to_string()),
            }
        }
        if let Some(given) = self.given.get(vf) {
            let name = self.names.get(&given.uid);
            return Ok(Some(Holder::Given {
                pod: name.cloned().unwrap_or_else(|| format!("with UID {}", given.uid)),
                resource: given.resource.clone(),
            }));
        }
        Ok(is_away.then_some(Holder::Elsewhere))
    }
}

/// Pods' names by UID; none that can't be read.
fn names(logs: &Path) -> HashMap<String, String> {
    let entries = fs::read_dir(logs).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| {
        let text = entry.file_name().into_string().ok()?;
        // neither a namespace nor a pod's name has an underscore
        let (namespace, rest) = text.split_once('_')?;
        let (pod, uid) = rest.split_once('_')?;
        Some((uid.to_owned(), cut(&format!("{namespace}/{pod}"), MAX_NAME)))
    };
    entries.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(device: &str, uid: &str) -> Given {
        Given {
            device: device.parse().unwrap(),
            resource: "mellanox.com/cx6".to_owned(),
            uid: uid.to_owned(),
        }
    }

    #[test]
    fn who_has_a_vf() {
        let node = tempfile::tempdir().unwrap();
        let sources = Sources {
            state: node.path().join("state"),
            pods: node.path().join("pods"),
            logs: node.path().join("logs"),
        };
        for directory in ["state/vf", "pods/u1", "pods/u2", "logs/shop_web-0_u1"] {
            fs::create_dir_all(node.path().join(directory)).unwrap();
        }
        fs::write(node.path().join("state/vf/0000:03:00.6.json"), "{").unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state/format-1.json");
        fs::copy(fixture, node.path().join("state/vf/0000:03:00.2.json")).unwrap();
        let all = vec![
            given("0000:03:00.3", "u1"),
            given("0000:03:00.4", "u2"),
            given("0000:03:00.5", "dead"),
            given("0000:03:00.7", "../pods/u1"),
        ];
        let holders = Holders::from_given(&sources, all.clone());
        let of = |holders: &Holders, vf: &str, away| {
            let holder = holders.of_vf(&vf.parse().unwrap(), away).unwrap();
            holder.map(|holder| holder.short())
        };
        assert_eq!(
            of(&holders, "0000:03:00.2", true).as_deref(),
            Some("default/pod1 (eth0)")
        );
        assert_eq!(
            of(&holders, "0000:03:00.3", false).as_deref(),
            Some("shop/web-0 (given by kubelet)")
        );
        assert_eq!(
            of(&holders, "0000:03:00.4", false).as_deref(),
            Some("with UID u2 (given by kubelet)")
        );
        assert_eq!(of(&holders, "0000:03:00.5", false), None);
        assert_eq!(
            of(&holders, "0000:03:00.6", false).as_deref(),
            Some("? (unreadable record)")
        );
        assert_eq!(of(&holders, "0000:03:00.7", false), None, "a UID is no path");
        assert_eq!(
            of(&holders, "0000:03:01.0", true).as_deref(),
            Some("? (not in the host's namespace)")
        );
        // where kubelet's pods can't be seen, none is known to be dead
        let elsewhere = Sources {
            pods: node.path().join("nowhere"),
            ..sources
        };
        let holders = Holders::from_given(&elsewhere, all);
        assert!(of(&holders, "0000:03:00.5", false).is_some());
    }
}
