//! Making a mount writable, proving it, and putting it back the way it was found.
//!
//! Nothing is believed because a system call said so: mountinfo is read again afterwards.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::core::message;
use crate::core::mount_state::{Access, Flags, MountState, Step, state, steps};
use crate::sys::files::Root;
use crate::sys::mounts::Mounted;
use crate::sys::site::Site;
use crate::sys::store::{self, Store};

/// A process that ends gives its files up a moment later (fput is delayed): so the last step is tried again.
const RETRY: [Duration; 6] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(40),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(500),
];

/// Makes a mount writable and proves it with a write in its store.
///
/// # Errors
/// Where it stays read-only or takes no write: what refused, and what to do. The caller puts it back.
pub fn make_writable(root: &Root, mounted: &Mounted) -> Result<()> {
    let point = message::path(&mounted.mount.point);
    if mounted.mount.failed {
        bail!("{point} cannot become writable: {}", failure(mounted));
    }
    for step in steps(mounted.flags(root)?, Flags::WRITABLE) {
        if let Err(errno) = mounted.perform(step) {
            bail!("{point} cannot become writable: {}", refusal(mounted, errno));
        }
    }
    if mounted.flags(root)?.refuse_writes() {
        bail!("{point} did not become writable although the kernel said so");
    }
    match prove_writable(mounted) {
        // A full file system took the write as far as it could. dpkg may be there to make room: it rolls back what does
        // not fit.
        Err(error) if matches!(store::refused(&error), Some(Errno::ENOSPC | Errno::EDQUOT)) => Ok(()),
        proven => proven,
    }
}

fn prove_writable(mounted: &Mounted) -> Result<()> {
    if !mounted.mount.knows_hard_links() {
        return store::prove_writable_without_store(mounted);
    }
    match Store::open_or_make(&Site::of(mounted)?) {
        Err(error) if store::refused(&error) == Some(Errno::EOPNOTSUPP) => store::prove_writable_without_store(mounted),
        store => store?.prove_writable(),
    }
}

/// What a file system with errors needs, which is never a remount.
pub fn failure(mounted: &Mounted) -> String {
    let source = message::path(&mounted.mount.source);
    format!("the kernel found errors on {source} and refuses to write to it; see \"dmesg\", then \"fsck {source}\"")
}

/// What a refusal means and what can be done about it.
fn refusal(mounted: &Mounted, errno: Errno) -> String {
    let source = message::path(&mounted.mount.source);
    match errno {
        Errno::EROFS | Errno::EACCES => format!(
            "{source} is write-protected, or the kernel made its file system read-only because of errors; \
             see \"dmesg\", then \"blockdev --setrw {source}\" or \"fsck {source}\""
        ),
        Errno::EPERM => "this process may not change mounts here (a container?)".to_owned(),
        Errno::ENOSYS => "this kernel is too old: rokeep needs Linux 5.12".to_owned(),
        other => format!("{other}"),
    }
}

/// Puts a mount back the way it was found, as far as the kernel lets us, and answers what it is now, and the kernel's
/// last word where that is not what was found.
///
/// Where the superblock refuses, the mount is made read-only by itself (*degraded*).
///
/// # Errors
/// Where the state cannot even be read.
pub fn put_back(root: &Root, mounted: &Mounted, found: Flags) -> Result<(MountState, Option<Errno>)> {
    let mut pauses = RETRY.iter();
    let refused = loop {
        let now = mounted.flags(root)?;
        // A superblock that somebody made read-only meanwhile is not ours to open.
        let closing = steps(now, found).into_iter().filter(|step| *step != Step::Superblock(Access::Writable));
        let refused = closing.map(|step| mounted.perform(step)).find_map(Result::err);
        match (refused, pauses.next()) {
            (None, _) => break None,
            (Some(Errno::EBUSY), Some(pause)) => std::thread::sleep(*pause),
            (refused @ Some(_), _) => {
                // Second best, and its own failure shows in the state that is read next.
                let _ = mounted.perform(Step::Mount(Access::ReadOnly));
                break refused;
            }
        }
    };
    Ok((state(mounted.flags(root)?, found), refused))
}

/// The sentence for a state that needs a person.
pub fn describe(point: &Path, state: MountState) -> String {
    let point = message::path(point);
    match state {
        MountState::ReadOnly => format!("{point} is read-only"),
        MountState::Degraded => format!(
            "{point} is degraded: nothing can be written through it, but its file system could not become read-only"
        ),
        MountState::Writable => format!("{point} is still WRITABLE"),
    }
}
