//! What has become of the overlays in a package run that could not begin: they are laid first of all, and stay.

use crate::core::message;
use crate::core::mountinfo::Mount;
use crate::core::overlay::Overlay;
use crate::sys::files::Root;
use crate::sys::mounts;
use crate::sys::overlay_files;

use super::is_there;

/// What was written down and mounted before.
pub struct Before {
    overlays: Vec<Overlay>,
    /// Where no overlay was written down, nothing of one was mounted.
    mounts: Vec<Mount>,
}

impl Before {
    /// Looks now.
    pub fn look(root: &Root) -> Before {
        match overlay_files::all_that_can_be_seen(root) {
            Ok(overlays) if overlays.is_empty() => Before { overlays, mounts: Vec::new() },
            overlays => {
                Before { overlays: overlays.unwrap_or_default(), mounts: mounts::table(root).unwrap_or_default() }
            }
        }
    }

    /// What is not as it was, in words; nothing, where nothing was changed.
    pub fn changed(&self, root: &Root) -> Option<String> {
        let now = mounts::table(root).unwrap_or_default();
        let overlays = overlay_files::all_that_can_be_seen(root).ok()?;
        let is_forgotten = |before: &&Overlay| !overlays.iter().any(|overlay| overlay.point == before.point);
        let forgotten = self.overlays.iter().filter(is_forgotten).map(say_forgotten);
        let changed = overlays.iter().filter(|overlay| ids(&self.mounts, overlay) != ids(&now, overlay));
        let changed: Vec<String> = forgotten.chain(changed.map(|overlay| say(root, overlay))).collect();
        (!changed.is_empty()).then(|| changed.join("; "))
    }
}

/// The mounts that are an overlay's, or in its place.
fn ids(table: &[Mount], overlay: &Overlay) -> Vec<u64> {
    let is_its = |mount: &&Mount| mount.point.starts_with(&overlay.point) || mount.point == overlay.lower();
    table.iter().filter(is_its).map(|mount| mount.id).collect()
}

fn say(root: &Root, overlay: &Overlay) -> String {
    let shown = message::path(&overlay.point);
    match (is_there(root, overlay), overlay.is_bound()) {
        (Ok(true), false) => format!("{shown} has its overlay now"),
        (Ok(true), true) => format!("the directories of {shown} are mounted now"),
        (Ok(false) | Err(_), _) => {
            format!("not all is mounted at {shown} that is to be, and \"rokeep overlay status\" says what to do")
        }
    }
}

/// The machine has started without it.
fn say_forgotten(overlay: &Overlay) -> String {
    format!("{} has no overlay any more, as was to be from this start of the machine on", message::path(&overlay.point))
}
