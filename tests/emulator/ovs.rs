//! OVS by way of ovs-vsctl (pkg/ovs/ovs-vsctl.go).

use std::process::Command;

use crate::record::{Context, Fail};

pub(crate) fn vsctl(arguments: &[&str]) -> Result<String, String> {
    let arguments = [&["--timeout=30"], arguments].concat();
    let output = Command::new("ovs-vsctl")
        .args(&arguments)
        .output()
        .map_err(|error| format!("emulator: cannot run ovs-vsctl: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout).trim().trim_matches('"').to_owned());
    }
    let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let status = output
        .status
        .code()
        .map_or_else(|| "signal: killed".to_owned(), |code| format!("exit status {code}"));
    Err(format!(
        "failed to run 'ovs-vsctl {}': {status}\n  {shown:?}",
        arguments.join(" ")
    ))
}

/// The values of one column of the rows that match.
pub(crate) fn find(table: &str, column: &str, conditions: &[&str]) -> Result<Vec<String>, String> {
    let column = format!("--columns={column}");
    let output = vsctl(&[&["--no-heading", &column, "find", table], conditions].concat())?;
    let rows = output.split("\n\n").map(|row| row.trim().trim_matches('"').to_owned());
    Ok(rows.filter(|row| !row.is_empty()).collect())
}

/// `CleanDuplicatePort`: only the newest port keeps the iface-id; the others stay as ports. Errors are logged only.
pub(crate) fn clean_duplicates(context: &Context, iface_id: &str, port: &str) {
    let conditions = [format!("external-ids:iface-id={iface_id}"), format!("name!={port}")];
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
    for uuid in find("Interface", "_uuid", &conditions).unwrap_or_default() {
        if let Err(error) = vsctl(&["remove", "Interface", &uuid, "external-ids", "iface-id"]) {
            context.note(format!(
                "failed to clear stale OVS port {uuid:?} iface-id {iface_id:?}: {error}"
            ));
        }
    }
}

/// `SetInterfaceBandwidth` without a rate: the policing columns are written all the same.
pub(crate) fn clear_policing(iface_id: &str) -> Result<(), String> {
    for interface in find("interface", "name", &[&format!("external-ids:iface-id={iface_id}")])? {
        vsctl(&[
            "set",
            "interface",
            &interface,
            "ingress_policing_rate=0",
            "ingress_policing_burst=0",
        ])?;
    }
    Ok(())
}

pub(crate) fn del_port(port: &str) -> Result<(), String> {
    vsctl(&["--if-exists", "--with-iface", "del-port", "br-int", port]).map(|_| ())
}

/// gcInterfaces: ports of pods whose netdev is gone. (A port whose netdev is there, it takes away since v1.15 only, and when
/// the pod is gone from the API; that is not done here.)
pub(crate) fn collect_garbage() {
    let lost = find("Interface", "name,error", &["ofport=-1", "external_ids:pod_netns!=[]"]);
    for row in lost.unwrap_or_default() {
        if let Some((name, error)) = row.split_once('\n')
            && error.contains("No such device")
            && let Err(error) = del_port(name.trim().trim_matches('"'))
        {
            eprintln!("kube-ovn-daemon-emulator: {error}");
        }
    }
}

/// `ClearPodBandwidth` and `ClearHtbQosQueue`: rows of this pod that nothing uses.
pub(crate) fn clear_qos(pod: &str) -> Result<(), String> {
    let of_pod = format!("external-ids:pod=\"{pod}\"");
    let used = find("port", "qos", &["qos!=[]"])?;
    for row in find("qos", "_uuid", &[&of_pod])?
        .iter()
        .filter(|row| !used.contains(row))
    {
        vsctl(&["--if-exists", "destroy", "qos", row])?;
    }
    let used = find("qos", "queues", &["queues:0!=[]"])?.join(" ");
    for row in find("queue", "_uuid", &[&of_pod])?
        .iter()
        .filter(|row| !used.contains(*row))
    {
        vsctl(&["--if-exists", "destroy", "queue", row])?;
    }
    Ok(())
}

/// The wait for ovn-controller: a look every 500 ms; the deadline is only seen at a look.
pub(crate) fn wait_installed(context: &Context, port: &str) -> Result<(), Fail> {
    let limit = context.options.ovn_installed;
    let deadline = std::time::Instant::now() + limit;
    while std::time::Instant::now() <= deadline {
        let looked = vsctl(&["--if-exists", "get", "interface", port, "external-ids:ovn-installed"]);
        match looked {
            Ok(value) if value == "true" && !context.faults.has("ovn-installed") => return Ok(()),
            Ok(_) => {}
            Err(error) => context.note(format!("failed to get ovn-installed for ovs port {port}: {error}")),
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    Err(Fail::text(format!(
        "ovs interface {port} is not ready after {}s",
        limit.as_secs()
    )))
}
