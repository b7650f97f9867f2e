//! Where directories are mounted one by one, a package can write into these, and nowhere else on what is below them: dpkg
//! would break there as on anything that can never be writable. So it is looked at before dpkg starts.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::laid;
use crate::core::apt_stream::{Action, Stream};
use crate::core::candidates::Candidates;
use crate::core::message;
use crate::core::overlay::Overlay;
use crate::plan::archives::{self, Archives, Which};
use crate::plan::lists;
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
    let mut archives = Archives::default();
    for which in [Which::New, Which::Replacing] {
        archives.add(root, archives::open(stream, which, &lists), &lists)?;
    }
    let brought = archives.take_brought();
    let unpacked = stream.steps.iter().filter(|step| matches!(step.action, Action::Unpack(_)));
    let unpacked: HashSet<&str> = unpacked.map(|step| step.package.as_str()).collect();
    for overlay in bound {
        if laid(root, &overlay)?.is_some() {
            continue;
        }
        let Some(below) = mounts::at(root, &overlay.point)? else { continue };
        for candidates in [&lists.candidates, &brought] {
            let elsewhere = elsewhere(root, candidates, below.mount.id, &unpacked)?;
            if let Some((path, package)) = elsewhere {
                say(&overlay, path, &package)?;
            }
        }
    }
    Ok(())
}

/// A path on this mount that is not a directory, or would be made, and whose.
fn elsewhere<'a>(
    root: &Root,
    candidates: &'a Candidates,
    mount: u64,
    unpacked: &HashSet<&str>,
) -> Result<Option<(&'a Path, String)>> {
    for part in candidates.by_directory(1) {
        for (directory, names) in part.directories() {
            let failed = || format!("cannot look at {}", message::path(directory));
            let (dir, is_there) = nearest(root, directory).with_context(failed)?;
            if dir.stat().with_context(failed)?.mount_id != mount {
                continue;
            }
            for candidate in names {
                let found = if is_there { dir.entry(candidate.path.name()).with_context(failed)? } else { None };
                let packages = || candidates.packages(candidate.path);
                let is_written = match found {
                    Some(found) => !found.is_directory(),
                    None => packages().any(|package| unpacked.contains(&**package)),
                };
                if is_written {
                    let package = packages().next().map_or_else(String::new, |package| package.to_string());
                    return Ok(Some((candidate.path.full(), package)));
                }
            }
        }
    }
    Ok(None)
}

/// The directory, or the deepest one on the way there that there is; and whether it is itself.
fn nearest(root: &Root, directory: &Path) -> Result<(Directory, bool)> {
    for path in directory.ancestors() {
        if let Some(found) = root.open_dir(path)? {
            return Ok((found, path == directory));
        }
    }
    bail!("there is no / here")
}

fn say(overlay: &Overlay, path: &Path, package: &str) -> Result<()> {
    let point = message::path(&overlay.point);
    let bound: Vec<String> = overlay.binds().map(|bind| message::path(&bind.to)).collect();
    bail!(
        "{} of {} is to be written, and on {point} only {} can be; \"rokeep overlay enable {point}\" has it all be writable",
        message::path(path),
        message::text(package),
        message::few(&bound, 3)
    )
}
