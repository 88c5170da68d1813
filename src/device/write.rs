//! The few files under /sys that `kube-ovn-offload` writes: the number of a PF's VFs, and which driver has a function. The plugin
//! itself writes none. What is written is a number or a checked address, and so is every path.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Sysfs;
use crate::types::PciAddress;

/// A file under /sys that could not be written to.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {text} to {}: {source}", .path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What it should be told.
    pub text: String,
    /// The cause.
    pub source: io::Error,
}

impl Sysfs {
    /// Makes so many VFs, or removes them all with 0. The kernel takes a number other than 0 only when there are none
    /// (`sriov_numvfs_store` in drivers/pci/iov.c).
    pub fn set_vf_count(&self, pf: &PciAddress, count: u32) -> Result<(), WriteError> {
        write(&self.function_dir(pf).join("sriov_numvfs"), &count.to_string())
    }

    /// Takes a function from its driver, which can take seconds; nothing to do when it has none.
    pub fn unbind(&self, function: &PciAddress) -> Result<(), WriteError> {
        let driver = self.function_dir(function).join("driver");
        if driver.exists() {
            write(&driver.join("unbind"), function.as_str())
        } else {
            Ok(())
        }
    }

    /// Gives a function to the driver that the kernel finds for it: by `driver_override`, else by its IDs. That there is
    /// none is no error here; [`Sysfs::driver`] tells.
    pub fn probe(&self, function: &PciAddress) -> Result<(), WriteError> {
        write(&self.pci_bus().join("drivers_probe"), function.as_str())
    }

    /// Gives a function to this driver, a name that [`Sysfs::driver`] told.
    pub fn bind(&self, function: &PciAddress, driver: &str) -> Result<(), WriteError> {
        if driver.is_empty() || driver.contains('/') || driver.starts_with('.') {
            return self.probe(function);
        }
        write(
            &self.pci_bus().join("drivers").join(driver).join("bind"),
            function.as_str(),
        )
    }

    /// Whether a function's number of VFs may be written: not without rights, nor where /sys is mounted read-only.
    pub fn may_set_vf_count(&self, pf: &PciAddress) -> Result<(), WriteError> {
        let path = self.function_dir(pf).join("sriov_numvfs");
        nix::unistd::access(&path, nix::unistd::AccessFlags::W_OK).map_err(|errno| WriteError {
            path,
            text: "a number".to_owned(),
            source: errno.into(),
        })
    }
}

/// In one call of write(2), as sysfs wants it.
fn write(path: &Path, text: &str) -> Result<(), WriteError> {
    let result = OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    result.map_err(|source| WriteError {
        path: path.to_owned(),
        text: text.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::device::fixture::Tree;
    use crate::types::PciAddress;

    #[test]
    fn what_is_written_where() {
        let tree = Tree::new(
            "/sys/bus/pci/devices/0000:03:00.0/sriov_numvfs = 0\n\
             /sys/bus/pci/drivers/mlx5_core/unbind = x\n/sys/bus/pci/drivers/mlx5_core/bind = x\n\
             /sys/bus/pci/devices/0000:03:00.2/driver -> ../../drivers/mlx5_core\n\
             /sys/bus/pci/devices/0000:03:00.3/vendor = 0\n/sys/bus/pci/drivers_probe = x",
        );
        let sysfs = tree.sysfs();
        let [pf, vf, bare] =
            ["0000:03:00.0", "0000:03:00.2", "0000:03:00.3"].map(|text| text.parse::<PciAddress>().unwrap());
        sysfs.may_set_vf_count(&pf).unwrap();
        assert!(sysfs.may_set_vf_count(&vf).is_err());
        // a regular file keeps what is beyond the written text
        let read = |path: &str| fs::read_to_string(tree.path(path)).unwrap();
        sysfs.set_vf_count(&pf, 4).unwrap();
        assert!(read("/sys/bus/pci/devices/0000:03:00.0/sriov_numvfs").starts_with('4'));
        sysfs.unbind(&vf).unwrap();
        assert!(read("/sys/bus/pci/drivers/mlx5_core/unbind").starts_with("0000:03:00.2"));
        sysfs.unbind(&bare).unwrap();
        sysfs.bind(&bare, "mlx5_core").unwrap();
        assert!(read("/sys/bus/pci/drivers/mlx5_core/bind").starts_with("0000:03:00.3"));
        sysfs.bind(&bare, "../../../etc").unwrap();
        assert!(read("/sys/bus/pci/drivers_probe").starts_with("0000:03:00.3"));
        let refused = sysfs.bind(&bare, "none").unwrap_err();
        assert!(
            refused.to_string().contains("cannot write 0000:03:00.3 to "),
            "{refused}"
        );
    }
}
