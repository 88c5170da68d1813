//! The machine that is looked at: this one, or another's sysfs and what its devlink answered, as in tests/fixtures/sysfs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};

use clap::Args;
use kube_ovn::device::Sysfs;
use kube_ovn::net::devlink::{Handle, Port, Recorded, Session};
use kube_ovn::net::{self, Devlink, Eswitch};
use kube_ovn::types::PciAddress;

/// Which machine.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Another machine's sysfs, in this directory.
    #[arg(long, hide = true, value_name = "DIR")]
    sysfs: Option<PathBuf>,
    /// That machine's devlink: lines as in tests/fixtures/sysfs/README.md.
    #[arg(long, hide = true, value_name = "FILE", requires = "sysfs")]
    devlink: Option<PathBuf>,
}

/// A machine's sysfs and devlink.
pub(crate) struct Machine {
    pub(crate) sysfs: Sysfs,
    pub(crate) devlink: Answers,
    /// It is this one: netlink and ethtool can be asked, too, and things can be changed.
    pub(crate) is_this: bool,
}

/// devlink, by whoever answers.
pub(crate) enum Answers {
    Kernel(Session),
    Recorded(Recorded),
}

impl Devlink for Answers {
    fn eswitch(&self, pf: &PciAddress) -> Result<Eswitch, net::Error> {
        match self {
            Self::Kernel(session) => session.eswitch(pf),
            Self::Recorded(recorded) => recorded.eswitch(pf),
        }
    }

    fn port(&self, of: &Handle, index: u32) -> Result<Option<Port>, net::Error> {
        match self {
            Self::Kernel(session) => session.port(of, index),
            Self::Recorded(recorded) => recorded.port(of, index),
        }
    }

    fn ports(&self, of: &Handle) -> Result<Vec<Port>, net::Error> {
        match self {
            Self::Kernel(session) => session.ports(of),
            Self::Recorded(recorded) => recorded.ports(of),
        }
    }
}

impl Source {
    pub(crate) fn is_this_machine(&self) -> bool {
        self.sysfs.is_none()
    }

    /// Opens what there is to be asked.
    pub(crate) fn open(&self) -> Result<Machine, String> {
        let recorded = || match &self.devlink {
            Some(file) => read_recorded(file),
            None => Ok(Recorded::default()),
        };
        Ok(match &self.sysfs {
            Some(root) => Machine {
                sysfs: Sysfs::new(root),
                devlink: Answers::Recorded(recorded()?),
                is_this: false,
            },
            None => Machine {
                sysfs: Sysfs::of_this_machine(),
                devlink: Answers::Kernel(Session::open().map_err(|error| error.to_string())?),
                is_this: true,
            },
        })
    }
}

/// The `devlink` lines of a file.
fn read_recorded(file: &Path) -> Result<Recorded, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let mut recorded = Recorded::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("devlink ")) {
        recorded
            .add(line)
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(recorded)
}

/// devlink's answers of one moment: a PF with 127 VFs is asked once, and not 127 times.
pub(crate) struct Once<'a> {
    devlink: &'a Answers,
    eswitches: RefCell<HashMap<PciAddress, Eswitch>>,
    ports: RefCell<HashMap<Handle, Vec<Port>>>,
}

impl<'a> Once<'a> {
    pub(crate) fn new(devlink: &'a Answers) -> Self {
        Self {
            devlink,
            eswitches: RefCell::default(),
            ports: RefCell::default(),
        }
    }
}

impl Devlink for Once<'_> {
    fn eswitch(&self, pf: &PciAddress) -> Result<Eswitch, net::Error> {
        if let Some(known) = self.eswitches.borrow().get(pf) {
            return Ok(*known);
        }
        let eswitch = self.devlink.eswitch(pf)?;
        self.eswitches.borrow_mut().insert(pf.clone(), eswitch);
        Ok(eswitch)
    }

    fn port(&self, of: &Handle, index: u32) -> Result<Option<Port>, net::Error> {
        let it = |port: &Port| port.handle == *of && port.index == index;
        Ok(self.ports(of)?.into_iter().find(it))
    }

    fn ports(&self, of: &Handle) -> Result<Vec<Port>, net::Error> {
        if let Some(known) = self.ports.borrow().get(of) {
            return Ok(known.clone());
        }
        let ports = self.devlink.ports(of)?;
        // one that is being made is asked for again
        if ports.iter().all(|port| port.netdev.is_some()) {
            self.ports.borrow_mut().insert(of.clone(), ports.clone());
        }
        Ok(ports)
    }
}

/// Runs what waits for the kernel or for Open vSwitch.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot wait for anything: {error}"))?;
    Ok(runtime.block_on(future))
}
