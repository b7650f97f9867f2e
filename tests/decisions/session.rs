//! `story`, what package managers do one after the other → for whom the mounts are kept writable, and how they end.
//!
//! | a line | means |
//! |---|---|
//! | `begin WHO`, `end WHO` | Pre-Invoke, Post-Invoke; `WHO` is `command pid@start` |
//! | `die WHO` | it ends without Post-Invoke |
//! | `dpkg WHO` | this dpkg has the package database locked, until it dies |
//! | `recover` | what the watch, the timer and the boot do |
//! | `POINT: mount …, superblock …` | somebody mounts it so |
//! | `hold POINT`, `hold POINT until N` | somebody has it held by hand, until so many seconds have gone since the start |
//! | `busy POINT`, `free POINT` | its superblock refuses to become read-only, and does so no longer |
//!
//! `session.json`, if there, is what an earlier rokeep left. Every step reads what the step before it wrote, as they are
//! different processes.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rokeep::core::by_hand::ByHand;
use rokeep::core::inode::Device;
use rokeep::core::mount_state::{Access, Flags, Step, steps};
use rokeep::core::session::{Frontend, MountId, Session};

use crate::{Case, levels, read_levels, shown};

/// Seconds since the machine was started.
const NOW: u64 = 1000;

pub fn decide(case: &Case) -> String {
    let left = case.find("session.json").unwrap_or_else(|| to_text(&Session::default()).into());
    let mut world = World::default();
    let Ok(mut session) = serde_json::from_slice::<Session>(&left) else { return "refused\n".to_owned() };
    let mut text = String::new();
    for line in case.text("story").lines() {
        let is_ours = world.tell(line, &mut session);
        session = serde_json::from_str(&to_text(&session)).expect("it can be read again");
        let _ = write!(text, "{line}\n{}", if is_ours { world.look(&session) } else { String::new() });
    }
    if session.is_over() { text } else { format!("{text}left: {}\n", to_text(&session)) }
}

fn to_text(session: &Session) -> String {
    serde_json::to_string(session).expect("it can be written")
}

/// What is around a session, and the stages' use of it.
#[derive(Default)]
struct World {
    mounts: BTreeMap<PathBuf, Flags>,
    busy: HashSet<PathBuf>,
    alive: Vec<Frontend>,
    dpkg: Option<Frontend>,
}

impl World {
    /// Answers whether this was one of rokeep's own stages.
    fn tell(&mut self, line: &str, session: &mut Session) -> bool {
        match line.split_once(' ') {
            Some(("begin", who)) => self.begin(frontend(who), session),
            Some(("end", who)) => self.end(&frontend(who), session),
            Some(("hold", what)) => hold(what, session),
            None if line == "recover" => self.close_if_unused(session),
            other => {
                self.happens(other.unwrap_or_else(|| panic!("not a line of a story: {line:?}")));
                return false;
            }
        }
        true
    }

    fn happens(&mut self, (word, rest): (&str, &str)) {
        match word {
            "die" => {
                self.alive.retain(|other| !other.is(&frontend(rest)));
                self.dpkg.take_if(|dpkg| dpkg.is(&frontend(rest)));
            }
            "dpkg" => {
                self.alive.push(frontend(rest));
                self.dpkg = Some(frontend(rest));
            }
            "busy" => assert!(self.busy.insert(rest.into()), "{rest} is busy already"),
            "free" => assert!(self.busy.remove(&PathBuf::from(rest)), "{rest} is not busy"),
            point => {
                let point = point.strip_suffix(':').unwrap_or_else(|| panic!("not a line of a story: {point:?}"));
                self.mounts.insert(point.into(), read_levels(rest));
            }
        }
    }

    fn begin(&mut self, who: Frontend, session: &mut Session) {
        for (point, flags) in &self.mounts {
            if flags.refuse_writes() {
                session.note(&mount(point), *flags);
            }
        }
        session.join(who.clone());
        self.alive.push(who);
        for found in &session.mounts {
            self.mounts.insert(found.mount.point.clone(), Flags::WRITABLE);
        }
    }

    fn end(&mut self, who: &Frontend, session: &mut Session) {
        session.leave(who);
        self.close_if_unused(session);
    }

    fn close_if_unused(&mut self, session: &mut Session) {
        if session.is_over() {
            return;
        }
        session.forget_dead(|other| self.alive.iter().any(|living| living.is(other)));
        if !session.in_use() {
            self.dpkg.iter().for_each(|dpkg| session.join(dpkg.clone()));
        }
        if session.in_use() {
            return;
        }
        for found in std::mem::take(&mut session.mounts) {
            if found.held(NOW).is_some() {
                session.mounts.push(found);
                continue;
            }
            let now = self.mounts.entry(found.mount.point.clone()).or_insert(Flags::WRITABLE);
            if self.busy.contains(&found.mount.point) && found.found.superblock == Access::ReadOnly {
                now.mount = Access::ReadOnly;
                session.mounts.push(found);
                continue;
            }
            for step in steps(*now, found.found) {
                match step {
                    Step::Superblock(access) => now.superblock = access,
                    Step::Mount(access) => now.mount = access,
                }
            }
        }
    }

    fn look(&self, session: &Session) -> String {
        let people = session.frontends.iter().map(|other| format!("{} ({})", other.command, other.pid));
        let people: Vec<_> = people.collect();
        let open = if people.is_empty() { "nobody".to_owned() } else { people.join(", ") };
        let line = |(point, now): (&PathBuf, &Flags)| {
            let found = session.found(&mount(point)).map(|found| format!(" (found: {})", levels(found)));
            let point = shown(point.as_os_str().as_bytes());
            format!("    {point}: {}{}\n", levels(*now), found.unwrap_or_default())
        };
        format!("    open for {open}\n{}", self.mounts.iter().map(line).collect::<String>())
    }
}

fn hold(what: &str, session: &mut Session) {
    let (point, until) = what.split_once(" until ").map_or((what, None), |(point, until)| (point, Some(until)));
    let until = until.map(|until| until.parse().expect("a number"));
    session.hold(&mount(point), ByHand { since: 900, until, why: "alice asked for it".to_owned() });
}

fn frontend(who: &str) -> Frontend {
    let read = || {
        let (command, process) = who.rsplit_once(' ')?;
        let (pid, started) = process.split_once('@')?;
        Some(Frontend { pid: pid.parse().ok()?, started: started.parse().ok()?, command: command.to_owned() })
    };
    read().unwrap_or_else(|| panic!("not a process: {who:?}"))
}

/// The mount at this point; in these stories nobody mounts anything on top of it.
fn mount(point: impl Into<PathBuf>) -> MountId {
    MountId { point: point.into(), device: Device { major: 8, minor: 1 }, id: 0, namespace: 1 }
}
