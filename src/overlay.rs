//! Overlay mode: packages on a mount that can never be writable (docs/overlay.md).
//!
//! [`enable`] lays an overlayfs over it, which is from then on a mount like any other: a session opens and closes it. It is
//! written down first, and laid again by [`lay`] where it is missing when a package run begins. [`disable`] takes it away.

mod laying;
mod place;
mod users;

use std::path::{Path, PathBuf};
use std::slice;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::core::message::{self, Outcome};
use crate::core::mountinfo::Mount;
use crate::core::overlay::Overlay;
use crate::core::overlay::shown::{self, Overlays, Shown, State};
use crate::core::session::Session;
use crate::recover;
use crate::settings::Settings;
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
use crate::sys::overlay_files::{self, Claim, in_root};
use crate::sys::processes;
use crate::sys::state::Locked;

/// Lays an overlay over a mount, and has it laid at each start of the machine. What is above it goes to `place`; what is
/// there of an earlier overlay is there again. One that there is already is laid if it is missing, and its units are written
/// anew.
///
/// # Errors
/// Where there can be none, and why. Everything is then as it was.
pub fn enable(root: &Root, point: &Path, place: Option<&Path>) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let session = locked.session()?;
    nobody_needs_it(root, &session, point)?;
    let shown = message::path(point);
    let mut outcome = Outcome::default();
    let overlay = match overlay_files::of(root, point)? {
        Some(overlay) => {
            ensure!(
                place.is_none_or(|place| overlay.place == place),
                "{shown} has an overlay already, and what is above it is in {}: nothing was changed. First \"rokeep overlay \
                 disable {shown}\"",
                message::path(&overlay.place)
            );
            lay_one(root, &overlay).map_err(|why| anyhow!("{why:#}: nothing was changed"))?;
            overlay_files::write_units(root, &overlay)?;
            overlay
        }
        None => begin(root, &session, point, place, Units::Needed, &mut outcome)?,
    };
    outcome.notes.push(format!(
        "{shown} has an overlay now: what is installed on it is kept in {}",
        message::path(&overlay.upper())
    ));
    Ok(outcome)
}

/// Whether there is to be no overlay if its units cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Units {
    /// There is none then.
    Needed,
    /// A package run needs it now, and may be what makes /etc writable.
    CanWait,
}

/// Looks whether there can be an overlay, tries it where nobody sees it, writes it down, lays it, and writes its units: in
/// that order. Whoever is killed after it was written down has it laid by the next package run. And systemd has to find it
/// laid when it reads the units: a mount that is bound to one that is not there it unmounts.
fn begin(
    root: &Root,
    session: &Session,
    point: &Path,
    place: Option<&Path>,
    units: Units,
    outcome: &mut Outcome,
) -> Result<Overlay> {
    let unchanged = |why: Error| anyhow!("{why:#}: nothing was changed");
    let (overlay, mounted, claim) = look(root, session, point, place).map_err(unchanged)?;
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

fn look(root: &Root, session: &Session, point: &Path, place: Option<&Path>) -> Result<(Overlay, Mounted, Claim)> {
    let shown = message::path(point);
    let mounted = mounts::at(root, point)?.with_context(|| format!("{shown} is no mount point"))?;
    let entry = overlay_files::fstab_entry(root, point)?;
    let overlay = Overlay::new(&mounted.mount, place, entry.as_ref())?;
    if let Some(other) = overlay_files::all(root)?.into_iter().find(|other| other.shares_its_place(&overlay)) {
        bail!(
            "{} cannot be used: what is above {} is kept in {}",
            message::path(&overlay.place),
            message::path(&other.point),
            message::path(&other.place)
        );
    }
    overlay_files::require_no_foreign_unit(root, &overlay)?;
    let claim = place::examine(root, session, &mounted, &overlay)?;
    Ok((overlay, mounted, claim))
}

/// Takes back what [`begin`] did. What an earlier overlay left stays.
fn undo(root: &Root, overlay: &Overlay, claim: Claim) -> String {
    let undone = (|| {
        overlay_files::remove_units(root, overlay)?;
        take_away(root, overlay)?;
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

/// Lays every overlay that is written down or wanted by the settings, and is not there.
///
/// # Errors
/// Where one cannot be laid: then a package would be installed without what is above it.
pub(crate) fn lay(root: &Root, session: &Session, settings: &Settings) -> Result<Vec<String>> {
    let mut outcome = Outcome::default();
    let written = overlay_files::all(root)?;
    for (point, place) in settings.overlays() {
        match (written.iter().find(|overlay| overlay.point == point), place) {
            (Some(overlay), Some(place)) if overlay.place != place => outcome.notes.push(format!(
                "what is above {0} stays in {1}, not in {2} as the settings have it: \"rokeep overlay disable {0}\", and move it",
                message::path(point),
                message::path(&overlay.place),
                message::path(place)
            )),
            (Some(_), _) => {}
            (None, place) => drop(begin(root, session, point, place, Units::CanWait, &mut outcome)?),
        }
    }
    for overlay in overlay_files::all(root)? {
        let shown = message::path(&overlay.point);
        if lay_one(root, &overlay)? {
            outcome.notes.push(format!("{shown} had no overlay, and has one now"));
        }
        if !overlay_files::has_units(root, &overlay) {
            let start = "when the machine starts, as its units are not there";
            outcome
                .notes
                .push(format!("the overlay on {shown} is not laid {start}: \"rokeep overlay enable {shown}\""));
        }
    }
    Ok(outcome.notes)
}

/// Whether one is not there that is written down or wanted by the settings.
///
/// # Errors
/// Where that cannot be told.
pub(crate) fn is_missing(root: &Root, settings: &Settings) -> Result<bool> {
    let written = overlay_files::all_that_can_be_seen(root)?;
    for overlay in &written {
        if laid(root, overlay)?.is_none() {
            return Ok(true);
        }
    }
    Ok(settings.overlays().any(|(point, _)| !written.iter().any(|overlay| overlay.point == point)))
}

/// Fails where dpkg would write below an overlay that is not there. What cannot be told is nobody's mistake at that time.
///
/// # Errors
/// That.
pub(crate) fn require_none_missing(root: &Root) -> Result<()> {
    let is_missing = Settings::load(root).and_then(|settings| is_missing(root, &settings));
    ensure!(
        !is_missing.unwrap_or(false),
        "an overlay is not laid that packages were installed on; \"rokeep overlay status\" says which, and what to do"
    );
    Ok(())
}

/// The mount points that have an overlay, or had one, or are to have one.
///
/// # Errors
/// Where what is written down cannot be read.
pub(crate) fn points(root: &Root, settings: &Settings) -> Result<Vec<PathBuf>> {
    let written = overlay_files::all_that_can_be_seen(root)?.into_iter().map(|overlay| overlay.point);
    let mut points: Vec<PathBuf> = written.chain(settings.overlays().map(|(point, _)| point.to_owned())).collect();
    points.sort();
    points.dedup();
    Ok(points)
}

/// Its mount, if it is there; and no descriptor of it, which would keep it from being unmounted.
fn laid(root: &Root, overlay: &Overlay) -> Result<Option<Mount>> {
    let there = mounts::at(root, &overlay.point)?.map(|mounted| mounted.mount);
    Ok(there.filter(|mount| overlay.is(mount)))
}

/// Whether it had to be laid.
fn lay_one(root: &Root, overlay: &Overlay) -> Result<bool> {
    let there = mounts::at(root, &overlay.point)?;
    laying::require_what_is_above(root, overlay)?;
    match there {
        Some(mounted) if overlay.is(&mounted.mount) => Ok(false),
        there => laying::lay(root, overlay, there).map(|()| true),
    }
}

/// Takes an overlay away: what is below can be seen again. What is above is kept, unless it is to be discarded.
///
/// # Errors
/// Where it is in use, and by whom. It is then still there.
pub fn disable(root: &Root, point: &Path, keep: Keep) -> Result<Outcome> {
    let locked = Locked::wait(root)?;
    let overlay = overlay_files::required(root, point)?;
    let shown = message::path(point);
    let session = locked.session()?;
    nobody_needs_it(root, &session, point)?;
    let aliases = locked.journal()?.records.iter().filter(|record| *record.mount == *point).count();
    ensure!(
        aliases == 0,
        "{shown} has {} there: nothing was changed. First \"rokeep release\"",
        message::count(aliases, "alias")
    );
    let above = overlay_files::above(root, &overlay)?;
    ensure!(
        above.is_some() || keep == Keep::Nothing,
        "what is above {shown} is not at {}: bring it back, or \"rokeep overlay disable --discard {shown}\"",
        message::path(&overlay.upper())
    );
    // Before it is unmounted: systemd unmounts what is bound to a mount that is gone.
    overlay_files::remove_units(root, &overlay)?;
    if let Err(why) = take_away(root, &overlay) {
        let units = overlay_files::write_units(root, &overlay).err();
        bail!("{why:#}{}", units.map_or_else(String::new, |error| format!("; and its units are gone: {error:#}")));
    }
    let mut outcome = Outcome::default();
    outcome.notes.push(format!("{shown} has no overlay any more"));
    let above = above.unwrap_or_default();
    let nothing_is_kept = keep == Keep::Nothing || above.entries == 0;
    if nothing_is_kept {
        overlay_files::discard(root, &overlay)?;
    }
    overlay_files::forget(root, &overlay)?;
    if nothing_is_kept {
        overlay_files::remove_discarded(root, &overlay)?;
        overlay_files::give_up_claim(root, &overlay);
    } else {
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
    if above.entries > 0 {
        outcome.notes.push(format!(
            "dpkg counts packages as installed that have files on {shown} which are not there now; \"dpkg --verify\" names them"
        ));
    }
    let settings = Settings::load(root)?;
    if settings.overlays().any(|(wanted, _)| wanted == point) {
        outcome.notes.push(format!("the next package run lays it again, as {} wants it", crate::settings::PATH));
    }
    Ok(outcome)
}

/// What becomes of what is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It stays where it is.
    WhatIsAbove,
    /// It is removed.
    Nothing,
}

/// Unmounts it, and sees to it that what is below is mounted in its place.
fn take_away(root: &Root, overlay: &Overlay) -> Result<()> {
    let shown = message::path(&overlay.point);
    if let Some(mount) = laid(root, overlay)? {
        match umount2(&in_root(root, &overlay.point), MntFlags::UMOUNT_NOFOLLOW) {
            Err(Errno::EBUSY) => {
                let who = users::of(root, &mount).unwrap_or_else(|error| format!("nobody could be asked ({error:#})"));
                bail!("{shown} is in use, and its overlay is still there: {who}. Stop that, then try again");
            }
            unmounted => unmounted.with_context(|| format!("cannot unmount the overlay over {shown}"))?,
        }
    }
    laying::give_back(root, overlay)
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

/// Each overlay as it is now.
///
/// # Errors
/// Where what is written down, or the mounts, cannot be read.
pub fn status(root: &Root) -> Result<Overlays> {
    let overlays = overlay_files::all(root)?.into_iter().map(|overlay| show(root, overlay)).collect::<Result<_>>()?;
    Ok(Overlays { format: shown::FORMAT, overlays })
}

fn show(root: &Root, overlay: Overlay) -> Result<Shown> {
    let state = laid(root, &overlay)?.map_or(State::Missing, |mount| match mount.flags.refuse_writes() {
        true => State::ReadOnly,
        false => State::Writable,
    });
    let above = overlay_files::above(root, &overlay)?;
    Ok(Shown {
        state,
        has_units: overlay_files::has_units(root, &overlay),
        upper: overlay.upper(),
        upper_bytes: above.map(|above| above.bytes),
        free_bytes: place::free(root, &overlay.place).ok(),
        mount: overlay.point,
        lower: overlay.below.source,
        lower_type: overlay.below.fs_type,
    })
}
