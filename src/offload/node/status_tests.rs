use super::super::facts::tests::{facts, representor, vf};
use kube_ovn::types::Mac;

use super::*;

/// A PF on which nearly each VF is in another way special.
fn crowded() -> Facts {
    let attached = |ended| Holder::Attached {
        pod: "shop/web-0".to_owned(),
        ifname: "net1".to_owned(),
        ended,
    };
    let mut found = facts();
    found.eswitch = Eswitch::Mode(EswitchMode::Switchdev);
    found.pf.vf_count = 6;
    found.vfs = (0..6).map(vf).collect();
    let [in_pod, ended, machine, unbound, unreadable, given] = found.vfs.as_mut_slice() else {
        unreachable!()
    };
    in_pod.netdevs.clear();
    in_pod.admin_mac = Some(Mac([2, 0, 0, 0, 0, 1]));
    in_pod.representor = Some(Ok(Port {
        up: Some(true),
        master: Some("ovs-system".to_owned()),
        ..representor(0, true)
    }));
    in_pod.holder = Some(attached(false));
    ended.representor = Some(Err("pf0vf1 is not there".to_owned()));
    ended.holder = Some(attached(true));
    machine.driver = Some("vfio-pci".to_owned());
    machine.kind = Kind::Userspace;
    machine.netdevs.clear();
    machine.holder = Some(Holder::Machine(7));
    unbound.driver = None;
    unbound.kind = Kind::Unbound;
    unbound.netdevs.clear();
    unreadable.holder = Some(Holder::Unreadable);
    given.holder = Some(Holder::Given {
        pod: "shop/web-1".to_owned(),
        resource: "mellanox.com/cx6".to_owned(),
    });
    found
}

#[test]
fn a_line_for_each_vf() {
    let offload = Ok(Offload {
        hw_offload: Some("true".to_owned()),
        tc_policy: None,
    });
    assert_eq!(
        tree(&[crowded()], Some(&offload)),
        "\
Open vSwitch: hw-offload true, tc-policy not set, so none

PF 0000:03:00.0 (ens1f0np0): mlx5_core, switchdev mode, 6 of 8 VFs, down, hw-tc-offload off
  VF  ADDRESS       DRIVER      NETDEV    MAC                REPRESENTOR  STATE              TC  POD
├ 0   0000:03:00.2  mlx5_core   -         02:00:00:00:00:01  rep0         up, in ovs-system  on  shop/web-0 (net1)
├ 1   0000:03:00.3  mlx5_core   ens1f0v1  -                  not found!   -                  -   shop/web-0 (ended)
├ 2   0000:03:00.4  vfio-pci    -         -                  -            -                  -   ? (/dev/vfio/7 is open)
├ 3   0000:03:00.5  no driver!  -         -                  -            -                  -
├ 4   0000:03:00.6  mlx5_core   ens1f0v4  -                  -            -                  -   ? (unreadable record)
└ 5   0000:03:00.7  mlx5_core   ens1f0v5  -                  -            -                  -   shop/web-1 (given by kubelet)
  ! pf0vf1 is not there
"
    );
}

#[test]
fn what_could_not_be_found_is_said() {
    let mut found = facts();
    found.pf.driver = None;
    found.uplink = Err("no netdev".to_owned());
    found.eswitch = Eswitch::Unknown;
    let silent = Err("ovsdb-server does not answer".to_owned());
    assert_eq!(
        tree(&[found.clone()], Some(&silent)),
        "Open vSwitch: ovsdb-server does not answer\n\nPF 0000:03:00.0: no driver, no eswitch (devlink does not know it), 0 of 8 VFs, no netdev\n"
    );
    found.eswitch = Eswitch::Mode(EswitchMode::Other(7));
    assert!(
        branch(&found).contains(", eswitch mode unknown (7), "),
        "{}",
        branch(&found)
    );
    assert_eq!(object(&found)["uplink"], Value::Null);
    assert_eq!(
        offload_object(&silent),
        json!({"error": "ovsdb-server does not answer"})
    );
}

#[test]
fn scripts_can_tell_who_has_a_vf() {
    let object = object(&crowded());
    let of = |key: &str| -> Vec<Value> {
        let vfs = object["vfs"].as_array().unwrap();
        vfs.iter().map(|vf| vf[key].clone()).collect()
    };
    assert_eq!(object["eswitch"], "switchdev");
    assert_eq!(
        of("kind"),
        ["netdev", "netdev", "userspace", "unbound", "netdev", "netdev"]
    );
    assert_eq!(
        of("pod"),
        [
            json!({"by": "record", "name": "shop/web-0", "interface": "net1"}),
            json!({"by": "ended_record", "name": "shop/web-0", "interface": "net1"}),
            json!({"by": "vfio", "group": 7}),
            Value::Null,
            json!({"by": "unreadable_record"}),
            json!({"by": "kubelet", "name": "shop/web-1", "resource": "mellanox.com/cx6"}),
        ]
    );
    assert_eq!(object["vfs"][0]["representor"]["master"], "ovs-system");
    assert_eq!(object["vfs"][1]["problem"], "pf0vf1 is not there");
}
