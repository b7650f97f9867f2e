//! Whether a command remounts something that rokeep looks after: the hooks of everybody's first attempt.
//!
//! A shell would have to run to tell for certain. What is looked at are words, in the command and in the first script that it
//! names; what a script calls in turn is not looked at.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A script that a command calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: Vec<u8>,
}

/// How a command remounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remount<'a> {
    /// By itself.
    Itself,
    /// In a line of this script, counted from 1.
    InScript(&'a Path, usize),
}

/// Whether, and how, a command or the script that it calls remounts one of these mounts, or does not say which.
pub fn remount<'a>(command: &[u8], script: Option<&'a Script>, managed: &[PathBuf]) -> Option<Remount<'a>> {
    if line_remounts(command, managed) {
        return Some(Remount::Itself);
    }
    let script = script?;
    let mut lines = script.text.split(|byte| *byte == b'\n').zip(1..);
    let line = lines.find(|(line, _)| line_remounts(line, managed)).map(|(_, number)| number)?;
    Some(Remount::InScript(&script.path, line))
}

/// The absolute paths that a command names, in its order: one of them may be a script.
pub fn paths_named(command: &[u8]) -> Vec<PathBuf> {
    let absolute = words(command).filter(|word| word.starts_with(b"/") && word.len() > 1);
    absolute.map(|word| PathBuf::from(OsStr::from_bytes(word))).collect()
}

fn line_remounts(line: &[u8], managed: &[PathBuf]) -> bool {
    if line.trim_ascii_start().starts_with(b"#") {
        return false;
    }
    let all: Vec<&[u8]> = words(line).collect();
    let is_mount = |word: &&[u8]| **word == *b"mount" || word.ends_with(b"/mount");
    let Some(after) = all.iter().position(is_mount).and_then(|at| all.get(at + 1..)) else { return false };
    let options = all.iter().flat_map(|word| word.strip_prefix(b"-o").unwrap_or(word).split(|byte| *byte == b','));
    let has_option = |option: &[u8]| options.clone().any(|one| one == option);
    let places: Vec<&[u8]> = after.iter().filter(|word| word.starts_with(b"/")).copied().collect();
    let names_ours = managed.iter().any(|point| places.contains(&point.as_os_str().as_bytes()));
    // What it remounts may be a variable.
    let may_be_ours = names_ours || (places.is_empty() && has_option(b"remount"));
    may_be_ours && (has_option(b"rw") || has_option(b"ro"))
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`;&|(){}<>=$".contains(byte);
    text.split(parts).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remounts(command: &str) -> bool {
        line_remounts(command.as_bytes(), &["/usr".into(), "/".into()])
    }

    #[test]
    fn the_ways_in_which_people_write_it() {
        for command in [
            "mount -o remount,rw /usr",
            "mount -o remount,ro /usr || true",
            "test ${NO_APT_REMOUNT:-no} = yes || mount -o remount,ro / || true",
            "/bin/mount -o rw,remount /",
            "mount /usr -o remount,rw",
            "if true; then mount -oremount,rw /usr; fi",
            "mount -n -o remount,rw $target",
            "for m in /usr /boot; do mount -o remount,ro \"$m\"; done",
            "mount -o bind,ro /usr /usr",
            "mount --options=remount,rw /usr",
        ] {
            assert!(remounts(command), "{command}");
        }
    }

    #[test]
    fn what_is_something_else() {
        for command in [
            "hook=/etc/rokeep/hooks/pre-invoke && test ! -x $hook || $hook",
            "# mount -o remount,rw /usr",
            "echo remount",
            "mountpoint -q /usr",
            "mount -o ro /dev/sdb1 /mnt",
            "umount /srv/backup",
            "rokeep remount ro",
            "test -x /usr/bin/apt-show-versions || exit 0",
            "mount -o remount,exec /tmp",
            "mount -o remount,noexec /tmp || true",
            "mount -o remount,rw /srv/data",
            "mount -o remount,noatime /usr",
        ] {
            assert!(!remounts(command), "{command}");
        }
    }

    #[test]
    fn a_script_is_looked_into() {
        let script = Script {
            path: "/usr/local/sbin/rw".into(),
            text: b"#!/bin/sh\n# mount -o remount,rw /usr\nmount -o remount,rw /usr\n".to_vec(),
        };
        let managed = [PathBuf::from("/"), PathBuf::from("/usr")];
        let found = remount(b"/usr/local/sbin/rw", Some(&script), &managed);
        assert_eq!(found, Some(Remount::InScript(Path::new("/usr/local/sbin/rw"), 3)));
        assert_eq!(remount(b"mount -o remount,rw /", Some(&script), &managed), Some(Remount::Itself));
        assert_eq!(remount(b"/usr/local/sbin/rw", None, &managed), None);
        assert_eq!(
            paths_named(b"if [ -x /usr/sbin/a ]; then X=/etc/b \"/usr/lib/c d\"; fi"),
            ["/usr/sbin/a", "/etc/b", "/usr/lib/c"].map(PathBuf::from)
        );
    }
}
