//! `flows` against servers that answer as Open vSwitch's do.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::flows::fixture;
use super::{stderr, stdout, tool};

/// What an ovsdb-server and an ovs-vswitchd answer.
struct Servers(TempDir);

impl Servers {
    /// `tables` by name, and the dumps of flows one after another; the last one again and again.
    fn new(tables: Value, dumps: Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        serve(&path.join("db.sock"), move |request| {
            let operations = request["params"].as_array().unwrap().iter().skip(1);
            let table = |operation: &Value| json!({"rows": tables[operation["table"].as_str().unwrap()]});
            operations.map(table).collect()
        });
        let servers = Self(directory);
        servers.vswitchd(7, dumps);
        servers
    }

    /// An ovs-vswitchd with this process ID is the one that runs.
    fn vswitchd(&self, pid: u32, dumps: Vec<String>) {
        let mut dumps = dumps.into_iter();
        let mut dump = String::new();
        serve(
            &self.0.path().join(format!("ovs-vswitchd.{pid}.ctl")),
            move |request| match request["method"].as_str().unwrap() {
                "dpctl/dump-dps" => json!("system@ovs-system\n"),
                "dpctl/dump-flows" => {
                    assert_eq!(request["params"], json!(["-m", "--names", "system@ovs-system"]));
                    dump = dumps.next().unwrap_or(std::mem::take(&mut dump));
                    json!(dump)
                }
                other => panic!("{other}"),
            },
        );
        fs::write(self.pid_file(), format!("{pid}\n")).unwrap();
    }

    fn pid_file(&self) -> PathBuf {
        self.0.path().join("ovs-vswitchd.pid")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tool(&["flows", "--ovs"]);
        command
            .arg(self.0.path())
            .arg("--state")
            .arg(self.0.path().join("state"));
        command.args(arguments);
        command
    }

    fn flows(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn serve(socket: &Path, mut answer: impl FnMut(&Value) -> Value + Send + 'static) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            converse(stream.unwrap(), &mut answer);
        }
    });
}

fn converse(mut stream: UnixStream, answer: &mut impl FnMut(&Value) -> Value) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        request.extend(&piece[..length]);
        let Ok(call) = serde_json::from_slice::<Value>(&request) else {
            continue;
        };
        request.clear();
        let reply = json!({"id": call["id"], "result": answer(&call), "error": null});
        if stream.write_all(reply.to_string().as_bytes()).is_err() {
            return;
        }
    }
}

fn interface(uuid: &str, name: &str, kind: &str, ids: &[(&str, &str)]) -> Value {
    json!({"_uuid": ["uuid", uuid], "name": name, "type": kind, "external_ids": ["map", ids], "ifindex": 4_000_000})
}

#[test]
fn asked_of_open_vswitch() {
    let pod = |name| {
        [
            ("iface-id", "x"),
            ("pod_namespace", "shop"),
            ("pod_name", name),
            ("vendor", "kube-ovn"),
        ]
    };
    let tables = json!({
        "Open_vSwitch": [{"other_config": ["map", [["hw-offload", "true"], ["tc-policy", "skip_hw"]]]}],
        "Interface": [
            interface("1", "eth8", "", &pod("web")),
            interface("2", "eth9", "", &pod("db")),
            interface("3", "mirror0", "internal", &[]),
        ],
        "Port": [{"_uuid": ["uuid", "p3"], "interfaces": ["uuid", "3"]}],
        "Mirror": [{"output_port": ["uuid", "p3"]}],
    });
    let first = fs::read_to_string(fixture("mirror-internal.txt")).unwrap();
    // each flow of pod web's has 100,000 bytes and 100 packets more
    let second = first.replace("packets:219, bytes:311524", "packets:319, bytes:411524");
    assert_ne!(first, second);
    let servers = Servers::new(tables, vec![first.clone(), second, first]);
    let output = servers.flows(&["--rates", "1", "--pod", "shop/web", "-o", "json"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["node"]["tc_policy"], "skip_hw", "{answer}");
    let seconds = answer["seconds"].as_f64().unwrap();
    assert!((1.0..60.0).contains(&seconds), "{seconds}");
    let flow = answer["flows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|flow| flow["packets"] == 319)
        .unwrap();
    assert_eq!(
        (&flow["state"], &flow["reason"]["code"]),
        (&json!("tc"), &json!("tc-policy-skip-hw"))
    );
    assert_eq!(flow["to"][1]["pod"]["name"], "db", "{flow}");
    let rate = flow["bits_per_second"].as_f64().unwrap();
    assert!(
        (rate * seconds - 800_000.0).abs() < 2000.0 * seconds,
        "{rate} {seconds}"
    );
    assert_eq!(answer["traffic"]["recent"]["offloaded_percent"], 0.0);
    assert_eq!(answer["pods"][1]["sent"]["total"]["bytes"], 411_524, "{answer}");

    // a flow whose counters went back was installed anew
    let output = servers.flows(&["--watch", "1", "--looks", "2", "-o", "json"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let looks: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(looks.len(), 2);
    assert_eq!(looks[0]["seconds"], Value::Null);
    assert!(looks[1]["seconds"].as_f64().unwrap() >= 1.0);

    let output = servers.flows(&["--pod", "shop/other"]);
    assert_eq!(output.status.code(), Some(3));
}

/// Open vSwitch is restarted while somebody watches.
#[test]
fn a_watch_outlives_ovs_vswitchd() {
    let tables = json!({"Open_vSwitch": [], "Interface": [], "Port": [], "Mirror": []});
    let dump = fs::read_to_string(fixture("l2.txt")).unwrap();
    let servers = Servers::new(tables, vec![dump.clone()]);
    let mut command = servers.command(&["--watch", "1", "-o", "json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = Watch(child.unwrap());
    let mut looks = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut said = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let look = |line: Option<io::Result<String>>| serde_json::from_str::<Value>(&line.unwrap().unwrap()).unwrap();
    assert_eq!(look(looks.next())["flow_count"], 5);
    fs::remove_file(servers.pid_file()).unwrap();
    let gone = said.next().unwrap().unwrap();
    assert!(
        gone.contains("does not tell the process ID of ovs-vswitchd") && gone.ends_with("; looking again every 1 s"),
        "{gone}"
    );
    thread::sleep(Duration::from_secs(3)); // longer than until the next look
    servers.vswitchd(8, vec![dump]);
    assert_eq!(
        said.next().unwrap().unwrap(),
        "kube-ovn-offload: it is there again",
        "the loss is said once"
    );
    let again = looks.find_map(|line| {
        let look = look(Some(line));
        look["seconds"].is_null().then_some(look)
    });
    assert_eq!(again.unwrap()["flow_count"], 5, "counted anew");
}

/// Ends with the test.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nobody_to_ask() {
    let directory = tempfile::tempdir().unwrap();
    let output = tool(&["flows", "--ovs"]).arg(directory.path()).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(4), ""));
    assert!(
        stderr(&output).contains("ovsdb-server can't be reached"),
        "{}",
        stderr(&output)
    );
}
