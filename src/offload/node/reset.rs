//! `node reset`: a PF as it was before `node prepare`.

use clap::Args;
use kube_ovn::state::Store;
use kube_ovn::types::PciAddress;

use super::execute::{Work, lock_vfs};
use super::facts::Facts;
use super::journal::{Journal, Journals};
use super::plan::reset;
use super::prepare::{Now, Places, Refusal, look, may_change, stopped, unanswered, write, wrong};
use super::render::Report;
use super::{checks, find_pf, persist};
use crate::Status;
use crate::machine::{Machine, Source};
use crate::output::{Output, Progress, complain};

/// Brings a PF back to how it was before `node prepare`, and removes what --persist wrote.
///
/// What it was like is in /run/kube-ovn-offload/prepared; it ends with the next boot, as do VFs and switchdev mode themselves.
/// The same is looked at first as for `node prepare`: nothing is taken from a pod.
///
/// Exit status: 0 done, or nothing to do; 1 refused, or stopped half-way; 3 no such PF, or none was prepared; 4 the kernel could not
/// be asked, or rights are missing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kube-ovn-offload node reset --pf enp132s0f0np0 --dry-run
  kube-ovn-offload node reset
      every PF that was prepared")]
pub(crate) struct Arguments {
    /// Only this PF, by the name of its netdev or its PCI address.
    #[arg(long, value_name = "NAME|PCI")]
    pf: Option<String>,
    /// Changes nothing, and prints each step as a shell line, with the line that takes it back.
    #[arg(long)]
    dry_run: bool,
    /// Goes on although the default route, the tunnel or kubelet's address is on the PF.
    #[arg(long)]
    yes_disrupt: bool,
    /// How to show the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    pub(super) source: Source,
    #[command(flatten)]
    places: Places,
}

/// Resets one PF or all.
pub(crate) fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    let failed = |(why, status): Refusal| {
        complain(&why);
        status
    };
    let machine = match arguments.source.open() {
        Ok(machine) => machine,
        Err(why) => return failed(unanswered(why)),
    };
    let pfs = match pfs(&machine, arguments) {
        Ok(pfs) => pfs,
        Err(refusal) => return failed(refusal),
    };
    let mut status = Status::Fine;
    for pf in pfs {
        if let Err(refusal) = one(&machine, arguments, &pf, out) {
            status = failed(refusal);
        }
    }
    status
}

/// Which PFs are meant.
fn pfs(machine: &Machine, arguments: &Arguments) -> Result<Vec<PciAddress>, Refusal> {
    let mut prepared = Journals::below(&arguments.places.state).pfs().map_err(unanswered)?;
    prepared.extend(persist::pfs(&arguments.places.root));
    prepared.sort();
    prepared.dedup();
    let Some(text) = &arguments.pf else {
        if prepared.is_empty() {
            return Err((
                "no PF was prepared by kube-ovn-offload since this node booted: there is nothing to reset".to_owned(),
                Status::NoSuchThing,
            ));
        }
        return Ok(prepared);
    };
    let pf = find_pf(&machine.sysfs, text)?.address;
    if prepared.contains(&pf) {
        return Ok(vec![pf]);
    }
    Err((
        format!("PF {text} was not prepared by kube-ovn-offload since this node booted: how it was is not known"),
        Status::NoSuchThing,
    ))
}

fn one(machine: &Machine, arguments: &Arguments, pf: &PciAddress, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let places = &arguments.places;
    let journals = Journals::below(&places.state);
    let journal = journals.read(pf).map_err(wrong)?;
    let files = persist::present(&places.root, pf).map_err(unanswered)?;
    let now = look(machine, places, find_pf(&machine.sysfs, pf.as_str())?)?;
    let steps = journal
        .as_ref()
        .map(|journal| plan(&now.facts, journal))
        .unwrap_or_default();
    now.may_be_done(machine, &steps, arguments.yes_disrupt)?;
    let mut report = Report::new(&now.facts, &steps, &[], &places.root);
    report.removed.clone_from(&files);
    if arguments.dry_run {
        report.dry_run = true;
        return write(out, &report, arguments.output);
    }
    may_change(machine, &now.facts)?;
    if let Some(journal) = journal {
        let _locked = journals.lock(pf).map_err(wrong)?;
        let now = look(machine, places, find_pf(&machine.sysfs, pf.as_str())?)?;
        change(machine, places, &now, &journals, journal)?;
    }
    persist::remove(&files).map_err(unanswered)?;
    write(out, &report, arguments.output)
}

fn plan(facts: &Facts, journal: &Journal) -> Vec<super::plan::Step> {
    // the drivers that VFs were taken from count as those that they had
    let mut before = journal.before.clone();
    before.drivers.extend(journal.taken.clone());
    reset(facts, &before, &[])
}

/// Does the steps, with the PF and its VFs locked, and drops the journal.
fn change(machine: &Machine, places: &Places, now: &Now, journals: &Journals, journal: Journal) -> Result<(), Refusal> {
    let pf = now.facts.pf.address.clone();
    let _vfs = lock_vfs(&Store::at(&places.state), &now.facts).map_err(wrong)?;
    let steps = plan(&now.facts, &journal);
    checks::in_the_way(&now.facts, &steps).map_err(wrong)?;
    let mut work = Work {
        machine,
        pf: &pf,
        journals,
        journal,
    };
    work.run(&steps, &mut Progress::start())
        .map_err(|(done, why)| stopped(&steps, done, &why, &pf))?;
    let left = plan(
        &look(machine, places, find_pf(&machine.sysfs, pf.as_str())?)?.facts,
        &work.journal,
    );
    if !left.is_empty() {
        let words: Vec<&str> = left.iter().map(|step| step.what.as_str()).collect();
        return Err(wrong(format!(
            "every step was done, and yet PF {pf} is not as it was; still to do: {}",
            words.join("; ")
        )));
    }
    journals.remove(&pf).map_err(unanswered)
}
