//! Adopting: what stands on disk and in no journal – it was lost, or came back from a backup – is written down again.
//!
//! [`strangers`] does so with what a cleanup comes upon: aliases in stores, without names. A person asks for the rest:
//! [`search`] looks at every name on the managed mounts, for the names that those files have, for aliases beside files, and
//! for markers.
//!
//! Which names a replaced file had cannot be known any more, nor whether an alias was only a guard: it is taken for the kind
//! that stays longer.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use walkdir::{DirEntry, DirEntryExt, WalkDir};

use crate::core::inode::AliasName;
use crate::core::journal::{Journal, Record, Spot};
use crate::core::verdict::{Kind, Run};
use crate::managed;
use crate::settings::Settings;
use crate::survey::{Alias, Ask, Survey, survey};
use crate::sys::files::Root;
use crate::sys::marker::Marked;
use crate::sys::mounts::Mounted;
use crate::sys::state::{self, Locked};
use crate::sys::store;

/// Writes down what the survey of these mounts found in a store and the journal does not know.
///
/// # Errors
/// Where the journal cannot be read or written. It makes no difference to what may go: that is seen from the alias itself.
pub fn strangers(locked: &Locked, mounts: &[Mounted], survey: &Survey) -> Result<()> {
    let strangers = survey.aliases.iter().filter(|alias| !alias.is_recorded);
    let records: Vec<Record> = strangers.map(|alias| record(mounts, alias, Vec::new())).collect();
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
    let (journal, session) = (state::journal(root)?, state::session(root)?);
    let mounts = managed::all(root, &Settings::load(root)?, &session, &journal)?.mounts;
    let points: Vec<PathBuf> = mounts.iter().map(|mounted| mounted.mount.point.clone()).collect();
    let matters = |mounted: &Mounted| {
        mounted.mount.flags.refuse_writes()
            || session.found(&mounted.id()).is_some()
            || journal.records.iter().any(|record| record.mount == mounted.mount.point)
    };
    let mut found = Vec::new();
    for mounted in mounts.iter().filter(|mounted| matters(mounted)) {
        found.push((mounted, Walk { root, mounted, points: &points }.everything()));
    }
    let locked = Locked::wait(root)?;
    let (journal, mut appender) = locked.journal_to_extend()?;
    let (mut records, mut count) = (Vec::new(), 0);
    for (mounted, Found { beside, inside, names }) in found {
        let known = |record: &&Record| journal.records.iter().all(|known| known.spot != record.spot);
        let new: Vec<Record> = beside.into_iter().chain(inside).filter(|record| known(&record)).collect();
        // What has gone meanwhile is in no survey.
        let with_new = Journal { records: [&journal.records[..], &new].concat(), ..Journal::default() };
        let survey = survey(root, &[mounted], &with_new, Run::On, Ask::Verdicts)?;
        for alias in &survey.aliases {
            let is_new = new.iter().any(|record| record.spot == alias.spot);
            let names = names.get(&alias.inode.ino).cloned().unwrap_or_default();
            count += usize::from(is_new || !alias.is_recorded);
            match &alias.spot {
                // Under a name that it may never have had, as that is cut where it is too long, it would pass for replaced.
                Spot::Beside(file) if is_new && (alias.links == 1 || !names.is_empty()) => {
                    let others = names.into_iter().filter(|name| name != file);
                    let names = std::iter::once(file.clone()).chain(others).collect();
                    records.push(record(&mounts, alias, names));
                }
                Spot::Store(_) if !alias.is_recorded || alias.names.is_empty() && !names.is_empty() => {
                    records.push(record(&mounts, alias, names));
                }
                Spot::Beside(_) | Spot::Store(_) | Spot::Inside(_) => {}
            }
        }
        let markers = new.into_iter().filter(|record| matches!(&record.spot, Spot::Inside(_)));
        let is_there =
            |record: &Record| survey.directories.iter().any(|kept| record.spot == Spot::Inside(kept.path.clone()));
        let before = records.len();
        records.extend(markers.filter(is_there));
        count += records.len() - before;
    }
    appender.append(records)?;
    Ok(count)
}

fn record(mounts: &[Mounted], alias: &Alias, names: Vec<PathBuf>) -> Record {
    let mounted = mounts.iter().find(|mounted| mounted.mount.point == alias.mount);
    Record {
        mount: alias.mount.clone(),
        spot: alias.spot.clone(),
        alias: alias.name,
        // On overlayfs it is the time of whichever layer the file is in.
        born: alias.born.filter(|_| mounted.is_some_and(|mounted| mounted.mount.overlay.is_none())),
        names,
        kind: if alias.is_recorded { alias.kind } else { Kind::Planned },
    }
}

/// What is on one mount, and neither on another below it nor in a btrfs subvolume: that may be anybody's snapshot.
struct Walk<'a> {
    root: &'a Root,
    mounted: &'a Mounted,
    points: &'a [PathBuf],
}

/// What was found.
#[derive(Default)]
struct Found {
    /// What may be aliases beside their files.
    beside: Vec<Record>,
    /// Markers.
    inside: Vec<Record>,
    /// All names of the files that have several, other than those that we gave them, by their number.
    names: HashMap<u64, Vec<PathBuf>>,
}

impl Walk<'_> {
    fn everything(&self) -> Found {
        let mut found = Found::default();
        for entry in self.entries().filter(|entry| !entry.file_type().is_dir()) {
            match self.ours(&entry) {
                Some(record) if matches!(&record.spot, Spot::Beside(_)) => found.beside.push(record),
                Some(record) => found.inside.push(record),
                None if entry.metadata().is_ok_and(|stat| stat.nlink() > 1) => {
                    found.names.entry(entry.ino()).or_default().extend(self.inside(entry.path()));
                }
                None => {}
            }
        }
        found
    }

    /// A marker, or what may be an alias beside its file.
    fn ours(&self, entry: &DirEntry) -> Option<Record> {
        let path = self.inside(entry.path())?;
        let (directory, name) = (path.parent()?.to_owned(), path.file_name()?.as_bytes());
        let alias = name.rsplit(|byte| *byte == b'.').next().and_then(AliasName::parse)?;
        let before = name.strip_suffix(format!(".rokeep.{}", alias.0).as_bytes())?;
        let (spot, of, kind) = match before.strip_prefix(b".") {
            None if before.is_empty() && self.is_marked(&directory, alias) => {
                (Spot::Inside(directory.clone()), directory, Kind::Guard)
            }
            Some(file) if entry.ino() == alias.0 && self.only_root_writes(&directory) => {
                let file = directory.join(OsStr::from_bytes(file));
                (Spot::Beside(file.clone()), file, Kind::Planned)
            }
            Some(_) | None => return None,
        };
        Some(Record { mount: self.mounted.mount.point.clone(), spot, alias, born: None, names: vec![of], kind })
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
        let point = &self.mounted.mount.point;
        let top = self.root.path("/").join(point.strip_prefix("/").unwrap_or(point));
        let walk = WalkDir::new(top).same_file_system(true).into_iter();
        walk.filter_entry(|entry| !entry.file_type().is_dir() || self.is_here(entry)).filter_map(Result::ok)
    }

    fn is_here(&self, directory: &DirEntry) -> bool {
        let is_store = directory.file_name() == store::NAME;
        let path = self.inside(directory.path()).filter(|path| !is_store && self.is_nearest(path));
        let dir = path.and_then(|path| self.root.open_dir(&path).ok().flatten());
        dir.and_then(|dir| dir.stat().ok()).is_some_and(|stat| stat.mount_id == self.mounted.mount.id)
    }

    /// Another managed mount has its own walk.
    fn is_nearest(&self, path: &Path) -> bool {
        let point = &self.mounted.mount.point;
        *path == **point || !self.points.iter().any(|other| *path == **other)
    }

    fn inside(&self, path: &Path) -> Option<PathBuf> {
        Some(Path::new("/").join(path.strip_prefix(self.root.path("/")).ok()?))
    }
}
