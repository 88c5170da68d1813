//! The stock plugin before us and after us. It is played by the thin client (`tests/thin`), which does what stock's executable
//! does; the daemon is the released one.

use crate::attachment::{add_all, assert_attached, assert_no_port};
use crate::call::Call;
use crate::command::ip;
use crate::daemon::HEAD;
use crate::lab::{Lab, gc};
use crate::nic::{Vf, vf};
use crate::pod::Pod;
use crate::snapshot::records;

fn stock_add(pods: &[Pod], vfs: &[Vf]) {
    let calls: Vec<_> = pods
        .iter()
        .zip(vfs)
        .map(|(pod, vf)| pod.add(vf).by_stock().start())
        .collect();
    for (call, (pod, vf)) in calls.into_iter().zip(pods.iter().zip(vfs)) {
        call.end().result();
        assert_attached(pod, vf);
    }
}

fn four(lab: &mut Lab) -> (Vec<Pod>, Vec<Vf>) {
    let pods = (1..=4).map(|number| lab.pod(number)).collect();
    (pods, (0..4).map(|number| vf(number % 2, number / 2)).collect())
}

/// DEL of what stock attached: the alias, by which the daemon remembers the VF's name, is there or not, Multus still knows the
/// device or not.
fn del_after_stock(alive: bool) {
    let mut lab = Lab::with(HEAD);
    let (pods, vfs) = four(&mut lab);
    let names: Vec<_> = vfs.iter().map(Vf::netdev).collect();
    stock_add(&pods, &vfs);
    for (number, (pod, vf)) in pods.iter().zip(&vfs).enumerate() {
        let (alias, device) = (number % 2 == 0, number / 2 == 0);
        if !alias {
            ip(&["-n", &pod.netns, "link", "set", "eth0", "alias", ""]);
        }
        if !alive {
            pod.destroy();
        }
        let del: Call = if device { pod.del(vf) } else { pod.call("DEL") };
        del.run().silent();
        assert_no_port(pod);
        if alive {
            pod.assert_empty();
            let now = vf.netdev();
            assert!(
                now.is_some(),
                "VF {} is not home; alias {alias}, device {device}",
                vf.pci
            );
            assert_ne!(
                now.as_deref(),
                Some("eth0"),
                "it keeps the pod's name; alias {alias}, device {device}"
            );
            if alias {
                assert_eq!(now, names[number], "device {device}");
            }
        }
        del.run().silent();
    }
    assert_eq!(records(), Vec::<String>::new());
    if alive {
        pods.iter().for_each(Pod::destroy);
    }
    // the VFs can be had by the next pods
    let next: Vec<Pod> = (1..=4).map(|number| lab.pod(number)).collect();
    add_all(&next.iter().zip(&vfs).collect::<Vec<_>>());
    for (pod, vf) in next.iter().zip(&vfs) {
        pod.del(vf).run().silent();
    }
    // MACs and MTUs that stock did not write down nobody knows any more, but this test
    lab.before.restore();
    lab.assert_as_before();
}

#[test]
fn our_del_after_stocks_add() {
    del_after_stock(true);
}

#[test]
fn our_del_after_stocks_add_when_the_sandbox_is_gone() {
    del_after_stock(false);
}

/// A downgrade with our pods running, and the upgrade after it: stock's DEL takes our port away and leaves the VF to the
/// kernel; our next call puts the rest right. A pod that was there all the time notices nothing.
#[test]
fn stocks_del_after_our_add() {
    let mut lab = Lab::with(HEAD);
    let (pods, vfs) = four(&mut lab);
    add_all(&pods.iter().take(3).zip(&vfs).collect::<Vec<_>>());
    // downgraded: one pod ends, one comes
    pods[0].del(&vfs[0]).by_stock().run().silent();
    assert_no_port(&pods[0]);
    pods[0].destroy();
    pods[3].add(&vfs[3]).by_stock().run().result();
    // an old sandbox of the second pod, whose VF has been given to the new one, is taken down late
    let old = lab.pod(2);
    old.destroy();
    let late = old.del(&vfs[1]).by_stock().run();
    println!("stock's late DEL: {late:?}");
    // upgraded
    assert_attached(&pods[1], &vfs[1]);
    assert_attached(&pods[2], &vfs[2]);
    let next = lab.pod(1);
    next.add(&vfs[0]).run().result();
    assert_attached(&next, &vfs[0]);
    for (pod, vf) in [
        (&next, &vfs[0]),
        (&pods[1], &vfs[1]),
        (&pods[2], &vfs[2]),
        (&pods[3], &vfs[3]),
    ] {
        pod.del(vf).run().silent();
        pod.assert_empty();
        assert_no_port(pod);
    }
    assert_eq!(records(), Vec::<String>::new());
    lab.before.assert_same_for(&vfs[..3]);
    lab.before.restore();
    lab.assert_as_before();
}

/// After a downgrade and an upgrade no DEL of the pod comes any more, and nobody else wants its VF.
#[test]
fn gc_after_stocks_del() {
    let mut lab = Lab::with(HEAD);
    let (pod, vf) = (lab.pod(1), vf(0, 0));
    pod.add(&vf).run().result();
    pod.del(&vf).by_stock().run().silent();
    pod.destroy();
    assert_ne!(records(), Vec::<String>::new());
    gc().run().silent();
    assert_no_port(&pod);
    lab.assert_as_before();
}
