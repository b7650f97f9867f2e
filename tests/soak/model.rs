//! What has to be so, and why: who uses files, what may be lost, how /usr has to be found.

use std::collections::{BTreeMap, BTreeSet};

use crate::holders::Holder;
use crate::packages;
use crate::support::sandbox::Access;

/// When somebody began to use a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Between two operations.
    Before,
    /// While one was on, at any instruction of it.
    During,
    /// From a maintainer script.
    ByAScript,
}

/// What is known of the system.
#[derive(Default)]
pub struct Model {
    pub holders: Vec<Holder>,
    /// A person holds /usr open.
    pub is_held_by_hand: bool,
    /// Somebody has let go of a file since the last cleanup.
    pub somebody_let_go: bool,
    /// Processes that came while an operation was on that failed or was broken off. What that put in place and took away
    /// again was in no list.
    pub came_while_it_failed: BTreeSet<u32>,
    /// Aliases of files that are where they were, by inode number.
    pub unchanged: BTreeSet<u64>,
    pub counts: Counts,
}

/// What there was.
#[derive(Default)]
pub struct Counts {
    /// Operations by kind, and how many of them failed as they would without rokeep.
    pub operations: BTreeMap<&'static str, (u32, u32)>,
    pub acts: BTreeMap<String, u32>,
    pub holders: BTreeMap<String, u32>,
    pub came_too_late: u32,
    pub most_holders: usize,
    /// Operations after which a replaced file was kept, and how many files were, one for each operation.
    pub kept: (u32, usize),
    /// Operations after which /usr was writable, or degraded, for a reason.
    pub writable: u32,
    pub degraded: u32,
    /// Whole comparisons.
    pub compared: u32,
}

impl Model {
    /// Whether what this one uses may be found without a name.
    pub fn may_be_lost(&self, holder: &Holder) -> bool {
        let path = holder.path.as_str();
        let is_directory = holder.state == "cwd" || packages::DIRECTORIES.contains(&path);
        let in_the_same_run = holder.came != Came::Before
            && (is_directory || packages::is_written_twice(path) || self.came_while_it_failed.contains(&holder.pid));
        // Nobody shows it before it is replaced, and no list has it.
        let is_unseen = holder.state == "in-flight" && packages::is_written_twice(path);
        in_the_same_run || is_unseen || packages::NOT_TO_BE_KEPT.contains(&path)
    }

    /// Whether its directory may be, which the kernel keeps with it and shows nobody.
    pub fn may_lose_its_directory(&self, holder: &Holder) -> bool {
        let is_not_to_be_kept = packages::NOT_TO_BE_KEPT.iter().any(|path| holder.path.starts_with(path));
        let in_the_same_run = holder.came != Came::Before && packages::is_in_a_directory_of_its_own(&holder.path);
        // Nobody can tell that somebody has a file of it.
        let is_unseen = holder.state == "in-flight" && packages::is_in_a_directory_of_its_own(&holder.path);
        in_the_same_run || is_unseen || is_not_to_be_kept || packages::is_in_the_way(&holder.path)
    }

    /// Whether /usr may be degraded though nobody is seen who has lost anything.
    pub fn may_be_lost_out_of_sight(&self) -> bool {
        let out_of_sight = |holder: &Holder| !holder.shows() && self.may_be_lost(holder);
        self.holders.iter().any(|holder| out_of_sight(holder) || self.may_lose_its_directory(holder))
    }

    pub fn holder(&self, pid: u32) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.pid == pid)
    }

    /// How /usr has to be found, if these have lost their file.
    pub fn usr(&self, anybody_lost: bool) -> Access {
        if self.is_held_by_hand || self.holders.iter().any(Holder::writes) {
            Access::Writable
        } else if anybody_lost {
            Access::ReadOnlyMount
        } else {
            Access::ReadOnly
        }
    }
}
