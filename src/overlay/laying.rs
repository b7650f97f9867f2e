//! Laying an overlay: what is below gets a place of its own, an overlayfs is made of that and of what is above, tried while
//! nobody sees it, and mounted read-only.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{place, users};
use crate::core::check::fstab;
use crate::core::message;
use crate::core::mount_options::{Flag, Options};
use crate::core::mount_state::{Access, Flags};
use crate::core::mountinfo::Mount;
use crate::core::overlay::{HOME, OPTIONS, Overlay};
use crate::sys::children;
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
use crate::sys::overlay_files::{self, in_root};
use crate::sys::overlaying::{self, Refused};
use crate::sys::private;
use crate::sys::remounting::{self, Subject};

/// Makes the directories that there are not yet. The topmost one above is what the mount's root looks like then: so it has
/// the owner and the mode of the one below, from the moment that it has its name.
///
/// # Errors
/// Where one cannot be made.
pub fn make_directories(root: &Root, overlay: &Overlay, below: &Mounted) -> Result<()> {
    let seen = fs::metadata(in_root(root, &below.mount.point))?;
    if in_root(root, &overlay.upper()).symlink_metadata().is_err() {
        overlay_files::make_above(root, overlay, &seen)?;
    }
    make_where_it_works(root, overlay)
}

/// What may have been lost, as nobody would miss it.
fn make_where_it_works(root: &Root, overlay: &Overlay) -> Result<()> {
    private::make(&root.path(HOME))?;
    overlay.lower().parent().map_or(Ok(()), |home| private::make(&in_root(root, home)))?;
    for path in [overlay.lower(), overlay.work()] {
        make_directory(&in_root(root, &path))?;
    }
    Ok(())
}

fn make_directory(path: &Path) -> Result<()> {
    match DirBuilder::new().recursive(false).mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot make {}", path.display())),
    }
}

/// Looks whether what packages wrote is where it was.
///
/// # Errors
/// Where it is not, or others could have exchanged it.
pub fn require_what_is_above(root: &Root, overlay: &Overlay) -> Result<()> {
    let (shown, upper) = (message::path(&overlay.point), message::path(&overlay.upper()));
    if !overlay.is_in_its_usual_place() {
        private::check_way(&in_root(root, &overlay.place))?;
    }
    ensure!(
        !overlay_files::is_discarded(root, overlay),
        "what is above {shown} was to be discarded, and that was interrupted: \"rokeep overlay disable {shown}\" finishes that"
    );
    ensure!(
        in_root(root, &overlay.upper()).symlink_metadata().is_ok_and(|found| found.is_dir()),
        "{upper} is gone, which has what was installed on {shown}: bring it back, or \"rokeep overlay disable --discard {shown}\" \
         to go on without"
    );
    Ok(())
}

/// Makes one of what is mounted there, writes to it, and lets it go: nobody has seen it.
///
/// # Errors
/// Where the kernel refuses, or it takes no writes.
pub fn try_out(root: &Root, overlay: &Overlay, below: &Mounted) -> Result<()> {
    nobody_writes(root, overlay)?;
    made(overlay, &below.mount.point).map(drop)
}

/// Lays it over what is mounted at its point, if anything is.
///
/// # Errors
/// Where what is below, or what is above, is not there, or the kernel refuses.
pub fn lay(root: &Root, overlay: &Overlay, there: Option<Mounted>) -> Result<()> {
    let shown = message::path(&overlay.point);
    require_what_is_above(root, overlay)?;
    nobody_writes(root, overlay)?;
    place::nothing_is_below(root, &overlay.point)?;
    // First, as the machine may start at any moment.
    make_where_it_works(root, overlay)?;
    overlay_files::remove_old(root, overlay)?;
    let exposed = expose_lower(root, overlay, there.as_ref())?;
    let laid = made(overlay, &overlay.lower()).and_then(|made| {
        close(&made)?;
        // Where nothing is mounted at the point, what is below having its place already, its directory is there.
        let over = root.open_dir(&overlay.point)?.with_context(|| format!("{shown} is not there"))?;
        overlaying::attach(made, over).with_context(|| format!("cannot mount the overlay over {shown}"))
    });
    match (laid, exposed) {
        (Err(why), Exposed::Now) => {
            release_lower(root, overlay)?;
            return Err(why);
        }
        (laid, Exposed::Now | Exposed::Before) => laid?,
    }
    let now = mounts::at(root, &overlay.point)?;
    ensure!(
        now.is_some_and(|now| overlay.is(&now.mount) && now.mount.flags.refuse_writes()),
        "{shown} has no overlay although the kernel said so"
    );
    Ok(())
}

/// A second one with the same above would not know what the first one writes (overlayfs.rst, "Sharing and copying layers").
/// One that is read-only writes nothing, and services with a mount namespace of their own may have that for long.
fn nobody_writes(root: &Root, overlay: &Overlay) -> Result<()> {
    let can_write = |mount: &Mount| overlay.has_what_is_above(mount) && mount.flags.superblock == Access::Writable;
    let Some(process) = users::who_has(root, can_write)? else { return Ok(()) };
    bail!(
        "the overlay on {} is still mounted where {process} sees it, and writable: unmount it there, or stop that",
        message::path(&overlay.point)
    )
}

/// One that takes writes and is mounted nowhere.
fn made(overlay: &Overlay, below: &Path) -> Result<OwnedFd> {
    let shown = message::path(&overlay.point);
    let options = OPTIONS.map(|(key, value)| (key, PathBuf::from(value)));
    let layers = [("lowerdir", below.to_owned()), ("upperdir", overlay.upper()), ("workdir", overlay.work())];
    let parameters: Vec<_> = layers.into_iter().chain(options).collect();
    let flags = Options { mount: overlay.below.flags.join(",").into_bytes(), ..Options::default() }.of_mount();
    let made =
        make_one(overlay, &parameters, &flags).map_err(|why| anyhow!("no overlay can be laid over {shown}: {why}"))?;
    write_to(&made).with_context(|| format!("{} takes no writes for an overlay", message::path(&overlay.upper())))?;
    Ok(made)
}

/// One that is mounted nowhere, of layers and options by name. Over what is mounted early the kernel's module for it may be above
/// alone, as a kernel is that was installed there.
///
/// # Errors
/// Why the kernel makes none, in words.
pub fn make_one(overlay: &Overlay, parameters: &[(&str, PathBuf)], flags: &[Flag]) -> Result<OwnedFd, String> {
    let make = || overlaying::make(parameters.iter().map(|(key, value)| (*key, value.as_path())), flags);
    let made = match make() {
        Err(Refused { errno: Errno::ENODEV, .. }) if overlay.is_mounted_early() => {
            let mut modprobe = Command::new("/sbin/modprobe");
            modprobe.arg("--quiet").arg("--dirname").arg(overlay.upper()).arg("overlay");
            // Whatever came of it is seen now.
            let _ = children::ends_soon(&mut modprobe);
            make()
        }
        made => made,
    };
    made.map_err(|refused| why(&refused))
}

/// Whether what is below had its other name before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exposed {
    Before,
    Now,
}

/// Whether what is mounted at its point has the directory above it that is there by that name now. That may have been
/// exchanged, by one of a backup; the overlay would go on with the one that it had.
///
/// # Errors
/// Where one of them cannot be looked at.
pub fn has_what_is_there(root: &Root, overlay: &Overlay) -> Result<bool> {
    // Somebody may write while both are looked at.
    const MOST_LOOKS: u32 = 5;
    let look = |path: &Path| -> Result<_> {
        let directory = root.open_dir(path)?.with_context(|| format!("{} is not there", message::path(path)))?;
        Ok(directory.stat()?)
    };
    for _ in 0..MOST_LOOKS {
        // The topmost directory is shown as the one above is, but for its number (fs/overlayfs/inode.c, ovl_getattr).
        let (shown, above) = (look(&overlay.point)?, look(&overlay.upper())?);
        let is_same = match (shown.born, above.born) {
            (Some(shown), Some(above)) => shown == above,
            _ => shown.changed == above.changed,
        };
        if is_same {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Has what is mounted at the point be reachable under its other name, if it is not.
fn expose_lower(root: &Root, overlay: &Overlay, there: Option<&Mounted>) -> Result<Exposed> {
    let (shown, lower) = (message::path(&overlay.point), message::path(&overlay.lower()));
    let below = mounts::at(root, &overlay.lower())?;
    for mounted in [there, below.as_ref()].into_iter().flatten() {
        ensure!(
            overlay.below.can_be(&mounted.mount) && mounted.mount.flags.refuse_writes(),
            "{} ({}) is mounted at {}, and is not what was below the overlay on {shown}, or not read-only: unmount it first",
            message::path(&mounted.mount.source),
            message::text(&mounted.mount.fs_type),
            message::path(&mounted.mount.point)
        );
    }
    match (below, there) {
        (Some(_), None) => Ok(Exposed::Before),
        (Some(below), Some(there)) => {
            let is_same = below.mount.device == there.mount.device && below.mount.root == there.mount.root;
            ensure!(
                is_same,
                "{} is mounted at {shown}, and what is below its overlay is {}: unmount one of them ({lower})",
                message::path(&there.mount.source),
                message::path(&below.mount.source),
            );
            Ok(Exposed::Before)
        }
        (None, None) => bail!(
            "what is below the overlay on {shown} is not mounted ({}): \"systemctl start {}\", or mount it at {lower}, then try again",
            message::path(&overlay.below.source),
            message::text(&fstab::unit_name(&overlay.point))
        ),
        (None, Some(there)) => mount_again(root, there, &overlay.lower()).map(|()| Exposed::Now),
    }
}

/// As `mount --bind` does, but of this mount, whatever its name leads to by now; and what is mounted over the one does not
/// appear over the other, too (mount_namespaces(7), shared subtrees).
fn mount_again(root: &Root, mounted: &Mounted, at: &Path) -> Result<()> {
    let copy = remounting::copy(mounted)?;
    let failed = || format!("cannot have {} by itself", message::path(at));
    match remounting::set_private(&copy) {
        // Before Linux 5.12.
        Err(Errno::ENOSYS) => {
            attach(root, copy, at)?;
            set_private_by_path(&in_root(root, at)).with_context(failed)
        }
        private => private.with_context(failed).and_then(|()| attach(root, copy, at)),
    }
}

fn attach(root: &Root, copy: OwnedFd, at: &Path) -> Result<()> {
    let shown = message::path(at);
    let directory = root.open_dir(at)?.with_context(|| format!("{shown} is not there"))?;
    overlaying::attach(copy, directory).with_context(|| format!("cannot mount {shown}"))
}

/// As [`remounting::set_private`], before Linux 5.12.
///
/// # Errors
/// Those of mount(2).
pub fn set_private_by_path(path: &Path) -> nix::Result<()> {
    nix::mount::mount(None::<&str>, path, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)
}

/// Takes the other name of what is below away.
///
/// # Errors
/// Where it cannot be unmounted.
pub fn release_lower(root: &Root, overlay: &Overlay) -> Result<()> {
    let lower = overlay.lower();
    if mounts::at(root, &lower)?.is_none() {
        return Ok(());
    }
    // Whoever is in it only reads.
    umount2(&in_root(root, &lower), MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)
        .with_context(|| format!("cannot unmount {}", message::path(&lower)))
}

/// Has what is below be at the point again, and there alone.
///
/// # Errors
/// Where it cannot be mounted there.
pub fn give_back(root: &Root, overlay: &Overlay) -> Result<()> {
    if let Some(below) = mounts::at(root, &overlay.lower())? {
        if mounts::at(root, &overlay.point)?.is_none() && overlay.below.can_be(&below.mount) {
            mount_back(root, overlay, &below)?;
        }
    }
    release_lower(root, overlay)
}

/// A copy has the peers of what it is a copy of. Of what has none, it is shared where everything is that is mounted there.
fn mount_back(root: &Root, overlay: &Overlay, below: &Mounted) -> Result<()> {
    let lower = overlay.lower();
    set_private_by_path(&in_root(root, &lower))
        .with_context(|| format!("cannot have {} by itself", message::path(&lower)))?;
    attach(root, remounting::copy(below)?, &overlay.point)
}

/// A directory is made and removed again. Of who is killed in between it is left, and in nobody's way: it is called as the
/// proof that a mount is writable.
fn write_to(mount: &OwnedFd) -> nix::Result<()> {
    let name = OsStr::new(".rokeep-proof");
    match mkdirat(mount, name, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => unlinkat(mount, name, UnlinkatFlags::RemoveDir),
        // It takes writes, and dpkg may be there to make room.
        Err(Errno::ENOSPC | Errno::EDQUOT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Makes it read-only, and the mount of it too, as "mount -o ro" does.
fn close(mount: &OwnedFd) -> Result<()> {
    let subject = Subject { root: mount, flags: Flags::WRITABLE, options: &Options::default() };
    remounting::set_superblock(subject, Access::ReadOnly).context("it cannot become read-only")?;
    match remounting::set_attribute(mount, Access::ReadOnly) {
        // Before Linux 5.12 the superblock alone is.
        Ok(()) | Err(Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno).context("it cannot become read-only"),
    }
}

fn why(refused: &Refused) -> String {
    match refused.errno {
        Errno::ENODEV => "this kernel has no overlayfs (\"modprobe overlay\")".to_owned(),
        Errno::ENOSYS => "this kernel is too old: rokeep needs Linux 5.8".to_owned(),
        Errno::EPERM => "this process may not mount anything (a container?)".to_owned(),
        _ => format!("the kernel refused: {refused}"),
    }
}
