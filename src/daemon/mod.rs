//! Talking to kube-ovn-daemon: HTTP/1.1 on its unix socket, `POST /api/v1/add` and `/api/v1/del`.
//!
//! The contract, from v1.8 to HEAD, with all that the daemon does on its side, was read from its source
//! (pkg/daemon/server.go, handler.go, pkg/request/cniserver.go); what matters here stands beside the code.

mod connect;
mod reply;
mod request;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, StatusCode, header};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;

use crate::text::cut;
use crate::watchdog;
use connect::{Connector, Foreign, connect};

pub use reply::{Reply, ReplyIp, ReplyRoute};
pub use request::{Request, RequestRoute};

/// A reply is a few hundred bytes, a few thousand with many routes.
const MAX_REPLY: usize = 4 * 1024 * 1024;
/// The daemon's socket is missing or refuses while its pod restarts: that long a call waits for it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);
/// How much of what the daemon says goes into an error message, in characters.
const MAX_WORDS: usize = 1000;
const CONNECT_RETRY: Duration = Duration::from_millis(200);
/// A wait that lasts longer is worth an end of the watchdog's thread and another one.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Why the daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at the socket: the request was not delivered, so nothing was done.
    #[error("kube-ovn-daemon can't be reached at {socket} ({cause}): is the kube-ovn-cni pod of this node running?",
        socket = .socket.display())]
    Unreachable {
        /// Where it should listen.
        socket: PathBuf,
        /// What the kernel said.
        cause: String,
    },
    /// Somebody else than root listens at the socket: nothing was sent.
    #[error("user {user} listens at {socket}, expected root: server_socket must name kube-ovn-daemon's own socket", socket = .socket.display())]
    Foreign {
        /// The socket.
        socket: PathBuf,
        /// Who.
        user: u32,
    },
    /// It took the request and gave no reply.
    #[error("kube-ovn-daemon at {socket} gave no reply to {what}: {why}", socket = .socket.display())]
    NoReply {
        /// Where it listens.
        socket: PathBuf,
        /// "ADD" or "DEL".
        what: &'static str,
        /// Closed connection or time.
        why: String,
        /// It may still be working on it: it goes on when its client has gone. Not when it has closed the connection itself,
        /// which is what its death and a panic in its handler look like.
        at_work: bool,
    },
    /// It said no.
    #[error("kube-ovn-daemon answered {what} with {status}: {text}")]
    Refused {
        /// "ADD" or "DEL".
        what: &'static str,
        /// The HTTP status.
        status: u16,
        /// Its reason, on one line.
        text: String,
    },
    /// It said yes in words that can't be.
    #[error("kube-ovn-daemon answered ADD with {status}, but {why}")]
    Nonsense {
        /// The HTTP status.
        status: u16,
        /// What is wrong with the reply.
        why: String,
    },
}

/// A client for one socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client for the daemon that listens at `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Sees that somebody listens at the socket. Asks nothing, and does not wait for a daemon that restarts.
    pub async fn reach(&self, deadline: Instant) -> Result<(), Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, connect(&self.socket)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.not_connected(&error)),
            Err(_) => Err(Error::Unreachable {
                socket: self.socket.clone(),
                cause: format!("nothing for {} s", left.as_secs()),
            }),
        }
    }

    /// Why there is no connection.
    fn not_connected(&self, error: &io::Error) -> Error {
        let socket = self.socket.clone();
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Foreign(user)) => Error::Foreign { socket, user: *user },
            None => Error::Unreachable {
                socket,
                cause: error.to_string(),
            },
        }
    }

    /// Asks for an interface; the daemon may take minutes (it waits for OVN and for the gateway).
    pub async fn add(&self, request: &Request, deadline: Instant) -> Result<Reply, Error> {
        let (status, body) = self.post("ADD", "/api/v1/add", request, deadline).await?;
        if status == StatusCode::OK {
            return Reply::parse(&body).map_err(|why| Error::Nonsense {
                status: status.as_u16(),
                why: one_line(&why),
            });
        }
        Err(refusal("ADD", status, &body))
    }

    /// Asks to take an interface away.
    pub async fn del(&self, request: &Request, deadline: Instant) -> Result<(), Error> {
        let (status, body) = self.post("DEL", "/api/v1/del", request, deadline).await?;
        if status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let error = refusal("DEL", status, &body);
        match &error {
            Error::Refused { text, .. } if is_done(text) => Ok(()),
            _ => Err(error),
        }
    }

    async fn post(
        &self,
        what: &'static str,
        path: &str,
        request: &Request,
        deadline: Instant,
    ) -> Result<(StatusCode, Bytes), Error> {
        let no_reply = |why: String| Error::NoReply {
            socket: self.socket.clone(),
            what,
            why,
            at_work: false,
        };
        let body = Bytes::from(serde_json::to_vec(request).map_err(|e| no_reply(e.to_string()))?);
        let client: HttpClient<Connector, Full<Bytes>> = HttpClient::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .build(Connector(self.socket.clone()));
        let until = deadline.min(Instant::now() + CONNECT_PATIENCE);
        let exchange = async {
            loop {
                // No Accept-Encoding: the daemon would compress. Host as the stock client sends it.
                let message = hyper::Request::builder()
                    .method(Method::POST)
                    .uri(hyperlocal::Uri::new(&self.socket, path))
                    .header(header::HOST, "dummy")
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(header::CONNECTION, "close")
                    .body(Full::new(body.clone()))
                    .map_err(|e| no_reply(e.to_string()))?;
                let error = match client.request(message).await {
                    Ok(reply) => {
                        let status = reply.status();
                        return match Limited::new(reply.into_body(), MAX_REPLY).collect().await {
                            Ok(body) => Ok((status, body.to_bytes())),
                            Err(e) => Err(no_reply(format!("its body can't be read: {e}"))),
                        };
                    }
                    Err(error) => error,
                };
                if !error.is_connect() {
                    return Err(no_reply(format!("connection closed ({})", innermost(&error))));
                }
                let cause = io_cause(&error);
                if let Some(Foreign(user)) = cause.and_then(|e| e.get_ref()?.downcast_ref()) {
                    return Err(Error::Foreign {
                        socket: self.socket.clone(),
                        user: *user,
                    });
                }
                let cause = cause.map(io::Error::kind);
                let restarting = matches!(cause, Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused));
                if !restarting || Instant::now() + CONNECT_RETRY > until {
                    return Err(Error::Unreachable {
                        socket: self.socket.clone(),
                        cause: innermost(&error),
                    });
                }
                tokio::time::sleep(CONNECT_RETRY).await;
            }
        };
        let mut exchange = pin!(exchange);
        let left = deadline.saturating_duration_since(Instant::now());
        if let Ok(done) = tokio::time::timeout(left.min(AT_ONCE), &mut exchange).await {
            return done;
        }
        let _unwatched = watchdog::rest();
        tokio::time::timeout_at(deadline.into(), exchange)
            .await
            .unwrap_or_else(|_| {
                Err(Error::NoReply {
                    socket: self.socket.clone(),
                    what,
                    why: format!("nothing for {} s", left.as_secs()),
                    at_work: true,
                })
            })
    }
}

/// v1.8 to v1.10 try to delete the representor like a veth, and v1.8 to find a VF index in the name of the resource; both
/// after the port is gone, and both for ever (606e6f62d in v1.11.0 ended it).
fn is_done(text: &str) -> bool {
    text.contains("delete host link") && text.contains("not supported") || text.contains("vf index for mellanox")
}

/// The reason in an error reply: JSON with `error`, or go-restful's plain text, or nothing.
fn refusal(what: &'static str, status: StatusCode, body: &[u8]) -> Error {
    let text = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|json| json.get("error").and_then(|error| error.as_str().map(str::to_owned)))
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text = one_line(&text);
    let text = if text.is_empty() {
        "no reason given".to_owned()
    } else {
        text
    };
    // v1.16.0 and v1.16.1: the controller writes the addresses of two such interfaces where the daemon does not look
    let hint = if text.contains("no address allocated to pod") {
        "; if the pod has two interfaces of one NetworkAttachmentDefinition, that needs kube-ovn v1.16.2 or later"
    } else {
        ""
    };
    Error::Refused {
        what,
        status: status.as_u16(),
        text: text + hint,
    }
}

/// Words of the daemon, fit for an error message: on one line, without what a terminal would obey, and not without end.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    cut(&words.join(" "), MAX_WORDS)
}

/// What the chain of errors ends with: the system's own words.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_old_daemons_after_their_work() {
        // ovs.go:112-120 at v1.8.18, ovs_linux.go:163 at v1.10.10
        assert!(is_done(
            "del nic failed delete host link &{{0 0 0 1500 0 0123456789ab_h}} failed operation not supported"
        ));
        assert!(is_done(
            "del nic failed vf index for mellanox.com/cx5_sriov_switchdev not found"
        ));
        assert!(!is_done("del nic failed failed to delete ovs port exit status 1, \"\""));
        assert!(!is_done("del nic failed vf index for 0000:03:00.2 not found"));
    }

    #[test]
    fn reasons_of_refusals() {
        let reason = |body: &str| match refusal("ADD", StatusCode::BAD_REQUEST, body.as_bytes()) {
            Error::Refused { text, .. } => text,
            other => panic!("{other}"),
        };
        assert_eq!(
            reason("{\n \"error\": \"no address\\n allocated\"\n}"),
            "no address allocated"
        );
        assert_eq!(reason("404: Page Not Found\n"), "404: Page Not Found");
        let waited = reason("{\"error\": \"no address allocated to pod default/a provider x.y.ovn, please see …\"}");
        assert!(waited.ends_with("needs kube-ovn v1.16.2 or later"), "{waited}");
        assert_eq!(reason(""), "no reason given");
        assert_eq!(reason("{\"error\":\"\"}"), "no reason given");
        assert_eq!(reason(&"x".repeat(100_000)).chars().count(), MAX_WORDS + 1);
        assert_eq!(reason("a\u{1b}[31mb\0c"), "a [31mb c");
    }
}
