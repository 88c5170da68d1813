//! Fuzz targets: whatever a stranger or a kernel can send us, fed to the code that reads it. README.md beside this file
//! says how to run them for longer, and how to add one.
//!
//! Each target runs in a process of its own (`worker`), so that a hang, a stack overflow or an allocation without bound
//! is as good a finding as a panic; `supervisor` starts them and keeps the input that did it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "test code: a failed step is a failed test"
)]

mod mutate;
mod supervisor;
mod targets;
mod worker;

use std::process::ExitCode;

/// What is fuzzed.
struct Target {
    /// Its name.
    name: &'static str,
    /// Folders of the repository whose files are the inputs to begin with.
    seeds: &'static [&'static str],
    /// Texts that mean something in this format, for the mutations.
    words: &'static [&'static str],
    /// Feeds one input; must return, whatever the input is. The answer tells kinds of input apart: one whose answer has
    /// a shape not seen before is kept and mutated further.
    run: fn(&[u8]) -> String,
}

/// Every allocation of this process, so that an input can be given a bound.
#[global_allocator]
static MEMORY: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--worker", name, seconds, seed, current] => {
            worker::fuzz(supervisor::named(name), seconds, seed, current);
            ExitCode::SUCCESS
        }
        ["--replay", name, file] => supervisor::replay(name, file),
        ["--replay-here", name, file] => {
            worker::replay(supervisor::named(name), file);
            ExitCode::SUCCESS
        }
        ["--list"] => {
            for target in &targets::ALL {
                println!("{}", target.name);
            }
            ExitCode::SUCCESS
        }
        // as cargo test passes them: filters, and options of the usual test program, which mean nothing here
        filters => {
            let filters: Vec<&str> = filters.iter().copied().filter(|text| !text.starts_with('-')).collect();
            supervisor::run_all(&filters)
        }
    }
}
