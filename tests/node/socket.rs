//! `server_socket`: a tenant may write it.

use serde_json::json;

use crate::daemon::Daemon;
use crate::pod::Pod;
use crate::{asked, call, pods, settings};

#[test]
fn only_where_the_node_means_it() {
    let (daemon, pod) = (Daemon::at_once(&pods()), Pod::new());
    // the same socket by another way: in the node, the directory is /run/openvswitch as well
    let elsewhere = daemon.path("socket");
    let keys = json!({"server_socket": elsewhere});
    let msg = call("ADD", &daemon, &pod, &keys).failure(7);
    assert_eq!(
        msg,
        format!(
            "server_socket {} is not below /run/openvswitch or a directory in socket_directories of \
             /etc/kube-ovn-cni/config.json: correct the NetworkAttachmentDefinition, or have the node's administrator \
             list the directory",
            elsewhere.display()
        )
    );
    // that ADD did nothing, so there is nothing to take away: the pod must be able to end
    let answer = call("DEL", &daemon, &pod, &keys);
    assert_eq!((answer.rc, answer.stdout.as_str()), (0, ""), "{answer:?}");
    assert!(answer.stderr.contains("is not below /run/openvswitch"), "{answer:?}");
    assert_eq!(asked(&daemon), 0);

    settings(&daemon, json!({"socket_directories": [daemon.directory()]}).to_string());
    assert_eq!(call("ADD", &daemon, &pod, &keys).rc, 0);
    assert_eq!(call("DEL", &daemon, &pod, &keys).rc, 0);
    assert_eq!(asked(&daemon), 2);
    assert_eq!(
        call("ADD", &daemon, &pod, &json!({})).rc,
        0,
        "and where it is as a rule"
    );
}

#[test]
fn a_link_does_not_lead_out() {
    let (daemon, other, pod) = (Daemon::at_once(&pods()), Daemon::at_once(&pods()), Pod::new());
    std::os::unix::fs::symlink(other.path("socket"), daemon.path("link")).unwrap();
    for (path, real) in [
        ("/run/openvswitch/link", other.path("socket")),
        ("/run/openvswitch/../none/socket", "/run/none/socket".into()),
    ] {
        let msg = call("ADD", &daemon, &pod, &json!({"server_socket": path})).failure(7);
        assert!(
            msg.contains(&format!("(which is {})", real.display())) || msg.contains(".. in it"),
            "{msg}"
        );
    }
    assert_eq!(asked(&other), 0);
}

#[test]
fn only_root_is_asked() {
    let nobody = Daemon::start_as(65534, &pods(), &["--answer-at-once", "--retry-seconds", "0"]);
    let pod = Pod::new();
    let msg = call("ADD", &nobody, &pod, &json!({})).failure(7);
    assert_eq!(
        msg,
        "user 65534 listens at /run/openvswitch/socket, expected root: server_socket must name kube-ovn-daemon's own socket"
    );
    let answer = call("DEL", &nobody, &pod, &json!({}));
    assert_eq!((answer.rc, answer.stdout.as_str()), (0, ""), "{answer:?}");
    assert!(answer.stderr.contains("user 65534 listens at"), "{answer:?}");
    assert_eq!(asked(&nobody), 0, "nothing was sent");
}
