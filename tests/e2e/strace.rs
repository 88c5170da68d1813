//! The plugin under strace: which of its system calls change something, and its death at one of them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::call::{Answer, Call, Running};
use crate::nic::Vf;
use crate::pod::Pod;

/// What can change the world: files, links, sockets.
const CALLS: &str = "mkdir,mkdirat,openat,rename,renameat,renameat2,unlink,unlinkat,ftruncate,write,writev,pwrite64,connect,sendto,sendmsg";
const DIRECTORY: &str = "/run/e2e";

/// A system call that changes something.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    name: String,
    /// The file that it is about.
    path: Option<Template>,
    /// Which call of this name, about this file if there is one, it is of its thread, from 1.
    number: usize,
    text: String,
}

/// A path in which device and container are those of whoever makes the call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Template(String);

impl Template {
    fn of(path: &str, pod: &Pod, vf: &Vf) -> Self {
        Self(path.replace(&vf.pci, "{device}").replace(&pod.container, "{container}"))
    }

    fn for_call_of(&self, pod: &Pod, vf: &Vf) -> String {
        self.0
            .replace("{device}", &vf.pci)
            .replace("{container}", &pod.container)
    }
}

/// A call that is to die.
pub(crate) struct Doomed {
    running: Running,
    trace: String,
}

/// Runs a pod's call to its end; all that it does that changes something, in order.
pub(crate) fn points(call: &Call, pod: &Pod, vf: &Vf) -> Vec<Point> {
    let trace = format!("{DIRECTORY}/strace");
    let calls = format!("trace={CALLS}");
    // -yy: which file a descriptor is. A filter in the kernel lets strace sleep through all other calls; with it nothing can be injected
    let words = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-yy",
        "-e",
        "signal=none",
        "-e",
        &calls,
        "-o",
        &trace,
    ];
    let answer = call.clone().through(&words).run();
    assert_eq!(answer.rc, 0, "{answer:?}");
    let text = fs::read_to_string(trace).expect("strace's output");
    let mut counts = BTreeMap::new();
    let mut main = None;
    let mut points = Vec::new();
    for line in text.lines() {
        // 1234  rename("/run/…", "/run/…") = 0
        let Some((thread, text)) = line.split_once(' ').map(|(thread, text)| (thread, text.trim())) else {
            continue;
        };
        let Some((name, arguments)) = text.split_once('(').filter(|_| !text.starts_with('<')) else {
            continue; // the end of a call that another thread's line has cut in two
        };
        let path = path(name, arguments).map(|path| Template::of(path, pod, vf));
        let mut count = |path: Option<Template>| {
            let number: &mut usize = counts.entry((thread, name, path)).or_default();
            *number += 1;
            *number
        };
        // without a file that it could go by, strace counts all calls of the name
        let of_all = count(None);
        let number = path.clone().map_or(of_all, |path| count(Some(path)));
        // strace counts for each thread: what another one does has a number of the first's, unless a file tells them apart
        let is_main = *main.get_or_insert(thread) == thread;
        if !arguments.contains(" = -1 E") && changes(name, arguments) && (is_main || path.is_some()) {
            points.push(Point {
                name: name.to_owned(),
                number,
                path,
                text: text.to_owned(),
            });
        }
    }
    points
}

/// What a call asks of the kernel: `scripts/bench pods` has the whole of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Requests by rtnetlink.
    pub(crate) rtnetlink: usize,
    /// Requests by generic netlink: devlink and ethtool.
    pub(crate) generic: usize,
    /// Requests to move a link to another network namespace.
    pub(crate) moves: usize,
    /// Threads that enter a network namespace.
    pub(crate) setns: usize,
}

/// Runs a call to its end, and counts what it asks of the kernel.
pub(crate) fn asked(call: &Call) -> Asked {
    let trace = format!("{DIRECTORY}/asked");
    let filter = "trace=socket,sendto,sendmsg,setns";
    // -y: a socket by its inode, since strace knows the protocol of those of its own network namespace only; -xx: nor what is in their
    // messages, which are shown as bytes then
    let words = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-xx",
        "-s",
        "256",
        "-e",
        "signal=none",
        "-e",
        filter,
        "-o",
        &trace,
    ];
    let answer = call.clone().through(&words).run();
    assert_eq!(answer.rc, 0, "{answer:?}");
    let text = fs::read_to_string(trace).expect("strace's output");
    let mut generic = Vec::new();
    let mut asked = Asked::default();
    let socket = |line: &str| Some(line.split_once('<')?.1.split_once('>')?.0.to_owned());
    for line in text.lines() {
        if line.contains("NETLINK_GENERIC") {
            generic.extend(socket(line));
        } else if line.contains(" setns(") {
            asked.setns += 1;
        } else if line.contains("nlmsg_len=") {
            let is_generic = socket(line).is_some_and(|inode| generic.contains(&inode));
            asked.generic += usize::from(is_generic);
            asked.rtnetlink += usize::from(!is_generic);
            // its length, and its type (linux/if_link.h)
            let moves = line.contains("IFLA_NET_NS_FD") || line.contains(r"\x08\x00\x1c\x00");
            asked.moves += usize::from(moves && !is_generic);
        }
    }
    asked
}

/// The file that a call names, or that its descriptor is.
fn path<'a>(name: &str, arguments: &'a str) -> Option<&'a str> {
    let quoted = || arguments.split('"').nth(1);
    match name {
        "write" | "writev" | "pwrite64" | "ftruncate" => {
            arguments.split(['<', '>']).nth(1).filter(|path| path.starts_with('/'))
        }
        "connect" | "sendto" | "sendmsg" => None,
        _ => quoted(),
    }
}

fn changes(name: &str, arguments: &str) -> bool {
    match name {
        "openat" => ["O_CREAT", "O_WRONLY", "O_RDWR"]
            .iter()
            .any(|flag| arguments.contains(flag)),
        "write" | "writev" => !arguments.contains("<anon_inode:"),
        "sendto" | "sendmsg" => !asks_only(arguments),
        _ => true,
    }
}

/// Types of netlink messages come in fours: new, delete, get, set (include/uapi/linux/rtnetlink.h). strace knows their names only
/// on sockets of its own network namespace.
fn asks_only(arguments: &str) -> bool {
    let Some(kind) = arguments.split("nlmsg_type=").nth(1) else {
        return false;
    };
    let number = kind.strip_prefix("0x").and_then(|kind| kind.split([' ', ',']).next());
    let number = number.and_then(|number| u32::from_str_radix(number, 16).ok());
    kind.starts_with("RTM_GET") || number.is_some_and(|number| number % 4 == 2)
}

impl Point {
    /// Without what differs from call to call.
    pub(crate) fn describe(&self) -> String {
        let about = match &self.path {
            Some(path) => path.0.clone(),
            None => self.text.chars().skip(self.name.len()).take(260).collect(),
        };
        format!("{} {} {about}", self.name, self.number)
    }

    /// Starts the same call of a pod; it dies before the kernel does anything of this system call.
    pub(crate) fn kill(&self, call: &Call, pod: &Pod, vf: &Vf) -> Doomed {
        static TRACES: AtomicU32 = AtomicU32::new(1);
        let Self { name, number, .. } = self;
        let trace = format!("{DIRECTORY}/kill{}", TRACES.fetch_add(1, Ordering::Relaxed));
        let calls = format!("trace={name}");
        let inject = format!("inject={name}:signal=KILL:when={number}");
        let path = self.path.as_ref().map(|path| path.for_call_of(pod, vf));
        let mut words = vec!["strace", "-f", "-qq", "-e", &calls, "-e", &inject, "-o", &trace];
        words.extend(path.iter().flat_map(|path| ["-P", path.as_str()]));
        Doomed {
            running: call.clone().through(&words).start(),
            trace,
        }
    }
}

impl Doomed {
    /// The call that was its last one, or its answer if it never came there.
    pub(crate) fn end(self) -> Result<String, Answer> {
        let answer = self.running.end_or_death();
        let trace = fs::read_to_string(&self.trace).unwrap_or_default();
        let _ = fs::remove_file(&self.trace);
        match answer {
            Some(answer) => Err(answer),
            None => {
                let last = trace.lines().rfind(|line| line.contains('('));
                Ok(last.unwrap_or("no call was traced").to_owned())
            }
        }
    }
}
