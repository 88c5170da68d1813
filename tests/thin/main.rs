//! A CNI plugin that only passes calls on, as the stock plugin of Kube-OVN does (cmd/cni/cni.go and sysctl.go at kube-ovn
//! 1533681d7; the frame around it is CNI's skel): no state, no look at the kernel, nothing undone.
//!
//! The end-to-end tests attach and detach with it before and after the plugin under test, and are run against it to see
//! that they can fail (tests/e2e/thin-client.txt).

#![allow(
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "test code; an absent key of a JSON value is null"
)]

mod conf;
mod daemon;
mod result;

use std::io::{Read, Write};
use std::process::ExitCode;

use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

use conf::Conf;

/// Code, message and details of the error object.
struct Failure(u32, String, String);

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

fn main() -> ExitCode {
    let (output, code) = match run() {
        Ok(output) => (output, ExitCode::SUCCESS),
        Err(Failure(code, msg, details)) => (
            format!("{:#}", json!({"code": code, "msg": msg, "details": details})),
            ExitCode::FAILURE,
        ),
    };
    // it looks no more than stock does whether anybody reads this
    let _ = std::io::stdout().write_all(output.as_bytes());
    code
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn run() -> Result<String, Failure> {
    let command = variable("CNI_COMMAND");
    let needed: &[&str] = match command.as_str() {
        "" => return Ok(String::new()),
        "VERSION" => return Ok(json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS}).to_string()),
        "ADD" | "CHECK" => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
        "DEL" => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
        "GC" | "STATUS" => &["CNI_PATH"],
        other => return Err(Failure(4, format!("unknown CNI_COMMAND: {other}"), String::new())),
    };
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|name| variable(name).is_empty())
        .collect();
    if !missing.is_empty() {
        let msg = format!("required env variables [{}] missing", missing.join(","));
        return Err(Failure(4, msg, String::new()));
    }
    let mut stdin = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut stdin) {
        return Err(Failure(5, format!("error reading from stdin: {error}"), String::new()));
    }
    let conf = Conf::parse(&stdin)?;
    match command.as_str() {
        "ADD" => add(&conf),
        "DEL" => del(&conf),
        _ => Ok(String::new()), // stock has no handlers for these
    }
}

fn add(conf: &Conf) -> Result<String, Failure> {
    let request = request(conf)?;
    enable_ipv6(&variable("CNI_NETNS")).map_err(internal)?;
    let (status, body) = daemon::post(&conf.socket, "/api/v1/add", &request).map_err(rpc_failed)?;
    let reply: Value = serde_json::from_slice(&body).map_err(rpc_failed)?;
    if status != 200 {
        let error = reply["error"].as_str().unwrap_or_default();
        return Err(rpc_failed(format!("request ip return {status} {error}")));
    }
    result::render(&reply, &conf.version, &variable("CNI_NETNS")).map_err(internal)
}

fn del(conf: &Conf) -> Result<String, Failure> {
    let (status, body) = daemon::post(&conf.socket, "/api/v1/del", &request(conf)?).map_err(rpc_failed)?;
    if status != 204 {
        let body = String::from_utf8_lossy(&body);
        return Err(rpc_failed(format!("delete ip return {status} {body}")));
    }
    Ok(String::new())
}

fn rpc_failed(error: impl ToString) -> Failure {
    Failure(11, "RPC failed".to_owned(), error.to_string())
}

/// What skel makes of an error that has no code.
fn internal(error: impl ToString) -> Failure {
    Failure(999, error.to_string(), String::new())
}

/// ADD and DEL send the same but for what DEL has no use for.
fn request(conf: &Conf) -> Result<Value, Failure> {
    let add = variable("CNI_COMMAND") == "ADD";
    let for_add = |value: &Value, none: Value| if add { value.clone() } else { none };
    Ok(json!({
        "cni_type": conf.kind,
        "pod_name": argument("K8S_POD_NAME")?,
        "pod_namespace": argument("K8S_POD_NAMESPACE")?,
        "container_id": variable("CNI_CONTAINERID"),
        "net_ns": variable("CNI_NETNS"),
        "if_name": variable("CNI_IFNAME"),
        "provider": conf.provider,
        "routes": for_add(&conf.routes, Value::Null),
        "dns": for_add(&conf.dns, json!({})),
        "vf_driver": for_add(&conf.vf_driver, json!("")),
        "deviceID": conf.device,
        "vhost_user_socket_volume_name": "",
        "vhost_user_socket_name": "",
        "vhost_user_socket_consumption": "",
    }))
}

fn argument(key: &str) -> Result<String, Failure> {
    let invalid = |details: String| Failure(7, "Invalid Configuration".to_owned(), details);
    let all = variable("CNI_ARGS");
    if all.is_empty() {
        return Err(invalid("CNI_ARGS is required".to_owned()));
    }
    let pairs = all.split(';').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, value)| *name == key && !value.is_empty());
    match values.next() {
        Some((_, value)) => Ok(value.to_owned()),
        None => Err(invalid(format!("{key} is required in CNI_ARGS"))),
    }
}

/// In the pod's network namespace, by a thread that ends there.
fn enable_ipv6(netns: &str) -> Result<(), String> {
    let netns = std::fs::File::open(netns).map_err(|error| format!("failed to open netns {netns:?}: {error}"))?;
    let in_pod = move || -> Result<(), String> {
        setns(netns, CloneFlags::CLONE_NEWNET).map_err(|error| format!("cannot enter the netns: {error}"))?;
        for (interface, key) in ["all", "default"]
            .iter()
            .flat_map(|i| [(i, "disable_ipv6"), (i, "accept_ra")])
        {
            let path = format!("/proc/sys/net/ipv6/conf/{interface}/{key}");
            let Ok(value) = std::fs::read_to_string(&path) else {
                continue; // without IPv6
            };
            if value.trim() != "0" {
                std::fs::write(&path, "0").map_err(|error| format!("failed to set {path}: {error}"))?;
            }
        }
        Ok(())
    };
    let thread = std::thread::spawn(in_pod);
    thread
        .join()
        .unwrap_or_else(|_| Err("the thread in the netns died".to_owned()))
}
