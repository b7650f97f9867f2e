//! What is above, as a change of what is below, and whose each of it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::core::message;
use crate::core::overlay::Overlay;
use crate::core::overlay::diff::{self, Changed, Diff};
use crate::core::overlay::layers::{Above, Below, Change, Layered};
use crate::plan::lists;
use crate::sys::files::Root;
use crate::sys::layers::{self, Within};
use crate::sys::mounts;
use crate::sys::overlay_files::{self, in_root};

/// What is above the overlay over a mount point.
///
/// # Errors
/// Where there is none, what is above or below is not there, or dpkg's lists cannot be read.
pub fn diff(root: &Root, point: &Path) -> Result<Diff> {
    let overlay = overlay_files::required(root, point)?;
    let mut changes = Vec::new();
    let mut all = layered(root, &overlay)?.into_iter().peekable();
    while let Some(layered) = all.next() {
        let Some(change) = layered.change() else { continue };
        // What is in it says so.
        if change == Change::Added && all.peek().is_some_and(|next| next.path.starts_with(&layered.path)) {
            continue;
        }
        let (bytes, note) = (layered.bytes(), note(&layered));
        changes.push(Changed { path: point.join(layered.path), change, note, packages: Vec::new(), bytes });
    }
    let paths: Vec<&Path> = changes.iter().map(|changed| changed.path.as_path()).collect();
    let owners = lists::owners(root, &paths)?;
    for (changed, packages) in changes.iter_mut().zip(owners) {
        changed.packages = packages;
    }
    Ok(Diff { format: diff::FORMAT, mount: point.to_owned(), changes })
}

/// Everything that is above, with what there is below.
///
/// # Errors
/// Where one of them is not there, or cannot be read.
pub(super) fn layered(root: &Root, overlay: &Overlay) -> Result<Vec<Layered>> {
    let upper = overlay.upper();
    let lower = below(root, overlay)?;
    let mut all = Vec::new();
    let mut add = |layered| {
        all.push(layered);
        Within::Too
    };
    layers::walk(&in_root(root, &upper), &in_root(root, &lower), &mut add)
        .with_context(|| format!("cannot read {}", message::path(&upper)))?;
    Ok(all)
}

/// Where what is below can be seen without what is above.
pub(super) fn below(root: &Root, overlay: &Overlay) -> Result<PathBuf> {
    let is_below = |path: &Path| -> Result<bool> {
        let mounted = mounts::at(root, path)?;
        Ok(mounted.is_some_and(|mounted| overlay.below.can_be(&mounted.mount)))
    };
    for path in [overlay.lower(), overlay.point.clone()] {
        if is_below(&path)? {
            return Ok(path);
        }
    }
    bail!("what is below the overlay on {} is not mounted", message::path(&overlay.point))
}

fn note(layered: &Layered) -> Option<String> {
    match (&layered.above, &layered.below) {
        (Above::Directory { was: Some(was), .. }, _) => Some(format!("from {}", message::path(was))),
        (_, Below::Unknown(why)) => Some(why.clone()),
        _ => None,
    }
}
