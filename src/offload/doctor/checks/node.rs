//! What the plugin itself needs.

use kube_ovn::node::{Error as ConfigError, PATH};
use kube_ovn::state::{DIRECTORY, Error as StateError};

use super::{one, renew_pods};
use crate::doctor::facts::{DAEMON, Facts};
use crate::doctor::verdict::{Check, Finding, few};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "daemon-socket",
        what: "kube-ovn-daemon listens, as root",
        look: daemon,
    },
    Check {
        id: "node-config",
        what: "the node's settings of the plugin are valid",
        look: config,
    },
    Check {
        id: "state-directory",
        what: "the plugin can write its records",
        look: state,
    },
    Check {
        id: "records",
        what: "every record is of a living pod, or being given back",
        look: records,
    },
];

/// Gives back what has ended.
const GC: &str = "kube-ovn-offload gc";

fn daemon(facts: &Facts) -> Vec<Finding> {
    one(match &facts.node.daemon {
        Ok(()) => Finding::ok(format!("{DAEMON} takes connections")),
        Err(why) => Finding::problem(why)
            .remedy(renew_pods(facts, "app=kube-ovn-cni"))
            .note("its log says why it ended: kubectl -n kube-system logs -l app=kube-ovn-cni --previous"),
    })
}

fn config(facts: &Facts) -> Vec<Finding> {
    one(match &facts.node.config {
        Ok(Some(_)) => Finding::ok(format!("{PATH} is valid")),
        Ok(None) => Finding::ok(format!("{PATH} does not exist: the defaults hold")),
        Err(error) => {
            let finding = Finding::problem(format!("{error}; until then no VF is attached"));
            match error {
                ConfigError::Unsafe { .. } => finding
                    .remedy(format!("chown -h root:root {PATH}; chmod 0644 {PATH}"))
                    .remedy(format!("chown root:root {}; chmod 0755 {0}", parent(PATH))),
                _ => finding
                    .remedy(format!("mv {PATH} {PATH}.bad"))
                    .note("without the file the defaults hold; docs/configuration.md has every key"),
            }
        }
    })
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(directory, _)| directory)
}

fn state(facts: &Facts) -> Vec<Finding> {
    one(match &facts.node.state {
        Ok(()) => Finding::ok(format!("{DIRECTORY} is root's alone, or can be made")),
        Err(error @ StateError::Unsafe { .. }) => Finding::problem(error.to_string())
            .remedy(format!("chown root:root {DIRECTORY}; chmod 0700 {DIRECTORY}"))
            .note("look first who wrote what is in it"),
        Err(error) => Finding::problem(error.to_string()).note("/run must be a tmpfs that root can write to"),
    })
}

fn records(facts: &Facts) -> Vec<Finding> {
    let records = match &facts.node.records {
        Ok(records) => records,
        Err(why) => return one(Finding::unknown(why)),
    };
    let mut findings = Vec::new();
    let mut holders = Vec::new();
    for recorded in records {
        let device = &recorded.device;
        match &recorded.record {
            Err(why) => findings.push(
                Finding::warning(format!("VF {device}: {why}"))
                    .remedy(format!("mv {DIRECTORY}/vf/{device}.json {DIRECTORY}/vf/{device}.unreadable"))
                    .note("where the VF is then says who has it"),
            ),
            Ok(record) if record.ending => findings.push(
                Finding::warning(format!("VF {device}: the attachment of {} has ended and is not wholly given back", record.holder()))
                    .remedy(GC)
                .note("each later ADD and DEL goes on with it, too; it stays as long as kube-ovn-daemon and OVSDB can't be reached, or the daemon still owes an answer (45 s)"),
            ),
            Ok(record) if !recorded.is_alive => findings.push(
                Finding::warning(format!(
                    "VF {device} is recorded as that of {}, whose network namespace {} is gone",
                    record.holder(),
                    record.claim.netns.display()
                ))
                .remedy(GC)
                .note("the runtime's DEL is still to come, or was lost"),
            ),
            Ok(record) => holders.push(format!("{device} {}", record.holder())),
        }
    }
    if findings.is_empty() {
        findings.push(match holders.len() {
            0 => Finding::irrelevant("no VF is recorded as a pod's"),
            _ => Finding::ok(few(holders)),
        });
    }
    findings
}
