//! The process that feeds inputs to one target.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::mutate::{self, MAX_INPUT, Random};
use crate::{MEMORY, Target};

/// What one input may allocate. The bounds of our parsers are far lower, but JSON of 64 KiB that is all brackets takes
/// megabytes as a tree.
const MEMORY_LIMIT: usize = 32 * 1024 * 1024;

/// How long one input may take: no parser of ours needs a millisecond, but the machine may be busy.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// So many inputs are kept for their answers.
const MAX_KEPT: usize = 4096;

/// Inputs done so far, for the watchdog.
static DONE: AtomicU64 = AtomicU64::new(0);

/// The time limit; `FUZZ_TIME_LIMIT_MS` sets another.
fn time_limit() -> Duration {
    let set = std::env::var("FUZZ_TIME_LIMIT_MS").ok();
    set.map_or(TIME_LIMIT, |text| Duration::from_millis(text.parse().unwrap()))
}

/// Ends the process when an input takes too long.
fn watch() {
    let limit = time_limit();
    std::thread::spawn(move || {
        let (mut seen, mut since) = (u64::MAX, Instant::now());
        loop {
            std::thread::sleep(limit / 8);
            let done = DONE.load(Ordering::Relaxed);
            if done != seen {
                (seen, since) = (done, Instant::now());
            } else if since.elapsed() > limit {
                eprintln!("no answer within {limit:?}");
                std::process::abort();
            }
        }
    });
}

/// Feeds one input within the limits.
fn feed(target: &Target, input: &[u8]) -> String {
    MEMORY.set_limit(MEMORY.allocated() + MEMORY_LIMIT).unwrap();
    let answer = (target.run)(input);
    MEMORY.set_limit(usize::MAX).unwrap();
    DONE.fetch_add(1, Ordering::Relaxed);
    answer
}

/// Feeds the corpus, then mutations of it for `seconds`; prints how many inputs that were. The input at work stands in
/// the file `current`: its length in 8 bytes, then itself.
pub(crate) fn fuzz(target: &Target, seconds: &str, seed: &str, current: &str) {
    let end = Instant::now() + Duration::from_secs_f64(seconds.parse().unwrap());
    let mut random = Random::new(seed.parse().unwrap());
    let current = File::create(current).unwrap();
    let feed = |input: &[u8]| {
        let length = u64::try_from(input.len()).unwrap().to_ne_bytes();
        current.write_all_at(&[&length, input].concat(), 0).unwrap();
        shape(&feed(target, input))
    };
    let mut corpus = corpus(target);
    let begun = corpus.len();
    watch();
    let mut shapes: HashSet<u64> = corpus.iter().map(|input| feed(input)).collect();
    while Instant::now() < end {
        let input = mutate::next(&mut random, &corpus, target.words);
        if shapes.insert(feed(&input)) && corpus.len() < begun + MAX_KEPT {
            corpus.push(input);
        }
    }
    let inputs = DONE.load(Ordering::Relaxed);
    println!("{inputs} inputs from {begun} files, {} kinds of answers", shapes.len());
}

/// Feeds one file and shows the answer.
pub(crate) fn replay(target: &Target, file: &str) {
    let input = read(Path::new(file)).unwrap();
    watch();
    println!("{}", feed(target, &input));
}

/// The input that `fuzz` left behind.
pub(crate) fn last_input(current: &Path) -> Vec<u8> {
    let bytes = fs::read(current).unwrap_or_default();
    match bytes.split_first_chunk() {
        Some((length, rest)) => {
            let length = usize::try_from(u64::from_ne_bytes(*length)).unwrap();
            rest[..length.min(rest.len())].to_vec()
        }
        None => Vec::new(),
    }
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = target
        .seeds
        .iter()
        .flat_map(|folder| fs::read_dir(top.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && !path.ends_with("README.md"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no inputs to begin with");
    files.iter().map(|file| read(file).unwrap()).collect()
}

/// The bytes of an input's file. Those named `.hex` are in hexadecimal, with `#` before comments.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file.extension().is_some_and(|extension| extension == "hex") {
        let text = fs::read_to_string(file)?;
        let digits = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::chars);
        let digits: Vec<u32> = digits.filter_map(|c| c.to_digit(16)).collect();
        bytes.extend(
            digits
                .chunks_exact(2)
                .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()),
        );
    } else {
        // O_NONBLOCK is not needed: these are files of the repository, or what a run kept
        std::io::Read::read_to_end(&mut OpenOptions::new().read(true).open(file)?, &mut bytes)?;
    }
    bytes.truncate(MAX_INPUT);
    Ok(bytes)
}

/// An answer without what the input chose in it: quoted texts, and how large its numbers are.
fn shape(answer: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let (mut quoted, mut digits) = (false, false);
    for c in answer.chars().take(4096) {
        let is_digit = c.is_ascii_digit();
        if !(quoted || digits && is_digit) {
            (if is_digit { '0' } else { c }).hash(&mut hasher);
        }
        digits = is_digit;
        quoted ^= c == '"';
    }
    hasher.finish()
}
