//! What `status` says, in the form of `status --json`. `docs/status-json.md` describes it, `docs/status.schema.json` is its
//! schema; a change to any of them is a change to all.
//!
//! Every text that came from outside is escaped, see [`super::text::escape`]: it may end up on a terminal.
#![forbid(unsafe_code)]

mod fill;
pub mod metrics;
pub mod text;

use serde::Serialize;

pub use self::fill::{Asker, holding, session, unknown};
use super::holder::How;
use super::holding::Amount;
use super::mount_state::MountState;
use super::remedy::Remedy;

/// The version of the form.
pub const FORMAT: u32 = 2;

/// Everything there is to say.
#[derive(Debug, Serialize)]
pub struct Status {
    /// [`FORMAT`].
    pub format: u32,
    /// When it was so: seconds since 1970.
    pub time: u64,
    /// Who holds what was replaced or removed, and what frees it: the one of whom most bytes depend last.
    pub groups: Vec<GroupStatus>,
    /// What was replaced or removed and is kept because somebody holds it.
    pub held: Vec<HeldStatus>,
    /// How much that is, each inode counted once.
    pub kept: Amount,
    /// What is kept because not everybody could be asked; `None` where everybody could, or it does not matter.
    pub unknown: Option<UnknownStatus>,
    /// The managed mounts.
    pub mounts: Vec<MountStatus>,
    /// For whom the mounts are writable now.
    pub session: Option<SessionStatus>,
    /// What needs a person.
    pub problems: Vec<String>,
}

/// Holders that one remedy is for.
#[derive(Debug, Serialize)]
pub struct GroupStatus {
    /// Of which kind they are.
    #[serde(flatten)]
    pub who: WhoStatus,
    /// The processes among them.
    pub processes: Vec<ProcessStatus>,
    /// When the first of these was started: seconds since 1970.
    pub since: Option<u64>,
    /// All that the group holds.
    pub holds: Amount,
    /// That part of it which other groups hold too.
    pub shared: Amount,
    /// What frees it.
    pub remedy: Remedy,
}

/// Who or what a group is.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum WhoStatus {
    /// The package run that is on.
    PackageRun,
    /// A unit of the system's systemd.
    Unit {
        /// Its name.
        name: String,
    },
    /// A unit of a user's own systemd.
    UserUnit {
        /// Its name.
        name: String,
        /// The user's name.
        user: String,
    },
    /// All else that a user runs in sessions.
    User {
        /// The user's name, or number where there is no name.
        user: String,
    },
    /// Processes that systemd knows nothing of, by their command name.
    Command {
        /// That.
        name: String,
    },
    /// A mount.
    Mount {
        /// Where.
        at: String,
        /// The process in whose mount namespace that is; `None` for our own.
        inside: Option<i32>,
    },
    /// A loop device.
    LoopDevice {
        /// Its node.
        device: String,
    },
    /// A file that is swapped to.
    Swap {
        /// A name that leads to it.
        file: String,
    },
    /// A rule of binfmt_misc.
    Interpreter {
        /// Its name.
        rule: String,
    },
    /// What nobody shows.
    Unseen,
}

/// A process, by its id and name.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ProcessStatus {
    /// Process id.
    pub pid: i32,
    /// Command name.
    pub command: String,
}

/// A replaced file, or a removed directory, that somebody still uses.
#[derive(Debug, Serialize)]
pub struct HeldStatus {
    /// Which of both.
    pub kind: HeldKind,
    /// Mount point.
    pub mount: String,
    /// The names it had; none where they are not known.
    pub names: Vec<String>,
    /// The name that keeps it; a directory has none.
    pub alias: Option<String>,
    /// The inode's number.
    pub inode: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Who uses it.
    pub holders: Vec<HolderStatus>,
}

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldKind {
    /// A file that was replaced or removed.
    File,
    /// A directory that was removed.
    Directory,
}

/// Who uses it, and to which of the groups that belongs.
#[derive(Debug, Serialize)]
pub struct HolderStatus {
    /// Who.
    #[serde(flatten)]
    pub holder: HolderKind,
    /// The group's place in [`Status::groups`], the first being 0.
    pub group: usize,
}

/// One holder.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HolderKind {
    /// A process.
    Process {
        /// Process id.
        pid: i32,
        /// Command name.
        command: String,
        /// systemd unit.
        unit: Option<String>,
        /// When it was started: seconds since 1970.
        since: Option<u64>,
        /// In which ways it uses it.
        uses: Vec<How>,
    },
    /// A mount that has it as its root.
    Mount {
        /// Where.
        at: String,
        /// A process in whose mount namespace that is; `None` for our own.
        inside: Option<ProcessStatus>,
    },
    /// A loop device that has it behind it.
    LoopDevice {
        /// Its node.
        device: String,
    },
    /// The kernel swaps to it.
    Swap,
    /// The kernel runs programs with it.
    Interpreter {
        /// The name of the rule in binfmt_misc.
        rule: String,
    },
    /// What nobody shows.
    Unseen,
}

/// What is kept because somebody could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnknownStatus {
    /// Who that is, in a person's words.
    pub who: Vec<String>,
    /// How much.
    pub kept: Amount,
    /// What to do.
    pub remedy: String,
}

/// A managed mount.
#[derive(Debug, Serialize)]
pub struct MountStatus {
    /// Mount point.
    pub mount: String,
    /// What it is.
    pub state: MountState,
    /// How many aliases, by what they wait for.
    pub aliases: AliasCounts,
}

/// Aliases by verdict.
#[derive(Debug, Default, Serialize)]
pub struct AliasCounts {
    /// Their file was not replaced.
    pub unchanged: usize,
    /// Replaced, and in use.
    pub held: usize,
    /// Replaced and free: the next cleanup drops them.
    pub droppable: usize,
    /// Not everything could be found out.
    pub unknown: usize,
    /// For as long as the package run is on: what was in use when it began, and was not replaced.
    pub guards: usize,
    /// Directories that are kept by a marker.
    pub directories: usize,
    /// Bytes on disk that replaced files still take.
    pub bytes: u64,
}

/// The open session.
#[derive(Debug, Serialize)]
pub struct SessionStatus {
    /// The package managers at work.
    pub frontends: Vec<ProcessStatus>,
}
