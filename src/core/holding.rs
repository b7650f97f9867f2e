//! Who a person has to deal with so that old files are let go: their holders in groups, each with what frees it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::holder::{Holder, Process};
use super::inode::Inode;
use super::message;
use super::remedy::{self, Remedy};

/// Something that was replaced or removed and is kept because somebody uses it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The mount point of the managed mount that it is on.
    pub mount: PathBuf,
    /// File or directory.
    pub what: What,
    /// The names it had; none where they are not known.
    pub names: Vec<PathBuf>,
    /// Which one it is. Two aliases may be of one inode.
    pub inode: Inode,
    /// Bytes on disk.
    pub bytes: u64,
    /// Who uses it.
    pub holders: Vec<Holder>,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A file, by the alias at this path.
    File(PathBuf),
    /// A directory, by a marker in it.
    Directory,
}

/// What has to be known of the machine, besides its holders.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The processes of the package runs that are on.
    pub at_work: BTreeSet<i32>,
    /// What users are called, by their numbers.
    pub users: BTreeMap<u32, String>,
}

/// Whoever has to do something, or what has to be done something about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The package run that is on.
    PackageRun,
    /// A unit of the system's systemd.
    Unit(String),
    /// A unit of the systemd of the user of this name.
    UserUnit(String, String),
    /// All else that the user with this number runs in sessions.
    User(u32),
    /// Processes of this name that systemd knows nothing of.
    Command(String),
    /// The same, but it is the one that started all others.
    FirstProcess(String),
    /// A mount, in our mount namespace or in that of a process.
    Mount(PathBuf, Option<i32>),
    /// A loop device.
    LoopDevice(String),
    /// A file that is swapped to, by its alias.
    Swap(PathBuf),
    /// A rule of binfmt_misc.
    Interpreter(String),
    /// What nobody shows.
    Unseen,
}

impl Who {
    /// Of whom this is.
    pub fn of(holder: &Holder, held: &Held, surroundings: &Surroundings) -> Who {
        match holder {
            Holder::Process(process) => Who::of_process(process, surroundings),
            // A service gets its mounts anew when it is restarted: without the mount it may not work.
            Holder::Mount { seen_by: Some(Process { unit: Some(unit), user: None, .. }), .. }
                if unit.ends_with(".service") =>
            {
                Who::Unit(unit.clone())
            }
            Holder::Mount { at, seen_by } => Who::Mount(at.clone(), seen_by.as_ref().map(|process| process.pid)),
            Holder::LoopDevice(name) => Who::LoopDevice(name.clone()),
            Holder::Swap => Who::Swap(match &held.what {
                What::File(alias) => alias.clone(),
                What::Directory => held.mount.clone(),
            }),
            Holder::Interpreter(rule) => Who::Interpreter(rule.clone()),
            Holder::Unseen => Who::Unseen,
        }
    }

    fn of_process(process: &Process, surroundings: &Surroundings) -> Who {
        if surroundings.at_work.contains(&process.pid) {
            return Who::PackageRun;
        }
        let Process { pid, command, unit, user, user_unit, .. } = process;
        match (unit, user) {
            (Some(unit), Some(user)) if unit.starts_with("user@") || unit.starts_with("session-") => {
                let own = user_unit.as_ref().filter(|unit| !remedy::is_the_session(unit));
                match (own, surroundings.users.get(user)) {
                    (Some(unit), Some(name)) => Who::UserUnit(name.clone(), unit.clone()),
                    (None, _) | (_, None) => Who::User(*user),
                }
            }
            (Some(unit), _) => Who::Unit(unit.clone()),
            (None, _) if *pid == 1 => Who::FirstProcess(command.clone()),
            (None, _) => Who::Command(command.clone()),
        }
    }

    fn remedy(&self, surroundings: &Surroundings) -> Remedy {
        match self {
            Who::PackageRun => Remedy::Itself,
            Who::Unit(unit) => remedy::unit(unit),
            Who::UserUnit(user, unit) => remedy::user_unit(user, unit),
            Who::User(number) => match surroundings.users.get(number) {
                Some(name) => remedy::session(name, name),
                None => remedy::session(&format!("user {number}"), &number.to_string()),
            },
            Who::Command(_) => remedy::processes(),
            Who::FirstProcess(command) => remedy::first_process(command),
            Who::Mount(at, inside) => remedy::mount(at, *inside),
            Who::LoopDevice(name) => remedy::loop_device(name),
            Who::Swap(alias) => remedy::swap(alias),
            Who::Interpreter(rule) => remedy::interpreter(rule),
            Who::Unseen => remedy::unseen(),
        }
    }
}

/// All that one of them holds.
#[derive(Clone, Debug)]
pub struct Group {
    /// Whom it is about.
    pub who: Who,
    /// Its processes: their command names by their ids.
    pub processes: BTreeMap<i32, String>,
    /// When the first of them was started: seconds since 1970.
    pub since: Option<u64>,
    /// All it holds.
    pub all: Amount,
    /// That part of it which others hold too.
    pub shared: Amount,
    /// What makes it let go.
    pub remedy: Remedy,
}

/// So much, each inode counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Replaced files.
    pub files: usize,
    /// Removed directories.
    pub directories: usize,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Amount {
    /// One more of this kind.
    pub fn add(&mut self, held: &Held) {
        match held.what {
            What::File(_) => self.files += 1,
            What::Directory => self.directories += 1,
        }
        self.bytes += held.bytes;
    }
}

/// `2 files, 1 directory, 5.4 MiB`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: usize, noun: &str| (number > 0).then(|| message::count(number, noun));
        let bytes = (self.bytes > 0).then(|| message::bytes(self.bytes));
        let parts = [count(self.files, "file"), count(self.directories, "directory"), bytes];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// So much of it, each inode counted once.
pub fn amount<'a>(held: impl Iterator<Item = &'a Held>) -> Amount {
    let mut amount = Amount::default();
    let mut counted = BTreeSet::new();
    held.filter(|held| counted.insert(held.inode)).for_each(|held| amount.add(held));
    amount
}

/// Who holds all this, the one of whom most bytes depend last.
pub fn groups(held: &[Held], surroundings: &Surroundings) -> Vec<Group> {
    let mut groups: BTreeMap<Who, Group> = BTreeMap::new();
    let mut by_inode: HashMap<Inode, (&Held, BTreeSet<Who>)> = HashMap::new();
    for held in held {
        let (_, holders) = by_inode.entry(held.inode).or_insert_with(|| (held, BTreeSet::new()));
        for holder in &held.holders {
            let who = Who::of(holder, held, surroundings);
            let group = groups.entry(who.clone()).or_insert_with(|| Group::new(who.clone(), surroundings));
            group.count(holder);
            holders.insert(who);
        }
    }
    for (held, holders) in by_inode.values() {
        for who in holders {
            let Some(group) = groups.get_mut(who) else { continue };
            group.all.add(held);
            if holders.len() > 1 {
                group.shared.add(held);
            }
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| group.all.bytes);
    groups
}

impl Group {
    fn new(who: Who, surroundings: &Surroundings) -> Group {
        let remedy = who.remedy(surroundings);
        let (all, shared) = (Amount::default(), Amount::default());
        Group { who, processes: BTreeMap::new(), since: None, all, shared, remedy }
    }

    fn count(&mut self, holder: &Holder) {
        let process = match holder {
            Holder::Process(process) | Holder::Mount { seen_by: Some(process), .. } => process,
            Holder::Mount { seen_by: None, .. }
            | Holder::LoopDevice(_)
            | Holder::Swap
            | Holder::Interpreter(_)
            | Holder::Unseen => return,
        };
        self.processes.insert(process.pid, process.command.clone());
        self.since = self.since.into_iter().chain(process.started).min();
    }
}
