//! The modules' dependencies point one way: the map of src/lib.rs, as a test.

#![allow(clippy::unwrap_used)] // a test as a whole

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each module, and the modules of this crate that it may use.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("text", &[]),
    ("types", &["text"]),
    ("log", &["text"]),
    ("cni", &["text", "types"]),
    ("device", &["text", "types"]),
    ("net", &["text", "types"]),
    ("daemon", &["text", "types"]),
    ("ovs", &["text", "types"]),
    ("state", &["text", "types"]),
    ("node", &["text", "types"]),
    ("resolve", &["text", "types", "device", "net"]),
    (
        "attach",
        &["text", "types", "device", "net", "daemon", "ovs", "state", "resolve"],
    ),
    (
        "verbs",
        &[
            "text", "types", "log", "cni", "device", "net", "daemon", "ovs", "state", "node", "resolve", "attach",
        ],
    ),
];

/// The modules that a text names as `crate::module` or in `crate::{module, …}`. Tests may use what they like, so a
/// file is read up to its `#[cfg(test)]`.
fn used(text: &str) -> BTreeSet<String> {
    let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut names = BTreeSet::new();
    for (at, _) in shipped.match_indices("crate::") {
        let rest = &shipped[at + "crate::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split("};").next().unwrap_or_default(),
            None => rest.split([':', ';', ' ', ')']).next().unwrap_or_default(),
        };
        let mut depth = 0;
        for part in list.split_inclusive(['{', '}', ',']) {
            if depth == 0 {
                let name: String = part
                    .trim()
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                names.extend(Some(name).filter(|name| !name.is_empty()));
            }
            depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
        }
    }
    names
}

fn files(module: &str) -> Vec<std::path::PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![src.join(format!("{module}.rs"))];
    if let Ok(directory) = fs::read_dir(src.join(module)) {
        files.extend(directory.map(|entry| entry.unwrap().path()));
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs") && path.exists());
    // these are tests as a whole
    files.retain(|path| {
        !path
            .file_stem()
            .is_some_and(|stem| stem.to_string_lossy().contains("test"))
    });
    files.retain(|path| !path.ends_with("fixture.rs") && !path.ends_with("fake.rs"));
    assert!(!files.is_empty(), "module {module} has no file");
    files
}

#[test]
fn dependencies_point_one_way() {
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    for (module, allowed) in MAY_USE {
        for file in files(module) {
            for name in used(&fs::read_to_string(&file).unwrap()) {
                let fine = name == module || allowed.contains(&name.as_str()) || !known.contains(name.as_str());
                assert!(
                    fine,
                    "{} uses {name}, and {module} may use only {allowed:?}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_map_is_complete() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(modules, MAY_USE.iter().map(|(module, _)| *module).collect());
}

#[test]
fn uses_are_found() {
    let text = "use crate::net::{self, Link};\nuse crate::{daemon, device::Error, state};\nfn f() -> crate::attach::X {}\n#[cfg(test)] use crate::verbs;";
    let names: Vec<String> = used(text).into_iter().collect();
    assert_eq!(names, ["attach", "daemon", "device", "net", "state"]);
}
