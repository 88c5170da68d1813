//! One request: routed, answered, and written to the log, also when there is no reply.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::faults::Faults;
use crate::http::{Delivery, Reply, Request};
use crate::options::Options;
use crate::pods::Pods;
use crate::versions::{Shape, Version};
use crate::wire::{self, CniRequest, CniResponse, OldResponse};
use crate::{add, del, restful};

/// Why a request is not answered with success.
#[derive(Debug)]
pub(crate) enum Fail {
    /// Text that the original puts into its error.
    Text(String),
    /// The whole answer: this status, and this as the "error" of the response struct.
    Status(u16, String),
    /// The handler panics: the connection is closed without a byte.
    Panic(&'static str),
}

impl Fail {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Fail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// What a handler may look at, and the place for what the original writes to its log only.
pub(crate) struct Context<'a> {
    pub(crate) options: &'a Options,
    pub(crate) faults: Faults,
    notes: Mutex<Vec<String>>,
}

impl Context<'_> {
    /// Where faults may hold the request, or end the process: see README.md.
    pub(crate) fn step(&self, request: &CniRequest, step: &'static str) -> Result<(), Fail> {
        self.faults.hold(step);
        if self.faults.dies(step) {
            die(self.options);
        }
        if !self.faults.pauses(step) {
            return Ok(());
        }
        let paused = json!({"paused": step, "container": request.container_id, "if_name": request.if_name});
        log(self.options, &paused);
        // the pods file is the switch
        while Pods::read(self.options)?.faults(self.options, request)?.pauses(step) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn note(&self, text: impl Into<String>) {
        if let Ok(mut notes) = self.notes.lock() {
            notes.push(text.into());
        }
    }
}

/// A handler's outcome; `None` for a body is the status line alone.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) delivery: Delivery,
}

impl Answer {
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            body: None,
            delivery: Delivery::Whole,
        }
    }

    pub(crate) fn json(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            body: Some(body),
            delivery: Delivery::Whole,
        }
    }

    /// An error travels in the response struct, everything else of it empty.
    pub(crate) fn error(version: &Version, status: u16, error: String) -> Self {
        let body = match version.shape {
            Shape::Ips => wire::to_json(&CniResponse {
                error,
                ..CniResponse::default()
            }),
            Shape::Lists => wire::to_json(&OldResponse {
                error,
                ..OldResponse::default()
            }),
        };
        Self::json(status, body)
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self {
            status: answer.status,
            headers: answer
                .body
                .iter()
                .map(|_| ("Content-Type", "application/json"))
                .collect(),
            body: answer.body.unwrap_or_default(),
            delivery: answer.delivery,
        }
    }
}

pub(crate) fn answer(options: &Options, request: &Request) -> Option<Reply> {
    let start = now();
    let mut context = Context {
        options,
        faults: Faults::default(),
        notes: Mutex::default(),
    };
    let reply = match restful::route(request) {
        Err(refusal) => Ok(refusal),
        Ok(route) => match handle(&mut context, &route, request) {
            Ok(answer) => Ok(answer.into()),
            Err(Fail::Status(status, text)) => Ok(Answer::error(options.version, status, text).into()),
            // the emulator's own trouble, and so the test's: it must be seen
            Err(Fail::Text(text)) => {
                eprintln!("kube-ovn-daemon-emulator: {text}");
                Ok(Answer::error(options.version, 500, text).into())
            }
            Err(Fail::Panic(text)) => Err(text),
        },
    };
    let mut violations = Vec::new();
    if ["gzip", "deflate"]
        .iter()
        .any(|coding| request.header("Accept-Encoding").contains(coding))
    {
        violations.push("Accept-Encoding: the original would have compressed this reply");
    }
    if !request.header("Content-Encoding").is_empty() {
        violations.push("Content-Encoding: the original would have decompressed this body");
    }
    let line = json!({
        "verb": format!("{} {}", request.method, request.target),
        "headers": request.headers,
        "body": String::from_utf8_lossy(&request.body),
        "status": reply.as_ref().map_or(0, |reply| reply.status),
        "reply": reply.as_ref().map_or(String::new(), |reply| String::from_utf8_lossy(&reply.body).into_owned()),
        "panic": reply.as_ref().err(),
        "violations": violations,
        "notes": context.notes.into_inner().unwrap_or_default(),
        "start": start,
        "end": now(),
    });
    log(options, &line);
    reply.ok()
}

fn handle(context: &mut Context, route: &restful::Route, request: &Request) -> Result<Answer, Fail> {
    let verb = match route {
        restful::Route::Add => "add",
        restful::Route::Del => "del",
    };
    let decoded = wire::decode(&request.body)
        .map_err(|error| Fail::Status(400, format!("parse {verb} request failed {error}")))?;
    let pods = prepare(context, &decoded)?;
    match route {
        restful::Route::Add => add::handle(context, pods, decoded),
        restful::Route::Del => del::handle(context, &pods, &decoded),
    }
}

fn prepare(context: &mut Context, request: &CniRequest) -> Result<Pods, String> {
    let pods = Pods::read(context.options)?;
    context.faults = pods.faults(context.options, request)?;
    Ok(pods)
}

/// The process is gone, with every request it was working on. Its start script removes the socket.
pub(crate) fn die(options: &Options) -> ! {
    // gone already is as good as removed
    let _ = std::fs::remove_file(&options.socket);
    std::process::exit(2)
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

fn log(options: &Options, line: &serde_json::Value) {
    let Some(path) = &options.log else { return };
    // one write of one line in append mode: lines of concurrent requests do not mix
    let written = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    if let Err(error) = written {
        eprintln!("kube-ovn-daemon-emulator: cannot write {}: {error}", path.display());
    }
}
