//! What the kernel's network core does to links: names, moves between namespaces, and what their end does.

use nix::errno::Errno;

use super::{HOST, Kernel, Netdev, name};
use crate::net::{Link, LinkChange};
use crate::types::IfName;

impl Kernel {
    pub(in crate::verbs::fake) fn find(&mut self, ns: usize, index: u32) -> Result<&mut Netdev, Errno> {
        (self.links.iter_mut())
            .find(|netdev| netdev.ns == ns && netdev.link.index == index)
            .ok_or(Errno::ENODEV)
    }

    /// `__dev_get_by_name` (net/core/dev.c) finds alternative names as well.
    pub(in crate::verbs::fake) fn find_named(&mut self, ns: usize, name: &str) -> Result<&mut Netdev, Errno> {
        (self.links.iter_mut())
            .find(|netdev| {
                netdev.ns == ns
                    && (netdev.link.name.as_str() == name || netdev.link.alt_names.iter().any(|n| n == name))
            })
            .ok_or(Errno::ENODEV)
    }

    /// The link as netlink shows it.
    pub(in crate::verbs::fake) fn told(&self, link: &Link) -> Link {
        Link {
            parent: link.parent.clone().filter(|_| self.tells_parent),
            ..link.clone()
        }
    }

    /// `do_setlink` (net/core/rtnetlink.c): what stands before the part that fails stays done.
    pub(in crate::verbs::fake) fn change(&mut self, ns: usize, index: u32, change: &LinkChange) -> Result<(), Errno> {
        let netdev = self.find(ns, index)?;
        if let Some(mac) = change.mac {
            netdev.link.mac = Some(mac);
        }
        match change.mtu {
            // dev_validate_mtu; 9216 is what mlx5 says
            Some(mtu) if !(68..=9216).contains(&mtu) => return Err(Errno::EINVAL),
            Some(mtu) => netdev.link.mtu = mtu,
            None => {}
        }
        if let Some(name) = &change.name {
            self.rename(ns, index, name)?;
        }
        let netdev = self.find(ns, index)?;
        if let Some(alias) = &change.alias {
            netdev.link.alias.clone_from(alias);
        }
        if let Some(length) = change.txqlen {
            netdev.link.txqlen = length;
        }
        if let Some(mode) = change.without_xdp {
            netdev.link.xdp &= !mode;
        }
        if let Some(flags) = change.flags {
            netdev.link.flags = flags;
        }
        if let Some(up) = change.up {
            netdev.link.up = up;
            netdev.link.carrier = up;
            if !up {
                netdev.routes.clear(); // fib_netdev_event
            }
        }
        Ok(())
    }

    /// `dev_change_name` (net/core/dev.c).
    fn rename(&mut self, ns: usize, index: u32, name: &IfName) -> Result<(), Errno> {
        let live_rename = self.live_rename;
        let netdev = self.find(ns, index)?;
        if netdev.link.up && !live_rename {
            return Err(Errno::EBUSY);
        }
        if netdev.link.name == *name {
            return Ok(());
        }
        if self.find_named(ns, name.as_str()).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.find(ns, index)?.link.name = name.clone();
        self.udev(index);
        self.show();
        Ok(())
    }

    /// What udev does to a link of the host that has not the name it gave.
    fn udev(&mut self, index: u32) {
        if let Ok(netdev) = self.find(HOST, index) {
            let persistent = netdev.persistent.clone();
            if self.udev && self.find_named(HOST, persistent.as_str()).is_err() {
                let link = &mut self.find(HOST, index).unwrap_or_else(|e| panic!("{e}")).link;
                link.alt_names.push(persistent.to_string());
            }
        }
    }

    /// Somebody else renames a link.
    pub(in crate::verbs) fn rename_in(&mut self, ns: usize, index: u32, text: &str) {
        self.find(ns, index).unwrap_or_else(|e| panic!("{e}")).link.name = name(text);
        self.show();
    }

    /// Somebody makes a link in a pod.
    pub(in crate::verbs) fn plug_in(&mut self, ns: usize, index: u32, text: &str) {
        self.plug(index, text, None, None);
        self.links.iter_mut().rev().take(1).for_each(|netdev| netdev.ns = ns);
    }

    pub(in crate::verbs::fake) fn drop_alt_name(&mut self, ns: usize, index: u32, name: &str) -> Result<(), Errno> {
        let alt_names = &mut self.find(ns, index)?.link.alt_names;
        let at = alt_names.iter().position(|alt| alt == name).ok_or(Errno::ENOENT)?;
        alt_names.remove(at);
        Ok(())
    }

    pub(in crate::verbs::fake) fn add_alt_name(&mut self, ns: usize, index: u32, name: &str) -> Result<(), Errno> {
        if self.find_named(ns, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.find(ns, index)?.link.alt_names.push(name.to_owned());
        Ok(())
    }

    /// `rtnl_delete_link`: only what software made.
    pub(in crate::verbs::fake) fn delete(&mut self, ns: usize, index: u32) -> Result<(), Errno> {
        if !self.find(ns, index)?.link.software {
            return Err(Errno::EOPNOTSUPP);
        }
        self.unplug(|netdev| netdev.ns == ns && netdev.link.index == index);
        Ok(())
    }

    /// `__dev_change_net_namespace` (net/core/dev.c), then the rest of `do_setlink`: the new name is used for the move
    /// only if the old one is taken in the target, and else set when the link is there.
    pub(in crate::verbs::fake) fn move_to(
        &mut self,
        ns: usize,
        index: u32,
        target: usize,
        wanted: &IfName,
    ) -> Result<(), Errno> {
        let link = self.find(ns, index)?.link.clone();
        if ns == target {
            return self.rename(ns, index, wanted);
        }
        let mut arrives_as = link.name.clone();
        if self.find_named(target, link.name.as_str()).is_ok() {
            if self.find_named(target, wanted.as_str()).is_ok() {
                return Err(Errno::EEXIST);
            }
            arrives_as = wanted.clone();
        }
        if link.alt_names.iter().any(|alt| self.find_named(target, alt).is_ok()) {
            return Err(Errno::EEXIST);
        }
        let index = self.enter(ns, index, target, arrives_as);
        self.rename(target, index, wanted)
    }

    /// The move itself: the link is closed, its addresses go with `NETDEV_UNREGISTER`, and its index stays unless taken.
    fn enter(&mut self, ns: usize, index: u32, target: usize, arrives_as: IfName) -> u32 {
        let mut new = index;
        while self.find(target, new).is_ok() {
            new += 1;
        }
        let netdev = self.find(ns, index).unwrap_or_else(|e| panic!("{e}"));
        netdev.ns = target;
        netdev.link.index = new;
        netdev.link.name = arrives_as;
        netdev.link.up = false;
        netdev.link.carrier = false;
        netdev.addresses.clear();
        netdev.routes.clear();
        self.udev(new);
        self.show();
        new
    }

    /// The last process has left, the mount is gone. The links come home some time later, see [`Kernel::refund`].
    pub(in crate::verbs) fn destroy(&mut self, ns: usize) {
        self.namespaces[ns].path = None;
    }

    /// `default_device_exit_net` (net/core/dev.c): real devices go to the host, under their names or as `dev<index>`;
    /// alternative names that are taken there are dropped.
    pub(in crate::verbs) fn refund(&mut self, ns: usize) {
        let indexes: Vec<u32> = (self.links.iter().filter(|netdev| netdev.ns == ns))
            .map(|netdev| netdev.link.index)
            .collect();
        for index in indexes {
            let link = self.find(ns, index).unwrap_or_else(|e| panic!("{e}")).link.clone();
            for alt in link
                .alt_names
                .iter()
                .filter(|alt| self.find_named(HOST, alt).is_ok())
                .cloned()
                .collect::<Vec<_>>()
            {
                self.drop_alt_name(ns, index, &alt).unwrap_or_else(|e| panic!("{e}"));
            }
            let arrives_as = match self.find_named(HOST, link.name.as_str()) {
                Ok(_) => name(&format!("dev{index}")),
                Err(_) => link.name,
            };
            self.enter(ns, index, HOST, arrives_as);
        }
    }
}
