//! Every check: from facts to findings, and nothing else.

mod cni;
mod host;
mod kernel;
mod kubelet;
mod nic;
mod node;
mod ovn;
mod ovs;
mod ports;
mod representor;

use super::facts::Facts;
use super::verdict::{Check, Finding, word};

/// All checks, in the order in which one would look: what comes first can be the cause of what comes later.
pub(super) const ALL: &[&[Check]] = &[
    kernel::CHECKS,
    nic::CHECKS,
    representor::CHECKS,
    ovs::CHECKS,
    ports::CHECKS,
    ovn::CHECKS,
    host::CHECKS,
    cni::CHECKS,
    kubelet::CHECKS,
    node::CHECKS,
];

/// A line that ends this node's pods with a label, so that their `DaemonSet` makes them anew. Kube-OVN writes the node's name, which need not be
/// the host's, into Open vSwitch' database (dist/images/start-ovs.sh).
fn renew_pods(facts: &Facts, label: &str) -> String {
    let database = facts.ovs.database.as_ref().ok();
    let name = database.and_then(|database| database.external_ids.get("hostname"));
    let name = name.map_or_else(|| "$(hostname)".to_owned(), |name| word(name));
    format!("kubectl -n kube-system delete pod -l {label} --field-selector spec.nodeName={name}")
}

/// One finding.
fn one(finding: Finding) -> Vec<Finding> {
    vec![finding]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_words() {
        let ids: Vec<&str> = ALL
            .iter()
            .flat_map(|checks| checks.iter().map(|check| check.id))
            .collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        for id in ids {
            assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{id}");
        }
    }
}
