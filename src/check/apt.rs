//! What apt and dpkg have been told, by others too.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{MOST_BYTES, config_file, consists_of_letters_digits_and, script_of};
use crate::core::check::apt::{self, Dump, Facts};
use crate::core::check::apt_hooks::{ConfigFile, Configuration};
use crate::core::check::dpkg;
use crate::sys::files::Root;
use crate::sys::{children, seen};

/// apt's configuration and its hooks.
pub fn look(root: &Root, managed: Vec<PathBuf>) -> Facts {
    let configuration = dump();
    let scripts = match &configuration {
        Dump::Says(configuration) => configuration.hooks().map(|hook| script_of(hook.command)).collect(),
        Dump::Refuses(_) | Dump::Missing | Dump::Unknown(_) => Vec::new(),
    };
    Facts {
        ours: seen::file(&root.path(apt::PATH), MOST_BYTES),
        configuration,
        files: apt_files(root),
        scripts,
        managed,
    }
}

/// What apt says, if it says anything.
pub fn configuration(facts: &Facts) -> Option<&Configuration> {
    match &facts.configuration {
        Dump::Says(configuration) => Some(configuration),
        Dump::Refuses(_) | Dump::Missing | Dump::Unknown(_) => None,
    }
}

/// dpkg's configuration and its hooks.
pub fn look_at_dpkg(root: &Root, managed: Vec<PathBuf>) -> dpkg::Facts {
    let directory = "/etc/dpkg/dpkg.cfg.d";
    let mut others = files_in(root, directory, |name| consists_of_letters_digits_and(b"-_", name));
    others.retain(|file| file.path != Path::new(dpkg::PATH));
    others.extend(config_file(root, "/etc/dpkg/dpkg.cfg"));
    let scripts = dpkg::hooks(&others).map(|hook| script_of(hook.command)).collect();
    dpkg::Facts { ours: seen::file(&root.path(dpkg::PATH), MOST_BYTES), others, scripts, managed }
}

fn dump() -> Dump {
    let mut command = Command::new("/usr/bin/apt-config");
    match children::answers_soon(command.args(["dump", "--format", "%F=%V%n"])) {
        Ok(said) if said.status.success() => Dump::Says(Configuration::parse(&said.output)),
        Ok(said) => {
            let errors = String::from_utf8_lossy(&said.errors).into_owned();
            Dump::Refuses(errors.lines().next().unwrap_or("it does not say why").to_owned())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Dump::Missing,
        Err(error) => Dump::Unknown(error.to_string()),
    }
}

/// Those that apt reads (apt-pkg/contrib/fileutl.cc, `GetListOfFilesInDir`), in its order.
fn apt_files(root: &Root) -> Vec<ConfigFile> {
    let legal = |name: &Path| {
        let ending = name.extension().is_none_or(|ending| ending == "conf");
        ending && consists_of_letters_digits_and(b"-_.", name) && !name.as_os_str().as_encoded_bytes().starts_with(b".")
    };
    let mut files = files_in(root, "/etc/apt/apt.conf.d", legal);
    files.extend(config_file(root, "/etc/apt/apt.conf"));
    files
}

fn files_in(root: &Root, directory: &str, legal: impl Fn(&Path) -> bool) -> Vec<ConfigFile> {
    let names = seen::names(&root.path(directory)).into_iter().filter(|name| legal(name));
    names.filter_map(|name| config_file(root, &format!("{directory}/{}", name.to_str()?))).collect()
}
