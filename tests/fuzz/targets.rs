//! The targets. To add one: a function, and an entry in `ALL`.

mod environment;
mod server;
mod sysfs;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use kube_ovn::cni::{self, Environment, Failure};
use kube_ovn::device::PortName;
use kube_ovn::net::genl::{self, Message};
use kube_ovn::net::{self, Link};
use kube_ovn::node::Config;
use kube_ovn::ovs::flow::{self, Flow};
use kube_ovn::state::Store;
use kube_ovn::types::PciAddress;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;

use crate::Target;

pub(crate) const ALL: [Target; 13] = [
    Target {
        name: "port-name",
        seeds: &["tests/fuzz/corpus/port-name"],
        words: &[
            "p",
            "pf",
            "vf",
            "sf",
            "c",
            "l",
            "s",
            "0",
            "4294967295",
            "4294967296",
            "\u{a0}",
            "１",
        ],
        run: port_name,
    },
    Target {
        name: "netconf",
        seeds: &["tests/fuzz/corpus/netconf", "tests/fixtures/multus"],
        words: &[
            "ADD\0",
            "DEL\0",
            "CHECK\0",
            "GC\0",
            "STATUS\0",
            "VERSION\0",
            "\"cniVersion\":",
            "\"1.1.0\"",
            "\"0.3.1\"",
            "null",
            "true",
            "[[",
            "{\"a\":",
            "\"runtimeConfig\":",
            "\"deviceID\":",
            "\"ipam\":",
            "\"prevResult\":",
            "\\u0000",
            "\\ud800",
            "K8S_POD_NAME=",
            "K8S_POD_NAMESPACE=",
            "1e999",
            "..",
        ],
        run: netconf,
    },
    Target {
        name: "reply",
        seeds: &["tests/fuzz/corpus/reply"],
        words: &[
            "null",
            "\"\"",
            "[",
            "{",
            "\"ips\":",
            "\"routes\":",
            "/129",
            "::",
            "0.0.0.0/0",
            "-1",
            "1e400",
        ],
        run: reply,
    },
    Target {
        name: "record",
        seeds: &["tests/fuzz/corpus/record"],
        words: &[
            "null",
            "\"\"",
            "[",
            "{",
            "\"format\":",
            "99999999999",
            "0000:03:00.2",
            "\"stage\":",
        ],
        run: record,
    },
    Target {
        name: "sysfs",
        seeds: &["tests/fuzz/corpus/sysfs", "tests/fixtures/sysfs"],
        words: sysfs::WORDS,
        run: sysfs::run,
    },
    Target {
        name: "node-config",
        seeds: &["tests/fuzz/corpus/node-config"],
        words: &[
            "null",
            "[",
            "{",
            "\"log_level\":",
            "\"socket_directories\":",
            "\"del_seconds\":",
            "/",
            "..",
            "1e9",
            "-1",
        ],
        run: node_config,
    },
    Target {
        name: "flow",
        seeds: &["tests/fuzz/corpus/flow"],
        words: &[
            "(",
            ")",
            "{",
            "}",
            ",",
            "/",
            "0/0",
            "::/::",
            "ufid:",
            "encap(",
            "packets:",
            ", bytes:0",
            ", used:never",
            ", flags:S",
            ", offloaded:yes",
            ", dp:tc",
            ", actions:",
            "ct_state(+est-",
            "clone(",
            "18446744073709551616",
            "1e999",
        ],
        run: flow,
    },
    Target {
        name: "devlink",
        seeds: &["tests/fuzz/corpus/devlink"],
        words: &[],
        run: devlink,
    },
    Target {
        name: "link-message",
        seeds: &["tests/fuzz/corpus/link-message"],
        words: &[],
        run: link_message,
    },
    Target {
        name: "environment",
        seeds: &["tests/fuzz/corpus/environment"],
        words: environment::WORDS,
        run: environment::run,
    },
    Target {
        name: "daemon-http",
        seeds: &["tests/fuzz/corpus/daemon-http"],
        words: server::HTTP_WORDS,
        run: server::http,
    },
    Target {
        name: "ovsdb",
        seeds: &["tests/fuzz/corpus/ovsdb"],
        words: server::OVSDB_WORDS,
        run: server::ovsdb,
    },
    Target {
        name: "unixctl",
        seeds: &["tests/fuzz/corpus/unixctl"],
        words: server::UNIXCTL_WORDS,
        run: server::unixctl,
    },
];

/// Targets that fail, each in its way, to see that this would be noticed; `words` is what must be said.
pub(crate) const TRAPS: [Target; 3] = [
    Target {
        name: "trap-panic",
        seeds: &["tests/fuzz/corpus/port-name"],
        words: &["this input is bad"],
        run: |_| panic!("this input is bad"),
    },
    Target {
        name: "trap-memory",
        seeds: &["tests/fuzz/corpus/port-name"],
        words: &["memory allocation of"],
        run: |_| vec!["x"; 1 << 24].join(" "),
    },
    Target {
        name: "trap-hang",
        seeds: &["tests/fuzz/corpus/port-name"],
        words: &["no answer within"],
        run: |_| {
            std::thread::sleep(Duration::from_secs(3600));
            String::new()
        },
    },
];

/// What is read back must mean the same.
fn port_name(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    match text.parse::<PortName>() {
        Ok(port) => {
            assert_eq!(port.to_string().parse(), Ok(port));
            format!("{port}")
        }
        Err(why) => why.to_string(),
    }
}

/// The command and `CNI_ARGS` up to a NUL each, or else those of an ADD; the rest is stdin.
fn netconf(input: &[u8]) -> String {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let (first, second, third) = (parts.next(), parts.next(), parts.next());
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let (command, args, stdin) = match third {
        Some(stdin) => (text(first), text(second), stdin),
        None => (
            "ADD".to_owned(),
            "K8S_POD_NAME=nginx;K8S_POD_NAMESPACE=default".to_owned(),
            input,
        ),
    };
    let env = Environment {
        command: Some(command),
        container_id: Some("0123456789abcdef".to_owned()),
        netns: Some("/run/netns/cni-1".to_owned()),
        ifname: Some("eth0".to_owned()),
        args: Some(args),
        path: Some("/opt/cni/bin".to_owned()),
        netns_override: None,
    };
    match cni::parse(&env, stdin, "kube-ovn") {
        Ok(invocation) => format!("{invocation:?}"),
        Err(failure) => {
            let object = failure.render();
            serde_json::from_slice::<serde_json::Value>(&object).expect("an error object is JSON");
            let Failure { code, msg, .. } = failure;
            format!("{code:?} {msg}")
        }
    }
}

fn reply(input: &[u8]) -> String {
    match kube_ovn::daemon::Reply::parse(input) {
        Ok(reply) => format!("{reply:?} {:?}", reply.all_routes()),
        Err(why) => why,
    }
}

fn record(input: &[u8]) -> String {
    let root = std::env::temp_dir().join("state");
    let device: PciAddress = "0000:03:00.2".parse().unwrap();
    std::fs::create_dir_all(root.join("vf")).unwrap();
    std::fs::write(root.join(format!("vf/{device}.json")), input).unwrap();
    match Store::at(Path::new(&root)).read(&device) {
        Ok(record) => format!("{record:?}"),
        Err(error) => error.to_string(),
    }
}

fn node_config(input: &[u8]) -> String {
    let path = std::env::temp_dir().join("config.json");
    std::fs::write(&path, input).unwrap();
    match Config::load(&path) {
        Ok(config) => format!("{config:?}"),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control) && text.len() < 4096, "{text:?}");
            text
        }
    }
}

/// A line of a dump of flows. What was taken out of it stands in it.
fn flow(input: &[u8]) -> String {
    let line = String::from_utf8_lossy(input);
    let Some(flow) = Flow::parse(&line) else {
        return "no flow".to_owned();
    };
    let mut answer = format!(
        "{} {:?} {:?} {}",
        flow.ufid.is_some(),
        flow.used,
        flow.offloaded,
        flow.layer.len()
    );
    let keys = flow.keys();
    for item in keys.iter().copied().chain(flow.actions()) {
        assert!(line.contains(item.text), "{item:?}");
        let value = item.arguments().unwrap_or_default();
        let state = flow::ct_state(value).map(|state| (state.has("est"), state.asks("dnat")));
        let _ = write!(answer, " {} {state:?} {}", item.is_bare(), flow::is_matched(value));
        for inner in flow::items(value).take(8) {
            let _ = write!(answer, "{:?}", inner.value().map(flow::masked));
        }
    }
    answer
}

/// A packet of a dump of ports.
fn devlink(input: &[u8]) -> String {
    let mut answer = String::new();
    for message in genl::messages(input) {
        let _ = match message {
            Message::Data { flags, attributes } => write!(answer, "{flags} {:?};", net::devlink::port(attributes)),
            other => write!(answer, "{other:?};"),
        };
    }
    answer
}

/// What rtnetlink would hand us for these bytes.
fn link_message(input: &[u8]) -> String {
    let message = match NetlinkMessage::<RouteNetlinkMessage>::deserialize(input) {
        Ok(message) => message,
        Err(error) => return error.to_string(),
    };
    match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
            format!("{:?}", Link::from_message(&message))
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
            format!("{:?}", net::Address::from_message(&message))
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(message)) => {
            format!(
                "{:?}",
                (1..4).map(|link| net::route_by(&message, link)).collect::<Vec<_>>()
            )
        }
        NetlinkPayload::Error(error) => format!("{:?} {:?}", error.code, net::extended_ack(&error)),
        other => format!("{:?}", std::mem::discriminant(&other)),
    }
}
