//! What is written down of overlays: a record of each, and the units that mount it when the machine starts.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat};

use super::files::Root;
use super::{children, layers, mounts, private, program};
use crate::core::check::fstab::{self, Entry};
use crate::core::message;
use crate::core::overlay::seen::{self, Seen};
use crate::core::overlay::units::{self, Unit};
use crate::core::overlay::{self, HOME, Overlay};

/// Every overlay that is written down, by mount point.
///
/// # Errors
/// Where one cannot be read: then nobody knows what is missing from the mounts.
pub fn all(root: &Root) -> Result<Vec<Overlay>> {
    let home = root.path(HOME);
    private::check(&home)?;
    let entries = match fs::read_dir(&home) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot read {}", home.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(read(&entry.path().join("overlay.json"))?);
        }
    }
    found.sort_by(|one, other| one.point.cmp(&other.point));
    Ok(found)
}

/// The same; none for who may not look, and may change nothing either.
///
/// # Errors
/// As [`all`].
pub fn all_that_can_be_seen(root: &Root) -> Result<Vec<Overlay>> {
    match fs::read_dir(root.path(HOME)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(Vec::new()),
        Ok(_) | Err(_) => all(root),
    }
}

/// The overlay over a mount point, if one is written down.
///
/// # Errors
/// Where it cannot be read.
pub fn of(root: &Root, point: &Path) -> Result<Option<Overlay>> {
    read(&in_root(root, &overlay::record(point)))
}

fn read(path: &Path) -> Result<Option<Overlay>> {
    path.parent().map_or(Ok(()), private::check)?;
    let unusable = || format!("cannot use the record of an overlay in {}", path.display());
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => {
            overlay::parse(&text.with_context(unusable)?).map(Some).map_err(|why| anyhow!(why)).with_context(unusable)
        }
    }
}

/// Writes an overlay down. When this returns it survives a power cut.
///
/// # Errors
/// Where it cannot be written.
pub fn write_down(root: &Root, overlay: &Overlay) -> Result<()> {
    let path = in_root(root, &overlay.record());
    private::make(&root.path(HOME))?;
    path.parent().map_or(Ok(()), private::make)?;
    let text = serde_json::to_vec_pretty(overlay)?;
    replace(&path, &text, 0o600).with_context(|| format!("cannot write {}", path.display()))
}

/// Forgets an overlay, and what there was to reach what is below it by. What is above is left.
///
/// # Errors
/// Where it cannot be removed.
pub fn forget(root: &Root, overlay: &Overlay) -> Result<()> {
    let (record, lower) = (in_root(root, &overlay.record()), in_root(root, &overlay.lower()));
    // First, as without it there is nothing that anybody would lay.
    let seen = seen_path(root, overlay);
    for path in [&record, &record.with_extension(NEW), &seen, &seen.with_extension(NEW)] {
        gone(fs::remove_file(path)).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    gone(fs::remove_dir(&lower)).with_context(|| format!("cannot remove {}", lower.display()))?;
    // Unless what is above is in there.
    let _ = record.parent().map(fs::remove_dir);
    let _ = fs::remove_dir(root.path(HOME));
    Ok(())
}

/// The line of /etc/fstab for a mount point.
///
/// # Errors
/// Where it cannot be read.
pub fn fstab_entry(root: &Root, point: &Path) -> Result<Option<Entry>> {
    let path = root.path("/etc/fstab");
    match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => {
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            Ok(fstab::parse(&text).into_iter().find(|entry| entry.point == point))
        }
    }
}

// ── units ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Looks whether nobody else has made a unit of one of these names.
///
/// # Errors
/// That, and which.
pub fn require_no_foreign_unit(root: &Root, overlay: &Overlay) -> Result<()> {
    let is_foreign = |path: &PathBuf| match fs::read(in_root(root, path)) {
        Ok(text) => !text.starts_with(units::MARK.as_bytes()),
        Err(error) => error.kind() != ErrorKind::NotFound,
    };
    let Some(path) = units::all(overlay).iter().map(Unit::path).find(is_foreign) else { return Ok(()) };
    let (path, point) = (message::path(&path), message::path(&overlay.point));
    bail!(
        "{path} is a unit of somebody else's, in the place of the overlay's: put {point} into /etc/fstab, and remove it"
    )
}

/// Looks whether a unit could be written, before anything is done that takes long.
///
/// # Errors
/// That it could not, as /etc is read-only.
pub fn require_place_for_units(root: &Root) -> Result<()> {
    let path = Path::new(units::DIRECTORY);
    let holds = mounts::holding(root, path.ancestors().find(|path| in_root(root, path).is_dir()).unwrap_or(path))?;
    match holds.is_some_and(|mount| mount.flags.refuse_writes()) {
        true => Err(cannot_write(path, Errno::EROFS.into()).context("nothing was changed")),
        false => Ok(()),
    }
}

/// Has the machine mount an overlay, or the directories of one, when it starts.
///
/// # Errors
/// Where a unit cannot be written, or somebody else's is in its place.
pub fn write_units(root: &Root, overlay: &Overlay) -> Result<()> {
    require_no_foreign_unit(root, overlay)?;
    let units = units::units(overlay);
    remove_all_but(root, overlay, &units)?;
    for unit in &units {
        let path = in_root(root, &unit.path());
        let written =
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| replace(&path, unit.text.as_bytes(), 0o644));
        written.map_err(|error| cannot_write(&path, error))?;
        let Some(link) = unit.link() else { continue };
        let link = in_root(root, &link);
        let linked = link.parent().map_or(Ok(()), fs::create_dir_all);
        let linked = linked.and_then(|()| match symlink(link_target(unit), &link) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
        linked.map_err(|error| cannot_write(&link, error))?;
    }
    reload(root);
    Ok(())
}

/// Whether an overlay's units are as [`write_units`] writes them.
pub fn has_units(root: &Root, overlay: &Overlay) -> bool {
    let is_written = |unit: &Unit| fs::read(in_root(root, &unit.path())).is_ok_and(|text| text == unit.text.as_bytes());
    let is_linked = |unit: &Unit| unit.link().is_none_or(|link| in_root(root, &link).exists());
    units::units(overlay).iter().all(|unit| is_written(unit) && is_linked(unit))
}

fn cannot_write(path: &Path, error: io::Error) -> anyhow::Error {
    let is_read_only = error.raw_os_error() == Some(Errno::EROFS as i32);
    let error = anyhow::Error::from(error).context(format!("cannot write {}", path.display()));
    match is_read_only {
        true => error.context("/etc is read-only: first \"rokeep remount rw /\", afterwards \"rokeep remount ro /\""),
        false => error,
    }
}

/// Takes the units away that [`write_units`] made. Whatever is there of somebody else's stays.
///
/// # Errors
/// Where one cannot be removed.
pub fn remove_units(root: &Root, overlay: &Overlay) -> Result<()> {
    if remove_all_but(root, overlay, &[])? {
        reload(root);
    }
    Ok(())
}

/// The same, but for the one of what is below: that is mounted until the machine goes down, and has to be unmounted before
/// what it needs is stopped.
///
/// # Errors
/// As [`remove_units`].
pub fn remove_units_that_lay(root: &Root, overlay: &Overlay) -> Result<()> {
    let stays: Vec<Unit> = units::below_alone(overlay).into_iter().collect();
    if remove_all_but(root, overlay, &stays)? {
        reload(root);
    }
    Ok(())
}

/// Whether there were any. When this returns they are gone after a power cut, too.
fn remove_all_but(root: &Root, overlay: &Overlay, stay: &[Unit]) -> Result<bool> {
    let mark = units::MARK.as_bytes();
    let is_ours = |path: &Path| fs::read(path).is_ok_and(|text| text.starts_with(mark));
    // Of who was killed while he wrote it. An empty unit is somebody else's: it is masked.
    let is_draft = |path: &Path| fs::read(path).is_ok_and(|text| text.starts_with(mark) || mark.starts_with(&text));
    let mut were_any = false;
    // What is below stays until nothing is bound to it any more: at any moment the machine may start.
    for unit in units::all(overlay).into_iter().rev() {
        let stays = |what: &dyn Fn(&Unit) -> Option<PathBuf>| stay.iter().any(|other| what(other) == what(&unit));
        let link = unit.link().filter(|_| !stays(&Unit::link)).map(|link| in_root(root, &link));
        let link = link.filter(|link| fs::read_link(link).is_ok_and(|to| to == link_target(&unit)));
        let path = in_root(root, &unit.path());
        let draft = Some(path.with_extension(NEW)).filter(|draft| is_draft(draft));
        let path = Some(path).filter(|path| !stays(&|unit| Some(unit.path())) && is_ours(path));
        for path in link.into_iter().chain(draft).chain(path) {
            let removed = gone(fs::remove_file(&path)).and_then(|()| sync_directory_of(&path));
            removed.map_err(|error| cannot_write(&path, error))?;
            were_any = true;
        }
    }
    Ok(were_any)
}

fn link_target(unit: &Unit) -> PathBuf {
    Path::new("..").join(&unit.name)
}

/// Has systemd read its units anew. Where it does not, it does so at the next start of the machine at the latest.
fn reload(root: &Root) {
    if program::has_systemd(root) {
        let _ = children::ends_soon(Command::new("/usr/bin/systemctl").args(["--quiet", "daemon-reload"]));
    }
}

// ── whose what is above is ──────────────────────────────────────────────────────────────────────────────────────────

/// In a place: for which mount point it is. Without it nothing in there is ours.
const CLAIM: &str = "rokeep-overlay";

/// In a place: a directory by which it is asked what it can do.
pub const PROOF: &str = ".rokeep-proof";

/// Whether a place was an overlay's before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// There was nothing in it.
    New,
    /// It has what an earlier overlay over the same mount point left.
    Known,
}

/// Makes a place this overlay's, for root alone.
///
/// # Errors
/// Where it is not empty and nobody's, or another mount point's, or others could see what is in it.
pub fn claim(root: &Root, overlay: &Overlay) -> Result<Claim> {
    let (place, shown) = (in_root(root, &overlay.place), message::path(&overlay.place));
    let point = message::path(&overlay.point);
    if overlay.is_in_its_usual_place() {
        private::make(&root.path(HOME))?;
    }
    if place.symlink_metadata().is_ok() {
        private::check(&place)?;
        let is_closed = fs::metadata(&place)?.mode() & 0o777 == 0o700;
        ensure!(is_closed, "{shown} can be looked into by others than root: \"chmod 700 {shown}\"");
        match fs::read_to_string(place.join(CLAIM)) {
            Ok(whose) if whose.trim_end() == point => return Ok(Claim::Known),
            Ok(whose) => bail!("{shown} has what was installed on {}", message::text(whose.trim_end())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Of who was killed while he wrote it.
                let _ = fs::remove_file(place.join(CLAIM).with_extension(NEW));
                let is_empty = fs::read_dir(&place)?.next().is_none();
                ensure!(is_empty, "{shown} is not empty, and no overlay's: name a directory that is not there yet");
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {CLAIM} in {shown}")),
        }
    }
    private::make(&place)?;
    private::check_way(&place)?;
    let claimed = replace(&place.join(CLAIM), format!("{point}\n").as_bytes(), 0o600);
    claimed.with_context(|| format!("cannot write to {shown}")).inspect_err(|_| give_up_claim(root, overlay))?;
    Ok(Claim::New)
}

/// Nothing in it is an overlay's any more: it goes. Where something could not be removed it stays this overlay's, which can
/// be laid again then.
pub fn give_up_claim(root: &Root, overlay: &Overlay) {
    let place = in_root(root, &overlay.place);
    let _ = fs::remove_dir(place.join(PROOF));
    let is_all =
        fs::read_dir(&place).is_ok_and(|mut left| left.all(|one| one.is_ok_and(|one| one.file_name() == CLAIM)));
    if is_all {
        let _ = fs::remove_file(place.join(CLAIM));
        let _ = fs::remove_dir(&place);
    }
    // Unless another overlay is there.
    let _ = fs::remove_dir(root.path(HOME));
}

// ── what is above ───────────────────────────────────────────────────────────────────────────────────────────────────

/// What takes up room in a directory: bytes on disk, and how many files and directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Bytes on disk.
    pub bytes: u64,
    /// Files and directories.
    pub entries: u64,
}

/// What is above; `None` where the directory is gone.
///
/// # Errors
/// Where it cannot be read.
pub fn above(root: &Root, overlay: &Overlay) -> Result<Option<Contents>> {
    let upper = in_root(root, &overlay.upper());
    if !upper.is_dir() {
        return Ok(None);
    }
    let mut contents = Contents::default();
    for entry in walkdir::WalkDir::new(&upper).min_depth(1).same_file_system(true) {
        let entry = entry.with_context(|| format!("cannot read {}", upper.display()))?;
        contents.entries += 1;
        contents.bytes += entry.metadata()?.blocks() * 512;
    }
    Ok(Some(contents))
}

/// What is to be discarded as a whole is called this first: half of it is never shown as the whole.
const ALL_DISCARDED: &str = "upper.discarded";

/// Some of what is above is called this first.
const DISCARDED: &str = "discarded";

/// What is to be above is called this first, until all of it is there.
const UNFINISHED: &str = "upper.new";

/// Copies of directories, to be put above (`overlay_copies`).
pub(super) const COPIES: &str = "copies";

/// Has what is above be nothing any more. It takes its room until [`remove_discarded`].
///
/// # Errors
/// Where it cannot be renamed.
pub fn discard(root: &Root, overlay: &Overlay) -> Result<()> {
    remove_discarded(root, overlay)?;
    let upper = in_root(root, &overlay.upper());
    gone(fs::rename(&upper, upper.with_file_name(ALL_DISCARDED)))
        .with_context(|| format!("cannot move {}", upper.display()))
}

/// Whether what is above is nothing any more because of [`discard`], and whoever discarded it has not come to its end.
pub fn is_discarded(root: &Root, overlay: &Overlay) -> bool {
    let upper = in_root(root, &overlay.upper());
    upper.symlink_metadata().is_err() && upper.with_file_name(ALL_DISCARDED).symlink_metadata().is_ok()
}

/// Has a path of what is above be nothing any more, so that what is below it is seen again; nobody has the overlay mounted.
///
/// # Errors
/// As [`discard`].
pub fn discard_one(root: &Root, overlay: &Overlay, path: &Path) -> Result<()> {
    remove_old(root, overlay)?;
    let discarded = in_root(root, &overlay.place).join(DISCARDED);
    let failed = || format!("cannot move {} in {}", message::path(path), message::path(&overlay.upper()));
    // Some directory above may be somebody's, who could put a link into its place.
    let upper = root.open_dir(&overlay.upper())?.with_context(failed)?;
    let (dir, name) = layers::entry_in(&upper, path).with_context(failed)?;
    renameat(&dir, name, AT_FDCWD, &discarded).with_context(failed)
}

/// Removes what was discarded, what was never finished, and where overlayfs worked; nobody has the overlay mounted.
///
/// # Errors
/// Where it cannot be removed.
pub fn remove_discarded(root: &Root, overlay: &Overlay) -> Result<()> {
    remove_old(root, overlay)?;
    let work = in_root(root, &overlay.work());
    gone(fs::remove_dir_all(&work)).with_context(|| format!("cannot remove {}", work.display()))
}

/// Removes what was discarded, what was never finished, and copies that nobody has put above.
///
/// # Errors
/// Where it cannot be removed.
pub fn remove_old(root: &Root, overlay: &Overlay) -> Result<()> {
    let place = in_root(root, &overlay.place);
    for path in [ALL_DISCARDED, DISCARDED, UNFINISHED, COPIES].map(|name| place.join(name)) {
        let removed = match path.symlink_metadata() {
            Ok(found) if !found.is_dir() => fs::remove_file(&path),
            _ => fs::remove_dir_all(&path),
        };
        gone(removed).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Makes what is above when nothing was installed: it looks as the mount does, and hides what is to be hidden. It has its
/// name only once all of that is so.
///
/// # Errors
/// Where it cannot be made.
pub fn make_above(root: &Root, overlay: &Overlay, like: &fs::Metadata) -> Result<()> {
    let new = new_above(root, overlay, like)?;
    let upper = in_root(root, &overlay.upper());
    fs::rename(&new, &upper).with_context(|| format!("cannot make {}", upper.display()))
}

/// The same in the place of what is above now, which is to be discarded. There is no moment without either.
///
/// # Errors
/// Where it cannot be made. What is above is then as it was.
pub fn exchange_above(root: &Root, overlay: &Overlay, like: &fs::Metadata) -> Result<()> {
    let new = new_above(root, overlay, like)?;
    let upper = in_root(root, &overlay.upper());
    nix::fcntl::renameat2(AT_FDCWD, &new, AT_FDCWD, &upper, RenameFlags::RENAME_EXCHANGE)
        .with_context(|| format!("cannot exchange {}", upper.display()))
}

fn new_above(root: &Root, overlay: &Overlay, like: &fs::Metadata) -> Result<PathBuf> {
    remove_old(root, overlay)?;
    let new = in_root(root, &overlay.place).join(UNFINISHED);
    DirBuilder::new().mode(0o700).create(&new).with_context(|| format!("cannot make {}", new.display()))?;
    for name in &overlay.masks {
        layers::make_whiteout(&new.join(name)).with_context(|| format!("cannot hide {}", message::path(name)))?;
    }
    chown(&new, Some(like.uid()), Some(like.gid())).with_context(|| format!("cannot give away {}", new.display()))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(like.mode() & 0o7777))?;
    Ok(new)
}

// ── what is below ───────────────────────────────────────────────────────────────────────────────────────────────────

/// What was seen of what is below, if anybody has written that down.
pub fn seen(root: &Root, overlay: &Overlay) -> Option<Seen> {
    fs::read(seen_path(root, overlay)).ok().and_then(|text| seen::parse(&text))
}

/// Writes it down.
///
/// # Errors
/// Where it cannot be written.
pub fn write_seen(root: &Root, overlay: &Overlay, seen: &Seen) -> Result<()> {
    let path = seen_path(root, overlay);
    replace(&path, &serde_json::to_vec(seen)?, 0o600).with_context(|| format!("cannot write {}", path.display()))
}

/// Forgets it. Where that cannot be done, something may be said to have changed that has.
pub fn forget_seen(root: &Root, overlay: &Overlay) {
    let _ = fs::remove_file(seen_path(root, overlay));
}

fn seen_path(root: &Root, overlay: &Overlay) -> PathBuf {
    in_root(root, &overlay.record()).with_file_name("below.json")
}

/// Where an absolute path of the tree is for this process.
pub fn in_root(root: &Root, path: &Path) -> PathBuf {
    root.path("/").join(path.strip_prefix("/").unwrap_or(path))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The extension of what does not have its name yet.
const NEW: &str = "new";

fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension(NEW);
    let _ = fs::remove_file(&new);
    let written = (|| {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    sync_directory_of(path)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Says which mount point is meant where there is no overlay.
///
/// # Errors
/// Where none is written down.
pub fn required(root: &Root, point: &Path) -> Result<Overlay> {
    match of(root, point)? {
        Some(overlay) => Ok(overlay),
        None => {
            bail!("there is no overlay over {}; \"rokeep overlay status\" says where there are", message::path(point))
        }
    }
}
