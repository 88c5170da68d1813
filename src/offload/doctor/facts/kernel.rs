//! The kernel: its version, how it was built, and what of it is loaded.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;

use super::{Asked, Place};

/// A configuration has some 10,000 lines.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;
/// There with `CONFIG_IKCONFIG_PROC`.
const COMPRESSED: &str = "/proc/config.gz";
/// `modules.dep` of a distribution's kernel has about 1 MB.
const MAX_LIST: u64 = 16 * 1024 * 1024;

/// The modules that Open vSwitch needs for flows in tc, each with the option by which it may be built in
/// (lib/netdev-offload-tc.c of Open vSwitch: what a flow is turned into).
pub(in super::super) const MODULES: [(&str, &str); 12] = [
    ("sch_ingress", "CONFIG_NET_SCH_INGRESS"),
    ("cls_flower", "CONFIG_NET_CLS_FLOWER"),
    ("act_mirred", "CONFIG_NET_ACT_MIRRED"),
    ("act_gact", "CONFIG_NET_ACT_GACT"),
    ("act_tunnel_key", "CONFIG_NET_ACT_TUNNEL_KEY"),
    ("act_vlan", "CONFIG_NET_ACT_VLAN"),
    ("act_pedit", "CONFIG_NET_ACT_PEDIT"),
    ("act_csum", "CONFIG_NET_ACT_CSUM"),
    ("act_skbedit", "CONFIG_NET_ACT_SKBEDIT"),
    ("act_ct", "CONFIG_NET_ACT_CT"),
    ("act_police", "CONFIG_NET_ACT_POLICE"),
    ("openvswitch", "CONFIG_OPENVSWITCH"),
];

/// The kernel of the machine.
pub(in super::super) struct Kernel {
    /// What `uname -r` says.
    pub(in super::super) release: Asked<String>,
    /// How it was built.
    pub(in super::super) options: Asked<Options>,
    /// Where each of [`MODULES`] is.
    pub(in super::super) modules: Asked<BTreeMap<&'static str, Module>>,
    /// Whether it loads modules when they are first needed, and if not, why.
    pub(in super::super) loads_modules: Asked<()>,
}

/// The kernel's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Options {
    /// Where it was found.
    pub(in super::super) file: String,
    /// What is set, to `y`, `m` or a value.
    pub(in super::super) set: BTreeMap<String, String>,
}

/// Where the code of a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Module {
    /// In the kernel.
    BuiltIn,
    /// Loaded.
    Loaded,
    /// On disk.
    Available,
    /// Nowhere.
    Missing,
}

pub(super) fn gather(place: &Place) -> Kernel {
    let release = place.text("/proc/sys/kernel/osrelease", 256);
    let release = release.and_then(|text| text.ok_or_else(|| "/proc/sys/kernel/osrelease does not exist".to_owned()));
    // it becomes part of paths
    let release = release.and_then(|text| {
        if text.contains('/') || text.starts_with('.') || text.is_empty() {
            return Err("/proc/sys/kernel/osrelease holds no release".to_owned());
        }
        Ok(text)
    });
    let options = release.clone().and_then(|release| options(place, &release));
    let modules = release
        .clone()
        .and_then(|release| modules(place, &release, options.as_ref().ok()));
    Kernel {
        loads_modules: loads_modules(place),
        modules,
        options,
        release,
    }
}

/// Distributions put it beside the kernel, beside its modules, or with its headers; some kernels know it themselves.
fn options(place: &Place, release: &str) -> Asked<Options> {
    let files = [
        format!("/boot/config-{release}"),
        format!("/lib/modules/{release}/config"),
        format!("/usr/lib/modules/{release}/config"),
        format!("/lib/modules/{release}/build/.config"),
        format!("/usr/src/linux-headers-{release}/.config"),
    ];
    for file in &files {
        if let Some(text) = place.text(file, MAX_CONFIG)?
            && let Some(options) = parse(file, &text)
        {
            return Ok(options);
        }
    }
    if let Some(compressed) = place.read(COMPRESSED, MAX_CONFIG)? {
        let mut text = String::new();
        let read = GzDecoder::new(compressed.as_slice())
            .take(MAX_CONFIG)
            .read_to_string(&mut text);
        read.map_err(|error| format!("{COMPRESSED}: {error}"))?;
        if let Some(options) = parse(COMPRESSED, &text) {
            return Ok(options);
        }
    }
    Err(format!(
        "the kernel's configuration is neither in {COMPRESSED} nor in {}",
        files.join(", ")
    ))
}

/// What is set; nothing for what is no configuration.
fn parse(file: &str, text: &str) -> Option<Options> {
    let lines = text.lines().filter_map(|line| line.trim().split_once('='));
    let set: BTreeMap<String, String> = lines
        .filter(|(key, _)| key.starts_with("CONFIG_"))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    (!set.is_empty()).then(|| Options {
        file: file.to_owned(),
        set,
    })
}

fn modules(place: &Place, release: &str, options: Option<&Options>) -> Asked<BTreeMap<&'static str, Module>> {
    let directory = ["/lib/modules", "/usr/lib/modules"]
        .iter()
        .map(|modules| format!("{modules}/{release}"))
        .find(|directory| place.exists(directory));
    let list = |name: &str| match &directory {
        Some(directory) => Ok(place
            .text(&format!("{directory}/{name}"), MAX_LIST)?
            .unwrap_or_default()),
        None => Ok::<_, String>(String::new()),
    };
    let loaded = place.text("/proc/modules", MAX_LIST)?.unwrap_or_default();
    let built_in = list("modules.builtin")?;
    let on_disk = list("modules.dep")?;
    let mut found = BTreeMap::new();
    for (module, option) in MODULES {
        let is_option = |value| options.and_then(|options| options.set.get(option)).map(String::as_str) == Some(value);
        let state = if loaded.lines().any(|line| line.split(' ').next() == Some(module)) {
            Module::Loaded
        } else if is_option("y") || built_in.lines().any(|line| is_file_of(line, module)) {
            Module::BuiltIn
        } else if on_disk
            .lines()
            .filter_map(|line| line.split(':').next())
            .any(|file| is_file_of(file, module))
        {
            Module::Available
        } else if directory.is_none() {
            return Err(format!(
                "/lib/modules/{release} is not here, so whether there is a module {module} can't be told"
            ));
        } else {
            Module::Missing
        };
        found.insert(module, state);
    }
    Ok(found)
}

/// `kernel/net/sched/act_ct.ko`, or with `.xz`, `.zst` or `.gz`.
fn is_file_of(path: &str, module: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.strip_prefix(module).is_some_and(|rest| rest.starts_with(".ko"))
}

/// The kernel runs the program that this file names to load a module.
fn loads_modules(place: &Place) -> Asked<()> {
    let number = place.text("/proc/sys/kernel/modules_disabled", 16)?;
    if number.as_deref() == Some("1") {
        return Err("/proc/sys/kernel/modules_disabled is 1".to_owned());
    }
    match place.text("/proc/sys/kernel/modprobe", 4096)? {
        Some(program) if program.is_empty() => Err("/proc/sys/kernel/modprobe is empty".to_owned()),
        Some(program) if !place.path(&program).exists() => {
            Err(format!("/proc/sys/kernel/modprobe is {program}, which does not exist"))
        }
        _ => Ok(()),
    }
}
