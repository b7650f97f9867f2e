//! An overlay that goes with the next start of the machine: what is always in use, as /usr, cannot be unmounted before.

use std::path::Path;

use anyhow::{Result, bail, ensure};

use super::disabling::{Keep, forget, require_no_aliases, take_away};
use super::{is_there, nobody_needs_it};
use crate::core::message::{self, Outcome};
use crate::core::overlay::Overlay;
use crate::settings::{self, Settings};
use crate::sys::files::Root;
use crate::sys::overlay_files;
use crate::sys::state::Locked;

/// Has the machine do without an overlay from its next start on. What is above is kept. Until then what a package would
/// write would not be seen any more after it, so that apt is stopped.
///
/// # Errors
/// Where that cannot be written down. It is then still laid when the machine starts.
pub fn leave(root: &Root, point: &Path) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let overlay = overlay_files::required(root, point)?;
    let shown = message::path(point);
    nobody_needs_it(root, &locked.session()?, point)?;
    require_no_aliases(&locked, &overlay)?;
    ensure!(
        is_there(root, &overlay)?,
        "what is above {shown} is not mounted: nothing was changed. \"rokeep overlay disable {shown}\" does it now"
    );
    overlay_files::remove_units(root, &overlay)?;
    if let Err(why) = overlay_files::write_down(root, &Overlay { is_leaving: true, ..overlay.clone() }) {
        // It may be there all the same, and only not be known to last.
        let undone =
            overlay_files::write_down(root, &overlay).and_then(|()| overlay_files::write_units(root, &overlay));
        bail!(
            "{why:#}{}",
            undone.err().map_or_else(String::new, |error| format!("; nor can that be undone: {error:#}"))
        );
    }
    let mut outcome = Outcome::default();
    outcome.notes.push(format!(
        "{shown} is without what is above it from the next start of the machine on; no package can be installed there until then, and \
         \"rokeep overlay enable {shown}\" has it stay"
    ));
    if Settings::load(root)?.overlays().any(|wanted| wanted.point == point) {
        outcome.notes.push(format!("a package run after that lays it again, as {} wants it", settings::PATH));
    }
    Ok(outcome)
}

/// Forgets those that are gone.
///
/// # Errors
/// Where one is still there: what is installed now would not be seen after the next start of the machine.
pub(super) fn finish_all(root: &Root) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for overlay in overlay_files::all(root)?.into_iter().filter(|overlay| overlay.is_leaving) {
        require_to_stay_if_there(root, &overlay)?;
        let above = overlay_files::above(root, &overlay)?;
        take_away(root, &overlay, Keep::WhatIsAbove)?;
        outcome.join(forget(root, &overlay, above, Keep::WhatIsAbove)?);
    }
    Ok(outcome)
}

fn require_to_stay_if_there(root: &Root, overlay: &Overlay) -> Result<()> {
    if is_there(root, overlay)? { require_to_stay(overlay) } else { Ok(()) }
}

/// Fails for one that goes.
///
/// # Errors
/// That.
pub(super) fn require_to_stay(overlay: &Overlay) -> Result<()> {
    let shown = message::path(&overlay.point);
    ensure!(
        !overlay.is_leaving,
        "what is above {shown} goes with the next start of the machine, and what is installed now would go with it: start it anew, \
         or have it stay (\"rokeep overlay enable {shown}\")"
    );
    Ok(())
}

/// One that was to go stays.
///
/// # Errors
/// Where that cannot be written down.
pub(super) fn stay(root: &Root, overlay: Overlay) -> Result<Overlay> {
    if !overlay.is_leaving {
        return Ok(overlay);
    }
    let stays = Overlay { is_leaving: false, ..overlay };
    overlay_files::write_down(root, &stays)?;
    Ok(stays)
}
