//! `check`: whether everything is in place for the hooks to do their work here. Changes nothing, and asks in less than a
//! second; whoever is not root is told what he could not see.

mod apt;
mod kernel;
mod mounts;
mod state;
mod units;

use std::path::Path;

use anyhow::{Context, Result};

use crate::core::check::apt_hooks::{ConfigFile, Configuration};
use crate::core::check::remounts::{Script, paths_named};
use crate::core::check::seen::Seen;
use crate::core::check::{self, Check, Facts, hooks, others, program, settings};
use crate::settings::{PATH, Settings};
use crate::sys::files::Root;
use crate::sys::kernel as calls;
use crate::sys::program as installed;
use crate::sys::seen;

/// No configuration file or script is longer.
const MOST_BYTES: u64 = 1 << 20;

/// Looks at everything.
///
/// # Errors
/// Where there is no /proc.
pub fn check(root: &Root) -> Result<Check> {
    calls::keep_descriptors_to_ourselves();
    let (settings, of_settings) = settings(root);
    let (of_state, managed) = of_one_moment(root, &settings)?;
    let apt = apt::look(root, managed.points());
    let configuration = apt::configuration(&apt).cloned();
    Ok(check::check(&Facts {
        program: program(root),
        hooks: hooks(root),
        dpkg: apt::look_at_dpkg(root, managed.points()),
        apt,
        units: units::look(root),
        kernel: kernel::look(root, &settings),
        settings: managed.named_and_missing(of_settings),
        state: state::with_homes(root, of_state, &managed),
        fstab: mounts::after_the_next_start(root, &managed),
        others: others(root, configuration),
        mounts: managed.facts,
    }))
}

/// Session and mounts as they were together, as `status` has them: whoever opens a mount writes the session first.
fn of_one_moment(root: &Root, settings: &Settings) -> Result<(check::state::Facts, mounts::Looked)> {
    let (mut session, mut of_state) = state::look(root);
    let mut tries_left = 20;
    loop {
        let managed = mounts::look(root, settings, &session).context("cannot look at the mounts")?;
        let (now, of_now) = state::look(root);
        if now == session || tries_left == 0 {
            return Ok((of_state, managed));
        }
        (session, of_state, tries_left) = (now, of_now, tries_left - 1);
    }
}

fn settings(root: &Root) -> (Settings, settings::Facts) {
    match Settings::load(root) {
        Ok(settings) if root.path(PATH).exists() => (settings, settings::Facts::Fine(Vec::new())),
        Ok(settings) => (settings, settings::Facts::Default),
        Err(why) => (Settings::default(), settings::Facts::Wrong(format!("{why:#}"))),
    }
}

fn program(root: &Root) -> program::Facts {
    program::Facts {
        found: seen::file(&root.path(program::PATH), 4096),
        above: seen::objects(&[Path::new("/"), &root.path("/usr"), &root.path("/usr/sbin")]),
        is_this: installed::is_installed_one(root),
        stand_in: installed::stands_in(root).then(|| installed::name(root)),
    }
}

fn hooks(root: &Root) -> hooks::Facts {
    let directory = root.path(hooks::DIRECTORY);
    let beside = |dir: &str, ours: &[&str]| {
        let dir = root.path(dir);
        let is_beside = |name: &Path| {
            let name = name.to_string_lossy();
            let rest = ours.iter().find_map(|ours| name.strip_prefix(ours));
            // What dpkg itself keeps of what an administrator replaced (`.dpkg-old`) has been dealt with.
            rest.is_some_and(|rest| [".dpkg-dist", ".dpkg-new", ".ucf-dist", ".ucf-new"].contains(&rest))
        };
        let found: Vec<_> =
            seen::names(&dir).into_iter().filter(|name| is_beside(name)).map(|name| dir.join(name)).collect();
        found
    };
    hooks::Facts {
        scripts: hooks::SHIPPED.iter().map(|(name, _)| seen::file(&directory.join(name), MOST_BYTES)).collect(),
        above: seen::objects(&[&root.path("/etc"), &root.path("/etc/rokeep"), &directory]),
        beside: [
            beside(hooks::DIRECTORY, &hooks::SHIPPED.map(|(name, _)| name)),
            beside("/etc/apt/apt.conf.d", &["zz-rokeep"]),
            beside("/etc/dpkg/dpkg.cfg.d", &["rokeep"]),
        ]
        .concat(),
    }
}

fn others(root: &Root, configuration: Option<Configuration>) -> others::Facts {
    const MOST_OF_STATUS: u64 = 256 << 20;
    let directory = "/etc/needrestart/conf.d";
    let settings: Vec<String> = seen::names(&root.path(directory))
        .into_iter()
        .filter(|name| name.extension().is_some_and(|ending| ending == "conf"))
        .filter_map(|name| Some(format!("{directory}/{}", name.to_str()?)))
        .collect();
    let first = ["/etc/needrestart/needrestart.conf".to_owned()];
    others::Facts {
        installed: match seen::file(&root.path("/var/lib/dpkg/status"), MOST_OF_STATUS) {
            Seen::There(file) => Seen::There(others::installed(&file.text)),
            Seen::Missing => Seen::Missing,
            Seen::Unknown(why) => Seen::Unknown(why),
        },
        configuration,
        needrestart: first.iter().chain(&settings).filter_map(|path| config_file(root, path)).collect(),
    }
}

fn config_file(root: &Root, path: &str) -> Option<ConfigFile> {
    match seen::file(&root.path(path), MOST_BYTES) {
        Seen::There(file) => Some(ConfigFile { path: path.into(), text: file.text }),
        Seen::Missing | Seen::Unknown(_) => None,
    }
}

/// The first script that a command names, if it names one that can be read.
fn script_of(command: &[u8]) -> Option<Script> {
    paths_named(command).into_iter().find_map(|path| match seen::file(&path, MOST_BYTES) {
        Seen::There(file) if !file.text.is_empty() && !file.text.starts_with(b"\x7fELF") => {
            Some(Script { path, text: file.text })
        }
        Seen::There(_) | Seen::Missing | Seen::Unknown(_) => None,
    })
}

/// What makes a name one that apt, dpkg or cron reads in a directory of theirs.
fn consists_of_letters_digits_and(others: &[u8], name: &Path) -> bool {
    name.as_os_str().as_encoded_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || others.contains(byte))
}
