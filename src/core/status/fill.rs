//! From what was gathered to the form.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::WhoStatus;
use super::{GroupStatus, HeldKind, HeldStatus, HolderKind, HolderStatus, ProcessStatus, SessionStatus, UnknownStatus};
use crate::core::holder::{Holder, Process};
use crate::core::holding::{self, Amount, Group, Held, Surroundings, What, Who};
use crate::core::message;
use crate::core::session::Session;

/// What is held, and by whom: groups, and each thing with its holders.
pub fn holding(held: &[Held], surroundings: &Surroundings) -> (Vec<GroupStatus>, Vec<HeldStatus>) {
    let groups = holding::groups(held, surroundings);
    let place: BTreeMap<&Who, usize> = groups.iter().enumerate().map(|(at, group)| (&group.who, at)).collect();
    let one = |held: &Held| {
        let holder = |holder: &Holder| {
            let group = place.get(&Who::of(holder, held, surroundings)).copied()?;
            Some(HolderStatus { holder: holder_kind(holder), group })
        };
        let (kind, alias) = match &held.what {
            What::File(alias) => (HeldKind::File, Some(message::path(alias))),
            What::Directory => (HeldKind::Directory, None),
        };
        HeldStatus {
            kind,
            mount: message::path(&held.mount),
            names: held.names.iter().map(|name| message::path(name)).collect(),
            alias,
            inode: held.inode.ino,
            bytes: held.bytes,
            holders: held.holders.iter().filter_map(holder).collect(),
        }
    };
    let things = held.iter().map(one).collect();
    (groups.iter().map(|group| group_status(group, surroundings)).collect(), things)
}

fn holder_kind(holder: &Holder) -> HolderKind {
    match holder {
        Holder::Process(Process { pid, command, unit, started, uses, .. }) => HolderKind::Process {
            pid: *pid,
            command: message::text(command),
            unit: unit.clone(),
            since: *started,
            uses: uses.iter().copied().collect(),
        },
        Holder::Mount { at, seen_by } => {
            let inside = seen_by.as_ref().map(|process| process_status(process.pid, &process.command));
            HolderKind::Mount { at: message::path(at), inside }
        }
        Holder::LoopDevice(name) => HolderKind::LoopDevice { device: format!("/dev/{}", message::text(name)) },
        Holder::Swap => HolderKind::Swap,
        Holder::Interpreter(rule) => HolderKind::Interpreter { rule: message::text(rule) },
        Holder::Unseen => HolderKind::Unseen,
    }
}

fn group_status(group: &Group, surroundings: &Surroundings) -> GroupStatus {
    let Group { who, processes, since, all, shared, remedy } = group;
    let who = match who {
        Who::PackageRun => WhoStatus::PackageRun,
        Who::Unit(name) => WhoStatus::Unit { name: message::text(name) },
        Who::UserUnit(user, name) => WhoStatus::UserUnit { name: message::text(name), user: message::text(user) },
        Who::User(number) => {
            let user = surroundings.users.get(number).map_or_else(|| number.to_string(), |name| message::text(name));
            WhoStatus::User { user }
        }
        Who::Command(name) | Who::FirstProcess(name) => WhoStatus::Command { name: message::text(name) },
        Who::Mount(at, inside) => WhoStatus::Mount { at: message::path(at), inside: *inside },
        Who::LoopDevice(name) => WhoStatus::LoopDevice { device: format!("/dev/{}", message::text(name)) },
        Who::Swap(alias) => WhoStatus::Swap { file: message::path(alias) },
        Who::Interpreter(rule) => WhoStatus::Interpreter { rule: message::text(rule) },
        Who::Unseen => WhoStatus::Unseen,
    };
    GroupStatus {
        who,
        processes: processes.iter().map(|(pid, command)| process_status(*pid, command)).collect(),
        since: *since,
        holds: *all,
        shared: *shared,
        remedy: remedy.clone(),
    }
}

fn process_status(pid: i32, command: &str) -> ProcessStatus {
    ProcessStatus { pid, command: message::text(command) }
}

/// For whom the mounts are writable, if they are.
pub fn session(session: &Session) -> Option<SessionStatus> {
    let frontends = session.frontends.iter().map(|frontend| process_status(frontend.pid, &frontend.command));
    session.in_use().then(|| SessionStatus { frontends: frontends.collect() })
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// root.
    Root,
    /// Anybody else.
    Other,
}

/// What is kept because of those who could not be asked; `None` where nothing is.
pub fn unknown(who: &[String], kept: Amount, asker: Asker) -> Option<UnknownStatus> {
    if who.is_empty() || kept == Amount::default() {
        return None;
    }
    let remedy = match asker {
        Asker::Other => "ask as root",
        Asker::Root => {
            "end what hangs (after kill -9 it may take a reboot); in a container, ask outside of it; then \"rokeep cleanup\""
        }
    };
    let who = who.iter().map(|who| message::text(who)).collect();
    Some(UnknownStatus { who, kept, remedy: remedy.to_owned() })
}

impl UnknownStatus {
    /// What a person has to know of it.
    pub fn problem(&self) -> String {
        let UnknownStatus { who, kept, remedy } = self;
        let who = message::few(who, 4);
        format!("what {who} uses cannot be read, so all that may be in use there is kept ({kept}): {remedy}")
    }
}
