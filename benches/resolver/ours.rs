//! Our resolver, as one call of the plugin uses it.

use std::path::Path;

use kube_ovn::device::Sysfs;
use kube_ovn::net::devlink::{Devlink, Session};
use kube_ovn::resolve;
use kube_ovn::types::{DeviceId, PciAddress};

/// VF index and representor, from the sysfs at `root` and this kernel's devlink.
pub(crate) fn by_kernel(root: &Path, vf: &PciAddress) -> Result<(u32, String), String> {
    let session = Session::open().map_err(|e| e.to_string())?;
    by(root, &session, vf)
}

/// The same, from another devlink.
pub(crate) fn by(root: &Path, devlink: &impl Devlink, vf: &PciAddress) -> Result<(u32, String), String> {
    let sysfs = Sysfs::new(root);
    let found = resolve::resolve(&sysfs, devlink, &DeviceId::Pci(vf.clone())).map_err(|e| e.to_string())?;
    Ok((found.number, found.representor.netdev.name.to_string()))
}
