use std::path::Path;
use std::time::{Duration, Instant};

use crate::cni::{Code, Failure, NetConf};
use crate::daemon::Client;
use crate::node::{Refused, Settings, trusted_socket};
use crate::ovs::{self, Ovs};
use crate::state::{self, Store};

/// Where STATUS looks.
pub(super) struct Node {
    pub(super) store: Store,
    pub(super) ovs: Ovs,
    pub(super) patience: Patience,
}

/// How much time STATUS gives others.
pub(super) struct Patience {
    /// An answer that takes longer is none.
    pub(super) answer: Duration,
    /// Between the two looks at Open vSwitch.
    pub(super) pause: Duration,
}

/// STATUS: silent when an ADD could be served. Looks, and changes nothing: no file is made, no request is sent to the daemon.
///
/// Runtimes take a node whose STATUS fails for not ready, and nothing is scheduled there any more. So what is about running
/// pods (51), which an upgrade of Open vSwitch brings about for a moment, must be so twice.
pub async fn status(conf: &NetConf, settings: &Settings) -> Result<(), Failure> {
    let node = Node {
        store: Store::at(Path::new(state::DIRECTORY)),
        ovs: Ovs::at(Path::new(ovs::DIRECTORY)),
        patience: Patience {
            answer: Duration::from_secs(2),
            pause: Duration::from_secs(2),
        },
    };
    node.status(conf, settings).await
}

impl Node {
    pub(super) async fn status(&self, conf: &NetConf, settings: &Settings) -> Result<(), Failure> {
        let refused = |why: Refused| Failure::new(Code::InvalidConfig, why.to_string(), "");
        let socket = trusted_socket(conf.socket()?, &settings.config).map_err(refused)?;
        let (adds, mut data_plane) = tokio::join!(self.serves_adds(&socket, settings), self.data_plane());
        if data_plane.is_err() {
            tokio::time::sleep(self.patience.pause).await;
            data_plane = self.data_plane().await;
        }
        let (code, msg, details) = match (data_plane, adds) {
            (Ok(()), Ok(())) => return Ok(()),
            (Ok(()), Err(why)) => (Code::NotAvailable, why, String::new()),
            (Err(why), adds) => (Code::LimitedConnectivity, why, adds.err().unwrap_or_default()),
        };
        Err(Failure::new(code, msg, details))
    }

    /// What every ADD needs.
    async fn serves_adds(&self, socket: &Path, settings: &Settings) -> Result<(), String> {
        if let Some(problem) = &settings.problem {
            return Err(problem.to_string());
        }
        self.store.can_be_made().map_err(|e| e.to_string())?;
        let reached = Client::new(socket).reach(self.answer()).await;
        reached.map_err(|e| e.to_string())
    }

    /// What running pods need: without ovs-vswitchd no flow that is new to the NIC gets anywhere.
    async fn data_plane(&self) -> Result<(), String> {
        let (version, bridge) = tokio::join!(
            self.ovs.vswitchd_version(self.answer()),
            self.ovs.has_bridge(ovs::BRIDGE, self.answer())
        );
        version.map_err(|e| e.to_string())?;
        match bridge {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!(
                "Open vSwitch has no bridge {}, which ovn-controller makes: does it run in the ovs-ovn pod of this node?",
                ovs::BRIDGE
            )),
            Err(e) => Err(e.to_string()),
        }
    }

    fn answer(&self) -> Instant {
        Instant::now() + self.patience.answer
    }
}
