//! What the new archives bring: a file that is there already may belong to a package that nobody announced, which then
//! loses it (Replaces, --force-overwrite) or disappears altogether.

use std::collections::HashSet;
use std::iter::Enumerate;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{Scope, ScopedJoinHandle, available_parallelism};
use std::vec::IntoIter;

use anyhow::Result;

use super::lists::{self, Lists};
use crate::core::apt_stream::{Action, Step, Stream};
use crate::core::candidates::Candidates;
use crate::core::deb::Deb;
use crate::core::message;
use crate::core::plan::Reason;
use crate::sys::deb;
use crate::sys::files::Root;

/// Each may need as much memory as a decompression can take.
const MOST_HELPERS: usize = 3;

/// What they say of themselves.
#[derive(Debug)]
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

/// All archives that are to be unpacked, being opened, each once. Most of that is decompressing.
pub struct Opening<'scope, 'a> {
    left: Arc<Mutex<Numbered<'a>>>,
    helpers: Vec<ScopedJoinHandle<'scope, Vec<(usize, Opened<'a>)>>>,
}

type Numbered<'a> = Enumerate<IntoIter<(&'a Step, &'a Path)>>;

impl<'scope, 'a: 'scope> Opening<'scope, 'a> {
    /// Has the other processors begin with it.
    pub fn start(scope: &'scope Scope<'scope, '_>, stream: &'a Stream) -> Opening<'scope, 'a> {
        let mut seen = HashSet::new();
        let unpacks = stream.steps.iter().filter_map(|step| match &step.action {
            Action::Unpack(archive) => Some((step, archive.as_path())),
            Action::Remove | Action::Configure => None,
        });
        let all: Vec<_> = unpacks.filter(|(_, archive)| seen.insert(*archive)).collect();
        let others = available_parallelism().map_or(0, |processors| processors.get() - 1);
        let helpers = others.min(MOST_HELPERS).min(all.len());
        let left = Arc::new(Mutex::new(all.into_iter().enumerate()));
        let help = |left: &Arc<Mutex<Numbered<'a>>>| {
            let left = left.clone();
            scope.spawn(move || open_what_is_left(&left))
        };
        let helpers = (0..helpers).map(|_| help(&left)).collect();
        Opening { left, helpers }
    }

    /// Joins in until the last one is open. They come in apt's order.
    pub fn finish(self) -> Vec<Opened<'a>> {
        let mut opened = open_what_is_left(&self.left);
        for helper in self.helpers {
            opened.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        opened.sort_by_key(|(number, _)| *number);
        opened.into_iter().map(|(_, opened)| opened).collect()
    }
}

fn open_what_is_left<'a>(left: &Mutex<Numbered<'a>>) -> Vec<(usize, Opened<'a>)> {
    let next = || left.lock().ok()?.next();
    let open = |(number, (step, archive))| (number, Opened { step, archive, deb: deb::read(archive) });
    std::iter::from_fn(next).map(open).collect()
}

/// What the archives bring.
///
/// # Errors
/// Where one of dpkg's lists cannot be read. An archive that cannot is a note.
pub fn brought(root: &Root, opened: Vec<Opened>, lists: &Lists) -> Result<Archives> {
    let mut archives = Archives {
        candidates: Candidates::new(Reason::Brought),
        new_bytes: 0,
        notes: Vec::new(),
        minding: HashSet::new(),
    };
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
