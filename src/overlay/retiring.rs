//! An overlay that goes with the next start of the machine: what is always in use, as /usr, cannot be unmounted before.
//!
//! It is written down of which start it is the last; its units are gone, so that the next one does not lay it. Until then
//! packages would be installed on what goes; after that it is forgotten by whatever package run comes first.

use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};

use super::disabling::{Keep, forget, require_no_aliases, take_away};
use super::{is_there, nobody_needs_it};
use crate::core::message::{self, Outcome};
use crate::core::overlay::{Overlay, Retires};
use crate::settings::{self, Settings};
use crate::sys::clock;
use crate::sys::files::Root;
use crate::sys::overlay_files;
use crate::sys::state::Locked;

/// Has the machine do without an overlay from its next start on.
///
/// # Errors
/// Where that cannot be written down. It is then laid by the next start, too.
pub fn retire(root: &Root, point: &Path, keep: Keep) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let overlay = overlay_files::required(root, point)?;
    let shown = message::path(point);
    nobody_needs_it(root, &locked.session()?, point)?;
    require_no_aliases(&locked, &overlay)?;
    ensure!(
        is_there(root, &overlay)?,
        "what is above {shown} is not mounted: nothing was changed. \"rokeep overlay disable {shown}\" does it now"
    );
    let is_wanted = Settings::load(root)?.overlays().any(|wanted| wanted.point == point);
    let retires = Retires { after: clock::boot(root)?, discards: keep == Keep::Nothing };
    write_down(root, &Overlay { retires: Some(retires), ..overlay.clone() })
        .map_err(|why| undo(root, &overlay, why))?;
    let mut outcome = Outcome::default();
    let what = if keep == Keep::Nothing { "discarded" } else { "kept, and not seen," };
    outcome.notes.push(format!(
        "what is above {shown} is {what} from the next start of the machine on. Until then apt and dpkg are stopped; \"rokeep overlay \
         enable {shown}\" has it stay"
    ));
    if is_wanted {
        outcome.notes.push(format!("a package run after that lays it again, as {} wants it", settings::PATH));
    }
    if !overlay.below.is_in_fstab {
        outcome.notes.push(format!("{shown} is not in /etc/fstab: nothing is mounted there then"));
    }
    Ok(outcome)
}

/// First the record: whoever is killed before the units are gone has that be noticed, and made up for.
fn write_down(root: &Root, retiring: &Overlay) -> Result<()> {
    overlay_files::write_down(root, retiring)?;
    overlay_files::remove_units_that_lay(root, retiring)
}

fn undo(root: &Root, overlay: &Overlay, why: Error) -> Error {
    let record = overlay_files::write_down(root, overlay);
    let units = overlay_files::write_units(root, overlay);
    match record.and(units) {
        Ok(()) => anyhow!("{why:#}. The overlay stays"),
        Err(error) => anyhow!(
            "{why:#}. Taking that back failed too: {error:#}; \"rokeep overlay enable {}\" has it stay",
            message::path(&overlay.point)
        ),
    }
}

/// Whether there is one that goes, or is gone and not forgotten.
///
/// # Errors
/// Where what is written down cannot be read.
pub(crate) fn is_any_retiring(root: &Root) -> Result<bool> {
    Ok(overlay_files::all_that_can_be_seen(root)?.iter().any(|overlay| overlay.retires.is_some()))
}

/// Forgets those that are gone.
///
/// # Errors
/// Where one has still to go: what is installed now would not be seen after the next start of the machine.
pub(crate) fn finish_all(root: &Root) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for overlay in overlay_files::all(root)? {
        let Some(retires) = &overlay.retires else { continue };
        require_none_to_go(root, &overlay, retires)?;
        overlay_files::remove_units(root, &overlay)?;
        let above = overlay_files::above(root, &overlay)?;
        let keep = if retires.discards { Keep::Nothing } else { Keep::WhatIsAbove };
        take_away(root, &overlay, keep)?;
        outcome.join(forget(root, &overlay, above, keep)?);
    }
    Ok(outcome)
}

/// Fails where packages would be installed on what goes.
///
/// # Errors
/// That.
pub(super) fn require_none_to_go(root: &Root, overlay: &Overlay, retires: &Retires) -> Result<()> {
    let shown = message::path(&overlay.point);
    let boot = clock::boot(root)?;
    ensure!(
        retires.after != boot,
        "what is above {shown} goes with the next start of the machine, and what is installed now would go with it: start it anew, or \
         have it stay (\"rokeep overlay enable {shown}\")"
    );
    if is_there(root, overlay)? {
        // Whoever wrote it down was interrupted, or the units came back, as from a backup.
        let again = Overlay { retires: Some(Retires { after: boot, ..retires.clone() }), ..overlay.clone() };
        write_down(root, &again)?;
        bail!(
            "what is above {shown} was to go with this start of the machine, and its units were still there; they are gone now: start \
             the machine anew, or have it stay (\"rokeep overlay enable {shown}\")"
        );
    }
    Ok(())
}

/// Fails for one that goes, or is gone.
///
/// # Errors
/// That.
pub(super) fn require_to_stay(overlay: &Overlay) -> Result<()> {
    let shown = message::path(&overlay.point);
    ensure!(
        overlay.retires.is_none(),
        "what is above {shown} goes with a start of the machine, or went: nothing was changed. First \"rokeep overlay enable {shown}\""
    );
    Ok(())
}

/// Has one that was to go stay, if that succeeds.
///
/// # Errors
/// Where it does not, or that cannot be written down. It goes then as before.
pub(super) fn stay<T>(root: &Root, overlay: &Overlay, has_it_stay: impl FnOnce(&Overlay) -> Result<T>) -> Result<T> {
    if overlay.retires.is_none() {
        return has_it_stay(overlay);
    }
    let stays = Overlay { retires: None, ..overlay.clone() };
    let stayed = overlay_files::write_down(root, &stays).and_then(|()| has_it_stay(&stays));
    stayed.map_err(|why| match write_down(root, overlay) {
        Ok(()) => why.context("the overlay goes with the next start of the machine, as before"),
        Err(error) => anyhow!("{why:#}; and that it is to go is not written down any more: {error:#}"),
    })
}

/// What is to be said of one that a package run has to pass over.
///
/// # Errors
/// Where there is one.
pub(super) fn require_none(root: &Root) -> Result<()> {
    for overlay in overlay_files::all_that_can_be_seen(root)? {
        if let Some(retires) = &overlay.retires {
            require_none_to_go(root, &overlay, retires).context("dpkg is stopped")?;
        }
    }
    Ok(())
}
