//! Noticing that what is below an overlay is not what it was ([`crate::core::overlay::seen`] says by what).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::statvfs::statvfs;

use super::laid;
use crate::core::message;
use crate::core::mount_state::Access;
use crate::core::overlay::Overlay;
use crate::core::overlay::layers::Layered;
use crate::core::overlay::seen::{self, Look, Looked, Seen};
use crate::core::session::Session;
use crate::sys::files::Root;
use crate::sys::layers::{self, Within};
use crate::sys::mounts::{self, Mounted};
use crate::sys::overlay_files::{self, in_root};

/// Writes down how what is below looks now: of that which will be noticed again.
///
/// # Errors
/// Where it cannot be looked at, or not be written down.
pub fn note(root: &Root, overlay: &Overlay) -> Result<()> {
    let (upper, lower) = (in_root(root, &overlay.upper()), in_root(root, &overlay.lower()));
    let mut paths = vec![PathBuf::new()];
    let mut worth = |layered: Layered| {
        if !seen::is_worth_a_look(&layered) {
            return Within::Not;
        }
        let within = if layered.is_opaque() { Within::Not } else { Within::Too };
        paths.push(layered.path);
        within
    };
    let failed = || format!("cannot look at what is below {}", message::path(&overlay.point));
    layers::walk(&upper, &lower, &mut worth).with_context(failed)?;
    let looks = paths.into_iter().filter_map(|path| Some(Looked { look: look(&lower.join(&path))?, path })).collect();
    let seen = Seen { format: seen::FORMAT, size: size(root, overlay)?, looks };
    match overlay_files::seen(root, overlay) {
        Some(before) if before == seen => Ok(()),
        _ => overlay_files::write_seen(root, overlay, &seen),
    }
}

/// As [`note`]; where it fails, what to say of that.
pub fn note_or_say(root: &Root, overlay: &Overlay) -> Option<String> {
    let why = note(root, overlay).err()?;
    Some(format!("a change of what is below {} will not be noticed: {why:#}", message::path(&overlay.point)))
}

/// The same for each overlay of a package run that is over. What is not as it was stays so until somebody has seen it.
///
/// # Errors
/// As [`note`].
pub fn note_after_a_run(root: &Root, session: &Session) -> Result<()> {
    for overlay in overlay_files::all(root)? {
        let is_of_it = session.mounts.iter().any(|noted| noted.mount.point == overlay.point);
        if is_of_it && laid(root, &overlay)?.is_some() && changed(root, &overlay)?.is_empty() {
            note(root, &overlay)?;
        }
    }
    Ok(())
}

/// What is not as it was, from the mount point; the empty path is the topmost directory. Nothing is, where the overlay is
/// not there: then nobody sees anything of it.
///
/// # Errors
/// Where the mounts cannot be read.
pub fn changed(root: &Root, overlay: &Overlay) -> Result<Vec<PathBuf>> {
    let Some(seen) = overlay_files::seen(root, overlay) else { return Ok(Vec::new()) };
    if laid(root, overlay)?.is_none() {
        return Ok(Vec::new());
    }
    let lower = in_root(root, &overlay.lower());
    Ok(seen.differences(size(root, overlay)?, |path| look(&lower.join(path))))
}

/// That, in words.
pub fn say(overlay: &Overlay, changed: &[PathBuf]) -> Option<String> {
    const MOST: usize = 3;
    let point = message::path(&overlay.point);
    let named: Vec<String> = changed.iter().map(|path| message::path(&named(&overlay.point, path))).collect();
    (!named.is_empty()).then(|| {
        format!(
            "what is below the overlay on {point} has changed ({}); what is seen of it may be wrong until \"rokeep overlay enable \
             {point}\" lays it anew, and \"rokeep overlay diff {point}\" says what hides it",
            message::few(&named, MOST)
        )
    })
}

fn named(point: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { point.to_owned() } else { point.join(path) }
}

fn look(path: &Path) -> Option<Look> {
    let found = fs::symlink_metadata(path).ok()?;
    Some(Look {
        modified: [found.mtime(), found.mtime_nsec()],
        changed: [found.ctime(), found.ctime_nsec()],
        length: found.len(),
    })
}

/// Of a device that nobody writes to: a pool or a server has other things, too, and so has a file system that is writable
/// elsewhere.
#[allow(clippy::useless_conversion, reason = "the numbers are narrower on 32 bits")]
fn size(root: &Root, overlay: &Overlay) -> Result<Option<[u64; 2]>> {
    let Some(Mounted { mount, .. }) = mounts::at(root, &overlay.lower())? else { return Ok(None) };
    let is_fixed =
        mount.flags.superblock == Access::ReadOnly && mount.source.starts_with("/dev") && !mount.has_server();
    let found = statvfs(&in_root(root, &overlay.lower())).ok().filter(|_| is_fixed);
    Ok(found.map(|found| [u64::from(found.blocks()), u64::from(found.files())]))
}
