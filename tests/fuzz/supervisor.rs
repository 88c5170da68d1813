//! Starts a process for each target, and says what came of it in the words of the usual test program.

use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;

use crate::targets::{ALL, TRAPS};
use crate::{Target, worker};

/// The target of this name; also a trap.
pub(crate) fn named(name: &str) -> &'static Target {
    let mut all = ALL.iter().chain(TRAPS.iter());
    all.find(|target| target.name == name)
        .unwrap_or_else(|| panic!("no target {name}; there are:{}", names()))
}

fn names() -> String {
    ALL.iter().fold(String::new(), |mut names, target| {
        let _ = write!(names, " {}", target.name);
        names
    })
}

/// The seconds for each target (`FUZZ_SECONDS`), and the seed (`FUZZ_SEED`: a number, or `random`). The same seed gives the
/// same inputs, so the short run of `cargo test` does the same each time; how far it comes depends on the machine.
fn settings() -> (String, u64) {
    let seconds = std::env::var("FUZZ_SECONDS").unwrap_or_else(|_| "0.5".to_owned());
    let seed = match std::env::var("FUZZ_SEED").as_deref() {
        Ok("random") => RandomState::new().hash_one(0),
        Ok(number) => number.parse().expect("FUZZ_SEED is a number, or `random`"),
        Err(_) => 1,
    };
    (seconds, seed)
}

/// Runs a target. The failure tells what to do next.
fn run(target: &Target, is_trap: bool) -> Result<String, String> {
    let (seconds, seed) = settings();
    // the target's files go here: in memory where that can be had, and gone however the process ends
    let scratch = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let current = scratch.path().join("current");
    let mut worker = Command::new(std::env::current_exe().unwrap());
    if is_trap {
        worker.env("FUZZ_TIME_LIMIT_MS", "200"); // one is there to hang
    }
    let output = worker
        .args(["--worker", target.name, &seconds, &seed.to_string()])
        .arg(&current)
        .env("TMPDIR", scratch.path())
        .output()
        .unwrap();
    let input = worker::last_input(&current);
    if output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        return Ok(format!("{said} (seed {seed})"));
    }
    // CARGO_TARGET_TMPDIR is Cargo's folder for what tests leave behind
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    fs::create_dir_all(&folder).unwrap();
    let kept = folder.join(format!("{}-{seed}", target.name));
    fs::write(&kept, &input).unwrap();
    Err(format!(
        "{}{}: ended with {} at an input of {} bytes, kept in {}\nonce more: scripts/fuzz {} {}\n",
        String::from_utf8_lossy(&output.stderr),
        target.name,
        output.status,
        input.len(),
        kept.display(),
        target.name,
        kept.display(),
    ))
}

/// Feeds one file, in a process whose files lie where a worker's do: nobody else can write there.
pub(crate) fn replay(name: &str, file: &str) -> ExitCode {
    let scratch = tempfile::tempdir().unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap());
    process
        .args(["--replay-here", name, file])
        .env("TMPDIR", scratch.path());
    let status = process.status().unwrap();
    ExitCode::from(u8::from(!status.success()))
}

/// Runs the targets that the filters name, two at a time; all without any.
pub(crate) fn run_all(filters: &[&str]) -> ExitCode {
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
    let waiting: Vec<(&Target, bool)> = ALL
        .iter()
        .map(|target| (target, false))
        .chain(TRAPS.iter().map(|trap| (trap, true)))
        .filter(|(target, _)| wanted(target.name))
        .collect();
    let total = waiting.len();
    println!("\nrunning {total} tests");
    let waiting = Mutex::new(waiting.into_iter());
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = waiting.lock().unwrap().next();
            let Some((target, is_trap)) = next else {
                return;
            };
            let name = target.name;
            match (run(target, is_trap), is_trap) {
                (Ok(said), false) => println!("test {name} ... ok: {said}"),
                (Err(why), true) if why.contains(target.words[0]) => println!("test {name} ... ok: caught"),
                (Err(why), _) => {
                    println!("test {name} ... FAILED");
                    failures.lock().unwrap().push(why);
                }
                (Ok(_), true) => {
                    println!("test {name} ... FAILED");
                    failures.lock().unwrap().push(format!("{name}: not caught\n"));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(work);
        work();
        second.join().unwrap();
    });
    let failures = failures.into_inner().unwrap();
    for failure in &failures {
        print!("\n{failure}");
    }
    let (verdict, failed) = (if failures.is_empty() { "ok" } else { "FAILED" }, failures.len());
    let passed = total - failed;
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n");
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
