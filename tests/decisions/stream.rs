//! `stream`, as apt writes it for a Pre-Install-Pkgs hook → what will be done, who loses files, which list is looked for.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use rokeep::core::apt_stream::{self, Action};
use rokeep::core::dpkg_db;

use crate::{Case, shown};

pub fn decide(case: &Case) -> String {
    let stream = match apt_stream::parse(&case.read("stream")) {
        Ok(stream) => stream,
        Err(error) => return format!("refused: {error}\n"),
    };
    let mut text = format!("dry run: {}\n\n", if stream.dry_run { "yes" } else { "no" });
    for step in &stream.steps {
        let package = &step.package;
        let installed = step.installed.as_ref().map(|old| format!("{} of {}", old.number, old.arch));
        let what = match (&step.action, installed) {
            (Action::Unpack(archive), None) => format!("is new, from {}", shown(archive.as_os_str().as_bytes())),
            (Action::Unpack(archive), Some(old)) => {
                format!("{old} is replaced from {}", shown(archive.as_os_str().as_bytes()))
            }
            (Action::Remove, old) => format!("{} is removed", old.expect("only what is installed is removed")),
            (Action::Configure, _) => "configured".to_owned(),
        };
        let _ = writeln!(text, "{package}: {what}");
    }
    text.push_str("\nloses files:\n");
    for step in dpkg_db::packages_that_lose_files(&stream) {
        let Some(old) = &step.installed else { panic!("{} is not installed and cannot lose files", step.package) };
        let [first, second] = dpkg_db::list_files(&step.package, &old.arch, old.co_installable);
        let _ = writeln!(text, "{}: {first}, else {second}", step.package);
    }
    text
}
