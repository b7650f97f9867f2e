//! What dpkg sees of rokeep, and what else it runs before and after it does something.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::apt_hooks::ConfigFile;
use super::hooks::altered;
use super::remounts::{Remount, Script, remount};
use super::seen::{File, Seen, not_roots};
use super::{Finding, Topic, said};
use crate::core::message;

/// The file of ours.
pub const PATH: &str = "/etc/dpkg/dpkg.cfg.d/rokeep";

const SHIPPED: &[u8] = include_bytes!("../../../dpkg.cfg.d/rokeep");

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// What is at [`PATH`].
    pub ours: Seen<File>,
    /// The other files of dpkg's configuration.
    pub others: Vec<ConfigFile>,
    /// For each hook in them ([`hooks`]), in their order, the first script that it calls.
    pub scripts: Vec<Option<Script>>,
    /// The mount points that are managed.
    pub managed: Vec<PathBuf>,
}

/// A hook of dpkg's: the file that it stands in, its line counted from 1, whether it comes before or after, and what the
/// shell is told to do.
#[derive(Debug, PartialEq, Eq)]
pub struct DpkgHook<'a> {
    /// Where it stands.
    pub file: &'a Path,
    /// In which line.
    pub line: usize,
    /// `pre-invoke` or `post-invoke`.
    pub name: &'static str,
    /// The command.
    pub command: &'a [u8],
}

/// The hooks in these files (dpkg(1): an option a line, its value after `=` or a space).
pub fn hooks(files: &[ConfigFile]) -> impl Iterator<Item = DpkgHook<'_>> {
    files.iter().flat_map(|file| {
        file.text.split(|byte| *byte == b'\n').zip(1..).filter_map(|(text, line)| {
            let (name, command) = hook(text)?;
            Some(DpkgHook { file: &file.path, line, name, command })
        })
    })
}

fn hook(line: &[u8]) -> Option<(&'static str, &[u8])> {
    ["pre-invoke", "post-invoke"].into_iter().find_map(|name| {
        let rest = line.trim_ascii().strip_prefix(name.as_bytes())?;
        let value = rest.strip_prefix(b"=").or_else(|| rest.starts_with(b" ").then_some(rest))?;
        Some((name, value.trim_ascii()))
    })
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let mut findings = own_file(&facts.ours);
    let scripts = facts.scripts.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    findings.extend(hooks(&facts.others).zip(scripts).filter_map(|(hook, script)| home_made(facts, &hook, script)));
    findings
}

fn own_file(ours: &Seen<File>) -> Vec<Finding> {
    let topic = Topic::Dpkg;
    let file = match ours {
        Seen::There(file) => file,
        Seen::Missing => {
            let what =
                format!("there is no {PATH}: a dpkg that apt did not start breaks packages on what is read-only");
            return vec![topic.broken(what).reinstall()];
        }
        Seen::Unknown(why) => return vec![topic.unseen(PATH, why)],
    };
    if !file.object.is_roots() {
        return vec![not_roots(topic, Path::new(PATH))];
    }
    let lines = |text: &'static [u8]| text.split(|byte| *byte == b'\n').filter(|line| hook(line).is_some());
    let has = |wanted: &&[u8]| file.text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii() == *wanted);
    let missing: Vec<&[u8]> = lines(SHIPPED).filter(|line| !has(line)).collect();
    let say_missing = |line: &&[u8]| {
        let what = format!("{PATH} does not have dpkg call rokeep's hook as the package would");
        topic.broken(what).advice(format!("this line belongs there: {}", String::from_utf8_lossy(line)))
    };
    if !missing.is_empty() {
        return missing.iter().map(say_missing).collect();
    }
    match altered(topic, PATH, SHIPPED, &file.text) {
        Some(finding) => vec![finding],
        None => vec![topic.ok("dpkg calls rokeep's hooks, with apt and without")],
    }
}

fn home_made(facts: &Facts, hook: &DpkgHook, script: Option<&Script>) -> Option<Finding> {
    let how = remount(hook.command, script, &facts.managed)?;
    let (file, line) = (message::path(hook.file), hook.line);
    let through = match how {
        Remount::Itself => String::new(),
        Remount::InScript(path, line) => format!(" ({}, line {line})", message::path(path)),
    };
    let what = format!(
        "a remount hook in line {line} of {file}{through}: {}. dpkg calls it in every part of a package run: it opens what \
         rokeep has to find read-only, or closes under apt what is still needed, and dpkg fails where it fails",
        said(hook.command)
    );
    let advice = format!("remove line {line} of {file}; rokeep does what it is for");
    Some(Topic::Dpkg.broken(what).advice(advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::check::State;
    use crate::core::check::seen::{Kind, Object};

    fn facts(ours: &[u8], other: &str) -> Facts {
        let object = Object { kind: Kind::File, mode: 0o644, owner: 0 };
        Facts {
            ours: Seen::There(File { object, text: ours.to_vec() }),
            others: vec![ConfigFile { path: "/etc/dpkg/dpkg.cfg.d/ro".into(), text: other.into() }],
            scripts: Vec::new(),
            managed: vec!["/usr".into()],
        }
    }

    #[track_caller]
    fn assert_found(facts: &Facts, state: State, says: &[&str]) {
        let found = find(facts);
        let it = found.iter().find(|finding| finding.state == state).unwrap_or_else(|| panic!("{found:#?}"));
        let all = format!("{it:?}");
        assert!(says.iter().all(|part| all.contains(part)), "{it:#?}");
    }

    #[test]
    fn as_the_package_brought_it_it_is_in_order() {
        let found = find(&facts(SHIPPED, "no-debsig\nlog /var/log/dpkg.log\n"));
        assert_eq!(found.iter().map(|finding| finding.state).collect::<Vec<_>>(), [State::Ok]);
    }

    #[test]
    fn a_line_that_is_gone_or_changed_is_named() {
        let text = String::from_utf8(SHIPPED.to_vec()).unwrap();
        let without_end = text.replace("\npost-invoke=", "\n#post-invoke=");
        assert_found(&facts(without_end.as_bytes(), ""), State::Broken, &["post-invoke=test ! -x"]);
        assert_found(&facts(format!("{text}# mine\n").as_bytes(), ""), State::Attention, &["somebody has changed it"]);
        assert_found(&Facts { ours: Seen::Missing, ..facts(b"", "") }, State::Broken, &["there is no"]);
    }

    #[test]
    fn a_remount_is_named_by_its_line() {
        for other in ["# x\npre-invoke=mount -o remount,rw /usr\n", "\npost-invoke mount -o remount,ro /usr"] {
            assert_found(&facts(SHIPPED, other), State::Broken, &["line 2 of /etc/dpkg/dpkg.cfg.d/ro", "remount,r"]);
        }
        let script = Script { path: "/usr/local/sbin/rw".into(), text: b"mount -o remount,rw /usr".to_vec() };
        let by_script = Facts { scripts: vec![Some(script)], ..facts(SHIPPED, "pre-invoke=/usr/local/sbin/rw\n") };
        assert_found(&by_script, State::Broken, &["line 1 of", "/usr/local/sbin/rw, line 1"]);
    }
}
