//! Making a mount writable, proving it, and putting it back the way it was found.
//!
//! Nothing is believed because a system call said so: mountinfo is read again afterwards.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::core::message;
use crate::core::mount_state::{Access, Flags, MountState, Step, state, steps};
use crate::core::mountinfo::Mount;
use crate::core::refusal::{self, Answer, Attempt, Refusal};
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
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
    let now = mounted.now(root)?;
    if let Some(refusal) = refusal::foreseen(&now) {
        bail!("{point} cannot become writable: {}", refusal.advice(&now));
    }
    for step in steps(now.flags, Flags::WRITABLE) {
        if let Err(errno) = mounted.perform(step, &now) {
            bail!("{point} cannot become writable: {}", why(&now, Attempt::Remount, errno));
        }
    }
    if mounted.flags(root)?.refuse_writes() {
        bail!("{point} did not become writable although the kernel said so");
    }
    let Err(error) = prove_writable(mounted) else { return Ok(()) };
    match store::answer(&error) {
        // A full file system took the write as far as it could. dpkg may be there to make room: it rolls back what does
        // not fit.
        Some(Errno::ENOSPC | Errno::EDQUOT) => Ok(()),
        Some(errno @ (Errno::EROFS | Errno::EACCES | Errno::EPERM | Errno::EIO)) => {
            bail!("{point} takes no writes: {}", why(&now, Attempt::Write, errno))
        }
        _ => Err(error),
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

/// What of a mount's other options is not as it was when it was looked up, if that can be seen. No remount of ours means to
/// change any.
pub fn changed_options(root: &Root, mounted: &Mounted) -> Option<String> {
    let point = message::path(&mounted.mount.point);
    let changes = mounted.mount.options.changes(&mounted.now(root).ok()?.options)?;
    Some(format!("the options of {point} changed with the remount: {changes}; see \"findmnt {point}\""))
}

/// What a file system with errors needs, which is never a remount.
pub fn failure(mounted: &Mounted) -> String {
    Refusal::Errors.advice(&mounted.mount)
}

/// What a refusal means and what can be done about it.
fn why(mount: &Mount, attempt: Attempt, errno: Errno) -> String {
    let answer = match errno {
        Errno::EROFS => Answer::ReadOnly,
        Errno::EACCES => Answer::Denied,
        Errno::EPERM => Answer::NotPermitted,
        Errno::ENOSYS => Answer::NoSuchCall,
        Errno::EIO => Answer::Failed,
        other => Answer::Other(format!("{other}")),
    };
    refusal::refusal(mount, mounts::protection(mount), attempt, answer).advice(mount)
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
        let now = mounted.now(root)?;
        // A superblock that somebody made read-only meanwhile is not ours to open.
        let closing = steps(now.flags, found).into_iter().filter(|step| *step != Step::Superblock(Access::Writable));
        let refused = closing.map(|step| mounted.perform(step, &now)).find_map(Result::err);
        match (refused, pauses.next()) {
            (None, _) => break None,
            (Some(Errno::EBUSY), Some(pause)) => std::thread::sleep(*pause),
            (refused @ Some(_), _) => {
                // Second best, and its own failure shows in the state that is read next.
                let _ = mounted.perform(Step::Mount(Access::ReadOnly), &now);
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
