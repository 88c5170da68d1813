//! CHECK names what is no longer as ADD left it; STATUS tells whether the node can serve pods. Neither changes anything.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid as Process;
use serde_json::{Value, json};

use crate::attachment::{assert_attached, port_name};
use crate::call::Call;
use crate::command::{eventually, ip, read, vsctl};
use crate::daemon::{Daemon, HEAD};
use crate::lab::Lab;
use crate::nic::{Vf, vf};
use crate::pod::Pod;
use crate::snapshot::Snapshot;

fn check(pod: &Pod, vf: &Vf, version: &str, prev_result: &Value) -> Call {
    let call = pod.call("CHECK").device(&vf.pci);
    call.key("cniVersion", version).key("prevResult", prev_result.clone())
}

fn status() -> Call {
    let env = [("CNI_COMMAND", "STATUS"), ("CNI_PATH", "/opt/cni/bin")];
    let conf = json!({
        "cniVersion": "1.1.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": crate::daemon::SOCKET,
    });
    Call::new(&env, conf)
}

/// Stops a program, so that it answers nothing; it goes on when this is dropped.
struct Stopped(Process);

impl Stopped {
    fn new(pid_file: &str) -> Self {
        let pid = read(pid_file).unwrap().trim().parse().unwrap();
        kill(Process::from_raw(pid), Signal::SIGSTOP).unwrap();
        Self(Process::from_raw(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

#[test]
fn check_of_a_vf() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod_in(0, 1, "net1");
    let vf = vf(0, 1);
    let result = pod.add(&vf).key("cniVersion", "1.1.0").run().result();
    assert_attached(&pod, &vf);
    let attached = Snapshot::take();
    let asked = Daemon::requests().len();
    let check = |version: &str| check(&pod, &vf, version, &result).run();
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        check(version).silent();
    }
    attached.assert_still_so();
    let finds = |words: &[&str]| {
        let answer = check("1.1.0");
        for word in words {
            answer.failure(103, word);
        }
    };
    let in_pod = |words: &[&str]| ip(&[&["-n", pod.netns.as_str()], words].concat());
    let name = port_name(&pod);

    in_pod(&["link", "set", "net1", "down"]);
    finds(&["it is down"]);
    in_pod(&["link", "set", "net1", "up"]);
    check("1.1.0").silent();

    in_pod(&["link", "set", "net1", "address", "02:00:00:00:00:77"]);
    finds(&[&format!("its MAC is 02:00:00:00:00:77, expected {}", pod.mac)]);
    in_pod(&["link", "set", "net1", "address", &pod.mac]);

    let address = format!("{}/16", pod.ipv4);
    in_pod(&["address", "del", &address, "dev", "net1"]);
    ip(&["link", "set", &name, "down"]);
    finds(&[
        &format!("it lacks the address {address}"),
        &format!("its representor {name} is down"),
    ]);
    in_pod(&["address", "add", &address, "dev", "net1"]);
    ip(&["link", "set", &name, "up"]);
    check("1.1.0").silent();

    // a newer sandbox of the pod takes the iface-id, and with it the pod's traffic
    let id = vsctl(&["get", "Interface", &name, "external_ids:iface-id"]);
    vsctl(&["remove", "Interface", &name, "external_ids", "iface-id"]);
    finds(&[&format!("port {name} has lost its external_ids:iface-id")]);
    vsctl(&[
        "set",
        "Interface",
        &name,
        &format!("external_ids:iface-id={}", id.trim()),
    ]);
    check("1.1.0").silent();

    lab.daemon().stop();
    finds(&["kube-ovn-daemon can't be reached at"]);
    lab.daemon().ensure(HEAD);

    // kernels before 6.2 rename only a link that is down
    in_pod(&["link", "set", "net1", "down"]);
    in_pod(&["link", "set", "net1", "name", "net9"]);
    in_pod(&["link", "set", "net9", "up"]);
    finds(&["it is called net9 in the pod, expected net1"]);
    // the namespace of another pod
    let other = lab.pod(2);
    in_pod(&["link", "set", "net9", "netns", &other.netns]);
    finds(&["it is in another network namespace, or gone"]);
    ip(&["-n", &other.netns, "link", "set", "net9", "netns", &pod.netns]);

    vsctl(&["del-port", "br-int", &name]);
    finds(&[
        &format!("its representor {name} is in no OVS bridge"),
        &format!("OVSDB has no port {name}"),
    ]);
    let verbs: Vec<Value> = Daemon::requests().split_off(asked);
    assert_eq!(verbs, Vec::<Value>::new(), "CHECK asks the daemon nothing");
    pod.del(&vf).run().silent();
    lab.assert_as_before();
}

/// One that stock made: there is no record, and the device is in the netconf.
#[test]
fn check_without_a_record() {
    let mut lab = Lab::with(HEAD);
    let pod = lab.pod(1);
    let vf = vf(1, 0);
    let result = pod.add(&vf).key("cniVersion", "1.0.0").run().result();
    let state = "/run/kube-ovn-offload";
    let aside = "/run/kube-ovn-offload.aside";
    std::fs::rename(state, aside).unwrap();
    let check = || check(&pod, &vf, "1.0.0", &result).run();
    check().silent();
    let name = port_name(&pod);
    ip(&["link", "set", &name, "down"]);
    check().failure(103, &format!("its representor {name} is down"));
    ip(&["link", "set", &name, "up"]);
    assert!(!std::path::Path::new(state).exists(), "CHECK makes no directory");
    std::fs::rename(aside, state).unwrap();
    pod.del(&vf).run().silent();
    lab.assert_as_before();
}

#[test]
fn status_of_the_node() {
    let mut lab = Lab::with(HEAD);
    eventually("STATUS succeeds", || status().run().rc == 0);
    let asked = Daemon::requests().len();
    status().run().silent();
    lab.daemon().stop();
    let down = status().run();
    down.failure(50, "kube-ovn-daemon can't be reached");
    {
        let _vswitchd = Stopped::new("/run/openvswitch/ovs-vswitchd.pid");
        let answer = status().run();
        answer.failure(51, "ovs-vswitchd at");
        let details = answer.json()["details"].as_str().unwrap().to_owned();
        assert!(details.contains("kube-ovn-daemon can't be reached"), "{details}");
        assert!(answer.took.as_secs_f32() > 5.5, "asked twice: {answer:?}");
    }
    {
        let _database = Stopped::new("/run/openvswitch/ovsdb-server.pid");
        status().run().failure(51, "ovsdb-server at");
    }
    status().run().failure(50, "kube-ovn-daemon can't be reached");
    lab.daemon().ensure(HEAD);
    assert_eq!(Daemon::requests().len(), asked, "STATUS asks the daemon nothing");
    status().run().silent();
    lab.assert_as_before();
}
