//! Packaging: items 86 to 88.

use std::process::Stdio;

use serde_json::json;

use crate::subject::{OTHER, subject};

/// An upgrade renames the new file over the old one, of which processes may still run; and the name may be a link.
#[test]
fn item_86_replaced_by_rename_and_reached_by_a_link() {
    let host = &subject().host;
    let program = subject().program();
    let name = program.replace("/opt/cni/bin/", "");
    host.sh(&format!(
        "mkdir -p /tmp/installed/links; cp {program} /tmp/installed/{name}; ln -s ../{name} /tmp/installed/links/{name}"
    ));
    let environment = [
        ("CNI_COMMAND", "DEL"),
        ("CNI_CONTAINERID", "0123456789abcdef"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];
    for path in [format!("/tmp/installed/{name}"), format!("/tmp/installed/links/{name}")] {
        let mut running = host
            .command(&path)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // it waits for its stdin, and its file is not there any more
        host.sh(&format!("until pgrep -f ^{path}; do sleep 0.01; done > /dev/null; cp {program} /tmp/installed/new; mv /tmp/installed/new /tmp/installed/{name}"));
        let stdin = running.stdin.take().unwrap();
        std::io::Write::write_all(&mut &stdin, subject().conf("1.0.0", json!({})).to_string().as_bytes()).unwrap();
        drop(stdin);
        let output = running.wait_with_output().unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    }
}

/// The executable that is shipped needs no other file. One that `cargo test` built is linked to the C library, and to nothing else.
#[test]
fn item_87_needs_no_library() {
    let host = &subject().host;
    let needed = host.sh(&format!(
        "LD_TRACE_LOADED_OBJECTS=1 {} < /dev/null 2> /dev/null || true",
        subject().program()
    ));
    // whoever names a plugin names one that is shipped
    assert!(needed.is_empty() || std::env::var_os(OTHER).is_none(), "{needed}");
    for line in needed.lines() {
        let library = line.split_whitespace().next().unwrap();
        let of_libc = ["linux-vdso.so", "libc.so", "libm.so", "libgcc_s.so", "/lib64/ld-linux"];
        assert!(of_libc.iter().any(|name| library.starts_with(name)), "{needed}");
    }
    let build = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/build")).unwrap();
    assert!(build.contains("target-feature=+crt-static"));
}

#[test]
fn item_88_arguments_mean_nothing_to_a_command() {
    for arguments in [["--version"].as_slice(), &["ADD", "-h", "--help"], &[""]] {
        let with = |call: crate::support::Call| arguments.iter().fold(call, |call, argument| call.arg(argument));
        with(subject().call("NOPE", json!({}))).run().error(4);
        let version = with(subject().bare(&[("CNI_COMMAND", "VERSION")])).run();
        assert!(
            version.rc == 0 && version.json()["supportedVersions"].is_array(),
            "{version:?}"
        );
    }
}
