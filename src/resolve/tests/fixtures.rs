//! tests/fixtures/sysfs: every machine gives the answers that it expects.

use std::fs;
use std::path::{Path, PathBuf};

use super::{answer, recorded};
use crate::device::fixture::Tree;
use crate::net::devlink::Recorded;

pub(super) fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sysfs");
    let mut files: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {}", dir.display());
    files
}

/// With `KUBE_OVN_FIXTURES=write` the answers that are given replace those that are expected; then look at the difference.
#[test]
fn every_fixture_gives_what_it_expects() {
    let write = std::env::var_os("KUBE_OVN_FIXTURES").is_some_and(|value| value == "write");
    let mut wrong = Vec::new();
    for file in fixtures() {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let fixture = Tree::load(&file);
        assert!(!fixture.expectations.is_empty(), "{name} expects nothing");
        let devlink = recorded(&fixture.devlink);
        for expected in fixture.expectations {
            let answer = answer(&fixture.tree, &devlink, &expected.address);
            if answer != expected.answer {
                let (address, old) = (&expected.address, &expected.answer);
                if write {
                    let text = fs::read_to_string(&file).unwrap();
                    let text = text.replace(
                        &format!("expect {address} {old}"),
                        &format!("expect {address} {answer}"),
                    );
                    fs::write(&file, text).unwrap();
                }
                wrong.push(format!("{name}: {address}\n  expected {old}\n  found    {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A machine whose devlink knows nothing may have no answer, but never another one.
#[test]
fn without_devlink_no_other_representor_is_found() {
    let representor = |answer: &str| {
        let found = answer.split(" representor=").nth(1)?;
        found.split(':').next().map(str::to_owned)
    };
    let mut compared = 0;
    for file in fixtures() {
        let fixture = Tree::load(&file);
        if fixture.devlink.is_empty() {
            continue;
        }
        // that the mode is wrong is what only devlink knows
        let known = |answer: &str| !answer.contains("offload needs switchdev");
        for expected in fixture.expectations.iter().filter(|expected| known(&expected.answer)) {
            let answer = answer(&fixture.tree, &Recorded::default(), &expected.address);
            if let Some(found) = representor(&answer) {
                assert_eq!(
                    Some(found),
                    representor(&expected.answer),
                    "{}: {}: {answer}",
                    file.display(),
                    expected.address
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 10, "only {compared} answers were compared");
}
