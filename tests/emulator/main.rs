//! An emulator of kube-ovn-daemon, v1.12 to HEAD, with its bugs: the daemon of the end-to-end tests and of the demo.
//!
//! It shares no code with the crate: HTTP, netlink and OVSDB it speaks itself, so that a mistake of ours is not made twice.
//! README.md beside this file says which line of the original each behaviour comes from.

mod add;
mod at_once;
mod container;
mod del;
mod devlink;
mod faults;
mod http;
mod inet;
mod kernel;
mod netlink;
mod nic;
mod options;
mod ovs;
mod ovsdb;
mod pods;
mod record;
mod restful;
mod sriov;
mod versions;
mod wire;

use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};

use options::Options;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&arguments).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("kube-ovn-daemon-emulator: {message}");
            ExitCode::from(2)
        }
    }
}

fn serve(options: Options) -> Result<(), String> {
    let socket = options.socket.clone();
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("cannot remove the stale socket {}: {error}", socket.display()));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(&socket).map_err(|error| format!("cannot listen on {}: {error}", socket.display()))?;
    remove_socket_on_signal(socket)?;
    if let Some(ready) = &options.ready_file {
        std::fs::write(ready, "").map_err(|error| format!("cannot write {}: {error}", ready.display()))?;
    }
    let interval = options.garbage_collection;
    if !interval.is_zero() {
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(interval);
                ovs::collect_garbage();
            }
        });
    }
    let options = Arc::new(options);
    for stream in listener.incoming() {
        let stream = stream.map_err(|error| format!("accept: {error}"))?;
        let options = Arc::clone(&options);
        // one thread a connection and no lock anywhere, as net/http: requests for the same pod really race
        std::thread::spawn(move || http::serve_connection(&stream, |request| record::answer(&options, request)));
    }
    Ok(())
}

/// The original's start script removes the socket when the daemon ends, so clients see ENOENT, not ECONNREFUSED.
fn remove_socket_on_signal(socket: std::path::PathBuf) -> Result<(), String> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    // blocked here, before any thread exists: every thread inherits the mask and only the waiter gets the signal
    signals
        .thread_block()
        .map_err(|error| format!("cannot block signals: {error}"))?;
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            // gone already is as good as removed
            let _ = std::fs::remove_file(&socket);
            std::process::exit(0);
        }
    });
    Ok(())
}
