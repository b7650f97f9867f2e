//! Why a file system refuses to go read-only: who uses a deleted inode of it, who writes to it.
//!
//! The kernel says EBUSY and nothing more (fs/namespace.c, sb_prepare_remount_readonly), so everybody is asked.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::errno::Errno;

use crate::core::holder::How;
use crate::core::inode::Device;
use crate::core::message;
use crate::core::mount_state::Access;
use crate::core::mountinfo::Mount;
use crate::core::proc_maps::{DELETED, Mapping};
use crate::core::refusal::Refusal;
use crate::sys::devices::{self, KernelHeld};
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
        // ext4 that has closed itself because of errors does not become read-only either (fs/ext4/super.c, __ext4_remount).
        Some(Errno::EROFS) => Refusal::Errors.advice(&mount.mount),
        Some(other) => format!("the kernel refused: {}. See \"dmesg\", then \"rokeep cleanup\"", other.desc()),
    }
}

/// Who keeps this mount's file system from going read-only now, in words; nobody where that is not known.
pub fn who(root: &Root, mount: &Mounted) -> Option<String> {
    let (blockers, unreadable) = blockers(root, mount).ok()?;
    (!blockers.is_empty()).then(|| explain(&blockers, &unreadable))
}

/// One reason, in words, in the order of the processes.
type Blocker = (Option<i32>, String);

/// Everybody who keeps this mount's file system from going read-only, as far as /proc and /sys can tell.
fn blockers(root: &Root, mounted: &Mounted) -> Result<(Vec<Blocker>, Unreadable)> {
    let dev = kernel::stat(mounted, OsStr::new(""), LastLink::Itself)?.inode.dev;
    let device = mounted.mount.device;
    let superblocks = Some(device).filter(|_| mounted.mount.has_several_devs()).into_iter().collect();
    // What they were opened through tells more there.
    let mounts: Vec<Mount> = mounts::table(root)?.into_iter().filter(|mount| mount.device == device).collect();
    let points: Vec<PathBuf> = mounts.iter().map(|mount| mount.point.clone()).collect();
    let ids = mounts.iter().map(|mount| mount.id).collect();
    let devices = HashSet::from([device]);
    let question = WhatKeepsItBusy { devices, superblocks, dev, mounts: ids, points: points.clone() };
    let (mut found, mut by_name) = (BTreeSet::new(), BTreeSet::new());
    let unreadable = scan::scan(root, question, |Busy { pid, how, path, only_by_name }| {
        let process = pid.map(|pid| message::process(&processes::command(root, pid), pid));
        let path = message::path(&path);
        let reason = match (process, how) {
            (Some(process), how) => format!("{process} {how} {path}"),
            (None, _) => format!("a deleted file is mounted at {path}"),
        };
        let reasons = if only_by_name { &mut by_name } else { &mut found };
        reasons.insert((pid, reason));
    })?;
    let (held, _) = devices::held_by_the_kernel(root);
    for KernelHeld { holder, name, inode, access } in held {
        let is_here = inode.is_some_and(|inode| inode.dev == dev)
            || (inode.is_none() && points.iter().any(|point| name.starts_with(point)));
        let reason = (None, format!("{holder} has {}", message::path(&name)));
        match (is_here, access) {
            (true, Access::Writable) => drop(found.insert(reason)),
            (true, Access::ReadOnly) if is_deleted(&name) => drop(by_name.insert(reason)),
            (true | false, _) => {}
        }
    }
    // A file whose name is gone may have an alias, and be in nobody's way.
    let found = if found.is_empty() { by_name } else { found };
    Ok((found.into_iter().collect(), unreadable))
}

fn is_deleted(name: &Path) -> bool {
    name.as_os_str().as_bytes().ends_with(DELETED)
}

struct WhatKeepsItBusy {
    devices: HashSet<Device>,
    superblocks: HashSet<Device>,
    dev: u64,
    mounts: HashSet<u64>,
    points: Vec<PathBuf>,
}

/// What was seen.
struct Busy {
    pid: Option<i32>,
    how: How,
    /// The name it was opened by, as /proc shows it: with " (deleted)" behind it where that name is gone.
    path: PathBuf,
    /// Nobody could ask how many names it has.
    only_by_name: bool,
}

impl Question for WhatKeepsItBusy {
    type Answer = Busy;

    fn devices(&self) -> &HashSet<Device> {
        &self.devices
    }

    fn mapping(&self, mapping: &Mapping) -> bool {
        self.devices.contains(&mapping.device) && (mapping.name_is_gone || mapping.writes_the_file)
    }

    fn inode(&self, stat: &Stat) -> bool {
        stat.inode.dev == self.dev || self.mounts.contains(&stat.mount_id)
    }

    fn superblocks(&self) -> &HashSet<Device> {
        &self.superblocks
    }

    fn tell(&self, seen: &Seen) -> Option<Busy> {
        let path = seen.opened_as().unwrap_or_default();
        let only_by_name = matches!(seen.what, What::Mapping(..) | What::Name) && is_deleted(&path);
        self.keeps_it_busy(seen, &path).then_some(Busy { pid: seen.pid, how: seen.how, path, only_by_name })
    }
}

impl WhatKeepsItBusy {
    /// A deleted inode in any use, or a regular file open for writing.
    fn keeps_it_busy(&self, seen: &Seen, path: &Path) -> bool {
        match (seen.what, seen.mount()) {
            (What::Stat(stat), _) => stat.links == 0 || (seen.how == How::OpenForWriting && stat.is_file()),
            (What::Mapping(..), _) => true,
            (What::Name, Some(mount)) => mount.deleted_root().is_some(),
            (What::Name, None) => is_deleted(path) && self.points.iter().any(|point| path.starts_with(point)),
        }
    }
}

/// What to say of them, and what to do next.
fn explain(blockers: &[Blocker], unreadable: &Unreadable) -> String {
    if blockers.is_empty() && !unreadable.is_empty() {
        return format!("it may be used by {}, of which that could not be read", unreadable.who());
    }
    if blockers.is_empty() {
        return "no process, mount or device could be seen to use it: a file in flight between two processes may, a \
                Landlock rule, a uprobe or an unread fanotify event (\"rokeep cleanup --help\" says what helps)"
            .to_owned();
    }
    let all: Vec<String> = blockers.iter().map(|(_, reason)| reason.clone()).collect();
    message::few(&all, 5)
}
