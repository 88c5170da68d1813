//! As much of the Container Runtime Interface (kubelet's API of a runtime, runtime.v1 of k8s.io/cri-api) as a pod's sandbox takes. Debian
//! has no crictl; but gRPC is HTTP/2, which curl speaks, and protobuf's wire format is a few lines.

use std::io::Write;
use std::process::{Command, Stdio};

const SOCKET: &str = "/run/containerd/containerd.sock";

/// A client of containerd.
pub(crate) struct Cri {
    /// What comes before a command that is to run where containerd does.
    pub(crate) inside: Vec<String>,
}

/// A pod's sandbox as kubelet describes it.
pub(crate) struct Sandbox<'a> {
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) cgroup: &'a str,
    /// Of the node, to port 80.
    pub(crate) port: Option<u16>,
}

/// What the runtime says of a sandbox.
#[derive(Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) ready: bool,
    pub(crate) ip: String,
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A field of bytes: a text, or a message.
fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// The fields of a message, of which only numbers and bytes occur here.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn take(message: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = message[0];
            *message = &message[1..];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = take(&mut message);
        let value = match tag & 7 {
            0 => take(&mut message).to_be_bytes().to_vec(),
            2 => {
                let length = usize::try_from(take(&mut message)).unwrap();
                let (value, rest) = message.split_at(length);
                message = rest;
                value.to_vec()
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

fn field(message: &[u8], wanted: u64) -> Vec<u8> {
    let found = fields(message).into_iter().find(|(number, _)| *number == wanted);
    found.map(|(_, value)| value).unwrap_or_default()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

impl Cri {
    /// One call; the error is the runtime's.
    fn call(&self, method: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        let length = u32::try_from(message.len()).unwrap();
        let framed = [&[0], length.to_be_bytes().as_slice(), message].concat();
        let url = format!("http://localhost/runtime.v1.RuntimeService/{method}");
        let curl = [
            "curl",
            "-sS",
            "--max-time",
            "300",
            "--http2-prior-knowledge",
            "--unix-socket",
            SOCKET,
            "--header",
            "content-type: application/grpc",
            "--header",
            "te: trailers",
            "--data-binary",
            "@-",
            // and trailers, where the status is
            "--dump-header",
            "/dev/stderr",
            &url,
        ];
        let words: Vec<&str> = self.inside.iter().map(String::as_str).chain(curl).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&framed).unwrap();
        let output = child.wait_with_output().unwrap();
        let headers = String::from_utf8_lossy(&output.stderr);
        let header = |name: &str| {
            headers
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::trim)
        };
        match header("grpc-status") {
            Some("0") => Ok(output.stdout[5..].to_vec()),
            _ => Err(header("grpc-message").unwrap_or(&headers).to_owned()),
        }
    }

    fn config(sandbox: &Sandbox) -> Vec<u8> {
        let metadata = [bytes(1, sandbox.name), bytes(2, sandbox.uid), bytes(3, "default")].concat();
        let mapping = |port: u16| bytes(5, [number(2, 80), number(3, port.into())].concat());
        [
            bytes(1, metadata),
            bytes(2, sandbox.name),
            sandbox.port.map(mapping).unwrap_or_default(),
            bytes(8, bytes(1, sandbox.cgroup)),
        ]
        .concat()
    }

    /// `RunPodSandbox`: its ID.
    pub(crate) fn run(&self, sandbox: &Sandbox) -> Result<String, String> {
        let reply = self.call("RunPodSandbox", &bytes(1, Self::config(sandbox)))?;
        Ok(text(field(&reply, 1)))
    }

    /// `PodSandboxStatus`
    pub(crate) fn status(&self, id: &str) -> Result<Status, String> {
        let status = field(&self.call("PodSandboxStatus", &bytes(1, id))?, 1);
        Ok(Status {
            // SANDBOX_READY is 0, and 0 is not sent
            ready: field(&status, 3).iter().all(|byte| *byte == 0),
            ip: text(field(&field(&status, 5), 1)),
        })
    }

    /// `StopPodSandbox`
    pub(crate) fn stop(&self, id: &str) -> Result<(), String> {
        self.call("StopPodSandbox", &bytes(1, id)).map(|_| ())
    }

    /// `RemovePodSandbox`
    pub(crate) fn remove(&self, id: &str) -> Result<(), String> {
        self.call("RemovePodSandbox", &bytes(1, id)).map(|_| ())
    }

    /// `Status`, with everything: the networks that it has read are in it. `None` while it does not answer.
    pub(crate) fn configuration(&self) -> Option<String> {
        let reply = self.call("Status", &number(1, 1)).ok()?;
        Some(String::from_utf8_lossy(&reply).into_owned())
    }
}
