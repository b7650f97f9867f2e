//! Laying an overlay for the first time, or laying again what there was.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail, ensure};

use super::disabling::{Keep, take_away, unmount};
use super::{below, binding, copying, laid, lay_one, laying, nobody_needs_it, place, retiring};
use crate::core::message::{self, Outcome};
use crate::core::overlay::Overlay;
use crate::core::overlay::seen::When;
use crate::core::session::Session;
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
use crate::sys::overlay_files::{self, Claim};
use crate::sys::state::Locked;

/// What somebody wants of an overlay.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Over which mount.
    pub point: &'a Path,
    /// Where what is above it goes; where that goes if nobody says, or where it is already.
    pub place: Option<&'a Path>,
    /// Names in its root directory that are to be hidden.
    pub masks: &'a [PathBuf],
}

/// Lays an overlay over a mount, and has it laid at each start of the machine. What is there of an earlier one is there
/// again. One that there is already is laid if it is missing, and anew if what is below may have changed under it, and its units
/// are written anew; where directories of it are mounted one by one, it takes their place.
///
/// # Errors
/// Where there can be none, and why. Everything is then as it was.
pub fn enable(root: &Root, wanted: Wanted) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let session = locked.session()?;
    nobody_needs_it(root, &session, wanted.point)?;
    let shown = message::path(wanted.point);
    let mut outcome = Outcome::default();
    let overlay = match overlay_files::of(root, wanted.point)? {
        Some(overlay) => {
            require_the_same(&overlay, wanted)?;
            let overlay = copying::settle(root, overlay)?;
            retiring::stay(root, &overlay, |overlay| {
                let overlay = match overlay.is_bound() {
                    true => binding::back(root, &locked, overlay)?,
                    false => {
                        outcome.notes.extend(lay_again(root, overlay)?);
                        overlay.clone()
                    }
                };
                overlay_files::remove_old(root, &overlay)?;
                overlay_files::write_units(root, &overlay)?;
                Ok(overlay)
            })?
        }
        None => begin(root, &session, wanted, Units::Needed, &mut outcome)?,
    };
    outcome.notes.extend(below::note_or_say(root, &overlay));
    outcome.notes.push(format!(
        "{shown} has an overlay now: what is installed on it is kept in {}",
        message::path(&overlay.upper())
    ));
    Ok(outcome)
}

/// What there is already is not moved, and hides no more than it did when it was made.
fn require_the_same(overlay: &Overlay, wanted: Wanted) -> Result<()> {
    let shown = message::path(wanted.point);
    ensure!(
        wanted.place.is_none_or(|place| overlay.place == place),
        "{shown} has an overlay already, and what is above it is in {}: nothing was changed. First \"rokeep overlay disable \
         {shown}\"",
        message::path(&overlay.place)
    );
    match overlay.not_masked(wanted.masks) {
        Some(name) => bail!(
            "{shown} has an overlay already, which does not hide {}: nothing was changed. That comes before anything is installed: \
             first \"rokeep overlay disable --discard {shown}\"",
            message::path(name)
        ),
        None => Ok(()),
    }
}

/// Lays it if it is missing; anew, if what is below may have changed under it. Answers what to say of that.
fn lay_again(root: &Root, overlay: &Overlay) -> Result<Option<String>> {
    let unchanged = |why: Error| anyhow!("{why:#}: nothing was changed");
    let shown = message::path(&overlay.point);
    let changed = below::changed(root, overlay)?;
    let may_be_wrong = changed.as_ref().is_some_and(|changed| changed.when == When::PerhapsSince);
    let is_exchanged = laid(root, overlay)?.is_some() && !laying::has_what_is_there(root, overlay)?;
    if !may_be_wrong && !is_exchanged {
        lay_one(root, overlay).map_err(unchanged)?;
        return Ok(changed.map(|changed| below::say_taken(overlay, &changed)));
    }
    unmount(root, overlay).map_err(unchanged).map_err(|why| match overlay.is_mounted_early() {
        true => anyhow!("{why:#}. Or start the machine anew, and then \"rokeep overlay enable {shown}\""),
        false => why,
    })?;
    lay_one(root, overlay).with_context(|| {
        format!("the overlay on {shown} is unmounted, and the next package run tries again to lay it")
    })?;
    Ok(Some(format!("{shown} was laid anew, over and under what is there now")))
}

/// Whether there is to be no overlay if its units cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Units {
    /// There is none then.
    Needed,
    /// A package run needs it now, and may be what makes /etc writable.
    CanWait,
}

/// Looks whether there can be an overlay, tries it where nobody sees it, writes it down, lays it, and writes its units: in
/// that order. Whoever is killed after it was written down has it laid by the next package run. And systemd has to find it
/// laid when it reads the units: a mount that is bound to one that is not there it unmounts.
pub(super) fn begin(
    root: &Root,
    session: &Session,
    wanted: Wanted,
    units: Units,
    outcome: &mut Outcome,
) -> Result<Overlay> {
    let point = wanted.point;
    let unchanged = |why: Error| anyhow!("{why:#}: nothing was changed");
    let (overlay, mounted, claim) = look(root, session, wanted, units).map_err(unchanged)?;
    let laid = laying::make_directories(root, &overlay, &mounted)
        .and_then(|()| laying::try_out(root, &overlay, &mounted))
        .and_then(|()| overlay_files::write_down(root, &overlay))
        .and_then(|()| laying::lay(root, &overlay, Some(mounted)))
        .and_then(|()| match (overlay_files::write_units(root, &overlay), units) {
            // The package run that is on says so, as each one does.
            (Err(_), Units::CanWait) => Ok(()),
            (written, Units::Needed | Units::CanWait) => written,
        });
    if let Err(why) = laid {
        bail!("{why:#}. {}", undo(root, &overlay, claim));
    }
    if !overlay.below.is_in_fstab {
        outcome.notes.push(format!(
            "{} is not in /etc/fstab: at the next start of the machine {} is mounted below the overlay, if it is there by then",
            message::path(point),
            message::path(&overlay.below.source)
        ));
    }
    if mounts::holding(root, &overlay.place)?.is_some_and(|above| !above.can_be_forgotten()) {
        outcome.notes.push(format!("{} is in memory, and gone at the next start", message::path(&overlay.place)));
    }
    Ok(overlay)
}

fn look(root: &Root, session: &Session, wanted: Wanted, units: Units) -> Result<(Overlay, Mounted, Claim)> {
    let Wanted { point, place, masks } = wanted;
    let shown = message::path(point);
    let mounted = mounts::at(root, point)?.with_context(|| format!("{shown} is no mount point"))?;
    let entry = overlay_files::fstab_entry(root, point)?;
    let mut overlay = Overlay::new(&mounted.mount, place, entry.as_ref())?;
    if let Some(other) = overlay_files::all(root)?.into_iter().find(|other| other.shares_its_place(&overlay)) {
        bail!(
            "{} cannot be used: what is above {} is kept in {}",
            message::path(&overlay.place),
            message::path(&other.point),
            message::path(&other.place)
        );
    }
    overlay_files::require_no_foreign_unit(root, &overlay)?;
    for name in masks {
        let is_there = root.open_dir(point)?.and_then(|dir| dir.entry(name.as_os_str()).ok().flatten()).is_some();
        // The settings may be for many machines.
        ensure!(is_there || units == Units::CanWait, "there is no {} in {shown} to hide", message::path(name));
        overlay.masks.push(name.clone());
    }
    let claim = place::examine(root, session, &mounted, &overlay)?;
    require_masks(root, &overlay, claim)?;
    Ok((overlay, mounted, claim))
}

/// What is there of an earlier overlay hides what it hid.
fn require_masks(root: &Root, overlay: &Overlay, claim: Claim) -> Result<()> {
    let is_new = overlay_files::above(root, overlay)?.is_none();
    match (claim, overlay.masks.first()) {
        (Claim::Known, Some(name)) if !is_new => bail!(
            "what is kept in {} was there before {} was to be hidden: enable the overlay without, or remove that",
            message::path(&overlay.upper()),
            message::path(name)
        ),
        _ => Ok(()),
    }
}

/// Takes back what [`begin`] did. What an earlier overlay left stays.
fn undo(root: &Root, overlay: &Overlay, claim: Claim) -> String {
    let undone = (|| {
        overlay_files::remove_units(root, overlay)?;
        take_away(root, overlay, Keep::WhatIsAbove)?;
        if claim == Claim::New {
            overlay_files::discard(root, overlay)?;
            overlay_files::remove_discarded(root, overlay)?;
        }
        overlay_files::forget(root, overlay)?;
        if claim == Claim::New {
            overlay_files::give_up_claim(root, overlay);
        }
        Ok::<(), Error>(())
    })();
    match undone {
        Ok(()) => "Everything is as it was".to_owned(),
        Err(error) => format!("Taking it back failed too: {error:#}"),
    }
}
