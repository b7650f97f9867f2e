//! The hook scripts, which apt and dpkg run as root.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::seen::{File, Kind, Object, Seen, changeable, not_roots};
use super::{Finding, Topic};
use crate::core::message;

/// Where they are.
pub const DIRECTORY: &str = "/etc/rokeep/hooks";

/// Each of them, as it is in the package.
pub const SHIPPED: [(&str, &[u8]); 5] = [
    ("dpkg-post-invoke", include_bytes!("../../../hooks/dpkg-post-invoke")),
    ("dpkg-pre-invoke", include_bytes!("../../../hooks/dpkg-pre-invoke")),
    ("post-invoke", include_bytes!("../../../hooks/post-invoke")),
    ("pre-install-pkgs", include_bytes!("../../../hooks/pre-install-pkgs")),
    ("pre-invoke", include_bytes!("../../../hooks/pre-invoke")),
];

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// Of each of [`SHIPPED`], in that order.
    pub scripts: Vec<Seen<File>>,
    /// The directories they are in.
    pub above: Vec<(PathBuf, Object)>,
    /// What dpkg and ucf left beside them, and beside the other files of ours below /etc.
    pub beside: Vec<PathBuf>,
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let topic = Topic::Hooks;
    let mut findings = changeable(topic, &facts.above);
    if facts.scripts.iter().all(|found| *found == Seen::Missing) {
        let what = format!("there are no hooks in {DIRECTORY}: apt and dpkg find them missing and pass them over");
        findings.push(topic.broken(what).reinstall_by_hand());
        return findings;
    }
    for ((name, shipped), found) in SHIPPED.iter().zip(&facts.scripts) {
        findings.extend(script(&Path::new(DIRECTORY).join(name), shipped, found));
    }
    if findings.is_empty() {
        findings.push(topic.ok(format!("all {} hooks are as the package brought them", SHIPPED.len())));
    }
    findings.extend(facts.beside.iter().map(|file| {
        let what = format!("{} lies beside a file of rokeep's: another version of it", message::path(file));
        topic.attention(what).advice("compare the two, keep what you want, and remove this one")
    }));
    findings
}

fn script(path: &Path, shipped: &[u8], found: &Seen<File>) -> Option<Finding> {
    let (topic, name) = (Topic::Hooks, message::path(path));
    let file = match found {
        Seen::There(file) => file,
        Seen::Missing => return Some(topic.broken(format!("{name} is not there, and is passed over")).reinstall()),
        Seen::Unknown(why) => return Some(topic.unseen(&name, why)),
    };
    if !file.object.is_roots() {
        return Some(not_roots(topic, path));
    }
    if file.object.kind != Kind::File || file.text.is_empty() {
        return Some(topic.broken(format!("{name} is empty, or no file")).reinstall());
    }
    if !file.object.is_executable() {
        let what = format!("{name} cannot be run, and is passed over");
        return Some(topic.broken(what).command_about(path, |path| format!("chmod 755 {path}")));
    }
    altered(topic, &name, shipped, &file.text)
}

/// A file of the administrator's own is as good as ours, as far as can be told.
pub fn altered(topic: Topic, name: &str, shipped: &[u8], text: &[u8]) -> Option<Finding> {
    let what =
        format!("{name} is not as the package brought it: somebody has changed it, and it may do something else");
    (text != shipped).then(|| {
        topic.attention(what).advice(
            "if that was not meant: \"apt-get -o Dpkg::Options::=--force-confask install --reinstall \
             ./rokeep_VERSION_ARCH.deb\" asks about each changed file",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::check::State;

    const ROOTS: Object = Object { kind: Kind::File, mode: 0o755, owner: 0 };

    fn facts() -> Facts {
        let there = |(_, text): &(&str, &[u8])| Seen::There(File { object: ROOTS, text: text.to_vec() });
        Facts { scripts: SHIPPED.iter().map(there).collect(), above: Vec::new(), beside: Vec::new() }
    }

    #[test]
    fn where_there_are_none_that_is_said_once() {
        let none = Facts { scripts: vec![Seen::Missing; SHIPPED.len()], ..facts() };
        let found = find(&none);
        let [finding] = &found[..] else { panic!("{found:#?}") };
        assert!(finding.state == State::Broken && finding.fix.is_some(), "{finding:#?}");
    }

    /// With the second of them so.
    fn with(object: Object, text: &[u8]) -> Facts {
        let mut facts = facts();
        facts.scripts[1] = Seen::There(File { object, text: text.to_vec() });
        facts
    }

    #[test]
    fn as_the_package_brought_them_they_are_in_order() {
        assert_eq!(find(&facts()).iter().map(|finding| finding.state).collect::<Vec<_>>(), [State::Ok]);
    }

    #[test]
    fn each_that_is_not_is_named() {
        let text = SHIPPED[1].1;
        let mut missing = facts();
        missing.scripts[1] = Seen::Missing;
        for (facts, state, says) in [
            (with(ROOTS, b"#!/bin/sh\n"), State::Attention, "somebody has changed it"),
            (with(Object { mode: 0o644, ..ROOTS }, text), State::Broken, "cannot be run"),
            (with(Object { mode: 0o757, ..ROOTS }, text), State::Broken, "others than root"),
            (with(ROOTS, b""), State::Broken, "empty"),
            (missing, State::Broken, "not there"),
        ] {
            let found = find(&facts);
            let [finding] = &found[..] else { panic!("{found:#?}") };
            assert_eq!(finding.state, state, "{finding:#?}");
            assert!(finding.what.contains("/etc/rokeep/hooks/dpkg-pre-invoke"), "{finding:#?}");
            assert!(finding.what.contains(says) && finding.fix.is_some(), "{finding:#?}");
        }
        let beside = Facts { beside: vec!["/etc/rokeep/hooks/pre-invoke.dpkg-dist".into()], ..facts() };
        let found = find(&beside);
        assert_eq!(found.len(), 2);
        assert!(found[1].what.contains("pre-invoke.dpkg-dist") && found[1].needs_somebody());
    }
}
