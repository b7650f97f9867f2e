//! What the new archives bring: a file that is there already may belong to a package that nobody announced, which then
//! loses it (Replaces, --force-overwrite) or disappears altogether.

use std::collections::HashSet;
use std::iter::Enumerate;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, available_parallelism};
use std::vec::IntoIter;

use anyhow::Result;

use super::Started;
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
    minding: HashSet<Arc<str>>,
    unreadable: Vec<String>,
}

/// Some of the archives of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Of packages that were not there before. Nothing else can be done meanwhile.
    New,
    /// Of those that replace another version, or the same. Another thread links meanwhile.
    Replacing,
}

impl Which {
    fn idle_processors(self) -> usize {
        let busy = match self {
            Which::New => 1,
            Which::Replacing => 2,
        };
        available_parallelism().map_or(0, |processors| processors.get().saturating_sub(busy))
    }
}

/// An archive, and the step that unpacks it.
pub struct Opened<'a> {
    step: &'a Step,
    archive: &'a Path,
    deb: Result<Deb>,
}

/// Opens archives that are to be unpacked, each once. Most of that is decompressing, so other processors help.
pub fn open(stream: &Stream, which: Which) -> Vec<Opened<'_>> {
    let mut seen = HashSet::new();
    let is_one = |step: &&Step| step.installed.is_none() == (which == Which::New);
    let unpacks = stream.steps.iter().filter(is_one).filter_map(|step| match &step.action {
        Action::Unpack(archive) => Some((step, archive.as_path())),
        Action::Remove | Action::Configure => None,
    });
    let all: Vec<_> = unpacks.filter(|(_, archive)| seen.insert(*archive)).collect();
    let helpers = which.idle_processors().min(MOST_HELPERS).min(all.len().saturating_sub(1));
    let left = Mutex::new(all.into_iter().enumerate());
    let mut opened = thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| Started::on(scope, || open_what_is_left(&left))).collect();
        let mut opened = open_what_is_left(&left);
        helpers.into_iter().for_each(|helper| opened.extend(helper.joined()));
        opened
    });
    // In apt's order.
    opened.sort_by_key(|(number, _)| *number);
    opened.into_iter().map(|(_, opened)| opened).collect()
}

type Numbered<'a> = Enumerate<IntoIter<(&'a Step, &'a Path)>>;

fn open_what_is_left<'a>(left: &Mutex<Numbered<'a>>) -> Vec<(usize, Opened<'a>)> {
    let next = || left.lock().ok()?.next();
    let open = |(number, (step, archive))| (number, Opened { step, archive, deb: deb::read(archive) });
    std::iter::from_fn(next).map(open).collect()
}

impl Default for Archives {
    /// None yet.
    fn default() -> Archives {
        let candidates = Candidates::new(Reason::Brought);
        Archives { candidates, new_bytes: 0, minding: HashSet::new(), unreadable: Vec::new() }
    }
}

impl Archives {
    /// Adds what these bring.
    ///
    /// # Errors
    /// Where one of dpkg's lists cannot be read. An archive that cannot is a note.
    pub fn add(&mut self, root: &Root, opened: Vec<Opened>, lists: &Lists) -> Result<()> {
        for Opened { step, archive, deb } in opened {
            match deb {
                Ok(deb) => self.add_one(root, step, deb, lists)?,
                Err(error) => {
                    // It may, for all that is known.
                    self.minding.insert(step.package.as_str().into());
                    // apt has no name for some (`**ERROR**`).
                    let nameless = archive.as_os_str().is_empty();
                    self.unreadable.push(if nameless {
                        format!("the archive of {}", step.package)
                    } else {
                        format!("{error:#}")
                    });
                }
            }
        }
        Ok(())
    }

    /// What a person should know of them.
    pub fn notes(&self) -> Vec<String> {
        let which = message::few(&self.unreadable, 3);
        let note = || format!("what they take over from other packages is protected only if it is in use: {which}");
        (!self.unreadable.is_empty()).then(note).into_iter().collect()
    }

    /// Whether the new version of a package may fail if it finds something in its directories that is not its own.
    pub fn mind_other_files(&self, package: &str) -> bool {
        self.minding.contains(package)
    }

    fn add_one(&mut self, root: &Root, step: &Step, deb: Deb, lists: &Lists) -> Result<()> {
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
