//! The program that hooks, units and people call.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::seen::{File, Kind, Object, Seen, changeable, not_roots};
use super::{Finding, Topic};

/// Where it is.
pub const PATH: &str = "/usr/sbin/rokeep";

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// What is at [`PATH`], with its beginning.
    pub found: Seen<File>,
    /// The directories above it, which could be exchanged with it.
    pub above: Vec<(PathBuf, Object)>,
    /// Whether it is the program that runs now; none where that could not be told.
    pub is_this: Option<bool>,
    /// The copy of one that was removed, if there is one that ends what that left.
    pub stand_in: Option<&'static str>,
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let topic = Topic::Program;
    let file = match &facts.found {
        Seen::There(file) => file,
        Seen::Missing => return vec![missing(facts.stand_in)],
        Seen::Unknown(why) => return vec![topic.unseen(PATH, why)],
    };
    let mut findings = changeable(topic, &facts.above);
    if !file.object.is_roots() {
        findings.push(not_roots(topic, Path::new(PATH)));
    }
    if file.object.kind != Kind::File || file.text.is_empty() {
        findings.push(
            topic
                .broken(format!("{PATH} is empty, or no file: apt's hooks stop every package run"))
                .advice("put the program of the package there by hand, while /usr is writable"),
        );
    } else if !file.object.is_executable() {
        let what = format!("{PATH} cannot be run: apt's hooks find it so and do nothing");
        findings.push(topic.broken(what).command(format!("chmod 755 {PATH}")));
    } else if needs_interpreter(&file.text) == Some(true) {
        let what = format!("{PATH} is not static: it cannot run while libc itself is half upgraded");
        findings.push(topic.attention(what).advice("build it with \"make deb\", and install that"));
    }
    if facts.is_this == Some(false) {
        let what = format!("{PATH} is another program than the one that says this, and the one that apt's hooks call");
        findings.push(topic.attention(what).command(format!("{PATH} check")));
    }
    if findings.is_empty() {
        let version = env!("CARGO_PKG_VERSION");
        findings.push(topic.ok(format!("{PATH} {version} is this one, static and root's alone")));
    }
    findings
}

fn missing(stand_in: Option<&str>) -> Finding {
    let topic = Topic::Program;
    match stand_in {
        Some(copy) => topic
            .attention("rokeep was removed while something was left to do, and a copy of it stands in")
            .command(format!("{copy} cleanup")),
        None => {
            topic.broken(format!("there is no {PATH}: apt's hooks find it missing and do nothing")).reinstall_by_hand()
        }
    }
}

/// Whether a program needs another one to load it, as those do that have shared libraries (elf(5), `PT_INTERP`). None for
/// what is no program, or begins with more than was read.
fn needs_interpreter(head: &[u8]) -> Option<bool> {
    const PT_INTERP: u64 = 3;
    let wide = match head.get(..5)? {
        [0x7f, b'E', b'L', b'F', 1] => false,
        [0x7f, b'E', b'L', b'F', 2] => true,
        _ => return None,
    };
    let big_endian = *head.get(5)? == 2;
    let number = |at: usize, bytes: usize| {
        let field = head.get(at..at.checked_add(bytes)?)?;
        let add = |all: u64, byte: &u8| (all << 8) | u64::from(*byte);
        Some(if big_endian { field.iter().fold(0, add) } else { field.iter().rev().fold(0, add) })
    };
    let (table, size, count) = if wide {
        (number(32, 8)?, number(54, 2)?, number(56, 2)?)
    } else {
        (number(28, 4)?, number(42, 2)?, number(44, 2)?)
    };
    for entry in 0..count {
        let at = table.checked_add(entry * size)?;
        if number(usize::try_from(at).ok()?, 4)? == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::check::State;

    const ROOTS: Object = Object { kind: Kind::File, mode: 0o755, owner: 0 };

    /// A header, and program headers of these types right behind it.
    fn program(types: &[u32]) -> Vec<u8> {
        let mut head = b"\x7fELF\x02\x01".to_vec();
        head.resize(64, 0);
        head[32] = 64;
        head[54] = 56;
        head[56] = types.len() as u8;
        for kind in types {
            head.extend(kind.to_le_bytes());
            head.resize(head.len() + 52, 0);
        }
        head
    }

    fn facts(object: Object, text: Vec<u8>) -> Facts {
        Facts { found: Seen::There(File { object, text }), above: Vec::new(), is_this: Some(true), stand_in: None }
    }

    #[test]
    fn what_is_wrong_with_it_is_said_and_put_right() {
        let fine = facts(ROOTS, program(&[1, 1]));
        let above = vec![("/usr/sbin".into(), Object { kind: Kind::Directory, mode: 0o777, owner: 0 })];
        for (facts, state, says) in [
            (&fine, State::Ok, "static"),
            (&facts(ROOTS, program(&[1, 3])), State::Attention, "not static"),
            (&facts(ROOTS, Vec::new()), State::Broken, "empty"),
            (&facts(Object { mode: 0o644, ..ROOTS }, program(&[1])), State::Broken, "cannot be run"),
            (&facts(Object { mode: 0o775, ..ROOTS }, program(&[1])), State::Broken, "others than root"),
            (&facts(Object { owner: 1000, ..ROOTS }, program(&[1])), State::Broken, "others than root"),
            (&Facts { above, ..facts(ROOTS, program(&[1])) }, State::Broken, "/usr/sbin can be changed"),
            (&Facts { is_this: Some(false), ..facts(ROOTS, program(&[1])) }, State::Attention, "another program"),
            (&Facts { found: Seen::Missing, ..facts(ROOTS, Vec::new()) }, State::Broken, "there is no"),
            (&Facts { found: Seen::Unknown("x".into()), ..facts(ROOTS, Vec::new()) }, State::Unknown, "x"),
        ] {
            let found = find(facts);
            let [finding] = &found[..] else { panic!("{found:#?}") };
            assert_eq!(finding.state, state, "{finding:#?}");
            assert!(finding.what.contains(says), "{finding:#?}");
            assert_eq!(finding.fix.is_some(), matches!(state, State::Attention | State::Broken), "{finding:#?}");
        }
    }

    #[test]
    fn what_is_no_program_or_cut_off_is_not_known() {
        let whole = program(&[1, 3]);
        assert_eq!(needs_interpreter(&whole), Some(true));
        assert_eq!(needs_interpreter(&whole[..whole.len() - 56]), None);
        assert_eq!(needs_interpreter(b"#!/bin/sh\n"), None);
        assert_eq!(needs_interpreter(b""), None);
    }
}
