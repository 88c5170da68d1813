//! What real Multus sent (tests/fixtures/multus): stdin and environment to the letter, but for the names of sandbox and pod.

use std::path::Path;

use serde_json::{Value, json};

use crate::subject::{Pod, subject};
use crate::support::Answer;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/multus")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A case: lines `key: value`, whose meaning README.md beside the fixtures tells.
struct Case<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Case<'a> {
    fn read(text: &'a str) -> Vec<Self> {
        let lines = |part: &'a str| {
            part.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once(": "))
        };
        text.split("\n\n")
            .map(|part| Self(lines(part).collect()))
            .filter(|case| !case.0.is_empty())
            .collect()
    }

    fn get(&self, key: &str) -> &'a str {
        self.0
            .iter()
            .find(|(name, _)| *name == key)
            .map_or("", |(_, value)| value)
    }
}

/// What the case says of the answer.
fn assert_as_said(case: &Case, answer: &Answer, pod: &Pod) {
    let name = case.get("case");
    match case.get("expect").split_once(' ').unwrap_or((case.get("expect"), "")) {
        ("silence", _) => assert_eq!((answer.rc, answer.stdout.as_str()), (0, ""), "{name}: {answer:?}"),
        ("result", version) => {
            assert_eq!(answer.rc, 0, "{name}: {answer:?}");
            let result = answer.json();
            assert_eq!(result["cniVersion"], version, "{name}");
            let address = result.pointer("/ips/0/address").or_else(|| result.pointer("/ip4/ip"));
            assert_eq!(
                address.and_then(Value::as_str),
                Some(format!("{}/16", pod.ip).as_str()),
                "{name}: {result}"
            );
            assert_eq!(pod.links(), ["lo", case.get("ifname")], "{name}");
        }
        ("code", rest) => {
            let (code, words) = rest.split_once(' ').unwrap();
            let msg = answer.failure(code.parse().unwrap());
            assert!(msg.contains(words), "{name}: {msg}");
        }
        (other, _) => panic!("{name}: expect {other:?}"),
    }
    if !case.get("expect").starts_with("result") {
        pod.assert_untouched();
    }
}

#[test]
fn every_recorded_call_comes_to_what_is_written_beside_it() {
    let text = fixture("cases.txt");
    let mut seen = Vec::new();
    let mut pod = Pod::new(); // of the first case, which brings its own
    for case in Case::read(&text) {
        if !case.get("pod").is_empty() {
            pod = Pod::new();
            // the subnet of the NAD's provider
            subject()
                .host
                .annotate(&format!("default/{}", pod.name), "sriov.default.ovn", &json!({}));
        }
        let placed = |text: &str| {
            text.replace("abc123", &pod.container)
                .replace("K8S_POD_NAME=nginx", &format!("K8S_POD_NAME={}", pod.name))
                .replace("/run/netns/a3pod1", &pod.netns())
        };
        let mut stdin = fixture(case.get("stdin"));
        for change in case.get("change").split(" and ").filter(|change| !change.is_empty()) {
            let (from, to) = change.split_once(" => ").unwrap_or_else(|| panic!("{change}"));
            assert!(
                stdin.contains(from),
                "{}: {from} is not in {}",
                case.get("case"),
                case.get("stdin")
            );
            stdin = stdin.replace(from, to);
        }
        let mut call = subject().bare(&[("CNI_COMMAND", case.get("command")), ("CNI_PATH", case.get("path"))]);
        for (variable, key) in [
            ("CNI_CONTAINERID", "container"),
            ("CNI_NETNS", "netns"),
            ("CNI_IFNAME", "ifname"),
            ("CNI_ARGS", "args"),
        ] {
            call = call.env(variable, &placed(case.get(key)));
        }
        let answer = call.stdin(placed(&stdin)).run();
        assert_as_said(&case, &answer, &pod);
        seen.push(case.get("stdin").to_owned());
    }
    // each recorded stdin is in a case
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/multus")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            !name.contains(".json") || seen.contains(&name),
            "{name} is in no case of cases.txt"
        );
    }
}
