//! Adopting: what stands on disk and in no journal – it was lost, or came back from a backup – is written down again.
//!
//! [`strangers`] does so with what a cleanup comes upon: aliases in stores, without names. A person asks for the rest:
//! [`search`] looks at every name on the managed mounts, for the names that those files have, for aliases beside files, and
//! for markers.
//!
//! Which names a replaced file had cannot be known any more, nor whether an alias was only a guard: it is taken for the kind
//! that stays longer.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use smallvec::smallvec;
use walkdir::{DirEntry, DirEntryExt, WalkDir};

use crate::core::inode::{AliasName, Inode};
use crate::core::journal::{Journal, Names, Record, Spot};
use crate::core::mountinfo::Mount;
use crate::core::verdict::{Kind, Run};
use crate::managed;
use crate::settings::Settings;
use crate::survey::{self, Alias, Ask, Survey, survey};
use crate::sys::files::{Directory, Root};
use crate::sys::marker::Marked;
use crate::sys::mounts::{self, Mounted};
use crate::sys::site::Site;
use crate::sys::state::{self, Locked};
use crate::sys::store::{self, Store};

/// Writes down what the survey of these mounts found in a store and the journal does not know.
///
/// # Errors
/// Where the journal cannot be read or written. It makes no difference to what may go: that is seen from the alias itself.
pub fn strangers(locked: &Locked, mounts: &[Mounted], survey: &Survey) -> Result<()> {
    let strangers = survey.aliases.iter().filter(|alias| !alias.is_recorded);
    let on = |alias: &Alias| mounts.iter().find(|mounted| *mounted.mount.point == *alias.mount);
    let records: Vec<Record> = strangers.filter_map(|alias| Some(record(on(alias)?, alias, Names::new()))).collect();
    let (_, mut appender) = locked.journal_to_extend()?;
    appender.append(records)
}

/// Looks at every name on the mounts that matter, and writes down what is ours, and what names it has. Answers how many
/// aliases and markers no journal knew.
///
/// It looks first, which may take long, and takes the lock then, for what is still so.
///
/// # Errors
/// Where settings, session, journal or mounts cannot be read, or the journal not be written.
pub fn search(root: &Root) -> Result<usize> {
    search_and_note(root).context("could not look for what the journal does not know")
}

fn search_and_note(root: &Root) -> Result<usize> {
    let (journal, session) = (state::journal(root)?, state::session(root)?);
    let mounts = managed::all(root, &Settings::load(root)?, &session, &journal)?.mounts;
    let points: Vec<PathBuf> = mounts.iter().map(|mounted| mounted.mount.point.clone()).collect();
    let matters = |mounted: &Mounted| {
        mounted.mount.flags.refuse_writes()
            || session.found(&mounted.id()).is_some()
            || journal.records.iter().any(|record| *record.mount == *mounted.mount.point)
    };
    let mut found = Vec::new();
    for mounted in mounts.iter().filter(|mounted| matters(mounted)) {
        found.push((mounted, everything(root, mounted, &points)?));
    }
    let locked = Locked::wait(root)?;
    let (journal, mut appender) = locked.journal_to_extend()?;
    let mut adopted = Adopted::default();
    for (mounted, found) in found {
        adopted.join(still_there(root, mounted, &journal, found)?);
    }
    appender.append(adopted.records)?;
    Ok(adopted.unknown)
}

/// What is to be written down.
#[derive(Default)]
struct Adopted {
    records: Vec<Record>,
    /// How many of them no journal knew; of the others it did not know the names.
    unknown: usize,
}

impl Adopted {
    fn add(&mut self, record: Record, is_new: bool) {
        self.records.push(record);
        self.unknown += usize::from(is_new);
    }

    fn join(&mut self, other: Adopted) {
        self.records.extend(other.records);
        self.unknown += other.unknown;
    }
}

/// What is to be written down of what was found on one mount: what has gone meanwhile is in no survey.
fn still_there(root: &Root, mounted: &Mounted, journal: &Journal, found: Found) -> Result<Adopted> {
    let known: HashSet<(&Spot, AliasName)> = journal.records.iter().map(key).collect();
    let mut new = found.ours;
    new.retain(|record| !known.contains(&key(record)));
    let with_new = Journal { records: [&journal.records[..], &new].concat(), ..Journal::default() };
    let survey = survey(root, &[mounted], &with_new, Run::On, Ask::Verdicts)?;
    let found_now: HashSet<(&Spot, AliasName)> = new.iter().map(key).collect();
    let mut adopted = Adopted::default();
    for alias in &survey.aliases {
        let is_new = found_now.contains(&(&alias.spot, alias.name)) || !alias.is_recorded;
        let names = found.names.get(&alias.inode).cloned().unwrap_or_default();
        match &alias.spot {
            // Under a name that it may never have had, as that is cut where it is too long, it would pass for replaced.
            Spot::Beside(file) if is_new && (alias.links == 1 || !names.is_empty()) => {
                let others = names.into_iter().filter(|name| **name != **file).map(Arc::from);
                let names = std::iter::once(file.clone()).chain(others).collect();
                adopted.add(record(mounted, alias, names), is_new);
            }
            Spot::Store(_) if is_new || alias.names.is_empty() && !names.is_empty() => {
                adopted.add(record(mounted, alias, names.into_iter().map(Arc::from).collect()), is_new);
            }
            Spot::Beside(_) | Spot::Store(_) | Spot::Inside(_) => {}
        }
    }
    let is_there =
        |record: &Record| survey.directories.iter().any(|kept| record.spot == Spot::Inside(kept.path.as_path().into()));
    new.into_iter().filter(is_there).for_each(|marker| adopted.add(marker, true));
    Ok(adopted)
}

/// There may be very many of either: no list is to be searched for each.
fn key(record: &Record) -> (&Spot, AliasName) {
    (&record.spot, record.alias)
}

fn record(mounted: &Mounted, alias: &Alias, names: Names) -> Record {
    Record {
        mount: alias.mount.clone(),
        spot: alias.spot.clone(),
        alias: alias.name,
        // On overlayfs it is the time of whichever layer the file is in.
        born: alias.born.filter(|_| mounted.mount.overlay.is_none()),
        names,
        kind: if alias.is_recorded { alias.kind } else { Kind::Planned },
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    /// Markers, what may be aliases beside their files, and what is in stores below the mount point.
    ours: Vec<Record>,
    /// All names of the files that have several, other than those that we gave them.
    names: HashMap<Inode, Vec<PathBuf>>,
    /// The stores that were looked into: one may be mounted at several places.
    stores: HashSet<Inode>,
}

/// What is on a managed mount, and on the other mounts of its file system below it; the other managed ones have their own
/// turn.
fn everything(root: &Root, mounted: &Mounted, points: &[PathBuf]) -> Result<Found> {
    let Mount { point, device, .. } = &mounted.mount;
    let mut found = Found::default();
    if let Some(store) = Store::open(&Site::of(mounted)?).ok().flatten() {
        found.stores.insert(store.inode()?);
    }
    let nearest = |mount: &Mount| {
        points.iter().filter(|managed| mount.point.starts_with(managed)).max_by_key(|managed| managed.as_os_str().len())
    };
    for mount in mounts::table(root)?.iter().filter(|mount| mount.device == *device && nearest(mount) == Some(point)) {
        Walk { root, managed: point, mount, points }.all(&mut found);
    }
    Ok(found)
}

/// What is on one mount, and neither on another below it, nor in a btrfs subvolume that is not mounted by itself: that may be
/// anybody's snapshot; nor in the tree of another system, whose rokeep may have its own there.
struct Walk<'a> {
    root: &'a Root,
    /// The mount point of the managed mount.
    managed: &'a Path,
    mount: &'a Mount,
    points: &'a [PathBuf],
}

impl Walk<'_> {
    fn all(&self, found: &mut Found) {
        if self.mount.point != self.managed {
            self.add_store(found);
        }
        for entry in self.entries().filter(|entry| !entry.file_type().is_dir()) {
            match self.ours(&entry) {
                Some(record) => found.ours.push(record),
                None => {
                    // By device as well: each btrfs subvolume counts anew.
                    let several = entry.metadata().ok().filter(|stat| stat.nlink() > 1);
                    if let Some(inode) = several.map(|stat| Inode { dev: stat.dev(), ino: stat.ino() }) {
                        found.names.entry(inode).or_default().extend(self.inside(entry.path()));
                    }
                }
            }
        }
    }

    /// No survey looks into a store below the mount point that the journal does not know.
    fn add_store(&self, found: &mut Found) {
        let top = self.root.open_dir(&self.mount.point).ok().flatten();
        if top.is_none_or(|top| is_another_system(&top, &self.mount.point)) {
            return;
        }
        let site = survey::our_site(self.root, &self.mount.point, &HashSet::from([self.mount.id])).ok().flatten();
        let Some(store) = site.and_then(|site| Store::open(&site).ok().flatten()) else { return };
        if !store.inode().is_ok_and(|inode| found.stores.insert(inode)) {
            return;
        }
        let aliases = store.contents().map(|contents| contents.aliases).unwrap_or_default();
        let spot = Spot::Store(self.mount.point.as_path().into());
        let record = |(alias, _)| self.record(spot.clone(), alias, Names::new(), Kind::Planned);
        found.ours.extend(aliases.into_iter().map(record));
    }

    fn record(&self, spot: Spot, alias: AliasName, names: Names, kind: Kind) -> Record {
        Record { mount: self.managed.into(), spot, alias, born: None, names, kind }
    }

    /// A marker, or what may be an alias beside its file.
    fn ours(&self, entry: &DirEntry) -> Option<Record> {
        let path = self.inside(entry.path())?;
        let (directory, name) = (path.parent()?.to_owned(), path.file_name()?.as_bytes());
        let alias = name.rsplit(|byte| *byte == b'.').next().and_then(AliasName::parse)?;
        let before = name.strip_suffix(format!(".rokeep.{}", alias.0).as_bytes())?;
        let (spot, of, kind) = match before.strip_prefix(b".") {
            None if before.is_empty() && self.is_marked(&directory, alias) => {
                (Spot::Inside(directory.as_path().into()), directory, Kind::Guard)
            }
            Some(file) if entry.ino() == alias.0 && self.only_root_writes(&directory) => {
                let file = directory.join(OsStr::from_bytes(file));
                (Spot::Beside(file.as_path().into()), file, Kind::Planned)
            }
            Some(_) | None => return None,
        };
        Some(self.record(spot, alias, smallvec![of.into()], kind))
    }

    /// Otherwise anybody could give a file of theirs such a name, and have root remove it one day.
    fn only_root_writes(&self, directory: &Path) -> bool {
        let dir = self.root.open_dir(directory).ok().flatten();
        dir.and_then(|dir| dir.stat().ok()).is_some_and(|stat| stat.only_root_writes())
    }

    fn is_marked(&self, directory: &Path, number: AliasName) -> bool {
        Marked::find(self.root, directory, number, |stat| stat.inode.ino == number.0).is_ok_and(|found| found.is_some())
    }

    /// What cannot be looked at is passed over: it is nobody's business here.
    fn entries(&self) -> impl Iterator<Item = DirEntry> {
        let point = &self.mount.point;
        let top = self.root.path("/").join(point.strip_prefix("/").unwrap_or(point));
        let walk = WalkDir::new(top).same_file_system(true).into_iter();
        walk.filter_entry(|entry| !entry.file_type().is_dir() || self.is_here(entry)).filter_map(Result::ok)
    }

    fn is_here(&self, directory: &DirEntry) -> bool {
        let is_store = directory.file_name() == store::NAME;
        let path = self.inside(directory.path()).filter(|path| !is_store && self.is_nearest(path));
        let Some((path, dir)) = path.and_then(|path| Some((path.clone(), self.root.open_dir(&path).ok()??))) else {
            return false;
        };
        dir.stat().is_ok_and(|stat| stat.mount_id == self.mount.id) && !is_another_system(&dir, &path)
    }

    /// Another managed mount has its own walk.
    fn is_nearest(&self, path: &Path) -> bool {
        *path == *self.mount.point || !self.points.iter().any(|other| *path == **other)
    }

    fn inside(&self, path: &Path) -> Option<PathBuf> {
        Some(Path::new("/").join(path.strip_prefix(self.root.path("/")).ok()?))
    }
}

/// The root directory of a chroot or a container.
fn is_another_system(dir: &Directory, path: &Path) -> bool {
    let has = |name: &str| dir.entry(OsStr::new(name)).is_ok_and(|entry| entry.is_some());
    path != Path::new("/") && ["etc", "usr", "var"].into_iter().all(has)
}
