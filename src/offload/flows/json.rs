//! The answer for programs: one object, whose flows are written as they are read.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::Failure;
use super::facts::{Facts, Pod};
use super::sample::{Report, Source};
use super::summary::{Counted, Share, Traffic};

/// Reads and writes all flows, then what they sum up to.
pub(crate) fn write(
    report: &mut Report<'_, '_>,
    source: &Source<'_>,
    deadline: Instant,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let (facts, interval) = (report.facts, report.interval);
    let mut next = "{\"flows\":[";
    let taken = report.take(source, deadline, &mut |counted| {
        let before = std::mem::replace(&mut next, ",");
        write!(out, "{before}{}", flow(counted, facts, interval))
    });
    if next != "," {
        taken?;
        write!(out, "{next}")?;
    } else if taken.is_err() {
        // half an object: with --watch the next one begins on a line of its own
        writeln!(out)?;
        out.flush()?;
        taken?;
    }
    let rest = rest(report).to_string();
    // the object's own brace is there already
    writeln!(out, "],{}", rest.strip_prefix('{').unwrap_or(&rest))?;
    Ok(())
}

fn flow(counted: &Counted<'_, '_>, facts: &Facts, interval: Option<Duration>) -> Value {
    let (flow, parts, verdict) = (counted.flow, counted.parts, counted.verdict);
    let port = |name: &str| {
        let iface_id = facts.ports.get(name).map(|port| &port.iface_id);
        json!({
            "name": name,
            "kind": facts.kind(name).name(),
            "iface_id": iface_id.filter(|id| !id.is_empty()),
            "pod": facts.pod(name).map(pod),
        })
    };
    let recent = counted.recent.zip(interval);
    json!({
        "ufid": flow.ufid.map(uuid),
        "datapath": counted.datapath,
        "state": verdict.state.name(),
        "reason": verdict.reason.as_ref().map(|reason| json!({
            "code": reason.code(), "text": reason.text(), "remedy": reason.remedy(), "likely": verdict.is_likely,
        })),
        "icmp_through_conntrack": verdict.is_icmp_through_conntrack,
        "new_connections_only": verdict.is_for_new_connections,
        "counts_as_traffic": counted.is_traffic(),
        "from": port(parts.in_port),
        "to": parts.outputs.iter().map(|name| port(name)).collect::<Vec<_>>(),
        "match": flow.key,
        "actions": flow.actions,
        "layer": flow.layer,
        "tcp_flags": flow.tcp_flags,
        "packets": flow.packets,
        "bytes": flow.bytes,
        "used_seconds_ago": flow.used,
        "packets_per_second": recent.map(|(recent, interval)| per_second(recent.packets, interval)),
        "bits_per_second": recent.map(|(recent, interval)| bits_per_second(recent.bytes, interval)),
    })
}

fn pod(pod: &Pod) -> Value {
    json!({"namespace": pod.namespace, "name": pod.name, "interface": pod.interface})
}

/// Rounded to a whole number.
fn per_second(count: u64, interval: Duration) -> u64 {
    let millis = interval.as_millis().max(1);
    u64::try_from((u128::from(count) * 1000 + millis / 2) / millis).unwrap_or(u64::MAX)
}

/// The rate of so many bytes.
pub(crate) fn bits_per_second(bytes: u64, interval: Duration) -> u64 {
    per_second(bytes.saturating_mul(8), interval)
}

fn uuid(id: u128) -> String {
    let digits = format!("{id:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts.map(|part| digits.get(part).unwrap_or_default()).join("-")
}

/// What stands beside the flows.
fn rest(report: &Report<'_, '_>) -> Value {
    let (facts, summary, interval) = (report.facts, &report.summary, report.interval);
    let by_state = summary.flows.iter();
    let by_state: Map<String, Value> = by_state
        .map(|(state, count)| (state.name().to_owned(), json!(count)))
        .collect();
    let pods = summary.pods.iter().map(|(name, counted)| {
        json!({
            "pod": pod(name),
            "sent": traffic(&counted.sent, interval),
            "received": traffic(&counted.received, interval),
        })
    });
    let reasons = summary.reasons.iter().map(|(reason, group)| {
        let recent = group.recent.zip(interval);
        json!({
            "code": reason.code(), "text": reason.text(), "remedy": reason.remedy(), "likely": group.is_likely,
            "flows": group.flows, "bytes": group.bytes,
            "bits_per_second": recent.map(|(bytes, interval)| bits_per_second(bytes, interval)),
        })
    });
    json!({
        "flow_count": summary.count(),
        "flows_by_state": by_state,
        "traffic": traffic(&summary.traffic, interval),
        "pods": pods.collect::<Vec<_>>(),
        "reasons": reasons.collect::<Vec<_>>(),
        "icmp_through_conntrack": summary.icmp_through_conntrack,
        "new_connections_only": summary.new_connections,
        "not_understood": summary.not_understood,
        "seconds": interval.map(|interval| interval.as_secs_f64()),
        "node": {
            "hw_offload": facts.hw_offload,
            "tc_policy": facts.tc_policy.name(),
            "shares_recirculation": facts.shares_recirculation,
        },
    })
}

fn traffic(traffic: &Traffic, interval: Option<Duration>) -> Value {
    let total = traffic.total;
    let recent = traffic.recent.zip(interval).map(|(recent, interval)| {
        json!({
            "bits_per_second": bits_per_second(recent.all, interval),
            "hardware_bits_per_second": bits_per_second(recent.hardware, interval),
            "tc_bits_per_second": bits_per_second(recent.tc, interval),
            "offloaded_percent": percent(recent),
        })
    });
    json!({
        "total": {
            "bytes": total.all,
            "hardware_bytes": total.hardware,
            "tc_bytes": total.tc,
            "offloaded_percent": percent(total),
        },
        "recent": recent,
    })
}

/// With one digit behind the point; 100 only when it is all.
fn percent(share: Share) -> Option<f64> {
    let per_mille = u32::try_from(share.per_mille()?).ok()?;
    Some(f64::from(per_mille) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(bits_per_second(1_000_000, Duration::from_secs(2)), 4_000_000);
        assert_eq!(bits_per_second(1, Duration::ZERO), 8000);
        assert_eq!(bits_per_second(u64::MAX, Duration::from_millis(1)), u64::MAX);
        assert_eq!(
            uuid(0xaf52_da5e_a89a_4ab2_8732_2fea_146a_9830),
            "af52da5e-a89a-4ab2-8732-2fea146a9830"
        );
        let share = |all, hardware| Share { all, hardware, tc: 0 };
        assert_eq!(percent(share(0, 0)), None);
        assert_eq!(percent(share(100_000, 99_999)), Some(99.9));
        assert_eq!(percent(share(u64::MAX, u64::MAX)), Some(100.0));
    }
}
