//! The runtime's CNI configurations, and whose executable the plugin is.

use std::path::Path;

use serde_json::Value;

use super::{Asked, Place};
use crate::install::{Whose, whose};

/// Where the runtime reads configurations; `doctor --cni-conf` names another directory.
pub(in super::super) const CONFIGURATIONS: &str = "/etc/cni/net.d";
/// Where it looks for plugins; `doctor --cni-bin` names another directory.
pub(in super::super) const PLUGINS: &str = "/opt/cni/bin";
/// Runtimes read no more.
const MAX_CONFIGURATION: u64 = 1024 * 1024;

/// What a runtime does on this node.
pub(in super::super) struct Cni {
    pub(in super::super) configurations_dir: String,
    pub(in super::super) plugins_dir: String,
    /// The configurations in the order in which a runtime reads them: it uses the first one.
    pub(in super::super) configurations: Asked<Vec<Configuration>>,
    /// Whose executable is there as `kube-ovn`; `None` without one.
    pub(in super::super) plugin: Asked<Option<Whose>>,
}

/// A configuration.
pub(in super::super) struct Configuration {
    pub(in super::super) file: String,
    /// The types of its plugins, or why it can't be read.
    pub(in super::super) types: Asked<Vec<String>>,
    /// The sockets that its plugins are to ask.
    pub(in super::super) sockets: Vec<String>,
}

impl Configuration {
    /// It calls Multus.
    pub(in super::super) fn is_multus(&self) -> bool {
        let types = self.types.iter().flatten();
        types.clone().any(|kind| kind == "multus" || kind == "multus-shim")
    }

    /// It calls the thin Multus, which is a plugin and no daemon.
    pub(in super::super) fn is_thin(&self) -> bool {
        self.types.iter().flatten().any(|kind| kind == "multus")
    }

    /// It calls the plugin by its usual name.
    pub(in super::super) fn is_kube_ovn(&self) -> bool {
        self.types
            .iter()
            .flatten()
            .any(|kind| kind == "kube-ovn" || kind == "kube-ovn-offload")
    }
}

pub(super) fn gather(place: &Place, configurations_dir: &str, plugins_dir: &str) -> Cni {
    let plugin = whose(&place.path(&format!("{plugins_dir}/kube-ovn")));
    Cni {
        configurations: configurations(place, configurations_dir),
        configurations_dir: configurations_dir.to_owned(),
        plugin: plugin.map_err(|error| format!("{plugins_dir}/kube-ovn: {error}")),
        plugins_dir: plugins_dir.to_owned(),
    }
}

/// As libcni lists them (`ConfFiles`, libcni/conf.go): by name, and by these endings.
fn configurations(place: &Place, directory: &str) -> Asked<Vec<Configuration>> {
    let is_one = |name: &String| {
        let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| ["conf", "conflist", "json"].contains(&ending))
    };
    let names = place.names(directory)?;
    Ok(names
        .into_iter()
        .filter(is_one)
        .map(|name| configuration(place, format!("{directory}/{name}")))
        .collect())
}

fn configuration(place: &Place, file: String) -> Configuration {
    let text = place.text(&file, MAX_CONFIGURATION);
    let value: Asked<Value> = text.and_then(|text| {
        serde_json::from_str(&text.unwrap_or_default()).map_err(|error| format!("{file} is no JSON: {error}"))
    });
    let value = match value {
        Ok(value) => value,
        Err(why) => {
            return Configuration {
                file,
                types: Err(why),
                sockets: Vec::new(),
            };
        }
    };
    // one plugin, or a list of them
    let plugins: Vec<&Value> = match value.get("plugins").and_then(Value::as_array) {
        Some(plugins) => plugins.iter().collect(),
        None => vec![&value],
    };
    let texts = |key: &str| {
        let texts = plugins.iter().filter_map(|plugin| plugin.get(key)?.as_str());
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let types = texts("type");
    Configuration {
        types: if types.is_empty() {
            Err(format!("{file} names no plugin"))
        } else {
            Ok(types)
        },
        sockets: texts("server_socket"),
        file,
    }
}
