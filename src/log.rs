//! Log lines on stderr, which runtimes and Multus put into their own logs: one line a record, prefixed with the call.
//! rtnetlink and netlink-proto log through the same door what they otherwise drop in silence.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr {
    prefix: String,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn || metadata.target().starts_with("kube_ovn")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_lowercase();
            // a pod's name comes from the caller, and must not look like a line of ours
            let mut line = format!("{}: {level}: {}", self.prefix, record.args()).replace(char::is_control, " ");
            line.push('\n');
            // nobody may be reading; that must not stop the call
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Starts logging; `call` names the verb and what it is about.
pub fn start(call: &str) {
    let logger = Stderr {
        prefix: format!("kube-ovn {call}"),
    };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
