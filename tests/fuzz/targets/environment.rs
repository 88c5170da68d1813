//! What a caller puts into the environment: `NAME=VALUE` lines, an empty line, stdin. `CNI_ARGS` is one of them.

use std::collections::HashMap;

use kube_ovn::cni::{self, Environment, Invocation};

pub(super) const WORDS: &[&str] = &[
    "CNI_COMMAND=",
    "CNI_CONTAINERID=",
    "CNI_NETNS=",
    "CNI_IFNAME=",
    "CNI_PATH=",
    "CNI_ARGS=",
    "CNI_NETNS_OVERRIDE=",
    "ADD",
    "DEL",
    "CHECK",
    "GC",
    "STATUS",
    "VERSION",
    "IgnoreUnknown=1;",
    "K8S_POD_NAME=",
    "K8S_POD_NAMESPACE=",
    "K8S_POD_UID=",
    ";",
    "=",
    "..",
    "/",
    ":",
    "\u{a0}",
    "\u{2003}",
    "\u{fffd}",
    "TRUE",
];

pub(super) fn run(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let (variables, stdin) = text.split_once("\n\n").unwrap_or((&text, ""));
    // as the kernel has them: no NUL, and the first of several
    let mut values: HashMap<&str, String> = HashMap::new();
    for (name, value) in variables.lines().filter_map(|line| line.split_once('=')) {
        values.entry(name).or_insert_with(|| value.replace('\0', ""));
    }
    let get = |name: &str| values.get(name).cloned().filter(|value| !value.is_empty());
    let env = Environment {
        command: get("CNI_COMMAND"),
        container_id: get("CNI_CONTAINERID"),
        netns: get("CNI_NETNS"),
        ifname: get("CNI_IFNAME"),
        args: get("CNI_ARGS"),
        path: get("CNI_PATH"),
        netns_override: get("CNI_NETNS_OVERRIDE"),
    };
    match cni::parse(&env, stdin.as_bytes(), "kube-ovn") {
        Ok(Invocation::Add(call) | Invocation::Del(call) | Invocation::Check(call)) => {
            // the two make the name of a file
            for name in [call.container.as_str(), call.ifname.as_str()] {
                assert!(
                    !name.is_empty() && !name.contains(['/', '\0']) && name != "..",
                    "{name:?}"
                );
            }
            assert!(call.ifname.as_str().len() < 16);
            assert!(call.pod.name.len() <= env.args.as_ref().map_or(0, String::len));
            format!(
                "{} {:?} {}",
                call.pod.name.is_empty(),
                call.netns.is_some(),
                call.netns_override
            )
        }
        Ok(other) => format!("{:?}", std::mem::discriminant(&other)),
        Err(failure) => {
            let object = failure.render();
            let object: serde_json::Value = serde_json::from_slice(&object).expect("an error object is JSON");
            let msg = object["msg"].as_str().expect("msg");
            assert!(!msg.is_empty() && !msg.contains(char::is_control), "{msg:?}");
            format!("{:?} {msg}", failure.code)
        }
    }
}
