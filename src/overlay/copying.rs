//! Directories of which something below is seen, so that they do not live wholly above: what is seen in them can be copied, and
//! then takes the place of what is above.
//!
//! A copy is made beside what is above, and exchanged with what it takes the place of while the overlay is not mounted. An overlay
//! shows the same with the one and with the other.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::errno::Errno;

use super::{below, comparing, laid, laying, on_the_mount, place};
use crate::core::message;
use crate::core::overlay::seen::When;
use crate::core::overlay::{OPTIONS, Overlay, binds};
use crate::sys::children;
use crate::sys::files::Root;
use crate::sys::mounts;
use crate::sys::overlay_copies;
use crate::sys::overlay_files;
use crate::sys::remounting;

/// What is left free for what packages will write: as much as a new overlay needs.
const LEFT_FREE: u64 = place::LEAST_BYTES;

/// The directories that are named, from the mount point, in order, and none in another.
///
/// # Errors
/// Where one is no directory of what is below, or nothing is above of the one that it is in.
pub fn named(root: &Root, overlay: &Overlay, names: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut named = names.iter().map(|name| one(root, overlay, name)).collect::<Result<Vec<_>>>()?;
    named.sort();
    named.dedup_by(|path, before| path.starts_with(before));
    Ok(named)
}

fn one(root: &Root, overlay: &Overlay, name: &Path) -> Result<PathBuf> {
    let path = on_the_mount(overlay, name)?;
    if overlay.bound.iter().any(|directory| path.starts_with(directory)) {
        return Ok(path);
    }
    let (point, shown) = (message::path(&overlay.point), message::path(&overlay.point.join(&path)));
    let below = comparing::below(root, overlay)?;
    let failed = || format!("cannot look at {}", message::path(&below));
    let below = root.open_dir(&below).with_context(failed)?.with_context(failed)?;
    match below.open_on_same_mount(&path) {
        Ok(_) => {}
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV) => {
            bail!("{shown} is no directory of what is below {point}, to mount a copy over: nothing was changed")
        }
        Err(errno) => return Err(errno).with_context(|| format!("cannot look at {shown} below: nothing was changed")),
    }
    ensure!(
        binds::can_be_mounted(&path),
        "{shown} has a character in its name that means something else to systemd: nothing was changed"
    );
    let parent = path.parent().unwrap_or(Path::new(""));
    let is_above = root.open_dir(&overlay.upper().join(parent))?.is_some();
    ensure!(
        is_above,
        "nothing is above of {}, which {shown} is in: nothing was changed. Name that one",
        message::path(&overlay.point.join(parent))
    );
    Ok(path)
}

/// Makes the copies. When this returns they survive a power cut.
///
/// # Errors
/// Where what is seen may not be what there is, or change, there is no room, or something cannot be copied. There are none then.
pub fn make(root: &Root, overlay: &Overlay, directories: &[PathBuf]) -> Result<()> {
    // One that was made earlier is not what is seen now.
    overlay_files::remove_old(root, overlay)?;
    if directories.is_empty() {
        return Ok(());
    }
    let made = require_to_be_as_seen(root, overlay).and_then(|()| seen(root, overlay)).and_then(|seen| {
        require_room(root, overlay, &seen, directories)?;
        directories.iter().try_for_each(|directory| copy(root, overlay, &seen, directory))?;
        require_nobody_writes(root, overlay)?;
        overlay_copies::sync(root, overlay)
    });
    made.map_err(|why| match overlay_files::remove_old(root, overlay) {
        Ok(()) => why,
        Err(error) => anyhow!("{why:#}; what was copied takes up room: {error:#}"),
    })
}

fn require_to_be_as_seen(root: &Root, overlay: &Overlay) -> Result<()> {
    let shown = message::path(&overlay.point);
    if laid(root, overlay)?.is_none() {
        return Ok(());
    }
    require_nobody_writes(root, overlay)?;
    let may_have_changed = below::changed(root, overlay)?.is_some_and(|changed| changed.when == When::PerhapsSince);
    ensure!(
        !may_have_changed && laying::has_what_is_there(root, overlay)?,
        "what is below {shown} may have changed under its overlay, or what is above it is another directory by now, so that what is \
         seen may be wrong: first \"rokeep overlay enable {shown}\""
    );
    Ok(())
}

fn require_nobody_writes(root: &Root, overlay: &Overlay) -> Result<()> {
    let shown = message::path(&overlay.point);
    let is_open = laid(root, overlay)?.is_some_and(|mount| !mount.flags.refuse_writes());
    ensure!(
        !is_open,
        "{shown} can be written to, and what is written meanwhile would be in no copy: first \"rokeep remount ro {shown}\""
    );
    Ok(())
}

/// What is seen through the overlay, or would be if it was laid; mounted nowhere.
fn seen(root: &Root, overlay: &Overlay) -> Result<OwnedFd> {
    let failed = || format!("cannot look at what is to be copied of {}", message::path(&overlay.point));
    // Where directories are mounted one by one, what is below is seen around them, and nothing of what else may be above.
    if laid(root, overlay)?.is_some() || overlay.is_bound() {
        let mounted = mounts::at(root, &overlay.point)?.with_context(failed)?;
        return remounting::copy(&mounted).with_context(failed);
    }
    // Nothing can be written through it.
    let open = |path: &Path| root.open_dir(path).with_context(failed)?.with_context(failed);
    let (upper, below) = (open(&overlay.upper())?, open(&comparing::below(root, overlay)?)?);
    let layers = PathBuf::from(format!("{}:{}", path_of(&upper).display(), path_of(&below).display()));
    let options = OPTIONS.map(|(key, value)| (key, PathBuf::from(value)));
    let parameters: Vec<_> = [("lowerdir", layers)].into_iter().chain(options).collect();
    laying::make_one(overlay, &parameters, &[]).map_err(|why| anyhow!("{}: {why}", failed()))
}

/// Where it is for this process, and for one that it starts.
fn path_of(opened: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd()))
}

fn require_room(root: &Root, overlay: &Overlay, seen: &OwnedFd, directories: &[PathBuf]) -> Result<()> {
    let mut needed = 0;
    for directory in directories {
        needed += room(&path_of(seen).join(directory))
            .with_context(|| format!("cannot read {}", message::path(&overlay.point.join(directory))))?;
    }
    let free = place::free(root, &overlay.place)?;
    ensure!(
        free >= needed + LEFT_FREE,
        "a copy of {} needs {}, and {} has {} free",
        message::few(&directories.iter().map(|path| message::path(&overlay.point.join(path))).collect::<Vec<_>>(), 5),
        message::bytes(needed + LEFT_FREE),
        message::path(&overlay.place),
        message::bytes(free)
    );
    Ok(())
}

/// Bytes that a copy takes up, if the file system packs nothing.
fn room(directory: &Path) -> Result<u64> {
    const BLOCK: u64 = 4096;
    let mut links = HashSet::new();
    let mut size = |found: &Metadata| {
        let is_first = found.is_dir() || found.nlink() < 2 || links.insert((found.dev(), found.ino()));
        if is_first { found.len().next_multiple_of(BLOCK).max(BLOCK) } else { 0 }
    };
    let mut bytes = 0;
    for entry in walkdir::WalkDir::new(directory) {
        bytes += size(&entry?.metadata()?);
    }
    Ok(bytes)
}

fn copy(root: &Root, overlay: &Overlay, seen: &OwnedFd, directory: &Path) -> Result<()> {
    let shown = message::path(&overlay.point.join(directory));
    let failed = || format!("cannot copy {shown}");
    let to = overlay_copies::new(root, overlay, directory).with_context(failed)?;
    // By the directory that it works in it has what is mounted nowhere. What it does for modes fails for what comes from a server
    // with access lists of its own (coreutils 9.2 to 9.7).
    let mut cp = Command::new("/bin/cp");
    cp.args(["--recursive", "--no-dereference", "--preserve=ownership,timestamps,links,xattr"]);
    cp.args(["--no-target-directory", "--"]).arg(directory).arg(&to).current_dir(path_of(seen));
    let said = children::does_its_work(&mut cp).context("cannot start /bin/cp").with_context(failed)?;
    if !said.status.success() {
        let why = String::from_utf8_lossy(&said.stderr);
        bail!("{}: {}", failed(), message::text(why.lines().next().unwrap_or("cp(1) does not say why")));
    }
    overlay_copies::permit(&path_of(seen).join(directory), &to).with_context(failed)?;
    overlay_copies::finish(&to).with_context(failed)
}

/// Has the copies take the place of what is above; nobody has the overlay mounted.
///
/// # Errors
/// Where one cannot be exchanged. Those before it are.
pub fn put_in_place(root: &Root, overlay: &Overlay, directories: &[PathBuf]) -> Result<()> {
    if directories.is_empty() {
        return Ok(());
    }
    for directory in directories {
        overlay_copies::exchange(root, overlay, directory).with_context(|| {
            let directory = message::path(&overlay.point.join(directory));
            format!("cannot put the copy of {directory} into its place")
        })?;
    }
    overlay_copies::sync(root, overlay)
}

/// Has what was above before be there again where whoever put copies into its place was interrupted. It is not while somebody has
/// laid the overlay.
///
/// # Errors
/// Where it cannot be.
pub fn settle(root: &Root, overlay: Overlay) -> Result<Overlay> {
    if overlay.exchanged.is_empty() || laid(root, &overlay)?.is_some() {
        return Ok(overlay);
    }
    take_back(root, &overlay, &overlay.exchanged)?;
    let settled = Overlay { exchanged: Vec::new(), ..overlay };
    overlay_files::write_down(root, &settled)?;
    Ok(settled)
}

/// Has what was above before be there again, where a copy took its place.
///
/// # Errors
/// Where one cannot be exchanged. Nothing of it is lost: the copy has it, too.
pub fn take_back(root: &Root, overlay: &Overlay, directories: &[PathBuf]) -> Result<()> {
    directories.iter().try_for_each(|directory| {
        overlay_copies::exchange_back(root, overlay, directory).with_context(|| {
            let directory = message::path(&overlay.point.join(directory));
            format!("cannot have what was above in {directory} before its copy be there again")
        })
    })
}
