//! `kube-ovn-offload`, the operator's tool: what the plugin sees on this node, and why. One subcommand a file; none of
//! it is in the plugin, whose executable knows no arguments.

mod output;
mod vf;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What the plugin kube-ovn sees of this node's offload NICs, and why.
#[derive(Debug, Parser)]
#[command(name = "kube-ovn-offload", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the representor of a VF or sub-function, how it was found, and what was ruled out.
    Vf(vf::Arguments),
}

/// How a command ended, for scripts. Wrong arguments are 2, which clap exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// What was asked for is there.
    Found = 0,
    /// The device is there, but the plugin can't use it; the message says what would help.
    Unusable = 1,
    /// There is no such device, or it is not what it should be.
    NoSuchDevice = 3,
    /// The kernel did not answer.
    NoAnswer = 4,
}

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let mut text = Vec::new();
    let status = match command {
        Command::Vf(arguments) => vf::run(&arguments, &mut text),
    };
    match io::stdout().write_all(&text).and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::from(status as u8),
        // nobody reads it: a pager that was closed
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(status as u8),
        Err(error) => {
            let _ = writeln!(io::stderr(), "kube-ovn-offload: cannot write to stdout: {error}");
            ExitCode::from(Status::NoAnswer as u8)
        }
    }
}
