//! What `check` looks at, and what it says of it: whether everything is in place for the hooks to do their work here, and
//! what to do where it is not.
//!
//! Each topic has a file of its own: what was seen of it, as plain values, and what is found in that. `docs/check-json.md`
//! describes the form, `docs/check.schema.json` is its schema; a change to any of them is a change to all.
//!
//! Every text that came from outside is made harmless before it gets into a finding.
#![forbid(unsafe_code)]

pub mod apt;
pub mod apt_hooks;
pub mod dpkg;
pub mod fstab;
pub mod hooks;
pub mod kernel;
pub mod mounts;
pub mod others;
pub mod program;
pub mod remounts;
pub mod seen;
pub mod settings;
pub mod state;
pub mod text;
pub mod units;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::{columns, message, shell};

/// The version of the form.
pub const FORMAT: u32 = 1;

/// What was seen, topic by topic.
#[derive(Debug)]
pub struct Facts {
    /// The program.
    pub program: program::Facts,
    /// The hook scripts.
    pub hooks: hooks::Facts,
    /// apt's configuration.
    pub apt: apt::Facts,
    /// dpkg's.
    pub dpkg: dpkg::Facts,
    /// What starts what by itself.
    pub units: units::Facts,
    /// The kernel.
    pub kernel: kernel::Facts,
    /// The settings.
    pub settings: settings::Facts,
    /// The managed mounts as they are.
    pub mounts: mounts::Facts,
    /// The same as they will be after the next start.
    pub fstab: fstab::Facts,
    /// What rokeep remembers.
    pub state: state::Facts,
    /// Other programs that work with apt.
    pub others: others::Facts,
}

/// Everything there is to say.
#[derive(Debug, Serialize)]
pub struct Check {
    /// [`FORMAT`].
    pub format: u32,
    /// Of the rokeep that looked.
    pub version: &'static str,
    /// Whether a person has something to do.
    pub verdict: Verdict,
    /// In the order of the topics.
    pub findings: Vec<Finding>,
}

/// All of it in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything is in place.
    InPlace,
    /// Something is to be done, or could not be seen.
    NotInPlace,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub topic: Topic,
    /// How it is.
    pub state: State,
    /// In words.
    pub what: String,
    /// What to do; `None` where nothing is to be done.
    pub fix: Option<Fix>,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// `/usr/sbin/rokeep`
    Program,
    /// `/etc/rokeep/hooks`
    Hooks,
    /// apt's configuration.
    Apt,
    /// dpkg's configuration.
    Dpkg,
    /// systemd's units, or cron.
    Units,
    /// What the kernel can do.
    Kernel,
    /// `/etc/rokeep/config.toml`
    Settings,
    /// The managed mounts.
    Mounts,
    /// What they will be after the next start.
    Fstab,
    /// Session and journal.
    State,
    /// Other packages that work with apt.
    Others,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and there is something to know: to do, where there is a fix.
    Attention,
    /// Something will not work, or will go wrong.
    Broken,
    /// It could not be seen.
    Unknown,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "text", rename_all = "kebab-case")]
pub enum Fix {
    /// For a shell of root's, as it is.
    Command(String),
    /// For a person.
    Advice(String),
}

/// All that there is to say of what was seen.
pub fn check(facts: &Facts) -> Check {
    let findings: Vec<Finding> = [
        program::find(&facts.program),
        hooks::find(&facts.hooks),
        apt::find(&facts.apt),
        dpkg::find(&facts.dpkg),
        units::find(&facts.units),
        kernel::find(&facts.kernel),
        settings::find(&facts.settings),
        mounts::find(&facts.mounts),
        fstab::find(&facts.fstab),
        state::find(&facts.state),
        others::find(&facts.others),
    ]
    .concat();
    let verdict = if findings.iter().any(Finding::needs_somebody) { Verdict::NotInPlace } else { Verdict::InPlace };
    Check { format: FORMAT, version: env!("CARGO_PKG_VERSION"), verdict, findings }
}

/// What is there and was changed stays; what was deleted comes back.
const REINSTALL: &str = "apt-get -o Dpkg::Options::=--force-confmiss install --reinstall ./rokeep_VERSION_ARCH.deb";

impl Finding {
    /// Whether somebody has something to do about it. What could not be seen may be anything.
    pub fn needs_somebody(&self) -> bool {
        match self.state {
            State::Ok => false,
            State::Attention => self.fix.is_some(),
            State::Broken | State::Unknown => true,
        }
    }

    /// A command of root's puts it right.
    fn command(self, command: impl Into<String>) -> Finding {
        Finding { fix: Some(Fix::Command(command.into())), ..self }
    }

    /// A command about this path; where it cannot be copied as it is, the same in words.
    fn command_about(self, path: &Path, command: impl Fn(&str) -> String) -> Finding {
        match path.to_str().and_then(shell::word) {
            Some(word) => self.command(command(&word)),
            None => self.advice(command(&message::path(path))),
        }
    }

    /// A person puts it right.
    fn advice(self, advice: impl Into<String>) -> Finding {
        Finding { fix: Some(Fix::Advice(advice.into())), ..self }
    }

    /// The package, once more, brings what of it is lost. Where it is from is not known: apt may have no source of it.
    fn reinstall(self) -> Finding {
        self.advice(format!("install the package once more: \"{REINSTALL}\""))
    }

    /// The same where nothing of rokeep makes anything writable for that.
    fn reinstall_by_hand(self) -> Finding {
        self.advice(format!(
            "\"mount -o remount,rw /usr\" (or /, if it is on that), then \"{REINSTALL}\", then \"rokeep remount ro /usr\""
        ))
    }
}

impl Topic {
    fn ok(self, what: impl Into<String>) -> Finding {
        self.finding(State::Ok, what)
    }

    fn attention(self, what: impl Into<String>) -> Finding {
        self.finding(State::Attention, what)
    }

    fn broken(self, what: impl Into<String>) -> Finding {
        self.finding(State::Broken, what)
    }

    fn unknown(self, what: impl Into<String>) -> Finding {
        self.finding(State::Unknown, what)
    }

    /// What is called so, and why nobody knows.
    fn unseen(self, name: &str, why: &str) -> Finding {
        self.unknown(format!("{name} could not be looked at: {why}"))
    }

    fn finding(self, state: State, what: impl Into<String>) -> Finding {
        Finding { topic: self, state, what: what.into(), fix: None }
    }
}

/// Any bytes as they may be shown, and not too many of them.
fn said(bytes: &[u8]) -> String {
    const MOST_COLUMNS: usize = 120;
    columns::cut(&message::path(Path::new(OsStr::from_bytes(bytes))), MOST_COLUMNS)
}
