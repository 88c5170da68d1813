//! `node prepare`: the guide's manual section as one command.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use kube_ovn::device::{Kind, Netdev, Pf};
use kube_ovn::state::{self, Store};
use kube_ovn::types::PciAddress;

use super::execute::{Work, lock_vfs};
use super::facts::{Facts, Links, Vf, gather};
use super::holders::{Holders, Sources, in_machine};
use super::journal::{Journal, Journals};
use super::plan::{Before, Step, prepare};
use super::render::{Report, render};
use super::{checks, find_pf, persist, traffic};
use crate::Status;
use crate::machine::{Machine, Source};
use crate::output::{Output, Progress, complain};

/// Gives a PF its VFs, puts its eswitch into switchdev mode, and lets uplink and representors take flows from tc.
///
/// Does what the guide has done by hand, and only what is missing of it: run again, it finds nothing to do. Everything is looked at
/// first: as long as a VF is in use, the PF is in a bond, or the node's default route, the tunnel to other nodes or kubelet goes by
/// it, nothing is changed. How the PF was is written down before the first change, and `node reset` brings that back.
///
/// Exit status: 0 done, or nothing to do; 1 refused, or stopped half-way (the message says where, and how to go back); 3 no such
/// PF; 4 the kernel could not be asked, or rights are missing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kube-ovn-offload node prepare --pf enp132s0f0np0 --vfs 4 --dry-run
      shows the steps as shell lines
  kube-ovn-offload node prepare --pf 0000:84:00.0 --vfs 4 --persist
      now, and at each boot")]
pub(crate) struct Arguments {
    /// The PF, by the name of its netdev or its PCI address.
    #[arg(long, value_name = "NAME|PCI")]
    pf: String,
    /// How many VFs it is to have. A change of their number removes those that there are, so none may be in use.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65535))]
    vfs: u32,
    /// Changes nothing, and prints each step as a shell line of the guide, with the line that takes it back.
    #[arg(long)]
    dry_run: bool,
    /// Goes on although the default route, the tunnel or kubelet's address is on the PF: they are interrupted, and whoever is logged
    /// in by them is cut off.
    #[arg(long)]
    yes_disrupt: bool,
    /// Does it again at each boot, before the network is configured (a systemd unit), and has udev, NetworkManager and
    /// systemd-networkd leave VFs and representors alone. `node reset` removes these files.
    #[arg(long)]
    persist: bool,
    /// Waits so many seconds for the PF to appear with its driver: at boot.
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    wait: u64,
    /// How to show the answer.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    pub(super) source: Source,
    #[command(flatten)]
    places: Places,
}

/// Where this program keeps and writes what.
#[derive(Debug, Args)]
pub(crate) struct Places {
    /// Another directory of records.
    #[arg(long, hide = true, value_name = "DIR", default_value = state::DIRECTORY)]
    pub(super) state: PathBuf,
    /// Another directory for what --persist writes.
    #[arg(long, hide = true, value_name = "DIR", default_value = "/")]
    pub(super) root: PathBuf,
}

/// Why it ended before it was done.
pub(super) type Refusal = (String, Status);

pub(super) fn wrong(why: String) -> Refusal {
    (why, Status::Wrong)
}

pub(super) fn unanswered(why: String) -> Refusal {
    (why, Status::NoAnswer)
}

/// Prepares the PF, or says why not.
pub(crate) fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    match try_to(arguments, out) {
        Ok(()) => Status::Fine,
        Err((why, status)) => {
            complain(&why);
            status
        }
    }
}

fn try_to(arguments: &Arguments, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let machine = arguments.source.open().map_err(unanswered)?;
    let pf = appeared(&machine, arguments)?;
    let now = look(&machine, &arguments.places, pf)?;
    let coming = coming(&machine, &now.facts, arguments.vfs)?;
    let steps = prepare(&now.facts, arguments.vfs, &coming);
    checks::unfit(&now.facts, arguments.vfs).map_err(wrong)?;
    now.may_be_done(&machine, &steps, arguments.yes_disrupt)?;
    let files = if arguments.persist {
        files(&machine, arguments, &now.facts, &coming)?
    } else {
        Vec::new()
    };
    persist::may_write(&arguments.places.root, &files).map_err(wrong)?;
    let mut report = Report::new(&now.facts, &steps, &files, &arguments.places.root);
    if arguments.dry_run {
        report.dry_run = true;
        return write(out, &report, arguments.output);
    }
    if !steps.is_empty() {
        may_change(&machine, &now.facts)?;
        let mut progress = Progress::start();
        change(&machine, arguments, &now.facts.pf.address, &mut progress)?;
    }
    report.written = persist::write(&arguments.places.root, &files).map_err(unanswered)?;
    write(out, &report, arguments.output)
}

pub(super) fn write(out: &mut Vec<u8>, report: &Report<'_>, output: Output) -> Result<(), Refusal> {
    out.write_all(render(report, output).as_bytes())
        .map_err(|error| unanswered(error.to_string()))
}

/// Whether udev has dealt with a netdev, or isn't there. It names links, and a kernel before 6.2 renames none that is up (bd039b5ea2a9);
/// its file about a link is there once it is done (`sd_device_get_is_initialized`, systemd).
fn has_its_name(root: &Path, ifindex: u32) -> bool {
    let udev = root.join("run/udev");
    !udev.join("control").exists() || udev.join(format!("data/n{ifindex}")).exists()
}

/// The PF, once it is there with a driver and named by udev; after the time for that, whatever there is.
fn appeared(machine: &Machine, arguments: &Arguments) -> Result<Pf, Refusal> {
    let until = Instant::now() + Duration::from_secs(arguments.wait);
    loop {
        let found = find_pf(&machine.sysfs, &arguments.pf);
        let is_ready = |pf: &Pf| {
            pf.driver.is_some()
                && machine.sysfs.netdevs(&pf.address).is_ok_and(|netdevs| {
                    let named = |netdev: &Netdev| has_its_name(&arguments.places.root, netdev.ifindex);
                    !netdevs.is_empty() && netdevs.iter().all(named)
                })
        };
        if Instant::now() >= until || found.as_ref().is_ok_and(is_ready) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Where the VFs will be: those that are there, when their number stays.
fn coming(machine: &Machine, facts: &Facts, count: u32) -> Result<Vec<PciAddress>, Refusal> {
    let addresses = (0..count).map(|index| machine.sysfs.vf_address(&facts.pf.address, index));
    let found: Result<Vec<_>, _> = addresses.collect();
    let computed: Vec<PciAddress> = found
        .map_err(|error| unanswered(error.to_string()))?
        .into_iter()
        .flatten()
        .collect();
    if computed.is_empty() && facts.pf.vf_count == count {
        return Ok(facts.pf.vfs.iter().map(|(_, vf)| vf.clone()).collect());
    }
    Ok(computed)
}

/// A PF and its users, at one moment.
pub(super) struct Now {
    pub(super) facts: Facts,
    pub(super) links: Links,
}

pub(super) fn look(machine: &Machine, places: &Places, pf: Pf) -> Result<Now, Refusal> {
    let holders = if machine.is_this {
        Holders::of(&Sources::of_this_node(&places.state)).map_err(|why| {
            unanswered(format!(
                "whether VFs are in use can't be told, and nothing is changed: {why}"
            ))
        })?
    } else {
        Holders::recorded(&places.state)
    };
    let links = Links::of(machine).map_err(unanswered)?;
    let mut facts = gather(machine, &links, &holders, pf).map_err(unanswered)?;
    let given_away = |vf: &&mut Vf| vf.holder.is_none() && vf.kind == Kind::Userspace && machine.is_this;
    for vf in facts.vfs.iter_mut().filter(given_away) {
        let group = machine.sysfs.iommu_group(&vf.address);
        vf.holder = in_machine(group.map_err(|error| unanswered(error.to_string()))?);
    }
    Ok(Now { facts, links })
}

impl Now {
    /// Whether somebody uses what the steps would take away.
    pub(super) fn may_be_done(&self, machine: &Machine, steps: &[Step], yes_disrupt: bool) -> Result<(), Refusal> {
        checks::in_the_way(&self.facts, steps).map_err(wrong)?;
        if yes_disrupt || !machine.is_this || !steps.iter().any(|step| step.action.interrupts()) {
            return Ok(());
        }
        let (carriers, needed, unasked) = traffic::look(&self.facts, &self.links).map_err(unanswered)?;
        checks::may_interrupt(&self.facts, steps, &traffic::reasons(&carriers, &needed)).map_err(wrong)?;
        for note in unasked {
            complain(&note);
        }
        Ok(())
    }
}

/// Whether this process may change the NIC at all.
pub(super) fn may_change(machine: &Machine, facts: &Facts) -> Result<(), Refusal> {
    if !machine.is_this {
        return Err(wrong(
            "another machine's sysfs can only be looked at: add --dry-run".to_owned(),
        ));
    }
    machine.sysfs.may_set_vf_count(&facts.pf.address).map_err(|error| {
        unanswered(format!(
            "{error}: is this a container? It needs the host's /sys, mounted writable"
        ))
    })
}

/// Does the steps, with the PF and its VFs locked, and looked at once more now that nobody can take one.
fn change(machine: &Machine, arguments: &Arguments, pf: &PciAddress, progress: &mut Progress) -> Result<(), Refusal> {
    let places = &arguments.places;
    let journals = Journals::below(&places.state);
    let _locked = journals.lock(pf).map_err(wrong)?;
    let again = || -> Result<Now, Refusal> {
        let pf = find_pf(&machine.sysfs, pf.as_str())?;
        look(machine, places, pf)
    };
    let mut now = again()?;
    let _vfs = lock_vfs(&Store::at(&places.state), &now.facts).map_err(wrong)?;
    let before = Before::now(&now.facts);
    let journal = match journals.read(pf).map_err(unanswered)? {
        Some(journal) => journal,
        None => Journal::new(pf.clone(), before),
    };
    let mut work = Work {
        machine,
        pf,
        journals: &journals,
        journal,
    };
    // a step may undo what an earlier one did (a driver that makes the uplink anew): what is missing then is done once more
    for _ in 0..2 {
        let coming = coming(machine, &now.facts, arguments.vfs)?;
        let steps = prepare(&now.facts, arguments.vfs, &coming);
        if steps.is_empty() {
            return Ok(());
        }
        checks::in_the_way(&now.facts, &steps).map_err(wrong)?;
        work.run(&steps, progress)
            .map_err(|(done, why)| stopped(&steps, done, &why, pf))?;
        now = again()?;
    }
    let left = prepare(&now.facts, arguments.vfs, &[]);
    let words: Vec<&str> = left.iter().map(|step| step.what.as_str()).collect();
    if words.is_empty() {
        return Ok(());
    }
    Err(wrong(format!(
        "every step was done, and yet PF {} is not as it should be; still to do: {}",
        now.facts.name(),
        words.join("; ")
    )))
}

/// Where it stopped, and the ways on and back.
pub(super) fn stopped(steps: &[Step], done: usize, why: &str, pf: &PciAddress) -> Refusal {
    let what = steps.get(done).map_or("", |step| step.what.as_str());
    let so_far = match done {
        0 => "nothing was changed before it".to_owned(),
        1 => "step 1 is done".to_owned(),
        done => format!("steps 1 to {done} are done"),
    };
    let by_hand: Vec<&str> = steps
        .iter()
        .take(done)
        .rev()
        .flat_map(|step| step.back.iter().map(String::as_str))
        .collect();
    let by_hand = match by_hand.as_slice() {
        [] => String::new(),
        lines => format!(" (by hand: {})", lines.join("; ")),
    };
    wrong(format!(
        "stopped at step {} of {} ({what}): {why}; {so_far}. Once that is mended, the same command goes on from here; to go back: \
         kube-ovn-offload node reset --pf {pf}{by_hand}",
        done + 1,
        steps.len()
    ))
}

/// The files of `--persist`.
fn files(
    machine: &Machine,
    arguments: &Arguments,
    facts: &Facts,
    vfs: &[PciAddress],
) -> Result<Vec<persist::Drop>, Refusal> {
    let program = std::env::current_exe()
        .map_err(|error| unanswered(format!("the path of this program is not known: {error}")))?;
    let switch_id = facts
        .uplink
        .as_ref()
        .ok()
        .and_then(|uplink| machine.sysfs.switch_id(&uplink.netdev.name).ok().flatten());
    persist::drops(&persist::Prepared {
        pf: &facts.pf.address,
        count: arguments.vfs,
        vfs,
        switch_id: switch_id.as_deref(),
        program: Path::new(&program),
    })
    .map_err(wrong)
}
