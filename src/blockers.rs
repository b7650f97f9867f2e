//! Why a file system refuses to go read-only: who uses a deleted inode of it, who writes to it.
//!
//! The kernel says EBUSY and nothing more (fs/namespace.c, sb_prepare_remount_readonly), so everybody is asked.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::Result;
use nix::errno::Errno;

use crate::core::message;
use crate::sys::files::Root;
use crate::sys::kernel::{self, LastLink, Stat};
use crate::sys::mounts::{self, Mounted};
use crate::sys::processes;
use crate::sys::scan::{self, How, Question, Seen, What};

/// Why a mount could not go back, and the next step. `refused` is the kernel's last word.
pub fn why_refused(root: &Root, mount: &Mounted, refused: Option<Errno>) -> String {
    match refused {
        Some(Errno::EBUSY) | None => match blockers(root, mount) {
            Ok(blockers) => format!("{}. Once that has ended: \"rokeep cleanup\"", explain(&blockers)),
            Err(error) => format!("it is busy. \"rokeep cleanup\" tries again ({error:#})"),
        },
        Some(other) => format!("the kernel refused: {}. See \"dmesg\", then \"rokeep cleanup\"", other.desc()),
    }
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Blocker {
    pid: i32,
    command: String,
    how: How,
    /// The name it was opened by, as /proc shows it: with " (deleted)" behind it where that name is gone.
    path: PathBuf,
}

/// Every process that keeps this mount's file system from going read-only, as far as /proc can tell.
fn blockers(root: &Root, mounted: &Mounted) -> Result<Vec<Blocker>> {
    let dev = kernel::stat(mounted, OsStr::new(""), LastLink::Itself)?.inode.dev;
    let device = mounted.mount.device;
    // On btrfs and overlayfs one superblock's files have several `st_dev`: what they were opened through tells more.
    let mounts = mounts::table(root)?.into_iter().filter(|mount| mount.device == device).map(|mount| mount.id);
    let mounts: HashSet<u64> = mounts.collect();
    let question = Question {
        mapping: &|mapping| mapping.device == device && mapping.name_is_gone,
        inode: &|stat: &Stat| stat.inode.dev == dev || mounts.contains(&stat.mount_id),
    };
    let mut found = BTreeSet::new();
    scan::scan(root, &question, |seen| {
        if keeps_it_busy(&seen) {
            found.insert(describe(root, &seen));
        }
    })?;
    Ok(found.into_iter().collect())
}

/// A deleted inode in any use, or a regular file open for writing.
fn keeps_it_busy(seen: &Seen) -> bool {
    match seen.what {
        What::Stat(stat) => stat.links == 0 || (seen.how == How::OpenForWriting && stat.is_file()),
        What::Mapping(..) => true,
    }
}

fn describe(root: &Root, seen: &Seen) -> Blocker {
    let link = root.path(&format!("/proc/{}/{}", seen.pid, seen.link));
    Blocker {
        pid: seen.pid,
        command: processes::command(root, seen.pid),
        how: seen.how,
        path: std::fs::read_link(link).unwrap_or_default(),
    }
}

/// What to say of them, and what to do next.
fn explain(blockers: &[Blocker]) -> String {
    if blockers.is_empty() {
        return "no process could be seen to use it; a bind mount, a loop device or another mount namespace may"
            .to_owned();
    }
    let one = |blocker: &Blocker| {
        let Blocker { pid, command, how, path } = blocker;
        format!("{} {how} {}", message::process(command, *pid), message::path(path))
    };
    let all: Vec<String> = blockers.iter().map(one).collect();
    message::few(&all, 5)
}
