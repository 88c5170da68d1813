//! The plugin's own: the node's settings, its records, and whether kube-ovn-daemon listens.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kube_ovn::daemon::Client;
use kube_ovn::node::{self, Config};
use kube_ovn::state::{self, Record, Store};
use kube_ovn::types::{NetnsId, PciAddress};

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
    /// Whether the pod's network namespace is the one that is recorded.
    pub(in super::super) is_alive: bool,
}

pub(super) async fn gather(place: &Place) -> Node {
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
        records: records(place, &store),
        daemon: reached.map_err(|error| error.to_string()),
    }
}

fn records(place: &Place, store: &Store) -> Asked<Vec<Recorded>> {
    let mut found = Vec::new();
    for device in store.devices().map_err(|error| error.to_string())? {
        let record = match store.read(&device) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => continue, // given back just now
            Err(error) => Err(error.to_string()),
        };
        let is_alive = record.as_ref().is_ok_and(|record| is_alive(place, record));
        found.push(Recorded {
            device,
            record,
            is_alive,
        });
    }
    Ok(found)
}

fn is_alive(place: &Place, record: &Record) -> bool {
    let path = place.path(&Path::new(&record.claim.netns).to_string_lossy());
    let id = fs::metadata(path).map(|file| NetnsId {
        device: file.dev(),
        inode: file.ino(),
    });
    id.is_ok_and(|id| id == record.netns_id)
}
