//! Whether there can be an overlay: what has to be so of the mount, and of where what is above it is to be.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::sys::statvfs::statvfs;

use crate::core::message;
use crate::core::mountinfo::Mount;
use crate::core::overlay::{HOME, Overlay, comes_over_a_network};
use crate::core::session::Session;
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
use crate::sys::overlay_files::{self, Claim, PROOF, in_root};
use crate::sys::{overlaying, private};

/// A small package with its documentation.
pub const LEAST_BYTES: u64 = 16 << 20;

/// Looks at all that can be told before anything is made.
///
/// # Errors
/// What is not as it has to be, and what to do.
pub fn examine(root: &Root, session: &Session, mounted: &Mounted, overlay: &Overlay) -> Result<Claim> {
    let mount = &mounted.mount;
    let shown = message::path(&mount.point);
    ensure!(!mount.failed, "the kernel found errors on {shown}, and an overlay would hide them");
    ensure!(
        mount.knows_hard_links(),
        "{shown} is a {}, which knows neither owners nor modes, so that nothing can be laid over it",
        message::text(&mount.fs_type)
    );
    ensure!(mount.overlay.is_none(), "an overlay is mounted at {shown} already");
    ensure!(
        mount.flags.refuse_writes(),
        "{shown} can be written to, and what is written while it has an overlay would be hidden; an overlay is for what never can"
    );
    nothing_is_below(root, &mount.point)?;
    let place = nearest(root, &overlay.place)?;
    let above = mounts::holding(root, &place)?.with_context(|| format!("{} is not there", message::path(&place)))?;
    suits(mounted, &above, overlay)?;
    let place_is_open =
        session.mounts.iter().any(|noted| noted.mount.point == above.point && noted.found.refuse_writes());
    ensure!(
        !place_is_open,
        "{}: {} is only writable for now; name another place with --upper",
        cannot_use(&overlay.place),
        message::path(&above.point)
    );
    let entry = overlay_files::fstab_entry(root, &above.point)?;
    let options =
        entry.as_ref().and_then(|entry| entry.fields.get(3)).map(|field| String::from_utf8_lossy(field).into_owned());
    ensure!(
        (overlay.below.is_remote && !overlay.is_mounted_early())
            || !comes_over_a_network(&above.fs_type, &options.unwrap_or_default()),
        "{}: {} comes over a network, and {shown} is mounted before there is one; name another place with --upper",
        cannot_use(&overlay.place),
        message::path(&above.point)
    );
    // A link on the way is in no mount table, and in no unit.
    for path in [Path::new(HOME), &overlay.place] {
        private::check_way(&in_root(root, path)).with_context(|| cannot_use(&overlay.place))?;
    }
    let claim = overlay_files::claim(root, overlay).with_context(|| cannot_use(&overlay.place))?;
    match (try_out(root, &above, overlay), claim) {
        (Ok(()), claim) => Ok(claim),
        (Err(why), Claim::New) => {
            overlay_files::give_up_claim(root, overlay);
            Err(why)
        }
        (Err(why), Claim::Known) => Err(why),
    }
}

/// Looks whether other mounts would be covered.
///
/// # Errors
/// That, and which.
pub fn nothing_is_below(root: &Root, point: &Path) -> Result<()> {
    let inside = |other: &&Mount| other.point != point && other.point.starts_with(point);
    match mounts::table(root)?.iter().find(inside) {
        Some(other) => bail!(
            "{} is mounted below {}, and an overlay would cover it",
            message::path(&other.point),
            message::path(point)
        ),
        None => Ok(()),
    }
}

/// What has to be tried.
fn try_out(root: &Root, above: &Mount, overlay: &Overlay) -> Result<()> {
    let path = in_root(root, &overlay.place);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = nix::fcntl::open(&path, flags, Mode::empty()).with_context(|| cannot_use(&overlay.place))?;
    match overlaying::keeps_attributes(&directory) {
        Ok(()) => {}
        Err(Errno::EOPNOTSUPP) => {
            bail!("{}: {} keeps no extended attributes", cannot_use(&overlay.place), message::text(&above.fs_type))
        }
        Err(errno) => return Err(errno).with_context(|| cannot_use(&overlay.place)),
    }
    ensure!(
        tells_kinds(&path).with_context(|| cannot_use(&overlay.place))?,
        "{}: {} does not say in its directories what is a directory (d_type; an xfs that was made with ftype=0)",
        cannot_use(&overlay.place),
        message::text(&above.fs_type)
    );
    let free = free(root, &overlay.place)?;
    ensure!(
        free >= LEAST_BYTES,
        "{}: it has {} free; make room there, or name another place with --upper",
        cannot_use(&overlay.place),
        message::bytes(free)
    );
    Ok(())
}

/// What can be told by the mount table.
fn suits(mounted: &Mounted, above: &Mount, overlay: &Overlay) -> Result<()> {
    let (place, on) = (cannot_use(&overlay.place), message::path(&above.point));
    let another = "name another place with --upper";
    ensure!(
        above.device != mounted.mount.device,
        "{place}: it is on the file system that is to be overlaid; {another}"
    );
    ensure!(above.overlay.is_none(), "{place}: {on} is an overlay itself, and takes no other one's files; {another}");
    ensure!(
        !above.has_server(),
        "{place}: {on} comes from a server, and the kernel takes local file systems only; {another}"
    );
    ensure!(
        !above.flags.refuse_writes(),
        "{place}: {on} is read-only; what is above is written whenever the overlay is mounted, so it has to be on a file system \
         that stays writable; {another}"
    );
    Ok(())
}

fn cannot_use(place: &Path) -> String {
    format!("{} cannot be used", message::path(place))
}

/// The deepest directory on the way there that there is.
fn nearest(root: &Root, place: &Path) -> Result<PathBuf> {
    let there = place.ancestors().find(|path| root.open_dir(path).is_ok_and(|found| found.is_some()));
    Ok(there.context("there is no / here")?.to_owned())
}

/// Whether a directory says of what is in it what is a directory. It is asked with one that is made for that.
fn tells_kinds(place: &Path) -> Result<bool> {
    let made = place.join(PROOF);
    match fs::create_dir(&made) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let mut directory = Dir::open(place, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let found = directory.iter().flatten().find(|entry| entry.file_name().to_bytes() == PROOF.as_bytes());
    let tells = found.is_some_and(|entry| entry.file_type().is_some());
    fs::remove_dir(&made)?;
    Ok(tells)
}

/// Bytes that are free for root where something is kept.
///
/// # Errors
/// Those of statvfs(3).
#[allow(clippy::useless_conversion, reason = "the numbers are narrower on 32 bits")]
pub fn free(root: &Root, place: &Path) -> Result<u64> {
    let found = statvfs(&in_root(root, place))?;
    Ok(u64::from(found.blocks_free()) * u64::from(found.fragment_size()))
}
