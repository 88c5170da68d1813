//! Servers that are none, or that are slow, or say too much.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use kube_ovn::ovs::{Error, Ovs};

use crate::{PATIENCE, block_on, soon};

/// For what never comes.
const SHORT: Duration = Duration::from_millis(1500);

/// The error of a call to a server that does this with its connection.
fn error_of(patience: Duration, serve: impl FnOnce(UnixStream) + Send + 'static) -> Error {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("db.sock")).unwrap();
    let server = std::thread::spawn(move || serve(listener.accept().unwrap().0));
    let deadline = Instant::now() + patience;
    let error = block_on(Ovs::at(directory.path()).has_bridge("br-int", deadline)).unwrap_err();
    assert!(Instant::now() < deadline + PATIENCE, "{error}");
    server.join().unwrap();
    assert!(!error.to_string().contains(char::is_control), "{error}");
    assert!(error.to_string().len() < 1000, "{error}");
    error
}

/// Reads what is asked, then what this gives until it ends or nobody listens any more.
fn says(pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> impl FnOnce(UnixStream) + Send + 'static {
    move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        for piece in pieces {
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
        // until the caller gives up
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn says_once(text: impl Into<Vec<u8>>) -> impl FnOnce(UnixStream) + Send + 'static {
    says(std::iter::once(text.into()))
}

#[test]
fn servers_that_are_none() {
    let why = |error: Error| match error {
        Error::NoReply { why, .. } => why,
        other => panic!("{other}"),
    };
    let nothing = why(error_of(SHORT, says(std::iter::empty())));
    assert!(nothing.contains("nothing within "), "{nothing}");
    let closes = |mut stream: UnixStream| {
        let _ = stream.read(&mut [0; 4096]);
    };
    assert!(why(error_of(PATIENCE, closes)).contains("closed"));
    assert!(why(error_of(PATIENCE, says_once("HTTP/1.1 400 Bad Request\r\n\r\n"))).contains("0x48"));
    assert!(why(error_of(SHORT, says_once("{\"id\":1,\"result\":[{\"rows\":["))).contains("nothing within"));
    let endless = std::iter::once(b"{\"id\":1,\"result\":\"".to_vec()).chain(std::iter::repeat(vec![b'x'; 65536]));
    assert!(why(error_of(PATIENCE, says(endless))).contains("more than 4194304 bytes"));
    let echoes = b"{\"id\":\"echo\",\"method\":\"echo\",\"params\":[]}".to_vec();
    assert!(why(error_of(PATIENCE, says(std::iter::repeat(echoes)))).contains("100 other messages"));
    assert!(why(error_of(SHORT, says_once("{\"id\":2,\"result\":[],\"error\":null}"))).contains("nothing within"));
    assert!(why(error_of(PATIENCE, says_once("{\"id\":1,\"error\":null}"))).contains("without a result"));
    for result in [
        "null",
        "7",
        "[]",
        "[null]",
        "[{}]",
        "[{\"rows\":{}}]",
        "[{\"rows\":[7]}]",
    ] {
        let text = format!("{{\"id\":1,\"error\":null,\"result\":{result}}}");
        assert!(
            why(error_of(PATIENCE, says_once(text))).contains("answered"),
            "{result}"
        );
    }
    match error_of(
        PATIENCE,
        says_once("{\"id\":1,\"result\":null,\"error\":\"un\\u001bknown\\ndatabase\"}"),
    ) {
        Error::Refused { text, .. } => assert_eq!(text, "un known database"),
        other => panic!("{other}"),
    }
}

/// Debian 12's Open vSwitch does not know the command: this is what 3.7 answers (ofproto/ofproto-dpif.c).
#[test]
fn whether_it_offloads() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ovs-vswitchd.pid"), "7").unwrap();
    let listener = UnixListener::bind(directory.path().join("ovs-vswitchd.7.ctl")).unwrap();
    for (line, expected) in [
        ("Globally enabled: true", Some(true)),
        ("Globally enabled: false", Some(false)),
        ("something else", None),
    ] {
        let answer = format!("{{\"error\":null,\"id\":1,\"result\":\"{line}\\nDatapaths:\\n\"}}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let asked = stream.read(&mut [0; 4096]).unwrap();
                assert!(asked > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let said = block_on(Ovs::at(directory.path()).says_it_offloads(soon()));
            assert_eq!(said.unwrap(), expected);
        });
    }
}

/// A dump of 100,000 flows is 45 MB: it is read in the memory that a line takes, and in little more time than it comes in.
#[test]
fn an_answer_without_end() {
    const LINES: usize = 100_000;
    let line = format!("{}, packets:1, actions:drop\\n", "x".repeat(420));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("ovs-vswitchd.pid"), "7").unwrap();
    let listener = UnixListener::bind(path.join("ovs-vswitchd.7.ctl")).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"{\"error\":null,\"result\":\"").unwrap();
        let many = line.repeat(100);
        for _ in 0..LINES / 100 {
            stream.write_all(many.as_bytes()).unwrap();
        }
        stream.write_all(b"\",\"id\":0}").unwrap();
    });
    let mut lines = 0;
    let ovs = Ovs::at(path);
    let count = |line: &str| lines += usize::from(line.ends_with("actions:drop"));
    block_on(ovs.appctl_lines("dpctl/dump-flows", &["-m"], soon(), count)).unwrap();
    assert_eq!(lines, LINES);
}

/// An echo request must be answered; the answer comes byte by byte, and another message behind it.
#[test]
fn a_slow_server() {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("db.sock")).unwrap();
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert!(String::from_utf8_lossy(&buffer[..count]).contains("transact"));
        stream
            .write_all(b"{\"id\":\"echo\",\"method\":\"echo\",\"params\":[1]}")
            .unwrap();
        let count = stream.read(&mut buffer).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&buffer[..count]).unwrap();
        assert_eq!(answer, serde_json::json!({"id": "echo", "result": [1], "error": null}));
        let text =
            b"{\"id\":1,\"error\":null,\"result\":[{\"rows\":[{\"name\":\"br-int\"}]}]}{\"method\":\"update\",\"id\":null}";
        for byte in text {
            let _ = stream.write_all(&[*byte]); // whoever has the answer may leave before the message behind it
        }
        let _ = stream.read(&mut buffer);
    });
    assert!(block_on(Ovs::at(directory.path()).has_bridge("br-int", soon())).unwrap());
    server.join().unwrap();
}

#[test]
fn nobody_there() {
    let directory = tempfile::tempdir().unwrap();
    let error = block_on(Ovs::at(directory.path()).has_bridge("br-int", soon())).unwrap_err();
    assert!(
        error.to_string().contains("is the ovs-ovn pod of this node running?"),
        "{error}"
    );
    drop(UnixListener::bind(directory.path().join("db.sock")).unwrap());
    let error = block_on(Ovs::at(directory.path()).has_bridge("br-int", soon())).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}
