//! `kube-ovn-offload`, the operator's tool: what the plugin sees on this node, and why. One subcommand a file; none of
//! it is in the plugin, whose executable knows no arguments.

mod attachments;
mod check;
mod doctor;
mod flows;
mod gc;
mod install;
mod machine;
mod node;
mod output;
mod vf;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// From a bare node to offloaded traffic of Kube-OVN's pods, and why some is not.
#[derive(Debug, Parser)]
#[command(
    name = "kube-ovn-offload",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
On a new node:
  kube-ovn-offload node prepare --pf PF --vfs N --persist
  kube-ovn-offload install
  kube-ovn-offload doctor
Traffic is slow:
  kube-ovn-offload doctor
  kube-ovn-offload flows --pod NAMESPACE/NAME --rates 10

Each command's --help has examples and says how it ends. It must run as root, in
the host's network namespace."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What each does stands at its arguments: a line here would replace all of that in its `--help`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Prepares this node's NICs for offload, shows how they are, and undoes it.
    #[command(subcommand)]
    Node(node::Command),
    Install(install::Arguments),
    Uninstall(install::UninstallArguments),
    Doctor(doctor::Arguments),
    Flows(flows::Arguments),
    Attachments(attachments::Arguments),
    Check(check::Arguments),
    Gc(gc::Arguments),
    Vf(vf::Arguments),
}

/// How a command ended, for scripts. Wrong arguments are 2, which clap exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// All is well.
    Fine = 0,
    /// It was looked at, and something is wrong; or what was asked for was refused. The message says what would help.
    Wrong = 1,
    /// There is no such device, pod or record, or it is not what it should be.
    NoSuchThing = 3,
    /// The kernel, Open vSwitch or a file could not be asked, or the rights to do so are missing.
    NoAnswer = 4,
}

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let mut text = Vec::new();
    let status = match command {
        Command::Doctor(arguments) => doctor::run(&arguments, &mut text),
        // these may be many, and come again and again
        Command::Flows(arguments) => return ExitCode::from(flows::run(&arguments, &mut io::stdout().lock()) as u8),
        Command::Vf(arguments) => vf::run(&arguments, &mut text),
        Command::Node(command) => node::run(&command, &mut text),
        Command::Attachments(arguments) => attachments::run(&arguments, &mut text),
        Command::Install(arguments) => install::run(&arguments, &mut text),
        Command::Uninstall(arguments) => install::uninstall(&arguments, &mut text),
        Command::Check(arguments) => check::run(&arguments, &mut text),
        Command::Gc(arguments) => gc::run(&arguments, &mut text),
    };
    match io::stdout().write_all(&text).and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::from(status as u8),
        // nobody reads it: a pager that was closed
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(status as u8),
        Err(error) => {
            output::complain(&format!("cannot write to stdout: {error}"));
            ExitCode::from(Status::NoAnswer as u8)
        }
    }
}
