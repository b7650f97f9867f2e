//! What `rokeep status --json` says, as the worlds read it.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::schema;

/// `rokeep status --json`, whole: a field that is missing, or that is not documented, is an error.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// 2.
    pub format: u32,
    /// When it was so: seconds since 1970.
    pub time: u64,
    /// Who holds something, and what frees it.
    pub groups: Vec<Group>,
    /// What is in use and was replaced.
    pub held: Vec<Held>,
    /// How much that is.
    pub kept: Amount,
    /// What is kept because somebody could not be asked.
    pub unknown: Option<Unknown>,
    /// The managed mounts.
    pub mounts: Vec<MountStatus>,
    /// The open session.
    pub session: Option<SessionStatus>,
    /// What needs attention.
    pub problems: Vec<String>,
}

/// Holders that one remedy is for. Which of the fields that may be missing are there depends on the kind: the schema knows.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// `unit`, `user-unit`, `user`, `command`, `package-run`, `mount`, `loop-device`, `swap`, `interpreter` or `unseen`.
    pub kind: String,
    /// Of a unit, or of processes.
    pub name: Option<String>,
    /// Whose.
    pub user: Option<String>,
    /// Where a mount is.
    pub at: Option<String>,
    /// In whose mount namespace.
    pub inside: Option<u32>,
    /// The node of a loop device.
    pub device: Option<String>,
    /// What leads to a swap file.
    pub file: Option<String>,
    /// The rule of an interpreter.
    pub rule: Option<String>,
    /// The processes among them.
    pub processes: Vec<ProcessStatus>,
    /// When the first of them was started.
    pub since: Option<u64>,
    /// All they hold.
    pub holds: Amount,
    /// What of it others hold too.
    pub shared: Amount,
    /// What frees it.
    pub remedy: Remedy,
}

/// What frees something.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Remedy {
    /// `command`, `costly`, `advice` or `wait`.
    pub kind: String,
    /// What to type.
    pub command: Option<String>,
    /// All of it in words.
    pub text: String,
}

/// So much.
#[derive(Deserialize, Debug, PartialEq, Eq, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// Replaced files.
    pub files: usize,
    /// Removed directories.
    pub directories: usize,
    /// Bytes on disk.
    pub bytes: u64,
}

/// What is kept because somebody could not be asked.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Unknown {
    /// Who.
    pub who: Vec<String>,
    /// How much.
    pub kept: Amount,
    /// What to do.
    pub remedy: String,
}

/// A managed mount.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct MountStatus {
    /// Where it is.
    pub mount: String,
    /// `read-only`, `degraded` or `writable`.
    pub state: String,
    /// How many aliases it has, of which kinds.
    pub aliases: AliasCounts,
}

/// Aliases of a mount, counted.
#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct AliasCounts {
    /// Their files are still where they were.
    pub unchanged: usize,
    /// Replaced, and in use.
    pub held: usize,
    /// Replaced, and in nobody's use.
    pub droppable: usize,
    /// Nobody can tell.
    pub unknown: usize,
    /// In use when the run began, and still where they were; while the run is on.
    pub guards: usize,
    /// Directories that are kept by a marker.
    pub directories: usize,
    /// Bytes that are on the disk for them alone.
    pub bytes: u64,
}

/// A file or directory that was replaced or removed and is in use.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// `file` or `directory`.
    pub kind: String,
    /// Where.
    pub mount: String,
    /// What it was called.
    pub names: Vec<String>,
    /// The name that keeps it.
    pub alias: Option<String>,
    /// Its inode number.
    pub inode: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Who uses it.
    pub holders: Vec<HolderStatus>,
}

/// Whoever uses a file. Which of the fields that may be missing are there depends on the kind: the schema knows.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct HolderStatus {
    /// `process`, `mount`, `loop-device`, `swap`, `interpreter` or `unseen`.
    pub kind: String,
    /// The process id.
    pub pid: Option<u32>,
    /// What the process is called.
    pub command: Option<String>,
    /// The systemd unit that it belongs to.
    pub unit: Option<String>,
    /// When it was started.
    pub since: Option<u64>,
    /// How it uses the file.
    #[serde(default)]
    pub uses: Vec<String>,
    /// Where a mount is.
    pub at: Option<String>,
    /// In whose mount namespace.
    pub inside: Option<ProcessStatus>,
    /// The node of a loop device.
    pub device: Option<String>,
    /// The rule of an interpreter.
    pub rule: Option<String>,
    /// To which group it belongs.
    pub group: usize,
}

/// The open session.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct SessionStatus {
    /// For whom it is open.
    pub frontends: Vec<ProcessStatus>,
}

/// A process.
#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ProcessStatus {
    /// Its process id.
    pub pid: u32,
    /// What it is called.
    pub command: String,
}

impl Status {
    /// What rokeep wrote, if it is what `docs/status.schema.json` says, and what these types say.
    pub fn read(text: &str) -> Result<Status, String> {
        schema::read("docs/status.schema.json", text)
    }

    /// What it says about a mount.
    #[track_caller]
    pub fn mount(&self, point: &str) -> &MountStatus {
        self.mounts.iter().find(|mount| mount.mount == point).unwrap_or_else(|| panic!("{point} is not in {self:#?}"))
    }

    /// Whoever it says uses the file that was first called this.
    pub fn holders(&self, name: &str) -> Vec<&HolderStatus> {
        let held = self.held.iter().filter(|held| held.names.iter().any(|known| known == name));
        held.flat_map(|held| &held.holders).collect()
    }

    /// How it says that a process uses the file that was first called this.
    pub fn uses(&self, name: &str, pid: u32) -> Vec<&str> {
        let holders = self.holders(name).into_iter().filter(|holder| holder.pid == Some(pid));
        holders.flat_map(|holder| &holder.uses).map(String::as_str).collect()
    }

    /// The group that a holder belongs to.
    #[track_caller]
    pub fn group(&self, holder: &HolderStatus) -> &Group {
        self.groups.get(holder.group).unwrap_or_else(|| panic!("no group has {holder:?} in {self:#?}"))
    }
}
