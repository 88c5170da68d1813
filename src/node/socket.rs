//! Which process a netconf may send the pod's requests to.
//!
//! Its `server_socket` is a tenant's word, and whoever answers there tells root which names, MACs and addresses to give
//! to interfaces. So the socket must be in a directory that root means for it; that the process behind it is root's is
//! seen at the connection itself (module `daemon`). The owner of the directory tells nothing: Kube-OVN's ovs-ovn
//! pod gives /run/openvswitch to nobody (start-ovs.sh), for an Open vSwitch that does not run as root.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::{Config, PATH};

/// Where Kube-OVN's manifests have the daemon listen, beside Open vSwitch's own sockets (dist/images/install.sh).
pub const SOCKET_DIRECTORY: &str = "/run/openvswitch";

/// A socket that is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is somewhere else.
    #[error(
        "server_socket {}{} is not below {SOCKET_DIRECTORY} or a directory in socket_directories of {PATH}: correct \
         the NetworkAttachmentDefinition, or have the node's administrator list the directory",
        .path.display(),
        really(.path, .real)
    )]
    Elsewhere {
        /// What the netconf says.
        path: PathBuf,
        /// The same with all links followed.
        real: PathBuf,
    },
    /// Where it really is can't be found out.
    #[error("server_socket {}: {cause}", .path.display())]
    Unknown {
        /// What the netconf says.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
}

fn really(path: &Path, real: &Path) -> String {
    if path == real {
        return String::new();
    }
    format!(" (which is {})", real.display())
}

/// The path of a socket that a netconf names, with all links followed: to be used instead of the netconf's, so that no
/// link is followed again.
pub fn trusted_socket(path: &Path, config: &Config) -> Result<PathBuf, Refused> {
    let real = real(path).map_err(|cause| Refused::Unknown {
        path: path.to_owned(),
        cause,
    })?;
    let listed = config.socket_directories.iter().map(PathBuf::as_path);
    let mut directories = std::iter::once(Path::new(SOCKET_DIRECTORY)).chain(listed);
    let is_below = |directory: &Path| {
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        real.starts_with(&directory) && real != directory
    };
    if directories.any(is_below) {
        return Ok(real);
    }
    Err(Refused::Elsewhere {
        path: path.to_owned(),
        real,
    })
}

/// A path with all links followed. The daemon's socket comes and goes with its pod, and so may its directory after a
/// reboot: what is not there is taken as it is written, which is why `..` is not.
fn real(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(io::Error::other("it does not exist, and its path has .. in it"));
    }
    if path.is_symlink() {
        return Err(io::Error::other("it is a symbolic link that leads nowhere"));
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(real(parent)?.join(name)),
        _ => Ok(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_before_the_directory_is_looked_at() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        for directory in ["listed", "listed/deep", "tenant"] {
            fs::create_dir(at(directory)).unwrap();
        }
        for file in ["listed/s", "listed/deep/s", "tenant/s"] {
            fs::write(at(file), "").unwrap();
        }
        symlink("listed", at("link")).unwrap();
        symlink("../tenant/s", at("listed/out")).unwrap();
        symlink("../tenant", at("listed/outdir")).unwrap();
        symlink("../listed/s", at("tenant/in")).unwrap();
        symlink("none", at("listed/dangling")).unwrap();
        let config = |directories: &[&str]| Config {
            socket_directories: directories.iter().map(|name| at(name)).collect(),
            ..Config::default()
        };
        let check = |path: &str, config: &Config| match trusted_socket(&at(path), config) {
            Ok(real) => real.strip_prefix(&root).unwrap().display().to_string(),
            Err(why) => why.to_string(),
        };
        for directory in ["listed", "link"] {
            let config = config(&[directory]);
            for (path, real) in [
                ("listed/s", "listed/s"),
                ("link/s", "listed/s"),
                ("listed/deep/s", "listed/deep/s"),
                ("listed/../listed/s", "listed/s"),
                ("tenant/in", "listed/s"),
                ("listed/none", "listed/none"),
                ("listed/none/none", "listed/none/none"),
                ("link/none", "listed/none"),
            ] {
                assert_eq!(check(path, &config), real, "{path}");
            }
            for (path, why) in [
                (
                    "tenant/s",
                    "is not below /run/openvswitch or a directory in socket_directories",
                ),
                ("tenant/none", "is not below"),
                ("listed/out", "tenant/s) is not below"),
                ("listed/outdir/s", "tenant/s) is not below"),
                ("listed/outdir/none", "tenant/none) is not below"),
                ("listed/../tenant/s", "tenant/s) is not below"),
                ("listed/../tenant/none", "it does not exist, and its path has .. in it"),
                ("listed/dangling", "it is a symbolic link that leads nowhere"),
                ("listed", "is not below"),
                ("listedbutnot/s", "is not below"),
                ("listed/s/none", "Not a directory"),
            ] {
                let found = check(path, &config);
                assert!(found.contains(why), "{path}: {found}");
            }
        }
        assert!(check("listed/s", &Config::default()).contains("is not below"));
        let default = Path::new("/run/openvswitch/kube-ovn-daemon.sock");
        assert!(trusted_socket(default, &Config::default()).is_ok());
    }
}
