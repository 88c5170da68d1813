//! The emulator as seen from the wire: no root, no OVS, every byte of a reply looked at.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: a failed step is a failed test"
)]

#[path = "../support/daemon.rs"]
mod daemon;
mod tests_versions;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use daemon::Daemon;
use serde_json::{Value, json};

const ID: &str = "0123456789abcdef";

impl Daemon {
    /// All that comes back for these bytes until the daemon closes.
    fn raw(&self, bytes: &str) -> String {
        let mut stream = UnixStream::connect(self.path("socket")).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        String::from_utf8(reply).unwrap()
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: dummy\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ))
    }

    fn post(&self, verb: &str, body: &str) -> String {
        self.send(
            "POST",
            &format!("/api/v1/{verb}"),
            "Content-Type: application/json\r\n",
            body,
        )
    }

    fn add(&self, request: &Value) -> (u16, Value) {
        parse(&self.post("add", &request.to_string()))
    }
}

fn parse(reply: &str) -> (u16, Value) {
    let (head, body) = reply
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no reply head in {reply:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.contains("Transfer-Encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    (
        status,
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {body:?}")),
    )
}

fn unchunk(mut text: &str) -> String {
    let mut whole = String::new();
    loop {
        let (size, rest) = text.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(rest, "\r\n", "the last chunk ends the reply");
            return whole;
        }
        whole.push_str(rest.get(..size).unwrap());
        text = rest.get(size + 2..).unwrap();
    }
}

fn pods(fault: &str) -> Value {
    json!({"default/pod1": {"sriov.default.ovn": {
        "ip": "10.16.0.11,fd00::b", "mac": "02:00:00:00:00:11", "cidr": "10.16.0.0/16,fd00::/64",
        "gateway": "10.16.0.1,fd00::1", "default_route": true, "mtu": 1400, "subnet": "ovn-default",
        "gateway_check": true, "routes": [], "allocated": true, "routed": true, "fault": fault,
    }, "macvlan.default": {"ip": "10.17.0.5", "cidr": "10.17.0.0/16", "gateway": "10.17.0.1"}}})
}

fn request(id: &str, interface: &str) -> Value {
    json!({"cni_type": "kube-ovn", "pod_name": "pod1", "pod_namespace": "default", "container_id": id,
        "net_ns": "/var/run/netns/x", "if_name": interface, "provider": "sriov.default.ovn", "routes": null, "dns": {},
        "vf_driver": "", "deviceID": "0000:01:00.1", "vhost_user_socket_volume_name": "", "vhost_user_socket_name": "",
        "vhost_user_socket_consumption": "", "some_future_key": [1]})
}

#[test]
fn add_answers_pretty_json_in_the_order_of_the_original() {
    let daemon = Daemon::at_once(&pods(""));
    let reply = daemon.post("add", &request(ID, "net1").to_string());
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: "),
        "{head}"
    );
    assert!(
        head.ends_with(&format!("Connection: close\r\nContent-Length: {}", body.len())),
        "{head}"
    );
    let wanted = r#"{
 "ips": [
  {
   "protocol": "IPv4",
   "ip": "10.16.0.11",
   "cidr": "10.16.0.0/16",
   "gateway": "10.16.0.1"
  },
  {
   "protocol": "IPv6",
   "ip": "fd00::b",
   "cidr": "fd00::/64",
   "gateway": "fd00::1"
  }
 ],
 "mac_address": "02:00:00:00:00:11",
 "routes": [
  {
   "dst": "0.0.0.0/0",
   "gw": "10.16.0.1"
  },
  {
   "dst": "::/0",
   "gw": "fd00::1"
  }
 ],
 "mtu": 1400,
 "nicname": "net1",
 "dns": {},
 "error": ""
}"#;
    assert_eq!(body, wanted);
}

#[test]
fn del_answers_204_without_a_body_and_connections_are_kept() {
    let daemon = Daemon::at_once(&pods(""));
    let body = request(ID, "net1").to_string();
    let one = format!(
        "POST /api/v1/del HTTP/1.1\r\nHost: dummy\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let last = one.replace("Host: dummy", "Host: dummy\r\nConnection: close");
    let reply = daemon.raw(&format!("{one}{last}"));
    assert_eq!(reply.matches("HTTP/1.1 204 No Content\r\n").count(), 2, "{reply}");
    assert!(reply.ends_with("\r\n\r\n") && !reply.contains("Content-"), "{reply}");
}

#[test]
fn long_replies_are_chunked() {
    let daemon = Daemon::at_once(&pods(""));
    let mut long = request(ID, "net1");
    long["routes"] = (0..100)
        .map(|n| json!({"dst": format!("10.99.{n}.0/24"), "gw": "10.16.0.1"}))
        .collect();
    let reply = daemon.post("add", &long.to_string());
    assert!(
        reply.contains("\r\nTransfer-Encoding: chunked\r\n") && !reply.contains("Content-Length"),
        "{reply}"
    );
    let (status, body) = parse(&reply);
    assert_eq!((status, body["routes"].as_array().unwrap().len()), (200, 102));
}

#[test]
fn go_restful_refuses_in_plain_text() {
    let daemon = Daemon::at_once(&pods(""));
    let json = "Content-Type: application/json\r\n";
    let cases = [
        (
            "GET",
            "/api/v1/add",
            "",
            "",
            "405 Method Not Allowed",
            "405: Method Not Allowed",
        ),
        (
            "POST",
            "/api/v1/check",
            json,
            "{}",
            "404 Not Found",
            "404: Page Not Found",
        ),
        ("POST", "/healthz", json, "{}", "404 Not Found", "404 page not found\n"),
        (
            "POST",
            "/api/v1/add",
            "",
            "{}",
            "415 Unsupported Media Type",
            "415: Unsupported Media Type",
        ),
        (
            "POST",
            "/api/v1/add",
            "Content-Type: text/plain\r\n",
            "{}",
            "415 Unsupported Media Type",
            "415: Unsupported Media Type",
        ),
        (
            "POST",
            "/api/v1/add",
            "Content-Type: application/json\r\nAccept: text/html\r\n",
            "{}",
            "406 Not Acceptable",
            "406: Not Acceptable\n\nAvailable representations: application/json",
        ),
    ];
    for (method, path, headers, body, status, text) in cases {
        let reply = daemon.send(method, path, headers, body);
        assert!(
            reply.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{method} {path}: {reply}"
        );
        assert!(reply.contains("Content-Type: text/plain; charset=utf-8\r\n"), "{reply}");
        assert!(reply.ends_with(&format!("\r\n\r\n{text}")), "{method} {path}: {reply}");
        assert_eq!(
            reply.contains("\r\nAllow: POST\r\n"),
            status.starts_with("405"),
            "{reply}"
        );
    }
    let accepted = "Content-Type: application/json; charset=utf-8\r\nAccept: text/html, */*;q=0.1\r\n";
    let reply = daemon.send("POST", "/api/v1/add/", accepted, &request(ID, "net1").to_string());
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
}

#[test]
fn bad_json_is_400_with_the_response_struct() {
    let daemon = Daemon::at_once(&pods(""));
    for (body, error) in [
        ("{\"pod_name\":", "unexpected EOF"),
        ("nonsense", "invalid character 'n' looking for beginning of value"),
        (
            "[]",
            "json: cannot unmarshal array into Go value of type request.CniRequest",
        ),
        (
            "{\"pod_name\": 7}",
            "json: cannot unmarshal number into Go struct field CniRequest.pod_name of type string",
        ),
        (" ", "EOF"),
    ] {
        for verb in ["add", "del"] {
            let (status, reply) = parse(&daemon.post(verb, body));
            assert_eq!(
                (status, &reply["error"]),
                (400, &json!(format!("parse {verb} request failed {error}")))
            );
            assert_eq!(reply["ips"], Value::Null);
        }
    }
}

#[test]
fn keys_match_without_case_and_the_last_one_wins() {
    let daemon = Daemon::at_once(&pods(""));
    let body = format!(
        r#"{{"POD_NAME":"other","Pod_Name":"pod1","pod_namespace":"default","container_id":"{ID}","if_name":"net1",
        "net_ns":"x","provider":"sriov.default.ovn","DEVICEID":"0000:01:00.1","net_ns":null}} trailing"#
    );
    assert_eq!(parse(&daemon.post("add", &body)).0, 200);
}

#[test]
fn names_that_panic_the_handler_close_the_connection() {
    let daemon = Daemon::at_once(&pods(""));
    for (id, interface) in [
        ("0123456789a", "eth0"),
        ("0123456", "net1"),
        (ID, "thirteenchars"),
        (ID, "podfourteenchar"),
    ] {
        for verb in ["add", "del"] {
            assert_eq!(
                daemon.post(verb, &request(id, interface).to_string()),
                "",
                "{verb} {id} {interface}"
            );
        }
    }
    for (id, interface) in [
        ("0123456789ab", "eth0"),
        ("01234567", "net1"),
        ("01234", "pod16367aacb67"),
        ("", "twelve_chars"),
    ] {
        assert_eq!(daemon.add(&request(id, interface)).0, 200, "{id} {interface}");
    }
}

#[test]
fn what_the_pods_file_lacks_is_an_error() {
    let daemon = Daemon::at_once(&json!({
        "default/pod1": {"sriov.default.ovn": {"ip": "10.16.0.11", "mac": "02:00:00:00:00:11", "cidr": "10.16.0.0"}},
        "default/waiting": {"sriov.default.ovn": {"cidr": "10.16.0.0/16"}},
        "default/unrouted": {"sriov.default.ovn": {"ip": "10.16.0.9", "cidr": "10.16.0.0/16", "routed": false}},
    }));
    let with = |key: &str, value: &str| {
        let mut request = request(ID, "eth0");
        request[key] = json!(value);
        request
    };
    let see = "please see kube-ovn-controller logs to find errors";
    for (request, status, error) in [
        (
            with("pod_name", "none"),
            500,
            "get pod default/none failed pod \"none\" not found".to_owned(),
        ),
        (
            with("provider", "x.y.ovn"),
            400,
            "provider x.y.ovn is not bound to any subnet".to_owned(),
        ),
        (
            with("pod_name", "waiting"),
            500,
            format!("no address allocated to pod default/waiting provider sriov.default.ovn, {see}"),
        ),
        (
            with("pod_name", "unrouted"),
            500,
            format!("route is not ready for pod default/unrouted provider sriov.default.ovn, {see}"),
        ),
    ] {
        let (got, reply) = daemon.add(&request);
        assert_eq!((got, &reply["error"]), (status, &json!(error)));
    }
    // P3: an address, but a CIDR without a mask
    assert_eq!(daemon.post("add", &request(ID, "eth0").to_string()), "");
}

#[test]
fn ipam_only_and_mac_only_shapes() {
    let daemon = Daemon::at_once(&pods("mac-only"));
    let (_, reply) = daemon.add(&request(ID, "net1"));
    assert_eq!((&reply["ips"], &reply["nicname"]), (&Value::Null, &json!("net1")));
    let mut ipam = request(ID, "net1");
    ipam["provider"] = json!("macvlan.default");
    let (_, reply) = daemon.add(&ipam);
    assert_eq!(
        reply["ips"],
        json!([{"protocol": "IPv4", "ip": "10.17.0.5", "cidr": "10.17.0.0/16"}])
    );
    assert_eq!(
        (&reply["nicname"], &reply["mac_address"], &reply["mtu"]),
        (&json!(""), &json!(""), &json!(0))
    );
}

#[test]
fn the_extension_is_honoured_only_when_switched_on() {
    let mut attach = request(ID, "net1");
    attach["vf_plumbing"] = json!("cni");
    attach["representor"] = json!("eth7");
    assert!(Daemon::at_once(&pods("")).add(&attach).1.get("vf_plumbing").is_none());
    let daemon = Daemon::start(&pods(""), &["--answer-at-once", "--vf-plumbing", "cni"]);
    assert_eq!(daemon.add(&attach).1["vf_plumbing"], json!("cni"));
    assert!(daemon.add(&request(ID, "net1")).1.get("vf_plumbing").is_none());
}

#[test]
fn faults_of_the_reply() {
    let body = request(ID, "net1").to_string();
    let reply = |fault: &str| Daemon::at_once(&pods(fault)).post("add", &body);
    for fault in ["mirror", "u2o"] {
        let empty = reply(fault);
        assert!(
            empty.starts_with("HTTP/1.1 200 OK\r\n") && empty.ends_with("Content-Length: 0\r\n\r\n"),
            "{empty}"
        );
    }
    assert_eq!(reply("eof"), "");
    assert_eq!(reply("late-eof"), "");
    assert!(reply("http-500").starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
    assert!(reply("garbage").ends_with("<html>not JSON</html>"));
    let truncated = reply("truncated");
    let (head, rest) = truncated.split_once("\r\n\r\n").unwrap();
    let promised: usize = head.rsplit(' ').next().unwrap().parse().unwrap();
    assert_eq!(rest.len(), promised / 2);
    assert_eq!(parse(&reply("wrong-mac")).1["mac_address"], json!("02:ff:ff:ff:ff:ff"));
    assert_eq!(parse(&reply("wrong-ip")).1["ips"][0]["ip"], json!("192.0.2.66"));
    assert_eq!(parse(&reply("wrong-nicname")).1["nicname"], json!("wrong0"));
    assert_eq!(parse(&reply("wrong-mtu")).1["mtu"], json!(1401));
    assert_eq!(parse(&reply("error-in-200")).1["error"], json!("fault error-in-200"));
    assert_eq!(parse(&reply("nothing-configured")).1["nicname"], json!(""));
    let (_, old) = parse(&reply("old-shape"));
    assert!(old.get("ips").is_none());
    assert_eq!(
        (&old["protocol"], &old["address"]),
        (&json!("Dual"), &json!("10.16.0.11,fd00::b"))
    );
    assert_eq!(old["cidr"], json!("10.16.0.0/16,fd00::/64"));
    assert!(reply("huge").len() > 64 << 20);
}

#[test]
fn faults_of_del_and_delays() {
    let daemon = Daemon::at_once(&pods("del-500"));
    let (status, reply) = parse(&daemon.post("del", &request(ID, "net1").to_string()));
    assert!(
        status == 500 && reply["error"].as_str().unwrap().starts_with("del nic failed "),
        "{reply}"
    );
    let start = Instant::now();
    assert_eq!(Daemon::at_once(&pods("late=1")).add(&request(ID, "net1")).0, 200);
    assert!(start.elapsed() >= Duration::from_secs(1));
    let daemon = Daemon::at_once(&pods("del-hang=1,del-eof"));
    assert_eq!(daemon.post("del", &request(ID, "net1").to_string()), "");
}

#[test]
fn a_client_that_leaves_does_not_stop_the_request_and_others_are_served() {
    let daemon = Daemon::at_once(&pods("hang=1"));
    let body = request(ID, "net1").to_string();
    let mut stream = UnixStream::connect(daemon.path("socket")).unwrap();
    let head = "POST /api/v1/add HTTP/1.1\r\nHost: dummy\r\nContent-Type: application/json\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    drop(stream);
    let start = Instant::now();
    assert!(daemon.post("del", &body).starts_with("HTTP/1.1 204"));
    assert!(start.elapsed() < Duration::from_secs(1), "the DEL waited for the ADD");
    let deadline = Instant::now() + Duration::from_secs(10);
    while daemon.log().len() < 2 {
        assert!(
            Instant::now() < deadline,
            "the ADD of the client that left was never finished"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(daemon.log()[1]["status"], json!(200));
}

#[test]
fn the_log_has_the_request_as_received() {
    let daemon = Daemon::at_once(&pods(""));
    let headers = "content-TYPE: application/json\r\nAccept-Encoding: gzip\r\n";
    daemon.send("POST", "/api/v1/add", headers, "{\"pod_name\":1}");
    let log = daemon.log();
    assert_eq!(log[0]["headers"][2], json!(["content-TYPE", "application/json"]));
    assert_eq!(
        (&log[0]["verb"], &log[0]["status"]),
        (&json!("POST /api/v1/add"), &json!(400))
    );
    assert_eq!(log[0]["body"], json!("{\"pod_name\":1}"));
    assert!(log[0]["violations"][0].as_str().unwrap().starts_with("Accept-Encoding"));
}

#[test]
fn typos_of_a_test_are_errors() {
    let (status, reply) = Daemon::at_once(&pods("gateway-chekc")).add(&request(ID, "net1"));
    assert!(
        status == 500 && reply["error"].as_str().unwrap().contains("unknown fault"),
        "{reply}"
    );
    let (status, reply) = Daemon::at_once(&json!({"default/pod1": {"ovn": {"adress": ""}}})).add(&request(ID, "net1"));
    assert!(
        status == 500 && reply["error"].as_str().unwrap().contains("unknown field `adress`"),
        "{reply}"
    );
}
