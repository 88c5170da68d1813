//! `node prepare` and `node reset` on machines of tests/fixtures/sysfs: what they would do, and what they refuse. The rest is
//! tests/lab/node-guest.sh.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::attachments::record;
use crate::{Machine, stderr, stdout, tool};

fn prepare(machine: &Machine, arguments: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    prepare_in(machine, state.path(), arguments)
}

/// A dry run, unless it must be refused before that matters; with these records.
fn prepare_in(machine: &Machine, state: &Path, arguments: &[&str]) -> Output {
    let mut command = tool(&["node", "prepare", "--root"]);
    command
        .arg(state.join("root"))
        .arg("--state")
        .arg(state)
        .args(arguments);
    machine.run(command)
}

#[track_caller]
fn refused(output: &Output, status: i32, parts: &[&str]) {
    assert_eq!(
        (output.status.code(), stdout(output)),
        (Some(status), ""),
        "{}",
        stderr(output)
    );
    for part in parts {
        assert!(stderr(output).contains(part), "{}", stderr(output));
    }
    assert_eq!(stderr(output).lines().count(), 1, "{}", stderr(output));
}

#[test]
fn a_dry_run_is_the_guide() {
    let output = prepare(
        &Machine::new("F7-mlx5-legacy"),
        &["--pf", "ens1f0np0", "--vfs", "2", "--dry-run"],
    );
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let lines: Vec<&str> = stdout(&output)
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let expected = [
        "echo 0 > /sys/class/net/ens1f0np0/device/sriov_numvfs",
        "echo 2 > /sys/class/net/ens1f0np0/device/sriov_numvfs",
        "echo 0000:03:00.2 > /sys/bus/pci/devices/0000:03:00.2/driver/unbind",
        "echo 0000:03:00.3 > /sys/bus/pci/devices/0000:03:00.3/driver/unbind",
        "devlink dev eswitch set pci/0000:03:00.0 mode switchdev",
        "ethtool -K ens1f0np0 hw-tc-offload on",
        "for netdev in /sys/bus/pci/devices/0000:03:00.0/net/*; do case $(cat $netdev/phys_port_name 2> /dev/null) in *vf*) \
         ethtool -K ${netdev##*/} hw-tc-offload on;; esac; done",
        "echo 0000:03:00.2 > /sys/bus/pci/drivers_probe",
        "echo 0000:03:00.3 > /sys/bus/pci/drivers_probe",
        "ip link set ens1f0np0 up",
    ];
    assert_eq!(lines, expected);
    assert!(stdout(&output).contains("\n#    back: devlink dev eswitch set pci/0000:03:00.0 mode legacy\n"));
}

#[test]
fn what_persists_is_shown_too() {
    let state = tempfile::tempdir().unwrap();
    let machine = Machine::new("F7-mlx5-legacy");
    let arguments = ["--pf", "0000:03:00.0", "--vfs", "2", "--dry-run", "--persist"];
    let output = prepare_in(&machine, state.path(), &arguments);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    for text in [
        "/root/etc/systemd/system/kube-ovn-offload-0000-03-00.0.service << 'END'\n",
        "node prepare --pf 0000:03:00.0 --vfs 2 --wait 120 --yes-disrupt\n",
        "/root/etc/NetworkManager/conf.d/90-kube-ovn-offload.conf << 'END'\n",
        "KERNELS==\"0000:03:00.3\", ",
    ] {
        assert!(stdout(&output).contains(text), "{}", stdout(&output));
    }
    let root = state.path().join("root");
    assert!(!root.exists(), "nothing was written");
    // the lines of the files are a script
    let (_, files) = stdout(&output).split_once("\nmkdir -p ").unwrap();
    let shell = Command::new("sh").args(["-ec", &format!("mkdir -p {files}")]).status();
    assert!(shell.unwrap().success());
    let wanted = "etc/systemd/system/multi-user.target.wants/kube-ovn-offload-0000-03-00.0.service";
    let unit = fs::read_to_string(root.join(wanted)).unwrap();
    assert!(unit.contains("\nExecStart="), "the link leads to the unit: {unit}");
    fs::remove_dir_all(&root).unwrap();
    let json = prepare_in(&machine, state.path(), &[&arguments[..], &["-o", "json"]].concat());
    let answer: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&answer["pf"], &answer["dry_run"]),
        (&"0000:03:00.0".into(), &true.into())
    );
    assert_eq!(answer["files"].as_array().unwrap().len(), 6);
    assert_eq!(
        answer["steps"][1]["commands"][0],
        "echo 2 > /sys/class/net/ens1f0np0/device/sriov_numvfs"
    );
    assert_eq!(answer["steps"][1]["done"], false);

    // never over a file of somebody else's
    let theirs = state
        .path()
        .join("root/etc/NetworkManager/conf.d/90-kube-ovn-offload.conf");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, "[main]\n").unwrap();
    let output = prepare_in(&machine, state.path(), &arguments);
    refused(
        &output,
        1,
        &["90-kube-ovn-offload.conf was not written by kube-ovn-offload"],
    );
}

#[test]
fn pfs_that_cannot() {
    for (machine, pf, vfs, status, parts) in [
        ("F7-mlx5-legacy", "eth7", "2", 3, &["no netdev eth7 on this node"][..]),
        (
            "F7-mlx5-legacy",
            "0000:09:00.0",
            "2",
            3,
            &["no PCI device 0000:09:00.0"],
        ),
        (
            "F7-mlx5-legacy",
            "ens1f0v0",
            "2",
            3,
            &["ens1f0v0 is VF 0 of PF 0000:03:00.0: give the PF"],
        ),
        (
            "F7-mlx5-legacy",
            "0000:03:00.2",
            "2",
            3,
            &["0000:03:00.2 is VF 0 of PF 0000:03:00.0: give the PF"],
        ),
        (
            "F7-mlx5-legacy",
            "ens1f0np0",
            "9",
            1,
            &[
                "can have 8 VFs (sriov_totalvfs), and 9 are wanted",
                "mlxconfig -d 0000:03:00.0 set SRIOV_EN=1 NUM_OF_VFS=9",
            ],
        ),
        (
            "F20-bond",
            "p0",
            "2",
            1,
            &["is in bond0", "ip link set p0 nomaster", "ip link set p0 master bond0"],
        ),
        (
            "F10-bluefield-host",
            "0000:03:00.0",
            "2",
            1,
            &["manages no eswitch", "DPU"],
        ),
        (
            "F25-legacy-without-port-names",
            "0000:af:00.1",
            "1",
            1,
            &["has no switchdev mode"],
        ),
    ] {
        for more in [&[][..], &["--dry-run"]] {
            let arguments = [&["--pf", pf, "--vfs", vfs][..], more].concat();
            refused(&prepare(&Machine::new(machine), &arguments), status, parts);
        }
    }
    for vfs in ["0", "-1", "many", "65536"] {
        let output = prepare(&Machine::new("F7-mlx5-legacy"), &["--pf", "ens1f0np0", "--vfs", vfs]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{vfs}");
    }
}

#[test]
fn a_vf_that_a_pod_has() {
    let machine = Machine::new("F7-mlx5-legacy");
    let state = tempfile::tempdir().unwrap();
    let netns = state.path().join("netns");
    fs::write(&netns, "").unwrap();
    record(state.path(), 2, "web", &netns, |_| {});
    let output = prepare_in(&machine, state.path(), &["--pf", "ens1f0np0", "--vfs", "2"]);
    refused(
        &output,
        1,
        &[
            "1 of the 1 VFs of PF 0000:03:00.0 (ens1f0np0) are in use",
            "pod default/web has it as eth0",
        ],
    );
    // its netdev is not here: stock's pod, perhaps
    let output = prepare(&Machine::new("F21-vf-in-pod"), &["--pf", "0000:03:00.0", "--vfs", "4"]);
    refused(
        &output,
        1,
        &["its netdev is not in the host's network namespace: a pod may have it"],
    );
}

/// At boot the NIC may come later than the command.
#[test]
fn waits_for_a_pf() {
    let start = std::time::Instant::now();
    let output = prepare(
        &Machine::new("F7-mlx5-legacy"),
        &["--pf", "eth7", "--vfs", "2", "--wait", "1", "--dry-run"],
    );
    refused(&output, 3, &["no netdev eth7 on this node"]);
    assert!(start.elapsed().as_secs_f32() >= 1.0);
    let ready = prepare(
        &Machine::new("F7-mlx5-legacy"),
        &["--pf", "ens1f0np0", "--vfs", "2", "--wait", "600", "--dry-run"],
    );
    assert_eq!(ready.status.code(), Some(0), "{}", stderr(&ready));
}

/// A recorded machine can't be changed; and without rights this one can't.
#[test]
fn nothing_is_changed_that_may_not_be() {
    let output = prepare(&Machine::new("F7-mlx5-legacy"), &["--pf", "ens1f0np0", "--vfs", "2"]);
    refused(
        &output,
        1,
        &["another machine's sysfs can only be looked at: add --dry-run"],
    );
    let output = tool(&["node", "reset", "--pf", "lo"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn nothing_to_reset() {
    let state = tempfile::tempdir().unwrap();
    let machine = Machine::new("F7-mlx5-legacy");
    let reset = |arguments: &[&str]| {
        let mut command = tool(&["node", "reset", "--state"]);
        command
            .arg(state.path())
            .arg("--root")
            .arg(state.path())
            .args(arguments);
        machine.run(command)
    };
    refused(&reset(&[]), 3, &["there is nothing to reset"]);
    refused(
        &reset(&["--pf", "ens1f0np0"]),
        3,
        &["PF ens1f0np0 was not prepared by kube-ovn-offload"],
    );
    refused(&reset(&["--pf", "eth7"]), 3, &["no netdev eth7"]);
    fs::create_dir_all(state.path().join("prepared")).unwrap();
    fs::write(state.path().join("prepared/0000:03:00.0.json"), "{").unwrap();
    refused(&reset(&[]), 1, &["can't be understood", "how the PF was is not known"]);
}

/// A link that udev has not dealt with yet must not be set up: it would keep its name.
#[test]
fn waits_for_udev() {
    let machine = Machine::new("F7-mlx5-legacy");
    let state = tempfile::tempdir().unwrap();
    let udev = state.path().join("root/run/udev");
    fs::create_dir_all(udev.join("data")).unwrap();
    fs::write(udev.join("control"), "").unwrap();
    let arguments = ["--pf", "ens1f0np0", "--vfs", "2", "--wait", "2", "--dry-run"];
    let start = std::time::Instant::now();
    assert_eq!(prepare_in(&machine, state.path(), &arguments).status.code(), Some(0));
    assert!(start.elapsed().as_secs_f32() >= 2.0);
}
