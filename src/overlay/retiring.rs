//! An overlay that goes with the next start of the machine: what is always in use, as /usr, cannot be unmounted before.
//!
//! It is written down of which start it is the last; its units are gone, so that the next one does not lay it. Until then
//! packages would be installed on what goes; after that it is forgotten by whatever package run comes first.

use std::path::Path;

use anyhow::{Error, Result, anyhow, bail, ensure};

use super::disabling::{Keep, forget, require_no_aliases, take_away};
use super::{copying, is_there, nobody_needs_it, users};
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
    let retiring = Overlay { retires: Some(retires), ..overlay.clone() };
    // First the record: that units are there of one that retires is noticed.
    overlay_files::write_down(root, &retiring)
        .and_then(|()| overlay_files::remove_units_that_lay(root, &retiring))
        .map_err(|why| undo(root, &overlay, why))?;
    let mut outcome = Outcome::default();
    let what = if keep == Keep::Nothing { "discarded" } else { "kept, and not seen," };
    outcome.notes.push(format!(
        "what is above {shown} is {what} from the next start of the machine on. Until then apt and dpkg are stopped, as what is \
         written goes with it; \"rokeep overlay enable {shown}\" has it stay"
    ));
    if is_wanted {
        outcome.notes.push(format!("a package run after that lays it again, as {} wants it", settings::PATH));
    }
    if !overlay.below.is_in_fstab {
        outcome.notes.push(format!("{shown} is not in /etc/fstab: nothing is mounted there then"));
    }
    Ok(outcome)
}

fn undo(root: &Root, overlay: &Overlay, why: Error) -> Error {
    let record = overlay_files::write_down(root, overlay);
    let is_written = overlay_files::of(root, &overlay.point).is_ok_and(|written| written.as_ref() == Some(overlay));
    let record = if is_written { Ok(()) } else { record };
    let units = match overlay.retires.is_some() || overlay_files::has_units(root, overlay) {
        true => Ok(()),
        false => overlay_files::write_units(root, overlay),
    };
    match record.and(units) {
        Ok(()) => anyhow!("{why:#}: nothing was changed"),
        Err(error) => anyhow!(
            "{why:#}. Taking that back failed too: {error:#}; \"rokeep overlay enable {}\" has it stay",
            message::path(&overlay.point)
        ),
    }
}

/// Forgets those that are gone. What is to be said of that.
///
/// # Errors
/// Where one has still to go: what is installed now would not be seen after the next start of the machine.
pub(crate) fn finish_all(root: &Root) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for overlay in overlay_files::all(root)? {
        if let Some(retires) = &overlay.retires {
            let overlay = copying::settle(root, overlay.clone())?;
            outcome.join(finish(root, &overlay, retires)?);
        }
    }
    Ok(outcome)
}

fn finish(root: &Root, overlay: &Overlay, retires: &Retires) -> Result<Outcome> {
    let shown = message::path(&overlay.point);
    let boot = clock::boot(root)?;
    if retires.after == boot || is_there(root, overlay)? {
        // Whoever wrote it down was interrupted, or they came back, as from a backup: then it goes one start later.
        overlay_files::remove_units_that_lay(root, overlay)?;
        let again = Overlay { retires: Some(Retires { after: boot, ..retires.clone() }), ..overlay.clone() };
        if again != *overlay {
            overlay_files::write_down(root, &again)?;
        }
        bail!(say_it_goes(overlay));
    }
    if let Some(process) = users::who_has(root, |mount| overlay.has_what_is_above(mount))? {
        bail!("what was above {shown} is still mounted where {process} sees it: unmount it there, or stop that");
    }
    let above = overlay_files::above(root, overlay)?;
    if above.is_none() && !overlay_files::is_discarded(root, overlay) {
        let note = format!(
            "what was above {shown} is not at {}: bring it back, or \"rokeep overlay disable --discard {shown}\"",
            message::path(&overlay.upper())
        );
        return Ok(Outcome { notes: vec![note], ..Outcome::default() });
    }
    // That of what is below is all there can be, and nothing starts it: a later overlay overwrites it.
    let left = overlay_files::remove_units(root, overlay).err();
    let keep = if retires.discards { Keep::Nothing } else { Keep::WhatIsAbove };
    take_away(root, overlay, keep)?;
    let mut outcome = forget(root, overlay, above, keep)?;
    outcome.notes.extend(left.map(|why| format!("a unit of what was below {shown} is left: {why:#}")));
    Ok(outcome)
}

fn say_it_goes(overlay: &Overlay) -> String {
    let shown = message::path(&overlay.point);
    format!(
        "what is above {shown} goes with the next start of the machine, and what is installed now would go with it: start it anew, or \
         have it stay (\"rokeep overlay enable {shown}\")"
    )
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
    let was_there = is_there(root, overlay)?;
    let stays = overlay.that_stays();
    let stayed = overlay_files::write_down(root, &stays).and_then(|()| has_it_stay(&stays));
    stayed.map_err(|why| {
        let undone = overlay_files::write_down(root, overlay)
            .and_then(|()| overlay_files::remove_units_that_lay(root, overlay))
            .and_then(|()| if was_there { Ok(()) } else { take_away(root, overlay, Keep::WhatIsAbove) });
        match undone {
            Ok(()) => why.context("it goes, or is gone, as before"),
            Err(error) => anyhow!("{why:#}. Taking that back failed too: {error:#}"),
        }
    })
}

/// Fails where dpkg would write to one of these that goes. What cannot be told is nobody's mistake at that time.
///
/// # Errors
/// That.
pub(super) fn require_none_to_go(root: &Root, overlays: &[Overlay]) -> Result<()> {
    let goes = |overlay: &&Overlay| overlay.retires.is_some() && is_there(root, overlay).unwrap_or(false);
    match overlays.iter().find(goes) {
        Some(overlay) => bail!(say_it_goes(overlay)),
        None => Ok(()),
    }
}

/// Whether it is gone, and only not forgotten.
///
/// # Errors
/// Where the mounts cannot be read.
pub(super) fn is_over(root: &Root, overlay: &Overlay) -> Result<bool> {
    let Some(retires) = &overlay.retires else { return Ok(false) };
    Ok(!is_there(root, overlay)? && clock::boot(root).is_ok_and(|boot| boot != retires.after))
}
