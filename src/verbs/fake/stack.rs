//! [`Stack`] over the fake kernel.

use std::future::pending;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use tokio::sync::Notify;

use super::faults::Fault;
use super::kernel::{Kernel, UPLINK};
use crate::net::devlink::{Devlink, Handle, Port};
use crate::net::{Address, Error, Eswitch, Link, LinkChange, Stack};
use crate::types::{IfName, Mac, NetnsId, PciAddress};

/// A kernel that the plugin, the daemon and the test share.
#[derive(Clone)]
pub(in crate::verbs) struct Shared {
    pub(super) kernel: Arc<Mutex<Kernel>>,
    /// See [`Shared::fill_disk`].
    pub(super) obstacle: PathBuf,
    /// Told when the process is killed.
    pub(super) killed: Arc<Notify>,
}

impl Shared {
    pub(in crate::verbs) fn with<T>(&self, work: impl FnOnce(&mut Kernel) -> T) -> T {
        work(&mut self.kernel.lock().unwrap())
    }

    /// A directory where the state would write its new record: root meets no other obstacle.
    pub(super) fn fill_disk(&self) {
        std::fs::create_dir_all(&self.obstacle).unwrap();
    }

    pub(super) fn kill(&self) {
        if self.with(|kernel| kernel.faults.die()) {
            self.killed.notify_one();
        }
    }
}

pub(in crate::verbs) struct FakeStack {
    pub(super) shared: Shared,
    pub(super) ns: usize,
}

impl FakeStack {
    /// Makes a call. A killed process gets no answer; the test then drops it.
    async fn ask<T>(&self, what: String, work: impl FnOnce(&mut Kernel) -> Result<T, Errno>) -> Result<T, Error> {
        // other processes run between any two calls of this one
        tokio::task::yield_now().await;
        let (answer, alive) = self.ask_now(what, work);
        if !alive {
            pending::<()>().await;
        }
        answer
    }

    /// The same for calls that can't wait: a killed process gets an error, and what it does then up to its next call
    /// changes nothing.
    fn ask_now<T>(&self, what: String, work: impl FnOnce(&mut Kernel) -> Result<T, Errno>) -> (Result<T, Error>, bool) {
        let fault = self.shared.with(|kernel| kernel.faults.count(&what));
        let refused = |errno| Error::Kernel {
            what: what.clone(),
            errno,
            hint: None,
        };
        if matches!(fault, Some(Fault::Refuse | Fault::Kill)) {
            if fault == Some(Fault::Kill) {
                self.shared.kill();
            }
            return (Err(refused(Errno::EBUSY)), fault == Some(Fault::Refuse));
        }
        let answer = self.shared.with(work).map_err(refused);
        match fault {
            Some(Fault::Lose) => (Err(Error::Late { what, seconds: 30 }), true),
            Some(Fault::FullDisk) => {
                self.shared.fill_disk();
                (answer, true)
            }
            Some(Fault::KillAfter) => {
                self.shared.kill();
                (answer, false)
            }
            _ => (answer, true),
        }
    }
}

/// `None` for a link that isn't there.
fn maybe<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENODEV) => Ok(None),
        Err(other) => Err(other),
    }
}

impl Stack for FakeStack {
    fn id(&self) -> NetnsId {
        NetnsId {
            device: 4,
            inode: 4_026_531_840 + u64::try_from(self.ns).unwrap(),
        }
    }

    fn open(&self, path: &Path) -> Result<Self, Error> {
        let find = |kernel: &mut Kernel| {
            Ok((kernel.namespaces.iter()).position(|namespace| namespace.path.as_deref() == Some(path)))
        };
        match self.ask_now(format!("open {}", path.display()), find).0? {
            Some(ns) => Ok(Self {
                shared: self.shared.clone(),
                ns,
            }),
            None => Err(Error::NoNetns { path: path.to_owned() }),
        }
    }

    async fn link(&self, index: u32) -> Result<Option<Link>, Error> {
        self.ask(format!("ns{} link {index}", self.ns), |kernel| {
            let link = maybe(kernel.find(self.ns, index).map(|netdev| netdev.link.clone()))?;
            Ok(link.map(|link| kernel.told(&link)))
        })
        .await
    }

    async fn link_named(&self, name: &IfName) -> Result<Option<Link>, Error> {
        self.ask(format!("ns{} link {name}", self.ns), |kernel| {
            let link = maybe(
                kernel
                    .find_named(self.ns, name.as_str())
                    .map(|netdev| netdev.link.clone()),
            )?;
            Ok(link.map(|link| kernel.told(&link)))
        })
        .await
    }

    async fn links(&self) -> Result<Vec<Link>, Error> {
        self.ask(format!("ns{} links", self.ns), |kernel| {
            let links = kernel.links.iter().filter(|netdev| netdev.ns == self.ns);
            Ok(links.map(|netdev| kernel.told(&netdev.link)).collect())
        })
        .await
    }

    async fn change(&self, index: u32, change: &LinkChange) -> Result<(), Error> {
        self.ask(format!("ns{} change {index}: {change:?}", self.ns), |kernel| {
            kernel.change(self.ns, index, change)
        })
        .await
    }

    async fn drop_alt_name(&self, index: u32, name: &str) -> Result<(), Error> {
        self.ask(format!("ns{} drop {name} of {index}", self.ns), |kernel| {
            kernel.drop_alt_name(self.ns, index, name)
        })
        .await
    }

    async fn add_alt_name(&self, index: u32, name: &str) -> Result<(), Error> {
        self.ask(format!("ns{} name {index} {name} as well", self.ns), |kernel| {
            kernel.add_alt_name(self.ns, index, name)
        })
        .await
    }

    async fn delete(&self, index: u32) -> Result<(), Error> {
        self.ask(format!("ns{} delete {index}", self.ns), |kernel| {
            kernel.delete(self.ns, index)
        })
        .await
    }

    async fn move_to(&self, index: u32, target: &Self, name: &IfName) -> Result<(), Error> {
        let what = format!("ns{} move {index} to ns{} as {name}", self.ns, target.ns);
        self.ask(what, |kernel| kernel.move_to(self.ns, index, target.ns, name))
            .await
    }

    async fn vf_mac(&self, pf: u32, vf: u32) -> Result<Option<Mac>, Error> {
        self.ask(format!("ns{} MAC of VF {vf}", self.ns), |kernel| {
            kernel.find(self.ns, pf)?;
            Ok(kernel.admin.get(&vf).filter(|_| pf == UPLINK).copied())
        })
        .await
    }

    async fn set_vf_mac(&self, pf: u32, vf: u32, mac: Mac) -> Result<(), Error> {
        self.ask(format!("ns{} set MAC of VF {vf}", self.ns), |kernel| {
            kernel.find(self.ns, pf)?;
            match kernel.admin.get_mut(&vf) {
                Some(admin) if pf == UPLINK => *admin = mac,
                _ => return Err(Errno::EINVAL),
            }
            Ok(())
        })
        .await
    }

    async fn addresses(&self, index: u32) -> Result<Vec<Address>, Error> {
        self.ask(format!("ns{} addresses of {index}", self.ns), |kernel| {
            let addresses = &mut kernel.find(self.ns, index)?.addresses;
            let shown = addresses.clone();
            // duplicate address detection takes until somebody has looked once
            for address in addresses {
                address.tentative = false;
            }
            Ok(shown)
        })
        .await
    }

    async fn add_address(&self, index: u32, ip: IpNetwork) -> Result<(), Error> {
        self.ask(format!("ns{} add {ip} to {index}", self.ns), |kernel| {
            kernel.find(self.ns, index)?.addresses.push(Address {
                ip,
                tentative: ip.is_ipv6(),
                duplicate: false,
                permanent: true,
            });
            Ok(())
        })
        .await
    }

    async fn routes(&self, index: u32) -> Result<Vec<(Option<IpNetwork>, Option<IpAddr>)>, Error> {
        self.ask(format!("ns{} routes of {index}", self.ns), |kernel| {
            Ok(kernel.find(self.ns, index)?.routes.clone())
        })
        .await
    }

    async fn add_route(&self, index: u32, destination: IpNetwork, gateway: Option<IpAddr>) -> Result<(), Error> {
        self.ask(format!("ns{} add route {destination}", self.ns), |kernel| {
            let netdev = kernel.find(self.ns, index)?;
            if !netdev.link.up {
                return Err(Errno::ENETDOWN);
            }
            netdev
                .routes
                .push((Some(destination).filter(|to| to.prefix() > 0), gateway));
            Ok(())
        })
        .await
    }

    fn with_sysfs<T: Send>(&self, look: impl FnOnce(&Path) -> T + Send) -> Result<T, Error> {
        let tree = self.ask_now(format!("ns{} sysfs", self.ns), |kernel| Ok(kernel.tree_of(self.ns)));
        Ok(look(&tree.0?.path("/sys")))
    }

    fn has_interface(&self, name: &IfName) -> Result<bool, Error> {
        self.ask_now(format!("ns{} interface {name}", self.ns), |kernel| {
            Ok(kernel.find_named(self.ns, name.as_str()).is_ok())
        })
        .0
    }

    fn set_sysctls(&self, settings: &[(&str, &str)]) -> Result<(), Error> {
        self.ask_now(format!("ns{} sysctls", self.ns), |kernel| {
            let settings = settings
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            kernel.namespaces[self.ns].sysctls.extend(settings);
            Ok(())
        })
        .0
    }

    fn sees_namespaces_at(&self, path: &Path) -> Result<bool, Error> {
        self.ask_now(format!("mounts at {}", path.display()), |kernel| Ok(kernel.host_mounts))
            .0
    }

    fn announce(&self, name: &IfName, _: Mac, _: &[IpAddr]) -> Result<(), Error> {
        self.ask_now(format!("ns{} announce {name}", self.ns), |kernel| {
            kernel.find_named(self.ns, name.as_str()).map(|_| ())
        })
        .0
    }
}

impl Devlink for FakeStack {
    fn eswitch(&self, pf: &PciAddress) -> Result<Eswitch, Error> {
        self.ask_now(format!("eswitch of {pf}"), |kernel| Ok(kernel.eswitch(pf.as_str())))
            .0
    }

    fn port(&self, of: &Handle, index: u32) -> Result<Option<Port>, Error> {
        self.ask_now(format!("port {of}/{index}"), |kernel| {
            let mut ports = kernel.devlink_ports().into_iter();
            Ok(ports.find(|port| port.handle == *of && port.index == index))
        })
        .0
    }

    fn ports(&self, of: &Handle) -> Result<Vec<Port>, Error> {
        self.ask_now(format!("ports of {of}"), |kernel| Ok(kernel.devlink_ports()))
            .0
    }
}
