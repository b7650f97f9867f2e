//! How a mount was found, how it is, and what leads from one to the other.
//!
//! Read-only has two levels. The *superblock* may be read-only: then nobody writes, through any mount of it. Or a
//! *mount* alone may be (a bind mount, `ro=vfs`, a btrfs subvolume beside a writable one) while its superblock is not.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// One level's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// No writes.
    ReadOnly,
    /// Writes.
    Writable,
}

/// Both levels of one mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// The mount in this mount namespace.
    pub mount: Access,
    /// The file system under it, for every mount of it everywhere.
    pub superblock: Access,
}

impl Flags {
    /// What dpkg needs.
    pub const WRITABLE: Flags = Flags { mount: Access::Writable, superblock: Access::Writable };

    /// Whether a write through this mount is refused.
    pub fn refuse_writes(self) -> bool {
        self.mount == Access::ReadOnly || self.superblock == Access::ReadOnly
    }
}

/// One system call's worth of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Change the superblock.
    Superblock(Access),
    /// Change this mount alone.
    Mount(Access),
}

/// What leads from `now` to `wanted`, in the order in which it must be done.
///
/// What closes comes before what opens, so that no write slips through in between; of two that do the same the
/// superblock comes first, because its step is the one that can be refused.
pub fn steps(now: Flags, wanted: Flags) -> Vec<Step> {
    let superblock = (now.superblock != wanted.superblock).then_some(Step::Superblock(wanted.superblock));
    let mount = (now.mount != wanted.mount).then_some(Step::Mount(wanted.mount));
    let mut steps: Vec<Step> = superblock.into_iter().chain(mount).collect();
    steps.sort_by_key(|step| match step {
        Step::Superblock(Access::ReadOnly) | Step::Mount(Access::ReadOnly) => 0,
        Step::Superblock(Access::Writable) | Step::Mount(Access::Writable) => 1,
    });
    steps
}

/// What a mount is, measured against what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountState {
    /// Read-only, at the level at which it was found so.
    ReadOnly,
    /// Nobody can write through this mount, but its superblock should be read-only and is not.
    Degraded,
    /// It can be written to.
    Writable,
}

/// The state of a mount that should be as `wanted`.
pub fn state(now: Flags, wanted: Flags) -> MountState {
    if !now.refuse_writes() {
        MountState::Writable
    } else if wanted.superblock == Access::ReadOnly && now.superblock == Access::Writable {
        MountState::Degraded
    } else {
        MountState::ReadOnly
    }
}

#[cfg(test)]
mod tests {
    use super::Access::{ReadOnly, Writable};
    use super::*;

    const fn flags(mount: Access, superblock: Access) -> Flags {
        Flags { mount, superblock }
    }

    #[test]
    fn only_what_differs_is_changed_and_what_closes_comes_first() {
        let ro = flags(ReadOnly, ReadOnly);
        let bind = flags(ReadOnly, Writable);
        assert_eq!(steps(ro, Flags::WRITABLE), [Step::Superblock(Writable), Step::Mount(Writable)]);
        assert_eq!(steps(Flags::WRITABLE, ro), [Step::Superblock(ReadOnly), Step::Mount(ReadOnly)]);
        assert_eq!(steps(Flags::WRITABLE, bind), [Step::Mount(ReadOnly)]);
        assert_eq!(steps(bind, ro), [Step::Superblock(ReadOnly)]);
        assert_eq!(steps(flags(Writable, ReadOnly), bind), [Step::Mount(ReadOnly), Step::Superblock(Writable)]);
        assert_eq!(steps(ro, ro), []);
    }

    #[test]
    fn degraded_is_neither_read_only_nor_writable() {
        let ro = flags(ReadOnly, ReadOnly);
        let bind = flags(ReadOnly, Writable);
        assert_eq!(state(ro, ro), MountState::ReadOnly);
        assert_eq!(state(bind, ro), MountState::Degraded);
        assert_eq!(state(bind, bind), MountState::ReadOnly);
        assert_eq!(state(flags(Writable, ReadOnly), ro), MountState::ReadOnly);
        assert_eq!(state(Flags::WRITABLE, ro), MountState::Writable);
        assert_eq!(state(Flags::WRITABLE, bind), MountState::Writable);
    }
}
