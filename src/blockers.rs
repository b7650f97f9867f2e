//! Why a file system refuses to go read-only: who uses a deleted inode of it, who writes to it.
//!
//! The kernel says EBUSY and nothing more (fs/namespace.c, sb_prepare_remount_readonly), so everybody is asked.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::Result;
use nix::errno::Errno;

use crate::core::holder::How;
use crate::core::inode::Device;
use crate::core::message;
use crate::core::proc_maps::Mapping;
use crate::sys::files::Root;
use crate::sys::kernel::{self, LastLink, Stat};
use crate::sys::mounts::{self, Mounted};
use crate::sys::processes;
use crate::sys::scan::{self, Question, Seen, Unreadable, What};

/// Why a mount could not go back, and the next step. `refused` is the kernel's last word.
pub fn why_refused(root: &Root, mount: &Mounted, refused: Option<Errno>) -> String {
    match refused {
        Some(Errno::EBUSY) | None => match blockers(root, mount) {
            Ok((blockers, unreadable)) => {
                format!("{}. Once that has ended: \"rokeep cleanup\"", explain(&blockers, &unreadable))
            }
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
fn blockers(root: &Root, mounted: &Mounted) -> Result<(Vec<Blocker>, Unreadable)> {
    let dev = kernel::stat(mounted, OsStr::new(""), LastLink::Itself)?.inode.dev;
    let device = mounted.mount.device;
    let superblocks = Some(device).filter(|_| mounted.mount.has_several_devs()).into_iter().collect();
    // What they were opened through tells more there.
    let mounts = mounts::table(root)?.into_iter().filter(|mount| mount.device == device).map(|mount| mount.id);
    let question = WhatKeepsItBusy { device, superblocks, dev, mounts: mounts.collect() };
    let mut found = BTreeSet::new();
    let unreadable = scan::scan(root, question, |(pid, how, path)| {
        found.insert(Blocker { pid, command: processes::command(root, pid), how, path });
    })?;
    Ok((found.into_iter().collect(), unreadable))
}

struct WhatKeepsItBusy {
    device: Device,
    superblocks: HashSet<Device>,
    dev: u64,
    mounts: HashSet<u64>,
}

impl Question for WhatKeepsItBusy {
    type Answer = (i32, How, PathBuf);

    fn mapping(&self, mapping: &Mapping) -> bool {
        mapping.device == self.device && mapping.name_is_gone
    }

    fn inode(&self, stat: &Stat) -> bool {
        stat.inode.dev == self.dev || self.mounts.contains(&stat.mount_id)
    }

    fn superblocks(&self) -> &HashSet<Device> {
        &self.superblocks
    }

    fn tell(&self, seen: &Seen) -> Option<Self::Answer> {
        keeps_it_busy(seen).then(|| (seen.pid, seen.how, seen.opened_as().unwrap_or_default()))
    }
}

/// A deleted inode in any use, or a regular file open for writing.
fn keeps_it_busy(seen: &Seen) -> bool {
    match seen.what {
        What::Stat(stat) => stat.links == 0 || (seen.how == How::OpenForWriting && stat.is_file()),
        What::Mapping(..) => true,
    }
}

/// What to say of them, and what to do next.
fn explain(blockers: &[Blocker], unreadable: &Unreadable) -> String {
    if blockers.is_empty() && !unreadable.is_empty() {
        return format!("it may be used by {}, of which that could not be read", unreadable.who());
    }
    if blockers.is_empty() {
        return "no process could be seen to use it; a bind mount, a loop device, another mount namespace, a Landlock \
                rule, a uprobe or an unread fanotify event may (\"rokeep cleanup --help\" says what helps)"
            .to_owned();
    }
    let one = |blocker: &Blocker| {
        let Blocker { pid, command, how, path } = blocker;
        format!("{} {how} {}", message::process(command, *pid), message::path(path))
    };
    let all: Vec<String> = blockers.iter().map(one).collect();
    message::few(&all, 5)
}
