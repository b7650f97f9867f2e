//! A file system may have more mounts than the one that is managed: in other mount namespaces, as every service with
//! `PrivateTmp=` has a copy of each (systemd.exec(5)), and in the same one. Which of them have to be closed along with it?
#![forbid(unsafe_code)]

use super::mount_state::{Access, Flags};
use super::mountinfo::Mount;
use super::session::MountId;

/// Whether nobody may write through this other mount, once a managed mount that was `found` so is closed.
///
/// - Its superblock was read-only, and cannot become so: then nobody could write through *any* mount of it, and so every
///   one is closed. They are opened again as soon as the superblock is read-only.
/// - It was read-only by itself: a copy of it, of the same directory, that was not writable before came into being while it
///   was open, and has inherited that. `open_before` are those that were writable before; nothing is known of them where it
///   is `None`.
pub fn is_to_be_closed(
    found: Flags,
    managed: &Mount,
    other: &Mount,
    other_id: &MountId,
    open_before: Option<&[MountId]>,
) -> bool {
    if other.device != managed.device || other.flags.mount == Access::ReadOnly {
        return false;
    }
    match (found.superblock, found.mount) {
        (Access::ReadOnly, _) => other.flags.superblock == Access::Writable,
        (Access::Writable, Access::ReadOnly) => {
            is_copy(managed, other) && open_before.is_some_and(|open| !open.contains(other_id))
        }
        (Access::Writable, Access::Writable) => false,
    }
}

/// Whether both show the same directory of the same file system.
pub fn is_copy(managed: &Mount, other: &Mount) -> bool {
    other.device == managed.device && other.root == managed.root
}

/// Whether what was found can only be put back with a look at other mounts: then those that are writable are to be noted
/// before anything is opened.
pub fn matter(found: Flags) -> bool {
    found == Flags { mount: Access::ReadOnly, superblock: Access::Writable }
}
