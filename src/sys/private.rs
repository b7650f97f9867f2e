//! Directories that are root's alone: what is read in them rokeep wrote, and nobody else reads it.
//!
//! Whoever could make or exchange one before rokeep does would have it follow a link, or believe a session or a journal
//! that is not its own. So what is not beyond doubt is refused, and nothing in it is opened.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::{Mode, fchmod, fstat};

/// Makes a directory, if it is not there, and closes it to others: also where that was only forgotten.
///
/// # Errors
/// Where it cannot be made, or what is there may be somebody else's.
pub fn make(dir: &Path) -> Result<()> {
    let failed = || format!("cannot make {}", dir.display());
    match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        // What is there and no directory is refused below.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error).with_context(failed),
        Ok(()) | Err(_) => check(dir)?,
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = open(dir, flags, Mode::empty()).with_context(failed)?;
    // A parent with a set-group-id bit, an odd umask.
    if fstat(&opened).with_context(failed)?.st_mode & 0o7777 != 0o700 {
        fchmod(&opened, Mode::S_IRWXU).with_context(|| format!("cannot close {} to others", dir.display()))?;
    }
    Ok(())
}

/// Looks whether a directory, if it is there, can be nobody's but root's.
///
/// # Errors
/// Where it may be somebody else's: not a directory of root's, or one that others can write to, or exchange.
pub fn check(dir: &Path) -> Result<()> {
    let failed = || format!("cannot look at {}", dir.display());
    let found = match fs::symlink_metadata(dir) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        found => found.with_context(failed)?,
    };
    ensure!(
        found.is_dir() && found.uid() == 0 && found.mode() & 0o022 == 0,
        "{} is not rokeep's (a directory of root's that nobody else can write to, and no symbolic link): move it away",
        dir.display()
    );
    let Some(parent) = dir.parent() else { return Ok(()) };
    let above = fs::metadata(parent).with_context(failed)?;
    let is_sticky = above.mode() & libc::S_ISVTX != 0;
    ensure!(
        above.uid() == 0 && (above.mode() & 0o022 == 0 || is_sticky),
        "{} can be exchanged by others than root, who can write to {}: \"chmod go-w {}\"",
        dir.display(),
        parent.display(),
        parent.display()
    );
    Ok(())
}

/// As [`check`], of every directory on the way, none of which may be a symbolic link: for a place that somebody chose.
///
/// # Errors
/// As there.
pub fn check_way(dir: &Path) -> Result<()> {
    for dir in dir.ancestors() {
        let found = match fs::symlink_metadata(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            found => found.with_context(|| format!("cannot look at {}", dir.display()))?,
        };
        let is_sticky = found.mode() & libc::S_ISVTX != 0;
        ensure!(
            found.is_dir() && found.uid() == 0 && (found.mode() & 0o022 == 0 || is_sticky),
            "{} is not root's alone to write to, or a symbolic link: others could exchange what is in it",
            dir.display()
        );
    }
    Ok(())
}
