//! `install` and `uninstall`: the plugin among the node's CNI plugins, and gone from there. All is looked at before anything is changed;
//! then the executable, and last the drop-in that makes a runtime call it. `uninstall` goes the other way.

mod conflist;
mod executable;
mod folder;
mod remove;
mod stay;

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::Status;
use crate::output::{Output, complain, shown};
use conflist::Found;
pub(crate) use executable::{Whose, whose};
use folder::Folder;
pub(crate) use remove::{Arguments as UninstallArguments, run as uninstall};

const EXECUTABLE_MODE: u32 = 0o755;
/// As Kube-OVN from v1.14.15 on has it: the drop-in is root's business.
const CONFLIST_MODE: u32 = 0o600;
const MAX_NAME: usize = 64;

/// Puts the plugin among the node's CNI plugins, in place of the stock one, which is kept.
///
/// The plugin's executable lies beside this one, unless --from names another. It is put in place as a whole: a runtime that calls it meanwhile runs
/// the old one or the new one. An executable of another origin that has its name is kept as NAME.before-offload, for `uninstall`. To do it
/// again changes nothing.
///
/// Kube-OVN's pod kube-ovn-cni puts the stock plugin back whenever it starts; --stay keeps this running, to put ours back then.
///
/// Exit status: 0 it is installed, 1 something of the user's is in the way (with --check: it is not as `install` would leave it), 4 a file could not be read
/// or written.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kube-ovn-offload install
      in place of the stock plugin, which Kube-OVN's conflist calls by that name
  kube-ovn-offload install --name kube-ovn-offload
      beside the stock plugin; a network's \"type\" chooses between them
  kube-ovn-offload install --check && echo 'still there'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Write the drop-in as well: the plugin becomes the node's default network. Not needed where Kube-OVN does that.
    #[arg(long)]
    conflist: bool,
    /// The plugin's executable [default: kube-ovn beside this one].
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Change nothing, only tell whether all is as `install` would leave it: for readiness probes.
    #[arg(long, conflicts_with = "stay")]
    check: bool,
    /// Go on running until SIGTERM, and put the plugin back whenever another one has been put in its place: for containers.
    #[arg(long)]
    stay: bool,
    /// How to show what was done.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Where the files are.
#[derive(Debug, Args)]
struct Place {
    /// The directory of the CNI plugins.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    bin_dir: PathBuf,
    /// The plugin's name there: the "type" of the networks that it serves.
    #[arg(long, default_value = "kube-ovn", value_parser = file_name)]
    name: String,
    /// The directory of the runtime's configurations.
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    conf_dir: PathBuf,
    /// The drop-in's name there [default: 01-NAME.conflist]. The first one in alphabetical order is the node's default network.
    #[arg(long, value_name = "NAME", value_parser = conflist_name)]
    conf_name: Option<String>,
}

impl Place {
    fn executable(&self) -> PathBuf {
        self.bin_dir.join(&self.name)
    }

    /// The name under which another's executable is kept.
    fn kept(&self) -> String {
        format!("{}.before-offload", self.name)
    }

    fn conf_name(&self) -> String {
        let default = || format!("01-{}.conflist", self.name);
        self.conf_name.clone().unwrap_or_else(default)
    }
}

/// A word that can be a file's name, and stand in a line of JSON.
fn file_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits) && text.len() <= MAX_NAME {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "expected up to {MAX_NAME} letters, digits, '.', '-' and '_', a letter or digit first"
        ))
    }
}

fn conflist_name(text: &str) -> Result<String, String> {
    let name = file_name(text)?;
    if name.ends_with(".conflist") {
        Ok(name)
    } else {
        Err("expected a name that ends in .conflist, which is what runtimes read".to_owned())
    }
}

/// Why it was not done: the exit status, and one line.
struct Failure(Status, String);

impl Failure {
    fn refused(message: String) -> Self {
        Self(Status::Wrong, message)
    }
}

/// An error of the kernel's about a path.
fn failed<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Failure + 'a {
    move |error| Failure(Status::NoAnswer, format!("cannot {what} {}: {error}", path.display()))
}

/// What there is, and so what there is to do.
struct Plan {
    source: File,
    version: String,
    /// Whose executable has the name now.
    before: Option<Whose>,
    /// It is the one to install, and has the right owner and mode.
    installed: bool,
    conflist: Option<Found>,
}

impl Plan {
    fn is_done(&self) -> bool {
        self.installed && matches!(self.conflist, None | Some(Found::Same | Found::Serves))
    }
}

/// Installs, says what it did, and with --stay goes on.
pub(crate) fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    if arguments.stay {
        return stay::run(arguments);
    }
    match if arguments.check {
        check(arguments)
    } else {
        install(arguments)
    } {
        Ok(report) => {
            let _ = writeln!(out, "{}", report.show(arguments.output));
            Status::Fine
        }
        Err(Failure(status, message)) => {
            complain(&message);
            status
        }
    }
}

fn check(arguments: &Arguments) -> Result<Report, Failure> {
    let plan = look(arguments)?;
    if plan.is_done() {
        return Ok(Report::new(arguments, &plan, None));
    }
    let executable = arguments.place.executable();
    let what = match (&plan.before, plan.installed) {
        (_, true) => format!("there is no drop-in {}", conf_path(arguments).display()),
        (None, _) => format!("{} is not there", executable.display()),
        (Some(Whose::Another), _) => format!("{} is another plugin, such as the stock one", executable.display()),
        (Some(Whose::Ours { version }), _) => format!(
            "{} is the plugin {version}; expected what {} is, {}, as a file of root's with mode {EXECUTABLE_MODE:o}",
            executable.display(),
            source(arguments)?.display(),
            plan.version
        ),
    };
    Err(Failure::refused(format!("{what}: run kube-ovn-offload install")))
}

fn conf_path(arguments: &Arguments) -> PathBuf {
    arguments.place.conf_dir.join(arguments.place.conf_name())
}

/// Changes nothing.
fn look(arguments: &Arguments) -> Result<Plan, Failure> {
    let place = &arguments.place;
    let from = source(arguments)?;
    let mut source = File::open(&from).map_err(failed("read", &from))?;
    let read = failed("read", &from);
    let version = match executable::whose_is(&source).map_err(read)? {
        Whose::Ours { version } => version,
        Whose::Another => {
            let message = format!(
                "{} is not the plugin of this project: nothing was installed",
                from.display()
            );
            return Err(Failure::refused(message));
        }
    };
    source.rewind().map_err(failed("read", &from))?;
    if !executable::runs_here(&source).map_err(failed("read", &from))? {
        let message = format!(
            "{} is for another kind of machine: nothing was installed",
            from.display()
        );
        return Err(Failure::refused(message));
    }
    let executable = place.executable();
    let before = whose(&executable).map_err(failed("read", &executable))?;
    let installed = matches!(before, Some(Whose::Ours { .. }))
        && folder::has_rights(&executable, EXECUTABLE_MODE).map_err(failed("read", &executable))?
        && same(&mut source, &executable).map_err(failed("read", &executable))?;
    let conflist = if arguments.conflist {
        let path = conf_path(arguments);
        let found = conflist::look(&path, &place.name).map_err(failed("read", &path))?;
        if found == Found::Another {
            return Err(Failure::refused(format!(
                "{} is not ours and does not run {}: nothing was installed; remove it, or choose another name by --conf-name",
                path.display(),
                place.name
            )));
        }
        Some(found)
    } else {
        None
    };
    Ok(Plan {
        source,
        version,
        before,
        installed,
        conflist,
    })
}

fn source(arguments: &Arguments) -> Result<PathBuf, Failure> {
    if let Some(from) = &arguments.from {
        return Ok(from.clone());
    }
    // the link, and not what argv says: this may be called by any path
    let own = Path::new("/proc/self/exe");
    let own = fs::read_link(own).map_err(failed("read", own))?;
    Ok(own.with_file_name("kube-ovn"))
}

/// Whether both have the same bytes.
fn same(source: &mut File, path: &Path) -> io::Result<bool> {
    let other = File::open(path)?;
    if source.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    source.rewind()?;
    let (mut source, mut other) = (io::BufReader::new(source), io::BufReader::new(other));
    let (mut mine, mut theirs) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = source.read(&mut mine)?;
        let Some(theirs) = theirs.get_mut(..count).filter(|_| count > 0) else {
            return Ok(true);
        };
        other.read_exact(theirs)?;
        if mine.get(..count) != Some(&*theirs) {
            return Ok(false);
        }
    }
}

fn install(arguments: &Arguments) -> Result<Report, Failure> {
    let place = &arguments.place;
    let bin = Folder::lock(&place.bin_dir).map_err(failed("use", &place.bin_dir))?;
    let conf = if arguments.conflist {
        Some(Folder::lock(&place.conf_dir).map_err(failed("use", &place.conf_dir))?)
    } else {
        None
    };
    let mut plan = look(arguments)?;
    let executable = place.executable();
    let mut kept = None;
    if !plan.installed {
        if plan.before == Some(Whose::Another) {
            let name = place.kept();
            bin.keep(&place.name, &name).map_err(failed("keep", &executable))?;
            kept = Some(bin.path(&name));
        }
        let write = |file: &mut File| {
            plan.source.rewind()?;
            io::copy(&mut plan.source, file).map(drop)
        };
        bin.place(&place.name, EXECUTABLE_MODE, write)
            .map_err(failed("write", &executable))?;
    }
    if let Some(conf) = conf
        && matches!(plan.conflist, Some(Found::Nothing | Found::Ours))
    {
        let path = conf_path(arguments);
        let text = conflist::render(&place.name);
        conf.place(&place.conf_name(), CONFLIST_MODE, |file| {
            file.write_all(text.as_bytes())
        })
        .map_err(failed("write", &path))?;
    }
    Ok(Report::new(arguments, &plan, kept))
}

/// What was done.
struct Report {
    executable: PathBuf,
    version: String,
    action: &'static str,
    kept: Option<PathBuf>,
    conflist: Option<(PathBuf, &'static str)>,
}

impl Report {
    fn new(arguments: &Arguments, plan: &Plan, kept: Option<PathBuf>) -> Self {
        let action = match (&plan.before, plan.installed) {
            (_, true) => "unchanged",
            (None, false) => "installed",
            (Some(_), false) => "replaced",
        };
        let conflist = plan.conflist.map(|found| match found {
            Found::Nothing => "installed",
            Found::Ours => "replaced",
            Found::Same => "unchanged",
            Found::Serves | Found::Another => "another's, which runs the plugin: left alone",
        });
        Self {
            executable: arguments.place.executable(),
            version: plan.version.clone(),
            action,
            kept,
            conflist: conflist.map(|action| (conf_path(arguments), action)),
        }
    }

    fn show(&self, output: Output) -> String {
        match output {
            Output::Json => format!("{:#}", self.json()),
            Output::Table => {
                let kept = self.kept.as_ref();
                let kept = kept.map(|path| format!("; what was there is kept as {}", path.display()));
                let (path, kept) = (self.executable.display(), kept.unwrap_or_default());
                let mut lines = vec![shown(&format!("{path} {}: {}{kept}", self.version, self.action))];
                let conflist = self.conflist.iter();
                lines.extend(conflist.map(|(path, action)| shown(&format!("{}: {action}", path.display()))));
                lines.join("\n")
            }
        }
    }

    fn json(&self) -> Value {
        let conflist = self.conflist.as_ref();
        json!({
            "executable": self.executable.to_string_lossy(),
            "version": self.version,
            "action": self.action,
            "kept": self.kept.as_ref().map(|path| path.to_string_lossy()),
            "conflist": conflist.map(|(path, action)| json!({"path": path.to_string_lossy(), "action": action})),
        })
    }
}
