//! The answer for people.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use super::json::bits_per_second;
use super::sample::Report;
use super::summary::Traffic;
use crate::output::{shown, table};

/// Nobody reads longer lines; a shell that exports COLUMNS says how wide its terminal is.
const WIDTH: usize = 160;

/// Sentences are broken at this column.
const TEXT_WIDTH: usize = 100;

/// The longest name of a pod that is shown whole.
const NAME: usize = 30;

/// Of so many pods and reasons there is an entry each.
const ENTRIES: usize = 40;

/// The columns are as wide as what is in them; the last one, what a flow matches and does, is cut to fit.
pub(crate) fn write(report: &Report<'_, '_>, watching: bool, wide: bool, out: &mut impl Write) -> io::Result<()> {
    if watching && io::stdout().is_terminal() {
        // to the upper left corner, and all below is cleared (ECMA-48, CUP and ED)
        write!(out, "\u{1b}[H\u{1b}[J")?;
    }
    let parts = [
        traffic(report),
        pods(report),
        flows(report, wide),
        reasons(report),
        notes(report),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    write!(out, "{}", parts.join("\n"))?;
    if watching {
        writeln!(out)?;
    }
    Ok(())
}

fn traffic(report: &Report<'_, '_>) -> String {
    let summary = &report.summary;
    let mut text = format!("FLOWS    {}", summary.count());
    let states = summary.flows.iter();
    let states: Vec<String> = states
        .map(|(state, count)| format!("{count} {}", state.name()))
        .collect();
    if !states.is_empty() {
        let _ = write!(text, ": {}", states.join(", "));
    }
    let total = summary.traffic.total;
    let _ = write!(
        text,
        "\nTRAFFIC  {}: {} offloaded",
        bytes(total.all),
        percent(total.per_mille())
    );
    if total.tc > 0 {
        let _ = write!(text, ", {} in tc only", percent(total.tc_per_mille()));
    }
    if let Some((recent, interval)) = summary.traffic.recent.zip(report.interval) {
        let _ = write!(
            text,
            "\nNOW      {}: {} offloaded (in the last {:.1} s)",
            bits(bits_per_second(recent.all, interval)),
            percent(recent.per_mille()),
            interval.as_secs_f64()
        );
    }
    text.push('\n');
    text
}

fn pods(report: &Report<'_, '_>) -> String {
    let mut pods: Vec<_> = report.summary.pods.iter().collect();
    pods.sort_by_key(|(pod, traffic)| {
        let all = traffic
            .sent
            .current()
            .all
            .saturating_add(traffic.received.current().all);
        (Reverse(all), *pod)
    });
    if pods.is_empty() {
        return String::new();
    }
    let cells = |traffic: &Traffic| {
        let current = traffic.current();
        let amount = match (traffic.recent, report.interval) {
            (Some(recent), Some(interval)) => bits(bits_per_second(recent.all, interval)),
            _ => bytes(current.all),
        };
        [amount, percent(current.per_mille())]
    };
    let head = ["POD", "SENT", "OFFLOADED", "RECEIVED", "OFFLOADED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (pod, traffic) in pods.iter().take(ENTRIES) {
        let mut row = vec![middle(&pod.to_string())];
        row.extend(cells(&traffic.sent));
        row.extend(cells(&traffic.received));
        rows.push(row);
    }
    let mut text = table(&rows);
    if pods.len() > ENTRIES {
        let _ = writeln!(text, "… {} more pods: --output json has all", pods.len() - ENTRIES);
    }
    text
}

fn flows(report: &Report<'_, '_>, wide: bool) -> String {
    let rows = report.rows();
    if rows.is_empty() {
        return String::new();
    }
    let mut head = vec!["STATE", "BYTES"];
    head.extend(report.interval.is_some().then_some("RATE"));
    head.extend(["WHY", "FROM", "TO", "WHAT"]);
    let mut lines = vec![head.into_iter().map(str::to_owned).collect()];
    for row in &rows {
        let mut line = vec![row.state.name().to_owned(), bytes(row.bytes)];
        let recent = row.recent.zip(report.interval);
        line.extend(recent.map(|(recent, interval)| bits(bits_per_second(recent, interval))));
        line.extend([row.why.clone(), middle(&row.from), middle(&row.to), row.what.clone()]);
        lines.push(line);
    }
    let width = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = width.filter(|width| (20..WIDTH).contains(width)).unwrap_or(WIDTH);
    let mut text = String::new();
    for line in table(&lines).lines() {
        text.push_str(&if wide { line.to_owned() } else { cut(line, width) });
        text.push('\n');
    }
    let hidden = report
        .selected
        .saturating_sub(u64::try_from(rows.len()).unwrap_or(u64::MAX));
    if hidden > 0 {
        let _ = writeln!(text, "… {hidden} more flows with less traffic: --limit 0 shows all");
    }
    text
}

fn reasons(report: &Report<'_, '_>) -> String {
    let mut reasons: Vec<_> = report.summary.reasons.iter().collect();
    reasons.sort_by_key(|(reason, group)| (Reverse((group.recent, group.bytes, group.flows)), *reason));
    if reasons.is_empty() {
        return String::new();
    }
    let mut text = "WHY NOT IN HARDWARE\n".to_owned();
    for (reason, group) in reasons.iter().take(ENTRIES) {
        let mark = if group.is_likely { "?" } else { "" };
        let flows = if group.flows == 1 { "flow" } else { "flows" };
        let head = format!(
            "{}{mark} ({} {flows}, {}): ",
            reason.code(),
            group.flows,
            bytes(group.bytes)
        );
        text.push_str(&wrapped(&(head + &shown(&reason.text())), "    "));
        let remedy = format!("    remedy: {}", shown(&reason.remedy()));
        text.push_str(&wrapped(&remedy, "            "));
    }
    if reasons.len() > ENTRIES {
        let _ = writeln!(text, "… {} more: --output json has all", reasons.len() - ENTRIES);
    }
    text
}

fn notes(report: &Report<'_, '_>) -> String {
    let summary = &report.summary;
    let mut text = String::new();
    if summary.reasons.values().any(|group| group.is_likely) {
        text.push_str("?  concluded from settings and ports: neither tc nor the driver says why.\n");
    }
    let mut note = |count: u64, what: &str| {
        if count > 0 {
            text.push_str(&wrapped(&format!("NOTE  {count} {what}"), "      "));
        }
    };
    note(
        summary.icmp_through_conntrack,
        "of these flows are ICMP through conntrack, which no NIC tracks: they prove nothing. Test with TCP or UDP.",
    );
    note(
        summary.new_connections,
        "of these flows are for the first packets of connections, which software handles on any NIC.",
    );
    note(summary.not_understood, "lines of the dump were not understood.");
    text
}

/// In lines that a small terminal has room for; all but the first are indented.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_inclusive(' ') {
        if column > 0 && column + word.trim_end().chars().count() > TEXT_WIDTH {
            lines.truncate(lines.trim_end().len());
            lines.push('\n');
            lines.push_str(indent);
            column = indent.len();
        }
        lines.push_str(word);
        column += word.chars().count();
    }
    lines.push('\n');
    lines
}

/// A name that is too long, without its middle: what tells pods of one deployment apart is at the end.
fn middle(name: &str) -> String {
    let count = name.chars().count();
    if count <= NAME {
        return name.to_owned();
    }
    let begin: String = name.chars().take(NAME / 2).collect();
    let end: String = name.chars().skip(count - (NAME - NAME / 2 - 1)).collect();
    format!("{begin}…{end}")
}

/// At most so many columns.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let short: String = line.chars().take(width - 1).collect();
    format!("{short}…")
}

fn percent(per_mille: Option<u64>) -> String {
    match per_mille {
        Some(share) => format!("{}.{} %", share / 10, share % 10),
        None => "-".to_owned(),
    }
}

fn bytes(count: u64) -> String {
    scaled(count, "B")
}

fn bits(count: u64) -> String {
    scaled(count, "bit/s")
}

/// Two or three digits and a prefix of the SI.
fn scaled(count: u64, unit: &str) -> String {
    let mut scale = 1_u64;
    let mut prefix = "";
    for next in ["k", "M", "G", "T", "P"] {
        if count / scale < 1000 {
            break;
        }
        scale *= 1000;
        prefix = next;
    }
    let tenths = u128::from(count) * 10 / u128::from(scale);
    if scale == 1 || tenths >= 1000 {
        format!("{} {prefix}{unit}", count / scale)
    } else {
        format!("{}.{} {prefix}{unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (315_460, "315 kB"),
            (99_949, "99.9 kB"),
            (1_234_567, "1.2 MB"),
            (u64::MAX, "18446 PB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(percent(Some(1000)), "100.0 %");
        assert_eq!(percent(Some(7)), "0.7 %");
        assert_eq!(percent(None), "-");
    }

    #[test]
    fn long_texts() {
        assert_eq!(middle("shop/web-0"), "shop/web-0");
        let long = middle("namespace/deployment-5d8f7c9b6d-x2x7q-é");
        assert_eq!(long, "namespace/deplo…7c9b6d-x2x7q-é");
        assert_eq!(long.chars().count(), NAME);
        assert_eq!(cut("abcdef", 4), "abc…");
        let text = wrapped(&"word ".repeat(50), "  ");
        assert!(
            text.lines().all(|line| line.chars().count() <= TEXT_WIDTH + 1),
            "{text}"
        );
        assert!(text.lines().skip(1).all(|line| line.starts_with("  word")), "{text}");
    }
}
