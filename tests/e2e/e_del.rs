//! DEL needs little, succeeds when there is nothing to do, and can be repeated when it failed.

use serde_json::json;

use crate::attachment::{add_all, assert_attached, assert_no_port, port_name};
use crate::command::{ports, run};
use crate::daemon::{Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::vf;
use crate::snapshot::records;

#[test]
fn needs_neither_args_nor_device_nor_netns_nor_provider() {
    let mut lab = Lab::with(HEAD);
    let pods = [lab.pod(1), lab.pod(2)];
    let vfs = [vf(0, 0), vf(1, 0)];
    add_all(&[(&pods[0], &vfs[0]), (&pods[1], &vfs[1])]);
    // the record says what stdin does not, or says wrongly
    let bare = pods[0].call("DEL").without_env("CNI_ARGS").without_env("CNI_NETNS");
    bare.run().silent();
    // Multus falls back on the cluster's default network; its pod may be gone from the API server
    let other = pods[1].call("DEL").key("provider", "ovn").device(&vfs[0].pci);
    other
        .key("name", "another")
        .env("CNI_ARGS", "K8S_POD_NAME=x;K8S_POD_NAMESPACE=y")
        .run()
        .silent();
    for pod in &pods {
        pod.assert_empty();
        assert_no_port(pod);
    }
    // the daemon is asked without a device and with a namespace that is none
    let requests = Daemon::requests();
    for pod in &pods {
        let of_pod = |line: &&serde_json::Value| {
            line["verb"] == "POST /api/v1/del" && line["body"].as_str().unwrap_or_default().contains(&pod.container)
        };
        let del = requests.iter().rfind(of_pod).expect("a DEL");
        let body: serde_json::Value = serde_json::from_str(del["body"].as_str().unwrap()).unwrap();
        assert_eq!((&body["deviceID"], &body["net_ns"]), (&json!(""), &json!("none")));
        assert_eq!(body["provider"], "sriov.default.ovn");
    }
    // twice, and what never was
    pods[0].del(&vfs[0]).run().silent();
    lab.pod(3).del(&vfs[0]).run().silent();
    lab.assert_as_before();
}

/// The port goes by way of OVSDB. Without that, too: code 11, so that the runtime asks again, and the record stays. The VF needs
/// neither to come home.
#[test]
fn while_the_daemon_is_down() {
    let mut lab = Lab::with(HEAD);
    let pods = [lab.pod(1), lab.pod(3)];
    let vfs = [vf(0, 0), vf(0, 1)];
    add_all(&[(&pods[0], &vfs[0]), (&pods[1], &vfs[1])]);
    lab.daemon().stop();
    // a pod that comes meanwhile waits for the daemon as long, and nothing is done for it
    let other = lab.pod(2);
    let add = other.add(&vf(1, 0)).start();
    pods[0].del(&vfs[0]).run().silent();
    assert_no_port(&pods[0]);
    let (database, aside) = ("/run/openvswitch/db.sock", "/run/openvswitch/db.sock.aside");
    std::fs::rename(database, aside).unwrap();
    let del = pods[1].del(&vfs[1]).run();
    std::fs::rename(aside, database).unwrap();
    del.failure(11, "kube-ovn-daemon can't be reached");
    add.end().failure(11, "is the kube-ovn-cni pod of this node running?");
    other.assert_empty();
    pods.iter().for_each(crate::pod::Pod::assert_empty);
    assert!(vfs[1].netdev().is_some(), "the VF is home");
    assert!(!records().is_empty(), "the record stays");
    assert_eq!(
        vfs[1].representor().as_deref(),
        Some(port_name(&pods[1]).as_str()),
        "the port stays"
    );
    lab.daemon().ensure(HEAD);
    pods[1].del(&vfs[1]).run().silent();
    assert_no_port(&pods[1]);
    lab.assert_as_before();
}

/// It refuses, or says nothing: the port goes all the same, and a second DEL has nothing to do.
#[test]
fn after_the_daemon_has_refused_one() {
    let mut lab = Lab::with(HEAD);
    let pods = [lab.pod(1), lab.pod(2)];
    let vfs = [vf(0, 0), vf(1, 0)];
    add_all(&[(&pods[0], &vfs[0]), (&pods[1], &vfs[1])]);
    lab.fault(&pods[0], "del-500");
    lab.fault(&pods[1], "del-eof");
    for (pod, vf) in pods.iter().zip(&vfs) {
        pod.del(vf).run().silent();
        pod.assert_empty();
        assert_no_port(pod);
        lab.fault(pod, "");
        pod.del(vf).run().silent();
    }
    lab.assert_as_before();
}

/// Its sandbox died without a DEL: the next pod's ADD ends that first.
#[test]
fn add_on_the_vf_of_a_dead_pod() {
    let mut lab = Lab::with(HEAD);
    let (dead, next) = (lab.pod(1), lab.pod(2));
    let vf = vf(0, 0);
    dead.add(&vf).run().result();
    dead.destroy();
    next.add(&vf).run().result();
    assert_attached(&next, &vf);
    assert_no_port(&dead);
    // the dead pod's DEL comes late, and must not touch what is another's now
    dead.del(&vf).run().silent();
    assert_attached(&next, &vf);
    next.del(&vf).run().silent();
    lab.assert_as_before();
}

/// All records are lost (a reboot of the runtime's host tools, another plugin before us): the old port is found by the
/// representor's name, and goes, or the new port would never get `ovn-installed`.
#[test]
fn add_on_a_stale_port_without_a_record() {
    let mut lab = Lab::with(HEAD);
    let (dead, next) = (lab.pod(1), lab.pod(2));
    let vf = vf(0, 0);
    dead.add(&vf).run().result();
    dead.destroy();
    crate::command::eventually("the VF is back in the host", || vf.netdev().is_some());
    run("rm", &["-r", crate::snapshot::STATE]);
    assert!(ports().contains(&port_name(&dead)));
    next.add(&vf).run().result();
    assert_attached(&next, &vf);
    assert_no_port(&dead);
    next.del(&vf).run().silent();
    assert_no_port(&next);
    assert_eq!(records(), Vec::<String>::new());
    // what the VF was before the dead pod nobody knows any more, but this test
    lab.before.restore();
    lab.assert_as_before();
}
