//! Whether kubelet allocated a device to the pod that gets it.
//!
//! Multus names the device that kubelet allocated, but a netconf may name any, and the netconf is a tenant's word. kubelet
//! writes down what it allocates, to which pod, in a checkpoint; it does so before it admits the pod
//! (allocateContainerResources in pkg/kubelet/cm/devicemanager/manager.go ends with writeCheckpoint, and is called by the
//! admission of the pod), so a sandbox's ADD always finds its own entry. What it gave to a pod that has ended stays there
//! until the next allocation: so an entry of another pod means nothing when there is one of this pod.
//!
//! Devices that a driver for dynamic resource allocation (DRA) gives out are not in the checkpoint.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Formatter};
use std::fs;
use std::path::Path;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::PATH;
use super::file::read;
use crate::text::{cut, quoted};
use crate::types::PciAddress;

/// kubelet's checkpoint. The directory is a constant of the device plugin API (`DevicePluginPath`); `--root-dir` does not
/// move it.
const CHECKPOINT: &str = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint";
/// What the SR-IOV device plugin writes for each device when kubelet allocates it (device-info-spec, 4.1).
const DEVICE_PLUGIN: &str = "/var/run/k8s.cni.cncf.io/devinfo/dp";
/// It holds a few KB for each container with a device; Multus believes 16 MiB of it as well.
const MAX_CHECKPOINT: u64 = 16 * 1024 * 1024;
/// Files of the device plugin that are looked through: more than a node has VFs.
const MAX_FILES: usize = 4096;
/// Of a name from a file, in characters.
const MAX_SHOWN: usize = 100;

/// Why a device is not known to be allocated to the pod.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unallocated {
    /// Another pod has it.
    #[error("kubelet allocated VF {device} ({resource}) to the pod with UID {holder}, not to this one ({uid}): {HINT}")]
    Others {
        /// The device.
        device: PciAddress,
        /// The resource that it was allocated as.
        resource: String,
        /// The other pod.
        holder: String,
        /// This pod.
        uid: String,
    },
    /// No pod has it.
    #[error("kubelet allocated VF {device} to no pod{}: {HINT}", .pool.as_deref().map(|pool| format!(" (it is a device of {pool})")).unwrap_or_default())]
    Nobodys {
        /// The device.
        device: PciAddress,
        /// The device plugin's pool that has it, if any.
        pool: Option<String>,
    },
    /// It can't be told.
    #[error(
        "whether kubelet allocated VF {device} to this pod can't be told: {why}; where that is so for good, set \"allocation\" to \"warn\" or \"off\" in {PATH}"
    )]
    Unknown {
        /// The device.
        device: PciAddress,
        /// Why.
        why: String,
    },
}

const HINT: &str = "the pod must request the resource that the NetworkAttachmentDefinition's annotation \
                    k8s.v1.cni.cncf.io/resourceName names, and its config must not have a deviceID of its own";

/// A device that kubelet has given to a pod, which may have ended since then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The device.
    pub device: PciAddress,
    /// The resource that it was given as.
    pub resource: String,
    /// The UID of the pod.
    pub uid: String,
}

/// What kubelet's checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocations {
    /// The PCI devices that it has given to pods.
    pub given: Vec<Given>,
    /// The resources that device plugins offer, and the IDs of the devices of each.
    pub registered: Vec<(String, Vec<String>)>,
}

/// The PCI devices that kubelet's checkpoint names; none when there is no checkpoint, as on a node without kubelet.
pub fn given() -> Result<Vec<Given>, String> {
    Ok(allocations(Path::new(CHECKPOINT))?.map_or_else(Vec::new, |found| found.given))
}

/// Why it is no checkpoint: such an error has the whole text that stands where something else should.
fn reason(error: &serde_json::Error) -> String {
    cut(&error.to_string(), 2 * MAX_SHOWN)
}

/// What a checkpoint says; nothing when there is none.
pub fn allocations(checkpoint: &Path) -> Result<Option<Allocations>, String> {
    let why = |why: String| format!("{}: {why}", checkpoint.display());
    let Some(bytes) = read(checkpoint, MAX_CHECKPOINT).map_err(|e| why(e.to_string()))? else {
        return Ok(None);
    };
    let Checkpoint { data } = serde_json::from_slice::<Checkpoint<'_, Registered>>(&bytes)
        .map_err(|e| why(format!("it has another form than expected: {}", reason(&e))))?;
    let entries = data.entries.unwrap_or_default();
    let given = entries.iter().flat_map(|entry| {
        entry.ids().filter_map(|id| {
            Some(Given {
                device: id.parse().ok()?,
                resource: cut(&entry.resource, MAX_SHOWN),
                uid: cut(&entry.uid, MAX_SHOWN),
            })
        })
    });
    let registered = data.registered.unwrap_or_default().into_iter();
    Ok(Some(Allocations {
        given: given.collect(),
        registered: registered
            .map(|(resource, ids)| (cut(&resource, MAX_SHOWN), ids.unwrap_or_default()))
            .collect(),
    }))
}

/// Where a node's allocations are written down.
struct Sources<'a> {
    checkpoint: &'a Path,
    device_plugin: &'a Path,
}

/// Sees whether kubelet allocated the device to the pod with this UID.
pub fn is_allocated(device: &PciAddress, uid: &str) -> Result<(), Unallocated> {
    let sources = Sources {
        checkpoint: Path::new(CHECKPOINT),
        device_plugin: Path::new(DEVICE_PLUGIN),
    };
    look(&sources, device, uid)
}

fn look(sources: &Sources<'_>, device: &PciAddress, uid: &str) -> Result<(), Unallocated> {
    let unknown = |why: String| Unallocated::Unknown {
        device: device.clone(),
        why,
    };
    if uid.is_empty() {
        return Err(unknown("CNI_ARGS has no K8S_POD_UID".to_owned()));
    }
    let checkpoint = sources.checkpoint.display();
    let bytes = read(sources.checkpoint, MAX_CHECKPOINT)
        .map_err(|e| unknown(format!("{checkpoint}: {e}")))?
        .ok_or_else(|| unknown(format!("{checkpoint} does not exist")))?;
    let Checkpoint { data } = serde_json::from_slice::<Checkpoint<'_, IgnoredAny>>(&bytes)
        .map_err(|e| unknown(format!("{checkpoint} has another form: {}", reason(&e))))?;
    let entries = data.entries.unwrap_or_default();
    let mut holders = entries.iter().filter(|entry| entry.has(device)).peekable();
    let first = holders
        .peek()
        .map(|entry| (entry.resource.to_string(), entry.uid.to_string()));
    if holders.any(|entry| entry.uid == uid) {
        return Ok(());
    }
    Err(match first {
        Some((resource, holder)) => Unallocated::Others {
            device: device.clone(),
            resource: cut(&resource, MAX_SHOWN),
            holder: cut(&holder, MAX_SHOWN),
            uid: quoted(uid, MAX_SHOWN),
        },
        None => Unallocated::Nobodys {
            device: device.clone(),
            pool: pool(sources.device_plugin, device),
        },
    })
}

/// Of the file's text, which may be long, nothing is copied that need not be. `R` is what is wanted of the resources.
#[derive(Deserialize)]
struct Checkpoint<'a, R> {
    #[serde(rename = "Data", borrow, bound(deserialize = "R: Deserialize<'de>"))]
    data: Data<'a, R>,
}

#[derive(Deserialize)]
struct Data<'a, R> {
    #[serde(rename = "PodDeviceEntries", borrow)]
    entries: Option<Vec<Entry<'a>>>,
    #[serde(rename = "RegisteredDevices")]
    registered: Option<R>,
}

type Registered = BTreeMap<String, Option<Vec<String>>>;

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(rename = "PodUID", borrow)]
    uid: Cow<'a, str>,
    #[serde(rename = "ResourceName", borrow)]
    resource: Cow<'a, str>,
    #[serde(rename = "DeviceIDs", borrow)]
    devices: Option<Ids<'a>>,
}

/// The IDs of an entry's devices: by NUMA node from Kubernetes 1.20 on, a plain list before.
struct Ids<'a>(Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Ids<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Ids<'de>;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("device IDs, in a list or in one for each NUMA node")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ids<'de>, A::Error> {
                let mut ids = Vec::new();
                while let Some(Id(id)) = list.next_element()? {
                    ids.push(id);
                }
                Ok(Ids(ids))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut nodes: A) -> Result<Ids<'de>, A::Error> {
                let mut ids = Vec::new();
                while let Some((IgnoredAny, list)) = nodes.next_entry::<_, Option<Ids<'de>>>()? {
                    ids.extend(list.into_iter().flat_map(|Ids(of_node)| of_node));
                }
                Ok(Ids(ids))
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// Without this, serde copies what it can borrow.
#[derive(Deserialize)]
struct Id<'a>(#[serde(borrow)] Cow<'a, str>);

impl Entry<'_> {
    fn ids(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().flat_map(|Ids(ids)| ids).map(AsRef::as_ref)
    }

    fn has(&self, device: &PciAddress) -> bool {
        self.ids().any(|id| id.eq_ignore_ascii_case(device.as_str()))
    }
}

/// The pool of the device plugin that has the device: the file's name is `<resource>-<device>-device.json`, with `-` for `/`.
fn pool(directory: &Path, device: &PciAddress) -> Option<String> {
    let suffix = format!("-{device}-device.json");
    let entries = fs::read_dir(directory).ok()?.take(MAX_FILES).flatten();
    let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.find_map(|name| name.strip_suffix(&suffix).map(|pool| cut(pool, MAX_SHOWN)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const UID: &str = "11111111-2222-3333-4444-555555555555";

    fn look_at(checkpoint: Option<&str>, uid: &str) -> Result<(), String> {
        let node = tempfile::tempdir().unwrap();
        let (file, device_plugin) = (node.path().join("checkpoint"), node.path().join("dp"));
        if let Some(text) = checkpoint {
            fs::write(&file, text).unwrap();
        }
        fs::create_dir(&device_plugin).unwrap();
        fs::write(device_plugin.join("mellanox.com-cx5-0000:03:00.4-device.json"), "{}").unwrap();
        let sources = Sources {
            checkpoint: &file,
            device_plugin: &device_plugin,
        };
        let verdict = look(&sources, &"0000:03:00.2".parse().unwrap(), uid).map_err(|e| e.to_string());
        let other = look(&sources, &"0000:03:00.4".parse().unwrap(), uid).map_err(|e| e.to_string());
        if let Err(why) = &verdict
            && why.contains("to no pod")
        {
            assert!(other.unwrap_err().contains("(it is a device of mellanox.com-cx5)"));
        }
        verdict
    }

    /// As kubelet of today writes it, with these entries: UID and device IDs.
    fn checkpoint(entries: &[(&str, Value)]) -> String {
        let entries: Vec<Value> = entries
            .iter()
            .map(|(uid, ids)| {
                json!({"PodUID": uid, "ContainerName": "c", "ResourceName": "mellanox.com/cx5", "DeviceIDs": ids,
                    "AllocResp": "Q0lBPQ=="})
            })
            .collect();
        let registered = json!({"mellanox.com/cx5": ["0000:03:00.2", "0000:03:00.3"]});
        json!({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": registered}, "Checksum": 1, "BootID": "b"})
            .to_string()
    }

    #[test]
    fn allocated_to_this_pod() {
        for ids in [
            json!({"0": ["0000:03:00.2"]}),
            json!({"-1": null, "1": ["0000:03:00.1", "0000:03:00.2"]}),
            json!(["0000:03:00.2"]),
        ] {
            assert_eq!(look_at(Some(&checkpoint(&[(UID, ids.clone())])), UID), Ok(()));
            let with_a_dead_pod = [("dead", ids.clone()), (UID, ids)];
            assert_eq!(look_at(Some(&checkpoint(&with_a_dead_pod)), UID), Ok(()));
        }
    }

    #[test]
    fn not_allocated_to_it() {
        let ids = || json!({"0": ["0000:03:00.2"]});
        let other = look_at(Some(&checkpoint(&[("other\npod", ids())])), UID).unwrap_err();
        assert!(
            other.starts_with(&format!(
                "kubelet allocated VF 0000:03:00.2 (mellanox.com/cx5) to the pod with UID other pod, not to this one (\"{UID}\"): \
                 the pod must request"
            )),
            "{other}"
        );
        for text in [
            checkpoint(&[]),
            checkpoint(&[(UID, json!({"0": ["0000:03:00.3"]})), (UID, json!(null))]),
            json!({"Data": {"PodDeviceEntries": null}}).to_string(),
        ] {
            let nobody = look_at(Some(&text), UID).unwrap_err();
            assert!(
                nobody.starts_with("kubelet allocated VF 0000:03:00.2 to no pod: "),
                "{nobody}"
            );
        }
    }

    #[test]
    fn all_that_were_given() {
        let node = tempfile::tempdir().unwrap();
        let file = node.path().join("checkpoint");
        assert_eq!(allocations(&file), Ok(None));
        let text = checkpoint(&[
            (UID, json!({"-1": null, "1": ["0000:03:00.2", "mlx5_core.sf.4"]})),
            ("other", json!(["0000:03:00.3"])),
            ("none", json!(null)),
        ]);
        fs::write(&file, text).unwrap();
        let found = allocations(&file).unwrap().unwrap();
        assert_eq!(
            found.registered,
            [(
                "mellanox.com/cx5".to_owned(),
                vec!["0000:03:00.2".to_owned(), "0000:03:00.3".to_owned()]
            )]
        );
        let given: Vec<_> = found
            .given
            .into_iter()
            .map(|given| (given.device.to_string(), given.uid))
            .collect();
        assert_eq!(
            given,
            [
                ("0000:03:00.2".into(), UID.into()),
                ("0000:03:00.3".into(), "other".into())
            ]
        );
        fs::write(&file, "{").unwrap();
        assert!(allocations(&file).unwrap_err().contains("another form"));
    }

    #[test]
    fn not_known() {
        for (text, uid, part) in [
            (Some(checkpoint(&[])), "", "CNI_ARGS has no K8S_POD_UID"),
            (None, UID, "does not exist"),
            (Some("{".to_owned()), UID, "has another form"),
            (Some("{}".to_owned()), UID, "has another form"),
            (Some(checkpoint(&[(UID, json!(3))])), UID, "has another form"),
            (Some(" ".repeat(16 * 1024 * 1024 + 1)), UID, "more than 16777216 bytes"),
        ] {
            let why = look_at(text.as_deref(), uid).unwrap_err();
            assert!(
                why.contains("can't be told: ") && why.contains(part) && why.contains("set \"allocation\""),
                "{why}"
            );
        }
    }
}
