//! `check` and `gc`, as far as they go without a pod: what they refuse. The rest is tests/lab/node-guest.sh.

use std::fs;
use std::os::unix::process::CommandExt;

use crate::attachments::record;
use crate::{stderr, stdout, tool};

#[test]
fn pods_that_are_not_recorded() {
    let state = tempfile::tempdir().unwrap();
    let netns = state.path().join("netns");
    fs::write(&netns, "").unwrap();
    record(state.path(), 2, "web", &netns, |_| {});
    for pod in ["default/other", "web", "01234", "fedcba987654", "0000:03:00.3", "../vf"] {
        let output = tool(&["check", pod, "--state"]).arg(state.path()).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output)), (Some(3), ""), "{pod}");
        assert!(
            stderr(&output).contains(&format!("no VF is recorded for {pod}: ")),
            "{}",
            stderr(&output)
        );
    }
}

/// The pod is found in each of these ways; and that it is not there any more is told, all of it, on lines of their own.
#[test]
fn what_is_not_as_it_should_be() {
    let state = tempfile::tempdir().unwrap();
    let netns = state.path().join("netns");
    fs::write(&netns, "").unwrap();
    record(state.path(), 2, "web", &netns, |record| {
        record["socket"] = "/nonexistent/kube-ovn-daemon.sock".into();
    });
    for pod in ["default/web", "012345", "0123456789abcdef", "0000:03:00.2"] {
        let output = tool(&["check", pod, "--state"]).arg(state.path()).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(1), ""), "{pod}");
        let text = stdout(&output);
        assert!(
            text.starts_with("NOT OK  pod default/web (eth0 of sandbox 0123456789ab), VF 0000:03:00.2\n"),
            "{text}"
        );
        for part in ["netns is not a network namespace", "/nonexistent/kube-ovn-daemon.sock"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn only_root_gives_back() {
    let nobody = |arguments: &[&str]| tool(arguments).uid(65534).gid(65534).output().unwrap();
    for arguments in [
        &["gc"][..],
        &["node", "status"],
        &["node", "prepare", "--pf", "eth0", "--vfs", "1"],
        &["node", "reset"],
    ] {
        let output = nobody(arguments);
        assert_eq!((output.status.code(), stdout(&output)), (Some(4), ""), "{arguments:?}");
        assert!(stderr(&output).contains("only root may"), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1);
    }
}
