//! Directories of which something below is seen, so that they do not live wholly above: what is seen in them can be copied, and
//! then takes the place of what is above.
//!
//! A copy is made beside what is above, says that it is one once it is there as a whole, and is exchanged with what it takes
//! the place of while the overlay is not mounted. Whoever is interrupted leaves the one or the other.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{comparing, laid, on_the_mount, place};
use crate::core::message;
use crate::core::overlay::{Bind, OPTIONS, Overlay, binds};
use crate::sys::children;
use crate::sys::files::Root;
use crate::sys::mounts;
use crate::sys::overlay_copies;
use crate::sys::overlay_files::{self, in_root};
use crate::sys::overlaying;
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
    let (point, shown) = (message::path(&overlay.point), message::path(&overlay.point.join(&path)));
    let below = comparing::below(root, overlay)?.join(&path);
    let is_below =
        root.open_dir(&below).with_context(|| format!("cannot look at {}", message::path(&below)))?.is_some();
    ensure!(is_below, "{shown} is no directory of what is below {point}, to mount a copy over: nothing was changed");
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
/// Where there is no room, or something cannot be copied. Then there is none.
pub fn make(root: &Root, overlay: &Overlay, directories: &[PathBuf]) -> Result<()> {
    // One that was made earlier is not what is seen now.
    overlay_files::remove_old(root, overlay)?;
    if directories.is_empty() {
        return Ok(());
    }
    let made = seen(root, overlay).and_then(|seen| {
        require_room(root, overlay, &seen, directories)?;
        directories.iter().try_for_each(|directory| copy(root, overlay, &seen, directory))?;
        overlay_copies::sync(root, overlay)
    });
    made.map_err(|why| match overlay_files::remove_old(root, overlay) {
        Ok(()) => anyhow!("{why:#}: nothing was changed"),
        Err(error) => anyhow!("{why:#}: nothing was changed but that a copy takes up room: {error:#}"),
    })
}

/// What is seen through the overlay, or would be if it was laid; mounted nowhere.
fn seen(root: &Root, overlay: &Overlay) -> Result<OwnedFd> {
    let failed = || format!("cannot look at what is to be copied of {}", message::path(&overlay.point));
    if laid(root, overlay)?.is_some() {
        let mounted = mounts::at(root, &overlay.point)?.with_context(failed)?;
        return remounting::copy(&mounted).with_context(failed);
    }
    // Nothing can be written through it.
    let [upper, below] = [overlay.upper(), comparing::below(root, overlay)?].map(|path| in_root(root, &path));
    let layers = PathBuf::from(format!("{}:{}", upper.display(), below.display()));
    let options = OPTIONS.map(|(key, value)| (key, PathBuf::from(value)));
    let parameters: Vec<_> = [("lowerdir", layers)].into_iter().chain(options).collect();
    overlaying::make(parameters.iter().map(|(key, value)| (*key, value.as_path())), &[])
        .map_err(|refused| anyhow!("the kernel refused: {refused}"))
        .with_context(failed)
}

/// Where it is for this process, and for one that it starts.
fn path_of(seen: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", seen.as_raw_fd()))
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
    // By the directory that it works in it has what is mounted nowhere.
    let mut cp = Command::new("/bin/cp");
    cp.args(["--recursive", "--no-dereference", "--preserve=mode,ownership,timestamps,links,xattr"]);
    cp.args(["--no-target-directory", "--"]).arg(directory).arg(&to).current_dir(path_of(seen));
    let said = children::does_its_work(&mut cp).context("cannot start /bin/cp").with_context(failed)?;
    if !said.status.success() {
        let why = String::from_utf8_lossy(&said.stderr);
        bail!("{}: {}", failed(), message::text(why.lines().next().unwrap_or("cp(1) does not say why")));
    }
    overlay_copies::finish(&to).with_context(failed)
}

/// Has a copy take the place of what is above, if one was made and has not done so yet; the overlay is not mounted.
///
/// # Errors
/// Where it cannot.
pub fn put_in_place(root: &Root, overlay: &Overlay, bind: &Bind) -> Result<()> {
    let failed = || format!("cannot put the copy of {} into its place", message::path(&bind.to));
    overlay_copies::exchange(root, overlay, bind.to.strip_prefix(&overlay.point)?).with_context(failed)
}
