//! What rokeep decides, case by case: recorded input and the decision it leads to.
//!
//! A directory under `tests/decisions/KIND/` is a case. Its name says what it shows, so `ls tests/decisions/*` is the list
//! of all that is decided here. It holds what apt, dpkg, the kernel or an earlier rokeep wrote, byte for byte, and what
//! [`rokeep::core`] makes of it, in the words of `KIND.rs`: the file `expected`. Nothing is run, mounted or asked.
//!
//! The streams were written by apt 2.6.1 on Debian 12 (without the lines that name a host), mountinfo and maps by Linux
//! 6.18 for a process in a small root of its own. What could not be recorded says so by being short.

mod check;
mod copies;
mod journal;
mod maps;
mod mount_state;
mod mountinfo;
mod options;
mod plan;
mod refusal;
mod session;
mod status;
mod stream;
mod verdict;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;

use rokeep::core::mount_state::{Access, Flags};

const EXPECTED: &str = "expected";

macro_rules! kinds {
    ($($kind:ident)*) => {
        $(
            #[test]
            fn $kind() {
                judge(stringify!($kind), $kind::decide);
            }
        )*

        const KINDS: &[&str] = &[$(stringify!($kind)),*];
    };
}

kinds! { check copies journal maps mount_state mountinfo options plan refusal session status stream verdict }

#[test]
fn every_directory_is_judged() {
    assert_eq!(directories(&root()), KINDS);
}

/// A case: a directory of recorded input.
pub struct Case(PathBuf);

impl Case {
    /// A file that the case must have.
    pub fn read(&self, name: &str) -> Vec<u8> {
        self.find(name).unwrap_or_else(|| panic!("{} has no file {name}", self.0.display()))
    }

    /// A file that must be text.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap_or_else(|_| panic!("{}/{name} is not text", self.0.display()))
    }

    /// A file that the case may have.
    pub fn find(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.0.join(name);
        path.exists().then(|| fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }
}

/// Bytes as a person can read them, and as no terminal misunderstands them.
pub fn shown(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().escape_ascii().to_string()
}

/// Both levels of a mount, in the words of the cases.
pub fn levels(flags: Flags) -> String {
    let word = |access| match access {
        Access::ReadOnly => "read-only",
        Access::Writable => "writable",
    };
    format!("mount {}, superblock {}", word(flags.mount), word(flags.superblock))
}

/// The other way round.
pub fn read_levels(text: &str) -> Flags {
    let all = [Access::ReadOnly, Access::Writable];
    let flags = all.map(|mount| all.map(|superblock| Flags { mount, superblock }));
    let named = flags.into_iter().flatten().find(|flags| levels(*flags) == text.trim());
    named.unwrap_or_else(|| panic!("not the state of a mount: {text:?}"))
}

/// Decides every case of a kind anew and compares.
fn judge(kind: &str, decide: fn(&Case) -> String) {
    let dir = root().join(kind);
    let names = directories(&dir);
    assert!(!names.is_empty(), "{} has no cases", dir.display());
    let differ: Vec<String> = names.iter().filter_map(|name| difference(kind, &dir.join(name), decide)).collect();
    assert!(differ.is_empty(), "{} of {} cases differ\n\n{}", differ.len(), names.len(), differ.join("\n"));
}

/// What differs, and how to look at it.
fn difference(kind: &str, dir: &Path, decide: fn(&Case) -> String) -> Option<String> {
    let case = Case(dir.to_owned());
    let seen = catch_unwind(|| decide(&case)).unwrap_or_else(|_| panic!("{} could not be decided", dir.display()));
    if case.find(EXPECTED).is_some_and(|expected| !expected.is_empty() && expected == seen.as_bytes()) {
        return None;
    }
    let expected = dir.join(EXPECTED);
    let decided = Path::new(env!("CARGO_TARGET_TMPDIR")).join("decisions").join(kind).join(dir.file_name()?);
    fs::create_dir_all(decided.parent()?).expect("cargo's directory for tests can be written");
    fs::write(&decided, seen).expect("cargo's directory for tests can be written");
    let diff = Command::new("diff")
        .args(["--unified", "--text", "--new-file", "--label=expected", "--label=decided"])
        .args([&expected, &decided])
        .output()
        .expect("diff can be run");
    let diff = String::from_utf8_lossy(&diff.stdout);
    let (dir, expected, decided) = (dir.display(), expected.display(), decided.display());
    Some(format!("{dir}\n{diff}Read {dir}/*. If the decision is right: cp {decided} {expected}\n"))
}

/// Cargo runs tests in the package's directory.
fn root() -> PathBuf {
    PathBuf::from("tests/decisions")
}

fn directories(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let paths = entries.map(|entry| entry.expect("it can be listed").path()).filter(|path| path.is_dir());
    let mut names: Vec<String> = paths.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}
