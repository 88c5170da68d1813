//! Open vSwitch on this node: its database (OVSDB, RFC 7047) and ovs-vswitchd's control socket (unixctl, ovs-appctl(8)).
//!
//! kube-ovn-daemon makes and removes ports; we look, and remove a port that the daemon can't be asked to remove. Every call
//! has a deadline, and no answer makes it take more than a few MiB.

mod database;
pub mod flow;
mod frames;
mod jsonrpc;
mod lines;
mod port;
mod reader;
mod remote;
mod rows;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use crate::text::cut;
use database::{Database, map, set, text, uuid_of};
use jsonrpc::Connection;

pub use port::{Expected, Port, Removal, port_name};
pub use reader::Reader;
pub use remote::{NoRemote, Remote};
pub use rows::{Row, Select};

/// Where Open vSwitch has its sockets and pid files; the ovs-ovn pod mounts the host's.
pub const DIRECTORY: &str = "/run/openvswitch";
/// The name of Open vSwitch's own database.
const DATABASE: &str = "Open_vSwitch";
/// The bridge that kube-ovn-daemon puts pods' ports into.
pub const BRIDGE: &str = "br-int";
/// How much of what a server says, or a row holds, goes into an error message, in characters.
const MAX_WORDS: usize = 300;

/// Why Open vSwitch did not tell or do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at the socket.
    #[error("{server} can't be reached at {socket} ({cause}): is the {} running?", pod_of(.server))]
    Unreachable {
        /// Which program.
        server: &'static str,
        /// Where it should listen.
        socket: Remote,
        /// What the kernel said.
        cause: String,
    },
    /// The pid file, which tells where ovs-vswitchd listens, is missing or not one.
    #[error("{file} does not tell the process ID of ovs-vswitchd ({cause}): is the ovs-ovn pod of this node running?",
        file = .file.display())]
    NoPid {
        /// The pid file.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Connected, and then no answer that could be one.
    #[error("{server} at {socket} gave no answer to {method}: {why}")]
    NoReply {
        /// Which program.
        server: &'static str,
        /// Where it listens.
        socket: Remote,
        /// What was asked.
        method: String,
        /// Time, a closed connection, or what came instead.
        why: String,
    },
    /// It said no.
    #[error("{server} refused {method}: {text}")]
    Refused {
        /// Which program.
        server: &'static str,
        /// What was asked.
        method: String,
        /// Its reason.
        text: String,
    },
    /// The port's row was changed by somebody else each time between look and removal.
    #[error(
        "port {0} changes in OVSDB all the time, so it was not removed; who writes it shows: ovsdb-client monitor Interface"
    )]
    Unsteady(String),
}

/// Which pod a server runs in.
fn pod_of(server: &str) -> &'static str {
    if server.starts_with("OVN") {
        "ovn-central pod"
    } else {
        "ovs-ovn pod of this node"
    }
}

/// What decides whether Open vSwitch offloads flows (ovs-vswitchd.conf.db(5), table `Open_vSwitch`); `None` where the key is
/// not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offload {
    /// `other_config:hw-offload`; offload is on only with `true`.
    pub hw_offload: Option<String>,
    /// `other_config:tc-policy`: `none`, `skip_sw` or `skip_hw`.
    pub tc_policy: Option<String>,
}

/// Open vSwitch, by the directory of its sockets.
#[derive(Debug, Clone)]
pub struct Ovs {
    directory: PathBuf,
}

impl Ovs {
    /// The one whose sockets are in that directory.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Whether there is a bridge of that name.
    pub async fn has_bridge(&self, name: &str, deadline: Instant) -> Result<bool, Error> {
        let mut database = self.database(deadline).await?;
        let bridges = database.select("Bridge", json!([["name", "==", name]]), &["name"]);
        Ok(!bridges.await?.is_empty())
    }

    /// The port of that name, with the bridge that it is in.
    pub async fn port(&self, name: &str, deadline: Instant) -> Result<Option<Port>, Error> {
        self.database(deadline).await?.port(name).await
    }

    /// What decides about offload.
    pub async fn offload(&self, deadline: Instant) -> Result<Offload, Error> {
        let mut database = self.database(deadline).await?;
        let rows = database.select("Open_vSwitch", json!([]), &["other_config"]).await?;
        let config = rows.first().map(|row| map(row, "other_config")).unwrap_or_default();
        Ok(Offload {
            hw_offload: config.get("hw-offload").cloned(),
            tc_policy: config.get("tc-policy").cloned(),
        })
    }

    /// Rows of several tables as they were at one moment, in the order of `selects`.
    pub async fn read(&self, selects: &[Select<'_>], deadline: Instant) -> Result<Vec<Vec<Row>>, Error> {
        self.database(deadline).await?.read(selects).await
    }

    /// The version that ovs-vswitchd tells: a sign that its main loop turns. It is there that ports come and go and that
    /// flows are looked up, and a database that answers says nothing about it.
    pub async fn vswitchd_version(&self, deadline: Instant) -> Result<String, Error> {
        let answer = self.appctl("version", &[], deadline).await?;
        Ok(cut(answer.lines().next().unwrap_or_default(), MAX_WORDS))
    }

    /// Whether ovs-vswitchd says that it offloads; `None` when it can't say, as before Open vSwitch 3.7.
    pub async fn says_it_offloads(&self, deadline: Instant) -> Result<Option<bool>, Error> {
        match self.appctl("dpif/offload/show", &[], deadline).await {
            // "Globally enabled: true" is its first line (ofproto/ofproto-dpif.c)
            Ok(answer) => Ok(answer.lines().next().and_then(|line| {
                let said = line.strip_prefix("Globally enabled: ")?;
                said.trim().parse().ok()
            })),
            // "is not a valid command"
            Err(Error::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What ovs-vswitchd answers to a command of ovs-appctl(8), up to 4 MiB of it.
    pub async fn appctl(&self, command: &str, arguments: &[&str], deadline: Instant) -> Result<String, Error> {
        let mut control = self.vswitchd(deadline).await?;
        match control.call(command, json!(arguments)).await? {
            Value::String(answer) => Ok(answer),
            _ => Err(control.no_reply(command, "not a text".to_owned())),
        }
    }

    /// Hands on what ovs-vswitchd answers to a command, line by line as it comes, however long it is. Gives back how many
    /// lines were left out because they are too long.
    pub async fn appctl_lines(
        &self,
        command: &str,
        arguments: &[&str],
        deadline: Instant,
        each: impl FnMut(&str),
    ) -> Result<u64, Error> {
        let control = self.vswitchd(deadline).await?;
        control.call_lines(command, json!(arguments), each).await
    }

    async fn vswitchd(&self, deadline: Instant) -> Result<Connection, Error> {
        let pid_file = self.directory.join("ovs-vswitchd.pid");
        let pid = read_pid(&pid_file).map_err(|error| Error::NoPid {
            file: pid_file,
            cause: error.to_string(),
        })?;
        let socket = self.directory.join(format!("ovs-vswitchd.{pid}.ctl"));
        Connection::open(Remote::Unix(socket), "ovs-vswitchd", deadline).await
    }

    async fn database(&self, deadline: Instant) -> Result<Database, Error> {
        let remote = Remote::Unix(self.directory.join("db.sock"));
        Ok(Database {
            connection: Connection::open(remote, "ovsdb-server", deadline).await?,
            name: DATABASE,
        })
    }
}

/// A pid file has one number. Whoever may write there decides about its size, so no more than a number's length is read.
fn read_pid(file: &Path) -> io::Result<u32> {
    let mut text = String::new();
    File::open(file)?.take(16).read_to_string(&mut text)?;
    let pid = text.trim_end().parse();
    pid.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it holds no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ovs-vswitchd.pid");
        for (text, pid) in [
            ("4711\n", Some(4711)),
            ("4711", Some(4711)),
            ("", None),
            ("../../x", None),
            ("-1", None),
            ("99999999999999999999999", None),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read_pid(&file).ok(), pid, "{text:?}");
        }
    }
}
