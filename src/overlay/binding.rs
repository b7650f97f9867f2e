//! Doing without the overlay: directories that live wholly in what is above are mounted one by one over those of the same
//! names below. What is below may change then, and be unreadable for root elsewhere. What else is seen in a directory may be
//! copied first, so that it lives there. And back.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use super::disabling::{require_no_aliases, unmount as unmount_overlay};
use super::{comparing, copying, laid, lay_one, laying, nobody_needs_it, retiring, users};
use crate::core::message::{self, Outcome};
use crate::core::mount_options::Options;
use crate::core::mount_state::{Access, Flags};
use crate::core::mountinfo::Mount;
use crate::core::overlay::binds::{self, Directories, Obstacle};
use crate::core::overlay::layers::{Above, Layered};
use crate::core::overlay::{Bind, Overlay};
use crate::sys::files::{Directory, Root};
use crate::sys::layers::{self, Within};
use crate::sys::mounts::{self, Mounted};
use crate::sys::overlay_files::{self, in_root};
use crate::sys::overlaying;
use crate::sys::remounting::{self, Subject};
use crate::sys::state::Locked;

/// What came of it.
#[derive(Debug)]
pub enum Bound {
    /// The directories are mounted.
    Done(Outcome),
    /// Something is above that would be seen no more: all of that, in words. Nothing was changed.
    InTheWay(String),
}

/// Mounts the directories of what is above one by one, in place of the overlay, now and at each start of the machine. Of the
/// `copied` all that is seen is copied above first. Where they are mounted so already, what is missing of them is, and further
/// ones that are copied, and the units are written anew.
///
/// # Errors
/// Where the overlay is in use, or a directory cannot be copied or mounted. Everything is then as it was.
pub fn bind(root: &Root, point: &Path, copied: &[PathBuf]) -> Result<Bound> {
    let locked = Locked::wait(root)?;
    let overlay = overlay_files::required(root, point)?;
    nobody_needs_it(root, &locked.session()?, point)?;
    let overlay = copying::settle(root, overlay)?;
    let shown = message::path(point);
    // One that is gone since the machine was started has nobody in it.
    if !retiring::is_over(root, &overlay)? {
        retiring::require_to_stay(&overlay)?;
    }
    let copied = copying::named(root, &overlay, copied)?;
    let (bound, note) = match overlay.is_bound() {
        true => match retiring::stay(root, &overlay, |overlay| complete(root, overlay))? {
            Completed::Bound(note) => {
                let bound = overlay.that_stays();
                overlay_files::write_units(root, &bound)?;
                (with_more(root, &bound, &copied)?, note)
            }
            Completed::Overlay(overlay, why) => {
                overlay_files::write_units(root, &overlay)?;
                bail!("{why}");
            }
        },
        false => {
            require_no_aliases(&locked, &overlay)?;
            let directories = match directories(root, &overlay, &copied)? {
                Ok(directories) => directories,
                Err(obstacles) => return Ok(Bound::InTheWay(binds::text(point, &obstacles))),
            };
            ensure!(
                !directories.bound.is_empty(),
                "nothing is above {shown} that could be mounted: nothing was changed; \"rokeep overlay disable {shown}\" takes the \
                 overlay away"
            );
            (begin(root, &overlay, directories)?, None)
        }
    };
    let copies = overlay_files::remove_old(root, &bound).err().map(|why| format!("{why:#}"));
    let units = overlay_files::write_units(root, &bound);
    units
        .with_context(|| format!("the directories of {shown} are mounted, but will not be when the machine starts"))?;
    let directories: Vec<String> = bound.binds().map(|bind| message::path(&bind.to)).collect();
    let done = format!(
        "{shown} has no overlay: {} of it, from {}, {} mounted one by one",
        message::few(&directories, 5),
        message::path(&bound.upper()),
        if directories.len() == 1 { "is" } else { "are" }
    );
    let soon = (bound.is_mounted_early() && bound != overlay).then(|| {
        format!(
            "what runs has open what is below {shown}, and finds above what it opens now: start the machine anew soon"
        )
    });
    let notes = note.into_iter().chain([done]).chain(soon).chain(copies).collect();
    Ok(Bound::Done(Outcome { notes, ..Outcome::default() }))
}

/// Which can be mounted, or what is in the way.
fn directories(root: &Root, overlay: &Overlay, copied: &[PathBuf]) -> Result<Result<Directories, Vec<Obstacle>>> {
    let (upper, lower) = (in_root(root, &overlay.upper()), in_root(root, &comparing::below(root, overlay)?));
    let shows_below = |directory: &Layered| layers::shows_below(&upper, &lower, directory);
    Ok(binds::directories(&comparing::layered(root, overlay)?, copied, shows_below))
}

/// What is copied takes its place before it is written down that directories are mounted: one that is lives wholly above. Whoever
/// is killed after that has it finished by the next package run, and before that what was there be there again.
fn begin(root: &Root, overlay: &Overlay, directories: Directories) -> Result<Overlay> {
    let bound = Overlay { bound: directories.bound, ..overlay.that_stays() };
    require_nothing_there(root, &bound)?;
    overlay_files::require_place_for_units(root)?;
    let laid_before = laid(root, overlay)?;
    let as_it_was = match laid_before.is_some() {
        true => "The overlay is as it was",
        false => "Everything is as it was",
    };
    // Copies may take minutes, so whoever uses the overlay is named before.
    laid_before
        .as_ref()
        .map_or(Ok(()), |mount| users::require_none(root, mount, "its overlay is "))
        .and_then(|()| copying::make(root, overlay, &directories.copied))
        .map_err(|why| anyhow!("{why:#}. {as_it_was}"))?;
    // systemd unmounts what is bound to a mount that is gone.
    let begun = overlay_files::remove_units(root, overlay)
        .and_then(|()| unmount_overlay(root, overlay))
        .and_then(|()| laying::give_back(root, overlay))
        .and_then(|()| exchange(root, overlay, &directories.copied))
        .and_then(|()| overlay_files::write_down(root, &bound))
        .and_then(|()| finish(root, &bound));
    let Err(why) = begun else { return Ok(bound) };
    let before = Before { overlay, was_laid: laid_before.is_some(), copied: &directories.copied };
    Err(match take_back(root, &before, &bound) {
        Ok(()) => anyhow!("{why:#}. {as_it_was}"),
        Err(error) => anyhow!("{why:#}. Taking that back failed too: {error:#}{}", units_again(root, overlay)),
    })
}

/// Who has it in a mount namespace of his own would see it change while it is mounted, as services may have it for long.
fn require_nobody_with_it(root: &Root, overlay: &Overlay) -> Result<()> {
    let somebody = users::who_has(root, |mount| overlay.has_what_is_above(mount))?;
    let Some(process) = somebody else { return Ok(()) };
    bail!(
        "the overlay on {} is still mounted where {process} sees it: unmount it there, or stop that",
        message::path(&overlay.point)
    )
}

fn exchange(root: &Root, overlay: &Overlay, copied: &[PathBuf]) -> Result<()> {
    if copied.is_empty() {
        return Ok(());
    }
    require_nobody_with_it(root, overlay)?;
    overlay_files::write_down(root, &Overlay { exchanged: copied.to_vec(), ..overlay.clone() })?;
    copying::put_in_place(root, overlay, copied)
}

/// How it was before directories of it were mounted.
struct Before<'a> {
    overlay: &'a Overlay,
    was_laid: bool,
    copied: &'a [PathBuf],
}

/// First it is written down how it was. Where that cannot be, everything stays in its place for the next package run.
fn take_back(root: &Root, Before { overlay, was_laid, copied }: &Before, bound: &Overlay) -> Result<()> {
    bound.binds().try_for_each(|bind| unmount_one(root, &bind))?;
    if !copied.is_empty() {
        is_written_down(root, &Overlay { exchanged: copied.to_vec(), ..(*overlay).clone() })?;
        copying::take_back(root, overlay, copied)?;
    }
    is_written_down(root, overlay)?;
    if *was_laid {
        lay_one(root, overlay)?;
    }
    overlay_files::remove_old(root, overlay)?;
    write_units_of_what_is_there(root, overlay)
}

/// Writes it down. It may be there all the same, and only not be known to last.
fn is_written_down(root: &Root, overlay: &Overlay) -> Result<()> {
    overlay_files::write_down(root, overlay).or_else(|why| {
        match overlay_files::of(root, &overlay.point)?.as_ref() == Some(overlay) {
            true => Ok(()),
            false => Err(why),
        }
    })
}

/// The machine is to mount when it starts what is written down. Where that is an overlay that is not laid, the next package run
/// lays it, and says that there are none: systemd would unmount what is bound to a mount that is not there.
fn write_units_of_what_is_there(root: &Root, overlay: &Overlay) -> Result<()> {
    let is_laid = laid(root, overlay)?.is_some();
    match overlay_files::of(root, &overlay.point)? {
        Some(written) if written.retires.is_none() && (is_laid || written.is_bound()) => {
            if overlay_files::has_units(root, &written) { Ok(()) } else { overlay_files::write_units(root, &written) }
        }
        _ => Ok(()),
    }
}

fn units_again(root: &Root, overlay: &Overlay) -> String {
    let units = write_units_of_what_is_there(root, overlay);
    units.err().map_or_else(String::new, |error| format!("; nor are its units there: {error:#}"))
}

/// Further directories beside those that are mounted, of which everything is copied.
///
/// # Errors
/// Where one cannot be copied or mounted. The others are mounted as before.
fn with_more(root: &Root, bound: &Overlay, copied: &[PathBuf]) -> Result<Overlay> {
    let is_new = |path: &&PathBuf| !bound.bound.iter().any(|directory| path.starts_with(directory));
    let new: Vec<PathBuf> = copied.iter().filter(is_new).cloned().collect();
    if new.is_empty() {
        return Ok(bound.clone());
    }
    let added = Overlay { bound: new.clone(), ..bound.clone() };
    require_nothing_there(root, &added)?;
    overlay_files::require_place_for_units(root)?;
    copying::make(root, bound, &new).map_err(|why| anyhow!("{why:#}. The others are mounted as before"))?;
    let all = Overlay { bound: binds::in_order(bound.bound.iter().chain(&new).cloned()), ..bound.clone() };
    let mounted = exchange(root, bound, &new)
        .and_then(|()| overlay_files::write_down(root, &all))
        .and_then(|()| finish(root, &all));
    let Err(why) = mounted else { return Ok(all) };
    let before = Before { overlay: bound, was_laid: false, copied: &new };
    Err(match take_back(root, &before, &added) {
        Ok(()) => anyhow!("{why:#}. The others are mounted as before"),
        Err(error) => anyhow!("{why:#}. Taking that back failed too: {error:#}{}", units_again(root, bound)),
    })
}

/// Fails where something is mounted at one of the directories, or in it: it would be covered, and is in no copy.
fn require_nothing_there(root: &Root, bound: &Overlay) -> Result<()> {
    let is_there = |mount: &&Mount| bound.binds().any(|bind| mount.point.starts_with(&bind.to));
    let table = mounts::table(root)?;
    let Some(other) = table.iter().find(is_there) else { return Ok(()) };
    let (point, other) = (message::path(&bound.point), message::path(&other.point));
    bail!(
        "{other} is mounted, and would be covered: nothing was changed. Unmount it first, or, if it is a directory of {point} that \
         was mounted by itself, have it in none of those that are copied"
    )
}

fn back_to_overlay(root: &Root, bound: &Overlay) -> Result<Overlay> {
    unmount(root, bound)?;
    overlay_files::remove_units(root, bound)?;
    let overlay = bound.unbound();
    overlay_files::write_down(root, &overlay)?;
    Ok(overlay)
}

/// An overlay in place of the directories; the caller writes its units.
///
/// # Errors
/// Where one of them is in use, and by whom, or the overlay cannot be laid. All are then mounted as before.
pub fn back(root: &Root, locked: &Locked, bound: &Overlay) -> Result<Overlay> {
    require_no_aliases(locked, bound)?;
    laying::require_what_is_above(root, bound)?;
    let overlay = bound.unbound();
    let laid = back_to_overlay(root, bound).and_then(|overlay| lay_one(root, &overlay));
    let Err(why) = laid else { return Ok(overlay) };
    let undone = overlay_files::write_down(root, bound)
        .and_then(|()| complete(root, bound))
        .and_then(|_| overlay_files::write_units(root, bound));
    match undone {
        Ok(()) => bail!("{why:#}. The directories are mounted as before"),
        Err(error) => bail!("{why:#}. Mounting the directories again failed too: {error:#}"),
    }
}

/// What came of finishing what was written down.
pub enum Completed {
    /// The directories are mounted, and what to say of that.
    Bound(Option<String>),
    /// They cannot be: it is an overlay, is written down so, and what to say of that. Its units are not there.
    Overlay(Box<Overlay>, String),
}

impl Completed {
    /// What to say of it.
    pub fn note(self) -> Option<String> {
        match self {
            Completed::Bound(note) => note,
            Completed::Overlay(_, note) => Some(note),
        }
    }
}

/// Mounts what is missing. Where an overlay is still there, it goes first; if it cannot, it stays one.
///
/// # Errors
/// Where what is below is not there, or a directory cannot be mounted.
pub fn complete(root: &Root, bound: &Overlay) -> Result<Completed> {
    let shown = message::path(&bound.point);
    let was_laid = laid(root, bound)?.is_some();
    let note = match (finish(root, bound), was_laid) {
        (Ok(0), false) => None,
        (Ok(_), false) => Some(format!("directories of {shown} were not mounted, and are now")),
        (Ok(_), true) => Some(format!("directories of {shown} are mounted one by one now, as was begun before")),
        (Err(why), false) => return Err(why),
        (Err(why), true) => {
            let overlay = back_to_overlay(root, bound)?;
            lay_one(root, &overlay)?;
            let why = format!("{shown} keeps its overlay, as its directories could not be mounted one by one: {why:#}");
            return Ok(Completed::Overlay(Box::new(overlay), why));
        }
    };
    Ok(Completed::Bound(note))
}

/// The overlay away, what is below to its point, and the directories over it. Answers how many were missing.
fn finish(root: &Root, bound: &Overlay) -> Result<usize> {
    unmount_overlay(root, bound)?;
    laying::give_back(root, bound)?;
    let below = below(root, bound)?;
    let mut missing = Vec::new();
    for bind in bound.binds() {
        if !is_mounted(root, &bind)? {
            make_whole(root, &bind)?;
            missing.push(bind);
        }
    }
    // What some need is in others, and so they come one right after the other.
    missing.iter().try_for_each(|bind| mount(root, bound, &below, bind))?;
    // What is below may change now.
    overlay_files::forget_seen(root, bound);
    Ok(missing.len())
}

fn below(root: &Root, bound: &Overlay) -> Result<Mounted> {
    let (shown, source) = (message::path(&bound.point), message::path(&bound.below.source));
    match mounts::at(root, &bound.point)? {
        Some(mounted) if bound.below.can_be(&mounted.mount) => Ok(mounted),
        Some(_) => {
            bail!("what is mounted at {shown} is not what directories are mounted over ({source}): unmount it first")
        }
        None => bail!("{shown} is not mounted ({source}): \"mount {shown}\", then try again"),
    }
}

/// Whether all of them are mounted, and what they are mounted over.
///
/// # Errors
/// Where the mounts cannot be looked at.
pub fn is_complete(root: &Root, bound: &Overlay) -> Result<bool> {
    for bind in bound.binds() {
        if !is_mounted(root, &bind).unwrap_or(false) {
            return Ok(false);
        }
    }
    Ok(mounts::at(root, &bound.point)?.is_some_and(|mounted| bound.below.can_be(&mounted.mount)))
}

/// Those that are mounted.
///
/// # Errors
/// Where the mounts cannot be looked at.
pub fn mounted(root: &Root, bound: &Overlay) -> Result<Vec<Mount>> {
    let at = |bind: Bind| Ok(mounts::at(root, &bind.to)?.map(|mounted| mounted.mount));
    bound.binds().filter_map(|bind| at(bind).transpose()).collect()
}

/// Whether it is; another thing in its place is an error.
fn is_mounted(root: &Root, bind: &Bind) -> Result<bool> {
    let Some(there) = mounts::at(root, &bind.to)? else { return Ok(false) };
    let from = root.open_dir(&bind.from)?.with_context(|| format!("{} is gone", message::path(&bind.from)))?;
    let there = root.open_dir(&there.mount.point)?.with_context(|| format!("{} is gone", message::path(&bind.to)))?;
    ensure!(
        from.stat()?.inode == there.stat()?.inode,
        "something else is mounted at {}: unmount it first",
        message::path(&bind.to)
    );
    Ok(true)
}

/// Has nothing of what is below be seen in a directory, by what it says itself: then it stays so if there is an overlay again;
/// and nothing in it hides anything any more.
fn make_whole(root: &Root, bind: &Bind) -> Result<()> {
    let from = in_root(root, &bind.from);
    let failed = || format!("cannot have {} be by itself", message::path(&bind.from));
    layers::make_opaque(&from).with_context(failed)?;
    let mut hiding = Vec::new();
    let nothing = Path::new("/nonexistent");
    let mut look = |layered: Layered| {
        match layered.above {
            Above::Whiteout => hiding.push(layered.path),
            Above::Directory { .. } | Above::File { .. } => {}
        }
        Within::Too
    };
    layers::walk(&from, nothing, &mut look).with_context(failed)?;
    let top = root.open_dir(&bind.from)?.with_context(failed)?;
    hiding.iter().try_for_each(|path| layers::remove_whiteout(&top, path)).with_context(failed)
}

/// Read-only, with the flags of what is below; and what is mounted over the one does not appear over the other.
fn mount(root: &Root, bound: &Overlay, below: &Mounted, bind: &Bind) -> Result<()> {
    let (from, to) = (message::path(&bind.from), message::path(&bind.to));
    let failed = || format!("cannot mount {from} at {to}");
    let source = root.open_dir(&bind.from)?.with_context(|| format!("{from} is gone"))?;
    let over = root.open_dir(&bind.to)?;
    let over = over.with_context(|| format!("{to} is not below: make an empty directory of that name there"))?;
    ensure!(
        over.stat()?.mount_id == below.mount.id,
        "{to} is not on what is mounted at {}",
        message::path(&bound.point)
    );
    let options = Options { mount: bound.below.flags.join(",").into_bytes(), ..Options::default() };
    let copy = remounting::copy(&source).with_context(failed)?;
    let restricted = remounting::set_private(&copy)
        .and_then(|()| remounting::set_permitted(&copy, &options.of_mount()))
        .and_then(|()| remounting::set_attribute(&copy, Access::ReadOnly));
    match restricted {
        Ok(()) => overlaying::attach(&copy, &over).with_context(failed),
        // Before Linux 5.12.
        Err(Errno::ENOSYS) => mount_by_path(root, bound, &copy, &over, &options).with_context(failed),
        Err(errno) => Err(errno).with_context(failed),
    }
}

/// Of what is nowhere, mount(2) changes nothing. So it becomes as it has to be where only root sees it, and a copy of that is
/// mounted.
fn mount_by_path(root: &Root, bound: &Overlay, copy: impl AsFd, over: &Directory, options: &Options) -> Result<()> {
    let aside = bound.lower();
    let path = in_root(root, &aside);
    let directory = root.open_dir(&aside)?.with_context(|| format!("{} is not there", message::path(&aside)))?;
    overlaying::attach(&copy, &directory)?;
    let made = (|| {
        laying::set_private_by_path(&path)?;
        let subject = Subject { root: &copy, flags: Flags::WRITABLE, options };
        remounting::set_mount(subject, Access::ReadOnly)?;
        overlaying::attach(remounting::copy(&copy)?, over)
    })();
    umount2(&path, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)?;
    Ok(made?)
}

/// Unmounts the directories.
///
/// # Errors
/// Where one is in use, and by whom. All are then mounted again.
pub fn unmount(root: &Root, bound: &Overlay) -> Result<()> {
    let unmounted = bound.binds().try_for_each(|bind| unmount_one(root, &bind));
    unmounted.map_err(|why| match finish(root, bound) {
        Ok(_) => why,
        Err(error) => anyhow!("{why:#}. Mounting the others again failed too: {error:#}"),
    })
}

fn unmount_one(root: &Root, bind: &Bind) -> Result<()> {
    let Some(mount) = mounts::at(root, &bind.to)?.map(|mounted| mounted.mount) else { return Ok(()) };
    // What was removed there is mounted all the same.
    let is_gone = root.open_dir(&bind.from)?.is_none() && mount.root.as_os_str().as_bytes().ends_with(b"//deleted");
    if !is_gone && !is_mounted(root, bind)? {
        return Ok(());
    }
    users::unmount(root, &mount, "")
}

/// The directories that are managed in place of the mount.
pub fn managed(bound: &Overlay) -> Vec<PathBuf> {
    bound.binds().map(|bind| bind.to).collect()
}
