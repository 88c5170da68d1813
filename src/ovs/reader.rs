//! Rows of any database, on any server: OVN's.

use std::time::Instant;

use super::database::Database;
use super::jsonrpc::Connection;
use super::{Error, Remote, Row, Select};

/// A connection to a database that is only read. All its answers come before one deadline.
pub struct Reader(Database);

impl Reader {
    /// Connects to a database by its name, such as `OVN_Northbound`.
    pub async fn open(remote: Remote, database: &'static str, deadline: Instant) -> Result<Self, Error> {
        let connection = Connection::open(remote, "OVN's database server", deadline).await?;
        Ok(Self(Database {
            connection,
            name: database,
        }))
    }

    /// Rows of several tables as they were at one moment, in the order of `selects`.
    pub async fn read(&mut self, selects: &[Select<'_>]) -> Result<Vec<Vec<Row>>, Error> {
        self.0.read(selects).await
    }
}
