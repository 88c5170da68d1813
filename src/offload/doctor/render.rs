//! Findings for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::verdict::{Check, Finding, Verdict};
use crate::output::shown;

/// Every check with its findings.
pub(super) type Report<'a> = [(&'a Check, Vec<Finding>)];

const VERDICTS: [Verdict; 5] = [
    Verdict::Problem,
    Verdict::Unknown,
    Verdict::Warning,
    Verdict::Ok,
    Verdict::Irrelevant,
];

/// How many findings have a verdict.
pub(super) fn count(report: &Report<'_>, verdict: Verdict) -> usize {
    let findings = report.iter().flat_map(|(_, findings)| findings);
    findings.filter(|finding| finding.verdict == verdict).count()
}

/// A line for each finding, with its remedy below it; what is irrelevant only when `all` is wanted. The last line counts.
pub(super) fn table(report: &Report<'_>, all: bool, colours: bool) -> String {
    let is_wanted = |finding: &&Finding| all || finding.verdict != Verdict::Irrelevant;
    let rows: Vec<(&Check, &Finding)> = report
        .iter()
        .flat_map(|(check, findings)| findings.iter().filter(is_wanted).map(move |finding| (*check, finding)))
        .collect();
    let width = rows.iter().map(|(check, _)| check.id.len()).max().unwrap_or(0).max(5);
    let mut text = String::new();
    if !rows.is_empty() {
        let _ = writeln!(text, "{:width$}  {:<10}  EVIDENCE", "CHECK", "VERDICT");
    }
    for (check, finding) in rows {
        let verdict = format!("{:<10}", finding.verdict);
        let verdict = if colours {
            coloured(finding.verdict, &verdict)
        } else {
            verdict
        };
        let _ = writeln!(text, "{:width$}  {verdict}  {}", check.id, shown(&finding.evidence));
        let indent = width + 14;
        for line in &finding.remedy {
            let _ = writeln!(text, "{:indent$}$ {}", "", shown(line));
        }
        if !finding.note.is_empty() {
            let _ = writeln!(text, "{:indent$}{}", "", shown(&finding.note));
        }
    }
    let counts: Vec<String> = VERDICTS
        .iter()
        .map(|verdict| (count(report, *verdict), verdict))
        .filter(|(number, _)| *number > 0)
        .map(|(number, verdict)| format!("{number} {verdict}"))
        .collect();
    let _ = writeln!(text, "{}", counts.join(", "));
    text
}

fn coloured(verdict: Verdict, text: &str) -> String {
    let colour = match verdict {
        Verdict::Ok => 32,
        Verdict::Irrelevant => 90,
        Verdict::Warning => 33,
        Verdict::Unknown => 35,
        Verdict::Problem => 31,
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

/// One object, with everything.
pub(super) fn json(report: &Report<'_>) -> Value {
    let findings = report.iter().flat_map(|(check, findings)| {
        findings.iter().map(|finding| {
            json!({
                "check": check.id,
                "what": check.what,
                "verdict": finding.verdict.to_string(),
                "evidence": finding.evidence,
                "remedy": finding.remedy,
                "note": finding.note,
            })
        })
    });
    let summary: serde_json::Map<String, Value> = VERDICTS
        .iter()
        .map(|verdict| (verdict.to_string(), json!(count(report, *verdict))))
        .collect();
    json!({"summary": summary, "findings": findings.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &'static str) -> Check {
        Check {
            id,
            what: "what must be so",
            look: |_| Vec::new(),
        }
    }

    #[test]
    fn for_people_and_for_programs() {
        let (one, two) = (check("one"), check("another-one"));
        let report = [
            (
                &one,
                vec![Finding::ok("as it should be"), Finding::irrelevant("no bond")],
            ),
            (
                &two,
                vec![
                    Finding::problem("eth\u{1b}0 is down")
                        .remedy("ip link set eth0 up")
                        .note("or not"),
                ],
            ),
        ];
        let expected = "\
CHECK        VERDICT     EVIDENCE
one          ok          as it should be
another-one  problem     eth\\u{1b}0 is down
                         $ ip link set eth0 up
                         or not
1 problem, 1 ok, 1 irrelevant
";
        assert_eq!(table(&report, false, false), expected);
        assert!(table(&report, true, false).contains("one          irrelevant  no bond\n"));
        let coloured = table(&report, false, true);
        assert!(coloured.contains("another-one  \u{1b}[31mproblem   \u{1b}[0m  eth\\u{1b}0 is down\n"));
        let json = json(&report);
        assert_eq!(json["summary"]["problem"], 1);
        assert_eq!(json["findings"][2]["remedy"][0], "ip link set eth0 up");
        assert_eq!(json["findings"][2]["check"], "another-one");
    }
}
