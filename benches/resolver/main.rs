//! How long it takes from a VF's PCI address to its representor: our resolver side by side with sriovnet's algorithm.
//! `scripts/bench` runs this, on trees that it makes and on the lab's kernel, and docs/performance.md tells what came of it.
//!
//! ```text
//! measure fixture VFS DEVLINK   a row for a tree with so many VFs, as a line of JSON; DEVLINK is `memory` or `none`
//! measure lab PF UNRELATED      a row for the VFs of a PF of this machine
//! report FILE                   the table of the rows in a file, and the budgets; 1 when one is broken
//! ```
//!
//! `repeat SIDE PASSES ROOT DEVLINK VFS VF...` is what `measure` runs under strace to count system calls.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints, and ends when something fails"
)]
#![allow(clippy::indexing_slicing, reason = "a benchmark: a slip ends it")]
#![allow(clippy::cast_precision_loss, reason = "numbers of VFs")]

mod devlink;
mod measure;
mod ours;
mod report;
mod sriovnet;
mod tree;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use kube_ovn::net::devlink::Recorded;
use kube_ovn::types::PciAddress;
use measure::Row;
use sriovnet::{Port, Sriovnet};

/// So many of a PF's VFs are resolved.
const SAMPLE: usize = 16;

/// Where devlink's answers come from.
enum Devlink {
    /// This kernel.
    Kernel,
    /// Memory: they are those of `tree`, with so many VFs.
    Memory(Recorded, Vec<Port>),
    /// There are none, as on kernels and drivers without devlink.
    None,
}

struct Place<'a> {
    root: &'a Path,
    devlink: Devlink,
}

impl<'a> Place<'a> {
    fn new(root: &'a Path, devlink: &str, vfs: usize) -> Self {
        let devlink = match devlink {
            "kernel" => Devlink::Kernel,
            "memory" => {
                let (recorded, ports) = tree::devlink(u32::try_from(vfs).expect("a number of VFs"));
                Devlink::Memory(recorded, ports)
            }
            "none" => Devlink::None,
            other => unreachable!("devlink from {other}"),
        };
        Self { root, devlink }
    }

    fn ours(&self, vf: &PciAddress) -> (u32, String) {
        let found = match &self.devlink {
            Devlink::Kernel => ours::by_kernel(self.root, vf),
            Devlink::Memory(recorded, _) => ours::by(self.root, recorded, vf),
            Devlink::None => ours::by(self.root, &Recorded::default(), vf),
        };
        found.expect("our resolver finds the VF")
    }

    fn peer(&self, vf: &PciAddress) -> (u32, String) {
        let ports = || match &self.devlink {
            Devlink::Kernel => devlink::all_ports(),
            Devlink::Memory(_, ports) => Ok(ports.clone()),
            Devlink::None => Err(std::io::Error::other("no devlink")),
        };
        let (sys, ports) = (self.root, &ports);
        let (_, index, representor) = Sriovnet { sys, ports }
            .resolve(vf.as_str())
            .expect("sriovnet's algorithm finds the VF");
        (index, representor)
    }

    /// A row. First of all both must give the same answers.
    fn measure(&self, name: &str, unrelated: usize, all: &[PciAddress]) -> Row {
        // sriovnet's cost depends on which VF it is: so a few, from the first to the last
        let every = all.len().div_ceil(SAMPLE).max(1);
        let vfs: Vec<PciAddress> = all.iter().step_by(every).cloned().collect();
        for vf in &vfs {
            assert_eq!(self.ours(vf), self.peer(vf), "{vf}");
        }
        let (times, fastest) = measure::side_by_side(&vfs, |vf| drop(self.ours(vf)), |vf| drop(self.peer(vf)));
        let calls = |side| self.calls(side, all.len(), &vfs);
        Row {
            place: name.to_owned(),
            vfs: all.len(),
            unrelated,
            times,
            fastest,
            calls: calls("ours").zip(calls("peer")),
        }
    }

    /// System calls for one VF: those of a process that resolves each VF twice, less those of one that does it once.
    fn calls(&self, side: &str, all: usize, vfs: &[PciAddress]) -> Option<f64> {
        let count = |passes: &str| {
            let output = Command::new("strace")
                .args(["-f", "-c", "-S", "calls", "-o", "/dev/stdout"])
                .arg(std::env::current_exe().ok()?)
                .args(["repeat", side, passes])
                .arg(self.root)
                .arg(match self.devlink {
                    Devlink::Kernel => "kernel",
                    Devlink::Memory(..) => "memory",
                    Devlink::None => "none",
                })
                .arg(all.to_string())
                .args(vfs.iter().map(PciAddress::as_str))
                .output()
                .ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let total = text.lines().find(|line| line.ends_with(" total"))?;
            // "100.00  0.000123  1  123  4 total": without errors the column before "total" is the calls
            let words: Vec<&str> = total.split_whitespace().collect();
            words.get(3)?.parse::<f64>().ok()
        };
        let once = count("1")?;
        let twice = count("2")?;
        Some((twice - once) / f64::from(u32::try_from(vfs.len()).ok()?))
    }
}

fn addresses<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<PciAddress> {
    let parse = |text: &str| text.parse().expect("a PCI address");
    texts.into_iter().map(parse).collect()
}

fn measure_fixture(vfs: &str, devlink: &str) -> Row {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let vfs = tree::write(dir.path(), vfs.parse().expect("a number")).expect("a tree");
    let place = Place::new(dir.path(), devlink, vfs.len());
    let name = match devlink {
        "memory" => "fixture, devlink from memory",
        _ => "fixture, sysfs alone",
    };
    place.measure(name, tree::UNRELATED, &addresses(vfs.iter().map(String::as_str)))
}

/// The VFs of a PF that are there, in order.
fn measure_lab(pf: &str, unrelated: &str) -> Row {
    let root = Path::new("/sys");
    let dir = root.join("bus/pci/devices").join(pf);
    let link = |index: usize| fs::read_link(dir.join(format!("virtfn{index}"))).ok();
    let names: Vec<String> = (0..)
        .map_while(link)
        .filter_map(|target| Some(target.file_name()?.to_string_lossy().into_owned()))
        .collect();
    let place = Place::new(root, "kernel", names.len());
    let unrelated = unrelated.parse().expect("a number");
    place.measure("lab", unrelated, &addresses(names.iter().map(String::as_str)))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let row = match arguments.as_slice() {
        ["measure", "fixture", vfs, devlink] => measure_fixture(vfs, devlink),
        ["measure", "lab", pf, unrelated] => measure_lab(pf, unrelated),
        ["report", file] => {
            let text = fs::read_to_string(file).expect("the rows");
            let parse = |line| serde_json::from_str(line).expect("a row");
            let rows: Vec<Row> = text.lines().map(parse).collect();
            report::table(&rows);
            return if report::budgets(&rows) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
        }
        ["repeat", side, passes, root, devlink, all, vfs @ ..] => {
            let place = Place::new(Path::new(root), devlink, all.parse().expect("a number"));
            let vfs = addresses(vfs.iter().copied());
            for vf in (0..passes.parse().expect("a number")).flat_map(|_: u32| &vfs) {
                drop(if *side == "ours" {
                    place.ours(vf)
                } else {
                    place.peer(vf)
                });
            }
            return ExitCode::SUCCESS;
        }
        _ => {
            println!("scripts/bench runs this: see the head of benches/resolver/main.rs");
            return ExitCode::SUCCESS;
        }
    };
    println!("{}", serde_json::to_string(&row).expect("a row is JSON"));
    ExitCode::SUCCESS
}
