//! The kernel by way of iproute2, ethtool and nsenter; errors in the words of Go's netlink library.

use std::process::Command;

use nix::sys::statfs::statfs;
use serde_json::Value;

/// linux/magic.h: what the original accepts as a netns path.
const NSFS_MAGIC: i64 = 0x6e73_6673;
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// The library's words for a link that is not there.
pub(crate) const NOT_FOUND: &str = "Link not found";

/// Where a command looks at links.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Host,
    Pod(&'a str),
}

/// What of a link the original asks for.
pub(crate) struct Link {
    pub(crate) up: bool,
    pub(crate) alias: String,
    pub(crate) kind: String,
}

impl Place<'_> {
    /// Runs a tool here; its standard output, or the reason why it failed.
    pub(crate) fn run(self, tool: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = match self {
            Place::Host => Command::new(tool),
            Place::Pod(netns) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={netns}")).arg(tool);
                command
            }
        };
        let output = command
            .args(arguments)
            .output()
            .map_err(|error| format!("emulator: cannot run {tool}: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(go_words(&String::from_utf8_lossy(&output.stderr)))
        }
    }

    pub(crate) fn ip(self, arguments: &[&str]) -> Result<(), String> {
        self.run("ip", arguments).map(|_| ())
    }

    /// `ip -j …` as an array of objects; no output is an empty one.
    pub(crate) fn ip_json(self, arguments: &[&str]) -> Result<Vec<Value>, String> {
        let output = self.run("ip", &[&["-j"], arguments].concat())?;
        if output.trim().is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_str(&output).map_err(|error| format!("emulator: ip -j {arguments:?} printed {error}"))
    }

    pub(crate) fn set(self, link: &str, arguments: &[&str]) -> Result<(), String> {
        self.ip(&[&["link", "set", "dev", link], arguments].concat())
    }

    pub(crate) fn link(self, name: &str) -> Result<Link, String> {
        let links = self.ip_json(&["-d", "link", "show", "dev", name])?;
        let link = links.first().ok_or(NOT_FOUND)?;
        let text = |pointer: &str| {
            link.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Ok(Link {
            up: text("/operstate") == "UP",
            alias: text("/ifalias"),
            kind: text("/linkinfo/info_kind"),
        })
    }
}

/// ns.GetNS: the path must be there and of nsfs or procfs (plugins/pkg/ns `ns_linux.go`).
pub(crate) fn check_netns(path: &str) -> Result<(), String> {
    let magic = statfs(path)
        .map_err(|error| format!("failed to Statfs {path:?}: {}", lower(error.desc())))?
        .filesystem_type()
        .0;
    if magic == NSFS_MAGIC || magic == PROC_SUPER_MAGIC {
        Ok(())
    } else {
        Err(format!("unknown FS magic on {path:?}: {magic:x}"))
    }
}

/// `RTNETLINK answers: File exists` is `file exists` in Go, a missing device is `Link not found` in the library.
fn go_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines
        .iter()
        .any(|line| line.starts_with("Cannot find device") || line.ends_with("does not exist."))
    {
        return NOT_FOUND.to_owned();
    }
    match lines.iter().find_map(|line| line.strip_prefix("RTNETLINK answers: ")) {
        Some(errno) => lower(errno),
        None => lines.join("; "),
    }
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
