//! `dump`, what `apt-config dump --format %F=%V%n` says, and the files that it comes from → what `rokeep check` says of apt to
//! a person, on a terminal of 80 columns.
//!
//! `apt.conf.d` and `apt.conf` are those of /etc/apt, without rokeep's own file where that is as it was shipped, and `scripts`
//! what a hook may call. Of the dump there is what is about hooks.

use std::fs;
use std::path::Path;

use rokeep::core::check::apt::{self, Dump, Facts};
use rokeep::core::check::apt_hooks::{ConfigFile, Configuration};
use rokeep::core::check::remounts::{Script, paths_named};
use rokeep::core::check::seen::{File, Kind, Object, Seen};
use rokeep::core::check::text::text;
use rokeep::core::check::{Check, FORMAT, Verdict};
use rokeep::core::columns::{can_be_shown, width};
use rokeep::core::page::{Look, Paint};

use crate::Case;

const COLUMNS: usize = 80;

pub fn decide(case: &Case) -> String {
    let dump = case.read("dump");
    let has_ours = String::from_utf8_lossy(&dump).contains("rokeep");
    let configuration = Configuration::parse(&dump);
    let script = |command: &[u8]| paths_named(command).into_iter().find_map(|path| script(case, &path));
    let facts = Facts {
        scripts: configuration.hooks().map(|hook| script(hook.command)).collect(),
        configuration: Dump::Says(configuration),
        ours: if has_ours { Seen::There(ours(case)) } else { Seen::Missing },
        files: files(case),
        managed: ["/", "/usr"].map(Into::into).into(),
    };
    let check = Check { format: FORMAT, version: "1", verdict: Verdict::InPlace, findings: apt::find(&facts) };
    let text = text(&check, Look { columns: COLUMNS, paint: Paint::Plain });
    for line in text.lines() {
        // What is to be copied is never broken.
        let is_command = line.starts_with("                       ");
        assert!(width(line) <= COLUMNS || is_command, "{} columns: {line:?}", width(line));
        assert!(can_be_shown(line), "{line:?}");
    }
    text
}

fn ours(case: &Case) -> File {
    let shipped = || fs::read("apt.conf.d/zz-rokeep").expect("it is in this tree");
    let object = Object { kind: Kind::File, mode: 0o644, owner: 0 };
    File { object, text: case.find("apt.conf.d/zz-rokeep").unwrap_or_else(shipped) }
}

fn files(case: &Case) -> Vec<ConfigFile> {
    let mut names: Vec<_> = fs::read_dir(case.0.join("apt.conf.d"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.push("zz-rokeep".into());
    names.sort();
    names.dedup();
    let file = |name: &std::ffi::OsStr| {
        let path = Path::new("/etc/apt/apt.conf.d").join(name);
        let text = case.find(&format!("apt.conf.d/{}", name.to_string_lossy())).unwrap_or_else(|| ours(case).text);
        ConfigFile { path, text }
    };
    let mut files: Vec<ConfigFile> = names.iter().map(|name| file(name)).collect();
    files.extend(case.find("apt.conf").map(|text| ConfigFile { path: "/etc/apt/apt.conf".into(), text }));
    files
}

fn script(case: &Case, path: &Path) -> Option<Script> {
    let text = case.find(&format!("scripts{}", path.display()))?;
    Some(Script { path: path.to_owned(), text })
}
