//! The log: a line for each record, on stderr, which runtimes and Multus put into their own logs, and in a file when the
//! node's settings name one. Never on stdout, which belongs to the protocol.
//!
//! A line is `key=value` pairs (logfmt), which grep and the readers of a journal both take: when, how serious, what the call
//! is about, then what the record has, `msg` last. A value that is not a plain word is in quotes, escaped and cut.
//! rtnetlink and netlink-proto log through the same door what they otherwise drop in silence.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::Write;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use log::kv::{self, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

use crate::text::quoted;

/// Of a value, in characters. A name has up to 253.
const MAX_VALUE: usize = 300;
/// Of a message: an error that lists what is wrong may have several sentences.
const MAX_MESSAGE: usize = 4000;

/// The device that the call is about, once it is known.
static DEVICE: Mutex<Option<String>> = Mutex::new(None);

struct Lines {
    about: String,
    level: LevelFilter,
    file: Option<File>,
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("kube_ovn");
        let most = if ours {
            self.level
        } else {
            self.level.min(LevelFilter::Warn)
        };
        metadata.level() <= most
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = line(&self.about, SystemTime::now(), record);
        // one write for a line, so that calls side by side do not mix theirs. Nobody may be reading, the disk may be full:
        // neither must stop the call.
        let _ = std::io::stderr().write_all(line.as_bytes());
        if let Some(mut file) = self.file.as_ref() {
            let _ = file.write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

fn line(about: &str, now: SystemTime, record: &Record<'_>) -> String {
    let mut line = format!("time={} level={}", Utc(now), record.level().as_str().to_lowercase());
    line.push_str(about);
    let device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(device) = device {
        pair(&mut line, "device", &device);
    }
    // our own visitor never fails
    let _ = record.key_values().visit(&mut Pairs(&mut line));
    line.push_str(" msg=");
    line.push_str(&quoted(&record.args().to_string(), MAX_MESSAGE));
    line.push('\n');
    line
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        pair(self.0, key.as_str(), &value.to_string());
        Ok(())
    }
}

fn pair(line: &mut String, key: &str, value: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+%".contains(c);
    line.push(' ');
    line.push_str(key);
    line.push('=');
    if !value.is_empty() && value.len() <= MAX_VALUE && value.chars().all(plain) {
        line.push_str(value);
    } else {
        line.push_str(&quoted(value, MAX_VALUE));
    }
}

/// A time as RFC 3339 has it, in UTC, with milliseconds.
struct Utc(SystemTime);

impl Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs();
        // Days to a date in the Gregorian calendar, whose cycle of 400 years has 146097 days; years begin in March here, so
        // that the leap day is their last.
        let days = seconds / 86400 + 719_468;
        let (cycle, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (year, month) = match month {
            0..=9 => (400 * cycle + year, month + 3),
            _ => (400 * cycle + year + 1, month - 9),
        };
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let millis = since.subsec_millis();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

/// Starts logging. `about` says what the call is about; what is "" is left out.
pub fn start(about: &[(&str, &str)], level: LevelFilter, file: Option<File>) {
    let mut text = String::new();
    for (key, value) in about.iter().filter(|(_, value)| !value.is_empty()) {
        pair(&mut text, key, value);
    }
    let lines = Lines {
        about: text,
        level,
        file,
    };
    if log::set_boxed_logger(Box::new(lines)).is_ok() {
        log::set_max_level(level);
    }
}

/// From here on the call is about this device.
pub fn device(device: impl Display) {
    *DEVICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(device.to_string());
}

/// Does one step of a call, and logs how it ended and how long it took.
pub fn step<'a, T: 'a, E: Display + 'a>(
    step: &'a str,
    work: impl Future<Output = Result<T, E>> + 'a,
) -> impl Future<Output = Result<T, E>> + 'a {
    // boxed: the steps of a call would otherwise lie side by side in its future; and dyn, or they would on the stack
    let work: Pin<Box<dyn Future<Output = Result<T, E>> + 'a>> = Box::pin(work);
    async move {
        let start = Instant::now();
        let result = work.await;
        let ms = millis(start);
        match &result {
            Ok(_) => log::info!(step, ms; "done"),
            Err(error) => log::warn!(step, ms; "{error}"),
        }
        result
    }
}

/// Milliseconds since then.
#[must_use]
pub fn millis(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn logged(about: &[(&str, &str)], message: &str, pairs: &[(&str, &str)]) -> String {
        let mut text = String::new();
        for (key, value) in about {
            pair(&mut text, key, value);
        }
        let arguments = format_args!("{message}").to_string();
        line(
            &text,
            UNIX_EPOCH + Duration::from_millis(1_798_761_599_999),
            &Record::builder()
                .level(log::Level::Warn)
                .key_values(&pairs)
                .args(format_args!("{arguments}"))
                .build(),
        )
    }

    #[test]
    fn a_line() {
        let about = [("verb", "ADD"), ("container", "0123456789ab"), ("pod", "default/nginx")];
        assert_eq!(
            logged(&about, "VF has no driver", &[("step", "take"), ("ms", "12")]),
            "time=2026-12-31T23:59:59.999Z level=warn verb=ADD container=0123456789ab pod=default/nginx step=take ms=12 \
             msg=\"VF has no driver\"\n"
        );
    }

    #[test]
    fn no_value_passes_for_another_or_for_a_line() {
        let evil = "x\" level=error msg=\"all is lost\ntime=2026 level=info msg=\"\u{1b}[2J\u{2028}";
        let line = logged(&[("pod", evil), ("network", "a b")], evil, &[("holder", evil)]);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains('\u{2028}'), "{line}");
        assert!(line.contains(" network=\"a b\" "), "{line}");
        // every quote of theirs is escaped: outside of quotes there are only our keys
        let mut outside = String::new();
        let (mut quoted, mut escaped) = (false, false);
        for c in line.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                c if !quoted => outside.push(c),
                _ => {}
            }
        }
        assert_eq!(
            outside,
            "time=2026-12-31T23:59:59.999Z level=warn pod= network= holder= msg=\n"
        );
    }

    #[test]
    fn a_line_has_an_end() {
        let long = "x".repeat(1 << 20);
        let line = logged(&[("pod", &long)], &long, &[("holder", &long)]);
        assert!(line.len() < MAX_MESSAGE + 2 * MAX_VALUE + 200, "{}", line.len());
    }

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Utc(UNIX_EPOCH + Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
