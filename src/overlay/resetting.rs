//! Having what is above be nothing again: all of it, or some.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::disabling::{Keep, require_no_aliases, unmount};
use super::{below, copying, lay_one, nobody_needs_it, on_the_mount, retiring};
use crate::core::message::{self, Outcome};
use crate::core::overlay::Overlay;
use crate::core::overlay::layers::Layered;
use crate::sys::files::Root;
use crate::sys::layers::{self, Within};
use crate::sys::overlay_files::{self, in_root};
use crate::sys::state::Locked;

/// Discards what is above: of these paths, absolute or from the mount point, or all of it. What is below is seen again, but
/// for the names that a new overlay hides.
///
/// # Errors
/// Where it is not to be discarded, is in use, or there is no such thing above: everything is then as it was. Of several paths
/// each goes by itself.
pub fn reset(root: &Root, point: &Path, names: &[PathBuf], keep: Keep) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let overlay = overlay_files::required(root, point)?;
    let shown = message::path(point);
    nobody_needs_it(root, &locked.session()?, point)?;
    require_no_aliases(&locked, &overlay)?;
    let overlay = copying::settle(root, overlay)?;
    retiring::require_to_stay(&overlay)?;
    ensure!(
        !overlay.is_bound(),
        "directories of {shown} are mounted one by one: nothing was changed. First \"rokeep overlay enable {shown}\""
    );
    // What is below has to be there, to look at.
    lay_one(root, &overlay)?;
    let above = overlay_files::above(root, &overlay)?
        .with_context(|| format!("what is above {shown} is not at {}", message::path(&overlay.upper())))?;
    let mut paths = names.iter().map(|name| above_at(root, &overlay, name)).collect::<Result<Vec<_>>>()?;
    // With a directory goes what is in it.
    paths.sort();
    paths.dedup_by(|path, before| path.starts_with(before));
    ensure!(
        keep == Keep::Nothing,
        "{} is above {shown}, which \"rokeep overlay diff {shown}\" names, and would be lost: nothing was changed. \"--discard\" \
         does it",
        message::bytes(above.bytes)
    );
    unmount(root, &overlay)?;
    let discarded = match paths.as_slice() {
        [] => discard_all(root, &overlay),
        paths => paths.iter().try_for_each(|path| {
            let failed = || format!("{} and what comes after it were not discarded", message::path(path));
            overlay_files::discard_one(root, &overlay, path).with_context(failed)
        }),
    };
    // Whatever came of that: what is above has to be seen.
    if let Err(why) = lay_one(root, &overlay) {
        let before = discarded.err().map_or_else(String::new, |why| format!("{why:#}; and "));
        bail!(
            "{before}the overlay on {shown} is not there any more: {why:#}. \"rokeep overlay enable {shown}\" lays it"
        );
    }
    discarded?;
    overlay_files::remove_old(root, &overlay)?;
    let mut outcome = Outcome::default();
    outcome.notes.extend(below::note_or_say(root, &overlay));
    let of = match paths.as_slice() {
        [] => format!("nothing is above {shown} any more"),
        _ => format!("{} of {shown}: what is below is seen again", message::count(paths.len(), "path")),
    };
    outcome.notes.push(of);
    outcome.notes.push(format!(
        "dpkg counts packages as installed that may have files on {shown} which are not there now; \"dpkg --verify\" names them"
    ));
    Ok(outcome)
}

fn discard_all(root: &Root, overlay: &Overlay) -> Result<()> {
    let like = fs::metadata(in_root(root, &overlay.lower()))?;
    overlay_files::exchange_above(root, overlay, &like)
}

/// The path, from the mount point, of something that is above; and if that goes, what is below is seen in its place.
fn above_at(root: &Root, overlay: &Overlay, name: &Path) -> Result<PathBuf> {
    let point = message::path(&overlay.point);
    let path = on_the_mount(overlay, name)?;
    let (upper, lower) = (in_root(root, &overlay.upper()), in_root(root, &overlay.lower()));
    let (mut found, mut hidden_with) = (false, None);
    let mut look = |layered: Layered| {
        found |= layered.path == path;
        let is_on_the_way = path.starts_with(&layered.path) && layered.path != path;
        if is_on_the_way && layered.hides_all_below() {
            hidden_with.get_or_insert(layered.path);
        }
        if is_on_the_way { Within::Too } else { Within::Not }
    };
    layers::walk(&upper, &lower, &mut look).with_context(|| format!("cannot read {}", upper.display()))?;
    let shown = message::path(&path);
    match hidden_with {
        _ if !found => bail!("{shown} is not above {point}: nothing was changed"),
        Some(whole) => bail!(
            "{shown} is in {}, of which nothing below is seen: that goes as a whole, and nothing was changed",
            message::path(&whole)
        ),
        None => Ok(path),
    }
}
