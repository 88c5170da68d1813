//! JSON-RPC 1.0 on a stream, as ovsdb-server and the control sockets of OVS' daemons speak it.

use std::io;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frames::Frames;
use super::lines::Lines;
use super::remote::Stream;
use super::{Error, MAX_WORDS, Remote};
use crate::text::cut;

/// A server sends a few messages that nobody asked for (echo requests, updates). One that sends more is not what we
/// believe it to be.
const MAX_UNASKED: usize = 100;

/// A connection on which one call at a time is made, until the deadline.
pub(super) struct Connection {
    socket: Remote,
    server: &'static str,
    stream: Box<dyn Stream>,
    frames: Frames,
    deadline: Instant,
    calls: u64,
}

impl Connection {
    /// Connects to `server`, which should listen at `socket`.
    pub(super) async fn open(socket: Remote, server: &'static str, deadline: Instant) -> Result<Self, Error> {
        let result = within(deadline, socket.connect()).await;
        match result.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => Ok(Self {
                socket,
                server,
                stream,
                frames: Frames::default(),
                deadline,
                calls: 0,
            }),
            Err(error) => Err(Error::Unreachable {
                server,
                socket,
                cause: error.to_string(),
            }),
        }
    }

    /// Calls a method and gives back its result.
    pub(super) async fn call(&mut self, method: &str, params: Value) -> Result<Value, Error> {
        self.calls += 1;
        let id = json!(self.calls);
        let begun = Instant::now();
        let deadline = self.deadline;
        let request = json!({"id": id, "method": method, "params": params});
        let reply = within(deadline, self.exchange(&request, &id)).await.unwrap_or_else(|| {
            let waited = begun.elapsed().as_secs_f64();
            Err(format!("nothing within {waited:.1} s"))
        });
        let reply = reply.map_err(|why| self.no_reply(method, why))?;
        self.result(method, reply)
    }

    /// Calls a method whose result is a text that may be of any length, and hands on its lines. The connection is used up:
    /// what may follow the answer is not looked at.
    pub(super) async fn call_lines(
        mut self,
        method: &str,
        params: Value,
        mut each: impl FnMut(&str),
    ) -> Result<u64, Error> {
        let request = json!({"id": 0, "method": method, "params": params});
        let deadline = self.deadline;
        let mut lines = Lines::default();
        let exchange = async {
            self.send(&request).await?;
            loop {
                let room = self.frames.tail();
                room.clear();
                match self.stream.read_buf(room).await {
                    Ok(0) => return Err("it closed the connection".to_owned()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                }
                if let Some(outer) = lines.push(room, &mut each)? {
                    return serde_json::from_slice(outer).map_err(|why| format!("no JSON: {why}"));
                }
            }
        };
        let begun = Instant::now();
        let reply = within(deadline, exchange).await.unwrap_or_else(|| {
            let waited = begun.elapsed().as_secs_f64();
            Err(format!("no end of its answer within {waited:.1} s"))
        });
        let reply: Value = reply.map_err(|why| self.no_reply(method, why))?;
        match self.result(method, reply)? {
            Value::String(_) => Ok(lines.overlong()),
            _ => Err(self.no_reply(method, "not a text".to_owned())),
        }
    }

    /// The result in a reply.
    fn result(&self, method: &str, mut reply: Value) -> Result<Value, Error> {
        let result = reply.get_mut("result").map(Value::take);
        match (reply.get("error"), result) {
            (None | Some(Value::Null), Some(result)) => Ok(result),
            (Some(error), _) if !error.is_null() => Err(Error::Refused {
                server: self.server,
                method: method.to_owned(),
                text: cut(error.as_str().unwrap_or(&error.to_string()), MAX_WORDS),
            }),
            _ => Err(self.no_reply(method, "an answer without a result".to_owned())),
        }
    }

    /// What is wrong with an answer, or that there is none.
    pub(super) fn no_reply(&self, method: &str, why: String) -> Error {
        Error::NoReply {
            server: self.server,
            socket: self.socket.clone(),
            method: method.to_owned(),
            why,
        }
    }

    async fn exchange(&mut self, request: &Value, id: &Value) -> Result<Value, String> {
        self.send(request).await?;
        for _ in 0..MAX_UNASKED {
            let message = self.receive().await?;
            match message.get("method") {
                None if message.get("id") == Some(id) => return Ok(message),
                // an answer to a call that was given up
                None => {}
                // RFC 7047, section 4.1.11: who does not answer is cut off
                Some(method) if method == "echo" => {
                    let answer = json!({"id": message.get("id"), "result": message.get("params"), "error": null});
                    self.send(&answer).await?;
                }
                Some(_) => {}
            }
        }
        Err(format!("{MAX_UNASKED} other messages and no answer"))
    }

    async fn send(&mut self, message: &Value) -> Result<(), String> {
        let text = message.to_string();
        let sent = self.stream.write_all(text.as_bytes()).await;
        sent.map_err(|e| format!("it does not take the request: {e}"))
    }

    async fn receive(&mut self) -> Result<Value, String> {
        loop {
            if let Some(message) = self.frames.next()? {
                return Ok(message);
            }
            match self.stream.read_buf(self.frames.tail()).await {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    let left = deadline.saturating_duration_since(Instant::now());
    tokio::time::timeout(left, work).await.ok()
}
