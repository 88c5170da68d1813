//! `uninstall`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use kube_ovn::state::{self, Store};
use serde_json::json;

use super::conflist::{self, Found};
use super::folder::Folder;
use super::{Failure, Place, Whose, failed, stay, whose};
use crate::Status;
use crate::output::{Output, complain, shown};

/// Removes what `install` has put on the node, and puts back what was there before.
///
/// First the drop-in, if it is ours and nobody has changed it; then the plugin, in place of which the executable that `install` has kept comes back. An
/// executable of another origin, such as the stock plugin that Kube-OVN has put back, is left alone.
///
/// Pods keep their interfaces. Remove those with a VF first: the stock plugin does not give everything back that this one would
/// (`kube-ovn-offload attachments` lists them).
///
/// Exit status: 0 nothing of ours is left, 4 a file could not be read or written.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  kube-ovn-offload uninstall --name kube-ovn-offload")]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Go on running until SIGTERM: for containers that Kubernetes would start again.
    #[arg(long)]
    stay: bool,
    /// How to show what was done.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Another directory of records.
    #[arg(long, hide = true, value_name = "DIR", default_value = state::DIRECTORY)]
    state: PathBuf,
}

/// A file, and what was done with it.
type Done = (PathBuf, &'static str);

/// Removes, says what it did, and with --stay waits.
pub(crate) fn run(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    if !arguments.stay {
        return once(arguments, out);
    }
    let waited = stay::after(|| {
        let mut text = Vec::new();
        let status = once(arguments, &mut text);
        // at once: this process does not end
        let _ = io::stdout().write_all(&text).and_then(|()| io::stdout().flush());
        status
    });
    match waited {
        Ok(status) => status,
        Err(Failure(status, message)) => {
            complain(&message);
            status
        }
    }
}

fn once(arguments: &Arguments, out: &mut Vec<u8>) -> Status {
    let done = match remove(arguments) {
        Ok(done) => done,
        Err(Failure(status, message)) => {
            complain(&message);
            return status;
        }
    };
    let recorded = Store::at(&arguments.state).devices().map_or(0, |devices| devices.len());
    if recorded > 0 {
        complain(&format!(
            "{recorded} VFs are recorded as attached: what the stock plugin does not give back stays; see kube-ovn-offload attachments"
        ));
    }
    match arguments.output {
        Output::Table => {
            for (path, what) in &done {
                let _ = writeln!(out, "{}", shown(&format!("{}: {what}", path.display())));
            }
        }
        Output::Json => {
            let file = |(path, what): &Done| json!({"path": path.to_string_lossy(), "action": what});
            let files: Vec<_> = done.iter().map(file).collect();
            let _ = writeln!(out, "{:#}", json!({"files": files, "recorded_attachments": recorded}));
        }
    }
    Status::Fine
}

fn remove(arguments: &Arguments) -> Result<Vec<Done>, Failure> {
    let place = &arguments.place;
    let mut done = Vec::new();
    done.extend(remove_conflist(place)?);
    if let Some(bin) = lock(&place.bin_dir)? {
        let executable = place.executable();
        let kept = place.kept();
        bin.clear(&place.name).map_err(failed("clear up", &place.bin_dir))?;
        let was_kept = whose(&bin.path(&kept))
            .map_err(failed("read", &bin.path(&kept)))?
            .is_some();
        let what = match whose(&executable).map_err(failed("read", &executable))? {
            Some(Whose::Another) => {
                bin.remove(&kept).map_err(failed("remove", &bin.path(&kept)))?;
                "another's, left alone"
            }
            _ if was_kept => {
                bin.restore(&place.name, &kept)
                    .map_err(failed("put back", &executable))?;
                "what was there before is back"
            }
            Some(Whose::Ours { .. }) => {
                bin.remove(&place.name).map_err(failed("remove", &executable))?;
                "removed"
            }
            None => "not there",
        };
        done.push((executable, what));
    }
    Ok(done)
}

fn remove_conflist(place: &Place) -> Result<Option<Done>, Failure> {
    let Some(conf) = lock(&place.conf_dir)? else {
        return Ok(None);
    };
    let name = place.conf_name();
    let path = conf.path(&name);
    let found = conflist::look(&path, &place.name).map_err(failed("read", &path))?;
    Ok(match found {
        Found::Nothing => None,
        Found::Same | Found::Ours => {
            conf.remove(&name).map_err(failed("remove", &path))?;
            Some((path, "removed"))
        }
        Found::Serves | Found::Another => Some((path, "another's, left alone")),
    })
}

/// A directory that is not there has nothing of ours.
fn lock(path: &Path) -> Result<Option<Folder>, Failure> {
    match Folder::lock(path) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("use", path)(error)),
    }
}
