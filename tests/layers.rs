//! The modules' dependencies point one way: the map of src/lib.rs, as a test.

#![allow(clippy::unwrap_used)] // a test as a whole

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and the modules of this crate that it may use.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("text", &[]),
    ("types", &["text"]),
    ("log", &["text"]),
    ("watchdog", &[]),
    ("cni", &["text", "types"]),
    ("device", &["text", "types"]),
    ("net", &["text", "types"]),
    ("daemon", &["text", "types", "watchdog"]),
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

/// A file without what is marked `#[cfg(test)]`, wherever in it that stands: tests may use what they like. Where an item ends, its
/// indentation tells, as rustfmt has it.
fn shipped(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((indent, item)) = line
            .split_once("#[cfg(test)]")
            .filter(|(indent, _)| indent.trim().is_empty())
        else {
            kept.extend([line, "\n"]);
            continue;
        };
        let mut item = item.trim();
        while item.is_empty() || item.starts_with("#[") {
            item = lines.next().unwrap().trim();
        }
        if !item.ends_with([';', '}']) {
            let ends = [format!("{indent}}}"), format!("{indent}}};")];
            let end = lines.find(|line| ends.iter().any(|end| end == line));
            end.unwrap();
        }
    }
    kept
}

/// The modules that a text names as `crate::module` or in `crate::{module, …}`.
fn used(text: &str) -> BTreeSet<String> {
    let shipped = shipped(text);
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

/// Every file below a folder, if there is one.
fn below(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// A module's files, without those that are only for tests.
fn files(source: &str, module: &str) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut files = vec![src.join(format!("{module}.rs"))];
    below(&src.join(module), &mut files);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs") && path.exists());
    // these are tests as a whole
    let of_tests = |part: std::path::Component| {
        let name = part.as_os_str().to_string_lossy().into_owned();
        ["test", "fake", "fixture"].iter().any(|word| name.contains(word))
    };
    files.retain(|path| !path.strip_prefix(&src).unwrap().components().any(of_tests));
    assert!(!files.is_empty(), "module {module} has no file");
    files
}

/// As many `super::` as lead from a file's module to the root of the crate.
fn to_root(file: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let module = file.strip_prefix(src).unwrap().with_extension("");
    let parts = module.components().filter(|part| part.as_os_str() != "mod");
    "super::".repeat(parts.count())
}

#[test]
fn dependencies_point_one_way() {
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    for (module, allowed) in MAY_USE {
        for file in files("src", module) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                !shipped(&text).contains(&to_root(&file)),
                "{} names a module by super:: up to the crate's root: crate:: is what is looked for here",
                file.display()
            );
            for name in used(&text) {
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

/// The tool's subcommands know the library, how the tool prints, and how it asks the machine; of one another they know nothing, but
/// for these.
const SUBCOMMANDS_USE: [(&str, &[&str]); 1] = [
    // whose executables lie in /opt/cni/bin is install's knowledge
    ("doctor", &["install"]),
];

/// Parts of a subcommand that decide or print, and the words that would show that they ask the machine, or what is decided from them.
const PARTS: [(&str, &str, &[&str]); 4] = [
    ("src/offload/doctor", "facts", &["checks", "verdict::", "render"]),
    ("src/offload/doctor", "checks", &["std::fs", "block_on", "render"]),
    ("src/offload/doctor", "render", &["std::fs", "block_on"]),
    (
        "src/offload/flows",
        "classify",
        &["std::fs", "block_on", "crate::output"],
    ),
];

#[test]
fn the_tools_subcommands_do_not_know_one_another() {
    let main = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/offload/main.rs")).unwrap();
    let modules: Vec<&str> = main
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert!(modules.contains(&"output") && modules.len() > 4, "{modules:?}");
    for module in &modules {
        let common: &[&str] = match *module {
            "output" | "machine" => &[],
            _ => &["output", "machine"],
        };
        let more = SUBCOMMANDS_USE.iter().find(|(name, _)| name == module);
        let allowed = [common, more.map_or(&[], |(_, allowed)| *allowed)].concat();
        for file in files("src/offload", module) {
            for name in used(&fs::read_to_string(&file).unwrap()) {
                let fine = name == *module || allowed.contains(&name.as_str()) || !modules.contains(&name.as_str());
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
fn what_decides_does_not_ask() {
    for (folder, part, words) in PARTS {
        for file in files(folder, part) {
            let text = fs::read_to_string(&file).unwrap();
            let shipped = shipped(&text);
            let code: String = shipped
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            for word in words {
                assert!(!code.contains(word), "{}: {word}", file.display());
            }
        }
    }
}

/// What only the tool needs is in no module that the plugin is made of.
#[test]
fn the_plugin_has_no_command_line() {
    for (module, _) in MAY_USE {
        for file in files("src", module) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(!text.contains("clap::"), "{}", file.display());
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
fn what_stands_behind_tests_is_read() {
    let text = "#[cfg(test)]\nmod tests;\nuse crate::net;\n#[cfg(test)]\n#[path = \"x.rs\"]\npub(crate) mod more {\n    use crate::verbs;\n    \
        fn f() {\n    }\n}\nimpl X {\n    #[cfg(test)]\n    fn g() {\n        crate::daemon::x();\n    }\n    fn h(x: crate::ovs::Y) {}\n}\n";
    let names: Vec<String> = used(text).into_iter().collect();
    assert_eq!(names, ["net", "ovs"]);
    let file = |name: &str| to_root(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name));
    assert_eq!(file("net/mod.rs"), "super::");
    assert_eq!(file("net/devlink/recorded.rs"), "super::super::super::");
}

#[test]
fn uses_are_found() {
    let text = "use crate::net::{self, Link};\nuse crate::{daemon, device::Error, state};\nfn f() -> crate::attach::X {}\n#[cfg(test)] use crate::verbs;";
    let names: Vec<String> = used(text).into_iter().collect();
    assert_eq!(names, ["attach", "daemon", "device", "net", "state"]);
}
