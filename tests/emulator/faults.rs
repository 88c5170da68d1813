//! Faults by name: the emulator misbehaves only where one of these is switched on, by `--fault` or a pod's "fault".

use std::time::Duration;

/// Where the original can fail, in the order of an ADD, then spoilt replies, then DEL. README.md says what each does.
const NAMES: [&str; 32] = [
    "u2o",
    "nothing-configured",
    "http-500",
    "eof",
    "rename-representor",
    "set-vf-mac",
    "add-port",
    "annotations",
    "representor-mtu",
    "ovn-installed",
    "localnet-patch",
    "netns",
    "move",
    "configure",
    "gateway-check",
    "mirror",
    "late-eof",
    "garbage",
    "truncated",
    "huge",
    "wrong-mac",
    "wrong-ip",
    "wrong-nicname",
    "wrong-mtu",
    "old-shape",
    "mac-only",
    "error-in-200",
    "no-echo",
    "del-500",
    "del-eof",
    "del-garbage",
    "del-late-eof",
];
const TIMED: [&str; 4] = ["hang", "late", "del-hang", "del-late"];
/// Where a request can be held or the process end: before this is done.
const STEPS: [&str; 10] = [
    "add",
    "renamed",
    "port",
    "move",
    "moved",
    "configured",
    "reply",
    "del",
    "del-port",
    "del-reply",
];

fn at_step(item: &str, kinds: &[&str]) -> bool {
    kinds
        .iter()
        .any(|kind| item.strip_prefix(kind).is_some_and(|step| STEPS.contains(&step)))
}

#[derive(Default, Clone)]
pub(crate) struct Faults(Vec<(String, u64)>);

impl Faults {
    /// A comma list; the timed ones as `name=SECONDS`. An unknown name is an error: a test with a typo must not pass.
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        let mut faults = Vec::new();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, seconds) = match item.split_once('=') {
                None if NAMES.contains(&item) || at_step(item, &["pause@", "die@"]) => (item, 0),
                Some((name, seconds)) if TIMED.contains(&name) || at_step(name, &["hold@"]) => (
                    name,
                    seconds
                        .parse()
                        .map_err(|_| format!("fault {item:?}: seconds must be a number"))?,
                ),
                _ => {
                    return Err(format!(
                        "unknown fault {item:?}; known: {}, with =SECONDS {}, and pause@STEP, die@STEP, hold@STEP=SECONDS for {}",
                        NAMES.join(" "),
                        TIMED.join(" "),
                        STEPS.join(" ")
                    ));
                }
            };
            faults.push((name.to_owned(), seconds));
        }
        Ok(Self(faults))
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        debug_assert!(NAMES.contains(&name), "no fault is called {name}");
        self.0.iter().any(|(known, _)| known == name)
    }

    fn at(&self, kind: &str, step: &str) -> impl Iterator<Item = u64> {
        debug_assert!(STEPS.contains(&step), "no step is called {step}");
        let wanted = format!("{kind}@{step}");
        (self.0.iter().filter(move |(known, _)| *known == wanted)).map(|(_, seconds)| *seconds)
    }

    /// Waits, then lets it go on.
    pub(crate) fn hold(&self, step: &str) {
        for seconds in self.at("hold", step) {
            std::thread::sleep(Duration::from_secs(seconds));
        }
    }

    pub(crate) fn pauses(&self, step: &str) -> bool {
        self.at("pause", step).next().is_some()
    }

    pub(crate) fn dies(&self, step: &str) -> bool {
        self.at("die", step).next().is_some()
    }

    pub(crate) fn sleep(&self, name: &str) {
        debug_assert!(TIMED.contains(&name), "no timed fault is called {name}");
        for (_, seconds) in self.0.iter().filter(|(known, _)| known == name) {
            std::thread::sleep(Duration::from_secs(*seconds));
        }
    }
}
