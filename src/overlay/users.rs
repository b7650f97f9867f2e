//! Who uses a mount: what keeps it from being unmounted.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::core::holder::How;
use crate::core::inode::Device;
use crate::core::message;
use crate::core::mountinfo::Mount;
use crate::core::proc_maps::Mapping;
use crate::sys::files::Root;
use crate::sys::kernel::Stat;
use crate::sys::overlay_files::in_root;
use crate::sys::overlaying;
use crate::sys::processes;
use crate::sys::scan::{self, Question, Seen, What};

/// So long nobody is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

const PAUSE: Duration = Duration::from_millis(50);

/// No more are named.
const MOST: usize = 5;

/// Unmounts a mount; `what` is still there where it cannot be.
///
/// # Errors
/// Where it is in use, and by whom; others of umount(2).
pub fn unmount(root: &Root, mount: &Mount, what: &str) -> Result<()> {
    let mut patience = PATIENCE;
    loop {
        match umount2(&in_root(root, &mount.point), MntFlags::UMOUNT_NOFOLLOW) {
            // Whoever has just ended is asked no more, and the kernel may not have let go for him yet.
            Err(Errno::EBUSY) if !patience.is_zero() && of(root, mount).is_ok_and(|users| users.is_empty()) => {
                patience = patience.saturating_sub(PAUSE);
                thread::sleep(PAUSE);
            }
            Err(Errno::EBUSY) => return Err(is_in_use(root, mount, what)),
            unmounted => {
                return unmounted.with_context(|| format!("cannot unmount {}", message::path(&mount.point)));
            }
        }
    }
}

/// Looks whether a mount could be unmounted, as far as who uses it goes.
///
/// # Errors
/// Where it is in use, and by whom.
pub fn require_none(root: &Root, mount: &Mount, what: &str) -> Result<()> {
    let path = in_root(root, &mount.point);
    // What was looked at since is only marked by this, which a look at it takes back (umount(2), MNT_EXPIRE).
    match umount2(&path, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_EXPIRE) {
        Err(Errno::EBUSY) => Err(is_in_use(root, mount, what)),
        Err(_) | Ok(()) => path.metadata().map(drop).with_context(|| format!("cannot look at {}", path.display())),
    }
}

fn is_in_use(root: &Root, mount: &Mount, what: &str) -> Error {
    let who = match of(root, mount) {
        Ok(users) if users.is_empty() => {
            "by nobody that shows it; a mount namespace of somebody else's may have it".to_owned()
        }
        Ok(users) => message::few(&users, MOST),
        Err(error) => format!("nobody could be asked ({error:#})"),
    };
    anyhow!("{} is in use, and {what}still there: {who}. Stop that, then try again", message::path(&mount.point))
}

/// Some process in whose mount namespace an overlay is mounted that this says yes to, in words; this process's own too.
///
/// # Errors
/// Where nobody could be looked at.
pub fn who_has(root: &Root, is_it: impl Fn(&Mount) -> bool) -> Result<Option<String>> {
    let somebody = overlaying::somebody_with(root, is_it).context("cannot look who has it")?;
    Ok(somebody.map(|pid| message::process(&processes::command(root, pid), pid)))
}

/// They, each in words.
///
/// # Errors
/// Where nobody could be asked.
fn of(root: &Root, mount: &Mount) -> Result<Vec<String>> {
    let devices = HashSet::from([mount.device]);
    let is_whole = mount.overlay.is_some();
    let question = WhoIsHere { devices, mount: mount.id, is_whole, point: mount.point.clone() };
    let mut users = BTreeSet::new();
    scan::scan(root, question, |Use { pid, how, path }| {
        users.insert((
            pid,
            format!("{} {how} {}", message::process(&processes::command(root, pid), pid), message::path(&path)),
        ));
    })?;
    Ok(users.into_iter().map(|(_, words)| words).collect())
}

struct WhoIsHere {
    devices: HashSet<Device>,
    mount: u64,
    /// Nobody else mounts its file system: what is mapped from there is mapped through it.
    is_whole: bool,
    point: PathBuf,
}

struct Use {
    pid: i32,
    how: How,
    path: PathBuf,
}

impl Question for WhoIsHere {
    type Answer = Use;

    fn devices(&self) -> &HashSet<Device> {
        &self.devices
    }

    fn mapping(&self, mapping: &Mapping) -> bool {
        self.devices.contains(&mapping.device)
    }

    fn inode(&self, stat: &Stat) -> bool {
        stat.mount_id == self.mount
    }

    fn superblocks(&self) -> &HashSet<Device> {
        &self.devices
    }

    fn tell(&self, seen: &Seen) -> Option<Use> {
        let path = seen.opened_as().unwrap_or_default();
        let is_here = match seen.what {
            What::Stat(stat) => stat.mount_id == self.mount,
            What::Mapping(..) if self.is_whole => true,
            What::Mapping(..) | What::Name => path.starts_with(Path::new(&self.point)),
        };
        // A mount is no user of itself.
        (is_here && seen.mount().is_none()).then_some(Use { pid: seen.pid?, how: seen.how, path })
    }
}
