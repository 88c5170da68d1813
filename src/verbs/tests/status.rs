//! STATUS on a node of which every part can be missing.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::cni::{self, Code, Environment, Failure, Invocation};
use crate::node::Settings;
use crate::ovs::Ovs;
use crate::state::Store;
use crate::verbs::status::{Node, Patience};

/// Answers, one for each connection, the last of them for all that follow; `None`: nothing.
type Answers = Arc<Mutex<Vec<Option<&'static str>>>>;

const BRIDGE: &str = r#"{"id":1,"error":null,"result":[{"rows":[{"name":"br-int"}]}]}"#;
const NO_BRIDGE: &str = r#"{"id":1,"error":null,"result":[{"rows":[]}]}"#;
const VERSION: &str = r#"{"id":1,"error":null,"result":"ovs-vswitchd (Open vSwitch) 3.1.0\nDB Schema 8.3.1"}"#;

struct Host {
    dir: TempDir,
    database: Answers,
    vswitchd: Answers,
    /// Listens, and takes no connection: the kernel does that.
    _daemon: UnixListener,
}

/// Ends with the test's process.
fn serve(socket: &Path, answer: &'static str) -> Answers {
    let answers: Answers = Arc::new(Mutex::new(vec![Some(answer)]));
    let given = Arc::clone(&answers);
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let answer = {
                let mut answers = given.lock().unwrap();
                if answers.len() > 1 {
                    answers.remove(0)
                } else {
                    answers[0]
                }
            };
            let _ = stream.read(&mut [0; 4096]);
            match answer {
                Some(answer) => drop(stream.write_all(answer.as_bytes())),
                // until the caller gives up
                None => drop(stream.read_to_end(&mut Vec::new())),
            }
        }
    });
    answers
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ovs-vswitchd.pid"), "42\n").unwrap();
        Self {
            database: serve(&dir.path().join("db.sock"), BRIDGE),
            vswitchd: serve(&dir.path().join("ovs-vswitchd.42.ctl"), VERSION),
            _daemon: UnixListener::bind(dir.path().join("daemon.sock")).unwrap(),
            dir,
        }
    }

    /// The node's own, in which the directory of this test may have the daemon's socket.
    fn settings(&self) -> Settings {
        let mut settings = Settings::load(&self.dir.path().join("config.json"));
        settings.config.socket_directories.push(self.dir.path().to_owned());
        settings
    }

    async fn status(&self) -> Result<(), Failure> {
        self.status_with(json!({"server_socket": self.dir.path().join("daemon.sock")}))
            .await
    }

    async fn status_with(&self, mut conf: serde_json::Value) -> Result<(), Failure> {
        let names = || {
            let mut names: Vec<_> = std::fs::read_dir(self.dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        let before = names();
        let env = Environment {
            command: Some("STATUS".to_owned()),
            path: Some("/opt/cni/bin".to_owned()),
            ..Environment::default()
        };
        conf["cniVersion"] = "1.1.0".into();
        conf["name"] = "kube-ovn".into();
        conf["type"] = "kube-ovn".into();
        let conf = match cni::parse(&env, conf.to_string().as_bytes(), "kube-ovn").unwrap() {
            Invocation::Status(conf) => conf,
            other => panic!("{other:?}"),
        };
        let node = Node {
            store: Store::at(&self.dir.path().join("state")),
            ovs: Ovs::at(self.dir.path()),
            patience: Patience {
                answer: Duration::from_millis(300),
                pause: Duration::from_millis(10),
            },
        };
        let result = node.status(&conf, &self.settings()).await;
        assert_eq!(names(), before, "STATUS changes nothing");
        result
    }
}

#[track_caller]
fn assert_failed(result: Result<(), Failure>, code: Code, words: &str) {
    let failure = result.unwrap_err();
    assert_eq!(failure.code, code, "{failure}");
    assert!(failure.msg.contains(words), "{failure}");
}

#[tokio::test]
async fn silent_when_all_is_well() {
    let host = Host::new();
    assert_eq!(host.status().await, Ok(()));
    std::fs::create_dir(host.dir.path().join("state")).unwrap();
    assert_eq!(host.status().await, Ok(()));
    let no_socket = host.status_with(json!({})).await;
    assert_failed(no_socket, Code::InvalidConfig, "server_socket is required");
    let elsewhere = host.status_with(json!({"server_socket": "/nonexistent/s"})).await;
    assert_failed(elsewhere, Code::InvalidConfig, "is not below /run/openvswitch");
}

#[tokio::test]
async fn no_add_could_be_served() {
    let host = Host::new();
    let missing = host
        .status_with(json!({"server_socket": host.dir.path().join("other.sock")}))
        .await;
    assert_failed(missing, Code::NotAvailable, "kube-ovn-daemon can't be reached at");
    drop(UnixListener::bind(host.dir.path().join("left.sock")).unwrap());
    let refusing = host
        .status_with(json!({"server_socket": host.dir.path().join("left.sock")}))
        .await;
    assert_failed(refusing, Code::NotAvailable, "refused");

    let state = host.dir.path().join("state");
    std::fs::write(&state, "").unwrap();
    assert_failed(host.status().await, Code::NotAvailable, "must be a directory");
    std::fs::remove_file(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o777)).unwrap();
    assert_failed(host.status().await, Code::NotAvailable, "only root can write to");
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();

    let settings = host.dir.path().join("config.json");
    std::fs::write(&settings, "{\"log_levle\": \"info\"}").unwrap();
    assert_failed(host.status().await, Code::NotAvailable, "log_levle");
    std::fs::remove_file(&settings).unwrap();
    assert_eq!(host.status().await, Ok(()));
}

#[tokio::test]
async fn running_pods_are_cut_off() {
    let host = Host::new();
    *host.vswitchd.lock().unwrap() = vec![None];
    assert_failed(host.status().await, Code::LimitedConnectivity, "ovs-vswitchd at");
    // the worse of the two, and the other one with it
    let both = host
        .status_with(json!({"server_socket": host.dir.path().join("other.sock")}))
        .await;
    let details = both.as_ref().unwrap_err().details.clone();
    assert!(details.contains("kube-ovn-daemon can't be reached"), "{details}");
    assert_failed(both, Code::LimitedConnectivity, "no answer to version");
    *host.vswitchd.lock().unwrap() = vec![Some(VERSION)];
    *host.database.lock().unwrap() = vec![Some(NO_BRIDGE)];
    assert_failed(host.status().await, Code::LimitedConnectivity, "has no bridge br-int");
    std::fs::remove_file(host.dir.path().join("ovs-vswitchd.pid")).unwrap();
    assert_failed(host.status().await, Code::LimitedConnectivity, "process ID");
}

/// Open vSwitch is upgraded: that lasts for a moment.
#[tokio::test]
async fn once_is_not_enough() {
    let host = Host::new();
    *host.vswitchd.lock().unwrap() = vec![None, Some(VERSION)];
    assert_eq!(host.status().await, Ok(()));
    *host.database.lock().unwrap() = vec![Some(NO_BRIDGE), Some(BRIDGE)];
    assert_eq!(host.status().await, Ok(()));
}
