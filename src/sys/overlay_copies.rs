//! Copies of directories, beside what is above an overlay: being made, whole, and exchanged with what they take the place of.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::syncfs;
use walkdir::WalkDir;

use super::files::Root;
use super::layers;
use super::overlay_files::{self, in_root};
use crate::core::message;
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

/// Gives each directory and file of a copy the mode, and the access lists, of what it is a copy of.
///
/// # Errors
/// Where one cannot be looked at, or cannot have them.
pub fn permit(of: &Path, copy: &Path) -> Result<()> {
    for entry in WalkDir::new(of) {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_symlink() {
            continue;
        }
        let copy = copy.join(entry.path().strip_prefix(of)?);
        let permitted = || -> io::Result<()> {
            for list in [c"system.posix_acl_access", c"system.posix_acl_default"] {
                if let Some(value) = layers::attribute(entry.path(), list)? {
                    layers::set_attribute(&copy, list, &value)?;
                }
            }
            fs::set_permissions(&copy, Permissions::from_mode(found.mode() & 0o7777))
        };
        permitted().with_context(|| format!("cannot permit {}", copy.display()))?;
    }
    Ok(())
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

/// Exchanges a directory that is above, or nothing, with its copy. Nobody has the overlay mounted.
///
/// # Errors
/// Where it cannot be renamed.
pub fn exchange(root: &Root, overlay: &Overlay, directory: &Path) -> Result<()> {
    rename(root, overlay, directory, |copy, above| match exchanged(copy, above) {
        Err(Errno::ENOENT) => renameat2(copy.0, copy.1, above.0, above.1, RenameFlags::RENAME_NOREPLACE),
        done => done,
    })
}

/// The same, back, whether it came to that or not. What was above before did not live there wholly, or was not there.
///
/// # Errors
/// As [`exchange`].
pub fn exchange_back(root: &Root, overlay: &Overlay, directory: &Path) -> Result<()> {
    let copy = new(root, overlay, directory)?;
    if layers::is_opaque(&copy).with_context(|| format!("cannot look at {}", copy.display()))? {
        return Ok(());
    }
    rename(root, overlay, directory, |copy, above| match exchanged(copy, above) {
        Err(Errno::ENOENT) => match renameat2(above.0, above.1, copy.0, copy.1, RenameFlags::RENAME_NOREPLACE) {
            Err(Errno::ENOENT) => Ok(()),
            done => done,
        },
        done => done,
    })
}

/// A name in a directory.
type At<'a> = (BorrowedFd<'a>, &'a OsStr);

fn exchanged(one: At, other: At) -> nix::Result<()> {
    renameat2(one.0, one.1, other.0, other.1, RenameFlags::RENAME_EXCHANGE)
}

/// Some directory above may be somebody's, who could put a link into its place.
fn rename(root: &Root, overlay: &Overlay, directory: &Path, how: impl FnOnce(At, At) -> nix::Result<()>) -> Result<()> {
    let failed = || format!("cannot move {}", message::path(&overlay.upper().join(directory)));
    let open = |path: &Path| root.open_dir(path).with_context(failed)?.with_context(failed);
    let (copies, upper) = (open(&overlay.place.join(overlay_files::COPIES))?, open(&overlay.upper())?);
    let (dir, name) = layers::entry_in(&upper, directory).with_context(failed)?;
    let copy = overlay::in_a_name(directory);
    how((copies.as_fd(), OsStr::new(&copy)), (dir.as_fd(), name)).with_context(failed)
}

fn home(root: &Root, overlay: &Overlay) -> PathBuf {
    in_root(root, &overlay.place).join(overlay_files::COPIES)
}

fn path(root: &Root, overlay: &Overlay, directory: &Path) -> PathBuf {
    home(root, overlay).join(overlay::in_a_name(directory))
}
