//! Taking an overlay away.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::{binding, copying, is_there, laid, laying, nobody_needs_it, users};
use crate::core::message::{self, Outcome};
use crate::core::overlay::Overlay;
use crate::settings::Settings;
use crate::sys::files::Root;
use crate::sys::mounts;
use crate::sys::overlay_files::{self, Contents};
use crate::sys::state::Locked;

/// Takes an overlay away: what is below can be seen again. What is above is kept, unless it is to be discarded.
///
/// # Errors
/// Where it is in use, and by whom: it is then still there. Where it is not, what is left to be done.
pub fn disable(root: &Root, point: &Path, keep: Keep) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let overlay = overlay_files::required(root, point)?;
    let shown = message::path(point);
    let session = locked.session()?;
    nobody_needs_it(root, &session, point)?;
    require_no_aliases(&locked, &overlay)?;
    let overlay = copying::settle(root, overlay)?;
    let above = overlay_files::above(root, &overlay)?;
    ensure!(
        above.is_some() || keep == Keep::Nothing || overlay_files::is_discarded(root, &overlay),
        "what is above {shown} is not at {}: bring it back, or \"rokeep overlay disable --discard {shown}\"",
        message::path(&overlay.upper())
    );
    // Before it is unmounted: systemd unmounts what is bound to a mount that is gone.
    match overlay.retires {
        Some(_) => overlay_files::remove_units_that_lay(root, &overlay)?,
        None => overlay_files::remove_units(root, &overlay)?,
    }
    if let Err(why) = take_away(root, &overlay, keep) {
        if overlay.retires.is_some() {
            bail!("{why:#}");
        }
        let units = overlay_files::write_units(root, &overlay).err();
        let or = match is_there(root, &overlay) {
            Ok(true) => "; or have the next start of the machine do it (--at-next-start)",
            Ok(false) | Err(_) => "",
        };
        bail!("{why:#}{or}{}", units.map_or_else(String::new, |error| format!("; and its units are gone: {error:#}")));
    }
    overlay_files::remove_units(root, &overlay)?;
    let mut outcome = forget(root, &overlay, above, keep)?;
    let settings = Settings::load(root)?;
    if settings.overlays().any(|wanted| wanted.point == point) {
        outcome.notes.push(format!("the next package run lays it again, as {} wants it", crate::settings::PATH));
    }
    Ok(outcome)
}

/// Nothing of it is mounted any more.
///
/// # Errors
/// Where something of it cannot be removed.
pub(super) fn forget(root: &Root, overlay: &Overlay, above: Option<Contents>, keep: Keep) -> Result<Outcome> {
    let shown = message::path(&overlay.point);
    let mut outcome = Outcome::default();
    outcome.notes.push(format!("{shown} has no overlay any more"));
    if mounts::at(root, &overlay.point)?.is_none() {
        outcome.notes.push(format!("nothing is mounted at {shown} now: \"mount {shown}\""));
    }
    let was_begun = overlay_files::is_discarded(root, overlay);
    let is_empty = above.is_some_and(|above| above.entries == 0);
    let above = above.unwrap_or_default();
    if keep == Keep::Nothing || is_empty || was_begun {
        forget_all(root, overlay, keep)?;
        outcome.notes.extend(was_begun.then(|| "what was above it is discarded, as was begun before".to_owned()));
    } else {
        overlay_files::forget(root, overlay).with_context(|| is_left(overlay, keep))?;
        outcome.notes.extend(overlay_files::remove_old(root, overlay).err().map(|why| format!("{why:#}")));
        let place = match overlay.is_in_its_usual_place() {
            true => String::new(),
            false => format!(" --upper {}", message::path(&overlay.place)),
        };
        outcome.notes.push(format!(
            "what was installed on it is kept in {} ({}), and is there again after \"rokeep overlay enable {shown}{place}\"",
            message::path(&overlay.upper()),
            message::bytes(above.bytes)
        ));
    }
    if above.entries > 0 || was_begun {
        outcome.notes.push(format!(
            "dpkg counts packages as installed that have files on {shown} which are not there now; \"dpkg --verify\" names them"
        ));
    }
    Ok(outcome)
}

/// Discards what is above. Whoever is killed after that has it be found so, as long as it is written down.
fn forget_all(root: &Root, overlay: &Overlay, keep: Keep) -> Result<()> {
    let discarded = match overlay_files::is_discarded(root, overlay) {
        true => Ok(()),
        false => overlay_files::discard(root, overlay),
    };
    discarded.and_then(|()| overlay_files::forget(root, overlay)).with_context(|| is_left(overlay, keep))?;
    overlay_files::remove_discarded(root, overlay).with_context(|| {
        format!(
            "{} has no overlay any more, but what was above it takes up room in {}",
            message::path(&overlay.point),
            message::path(&overlay.place)
        )
    })?;
    overlay_files::give_up_claim(root, overlay);
    Ok(())
}

fn is_left(overlay: &Overlay, keep: Keep) -> String {
    let shown = message::path(&overlay.point);
    let discard = match keep {
        Keep::WhatIsAbove => "",
        Keep::Nothing => " --discard",
    };
    let next = match overlay.retires {
        Some(_) => "it is still written down",
        None => "the next package run lays it again",
    };
    format!(
        "{shown} has no overlay any more, but {next}, unless \"rokeep overlay disable{discard} {shown}\" does what is left before"
    )
}

/// What becomes of what is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It stays where it is.
    WhatIsAbove,
    /// It is removed.
    Nothing,
}

/// An alias is a name on what would be there no more.
///
/// # Errors
/// Where there is one.
pub(super) fn require_no_aliases(locked: &Locked, overlay: &Overlay) -> Result<()> {
    let is_there = |mount: &Path| *mount == *overlay.point || overlay.binds().any(|bind| *mount == *bind.to);
    let aliases = locked.journal()?.records.iter().filter(|record| is_there(&record.mount)).count();
    ensure!(
        aliases == 0,
        "{} has {} there: nothing was changed. First \"rokeep release\"",
        message::path(&overlay.point),
        message::count(aliases, "alias")
    );
    Ok(())
}

/// Unmounts all of it, and sees to it that what is below is mounted in its place.
///
/// # Errors
/// Where it is in use, and by whom: it is then still there. Or it is not, and what is below could not be put into its place,
/// and there alone.
pub(super) fn take_away(root: &Root, overlay: &Overlay, keep: Keep) -> Result<()> {
    binding::unmount(root, overlay)?;
    unmount(root, overlay)?;
    laying::give_back(root, overlay).with_context(|| {
        let now = match mounts::at(root, &overlay.point) {
            Ok(Some(_)) => "what is below it is seen there",
            Ok(None) => "nothing is mounted there",
            Err(_) => "what is mounted there could not be looked at",
        };
        format!("{}; {now}", is_left(overlay, keep))
    })
}

/// Unmounts the overlay itself, if it is there. What is below keeps its other name.
///
/// # Errors
/// Where it is in use, and by whom.
pub(super) fn unmount(root: &Root, overlay: &Overlay) -> Result<()> {
    match laid(root, overlay)? {
        Some(mount) => users::unmount(root, &mount, "its overlay is "),
        None => Ok(()),
    }
}
