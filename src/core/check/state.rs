//! What rokeep remembers, and where.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::seen::{Kind, Object, Seen};
use super::{Finding, Topic};
use crate::core::message;
use crate::core::session::Session;

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// The session, without those who are dead; an error is why it cannot be used.
    pub session: Seen<Result<Session, String>>,
    /// How many records the journal has; an error is why it cannot be used.
    pub journal: Seen<Result<usize, String>>,
    /// The directories.
    pub homes: Vec<Home>,
    /// The files in them.
    pub files: Vec<(PathBuf, Object)>,
    /// Seconds since the machine was started.
    pub now: u64,
}

/// A directory of rokeep's.
#[derive(Debug)]
pub struct Home {
    /// Where it is, or will be.
    pub path: PathBuf,
    /// What is there.
    pub found: Seen<Object>,
    /// Whether it can be written, as the mount that it is on says.
    pub access: HomeAccess,
}

/// Whether a directory of rokeep's can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeAccess {
    /// It can, or will be while a package run is on, as it is on a managed mount.
    Writable,
    /// The mount at this point is read-only, and rokeep does not open it.
    ReadOnly(PathBuf),
    /// That could not be told.
    Unknown(String),
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let topic = Topic::State;
    let mut findings: Vec<Finding> = facts.homes.iter().flat_map(home).collect();
    for (path, object) in &facts.files {
        if object.kind != Kind::File || object.owner != 0 || !object.is_private() {
            let what = format!("{} is no file of root's alone", message::path(path));
            findings.push(
                topic.attention(what).command_about(path, |path| format!("chown root:root {path} && chmod 600 {path}")),
            );
        }
    }
    findings.extend(session(facts));
    let records = match &facts.journal {
        Seen::There(Ok(records)) => *records,
        Seen::Missing => 0,
        Seen::There(Err(why)) => {
            let what = format!("{why}: every package run is stopped");
            let advice = "move it away, once \"rokeep status\" shows no package run; then \"rokeep recover\" writes down again what is there";
            findings.push(topic.broken(what).advice(advice));
            0
        }
        Seen::Unknown(why) => {
            findings.push(topic.unknown(format!("the journal could not be read: {why}")));
            0
        }
    };
    if findings.is_empty() {
        let records = message::count(records, "alias");
        findings.push(topic.ok(format!("session and journal are in order, {records} noted")));
    }
    findings
}

fn home(home: &Home) -> Vec<Finding> {
    let (topic, name) = (Topic::State, message::path(&home.path));
    let mut findings = Vec::new();
    match &home.found {
        Seen::There(object) if object.kind != Kind::Directory || object.owner != 0 || object.mode & 0o022 != 0 => {
            let what = format!("{name} may be somebody else's, and every package run is stopped");
            findings.push(topic.broken(what).advice(format!("look at what is in {name}, and move it away")));
        }
        Seen::There(object) if !object.is_private() => {
            let what = format!("others can look into {name}");
            findings.push(topic.attention(what).command_about(&home.path, |path| format!("chmod 700 {path}")));
        }
        Seen::There(_) | Seen::Missing => {}
        Seen::Unknown(why) => findings.push(topic.unseen(&name, why)),
    }
    match &home.access {
        HomeAccess::Writable => {}
        HomeAccess::ReadOnly(mount) => findings.push(read_only(&name, mount)),
        HomeAccess::Unknown(why) => findings.push(topic.unknown(format!("whether {name} can be written: {why}"))),
    }
    findings
}

fn read_only(name: &str, mount: &Path) -> Finding {
    let mount = message::path(mount);
    let what = format!("{name} is on {mount}, which is read-only and not managed: every package run is stopped");
    Topic::State
        .broken(what)
        .advice(format!("mount something writable there, or have {mount} among the mounts in /etc/rokeep/config.toml"))
}

/// One that nobody living needs is unfinished business.
fn session(facts: &Facts) -> Option<Finding> {
    let topic = Topic::State;
    let session = match &facts.session {
        Seen::There(Ok(session)) => session,
        Seen::There(Err(why)) => {
            let what = format!("{why}: every package run is stopped");
            return Some(topic.broken(what).advice(
                "a start of the machine does away with it, as does removing it when nobody installs anything",
            ));
        }
        Seen::Missing => return None,
        Seen::Unknown(why) => return Some(topic.unknown(format!("the session could not be read: {why}"))),
    };
    let is_over = session.in_use() || session.is_over() || session.held(facts.now).next().is_some();
    if is_over {
        return None;
    }
    let points: Vec<String> = session.mounts.iter().map(|noted| message::path(&noted.mount.point)).collect();
    let what = format!("a package run has ended and left something to do: {}", message::few(&points, 3));
    Some(topic.attention(what).command("rokeep cleanup"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::check::State;
    use crate::core::inode::Device;
    use crate::core::mount_state::Flags;
    use crate::core::session::{Frontend, MountId};

    const DIRECTORY: Object = Object { kind: Kind::Directory, mode: 0o700, owner: 0 };

    fn facts(object: Object, access: HomeAccess) -> Facts {
        let home = Home { path: "/var/lib/rokeep".into(), found: Seen::There(object), access };
        Facts { session: Seen::Missing, journal: Seen::Missing, homes: vec![home], files: vec![], now: 0 }
    }

    fn session(frontends: Vec<Frontend>) -> Session {
        let mut session = Session { frontends, ..Session::default() };
        let device = Device { major: 8, minor: 1 };
        session.note(&MountId { point: "/usr".into(), device, id: 7, namespace: 1 }, Flags::WRITABLE);
        session
    }

    #[test]
    fn each_thing_that_can_be_wrong() {
        let fine = || facts(DIRECTORY, HomeAccess::Writable);
        let apt = || vec![Frontend { pid: 1, started: 1, command: "apt".into() }];
        let file = |mode| vec![("/var/lib/rokeep/journal.jsonl".into(), Object { kind: Kind::File, mode, owner: 0 })];
        for (what, facts, state) in [
            ("fine", fine(), State::Ok),
            ("open to others", facts(Object { mode: 0o755, ..DIRECTORY }, HomeAccess::Writable), State::Attention),
            ("written by others", facts(Object { mode: 0o777, ..DIRECTORY }, HomeAccess::Writable), State::Broken),
            ("somebody's", facts(Object { owner: 1000, ..DIRECTORY }, HomeAccess::Writable), State::Broken),
            ("read-only", facts(DIRECTORY, HomeAccess::ReadOnly("/".into())), State::Broken),
            ("private", Facts { files: file(0o600), ..fine() }, State::Ok),
            ("read by others", Facts { files: file(0o644), ..fine() }, State::Attention),
            ("records", Facts { journal: Seen::There(Ok(3)), ..fine() }, State::Ok),
            ("damaged", Facts { journal: Seen::There(Err("x".into())), ..fine() }, State::Broken),
            ("not for us", Facts { journal: Seen::Unknown("x".into()), ..fine() }, State::Unknown),
            ("a run is on", Facts { session: Seen::There(Ok(session(apt()))), ..fine() }, State::Ok),
            ("left", Facts { session: Seen::There(Ok(session(vec![]))), ..fine() }, State::Attention),
            ("damaged session", Facts { session: Seen::There(Err("x".into())), ..fine() }, State::Broken),
        ] {
            let found = find(&facts);
            let [finding] = &found[..] else { panic!("{what}: {found:#?}") };
            assert_eq!(finding.state, state, "{what}: {finding:#?}");
        }
    }
}
