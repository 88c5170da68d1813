//! The way to the daemon: hyperlocal's addresses, and a connection of our own, since hyperlocal's does not let one see
//! who listens.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Whoever listens is not root.
#[derive(Debug, thiserror::Error)]
#[error("user {0} listens there")]
pub(super) struct Foreign(pub(super) u32);

/// Connects to one socket.
#[derive(Debug, Clone)]
pub(super) struct Connector(pub(super) PathBuf);

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(connect(&path).await?)) })
    }
}

/// A connection to whoever listens at a path, if that is root.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    // The credentials are those of the process that called listen(2) (SO_PEERCRED in unix(7)), so they hold even
    // if the path meanwhile means another socket. Our own user is root wherever the plugin can do its work.
    let listener = stream.peer_cred()?.uid();
    if listener != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, Foreign(listener)));
    }
    Ok(stream)
}
