//! The program that runs, the one that is installed, and the copy that stands in where that one is being removed.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::files::Root;

/// Where packages have it.
const INSTALLED: &str = "/usr/sbin/rokeep";

/// Beside the journal, where nobody else can put anything. The hooks know this name too.
const STAND_IN: &str = "/var/lib/rokeep/rokeep";

/// Being written; of one that was killed meanwhile too. The maintainer scripts know it.
const NEW: &str = "new";

/// The package was purged, and its maintainer script left the rest to the copy.
const PURGED: &str = "/var/lib/rokeep/purged";

/// This one.
const RUNNING: &str = "/proc/self/exe";

/// The copy.
pub fn stand_in(root: &Root) -> PathBuf {
    root.path(STAND_IN)
}

/// Whether the package was taken away, and there is a copy.
pub fn stands_in(root: &Root) -> bool {
    !is_there(&root.path(INSTALLED)) && is_there(&stand_in(root))
}

/// What a person calls it, now or as soon as dpkg has removed it.
pub fn name(root: &Root) -> &'static str {
    if is_there(&stand_in(root)) { STAND_IN } else { "rokeep" }
}

/// Whether nothing is to be left of the package.
pub fn is_purged(root: &Root) -> bool {
    is_there(&root.path(PURGED))
}

/// Where packages have it, as it is called in the lists of what was replaced.
pub fn installed(root: &Root) -> PathBuf {
    root.path(INSTALLED)
}

/// Who is to go on where this program was replaced or removed while it ran; `None` where it was not.
pub fn successor(root: &Root) -> Option<PathBuf> {
    // proc_pid_exe(5): what the kernel says behind a name that is gone.
    let running = fs::read_link(root.path(RUNNING)).ok()?;
    let was_replaced = running.as_os_str().as_encoded_bytes().ends_with(b" (deleted)");
    let others = || [root.path(INSTALLED), stand_in(root)].into_iter().find(|program| is_there(program));
    was_replaced.then(others).flatten()
}

/// Puts a copy of this program into the place of one that stands in. It is there whole or not at all.
///
/// # Errors
/// Where it cannot be written.
pub fn put_stand_in(root: &Root) -> io::Result<()> {
    let place = stand_in(root);
    let new = place.with_extension(NEW);
    let _ = fs::remove_file(&new);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&new).and_then(|mut copy| {
        io::copy(&mut fs::File::open(root.path(RUNNING))?, &mut copy)?;
        copy.sync_all()
    });
    written.and_then(|()| fs::rename(&new, &place)).inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Whether it is the installed one that runs; `None` where that cannot be told.
pub fn is_installed_one(root: &Root) -> Option<bool> {
    lead_to_the_same(&root.path(RUNNING), &root.path(INSTALLED))
}

/// Whether systemctl has a systemd here to tell something.
pub fn has_systemd(root: &Root) -> bool {
    root.path("/run/systemd/system").is_dir() && is_in_a_chroot() == Some(false)
}

/// Whether this is a chroot, in which systemctl says that it does nothing, and exits 0; `None` where that cannot be told.
pub fn is_in_a_chroot() -> Option<bool> {
    lead_to_the_same(Path::new("/proc/1/root/."), Path::new("/")).map(|is_the_systems| !is_the_systems)
}

fn lead_to_the_same(one: &Path, other: &Path) -> Option<bool> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    Some(identity(one)? == identity(other)?)
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
