//! What may come out of a socket, whoever listens there: the daemon's HTTP (status line, headers, chunks, body), and the JSON-RPC of OVSDB and
//! ovs-vswitchd.
//! The input is all that the server ever says; then it closes.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use kube_ovn::daemon::{Client, Request};
use kube_ovn::ovs::flow::Flow;
use kube_ovn::ovs::{Expected, Ovs};
use kube_ovn::types::{ContainerId, IfName};

pub(super) const HTTP_WORDS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 500 x\r\n",
    "HTTP/1.0 200\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "Content-Length: ",
    "18446744073709551615\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Content-Encoding: gzip\r\n",
    "Connection: close\r\n",
    "\r\n\r\n",
    "\r\n",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "{\"ips\":null}",
    "x: ",
];

pub(super) const OVSDB_WORDS: &[&str] = &[
    "{\"id\":0,\"error\":null,\"result\":",
    "{\"id\":1,\"error\":null,\"result\":",
    "{\"id\":\"echo\",\"method\":\"echo\",\"params\":[]}",
    "[{\"rows\":[",
    "{\"rows\":[{}]}",
    "[\"uuid\",\"",
    "[\"set\",[",
    "[\"map\",[[",
    "\"external_ids\":",
    "\"_uuid\":",
    "\"_version\":",
    "\"name\":",
    "\"ports\":",
    "\"interfaces\":",
    "null",
    "[[[[",
    "}]}",
    "\\ud800",
    "1e999",
];

pub(super) const UNIXCTL_WORDS: &[&str] = &[
    "{\"id\":0,\"error\":null,\"result\":\"",
    "{\"result\":\"x\",\"result\":\"",
    "\"error\":\"",
    "\"}",
    "\\n",
    "\\u000a",
    "\\u",
    "\\\"",
    "\\\\",
    "\\ud83d\\ude00",
    "[[[[",
    "{{{{",
    "}}}}",
    "ufid:",
    "recirc_id(0),in_port(2),",
    ", packets:0, bytes:0, used:never",
    ", offloaded:yes, dp:tc",
    ", actions:",
    "Globally enabled: true",
];

/// A server at this path, which answers each connection with what it was last given.
struct Server {
    say: Mutex<Sender<Vec<u8>>>,
}

impl Server {
    fn at(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let (say, answers) = channel::<Vec<u8>>();
        std::thread::spawn(move || {
            for answer in answers {
                // the client hangs up whenever it likes
                let Ok((mut stream, _)) = listener.accept() else { return };
                let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&answer);
            }
        });
        Self { say: Mutex::new(say) }
    }

    fn next(&self, answer: &[u8]) {
        self.say.lock().unwrap().send(answer.to_vec()).unwrap();
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(2)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(work)
}

#[track_caller]
fn one_line(text: String) -> String {
    assert!(
        !text.contains(char::is_control) && text.len() < 8192,
        "not a line: {text:?}"
    );
    text
}

/// A reply to ADD.
pub(super) fn http(input: &[u8]) -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let path = std::env::temp_dir().join("daemon.sock");
    let server = SERVER.get_or_init(|| Server::at(&path));
    server.next(input);
    match block_on(Client::new(&path).add(&Request::default(), soon())) {
        Ok(reply) => format!("{reply:?}"),
        Err(error) => one_line(error.to_string()),
    }
}

/// A reply to the search for a port, its removal, or to one of the other questions, by the input's length.
pub(super) fn ovsdb(input: &[u8]) -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let directory = std::env::temp_dir();
    let server = SERVER.get_or_init(|| Server::at(&directory.join("db.sock")));
    server.next(input);
    let ovs = Ovs::at(&directory);
    let (container, ifname): (ContainerId, IfName) = ("0123456789abcdef".parse().unwrap(), "eth0".parse().unwrap());
    let expected = Expected {
        container: &container,
        ifname: &ifname,
        namespace: "default",
        pod: "nginx",
        provider: "ovn",
        netns: Path::new("/run/netns/x"),
    };
    let answer = block_on(async {
        match input.len() % 4 {
            0 => ovs.port("0123456789ab_h", soon()).await.map(|port| format!("{port:?}")),
            1 => ovs
                .remove_port(&expected, soon())
                .await
                .map(|removal| format!("{removal:?}")),
            2 => ovs.offload(soon()).await.map(|offload| format!("{offload:?}")),
            _ => ovs.has_bridge("br-int", soon()).await.map(|has| has.to_string()),
        }
    });
    answer.unwrap_or_else(|error| one_line(error.to_string()))
}

/// What ovs-vswitchd answers on its control socket: to the dump of flows, whose lines are parsed as they come; by the input's length,
/// to the short questions.
pub(super) fn unixctl(input: &[u8]) -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let directory = std::env::temp_dir();
    let server = SERVER.get_or_init(|| {
        std::fs::write(directory.join("ovs-vswitchd.pid"), "1\n").unwrap();
        Server::at(&directory.join("ovs-vswitchd.1.ctl"))
    });
    server.next(input);
    let ovs = Ovs::at(&directory);
    let answer = block_on(async {
        match input.len() % 8 {
            0 => ovs.vswitchd_version(soon()).await,
            1 => ovs.says_it_offloads(soon()).await.map(|said| format!("{said:?}")),
            2 => ovs
                .appctl("dpif/show", &[], soon())
                .await
                .map(|text| text.len().to_string()),
            _ => {
                let (mut lines, mut flows) = (0_u32, 0_u32);
                let each = |line: &str| {
                    lines += 1;
                    flows += u32::from(Flow::parse(line).is_some());
                };
                let dump = ovs.appctl_lines("dpctl/dump-flows", &[], soon(), each).await;
                assert!(flows <= lines && lines as usize <= input.len());
                dump.map(|overlong| format!("{} {} {overlong}", lines.min(9), flows.min(9)))
            }
        }
    });
    match answer {
        Ok(text) => text,
        // what it refuses, it may refuse in several lines
        Err(error) => format!("{:?}", error.to_string()),
    }
}
