//! OVN's databases: what sends traffic through connection tracking.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kube_ovn::ovs::{Reader, Remote, Row, Select};

use super::{Asked, Database, Place};

/// Where ovn-ctl puts the northbound database's socket, on the nodes that have it.
pub(in super::super) const SOCKET: &str = "/run/ovn/ovnnb_db.sock";
/// The northbound database's port, where the southbound one has the next (ovn-nb(5); Kube-OVN's dist/images/start-db.sh).
const PORT: u16 = 6641;
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// What OVN's databases say.
pub(in super::super) struct Ovn {
    /// The node is a chassis: `external_ids:ovn-remote` is set, or the databases are here.
    pub(in super::super) is_here: bool,
    pub(in super::super) north: Asked<North>,
    /// The load balancers of the southbound database; asked only when the northbound one can't be.
    pub(in super::super) south: Asked<usize>,
}

/// The northbound database.
pub(in super::super) struct North {
    /// Where it was read.
    pub(in super::super) address: String,
    /// Whether that is where ovn-nbctl looks by itself.
    pub(in super::super) is_default: bool,
    pub(in super::super) options: BTreeMap<String, String>,
    /// Logical switches with load balancers.
    pub(in super::super) balanced: Vec<Balanced>,
    /// Switches and port groups with stateful ACLs, and how many.
    pub(in super::super) stateful: Vec<(String, usize)>,
}

/// A logical switch with load balancers.
pub(in super::super) struct Balanced {
    pub(in super::super) switch: String,
    /// How many there are, and groups of them.
    pub(in super::super) count: usize,
    /// It is a Subnet of Kube-OVN's.
    pub(in super::super) is_subnet: bool,
}

/// Asks; `north` is the northbound database's address, if somebody knows it.
pub(super) async fn gather(place: &Place, database: &Asked<Database>, north: Option<&str>) -> Ovn {
    let remote = database
        .as_ref()
        .ok()
        .and_then(|database| database.external_ids.get("ovn-remote"));
    let has_socket = place.exists(SOCKET);
    let candidates = match (north, has_socket) {
        (Some(address), _) => address.to_owned(),
        (None, true) => format!("unix:{}", place.path(SOCKET).display()),
        (None, false) => remote.map(|remote| north_of(remote)).unwrap_or_default(),
    };
    let north = north_from(&candidates, has_socket && north.is_none()).await;
    let south = match (&north, remote) {
        (Err(_), Some(remote)) => south_from(remote).await,
        _ => Err("it was not asked".to_owned()),
    };
    Ovn {
        is_here: remote.is_some() || has_socket || !candidates.is_empty(),
        north,
        south,
    }
}

/// The northbound database's addresses, where it runs on the hosts of the southbound one.
fn north_of(remote: &str) -> String {
    let addresses = remote.split(',').map(|one| match one.trim().parse() {
        Ok(Remote::Tcp(address)) => Remote::Tcp(SocketAddr::new(address.ip(), PORT)).to_string(),
        _ => one.trim().to_owned(),
    });
    addresses.collect::<Vec<_>>().join(",")
}

/// The first of some addresses that gives an answer; or why none does.
async fn first(addresses: &str, database: &'static str, selects: &[Select<'_>]) -> Asked<(String, Vec<Vec<Row>>)> {
    let mut why = Vec::new();
    for remote in Remote::list(addresses) {
        let remote = match remote {
            Ok(remote) => remote,
            Err(error) => {
                why.push(error.to_string());
                continue;
            }
        };
        let address = remote.to_string();
        let answer = async {
            let mut reader = Reader::open(remote, database, Instant::now() + PATIENCE).await?;
            reader.read(selects).await
        };
        match answer.await {
            Ok(tables) => return Ok((address, tables)),
            Err(error) => why.push(error.to_string()),
        }
    }
    if why.is_empty() {
        why.push("its address is not known".to_owned());
    }
    Err(why.join("; "))
}

async fn north_from(addresses: &str, is_default: bool) -> Asked<North> {
    let selects = [
        Select {
            table: "NB_Global",
            columns: &["options"],
        },
        Select {
            table: "Logical_Switch",
            columns: &["name", "load_balancer", "load_balancer_group", "acls", "external_ids"],
        },
        Select {
            table: "Port_Group",
            columns: &["name", "acls"],
        },
        Select {
            table: "ACL",
            columns: &["_uuid", "action"],
        },
    ];
    let (address, tables) = first(addresses, "OVN_Northbound", &selects).await?;
    let [globals, switches, groups, acls] = tables.as_slice() else {
        return Err(format!("{address} gave other tables than were asked for"));
    };
    let related = acls.iter().filter(|row| row.text("action") == "allow-related");
    let related: BTreeSet<String> = related.map(Row::uuid).collect();
    let stateful = |what: &str, row: &Row| {
        let count = row.uuids("acls").iter().filter(|uuid| related.contains(*uuid)).count();
        (count > 0).then(|| (format!("{what} {}", row.text("name")), count))
    };
    let of_switches = switches.iter().filter_map(|row| stateful("switch", row));
    let of_groups = groups.iter().filter_map(|row| stateful("port group", row));
    Ok(North {
        address,
        is_default,
        options: globals.first().map(|row| row.map("options")).unwrap_or_default(),
        stateful: of_switches.chain(of_groups).collect(),
        balanced: switches.iter().filter_map(balanced).collect(),
    })
}

fn balanced(row: &Row) -> Option<Balanced> {
    let count = row.uuids("load_balancer").len() + row.uuids("load_balancer_group").len();
    (count > 0).then(|| Balanced {
        switch: row.text("name"),
        count,
        is_subnet: row
            .map("external_ids")
            .get("vendor")
            .is_some_and(|vendor| vendor == "kube-ovn"),
    })
}

async fn south_from(remote: &str) -> Asked<usize> {
    let select = [Select {
        table: "Load_Balancer",
        columns: &["name"],
    }];
    let (_, tables) = first(remote, "OVN_Southbound", &select).await?;
    Ok(tables.first().map(Vec::len).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_northbound_database_is() {
        assert_eq!(
            north_of("tcp:[10.0.0.1]:6642, tcp:10.0.0.2:6642"),
            "tcp:10.0.0.1:6641,tcp:10.0.0.2:6641"
        );
        assert_eq!(north_of("ssl:[10.0.0.1]:6642"), "ssl:[10.0.0.1]:6642");
    }
}
