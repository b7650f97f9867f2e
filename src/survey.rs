//! Which aliases there are, what became of the files they were made for, and who holds them.
//!
//! Changes nothing and needs no writable mount: `status` and `cleanup` see the same.

mod found;
mod holders;
mod people;
mod seen;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

pub(crate) use self::found::{mounts_of, our_site, sites_below};
use crate::core::holder::Holder;
use crate::core::inode::{AliasName, Born, Device, Inode};
use crate::core::journal::{Journal, Names, Spot};
use crate::core::verdict::{self, Because, DirectoryVerdict, Kind, Lease, Original, Pin, Run, Shown, Use, Verdict};
use crate::plan::lists;
use crate::sys::files::Root;
use crate::sys::mounts::Mounted;
use crate::sys::scan::Unreadable;
use crate::sys::store::Store;

/// What a caller wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What may go. Where the kernel says of all the rest that somebody has it, nobody is looked for.
    Verdicts,
    /// Also who holds what may not.
    Holders,
}

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// Every alias of the mounts that were asked about.
    pub aliases: Vec<Alias>,
    /// Every directory of them that is kept by a marker.
    pub directories: Vec<KeptDirectory>,
    /// What is in a store and is none of ours, for a person to look at.
    pub foreign: Vec<ForeignEntry>,
    /// The mount points of those on which a store is empty.
    pub with_empty_store: Vec<PathBuf>,
    /// Processes that could not be read, if any had to be.
    pub unreadable: Unreadable,
    /// Whether it is known who holds what is held.
    pub known: Ask,
    run: Run,
}

/// An alias and all that is known of it.
#[derive(Debug)]
pub struct Alias {
    /// The mount point of the managed mount that it serves.
    pub mount: Arc<Path>,
    /// Where it is.
    pub spot: Spot,
    /// The number of its inode, and its name.
    pub name: AliasName,
    /// What it was made for; where the journal does not know it, it is taken for the kind that stays longer.
    pub kind: Kind,
    /// Bytes on disk.
    pub bytes: u64,
    /// The names it was made for; none where they are not known.
    pub names: Names,
    /// What became of them.
    pub original: Original,
    /// Who holds it, if its inode was replaced and the caller wants to know; nobody was asked otherwise.
    pub holders: Vec<Holder>,
    /// Whether the kernel has it in use, if that was looked at ([`crate::pins`]).
    pub pin: Option<Pin>,
    /// Which one it is.
    pub inode: Inode,
    /// When that was made, where it can be told.
    pub born: Option<Born>,
    /// Whether the journal knows it.
    pub is_recorded: bool,
    /// Names that its inode has, that of the alias among them.
    pub links: u64,
    device: Device,
    is_file: bool,
    lease: Lease,
    shown: Shown,
    /// The store that it is in; none where it is beside a file, and when the survey is done.
    store: Option<Arc<Store>>,
    /// The directory that has the entry.
    dir: Inode,
}

/// An entry of a store that is no alias.
#[derive(Debug)]
pub struct ForeignEntry {
    /// The mount point of the managed mount.
    pub mount: PathBuf,
    /// The store.
    pub store: PathBuf,
    /// Its name there.
    pub name: OsString,
}

/// A directory that a marker keeps.
#[derive(Debug)]
pub struct KeptDirectory {
    /// The mount point of the managed mount that it is on.
    pub mount: PathBuf,
    /// Its name.
    pub path: PathBuf,
    /// The directories above it that go with it, if they are empty and nobody's then.
    pub above: Vec<PathBuf>,
    /// Its number when it was marked.
    pub name: AliasName,
    /// Whether a package has it; `None` where the lists could not be read.
    pub listed: Option<bool>,
    /// Who is in it, if no package has it any more and the caller wants to know.
    pub holders: Vec<Holder>,
    /// Which one it is now.
    pub inode: Inode,
    /// It, and those above it up to the first that a package has, or that has a marker of its own: they go with it, so who is
    /// in one of them keeps all.
    with_above: Vec<Inode>,
    device: Device,
    shown: Shown,
}

/// Looks at what was left on these mounts, by a run that is still on or over.
///
/// # Errors
/// Where a store or /proc cannot be read. One process that cannot be read is no error, see [`Survey::unreadable`].
pub fn survey(root: &Root, mounts: &[&Mounted], journal: &Journal, run: Run, ask: Ask) -> Result<Survey> {
    let (mut aliases, mut directories, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
    let mut with_empty_store = Vec::new();
    for mounted in mounts {
        let on = found::on(root, mounted, journal)?;
        aliases.extend(on.aliases);
        directories.extend(on.directories);
        foreign.extend(on.foreign);
        with_empty_store.extend(on.has_empty_store.then(|| mounted.mount.point.clone()));
    }
    found::see_originals(root, &mut aliases);
    let unreadable = Unreadable::default();
    let mut survey = Survey { aliases, directories, foreign, with_empty_store, unreadable, known: ask, run };
    survey.find_listed(root);
    // Only what was replaced can be dropped, so only for that does it matter who holds it.
    if survey.asks_for_holders() {
        holders::find(root, &mut survey, ask)?;
    }
    // An open store could not be removed.
    survey.aliases.iter_mut().for_each(|alias| alias.store = None);
    Ok(survey)
}

impl Survey {
    /// May it go?
    pub fn verdict(&self, alias: &Alias) -> Verdict {
        verdict::verdict(alias.kind, alias.original, alias.used(), self.run)
    }

    /// May it go, and its marker?
    pub fn directory_verdict(&self, directory: &KeptDirectory) -> DirectoryVerdict {
        verdict::directory(directory.listed, directory.used(), self.run)
    }

    /// The aliases for which [`Survey::verdict`] gives this answer.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Alias> {
        self.aliases.iter().filter(move |alias| self.verdict(alias) == verdict)
    }

    /// Whether a cleanup would find something to do on this mount.
    pub fn has_something_to_drop(&self, mount: &Path) -> bool {
        let stays = |directory: &KeptDirectory| matches!(self.directory_verdict(directory), DirectoryVerdict::Keep(_));
        self.with(Verdict::Drop).any(|alias| *alias.mount == *mount)
            || self.with_empty_store.iter().any(|point| point == mount)
            || self.directories.iter().any(|directory| directory.mount == mount && !stays(directory))
    }

    /// Whether there are aliases that the journal does not know.
    pub fn has_strangers(&self) -> bool {
        self.aliases.iter().any(|alias| !alias.is_recorded)
    }

    /// What is kept, or not known by whom it is held, because somebody could not be read.
    pub fn left_unknown(&self) -> impl Iterator<Item = &Alias> {
        let nameless = |alias: &&Alias| self.known == Ask::Holders && alias.holders.is_empty() && !alias.is_pinned();
        let held = self.with(Verdict::Keep(Because::Held)).filter(nameless);
        self.with(Verdict::Keep(Because::Unknown)).chain(held).filter(|_| !self.unreadable.is_empty())
    }

    /// Whether anything is.
    pub fn leaves_something_unknown(&self) -> bool {
        let unknown = |kept| self.directory_verdict(kept) == DirectoryVerdict::Keep(Because::Unknown);
        self.left_unknown().next().is_some() || self.directories.iter().any(unknown)
    }

    fn asks_for_holders(&self) -> bool {
        self.aliases.iter().any(|alias| alias.original == Original::Replaced)
            || self.directories.iter().any(|directory| directory.listed == Some(false))
    }

    fn find_listed(&mut self, root: &Root) {
        let paths = |directory: &KeptDirectory| [&[directory.path.clone()][..], &directory.above].concat();
        let named: Vec<(PathBuf, Inode)> =
            self.directories.iter().flat_map(|kept| paths(kept).into_iter().zip(kept.with_above.clone())).collect();
        let names: Vec<_> = named.iter().filter_map(|(path, inode)| Some((path.file_name()?, *inode))).collect();
        let listed = lists::listed_directories(root, &names).ok();
        let marked: HashSet<Inode> = self.directories.iter().map(|directory| directory.inode).collect();
        for directory in &mut self.directories {
            directory.listed = listed.as_ref().map(|listed| listed.contains(&directory.inode));
            let is_listed = |inode: &Inode| listed.as_ref().is_none_or(|listed| listed.contains(inode));
            let stays =
                directory.with_above.iter().skip(1).position(|inode| is_listed(inode) || marked.contains(inode));
            directory.with_above.truncate(1 + stays.unwrap_or(directory.above.len()));
        }
    }
}

impl Alias {
    /// The directory entry that it is: two paths may lead to one.
    pub fn entry(&self) -> (Inode, AliasName) {
        (self.dir, self.name)
    }

    /// Whether anybody uses it, as far as can be told without a deeper look.
    pub fn seen(&self) -> Use {
        verdict::used(self.lease, self.shown)
    }

    /// Whether nobody was seen to hold it, and yet it is in use.
    pub fn is_pinned(&self) -> bool {
        self.pin == Some(Pin::Pinned) && self.seen() != Use::Held
    }

    fn used(&self) -> Use {
        verdict::deeper(self.seen(), self.pin)
    }

    fn first_name(&self) -> Option<&OsStr> {
        self.names.first().map(|name| name.as_os_str())
    }

    fn is_replaced(&self) -> bool {
        self.original == Original::Replaced
    }
}

impl KeptDirectory {
    /// No lease is given on a directory.
    fn used(&self) -> Use {
        verdict::used(Lease::NotApplicable, self.shown)
    }
}
