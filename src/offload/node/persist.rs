//! `--persist`: files below /etc that prepare the PF again at each boot, before anything configures the network, and that keep
//! others' hands off VFs and representors. Each says in its first line who wrote it; what another has written is never touched.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use kube_ovn::types::PciAddress;

/// First line of each file.
const HEADER: &str = "# Written by kube-ovn-offload node prepare --persist; kube-ovn-offload node reset removes it.";
/// The property by which udev's rule tells the others which links are meant.
const MARK: &str = "KUBE_OVN_OFFLOAD";

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drop {
    /// Below the root directory.
    pub(super) path: PathBuf,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A file with this text.
    Text(String),
    /// A link to there.
    Link(String),
}

/// What is persisted of a PF.
pub(super) struct Prepared<'a> {
    pub(super) pf: &'a PciAddress,
    pub(super) count: u32,
    /// Where its VFs are or will be.
    pub(super) vfs: &'a [PciAddress],
    /// Of its eswitch, if it tells one: representors need not be children of the PF.
    pub(super) switch_id: Option<&'a str>,
    /// This program.
    pub(super) program: &'a Path,
}

/// A PF in a file's name: systemd-analyze(1) takes what follows a colon for an alias.
fn dashed(pf: &PciAddress) -> String {
    pf.as_str().replace(':', "-")
}

fn unit_name(pf: &PciAddress) -> String {
    format!("kube-ovn-offload-{}.service", dashed(pf))
}

fn unit_path(pf: &PciAddress) -> PathBuf {
    Path::new("etc/systemd/system").join(unit_name(pf))
}

fn link_path(pf: &PciAddress) -> PathBuf {
    Path::new("etc/systemd/system/multi-user.target.wants").join(unit_name(pf))
}

fn rules_path(pf: &PciAddress) -> PathBuf {
    // before 75-net-description.rules to 85-nm-unmanaged.rules, of which 80-net-setup-link.rules looks for a .link file
    PathBuf::from(format!("etc/udev/rules.d/70-kube-ovn-offload-{}.rules", dashed(pf)))
}

/// The files that serve all PFs.
const SHARED: [&str; 3] = [
    "etc/NetworkManager/conf.d/90-kube-ovn-offload.conf",
    "etc/systemd/network/10-kube-ovn-offload.network",
    "etc/systemd/network/10-kube-ovn-offload.link",
];

/// The files for a PF.
pub(super) fn drops(prepared: &Prepared<'_>) -> Result<Vec<Drop>, String> {
    let text = |path: PathBuf, text: String| Drop {
        path,
        content: Content::Text(text),
    };
    let [manager, network, link] = SHARED;
    Ok(vec![
        text(rules_path(prepared.pf), rules(prepared)?),
        text(manager.into(), network_manager()),
        text(network.into(), networkd()),
        text(link.into(), link_file()),
        text(unit_path(prepared.pf), unit(prepared)?),
        Drop {
            path: link_path(prepared.pf),
            content: Content::Link(format!("../{}", unit_name(prepared.pf))),
        },
    ])
}

/// A word of a unit's command line (systemd.service(5), "Command lines"; `%` and `$` mean something there).
fn word(path: &Path) -> Result<String, String> {
    match path.to_str() {
        Some(text) if path.is_absolute() && !text.contains(char::is_control) => {
            let escaped = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('%', "%%")
                .replace('$', "$$");
            Ok(if escaped.contains(' ') || escaped.contains('\'') {
                format!("\"{escaped}\"")
            } else {
                escaped
            })
        }
        _ => Err(format!(
            "{} can't be named in a systemd unit: install this program under another path",
            path.display()
        )),
    }
}

fn unit(prepared: &Prepared<'_>) -> Result<String, String> {
    let Prepared { pf, count, .. } = prepared;
    let program = word(prepared.program)?;
    Ok(format!(
        "{HEADER}
[Unit]
Description={count} VFs and switchdev mode of PF {pf}, for hardware offload
Documentation=man:devlink-dev(8)
DefaultDependencies=no
# the PF's driver is loaded by udev, and the command waits for it
After=local-fs.target systemd-modules-load.service systemd-udevd.service systemd-udev-trigger.service
# whoever configures the network finds it as it stays
Wants=network-pre.target
Before=network-pre.target
Before=NetworkManager.service systemd-networkd.service networking.service
Before=openvswitch-switch.service openvswitch.service containerd.service crio.service kubelet.service
Before=shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
# at boot nothing uses the PF yet, so there is nothing that this could disrupt
ExecStart={program} node prepare --pf {pf} --vfs {count} --wait 120 --yes-disrupt
TimeoutStartSec=300

[Install]
WantedBy=multi-user.target
"
    ))
}

/// Marks the VFs by their addresses, and the representors by their port names, which begin with or contain `vf` and a number.
fn rules(prepared: &Prepared<'_>) -> Result<String, String> {
    let mut text = format!(
        "{HEADER}
# The VFs of PF {pf} and their representors belong to kube-ovn: NetworkManager and systemd-networkd leave them alone.
ACTION==\"remove\", GOTO=\"kube_ovn_offload_end\"
SUBSYSTEM!=\"net\", GOTO=\"kube_ovn_offload_end\"
",
        pf = prepared.pf
    );
    // ID_NET_MANAGED_BY is for networkd, in recent versions of it (networkd-link.c), NM_UNMANAGED for NetworkManager
    let mark = format!("ENV{{{MARK}}}=\"1\", ENV{{NM_UNMANAGED}}=\"1\", ENV{{ID_NET_MANAGED_BY}}=\"kube-ovn\"");
    for vf in prepared.vfs {
        let _ = writeln!(text, "KERNELS==\"{vf}\", {mark}");
    }
    let _ = writeln!(
        text,
        "KERNELS==\"{}\", ATTR{{phys_port_name}}==\"*vf[0-9]*\", {mark}",
        prepared.pf
    );
    if let Some(id) = prepared.switch_id {
        if !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("the eswitch of PF {} has the odd ID {id:?}", prepared.pf));
        }
        let _ = writeln!(
            text,
            "ATTR{{phys_switch_id}}==\"{id}\", ATTR{{phys_port_name}}==\"*vf[0-9]*\", {mark}"
        );
    }
    text.push_str("LABEL=\"kube_ovn_offload_end\"\n");
    Ok(text)
}

/// udev's mark is what counts (`NM_UNMANAGED`); this is for links that `NetworkManager` sees before udev does, as a representor that was
/// just renamed: kube-ovn-daemon's names for them end in `_h`, and the names of the plugin's attempts begin with `vf` and 12
/// hexadecimal digits.
fn network_manager() -> String {
    format!(
        "{HEADER}
[device-kube-ovn-offload]
match-device=interface-name:*_h,interface-name:vf????????????
managed=0
"
    )
}

fn networkd() -> String {
    format!(
        "{HEADER}
[Match]
Property={MARK}=1

[Link]
Unmanaged=yes
"
    )
}

/// Names as they would be without this file, except that one that a link was given stays; and the MAC stays, which the PF or
/// kube-ovn has set.
fn link_file() -> String {
    format!(
        "{HEADER}
[Match]
Property={MARK}=1

[Link]
NamePolicy=keep kernel database onboard slot path
MACAddressPolicy=none
"
    )
}

/// Whether a file is there, and ours.
fn is_ours(path: &Path) -> io::Result<Option<bool>> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if found.is_symlink() {
        // the only link of ours is to the unit beside which it lies
        let target = fs::read_link(path)?;
        let name = path.file_name().unwrap_or_default();
        return Ok(Some(target.file_name() == Some(name)));
    }
    if !found.is_file() {
        return Ok(Some(false));
    }
    let mut line = String::new();
    let read = BufReader::new(File::open(path)?).read_line(&mut line);
    Ok(Some(read.is_ok() && line.trim_end() == HEADER))
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// What keeps the files from being written; changes nothing.
pub(super) fn may_write(root: &Path, drops: &[Drop]) -> Result<(), String> {
    for drop in drops {
        let path = root.join(&drop.path);
        if is_ours(&path).map_err(|error| failed(&path, &error))? == Some(false) {
            return Err(format!(
                "{} was not written by kube-ovn-offload, and is left as it is: move it away, or do without --persist",
                path.display()
            ));
        }
    }
    Ok(())
}

/// Writes the files, each whole or not at all; which ones were not there, or were other than they are now.
pub(super) fn write(root: &Path, drops: &[Drop]) -> Result<Vec<PathBuf>, String> {
    may_write(root, drops)?;
    let mut written = Vec::new();
    for drop in drops {
        let path = root.join(&drop.path);
        let is_so = match &drop.content {
            Content::Text(text) => fs::read(&path).is_ok_and(|now| now == text.as_bytes()),
            Content::Link(target) => fs::read_link(&path).is_ok_and(|now| now == Path::new(target)),
        };
        if !is_so {
            replace(&path, &drop.content).map_err(|error| failed(&path, &error))?;
            written.push(path);
        }
    }
    Ok(written)
}

fn replace(path: &Path, content: &Content) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    // no program reads a file of this name
    let new = directory.join(format!(".kube-ovn-offload.{}.new", std::process::id()));
    let make = || match content {
        Content::Text(text) => {
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o644).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        }
        Content::Link(target) => symlink(target, &new),
    };
    let result = make().and_then(|()| fs::rename(&new, path));
    if result.is_err() {
        // what was made of it; if that does not go either, the first error says why
        let _ = fs::remove_file(&new);
    }
    result.and_then(|()| File::open(directory)?.sync_all())
}

/// The files of ours for a PF, and with the last PF those that serve all.
pub(super) fn present(root: &Path, pf: &PciAddress) -> Result<Vec<PathBuf>, String> {
    let own = [link_path(pf), unit_path(pf), rules_path(pf)];
    let mut all: Vec<PathBuf> = own.into();
    if !others_remain(root, pf) {
        all.extend(SHARED.iter().map(PathBuf::from));
    }
    let mut found = Vec::new();
    for path in all.into_iter().map(|path| root.join(path)) {
        if is_ours(&path).map_err(|error| failed(&path, &error))? == Some(true) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether another PF has rules of ours.
fn others_remain(root: &Path, pf: &PciAddress) -> bool {
    let own = rules_path(pf);
    let entries = fs::read_dir(root.join("etc/udev/rules.d"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|name| {
            name.starts_with("70-kube-ovn-offload-")
                && own.file_name().and_then(|own| own.to_str()) != Some(name.as_str())
        })
}

/// The PFs that have a unit of ours.
pub(super) fn pfs(root: &Path) -> Vec<PciAddress> {
    let entries = fs::read_dir(root.join("etc/systemd/system"))
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<PciAddress> = names
        .filter_map(|name| {
            name.strip_prefix("kube-ovn-offload-")?
                .strip_suffix(".service")?
                .replace('-', ":")
                .parse()
                .ok()
        })
        .collect();
    found.sort();
    found
}

/// Removes files that [`present`] has found.
pub(super) fn remove(paths: &[PathBuf]) -> Result<(), String> {
    for path in paths {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(path, &error)),
            _ => {}
        }
    }
    Ok(())
}
