//! The table, and whether the budgets of docs/performance.md are kept.

use crate::measure::{Row, spread};

/// From 10 to 2,000 unrelated netdevs, our time may grow by this factor.
const INDEPENDENCE: f64 = 1.3;

/// Our time at 127 VFs in the lab.
const LAB_SECONDS: f64 = 0.001;

/// System calls that each further VF may cost; a dump's packets hold about 200 ports, and that many may take one more.
const CALLS_PER_VF: f64 = 0.02;

fn micros(seconds: f64) -> String {
    format!("{:.1}", seconds * 1e6)
}

fn fastest_and_median(fastest: f64, rounds: impl Iterator<Item = f64>) -> String {
    let (_, median, _) = spread(rounds);
    format!("{} ({})", micros(fastest), micros(median))
}

/// Prints the rows as a table in Markdown.
pub(crate) fn table(rows: &[Row]) {
    println!(
        "| where | VFs | unrelated netdevs | ours, µs | sriovnet, µs | sriovnet / ours | system calls, ours | sriovnet |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for row in rows {
        let ours = fastest_and_median(row.fastest.0, row.times.iter().map(|times| times.0));
        let peer = fastest_and_median(row.fastest.1, row.times.iter().map(|times| times.1));
        let (least, ratio, most) = spread(row.times.iter().map(|(ours, peer)| peer / ours));
        let calls = row
            .calls
            .map_or_else(|| "- | -".to_owned(), |(ours, peer)| format!("{ours:.1} | {peer:.1}"));
        println!(
            "| {} | {} | {} | {ours} | {peer} | {ratio:.2} ({least:.2} to {most:.2}) | {calls} |",
            row.place, row.vfs, row.unrelated,
        );
    }
    println!();
}

/// Checks each budget that the rows tell something about; whether all are kept. The fastest time of each VF counts: whatever
/// else the machine does only adds.
pub(crate) fn budgets(rows: &[Row]) -> bool {
    let mut kept = true;
    let mut judge = |fine: bool, text: String| {
        println!("{}: {text}", if fine { "kept" } else { "BROKEN" });
        kept &= fine;
    };
    let lab = |row: &&Row| row.place == "lab";
    let least = |row: &Row| row.fastest.0;
    for few in rows.iter().filter(lab) {
        let same = |row: &&Row| row.vfs == few.vfs && row.unrelated > few.unrelated;
        if let Some(many) = rows.iter().filter(lab).find(same) {
            let factor = least(many) / least(few);
            judge(
                factor <= INDEPENDENCE,
                format!(
                    "lab, {} VFs: × {factor:.2} from {} to {} unrelated netdevs, at most × {INDEPENDENCE}",
                    few.vfs, few.unrelated, many.unrelated
                ),
            );
        }
        if few.vfs >= 127 {
            judge(
                least(few) <= LAB_SECONDS,
                format!(
                    "lab, {} VFs, {} unrelated netdevs: {} µs, at most {} µs",
                    few.vfs,
                    few.unrelated,
                    micros(least(few)),
                    micros(LAB_SECONDS)
                ),
            );
        }
    }
    // where devlink answers; without it the netdevs below the PF have to be looked at
    for few in rows.iter().filter(|row| !row.place.ends_with("sysfs alone")) {
        let more = |row: &&Row| row.place == few.place && row.unrelated == few.unrelated && row.vfs > few.vfs;
        if let Some(many) = rows.iter().filter(more).max_by_key(|row| row.vfs)
            && rows.iter().all(|row| row.place != few.place || row.vfs >= few.vfs)
            && let (Some((low, _)), Some((high, _))) = (few.calls, many.calls)
        {
            let further = f64::from(u32::try_from(many.vfs - few.vfs).unwrap_or(u32::MAX));
            let each = (high - low) / further;
            judge(
                each <= CALLS_PER_VF,
                format!(
                    "{}, {} unrelated netdevs: {each:.3} system calls for each VF from {} to {}, at most {CALLS_PER_VF}",
                    few.place, few.unrelated, few.vfs, many.vfs
                ),
            );
        }
    }
    kept
}
