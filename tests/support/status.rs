//! What `rokeep status --json` says, as the worlds read it.

use serde::Deserialize;

/// `rokeep status --json`, whole: a field that is missing, or that is not documented, is an error.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// 1.
    pub format: u32,
    /// The managed mounts.
    pub mounts: Vec<MountStatus>,
    /// What is in use and was replaced.
    pub held: Vec<Held>,
    /// The open session.
    pub session: Option<SessionStatus>,
    /// What needs attention.
    pub problems: Vec<String>,
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

/// A file that was replaced and is in use.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Where.
    pub mount: String,
    /// What it was called.
    pub names: Vec<String>,
    /// Its inode number.
    pub inode: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Who uses it.
    pub holders: Vec<HolderStatus>,
}

/// A process that uses a file.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct HolderStatus {
    /// Its process id.
    pub pid: u32,
    /// What it is called.
    pub command: String,
    /// The systemd unit that it belongs to.
    pub unit: Option<String>,
    /// How it uses the file.
    pub uses: Vec<String>,
    /// What makes it stop.
    pub remedy: String,
}

/// The open session.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct SessionStatus {
    /// For whom it is open.
    pub frontends: Vec<FrontendStatus>,
}

/// A program that installs packages.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct FrontendStatus {
    /// Its process id.
    pub pid: u32,
    /// What it is called.
    pub command: String,
}

impl Status {
    /// What it says about a mount.
    #[track_caller]
    pub fn mount(&self, point: &str) -> &MountStatus {
        self.mounts.iter().find(|mount| mount.mount == point).unwrap_or_else(|| panic!("{point} is not in {self:#?}"))
    }

    /// How it says that a process uses the file that was first called this.
    pub fn uses(&self, name: &str, pid: u32) -> Vec<&str> {
        let held = self.held.iter().filter(|held| held.names.iter().any(|known| known == name));
        let holders = held.flat_map(|held| &held.holders).filter(|holder| holder.pid == pid);
        holders.flat_map(|holder| &holder.uses).map(String::as_str).collect()
    }
}
