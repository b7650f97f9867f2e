//! Adopting: what stands on disk and in no journal – it was lost, or came back from a backup – is written down again, with
//! the names that lead to it now.
//!
//! Which names a replaced file had cannot be known any more, nor whether an alias was only a guard: it is taken for the kind
//! that stays longer.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use walkdir::{DirEntry, DirEntryExt, WalkDir};

use crate::core::inode::{AliasName, Inode};
use crate::core::journal::{Journal, Record, Spot};
use crate::core::verdict::{Kind, Run};
use crate::survey::{self, Alias, Ask, survey};
use crate::sys::files::Root;
use crate::sys::marker::Marked;
use crate::sys::mounts::Mounted;
use crate::sys::state::Locked;
use crate::sys::store;

/// Looks at every name on these mounts, and writes down what is an alias or a marker of ours and in no journal. Answers how
/// many there were.
///
/// # Errors
/// Where a mount cannot be looked at, or the journal not be read or written.
pub fn adopt(root: &Root, locked: &Locked, mounts: &[Mounted]) -> Result<usize> {
    let (journal, mut appender) = locked.journal_to_extend()?;
    let mut strangers = Vec::new();
    for mounted in mounts {
        let walk = Walk { root, mounted, here: survey::mounts_of(root, mounted)? };
        let mut found = walk.strangers(&journal);
        // With them the stores that nobody knew are looked into as well.
        let with_them = Journal { records: [&journal.records[..], &found].concat(), ..Journal::default() };
        let survey = survey(root, &[mounted], &with_them, Run::On, Ask::Verdicts)?;
        let unknown: Vec<&Alias> = survey.aliases.iter().filter(|alias| !alias.is_recorded).collect();
        let names = walk.names_of(unknown.iter().map(|alias| alias.inode).collect());
        found.retain(|record| record.spot.store().is_none());
        found.extend(unknown.into_iter().map(|alias| Record {
            mount: mounted.mount.point.clone(),
            spot: alias.spot.clone(),
            alias: alias.name,
            born: alias.born.filter(|_| mounted.mount.overlay.is_none()),
            names: names.get(&alias.inode).cloned().unwrap_or_default(),
            kind: Kind::Planned,
        }));
        strangers.extend(found);
    }
    let count = strangers.len();
    appender.append(strangers)?;
    Ok(count)
}

/// All that is on one mount, and on others of the same file system below it.
struct Walk<'a> {
    root: &'a Root,
    mounted: &'a Mounted,
    here: HashSet<u64>,
}

impl Walk<'_> {
    /// What is ours and not in the journal: aliases beside files, markers, and stores. Those are records of no alias, for a
    /// survey to look into.
    fn strangers(&self, journal: &Journal) -> Vec<Record> {
        let mut found: Vec<Record> = self.entries().filter_map(|entry| self.stranger(&entry)).collect();
        let known: HashSet<(&Spot, AliasName)> =
            journal.records.iter().map(|record| (&record.spot, record.alias)).collect();
        found.retain(|record| !known.contains(&(&record.spot, record.alias)));
        found
    }

    fn stranger(&self, entry: &DirEntry) -> Option<Record> {
        let path = self.inside(entry.path())?;
        let (directory, name) = (path.parent()?.to_owned(), path.file_name()?.as_bytes());
        let (spot, alias) = if name == store::NAME.as_bytes() {
            (Spot::Store(directory), AliasName(0))
        } else {
            let number = name.rsplit(|byte| *byte == b'.').next().and_then(AliasName::parse)?;
            let ours = name.strip_suffix(format!(".rokeep.{}", number.0).as_bytes())?;
            match ours.strip_prefix(b".") {
                None if ours.is_empty() && self.is_marked(&directory, number) => (Spot::Inside(directory), number),
                Some(file) if entry.ino() == number.0 && only_root_writes(entry.path().parent()?) => {
                    (Spot::Beside(directory.join(OsStr::from_bytes(file))), number)
                }
                Some(_) | None => return None,
            }
        };
        let names = match &spot {
            Spot::Beside(of) | Spot::Inside(of) => vec![of.clone()],
            Spot::Store(_) => Vec::new(),
        };
        let kind = if matches!(spot, Spot::Inside(_)) { Kind::Guard } else { Kind::Planned };
        Some(Record { mount: self.mounted.mount.point.clone(), spot, alias, born: None, names, kind })
    }

    fn is_marked(&self, directory: &Path, number: AliasName) -> bool {
        Marked::find(self.root, directory, number, |stat| stat.inode.ino == number.0).is_ok_and(|found| found.is_some())
    }

    /// The names that lead to them, other than those of aliases.
    fn names_of(&self, wanted: HashSet<Inode>) -> HashMap<Inode, Vec<PathBuf>> {
        let mut names: HashMap<Inode, Vec<PathBuf>> = HashMap::new();
        let numbers: HashSet<u64> = wanted.iter().map(|inode| inode.ino).collect();
        let entries = if wanted.is_empty() { None } else { Some(self.entries()) };
        for entry in entries.into_iter().flatten().filter(|entry| numbers.contains(&entry.ino())) {
            let Ok(stat) = entry.metadata() else { continue };
            let inode = Inode { dev: stat.dev(), ino: stat.ino() };
            let is_ours = entry.path().parent().is_some_and(|dir| dir.ends_with(store::NAME));
            if wanted.contains(&inode) && !is_ours && self.stranger(&entry).is_none() {
                names.entry(inode).or_default().extend(self.inside(entry.path()));
            }
        }
        names
    }

    /// What cannot be looked at is passed over: it is nobody's business here.
    fn entries(&self) -> impl Iterator<Item = DirEntry> {
        let point = &self.mounted.mount.point;
        let top = self.root.path("/").join(point.strip_prefix("/").unwrap_or(point));
        let is_here = |entry: &DirEntry| !entry.file_type().is_dir() || self.is_here(entry.path());
        WalkDir::new(top).into_iter().filter_entry(is_here).filter_map(Result::ok)
    }

    fn is_here(&self, directory: &Path) -> bool {
        let dir = self.inside(directory).and_then(|path| self.root.open_dir(&path).ok().flatten());
        dir.and_then(|dir| dir.stat().ok()).is_some_and(|stat| self.here.contains(&stat.mount_id))
    }

    fn inside(&self, path: &Path) -> Option<PathBuf> {
        Some(Path::new("/").join(path.strip_prefix(self.root.path("/")).ok()?))
    }
}

/// Otherwise anybody could give a file of theirs such a name, and have root remove it one day.
fn only_root_writes(directory: &Path) -> bool {
    directory.symlink_metadata().is_ok_and(|found| found.uid() == 0 && found.mode() & 0o022 == 0)
}
