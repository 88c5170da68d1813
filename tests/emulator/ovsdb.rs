//! ovsdb-server, asked directly (RFC 7047): what ovs-vsctl does, without the tenth of a second that it costs on an emulated
//! machine. The end-to-end tests use this file, too.

use std::io::{BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Deserializer, Map, StreamDeserializer, Value, de::IoRead, json};

const SOCKET: &str = "/var/run/openvswitch/db.sock";
/// `--timeout=30` of every call of ovs-vsctl (`Exec` of pkg/ovs/ovs-vsctl.go).
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) type Row = Map<String, Value>;

/// A connection to the database `Open_vSwitch`.
pub(crate) struct Database {
    stream: UnixStream,
    messages: StreamDeserializer<'static, IoRead<BufReader<UnixStream>>, Value>,
    calls: u64,
}

impl Database {
    /// The error is what ovs-vsctl prints.
    pub(crate) fn open() -> Result<Self, String> {
        let refused = |error: std::io::Error| {
            let why = error.to_string();
            let why = why.split(" (os error").next().unwrap_or_default();
            format!("ovs-vsctl: unix:{SOCKET}: database connection failed ({why})\n")
        };
        let stream = UnixStream::connect(SOCKET).map_err(refused)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(refused)?;
        let reader = BufReader::new(stream.try_clone().map_err(refused)?);
        Ok(Self {
            stream,
            messages: Deserializer::from_reader(reader).into_iter(),
            calls: 0,
        })
    }

    fn send(&mut self, message: &Value) -> Result<(), String> {
        let sent = self.stream.write_all(message.to_string().as_bytes());
        sent.map_err(|error| format!("ovs-vsctl: {error}\n"))
    }

    /// The next message that is not the server's question whether we are still there.
    fn receive(&mut self) -> Result<Value, String> {
        loop {
            let message = match self.messages.next() {
                Some(Ok(message)) => message,
                Some(Err(error)) if error.io_error_kind() == Some(ErrorKind::WouldBlock) => {
                    return Err("signal: alarm clock".to_owned());
                }
                Some(Err(error)) => return Err(format!("ovs-vsctl: {error}\n")),
                None => return Err("ovs-vsctl: the server closed the connection\n".to_owned()),
            };
            if message.get("method").and_then(Value::as_str) != Some("echo") {
                return Ok(message);
            }
            self.send(&json!({"id": message.get("id"), "result": message.get("params"), "error": null}))?;
        }
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        self.calls += 1;
        let id = self.calls;
        self.send(&json!({"id": id, "method": method, "params": params}))?;
        loop {
            let mut message = self.receive()?;
            if message.get("id") != Some(&json!(id)) {
                continue;
            }
            return match message.get("error") {
                None | Some(Value::Null) => Ok(message.get_mut("result").map(Value::take).unwrap_or_default()),
                Some(error) => Err(format!("ovs-vsctl: {error}\n")),
            };
        }
    }

    /// The result of each operation; all are done, or none.
    pub(crate) fn transact(&mut self, operations: Vec<Value>) -> Result<Vec<Value>, String> {
        let params = [vec![json!("Open_vSwitch")], operations].concat();
        let results = match self.call("transact", &Value::Array(params))? {
            Value::Array(results) => results,
            other => return Err(format!("ovs-vsctl: {other}\n")),
        };
        match results.iter().find(|result| result.get("error").is_some()) {
            Some(error) => Err(format!("ovs-vsctl: transaction error: {error}\n")),
            None => Ok(results),
        }
    }

    pub(crate) fn select(&mut self, table: &str, condition: &Value, columns: &[&str]) -> Result<Vec<Row>, String> {
        let operation = json!({"op": "select", "table": table, "where": condition, "columns": columns});
        let mut results = self.transact(vec![operation])?;
        let rows = results.first_mut().and_then(|result| result.get_mut("rows"));
        let rows = rows.map(Value::take).unwrap_or_default();
        serde_json::from_value(rows).map_err(|error| format!("ovs-vsctl: {error}\n"))
    }

    /// Changes something, and waits until ovs-vswitchd has seen it, as ovs-vsctl does (`do_vsctl` in utilities/ovs-vsctl.c).
    pub(crate) fn change(&mut self, mut operations: Vec<Value>) -> Result<(), String> {
        operations.extend([
            json!({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}),
            json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]}),
        ]);
        let results = self.transact(operations)?;
        let next = results
            .last()
            .and_then(|result| result.pointer("/rows/0/next_cfg")?.as_i64());
        let seen = |update: &Value| update.as_object()?.values().next()?.pointer("/new/cur_cfg")?.as_i64();
        let deadline = Instant::now() + TIMEOUT;
        let columns = json!({"Open_vSwitch": {"columns": ["cur_cfg"]}});
        let mut update = self.call("monitor", &json!(["Open_vSwitch", null, columns]))?;
        while update.get("Open_vSwitch").and_then(seen) < next {
            if Instant::now() > deadline {
                return Err("signal: alarm clock".to_owned());
            }
            let mut message = self.receive()?;
            update = message.pointer_mut("/params/1").map(Value::take).unwrap_or_default();
        }
        Ok(())
    }
}

/// A column of text.
pub(crate) fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

/// The value of a key of a column that is a map of texts.
pub(crate) fn of_map<'a>(row: &'a Row, column: &str, key: &str) -> Option<&'a str> {
    let pairs = row.get(column)?.get(1)?.as_array()?;
    let found = pairs
        .iter()
        .find(|pair| pair.get(0).and_then(Value::as_str) == Some(key));
    found?.get(1)?.as_str()
}

/// A map of texts, in the protocol's notation.
pub(crate) fn map(pairs: &[(&str, &str)]) -> Value {
    json!(["map", pairs])
}

/// The rows with this external ID.
pub(crate) fn with_external_id(key: &str, value: &str) -> Value {
    json!([["external_ids", "includes", map(&[(key, value)])]])
}
