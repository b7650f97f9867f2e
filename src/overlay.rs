//! Overlay mode: packages on a mount that can never be writable (docs/overlay.md).
//!
//! [`enable`] lays an overlayfs over it, which is from then on a mount like any other: a session opens and closes it. It is
//! written down first, and laid again by [`lay`] where it is missing when a package run begins. [`disable`] takes it away;
//! [`retire`] has the next start of the machine do it.
//!
//! [`diff`] says what is above, [`reset`] has it be nothing. [`bind`] does without the overlay: directories of what is above
//! are mounted one by one over what is below, which may change then; what else is seen in them can be copied first.

mod below;
mod binding;
mod comparing;
mod copying;
mod disabling;
mod elsewhere;
mod enabling;
mod laying;
mod place;
mod resetting;
mod retiring;
mod since;
mod users;

use std::path::{Path, PathBuf};
use std::slice;

use anyhow::{Context, Result, bail, ensure};

pub use self::below::note_after_a_run;
use self::binding::Completed;
pub use self::binding::{Bound, bind};
pub use self::comparing::diff;
pub use self::disabling::{Keep, disable};
pub use self::elsewhere::require_nothing_elsewhere;
use self::enabling::{Units, begin};
pub use self::enabling::{Wanted, enable};
pub use self::resetting::reset;
pub(crate) use self::retiring::finish_all;
pub use self::retiring::retire;
pub(crate) use self::since::Before;
use crate::core::message;
use crate::core::mountinfo::Mount;
use crate::core::overlay::Overlay;
use crate::core::overlay::seen::When;
use crate::core::overlay::shown::{self, Overlays, Shown, State};
use crate::core::session::Session;
use crate::recover;
use crate::settings::{self, Settings};
use crate::sys::files::Root;
use crate::sys::mounts;
use crate::sys::overlay_files;
use crate::sys::processes;

/// Lays every overlay that is written down or wanted by the settings, and is not there.
///
/// # Errors
/// Where one cannot be laid: then a package would be installed without what is above it.
pub(crate) fn lay(root: &Root, session: &Session, settings: &Settings) -> Result<Vec<String>> {
    let mut outcome = finish_all(root)?;
    let written = overlay_files::all(root)?;
    for wanted in settings.overlays() {
        let Some(overlay) = written.iter().find(|overlay| overlay.point == wanted.point) else {
            let overlay = begin(root, session, wanted, Units::CanWait, &mut outcome)?;
            outcome.notes.extend(below::note_or_say(root, &overlay));
            continue;
        };
        let shown = message::path(wanted.point);
        if let Some(place) = wanted.place.filter(|place| overlay.place != *place) {
            outcome.notes.push(format!(
                "what is above {shown} stays in {}, not in {} as the settings have it: \"rokeep overlay disable {shown}\", and \
                 move it",
                message::path(&overlay.place),
                message::path(place)
            ));
        }
        outcome.notes.extend(overlay.not_masked(wanted.masks).map(|name| {
            format!(
                "{} is not hidden in {shown} as the settings have it: that comes before anything is installed",
                message::path(name)
            )
        }));
    }
    for overlay in overlay_files::all(root)? {
        let overlay = copying::settle(root, overlay)?;
        outcome.notes.extend(lay_one(root, &overlay)?);
        // One whose directories could not be mounted is written down as an overlay again.
        let overlay = overlay_files::of(root, &overlay.point)?.unwrap_or(overlay);
        outcome.notes.extend(match below::changed(root, &overlay)? {
            Some(changed) => Some(below::say(&overlay, &changed)),
            None => below::note_this_start(root, &overlay).err().map(|why| format!("{why:#}")),
        });
        outcome.notes.extend(overlay_files::remove_old(root, &overlay).err().map(|why| format!("{why:#}")));
        outcome.notes.extend(say_missing_units(root, &overlay));
    }
    Ok(outcome.notes)
}

fn say_missing_units(root: &Root, overlay: &Overlay) -> Option<String> {
    let shown = message::path(&overlay.point);
    let (what, again) = match overlay.is_bound() {
        true => (format!("the directories of {shown} are not mounted"), "bind"),
        false => (format!("the overlay on {shown} is not laid"), "enable"),
    };
    let is_missing = !overlay_files::has_units(root, overlay);
    is_missing.then(|| {
        format!(
            "{what} when the machine starts, or not as it should be, as its units are not there, or not as they should be: \"rokeep \
             overlay {again} {shown}\""
        )
    })
}

/// What a package run has to do for overlays, whatever else there is for it to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToDo {
    /// All are there.
    Nothing,
    /// One goes, or is gone and only not forgotten.
    Forget,
    /// One is not there that is written down or wanted by the settings.
    Lay,
}

/// What that is.
///
/// # Errors
/// Where it cannot be told.
pub(crate) fn to_do(root: &Root, settings: &Settings) -> Result<ToDo> {
    let written = overlay_files::all_that_can_be_seen(root)?;
    if is_any_missing(root, &written, settings)? {
        return Ok(ToDo::Lay);
    }
    let is_any_retiring = written.iter().any(|overlay| overlay.retires.is_some());
    Ok(if is_any_retiring { ToDo::Forget } else { ToDo::Nothing })
}

fn is_any_missing(root: &Root, written: &[Overlay], settings: &Settings) -> Result<bool> {
    for overlay in written {
        if overlay.retires.is_none() && !is_there(root, overlay)? {
            return Ok(true);
        }
    }
    Ok(settings
        .overlays()
        .any(|wanted| !written.iter().any(|overlay| overlay.retires.is_none() && overlay.point == wanted.point)))
}

/// Whether what was installed can be seen: by the overlay, or by all that is mounted in its place.
fn is_there(root: &Root, overlay: &Overlay) -> Result<bool> {
    match overlay.is_bound() {
        true => binding::is_complete(root, overlay),
        false => Ok(laid(root, overlay)?.is_some()),
    }
}

/// Fails where dpkg would write below an overlay that is not there. What cannot be told is nobody's mistake at that time.
///
/// # Errors
/// That.
pub(crate) fn require_none_missing(root: &Root) -> Result<()> {
    let Ok(written) = overlay_files::all_that_can_be_seen(root) else { return Ok(()) };
    retiring::require_none_to_go(root, &written)?;
    let is_missing = Settings::load(root).and_then(|settings| is_any_missing(root, &written, &settings));
    ensure!(
        !is_missing.unwrap_or(false),
        "an overlay is not laid that packages were installed on; \"rokeep overlay status\" says which, and what to do"
    );
    Ok(())
}

/// Each mount point that has an overlay, or had one, or is to have one; and what is managed in its place: itself, or the
/// directories that are mounted one by one.
///
/// # Errors
/// Where what is written down, or the mounts, cannot be read.
pub(crate) fn points(root: &Root, settings: &Settings) -> Result<Vec<(PathBuf, Vec<PathBuf>)>> {
    let mut points = Vec::new();
    for overlay in overlay_files::all_that_can_be_seen(root)? {
        if overlay.retires.is_some() && !is_there(root, &overlay)? {
            continue;
        }
        let by_itself = !overlay.is_bound() || laid(root, &overlay)?.is_some();
        let managed = if by_itself { vec![overlay.point.clone()] } else { binding::managed(&overlay) };
        points.push((overlay.point, managed));
    }
    let is_new = |wanted: &Wanted| !points.iter().any(|(point, _)| point == wanted.point);
    let wanted: Vec<_> = settings.overlays().filter(is_new).map(|wanted| wanted.point.to_owned()).collect();
    points.extend(wanted.into_iter().map(|point| (point.clone(), vec![point])));
    Ok(points)
}

/// Its mount, if it is there; and no descriptor of it, which would keep it from being unmounted.
fn laid(root: &Root, overlay: &Overlay) -> Result<Option<Mount>> {
    let there = mounts::at(root, &overlay.point)?.map(|mounted| mounted.mount);
    Ok(there.filter(|mount| overlay.is(mount)))
}

/// Lays one, or mounts the directories in its place, if that is missing. Answers what to say of that.
fn lay_one(root: &Root, overlay: &Overlay) -> Result<Option<String>> {
    laying::require_what_is_above(root, overlay)?;
    if overlay.is_bound() {
        return binding::complete(root, overlay).map(Completed::note);
    }
    match mounts::at(root, &overlay.point)? {
        Some(mounted) if overlay.is(&mounted.mount) => {
            let shown = message::path(&overlay.point);
            ensure!(
                laying::has_what_is_there(root, overlay)?,
                "what is above {shown} is not what is in {} now (did that come from a backup?): \"rokeep overlay enable {shown}\" \
                 takes what is there",
                message::path(&overlay.upper())
            );
            Ok(None)
        }
        there => {
            laying::lay(root, overlay, there)?;
            Ok(Some(format!("{} had no overlay, and has one now", message::path(&overlay.point))))
        }
    }
}

fn nobody_needs_it(root: &Root, session: &Session, point: &Path) -> Result<()> {
    let mut session = session.clone();
    session.forget_dead(processes::is_alive);
    // "rokeep run" makes /etc writable for this.
    session.frontends.retain(|frontend| !processes::i_descend_from(slice::from_ref(frontend)));
    if let Some(at_work) = recover::somebody_at_work(root, &session) {
        let process = message::process(&at_work.command, at_work.pid);
        bail!("{process} is at work: nothing was changed; try again when it is done");
    }
    let is_noted = session.mounts.iter().any(|noted| noted.mount.point == point);
    ensure!(!is_noted, "{0} is still to be put back: \"rokeep remount ro {0}\", then try again", message::path(point));
    Ok(())
}

/// A path that somebody has named, absolute or from the mount point; from there.
fn on_the_mount(overlay: &Overlay, name: &Path) -> Result<PathBuf> {
    let absolute = settings::plain(&overlay.point.join(name));
    let path = absolute.as_deref().and_then(|path| path.strip_prefix(&overlay.point).ok()).map(Path::to_owned);
    path.filter(|path| !path.as_os_str().is_empty()).with_context(|| {
        format!("{} is not below {}: nothing was changed", message::path(name), message::path(&overlay.point))
    })
}

/// Each overlay as it is now.
///
/// # Errors
/// Where what is written down, or the mounts, cannot be read.
pub fn status(root: &Root) -> Result<Overlays> {
    let overlays = overlay_files::all(root)?.into_iter().map(|overlay| show(root, overlay)).collect::<Result<_>>()?;
    Ok(Overlays { format: shown::FORMAT, overlays })
}

fn show(root: &Root, overlay: Overlay) -> Result<Shown> {
    let mut mounts: Vec<Mount> = laid(root, &overlay)?.into_iter().collect();
    if mounts.is_empty() && overlay.is_bound() && binding::is_complete(root, &overlay)? {
        mounts = binding::mounted(root, &overlay)?;
    }
    let state = match mounts.as_slice() {
        [] => State::Missing,
        mounts if mounts.iter().all(|mount| mount.flags.refuse_writes()) => State::ReadOnly,
        _ => State::Writable,
    };
    let above = overlay_files::above(root, &overlay)?;
    let is_laid = state != State::Missing && !overlay.is_bound();
    let is_exchanged = is_laid && above.is_some() && !laying::has_what_is_there(root, &overlay)?;
    let changed = below::changed(root, &overlay)?;
    Ok(Shown {
        state,
        has_units: overlay.retires.is_some() || overlay_files::has_units(root, &overlay),
        is_retiring: overlay.retires.is_some(),
        is_over: retiring::is_over(root, &overlay)?,
        directories: binding::managed(&overlay),
        upper: overlay.upper(),
        upper_bytes: above.filter(|_| !is_exchanged).map(|above| above.bytes),
        free_bytes: place::free(root, &overlay.place).ok(),
        needs_laying_anew: changed.as_ref().is_some_and(|changed| changed.when == When::PerhapsSince),
        lower_changed: changed.map(|changed| changed.paths).unwrap_or_default(),
        mount: overlay.point,
        lower: overlay.below.source,
        lower_type: overlay.below.fs_type,
    })
}
