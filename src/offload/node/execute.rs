//! Doing the steps of a plan: each is looked at anew before it is done, and seen to be so afterwards.

use std::time::{Duration, Instant};

use kube_ovn::device::Pf;
use kube_ovn::net::{LinkChange, Netlink, Stack, set_tc_offload, tc_offload};
use kube_ovn::resolve::uplink;
use kube_ovn::state::{self, Lock, Store};
use kube_ovn::types::{Netdev, PciAddress};

use super::facts::{Facts, Links, gather};
use super::holders::Holders;
use super::journal::{Journal, Journals};
use super::plan::{Action, Step};
use crate::machine::{Answers, Machine, Once, block_on};
use crate::output::Progress;

/// A representor gets its netdev, and a VF its driver, a moment after the step that makes them.
const SETTLES: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// Where the steps are done.
pub(super) struct Work<'a> {
    pub(super) machine: &'a Machine,
    pub(super) pf: &'a PciAddress,
    pub(super) journals: &'a Journals,
    pub(super) journal: Journal,
}

/// Locks each VF, as the plugin does for ADD and DEL: no pod gets one meanwhile.
pub(super) fn lock_vfs(store: &Store, facts: &Facts) -> Result<Vec<Lock>, String> {
    let all = async {
        let mut locks = Vec::with_capacity(facts.vfs.len());
        for vf in &facts.vfs {
            match store.try_lock(&vf.address).await? {
                Some(lock) => locks.push(lock),
                None => {
                    return Ok(Err(format!(
                        "a pod is being given VF {}, or gives it back: try again",
                        vf.address
                    )));
                }
            }
        }
        Ok(Ok(locks))
    };
    block_on(all)?.map_err(|error: state::Error| error.to_string())?
}

impl Work<'_> {
    /// Does the steps. On a failure: the number of steps that were done, and why the next one was not.
    pub(super) fn run(&mut self, steps: &[Step], progress: &mut Progress) -> Result<(), (usize, String)> {
        for (done, step) in steps.iter().enumerate() {
            progress.step(done + 1, steps.len(), &step.what);
            self.journal.reached.clone_from(&step.what);
            let result = self
                .journals
                .write(&self.journal)
                .and_then(|()| self.step(&step.action));
            result.map_err(|why| (done, why))?;
        }
        Ok(())
    }

    fn step(&mut self, action: &Action) -> Result<(), String> {
        let sysfs = &self.machine.sysfs;
        match action {
            Action::RemoveVfs => sysfs.set_vf_count(self.pf, 0).map_err(|error| error.to_string()),
            Action::CreateVfs(count) => sysfs.set_vf_count(self.pf, *count).map_err(|error| {
                let hint = match error.source.raw_os_error().map(nix::errno::Errno::from_raw) {
                    Some(nix::errno::Errno::ENOMEM) => " (the BIOS gave the NIC too little address space: switch SR-IOV, and Above 4G Decoding, on there)",
                    _ => "",
                };
                format!("{error}{hint}")
            }),
            Action::Unbind => self.unbind(),
            Action::SetMode(mode) => match &self.machine.devlink {
                Answers::Kernel(session) => session.set_eswitch_mode(self.pf, *mode).map_err(|error| error.to_string()),
                Answers::Recorded(_) => Err("a recorded machine can't be changed".to_owned()),
            },
            Action::UplinkTc(on) => {
                let uplink = self.uplink()?;
                set_tc(&uplink, *on)
            }
            Action::RepresentorTc(which, on) => self.representors(which.as_deref(), *on),
            Action::Bind => self.bind(),
            Action::Uplink(up) => {
                let uplink = self.uplink()?;
                let change = LinkChange {
                    up: Some(*up),
                    ..LinkChange::NONE
                };
                block_on(async { Netlink::own()?.change(uplink.ifindex, &change).await })?.map_err(|error| error.to_string())
            }
        }
    }

    fn pf(&self) -> Result<Pf, String> {
        let pf = self.machine.sysfs.pf(self.pf).map_err(|error| error.to_string())?;
        pf.ok_or_else(|| format!("PF {} has lost its SR-IOV", self.pf))
    }

    /// The uplink as it is now: some drivers make it anew when the eswitch's mode changes.
    fn uplink(&self) -> Result<Netdev, String> {
        let found = uplink(&self.machine.sysfs, &Once::new(&self.machine.devlink), self.pf);
        found.map(|uplink| uplink.netdev).map_err(|error| error.to_string())
    }

    fn unbind(&mut self) -> Result<(), String> {
        let sysfs = &self.machine.sysfs;
        let vfs = self.pf()?.vfs;
        for (_, vf) in &vfs {
            if let Some(driver) = sysfs.driver(vf).map_err(|error| error.to_string())? {
                self.journal.taken.insert(vf.clone(), driver);
            }
        }
        self.journals.write(&self.journal)?;
        for (_, vf) in &vfs {
            sysfs.unbind(vf).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn bind(&self) -> Result<(), String> {
        let sysfs = &self.machine.sysfs;
        let drivers = |vf: &PciAddress| {
            self.journal
                .taken
                .get(vf)
                .or_else(|| self.journal.before.drivers.get(vf))
        };
        let driver = |vf: &PciAddress| sysfs.driver(vf).map_err(|error| error.to_string());
        let vfs = self.pf()?.vfs;
        for (_, vf) in &vfs {
            if driver(vf)?.is_some() {
                continue;
            }
            let result = match drivers(vf) {
                Some(driver) => sysfs.bind(vf, driver),
                None => sysfs.probe(vf),
            };
            result.map_err(|error| error.to_string())?;
        }
        let until = Instant::now() + SETTLES;
        for (_, vf) in &vfs {
            while driver(vf)?.is_none() {
                if Instant::now() > until {
                    return Err(format!("no driver took VF {vf}: is the module of its driver loaded?"));
                }
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }

    fn representors(&self, which: Option<&[u32]>, on: bool) -> Result<(), String> {
        let until = Instant::now() + SETTLES;
        loop {
            let facts = gather(self.machine, &Links::of(self.machine)?, &Holders::nobody(), self.pf()?)?;
            let wanted = facts
                .vfs
                .iter()
                .filter(|vf| which.is_none_or(|which| which.contains(&vf.index)));
            let mut missing = None;
            for vf in wanted {
                match &vf.representor {
                    Some(Ok(port)) if port.tc == Some(on) => {}
                    Some(Ok(port)) => set_tc(&port.netdev, on)?,
                    Some(Err(why)) => missing = Some(why.clone()),
                    None => missing = Some(format!("VF {} has no representor", vf.address)),
                }
            }
            match missing {
                None => return Ok(()),
                Some(why) if Instant::now() > until => return Err(why),
                Some(_) => std::thread::sleep(POLL),
            }
        }
    }
}

/// Sets hw-tc-offload, and sees that the driver has taken it.
fn set_tc(netdev: &Netdev, on: bool) -> Result<(), String> {
    let index = netdev.ifindex;
    set_tc_offload(index, on).map_err(|error| format!("{}: {error}", netdev.name))?;
    match tc_offload(index).map_err(|error| format!("{}: {error}", netdev.name))? {
        Some(now) if now == on => Ok(()),
        _ => Err(format!(
            "the driver of {} does not let hw-tc-offload be switched {}",
            netdev.name,
            if on { "on" } else { "off" }
        )),
    }
}
