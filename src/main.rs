//! The CNI executable: reads the call, runs the verb, and is the only one to write on stdout.

mod answer;

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use kube_ovn::cni::{self, Call, Code, Environment, Failure, Invocation, NetConf, Version};
use kube_ovn::node::{self, Deadlines, Settings};
use kube_ovn::state::BootTime;
use kube_ovn::verbs::{self, Caller, Clock};
use kube_ovn::watchdog;

/// Nothing reads it at run time.
#[used]
static MARK: &str = kube_ovn::MARK;

fn main() -> ExitCode {
    let since = BootTime::now();
    let env = Environment::from_process();
    if env.command.is_none() {
        return without_command();
    }
    std::panic::set_hook(Box::new(report_panic));
    match run(&env, since) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Err(error) = answer::give(&failure.render()) {
                write_stderr(&format!(
                    "kube-ovn: cannot write the answer to stdout: {error}; it is: {failure}"
                ));
            }
            ExitCode::FAILURE
        }
    }
}

/// Called by a person. Arguments mean something only here: the protocol has none.
fn without_command() -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    if std::env::args_os().nth(1).is_some_and(|arg| arg == "--version") {
        return match answer::give(format!("kube-ovn {version}\n").as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let versions = Version::ALL.map(Version::as_str).join(", ");
    write_stderr(&format!(
        "CNI kube-ovn plugin {version}\nCNI protocol versions supported: {versions}"
    ));
    ExitCode::SUCCESS
}

/// One call, from stdin to its answer.
fn run(env: &Environment, since: BootTime) -> Result<(), Failure> {
    let stdin = read_stdin()?;
    let settings = || Settings::load(Path::new(node::PATH));
    match cni::parse(env, &stdin, &own_name())? {
        Invocation::Version { answer } => answer::give(&answer)
            .map_err(|error| Failure::new(Code::Io, format!("cannot write the answer: {error}"), "")),
        Invocation::Add(call) => {
            let about = About::call("ADD", &call);
            let settings = settings();
            on_runtime(&about, &settings, Clock::of_add, async |clock| {
                let caller = Caller {
                    since,
                    listens: &answer::is_awaited,
                    answer: &answer::give,
                };
                verbs::add(*call, &settings, clock, &caller).await
            })
        }
        Invocation::Del(call) => {
            let about = About::call("DEL", &call);
            let settings = settings();
            on_runtime(&about, &settings, Clock::of_del, |clock| {
                verbs::del(*call, &settings, clock)
            })
        }
        Invocation::Gc(conf) => {
            let about = About::network("GC", &conf);
            on_runtime(&about, &settings(), Clock::of_del, |clock| verbs::gc(&conf, clock))
        }
        Invocation::Check(call) => {
            let about = About::call("CHECK", &call);
            let settings = settings();
            on_runtime(&about, &settings, Clock::of_del, |clock| {
                verbs::check(*call, &settings, clock)
            })
        }
        Invocation::Status(conf) => {
            let about = About::network("STATUS", &conf);
            let settings = settings();
            on_runtime(&about, &settings, Clock::of_del, |_| verbs::status(&conf, &settings))
        }
        Invocation::Usage => Ok(()),
    }
}

/// What a call is about, for the log and for errors.
struct About {
    verb: &'static str,
    keys: Vec<(&'static str, String)>,
    version: Version,
}

impl About {
    fn call(verb: &'static str, call: &Call) -> Self {
        let pod = match (call.pod.namespace.as_str(), call.pod.name.as_str()) {
            ("", "") => String::new(),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        let device = call.conf.device_id().ok().flatten();
        if let Some(device) = device {
            kube_ovn::log::device(device);
        }
        Self {
            keys: vec![
                ("network", call.conf.name.clone()),
                ("container", call.container.to_string()),
                ("interface", call.ifname.to_string()),
                ("pod", pod),
            ],
            ..Self::network(verb, &call.conf)
        }
    }

    fn network(verb: &'static str, conf: &NetConf) -> Self {
        Self {
            verb,
            keys: vec![("network", conf.name.clone())],
            version: conf.version,
        }
    }

    /// From here on there is a log, where the node's settings want it.
    fn start_log(&self, settings: &Settings) {
        let about = std::iter::once(("verb", self.verb));
        let about: Vec<(&str, &str)> = about
            .chain(self.keys.iter().map(|(key, value)| (*key, value.as_str())))
            .collect();
        let path = settings.config.log_file.as_deref();
        let opened = path.map(|path| node::append(path).map_err(|why| (path, why)));
        let (file, unfit) = match opened {
            Some(Ok(file)) => (Some(file), None),
            Some(Err(unfit)) => (None, Some(unfit)),
            None => (None, None),
        };
        kube_ovn::log::start(&about, settings.config.log_level, file);
        if let Some((path, why)) = unfit {
            log::warn!("log_file {} is not used: {why}", path.display());
        }
        if let Some(problem) = &settings.problem {
            log::warn!("{problem}");
        }
    }
}

/// Runs a verb on the one thread that it needs, with a watchdog beside it.
fn on_runtime<F: Future<Output = Result<(), Failure>>>(
    about: &About,
    settings: &Settings,
    clock: impl FnOnce(&Deadlines) -> Clock,
    work: impl FnOnce(Clock) -> F,
) -> Result<(), Failure> {
    let start = Instant::now();
    about.start_log(settings);
    let clock = clock(&settings.config.deadlines);
    // else a kernel that gives them to everybody (`always`) may back a thread's stack, of which we touch a few KiB, with 2 MiB
    let _ = nix::sys::prctl::set_thp_disable(true);
    let (verb, version) = (about.verb, about.version);
    if let Err(error) = watchdog::start(clock.end(), move || give_up(verb, version)) {
        log::warn!("no watchdog: {error}");
    }
    // room for the events of a few sockets; by default it is for 1,024
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_io_events_per_tick(16)
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(begin(work, clock)),
        Err(error) => Err(Failure::new(Code::Internal, format!("cannot start: {error}"), "")),
    };
    let ms = kube_ovn::log::millis(start);
    match &result {
        // runtimes ask for STATUS all the time
        Ok(()) if matches!(about.verb, "ADD" | "DEL") => log::info!(ms; "done"),
        Ok(()) => log::debug!(ms; "done"),
        Err(failure) => log::error!(ms, code = failure.code as u16; "{failure}"),
    }
    result.map_err(|failure| Failure {
        version: Some(about.version),
        ..failure
    })
}

/// The call has not ended in time: its caller gets an answer all the same. What was begun is on disk for the next DEL.
fn give_up(verb: &str, version: Version) {
    let msg = format!("{verb} has not ended in time: the kernel or kube-ovn-daemon hangs");
    let failure = Failure::new(
        Code::TryAgainLater,
        msg,
        "what was begun is recorded; the next DEL takes it back",
    );
    let failure = Failure {
        version: Some(version),
        ..failure
    };
    let given = answer::give(&failure.render());
    // a result that was given already is true; what came after it can wait for the next call
    std::process::exit(i32::from(given.is_ok()));
}

/// The future of a verb, on the heap: what its caller builds on its stack stays there until the verb has ended.
#[inline(never)]
fn begin<'a, F: Future + 'a>(
    work: impl FnOnce(Clock) -> F,
    clock: Clock,
) -> Pin<Box<dyn Future<Output = F::Output> + 'a>> {
    Box::pin(work(clock))
}

/// One byte more than a netconf may have is enough for [`cni::parse`] to refuse it.
fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(cni::MAX_NETCONF).map_or(u64::MAX, |max| max + 1);
    match io::stdin().lock().take(limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::new(Code::Io, format!("error reading from stdin: {error}"), "")),
    }
}

/// The name that we are installed under. The kernel's word for it, since callers may set argv[0] to anything;
/// in a chroot without /proc there is only argv[0].
fn own_name() -> String {
    let path = std::env::current_exe()
        .ok()
        .or_else(|| std::env::args_os().next().map(PathBuf::from));
    let name = path
        .as_deref()
        .and_then(std::path::Path::file_name)
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    // what the kernel appends when an upgrade has replaced the file under us (d_path in fs/d_path.c)
    name.strip_suffix(" (deleted)").unwrap_or(name).to_owned()
}

/// Replaces the default hook, whose text would be all that the caller gets. Nothing is unwound or undone here:
/// what was begun is on disk, and the caller's DEL takes it back.
fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref().map(String::as_str));
    let what = text.unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let failure = Failure::new(
        Code::Internal,
        format!("bug in the plugin: {what}"),
        format!("panic at {place}"),
    );
    write_stderr(&format!("kube-ovn: {failure}"));
    // the exit status says the same if stdout is gone
    let _ = answer::give(&failure.render());
    std::process::exit(1);
}

/// A line. Not `eprintln!`, which panics when nobody reads stderr any more.
fn write_stderr(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
