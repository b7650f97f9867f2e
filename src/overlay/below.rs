//! Noticing that what is below an overlay is not what it was ([`crate::core::overlay::seen`] says by what).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;

use super::laid;
use crate::core::message;
use crate::core::mount_state::Access;
use crate::core::overlay::Overlay;
use crate::core::overlay::layers::Layered;
use crate::core::overlay::seen::{self, Changed, Look, Looked, Seen, When};
use crate::core::session::Session;
use crate::sys::clock;
use crate::sys::files::Root;
use crate::sys::layers::{self, Within};
use crate::sys::mounts::{self, Mounted};
use crate::sys::overlay_files::{self, in_root};

/// Writes down how what is below looks now: of that which will be noticed again.
///
/// # Errors
/// Where it cannot be looked at, or not be written down.
pub fn note(root: &Root, overlay: &Overlay) -> Result<()> {
    ensure!(
        is_exposed(root, overlay)?,
        "what is below {} is not mounted at {}",
        message::path(&overlay.point),
        message::path(&overlay.lower())
    );
    let boot = clock::boot(root).ok();
    let seen = Seen { format: seen::FORMAT, boot, size: size(root, overlay)?, looks: looks(root, overlay)? };
    match overlay_files::seen(root, overlay) {
        Some(before) if before == seen => Ok(()),
        _ => overlay_files::write_seen(root, overlay, &seen),
    }
}

/// How all that matters looks now.
fn looks(root: &Root, overlay: &Overlay) -> Result<Vec<Looked>> {
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
    Ok(paths.into_iter().filter_map(|path| Some(Looked { look: look(&lower.join(&path))?, path })).collect())
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
        if is_of_it && laid(root, &overlay)?.is_some() && changed(root, &overlay)?.is_none() {
            note(root, &overlay)?;
        }
    }
    Ok(())
}

/// What is not as it was, if anything. Nothing is, where the overlay is not there: then nobody sees anything of it.
///
/// # Errors
/// Where the mounts cannot be read.
pub fn changed(root: &Root, overlay: &Overlay) -> Result<Option<Changed>> {
    let Some(seen) = overlay_files::seen(root, overlay) else { return Ok(None) };
    if laid(root, overlay)?.is_none() {
        return Ok(None);
    }
    let lower = in_root(root, &overlay.lower());
    let paths = seen.differences(size(root, overlay)?, |path| look(&lower.join(path)));
    if paths.is_empty() {
        return Ok(None);
    }
    let when = clock::start(root).and_then(|start| Ok(seen.when_changed(&start, &looks(root, overlay)?)));
    let is_exposed = is_exposed(root, overlay)?;
    Ok(Some(Changed { paths, when: when.ok().filter(|_| is_exposed).unwrap_or(When::PerhapsSince) }))
}

/// Whether what is below has its own place, where it is looked at.
fn is_exposed(root: &Root, overlay: &Overlay) -> Result<bool> {
    Ok(mounts::at(root, &overlay.lower())?.is_some_and(|mounted| overlay.below.can_be(&mounted.mount)))
}

/// That this start of the machine has seen it as it was: what changes later does so under the overlay.
///
/// # Errors
/// Where that cannot be written down.
pub fn note_this_start(root: &Root, overlay: &Overlay) -> Result<()> {
    let boot = clock::boot(root).ok();
    match overlay_files::seen(root, overlay) {
        Some(seen) if seen.boot != boot => overlay_files::write_seen(root, overlay, &Seen { boot, ..seen }),
        Some(_) | None => Ok(()),
    }
}

/// That, in words, and the next step.
pub fn say(overlay: &Overlay, changed: &Changed) -> String {
    let (point, paths) = (message::path(&overlay.point), paths(overlay, changed));
    match changed.when {
        When::BeforeItWasLaid => format!(
            "what is below the overlay on {point} is not what it was ({paths}), and what is above hides it as before: \"rokeep \
             overlay diff {point}\" says what, and \"rokeep overlay enable {point}\" takes it as it is"
        ),
        When::PerhapsSince => format!(
            "what is below the overlay on {point} has changed ({paths}); what is seen of it may be wrong until {}, and \"rokeep \
             overlay diff {point}\" says what hides it",
            until(overlay)
        ),
    }
}

/// What ends that what is seen may be wrong. What is always in use cannot be laid anew.
fn until(overlay: &Overlay) -> String {
    let point = message::path(&overlay.point);
    match overlay.is_mounted_early() {
        true => format!("you start the machine anew, and then \"rokeep overlay enable {point}\""),
        false => format!("\"rokeep overlay enable {point}\" lays it anew"),
    }
}

/// That it is taken as it is.
pub fn say_taken(overlay: &Overlay, changed: &Changed) -> String {
    let point = message::path(&overlay.point);
    format!(
        "what is below the overlay on {point} is not what it was ({}), and was so when it was laid: that is written down. What is \
         above goes on hiding what is below, be that newer: \"rokeep overlay diff {point}\"",
        paths(overlay, changed)
    )
}

fn paths(overlay: &Overlay, changed: &Changed) -> String {
    const MOST: usize = 3;
    let named: Vec<String> = changed.paths.iter().map(|path| message::path(&named(&overlay.point, path))).collect();
    message::few(&named, MOST)
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
