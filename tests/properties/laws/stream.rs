use rokeep::core::apt_stream::{Action, Step, Stream, Version, parse};
use rokeep::core::dpkg_db::{list_files, packages_that_lose_files};
use std::os::unix::ffi::OsStrExt;

use super::bounds::{cuts, in_proportion};
use super::words::{is_one_name, is_said_in_one_line};

/// What apt announces is read whole or refused: what was read says it all again, a part is refused or ends between two
/// lines, and no package leads out of the directory of the lists.
pub fn stream(text: &[u8]) {
    let read = match in_proportion(text, || parse(text)) {
        Ok(read) => read,
        Err(error) => return is_said_in_one_line(error),
    };
    assert_eq!(parse(&written(&read)).as_ref(), Ok(&read));
    archives_are_named_to_the_byte(text, &read);
    for step in packages_that_lose_files(&read) {
        assert!(step.action != Action::Configure);
        let old = step.installed.as_ref().expect("only what is installed loses files");
        assert!(list_files(&step.package, &old.arch, old.co_installable).iter().all(is_one_name));
    }
    for cut in cuts(text) {
        match parse(&text[..cut]) {
            Ok(part) => {
                assert!(text[..cut].ends_with(b"\n"));
                assert_eq!(part.steps[..], read.steps[..part.steps.len()]);
                assert_eq!((part.dry_run, &part.other_remount), (read.dry_run, &read.other_remount));
            }
            Err(error) => {
                assert!(!text[..cut].ends_with(b"\n\n"), "the description of a run of no packages is refused");
                is_said_in_one_line(error);
            }
        }
    }
}

/// An archive's path is all that stands behind the eighth space.
fn archives_are_named_to_the_byte(text: &[u8], read: &Stream) {
    let lines: Vec<&[u8]> = text.strip_suffix(b"\n").unwrap_or(text).split(|b| *b == b'\n').collect();
    let lines = &lines[lines.len() - read.steps.len()..];
    for (line, step) in lines.iter().zip(&read.steps) {
        if let Action::Unpack(path) = &step.action {
            let path = path.as_os_str().as_bytes();
            let before = line.strip_suffix(if path.is_empty() { &b"**ERROR**"[..] } else { path });
            assert_eq!(before.map(|before| before.iter().filter(|b| **b == b' ').count()), Some(8), "{path:?}");
        }
    }
}

fn written(stream: &Stream) -> Vec<u8> {
    let mut text = b"VERSION 3\n".to_vec();
    if stream.dry_run {
        text.extend(b"Debug::pkgDPkgPM=1\n");
    }
    if let Some(hook) = &stream.other_remount {
        text.extend(format!("DPkg::Pre-Invoke::={}\n", hook.replace(' ', "%20")).bytes());
    }
    text.push(b'\n');
    for Step { package, installed, coming, action } in &stream.steps {
        let action = match action {
            Action::Configure => b"**CONFIGURE**",
            Action::Remove => &b"**REMOVE**"[..],
            Action::Unpack(path) if path.as_os_str().is_empty() => b"**ERROR**",
            Action::Unpack(path) => path.as_os_str().as_bytes(),
        };
        text.extend(format!("{package} {} < {} ", version(installed), version(coming)).bytes());
        text.extend([action, b"\n"].concat());
    }
    text
}

fn version(version: &Option<Version>) -> String {
    match version {
        Some(Version { number, arch, co_installable: true }) => format!("{number} {arch} same"),
        Some(Version { number, arch, co_installable: false }) => format!("{number} {arch} none"),
        None => "- - none".to_owned(),
    }
}
