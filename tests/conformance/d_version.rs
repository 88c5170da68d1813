//! VERSION: items 41 and 42.

use serde_json::json;

use crate::VERSIONS;
use crate::subject::subject;

#[test]
fn item_41_version_echoes_a_version_that_it_knows() {
    for (stdin, echoed) in [
        ("", "1.1.0"),
        ("{}", "1.1.0"),
        ("{\"cniVersion\":\"\"}", "1.1.0"),
        ("{\"cniVersion\":\"2.0.0\"}", "1.1.0"),
        ("{\"cniVersion\":\"0.3.1\"}", "0.3.1"),
        ("{\"cniVersion\":\"1.0.0\"}", "1.0.0"),
    ] {
        let answer = subject().bare(&[("CNI_COMMAND", "VERSION")]).stdin(stdin).run();
        assert_eq!((answer.rc, answer.stderr.as_str()), (0, ""), "{answer:?}");
        assert_eq!(
            answer.json(),
            json!({"cniVersion": echoed, "supportedVersions": VERSIONS}),
            "{stdin}"
        );
    }
}

/// podman asks before every ADD and DEL, with everything set to nothing that exists.
#[test]
fn item_42_version_needs_nothing_and_does_nothing() {
    let host = &subject().host;
    let asked = std::fs::read_to_string(host.path("/run/world/daemon.log")).unwrap_or_default();
    for stdin in [
        "",
        "garbage",
        "{",
        "null",
        "[]",
        "{\"cniVersion\":3}",
        "{\"cniVersion\":\"1.0.0\"}",
    ] {
        let dummies = [
            ("CNI_COMMAND", "VERSION"),
            ("CNI_IFNAME", "dummy"),
            ("CNI_NETNS", "dummy"),
            ("CNI_PATH", "dummy"),
        ];
        let answer = subject().bare(&dummies).stdin(stdin).run();
        assert!(
            answer.rc == 0 && answer.json()["cniVersion"].is_string(),
            "{stdin}: {answer:?}"
        );
    }
    // nobody, without a right, where nothing is mounted
    let script = format!(
        "env -i CNI_COMMAND=VERSION setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all {} < /dev/null",
        subject().program()
    );
    assert!(host.sh(&script).contains("supportedVersions"));
    let names = |log: &str| log.lines().filter(|line| line.contains("dummy")).count();
    let now = std::fs::read_to_string(host.path("/run/world/daemon.log")).unwrap_or_default();
    assert_eq!(names(&now), names(&asked), "the daemon was asked");
}
