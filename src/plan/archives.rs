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
use crate::core::candidates::{Candidates, Gathering};
use crate::core::deb::Deb;
use crate::core::message;
use crate::core::paths::ListedPath;
use crate::core::plan::Reason;
use crate::sys::deb;
use crate::sys::files::Root;

/// Each may need as much memory as a decompression can take.
const MOST_HELPERS: usize = 3;

/// What they say of themselves.
#[derive(Debug, Default)]
pub struct Archives {
    brought: Gathering,
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
    /// Without the paths that the package has already.
    deb: Result<Deb>,
}

/// Opens archives that are to be unpacked, each once. Most of that is decompressing, so other processors help.
pub fn open<'a>(stream: &'a Stream, which: Which, lists: &Lists) -> Vec<Opened<'a>> {
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
        let helpers: Vec<_> = (0..helpers).map(|_| Started::on(scope, || open_what_is_left(&left, lists))).collect();
        let mut opened = open_what_is_left(&left, lists);
        helpers.into_iter().for_each(|helper| opened.extend(helper.joined()));
        opened
    });
    // In apt's order.
    opened.sort_by_key(|(number, _)| *number);
    opened.into_iter().map(|(_, opened)| opened).collect()
}

type Numbered<'a> = Enumerate<IntoIter<(&'a Step, &'a Path)>>;

fn open_what_is_left<'a>(left: &Mutex<Numbered<'a>>, lists: &Lists) -> Vec<(usize, Opened<'a>)> {
    let next = || left.lock().ok()?.next();
    let open = |(number, (step, archive))| {
        let deb = deb::read(archive).map(|deb| Deb { paths: new_paths(&deb.paths, step, lists), ..deb });
        (number, Opened { step, archive, deb })
    };
    std::iter::from_fn(next).map(open).collect()
}

/// Those that the package does not have already. Of one that replaces another version they are few, and all paths of
/// thousands of archives would take much memory.
fn new_paths(paths: &[ListedPath], step: &Step, lists: &Lists) -> Vec<ListedPath> {
    let has = |path: &ListedPath| {
        let mut packages = lists.candidates.packages(path);
        packages.any(|package| **package == *step.package.as_str())
    };
    let is_new = |path: &&ListedPath| !has(&lists.diversions.place((*path).clone(), &step.package));
    ListedPath::by_themselves(&paths.iter().filter(is_new).cloned().collect::<Vec<_>>())
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

    /// The paths that they bring to packages which do not have them already, where diversions put them. Nothing is left
    /// of them here.
    pub fn take_brought(&mut self) -> Candidates {
        std::mem::take(&mut self.brought).candidates(Reason::Brought)
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
        self.brought.add(placed, &package);
        Ok(())
    }
}
