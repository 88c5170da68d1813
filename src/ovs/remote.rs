//! Where a server of OVSDB or of a control socket listens, as `ovn-remote` and `--db` name it (ovsdb(7), "Connection Methods").

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::text::quoted;

const CONNECT_RETRY: Duration = Duration::from_millis(10);
/// Of an address in an error, in characters.
const MAX_SHOWN: usize = 100;

/// An address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Why an address is none that we can connect to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRemote {
    /// It takes a certificate.
    #[error("{0} is spoken with TLS, which this program does not")]
    Tls(String),
    /// It is in no form that OVSDB knows.
    #[error("{0} is no address of a database server, expected unix:FILE or tcp:IP:PORT")]
    Other(String),
}

impl FromStr for Remote {
    type Err = NoRemote;

    fn from_str(text: &str) -> Result<Self, NoRemote> {
        let other = || NoRemote::Other(quoted(text, MAX_SHOWN));
        match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            Some(("tcp", address)) => tcp(address).map(Self::Tcp).ok_or_else(other),
            Some(("ssl", _)) => Err(NoRemote::Tls(quoted(text, MAX_SHOWN))),
            _ => Err(other()),
        }
    }
}

/// An address with a port. Kube-OVN puts IPv4 addresses into brackets as well (`gen_conn_str` in dist/images/start-ovs.sh).
fn tcp(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    // IPv6 without brackets has no port that one could tell
    if bare == ip && ip.contains(':') {
        return None;
    }
    Some(SocketAddr::new(bare.parse().ok()?, port.parse().ok()?))
}

impl Remote {
    /// The addresses of a list with commas: the members of a cluster, any of which may be asked.
    pub fn list(text: &str) -> impl Iterator<Item = Result<Self, NoRemote>> {
        text.split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(str::parse)
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(path) => Box::new(connect(path).await?),
            Self::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        })
    }
}

/// A unix socket or a TCP connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl Stream for UnixStream {}
impl Stream for TcpStream {}

/// A unix socket whose queue is full says so at once, where a TCP socket would let one wait (unix(7): EAGAIN).
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(CONNECT_RETRY).await,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let all: Vec<String> =
            Remote::list("tcp:10.0.0.1:6642,tcp:[10.0.0.2]:6642,tcp:[fd00::1]:6642, unix:/run/ovn/ovnsb_db.sock,,")
                .map(|one| one.unwrap().to_string())
                .collect();
        assert_eq!(
            all,
            [
                "tcp:10.0.0.1:6642",
                "tcp:10.0.0.2:6642",
                "tcp:[fd00::1]:6642",
                "/run/ovn/ovnsb_db.sock"
            ]
        );
        for (text, why) in [
            ("ssl:10.0.0.1:6642", "is spoken with TLS"),
            ("tcp:10.0.0.1", "is no address"),
            ("tcp:fd00::1:6642", "is no address"),
            ("tcp:name:6642", "is no address"),
            ("unix:relative", "is no address"),
            ("", "is no address"),
            ("punix:/x", "is no address"),
        ] {
            let error = text.parse::<Remote>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
