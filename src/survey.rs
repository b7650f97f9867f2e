//! Which aliases there are, what became of the files they were made for, and who holds them.
//!
//! Changes nothing and needs no writable mount: `status` and `cleanup` see the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::core::inode::{AliasName, Device, Inode};
use crate::core::journal::Journal;
use crate::core::paths::ListedPath;
use crate::core::verdict::{self, Original, Use, Verdict};
use crate::sys::files::{Lookup, Root};
use crate::sys::kernel::Stat;
use crate::sys::mounts::Mounted;
use crate::sys::processes;
use crate::sys::scan::{self, How, Question, Unreadable, What};
use crate::sys::store::Store;

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Every alias in the stores of the mounts that were asked about.
    pub aliases: Vec<Alias>,
    /// Processes that could not be read, if any had to be.
    pub unreadable: Unreadable,
}

/// An alias and all that is known of it.
#[derive(Debug)]
pub struct Alias {
    /// The mount point whose store has it.
    pub mount: PathBuf,
    /// Its name there.
    pub name: AliasName,
    /// Bytes on disk.
    pub bytes: u64,
    /// The names it was made for; none where the journal does not know it.
    pub names: Vec<PathBuf>,
    /// What became of them.
    pub original: Original,
    /// Who holds it, if its inode was replaced; nobody was asked otherwise.
    pub holders: Vec<Holder>,
    inode: Inode,
    device: Device,
}

/// A process that holds an alias's inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: i32,
    /// Command name.
    pub command: String,
    /// The systemd unit it belongs to.
    pub unit: Option<String>,
    /// In which ways.
    pub uses: BTreeSet<How>,
}

/// Looks at the stores of these mounts.
///
/// # Errors
/// Where a store or /proc cannot be read. One process that cannot be read is no error, see [`Survey::unreadable`].
pub fn survey(root: &Root, mounts: &[&Mounted], journal: &Journal) -> Result<Survey> {
    let mut survey = Survey::default();
    for mounted in mounts {
        survey.aliases.extend(aliases(root, mounted, journal)?);
    }
    // Only a replaced inode can be dropped, so only for those does it matter who holds them.
    if survey.aliases.iter().any(|alias| alias.original == Original::Replaced) {
        survey.find_holders(root)?;
    }
    Ok(survey)
}

impl Survey {
    /// May it go?
    pub fn verdict(&self, alias: &Alias) -> Verdict {
        let used = match (alias.holders.is_empty(), self.unreadable.is_empty()) {
            (false, _) => Use::Held,
            (true, true) => Use::Free,
            (true, false) => Use::Unknown,
        };
        verdict::verdict(alias.original, used)
    }

    /// The aliases for which [`Survey::verdict`] gives this answer.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Alias> {
        self.aliases.iter().filter(move |alias| self.verdict(alias) == verdict)
    }

    fn find_holders(&mut self, root: &Root) -> Result<()> {
        let replaced = || self.aliases.iter().enumerate().filter(|(_, alias)| alias.original == Original::Replaced);
        // One inode may have several aliases (a directory that is managed at two mount points), and on btrfs several
        // inodes have one number.
        let mut by_inode: HashMap<Inode, Vec<usize>> = HashMap::new();
        let mut by_mapping: HashMap<(Device, u64), Vec<usize>> = HashMap::new();
        for (at, alias) in replaced() {
            by_inode.entry(alias.inode).or_default().push(at);
            by_mapping.entry((alias.device, alias.inode.ino)).or_default().push(at);
        }
        let question = Question {
            mapping: &|mapping| by_mapping.contains_key(&(mapping.device, mapping.ino)),
            inode: &|stat| by_inode.contains_key(&stat.inode),
        };
        let mut uses: BTreeMap<(usize, i32), BTreeSet<How>> = BTreeMap::new();
        let unreadable = scan::scan(root, &question, |seen| {
            let aliases = match seen.what {
                What::Stat(stat) => by_inode.get(&stat.inode),
                What::Mapping(device, ino) => by_mapping.get(&(device, ino)),
            };
            for alias in aliases.into_iter().flatten() {
                uses.entry((*alias, seen.pid)).or_default().insert(seen.how);
            }
        })?;
        let mut known = HashMap::new();
        for ((at, pid), uses) in uses {
            let (command, unit) =
                known.entry(pid).or_insert_with(|| (processes::command(root, pid), processes::unit(root, pid))).clone();
            if let Some(alias) = self.aliases.get_mut(at) {
                alias.holders.push(Holder { pid, command, unit, uses });
            }
        }
        self.unreadable = unreadable;
        Ok(())
    }
}

fn aliases(root: &Root, mounted: &Mounted, journal: &Journal) -> Result<Vec<Alias>> {
    let Some(store) = Store::open(mounted)? else { return Ok(Vec::new()) };
    let mut names = names_by_alias(&mounted.mount.point, journal);
    let mut found: Vec<(Vec<PathBuf>, AliasName, Stat)> = store
        .aliases()?
        .into_iter()
        .map(|(alias, stat)| (names.remove(&alias).unwrap_or_default(), alias, stat))
        .collect();
    // By name, so that each directory is opened once.
    found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let mut lookup = Lookup::new(root);
    let alias = |(names, name, stat): (Vec<PathBuf>, AliasName, Stat)| {
        // With one link left there is no name that could lead anywhere.
        let leads = if stat.links == 1 { None } else { a_name_leads_to(&mut lookup, &names, stat.inode) };
        Alias {
            mount: mounted.mount.point.clone(),
            name,
            bytes: stat.bytes,
            names,
            original: verdict::original(stat.links, leads),
            holders: Vec::new(),
            inode: stat.inode,
            device: mounted.mount.device,
        }
    };
    Ok(found.into_iter().map(alias).collect())
}

fn names_by_alias(mount: &Path, journal: &Journal) -> HashMap<AliasName, Vec<PathBuf>> {
    let mut names: HashMap<AliasName, Vec<PathBuf>> = HashMap::new();
    for record in journal.records.iter().filter(|record| record.mount == mount) {
        let known = names.entry(record.alias).or_default();
        known.extend(record.names.iter().filter(|name| !known.contains(name)).cloned().collect::<Vec<_>>());
    }
    names
}

/// `None` where it cannot be known: no names, or one that cannot be followed.
fn a_name_leads_to(lookup: &mut Lookup, names: &[PathBuf], inode: Inode) -> Option<bool> {
    let mut answer = (!names.is_empty()).then_some(false);
    for name in names {
        match leads_to(lookup, name, inode) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => answer = None,
        }
    }
    answer
}

fn leads_to(lookup: &mut Lookup, name: &Path, inode: Inode) -> Option<bool> {
    let path = ListedPath::parse(name.as_os_str().as_bytes())?;
    let Some(dir) = lookup.directory(&path.dir).ok()? else { return Some(false) };
    Some(dir.entry(&path.name).ok()?.is_some_and(|stat| stat.inode == inode))
}
