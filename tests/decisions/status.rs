//! `in.json`, what was gathered → what `rokeep status` says to a person, on a terminal of 80 columns.
//!
//! Processes are as /proc shows them: with the control group that systemd put them in, and the start time in seconds since
//! 1970. What is left out is nothing, or not known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rokeep::core::cgroup;
use rokeep::core::columns::width;
use rokeep::core::holder::{Holder, How, Process};
use rokeep::core::holding::{self, Amount, Held, Surroundings, What};
use rokeep::core::inode::Inode;
use rokeep::core::mount_state::MountState;
use rokeep::core::session::{Frontend, Session};
use rokeep::core::status::text::{Look, Paint, text};
use rokeep::core::status::{self, AliasCounts, Asker, MountStatus, Status, UnknownStatus};
use serde::Deserialize;

use crate::Case;

const COLUMNS: usize = 80;

pub fn decide(case: &Case) -> String {
    let given: Given = serde_json::from_slice(&case.read("in.json")).unwrap_or_else(|error| panic!("in.json: {error}"));
    let status = given.status();
    let plain = text(&status, Look { columns: COLUMNS, paint: Paint::Plain });
    let painted = text(&status, Look { columns: COLUMNS, paint: Paint::Colours });
    assert_eq!(without_colours(&painted), plain, "colours are all that differs");
    let commands: Vec<&str> = status.groups.iter().filter_map(|group| group.remedy.command()).collect();
    for line in plain.lines() {
        // What is to be copied is never broken. A terminal does that, and lets it be copied in one piece.
        let is_command = commands.contains(&line.trim_start());
        assert!(width(line) <= COLUMNS || is_command, "{} columns: {line:?}", width(line));
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    plain
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let plain = parts.next().unwrap_or_default().to_owned();
    parts.fold(plain, |plain, part| plain + part.split_once('m').expect("the end of a colour").1)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    now: u64,
    #[serde(default)]
    users: BTreeMap<u32, String>,
    #[serde(default)]
    package_run: Vec<(i32, String)>,
    #[serde(default)]
    children: BTreeSet<i32>,
    #[serde(default)]
    held: Vec<Thing>,
    #[serde(default)]
    unreadable: Vec<String>,
    #[serde(default)]
    unknown: Vec<Thing>,
    #[serde(default)]
    asked_by: People,
    mounts: Vec<Row>,
    #[serde(default)]
    problems: Vec<String>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum People {
    #[default]
    Root,
    Other,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    #[serde(default)]
    names: Vec<PathBuf>,
    inode: u64,
    /// A directory has none.
    bytes: Option<u64>,
    #[serde(default)]
    holders: Vec<Somebody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Somebody {
    Process(Task),
    Mount { at: PathBuf, seen_by: Option<Task> },
    LoopDevice(String),
    Swap,
    Interpreter(String),
    Unseen,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    pid: i32,
    command: String,
    cgroup: String,
    started: Option<u64>,
    #[serde(default)]
    runs: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    mount: String,
    state: String,
    #[serde(default)]
    unchanged: usize,
    #[serde(default)]
    held: usize,
    #[serde(default)]
    droppable: usize,
    #[serde(default)]
    unknown: usize,
    #[serde(default)]
    directories: usize,
    #[serde(default)]
    bytes: u64,
}

impl Given {
    fn status(self) -> Status {
        let held: Vec<Held> = self.held.into_iter().map(Thing::held).collect();
        let frontends = self.package_run.into_iter();
        let frontends: Vec<Frontend> = frontends.map(|(pid, command)| Frontend { pid, started: 0, command }).collect();
        let at_work = frontends.iter().map(|frontend| frontend.pid).chain(self.children).collect();
        let (groups, things) = status::holding(&held, &Surroundings { at_work, users: self.users });
        let asker = match self.asked_by {
            People::Root => Asker::Root,
            People::Other => Asker::Other,
        };
        let unsure: Vec<Held> = self.unknown.into_iter().map(Thing::held).collect();
        let unsure: Amount = holding::amount(unsure.iter());
        let unknown = status::unknown(&self.unreadable, unsure, asker);
        let problems = unknown.as_ref().map(UnknownStatus::problem).into_iter().chain(self.problems).collect();
        Status {
            format: status::FORMAT,
            time: self.now,
            groups,
            held: things,
            kept: holding::amount(held.iter()),
            unknown,
            mounts: self.mounts.into_iter().map(Row::status).collect(),
            session: status::session(&Session { frontends, ..Session::default() }),
            problems,
        }
    }
}

impl Thing {
    fn held(self) -> Held {
        let mount = PathBuf::from("/usr");
        let alias = mount.join(".rokeep").join(self.inode.to_string());
        let what = if self.bytes.is_some() { What::File(alias) } else { What::Directory };
        let inode = Inode { dev: 1, ino: self.inode };
        let holders = self.holders.into_iter().map(Somebody::holder).collect();
        Held { mount, what, names: self.names, inode, bytes: self.bytes.unwrap_or(0), holders }
    }
}

impl Somebody {
    fn holder(self) -> Holder {
        match self {
            Somebody::Process(task) => Holder::Process(task.process()),
            Somebody::Mount { at, seen_by } => Holder::Mount { at, seen_by: seen_by.map(Task::process) },
            Somebody::LoopDevice(name) => Holder::LoopDevice(name),
            Somebody::Swap => Holder::Swap,
            Somebody::Interpreter(rule) => Holder::Interpreter(rule),
            Somebody::Unseen => Holder::Unseen,
        }
    }
}

impl Task {
    fn process(self) -> Process {
        let place = cgroup::place(&self.cgroup);
        Process {
            pid: self.pid,
            command: self.command,
            unit: place.map(|place| place.unit.to_owned()),
            user: place.and_then(|place| place.user),
            user_unit: place.and_then(|place| place.user_unit).map(str::to_owned),
            started: self.started,
            uses: BTreeSet::from([if self.runs { How::Executed } else { How::Mapped }]),
        }
    }
}

impl Row {
    fn status(self) -> MountStatus {
        let state = match self.state.as_str() {
            "read-only" => MountState::ReadOnly,
            "degraded" => MountState::Degraded,
            "writable" => MountState::Writable,
            other => panic!("{other:?} is no state of a mount"),
        };
        let Row { mount, unchanged, held, droppable, unknown, directories, bytes, .. } = self;
        let aliases = AliasCounts { unchanged, held, droppable, unknown, guards: 0, directories, bytes };
        MountStatus { mount, state, aliases }
    }
}
