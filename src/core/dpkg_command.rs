//! What dpkg was asked to do, from its command line (dpkg(1); lib/dpkg/options.c and src/main/main.c of dpkg).
//!
//! dpkg reads options up to the first word that is none, or to `--`; everything after that is an archive, a directory or a
//! package, also if it starts with a hyphen. An option's name is never cut short.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::message;

/// What it was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `--no-act`: it only says what it would do. dpkg calls its hooks all the same before 1.22.7.
    Pretend,
    /// Archives to unpack.
    Unpack {
        /// The archives and directories of archives, as they were written: relative to dpkg's own directory.
        archives: Vec<PathBuf>,
        /// What becomes of an archive of the version that is installed.
        same_version: SameVersion,
    },
    /// Packages to remove or purge.
    Remove(Packages),
    /// What neither unpacks nor removes anything. Maintainer scripts run all the same.
    Other,
}

/// What becomes of an archive of the version that is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameVersion {
    /// It is unpacked like any other.
    Unpacked,
    /// `--skip-same-version`.
    Skipped,
}

/// Which packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packages {
    /// These, each as `NAME` or `NAME:ARCH`.
    Named(Vec<Vec<u8>>),
    /// `--pending`: those that are selected for it in dpkg's status.
    Selected,
}

/// Why a command line says nothing. The names are dpkg's, or the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotUnderstood {
    /// An option that is none of dpkg 1.22's, nor of any before.
    Option(Vec<u8>),
    /// It ends where a value should follow.
    NoValue(Vec<u8>),
    /// It says something else than dpkg itself (`DPKG_HOOK_ACTION`).
    AnotherAction(Vec<u8>),
}

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &[u8]| message::text(&String::from_utf8_lossy(text));
        match self {
            NotUnderstood::Option(option) => write!(f, "{} is not known here", shown(option)),
            NotUnderstood::NoValue(option) => write!(f, "{} has no value", shown(option)),
            NotUnderstood::AnotherAction(action) => write!(f, "dpkg calls it --{}", shown(action)),
        }
    }
}

impl std::error::Error for NotUnderstood {}

/// Reads the words after the program's name. `action` is what dpkg itself calls it (`DPKG_HOOK_ACTION`), always by the
/// long name.
///
/// # Errors
/// What cannot be understood: a guess would protect the wrong files.
pub fn parse(words: &[&[u8]], action: &[u8]) -> Result<Command, NotUnderstood> {
    let Options { said, actions, words } = options(words)?;
    if said.contains(&Flag::NoAct) {
        return Ok(Command::Pretend);
    }
    if actions.iter().any(|said| said.as_bytes() != action) || actions.is_empty() {
        return Err(NotUnderstood::AnotherAction(action.to_owned()));
    }
    let skips = said.contains(&Flag::SkipSameVersion);
    Ok(match action {
        b"install" | b"unpack" => Command::Unpack {
            archives: words.iter().map(|word| PathBuf::from(OsStr::from_bytes(word))).collect(),
            same_version: if skips { SameVersion::Skipped } else { SameVersion::Unpacked },
        },
        b"remove" | b"purge" if said.contains(&Flag::Pending) => Command::Remove(Packages::Selected),
        b"remove" | b"purge" => Command::Remove(Packages::Named(words.iter().map(|word| word.to_vec()).collect())),
        _ => Command::Other,
    })
}

/// What an option means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    NoAct,
    Pending,
    SkipSameVersion,
    /// Says nothing about which files are replaced. A directory of archives is seen without `--recursive`.
    Nothing,
}

/// The actions that call hooks; all others end the search, as they call none.
const ACTIONS: [(&str, Option<u8>); 8] = [
    ("install", Some(b'i')),
    ("unpack", None),
    ("configure", None),
    ("triggers-only", None),
    ("remove", Some(b'r')),
    ("purge", Some(b'P')),
    ("add-architecture", None),
    ("remove-architecture", None),
];

const FLAGS: [(&str, Option<u8>, Flag); 17] = [
    ("no-act", None, Flag::NoAct),
    ("dry-run", None, Flag::NoAct),
    ("simulate", None, Flag::NoAct),
    ("pending", Some(b'a'), Flag::Pending),
    ("skip-same-version", Some(b'E'), Flag::SkipSameVersion),
    ("recursive", Some(b'R'), Flag::Nothing),
    ("refuse-downgrade", Some(b'G'), Flag::Nothing),
    ("auto-deconfigure", Some(b'B'), Flag::Nothing),
    ("selected-only", Some(b'O'), Flag::Nothing),
    ("no-also-select", Some(b'N'), Flag::Nothing),
    ("triggers", None, Flag::Nothing),
    ("no-triggers", None, Flag::Nothing),
    ("no-debsig", None, Flag::Nothing),
    ("no-pager", None, Flag::Nothing),
    ("robot", None, Flag::Nothing),
    ("largemem", None, Flag::Nothing),
    ("smallmem", None, Flag::Nothing),
];

/// Options with a value: `--NAME=VALUE` or `--NAME VALUE`.
const VALUES: [(&str, Option<u8>); 14] = [
    ("debug", Some(b'D')),
    ("abort-after", None),
    ("admindir", None),
    ("ignore-depends", None),
    ("instdir", None),
    ("log", None),
    ("path-exclude", None),
    ("path-include", None),
    ("post-invoke", None),
    ("pre-invoke", None),
    ("root", None),
    ("status-fd", None),
    ("status-logger", None),
    ("verify-format", None),
];

/// The same: `--NAME-VALUE` or `--NAME VALUE`.
const HYPHENATED: [&str; 3] = ["force", "no-force", "refuse"];

#[derive(Default)]
struct Options<'a> {
    said: Vec<Flag>,
    actions: Vec<&'static str>,
    /// What stands behind them.
    words: Vec<&'a [u8]>,
}

fn options<'a>(words: &[&'a [u8]]) -> Result<Options<'a>, NotUnderstood> {
    let mut found = Options::default();
    let mut words = words.iter().copied();
    loop {
        let rest = words.clone();
        let Some(word) = words.next() else { break };
        if word == b"--" {
            found.words = words.collect();
            break;
        }
        let taken = match word {
            [b'-', b'-', name @ ..] => found.long(name),
            [b'-', letters @ ..] if !letters.is_empty() => found.short(letters),
            _ => {
                found.words = rest.collect();
                break;
            }
        };
        match taken {
            Some(Takes::Nothing) => {}
            Some(Takes::TheNextWord) => drop(words.next().ok_or_else(|| NotUnderstood::NoValue(word.to_owned()))?),
            None => return Err(NotUnderstood::Option(word.to_owned())),
        }
    }
    Ok(found)
}

enum Takes {
    Nothing,
    TheNextWord,
}

impl Options<'_> {
    /// `None` for one that is not known.
    fn long(&mut self, name: &[u8]) -> Option<Takes> {
        if let Some((action, _)) = ACTIONS.iter().find(|(action, _)| action.as_bytes() == name) {
            self.actions.push(action);
            return Some(Takes::Nothing);
        }
        if let Some((.., flag)) = FLAGS.iter().find(|(flag, ..)| flag.as_bytes() == name) {
            self.said.push(*flag);
            return Some(Takes::Nothing);
        }
        let equal = VALUES.iter().map(|(value, _)| (*value, b'='));
        let hyphenated = HYPHENATED.iter().map(|value| (*value, b'-'));
        equal.chain(hyphenated).find_map(|(value, before_it)| match name.strip_prefix(value.as_bytes())? {
            [] => Some(Takes::TheNextWord),
            [mark, ..] if *mark == before_it => Some(Takes::Nothing),
            _ => None,
        })
    }

    /// Letters of which the last may have its value behind it, or in the next word.
    fn short(&mut self, mut letters: &[u8]) -> Option<Takes> {
        while let [letter, rest @ ..] = letters {
            if let Some((action, _)) = ACTIONS.iter().find(|(_, short)| *short == Some(*letter)) {
                self.actions.push(action);
            } else if let Some((.., flag)) = FLAGS.iter().find(|(_, short, _)| *short == Some(*letter)) {
                self.said.push(*flag);
            } else if VALUES.iter().any(|(_, short)| *short == Some(*letter)) {
                return Some(if rest.is_empty() { Takes::TheNextWord } else { Takes::Nothing });
            } else {
                return None;
            }
            letters = rest;
        }
        Some(Takes::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command line as it would be typed: words between single spaces, or tabs where a word has a space in it.
    fn read(line: &str, action: &str) -> Result<Command, NotUnderstood> {
        let between = if line.contains('\t') { '\t' } else { ' ' };
        let words: Vec<&[u8]> = line.split(between).skip(1).map(str::as_bytes).collect();
        parse(&words, action.as_bytes())
    }

    fn unpack(archives: &[&str]) -> Command {
        let archives = archives.iter().map(PathBuf::from).collect();
        Command::Unpack { archives, same_version: SameVersion::Unpacked }
    }

    fn remove(packages: &[&str]) -> Command {
        Command::Remove(Packages::Named(packages.iter().map(|name| name.as_bytes().to_vec()).collect()))
    }

    #[test]
    fn command_lines_of_programs_and_people() {
        let selected = Command::Remove(Packages::Selected);
        for (line, action, expected) in [
            // apt-pkg/deb/dpkgpm.cc
            (
                "/usr/bin/dpkg --status-fd 11 --no-triggers --unpack --auto-deconfigure \
                 /var/cache/apt/archives/sudo_1%3a1.9_amd64.deb",
                "unpack",
                unpack(&["/var/cache/apt/archives/sudo_1%3a1.9_amd64.deb"]),
            ),
            (
                "/usr/bin/dpkg --status-fd 24 --no-triggers --unpack --auto-deconfigure --recursive \
                 /tmp/apt-dpkg-install-aB3xYz",
                "unpack",
                unpack(&["/tmp/apt-dpkg-install-aB3xYz"]),
            ),
            (
                "/usr/bin/dpkg --force-unsafe-io --status-fd 11 --no-triggers --force-depends --remove tool:amd64",
                "remove",
                remove(&["tool:amd64"]),
            ),
            ("/usr/bin/dpkg --status-fd 11 --configure --pending", "configure", Command::Other),
            ("/usr/bin/dpkg --status-fd 11 --force-depends --purge --pending", "purge", selected.clone()),
            // aptitude, when an installation went wrong; unattended-upgrades, before it begins
            ("dpkg --configure -a", "configure", Command::Other),
            ("dpkg --force-confold --configure -a", "configure", Command::Other),
            // python-apt (apt/debfile.py, apt/progress/base.py), and gdebi by it
            ("dpkg --status-fd 6 -i /tmp/tool_1_all.deb", "install", unpack(&["/tmp/tool_1_all.deb"])),
            ("dpkg --auto-deconfigure -i tool.deb", "install", unpack(&["tool.deb"])),
            // dpkg(1)
            ("dpkg -i a.deb b.deb", "install", unpack(&["a.deb", "b.deb"])),
            ("dpkg -iRG dir", "install", unpack(&["dir"])),
            ("dpkg -R --install dir other", "install", unpack(&["dir", "other"])),
            ("dpkg -r tool libtool:i386", "remove", remove(&["tool", "libtool:i386"])),
            ("dpkg --purge tool", "purge", remove(&["tool"])),
            ("dpkg -P -a", "purge", selected.clone()),
            ("dpkg -ra", "remove", selected),
            ("dpkg --triggers-only -a", "triggers-only", Command::Other),
            ("dpkg --configure tool", "configure", Command::Other),
            ("dpkg --add-architecture i386", "add-architecture", Command::Other),
        ] {
            assert_eq!(read(line, action), Ok(expected), "{line}");
        }
    }

    #[test]
    fn values_are_not_archives() {
        for options in [
            "--admindir=/var/lib/dpkg",
            "--admindir /var/lib/dpkg",
            "--root=/",
            "--instdir /",
            "-D 2",
            "-D2",
            "-D=2",
            "-BD 2",
            "--debug=2",
            "--force all",
            "--force-all",
            "--refuse-downgrade --no-force-depends --refuse-all",
            "--ignore-depends=a,b --abort-after 3 --log=/dev/null",
            "--path-exclude=/usr/share/doc/* --path-include /usr/share/doc/x --verify-format rpm",
            "--pre-invoke true --post-invoke=true --status-logger cat --status-fd 2",
            "-GBON --no-debsig --no-pager --triggers --robot",
        ] {
            assert_eq!(read(&format!("dpkg {options} -i tool.deb"), "install"), Ok(unpack(&["tool.deb"])), "{options}");
            assert_eq!(read(&format!("dpkg -i {options} tool.deb"), "install"), Ok(unpack(&["tool.deb"])), "{options}");
        }
    }

    #[test]
    fn options_end_where_dpkg_says() {
        assert_eq!(read("dpkg -i -- -R", "install"), Ok(unpack(&["-R"])));
        assert_eq!(read("dpkg -i tool.deb --no-act", "install"), Ok(unpack(&["tool.deb", "--no-act"])));
        assert_eq!(read("dpkg -i - -R", "install"), Ok(unpack(&["-", "-R"])));
        assert_eq!(read("dpkg -r -- --pending", "remove"), Ok(remove(&["--pending"])));
        assert_eq!(read("dpkg\t-i\ta b.deb\tc\nd.deb", "install"), Ok(unpack(&["a b.deb", "c\nd.deb"])));
        assert_eq!(read("dpkg -i", "install"), Ok(unpack(&[])));
        assert_eq!(
            parse(&[b"-i", b"\xff.deb"], b"install"),
            Ok(Command::Unpack {
                archives: vec![OsStr::from_bytes(b"\xff.deb").into()],
                same_version: SameVersion::Unpacked
            })
        );
    }

    #[test]
    fn what_is_installed_already_may_be_skipped() {
        for line in ["dpkg -iE tool.deb", "dpkg --skip-same-version --install tool.deb"] {
            let skipping = Command::Unpack { archives: vec!["tool.deb".into()], same_version: SameVersion::Skipped };
            assert_eq!(read(line, "install"), Ok(skipping), "{line}");
        }
    }

    #[test]
    fn a_pretence_is_one_whatever_else_is_said() {
        for line in ["dpkg --no-act -i x.deb", "dpkg -r --dry-run tool", "dpkg --simulate --configure -a"] {
            assert_eq!(read(line, "install"), Ok(Command::Pretend), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        let option = |text: &str| Err(NotUnderstood::Option(text.into()));
        for unknown in ["--new-option", "--recurs", "--force=all", "--no-act=1", "--log-x", "-iz", "-x", "-E=1"] {
            assert_eq!(read(&format!("dpkg {unknown} -i tool.deb"), "install"), option(unknown), "{unknown}");
        }
        assert_eq!(read("dpkg -i --root", "install"), Err(NotUnderstood::NoValue("--root".into())));
        assert_eq!(read("dpkg -iD", "install"), Err(NotUnderstood::NoValue("-iD".into())));
        for other in ["dpkg", "dpkg tool.deb", "dpkg -r tool", "dpkg -i -r tool.deb", ""] {
            assert_eq!(read(other, "install"), Err(NotUnderstood::AnotherAction("install".into())), "{other}");
        }
    }
}
