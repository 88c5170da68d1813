//! An ADD that fails leaves the host as it was: whatever the daemon had done by then.

use crate::attachment::assert_no_port;
use crate::daemon::HEAD;
use crate::lab::Lab;
use crate::nic::vf;
use crate::pod::Pod;

/// Four at a time: four pods, four VFs of the two PFs.
fn table(switches: &[&str], cases: &[(&str, u64, &str)]) {
    let mut lab = Lab::with(switches);
    for batch in cases.chunks(4) {
        let pods: Vec<Pod> = (1..=batch.len()).map(|number| lab.pod(number)).collect();
        for (pod, (fault, ..)) in pods.iter().zip(batch) {
            lab.fault(pod, fault);
        }
        let calls = pods
            .iter()
            .enumerate()
            .map(|(i, pod)| pod.add(&vf(i % 2, i / 2)).start());
        let calls: Vec<_> = calls.collect();
        for ((call, pod), (fault, code, words)) in calls.into_iter().zip(&pods).zip(batch) {
            let answer = call.end();
            println!("{fault}: {:?} {}", answer.took, answer.stdout);
            answer.failure(*code, words);
            pod.assert_empty();
            assert_no_port(pod);
        }
        pods.iter().for_each(Pod::destroy);
        lab.before.assert_still_so();
    }
    lab.assert_as_before();
}

/// The daemon leaves the VF in the pod, configured, and deletes the port.
#[test]
fn at_the_gateway_check_after_the_move() {
    table(
        HEAD,
        &[("gateway-check", 11, "is not ready for interface eth0 after 3 checks")],
    );
}

#[test]
fn in_a_step_of_the_daemon() {
    // ovn-installed takes all the time that it may
    let switches = [HEAD, &["--ovn-installed-seconds", "30"]].concat();
    table(
        &switches,
        &[
            ("rename-representor", 11, "failed to rename"),
            ("set-vf-mac", 11, "can not set mac address to vf nic"),
            ("add-port", 11, "fault add-port"),
            ("annotations", 11, "not found"),
            ("representor-mtu", 11, "failed to set MTU on"),
            ("netns", 11, "failed to open netns"),
            ("move", 11, "failed to move link to netns: operation not permitted"),
            ("configure", 11, "device or resource busy"),
        ],
    );
}

#[test]
fn ovn_installs_nothing() {
    let switches = [HEAD, &["--ovn-installed-seconds", "1"]].concat();
    table(&switches, &[("ovn-installed", 11, "is not ready after 1s")]);
}

#[test]
fn without_a_usable_reply() {
    table(
        HEAD,
        &[
            ("http-500", 11, "fault http-500"),
            ("eof", 11, "gave no reply to ADD: connection closed"),
            ("late-eof", 11, "gave no reply to ADD: connection closed"),
            ("u2o", 11, "the body is empty"),
            ("mirror", 11, "the body is empty"),
            ("garbage", 11, "the body is no reply of its API"),
            ("truncated", 11, "its body can't be read"),
            ("huge", 11, "its body can't be read"),
        ],
    );
}

#[test]
fn with_a_reply_that_is_not_so() {
    table(
        HEAD,
        &[
            ("nothing-configured", 11, "it configured no interface"),
            ("wrong-nicname", 11, "for interface \"wrong0\", expected eth0"),
            ("wrong-mac", 102, "expected 02:ff:ff:ff:ff:ff"),
            ("wrong-ip", 102, "it lacks the address 192.0.2.66"),
            ("wrong-mtu", 102, "its MTU is 1400, expected 1401"),
            ("error-in-200", 11, "fault error-in-200"),
        ],
    );
}
