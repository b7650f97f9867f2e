//! What the new archives bring: a file that is there already may belong to a package that nobody announced, which then
//! loses it (Replaces, --force-overwrite) or disappears altogether.

use std::collections::HashSet;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, available_parallelism};

use anyhow::Result;

use super::lists::{self, Lists};
use crate::core::apt_stream::{Action, Step, Stream};
use crate::core::candidates::Candidates;
use crate::core::deb::Deb;
use crate::core::message;
use crate::sys::deb;
use crate::sys::files::Root;

/// How many archives are read at a time, at most: each may need the memory that a decompression takes.
const MOST_THREADS: usize = 4;

/// What they say of themselves.
#[derive(Debug, Default)]
pub struct Archives {
    /// Every path that they bring, where diversions put it.
    pub candidates: Candidates,
    /// Bytes that packages take which were not there before, by their own account.
    pub new_bytes: u64,
    /// What a person should know.
    pub notes: Vec<String>,
    minding: HashSet<Arc<str>>,
}

/// An archive, and the step that unpacks it.
pub struct Opened<'a> {
    step: &'a Step,
    archive: &'a Path,
    deb: Result<Deb>,
}

/// Reads every archive that is to be unpacked, once. Most of that is decompressing: the other processors share it.
pub fn open(stream: &Stream) -> Vec<Opened<'_>> {
    let mut seen = HashSet::new();
    let unpacks = stream.steps.iter().filter_map(|step| match &step.action {
        Action::Unpack(archive) => Some((step, archive.as_path())),
        Action::Remove | Action::Configure => None,
    });
    let steps: Vec<(&Step, &Path)> = unpacks.filter(|(_, archive)| seen.insert(*archive)).collect();
    // The caller has something else to do meanwhile.
    let others = available_parallelism().map_or(1, NonZero::get).saturating_sub(1).clamp(1, MOST_THREADS);
    thread::scope(|scope| {
        let share = steps.len().div_ceil(others).max(1);
        let open_all = |steps| scope.spawn(move || open_each(steps));
        let threads: Vec<_> = steps.chunks(share).map(open_all).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

fn open_each<'a>(steps: &[(&'a Step, &'a Path)]) -> Vec<Opened<'a>> {
    steps.iter().map(|(step, archive)| Opened { step, archive, deb: deb::read(archive) }).collect()
}

/// What the archives bring.
///
/// # Errors
/// Where one of dpkg's lists cannot be read. An archive that cannot is a note.
pub fn brought(root: &Root, opened: Vec<Opened>, lists: &Lists) -> Result<Archives> {
    let mut archives = Archives::default();
    let mut unreadable = Vec::new();
    for Opened { step, archive, deb } in opened {
        match deb {
            Ok(deb) => archives.add(root, step, deb, lists)?,
            Err(error) => {
                // It may, for all that is known.
                archives.minding.insert(step.package.as_str().into());
                // apt has no name for some (`**ERROR**`).
                let nameless = archive.as_os_str().is_empty();
                unreadable.push(if nameless {
                    format!("the archive of {}", step.package)
                } else {
                    format!("{error:#}")
                });
            }
        }
    }
    if !unreadable.is_empty() {
        let which = message::few(&unreadable, 3);
        archives
            .notes
            .push(format!("what they take over from other packages is protected only if it is in use: {which}"));
    }
    Ok(archives)
}

impl Archives {
    /// Whether the new version of a package may fail if it finds something in its directories that is not its own.
    pub fn mind_other_files(&self, package: &str) -> bool {
        self.minding.contains(package)
    }

    fn add(&mut self, root: &Root, step: &Step, deb: Deb, lists: &Lists) -> Result<()> {
        let package: Arc<str> = step.package.as_str().into();
        if deb.minds_other_files {
            self.minding.insert(package.clone());
        }
        if step.installed.is_none() {
            self.new_bytes = self.new_bytes.saturating_add(deb.installed_bytes);
        }
        let joins_others = step.installed.is_none() && deb.co_installable;
        let shared = match joins_others {
            true => lists::shared_with_other_architectures(root, &step.package, &deb.arch)?,
            false => HashSet::new(),
        };
        let brought = deb.paths.into_iter().filter(|path| !shared.contains(path));
        let placed = brought.map(|path| lists.diversions.place(path, &step.package));
        self.candidates.add(placed, &package);
        Ok(())
    }
}
