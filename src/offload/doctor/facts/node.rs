//! The plugin's own: the node's settings, its records, and whether kube-ovn-daemon listens.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use kube_ovn::daemon::Client;
use kube_ovn::node::{self, Config};
use kube_ovn::state::{self, Record, Store};
use kube_ovn::types::{NetnsId, PciAddress};

use super::source::Source;
use super::{Asked, Place};

/// Where the daemon listens, unless it is told otherwise.
pub(in super::super) const DAEMON: &str = "/run/openvswitch/kube-ovn-daemon.sock";
/// A connection that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the plugin goes by.
pub(in super::super) struct Node {
    /// The node's settings; `None` without the file.
    pub(in super::super) config: Result<Option<Config>, node::Error>,
    /// Whether records can be written.
    pub(in super::super) state: Result<(), state::Error>,
    /// The records.
    pub(in super::super) records: Asked<Vec<Recorded>>,
    /// Whether kube-ovn-daemon takes a connection.
    pub(in super::super) daemon: Asked<()>,
}

/// A record.
pub(in super::super) struct Recorded {
    /// Its VF.
    pub(in super::super) device: PciAddress,
    /// What it says; or why it can't be read.
    pub(in super::super) record: Asked<Record>,
    /// Whether the pod's network namespace is the one that is recorded, as far as can be seen.
    pub(in super::super) is_alive: bool,
}

pub(super) async fn gather(place: &Place, source: &Asked<Source>) -> Node {
    let store = Store::at(&place.path(state::DIRECTORY));
    let config = if place.exists(node::PATH) {
        Config::load(&place.path(node::PATH)).map(Some)
    } else {
        Ok(None)
    };
    let reached = Client::new(&place.path(DAEMON)).reach(Instant::now() + PATIENCE).await;
    Node {
        config,
        state: store.can_be_made(),
        records: records(place, source, &store),
        daemon: reached.map_err(|error| error.to_string()),
    }
}

fn records(place: &Place, source: &Asked<Source>, store: &Store) -> Asked<Vec<Recorded>> {
    let mut found = Vec::new();
    for device in store.devices().map_err(|error| error.to_string())? {
        let record = match store.read(&device) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => continue, // given back just now
            Err(error) => Err(error.to_string()),
        };
        let is_alive = record.as_ref().is_ok_and(|record| is_alive(place, source, record));
        found.push(Recorded {
            device,
            record,
            is_alive,
        });
    }
    Ok(found)
}

/// Also when that can't be seen from here: it must not be called dead then.
fn is_alive(place: &Place, source: &Asked<Source>, record: &Record) -> bool {
    let path = record.claim.netns.to_string_lossy();
    match fs::metadata(place.path(&path)) {
        Ok(file) => {
            let id = NetnsId {
                device: file.dev(),
                inode: file.ino(),
            };
            id == record.netns_id
        }
        Err(_) => !source
            .as_ref()
            .is_ok_and(|source| source.sees_namespaces_at(&path) == Ok(true)),
    }
}
