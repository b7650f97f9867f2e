//! Copies of directories, beside what is above an overlay: being made, whole, and exchanged with what they take the place of.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::syncfs;

use super::files::Root;
use super::layers;
use super::overlay_files::{self, in_root};
use crate::core::overlay::{self, Overlay};

/// Where a copy of a directory, from the mount point, is to be made.
///
/// # Errors
/// Where nothing can be made there.
pub fn new(root: &Root, overlay: &Overlay, directory: &Path) -> Result<PathBuf> {
    let path = path(root, overlay, directory);
    let home = path.parent().context("a directory in a place")?;
    match DirBuilder::new().mode(0o700).create(home) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
    .with_context(|| format!("cannot make {}", home.display()))?;
    Ok(path)
}

/// Says of a copy that it is there as a whole: nothing of what is below is seen in it.
///
/// # Errors
/// Those of setxattr(2).
pub fn finish(copy: &Path) -> nix::Result<()> {
    layers::make_opaque(copy)
}

/// Has the copies outlive a power cut.
///
/// # Errors
/// Those of syncfs(2).
pub fn sync(root: &Root, overlay: &Overlay) -> Result<()> {
    let place = in_root(root, &overlay.place);
    let failed = || format!("cannot write out {}", place.display());
    let directory = open(&place, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    directory.and_then(syncfs).with_context(failed)
}

/// Exchanges a directory that is above with its copy, if there is one that is whole. What was exchanged before is none: it was
/// copied because it did not live wholly above. Nobody has the overlay mounted.
///
/// # Errors
/// Where it cannot be renamed, or that cannot be had outlive a power cut.
pub fn exchange(root: &Root, overlay: &Overlay, directory: &Path) -> Result<()> {
    let copy = path(root, overlay, directory);
    if !layers::is_opaque(&copy).with_context(|| format!("cannot look at {}", copy.display()))? {
        return Ok(());
    }
    // Some directory above may be somebody's, who could put a link into its place.
    let failed = || format!("cannot move {}", copy.display());
    let upper = root.open_dir(&overlay.upper())?.with_context(failed)?;
    let (dir, name) = layers::entry_in(&upper, directory).with_context(failed)?;
    let rename = |how| renameat2(AT_FDCWD, &copy, dir.as_fd(), name, how);
    match rename(RenameFlags::RENAME_EXCHANGE) {
        Err(Errno::ENOENT) => rename(RenameFlags::RENAME_NOREPLACE),
        exchanged => exchanged,
    }
    .with_context(failed)?;
    // What was there before is removed later.
    sync(root, overlay)
}

fn home(root: &Root, overlay: &Overlay) -> PathBuf {
    in_root(root, &overlay.place).join(overlay_files::COPIES)
}

fn path(root: &Root, overlay: &Overlay, directory: &Path) -> PathBuf {
    home(root, overlay).join(overlay::in_a_name(directory))
}
