//! Where directories are mounted one by one, a package can write into these, and nowhere else on what is below them: dpkg
//! would break there as on anything that can never be writable. So it is looked at before dpkg starts.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::laid;
use crate::core::apt_stream::{Action, Step, Stream};
use crate::core::message;
use crate::core::overlay::Overlay;
use crate::core::paths::ListedPath;
use crate::plan::lists::{self, Lists};
use crate::sys::deb::{self, Everything};
use crate::sys::files::{Directory, Root};
use crate::sys::mounts;
use crate::sys::overlay_files;

/// Looks whether any package of the run has something where nothing can be written.
///
/// # Errors
/// That, which package, and where; and where dpkg's lists or the mounts cannot be read.
pub fn require_nothing_elsewhere(root: &Root, stream: &Stream) -> Result<()> {
    let mut bound = overlay_files::all(root)?;
    bound.retain(Overlay::is_bound);
    if bound.is_empty() {
        return Ok(());
    }
    let lists = lists::listed(root, stream)?;
    for overlay in bound {
        if laid(root, &overlay)?.is_some() {
            continue;
        }
        let Some(below) = mounts::at(root, &overlay.point)? else { continue };
        let on_it = OnIt { root, mount: below.mount.id };
        let found = match on_it.lost(&lists)? {
            None => on_it.brought(stream, &lists)?,
            lost => lost,
        };
        let found = match found {
            None => on_it.directories(stream, &lists)?,
            written => written,
        };
        if let Some((path, package)) = found {
            return Err(say(&overlay, &path, &package));
        }
    }
    Ok(())
}

/// A path, and the package that has it.
type Found = Option<(PathBuf, String)>;

/// What packages have on one mount.
struct OnIt<'a> {
    root: &'a Root,
    mount: u64,
}

impl OnIt<'_> {
    /// A file there that would be replaced or removed.
    fn lost(&self, lists: &Lists) -> Result<Found> {
        for part in lists.candidates.by_directory(1) {
            for (directory, names) in part.directories() {
                let Some((dir, true)) = self.directory(directory)? else { continue };
                for candidate in names {
                    if self.is_file(&dir, candidate.path)? {
                        return Ok(found(candidate.path.full(), lists.candidates.packages(candidate.path).next()));
                    }
                }
            }
        }
        Ok(None)
    }

    /// What of a new archive would be written there: any file, and a directory that is not there yet. Checksums say of neither
    /// links nor directories.
    fn brought(&self, stream: &Stream, lists: &Lists) -> Result<Found> {
        for step in &stream.steps {
            let Action::Unpack(archive) = &step.action else { continue };
            // dpkg says more of one that cannot be read; some that it can read its checksums tell of.
            let brings = deb::read_everything(archive)
                .or_else(|_| deb::read(archive).map(|deb| Everything { files: deb.paths, ..Everything::default() }));
            let brings = brings.unwrap_or_default();
            let place = |path| lists.diversions.place(path, &step.package);
            for path in brings.files.into_iter().map(place) {
                if self.directory(path.dir())?.is_some() {
                    return Ok(found(path.full(), Some(&step.package)));
                }
            }
            for (path, target) in brings.links.into_iter().map(|(path, target)| (place(path), target)) {
                if self.directory(path.dir())?.is_some() && !self.stays(&path, &target)? {
                    return Ok(found(path.full(), Some(&step.package)));
                }
            }
            for path in brings.directories {
                if let Some((_, false)) = self.directory(path.full())? {
                    return Ok(found(path.full(), Some(&step.package)));
                }
            }
        }
        Ok(None)
    }

    /// A directory in one that is there, which dpkg would remove with the last package that has it; the kernel refuses that
    /// otherwise than dpkg knows of a mount point (EROFS; dpkg src/main/remove.c).
    fn directories(&self, stream: &Stream, lists: &Lists) -> Result<Found> {
        let removed = |step: &&Step| step.action == Action::Remove && step.coming.is_none();
        let removed: BTreeSet<&str> = stream.steps.iter().filter(removed).map(|step| step.package.as_str()).collect();
        let mut there = Vec::new();
        for part in lists.candidates.by_directory(1) {
            for (directory, names) in part.directories() {
                let Some((dir, true)) = self.directory(directory)? else { continue };
                for candidate in names {
                    let mut packages = lists.candidates.packages(candidate.path);
                    if packages.any(|package| removed.contains(&**package))
                        && dir.entry(candidate.path.name())?.is_some()
                    {
                        there.push(candidate.path.full());
                    }
                }
            }
        }
        let owners = lists::owners(self.root, &there)?;
        let has_no_other = |owners: &[String]| {
            owners.iter().all(|owner| owner.split(':').next().is_some_and(|package| removed.contains(package)))
        };
        let last = there.into_iter().zip(owners).find(|(_, owners)| has_no_other(owners));
        Ok(last.and_then(|(path, owners)| found(path, owners.first())))
    }

    /// The directory, or the deepest one on the way there that there is, if that is on the mount; and whether it is itself.
    fn directory(&self, directory: &Path) -> Result<Option<(Directory, bool)>> {
        let failed = || format!("cannot look at {}", message::path(directory));
        for path in directory.ancestors() {
            if let Some(found) = self.root.open_dir(path).with_context(failed)? {
                let is_on_it = found.stat().with_context(failed)?.mount_id == self.mount;
                return Ok(is_on_it.then_some((found, path == directory)));
            }
        }
        Ok(None)
    }

    /// Whether dpkg leaves what is there, a directory or the same link to one, where an archive has a symbolic link (dpkg
    /// src/main/archives.c, `tarobject`).
    fn stays(&self, path: &ListedPath, target: &[u8]) -> Result<bool> {
        let failed = || format!("cannot look at {}", message::path(path.full()));
        if self.root.open_dir(path.full()).with_context(failed)?.is_none() {
            return Ok(false);
        }
        match fs::read_link(overlay_files::in_root(self.root, path.full())) {
            Ok(link) => Ok(link.as_os_str().as_bytes() == target),
            // It is a directory itself.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(true),
            Err(error) => Err(error).with_context(failed),
        }
    }

    /// dpkg leaves a directory in peace, and a link to one.
    fn is_file(&self, dir: &Directory, path: &ListedPath) -> Result<bool> {
        let failed = || format!("cannot look at {}", message::path(path.full()));
        let is_there = dir.entry(path.name()).with_context(failed)?.is_some();
        Ok(is_there && self.root.open_dir(path.full()).with_context(failed)?.is_none())
    }
}

fn found(path: &Path, package: Option<&(impl ToString + ?Sized)>) -> Found {
    Some((path.to_owned(), package.map_or_else(String::new, ToString::to_string)))
}

fn say(overlay: &Overlay, path: &Path, package: &str) -> anyhow::Error {
    let point = message::path(&overlay.point);
    let bound: Vec<String> = overlay.binds().map(|bind| message::path(&bind.to)).collect();
    let copy = overlay.could_be_bound_for(path).map_or_else(String::new, |directory| {
        let directory = message::path(&directory);
        format!(", \"rokeep overlay bind {point} --copy {directory}\" what is in that directory, if it is below")
    });
    let first = match overlay.is_mounted_early() {
        true => format!(", after \"rokeep overlay disable --at-next-start {point}\" and a start of the machine,"),
        false => String::new(),
    };
    anyhow!(
        "{} of {} is to be written or removed, and on {point} nothing can be but what is in {}; \"rokeep overlay enable {point}\"\
         {first} has it all be writable{copy}",
        message::path(path),
        message::text(package),
        message::few(&bound, 3)
    )
}
