//! Which aliases there are, what became of the files they were made for, and who holds them.
//!
//! Changes nothing and needs no writable mount: `status` and `cleanup` see the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use crate::core::holder::{Holder, How, Process};
use crate::core::inode::{AliasName, Device, Inode};
use crate::core::journal::{Journal, Spot};
use crate::core::mountinfo::Mount;
use crate::core::paths::ListedPath;
use crate::core::proc_maps::Mapping;
use crate::core::verdict::{self, Because, DirectoryVerdict, Kind, Original, Pin, Run, Use, Verdict};
use crate::plan::in_use::path_of;
use crate::plan::lists;
use crate::sys::files::{Lookup, Root};
use crate::sys::kernel::Stat;
use crate::sys::marker::Marked;
use crate::sys::mounts::{self, Mounted};
use crate::sys::processes;
use crate::sys::scan::{self, Question, Seen, Unreadable, What};
use crate::sys::shown::ShownNames;
use crate::sys::site::Site;
use crate::sys::store::Store;

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// Every alias of the mounts that were asked about.
    pub aliases: Vec<Alias>,
    /// Every directory of them that is kept by a marker.
    pub directories: Vec<KeptDirectory>,
    /// Processes that could not be read, if any had to be.
    pub unreadable: Unreadable,
    run: Run,
}

/// An alias and all that is known of it.
#[derive(Debug)]
pub struct Alias {
    /// The mount point of the managed mount that it serves.
    pub mount: PathBuf,
    /// Where it is.
    pub spot: Spot,
    /// The number of its inode, and its name.
    pub name: AliasName,
    /// What it was made for; where the journal does not know it, it is taken for the kind that stays longer.
    pub kind: Kind,
    /// Bytes on disk.
    pub bytes: u64,
    /// The names it was made for; none where they are not known.
    pub names: Vec<PathBuf>,
    /// What became of them.
    pub original: Original,
    /// Who holds it, if its inode was replaced; nobody was asked otherwise.
    pub holders: Vec<Holder>,
    /// Whether the kernel has it in use, if that was looked at ([`crate::pins`]).
    pub pin: Option<Pin>,
    /// Which one it is.
    pub inode: Inode,
    device: Device,
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
    /// Who is in it, if no package has it any more.
    pub holders: Vec<Holder>,
    /// Which one it is now.
    pub inode: Inode,
    device: Device,
}

/// Looks at what was left on these mounts, by a run that is still on or over.
///
/// # Errors
/// Where a store or /proc cannot be read. One process that cannot be read is no error, see [`Survey::unreadable`].
pub fn survey(root: &Root, mounts: &[&Mounted], journal: &Journal, run: Run) -> Result<Survey> {
    let mut survey = Survey { aliases: Vec::new(), directories: Vec::new(), unreadable: Unreadable::default(), run };
    let mut found = Vec::new();
    for mounted in mounts {
        found.extend(in_stores(root, mounted, journal)?);
        found.extend(beside(root, mounted, journal)?);
        survey.directories.extend(directories(root, mounted, journal)?);
    }
    survey.aliases = with_originals(root, found);
    survey.find_listed(root);
    // Only what was replaced can be dropped, so only for that does it matter who holds it.
    if survey.asks_for_holders() {
        survey.find_holders(root)?;
        survey.count_files_for_their_directories(root)?;
    }
    Ok(survey)
}

impl Survey {
    /// May it go?
    pub fn verdict(&self, alias: &Alias) -> Verdict {
        let used = verdict::deeper(self.used(&alias.holders), alias.pin);
        verdict::verdict(alias.kind, alias.original, used, self.run)
    }

    /// May it go, and its marker?
    pub fn directory_verdict(&self, directory: &KeptDirectory) -> DirectoryVerdict {
        verdict::directory(directory.listed, self.used(&directory.holders), self.run)
    }

    /// The aliases for which [`Survey::verdict`] gives this answer.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Alias> {
        self.aliases.iter().filter(move |alias| self.verdict(alias) == verdict)
    }

    /// Whether a cleanup would find something to do on this mount.
    pub fn has_something_to_drop(&self, mount: &Path) -> bool {
        let stays = |directory: &KeptDirectory| matches!(self.directory_verdict(directory), DirectoryVerdict::Keep(_));
        self.with(Verdict::Drop).any(|alias| alias.mount == mount)
            || self.directories.iter().any(|directory| directory.mount == mount && !stays(directory))
    }

    /// Whether anything is kept because not everything could be found out.
    pub fn leaves_something_unknown(&self) -> bool {
        let unknown = |kept| self.directory_verdict(kept) == DirectoryVerdict::Keep(Because::Unknown);
        self.with(Verdict::Keep(Because::Unknown)).next().is_some() || self.directories.iter().any(unknown)
    }

    fn used(&self, holders: &[Holder]) -> Use {
        match (holders.is_empty(), self.unreadable.is_empty()) {
            (false, _) => Use::Held,
            (true, true) => Use::Free,
            (true, false) => Use::Unknown,
        }
    }

    fn asks_for_holders(&self) -> bool {
        self.aliases.iter().any(|alias| alias.original == Original::Replaced)
            || self.directories.iter().any(|directory| directory.listed == Some(false))
    }

    fn find_listed(&mut self, root: &Root) {
        let names: Vec<_> = self
            .directories
            .iter()
            .filter_map(|directory| Some((directory.path.file_name()?, directory.inode)))
            .collect();
        let listed = lists::listed_directories(root, &names).ok();
        for directory in &mut self.directories {
            directory.listed = listed.as_ref().map(|listed| listed.contains(&directory.inode));
        }
    }

    fn find_holders(&mut self, root: &Root) -> Result<()> {
        let replaced = self.aliases.iter().enumerate().filter(|(_, alias)| alias.original == Original::Replaced);
        // One inode may have several aliases (a directory that is managed at two mount points), and on btrfs several
        // inodes have one number.
        let mut by_inode: HashMap<Inode, Vec<Kept>> = HashMap::new();
        let mut by_mapping: HashMap<(Device, u64), Vec<Kept>> = HashMap::new();
        for (at, alias) in replaced {
            by_inode.entry(alias.inode).or_default().push(Kept::Alias(at));
            by_mapping.entry((alias.device, alias.inode.ino)).or_default().push(Kept::Alias(at));
        }
        for (at, directory) in self.directories.iter().enumerate() {
            by_inode.entry(directory.inode).or_default().push(Kept::Directory(at));
        }
        let near = NearDirectories::new(root, &self.directories)?;
        let mounts = near.mounts.clone();
        let mut uses: BTreeMap<(Kept, i32), BTreeSet<How>> = BTreeMap::new();
        let mut opened_in: BTreeMap<Arc<Path>, BTreeSet<(i32, How)>> = BTreeMap::new();
        let unreadable = scan::scan(root, WhoHolds { by_inode, by_mapping, near }, |held: Held| {
            for kept in held.kept {
                uses.entry((kept, held.pid)).or_default().insert(held.how);
            }
            if let Some(dir) = held.opened_in {
                opened_in.entry(dir).or_default().insert((held.pid, held.how));
            }
        })?;
        // The kernel keeps a directory as long as a file that was opened through it.
        let mut names = ShownNames::new(root, &mounts);
        for (dir, users) in opened_in {
            let Some(dir) = names.directory(&dir) else { continue };
            let inode = dir.stat()?.inode;
            let at = self.directories.iter().position(|directory| directory.inode == inode);
            let Some(kept) = at.map(Kept::Directory) else { continue };
            for (pid, how) in users {
                uses.entry((kept, pid)).or_default().insert(how);
            }
        }
        let mut known = HashMap::new();
        for ((kept, pid), uses) in uses {
            let process: &mut Process = known.entry(pid).or_insert_with(|| processes::describe_holder(root, pid));
            let holder = Holder::Process(Process { uses, ..process.clone() });
            let holders = match kept {
                Kept::Alias(at) => self.aliases.get_mut(at).map(|alias| &mut alias.holders),
                Kept::Directory(at) => self.directories.get_mut(at).map(|directory| &mut directory.holders),
            };
            if let Some(holders) = holders {
                holders.push(holder);
            }
        }
        self.unreadable = unreadable;
        Ok(())
    }

    /// Who opened a file in another mount namespace has its own name for the directory; the alias has ours.
    fn count_files_for_their_directories(&mut self, root: &Root) -> Result<()> {
        if self.directories.is_empty() {
            return Ok(());
        }
        let mut lookup = Lookup::new(root);
        for alias in self.aliases.iter().filter(|alias| !alias.holders.is_empty()) {
            for name in &alias.names {
                let Some(path) = ListedPath::parse(name.as_os_str().as_bytes()) else { continue };
                let Some(dir) = lookup.directory(path.dir())? else { continue };
                let inode = dir.stat()?.inode;
                for directory in self.directories.iter_mut().filter(|directory| directory.inode == inode) {
                    let new = alias.holders.iter().filter(|holder| !directory.holders.contains(holder));
                    let new: Vec<Holder> = new.cloned().collect();
                    directory.holders.extend(new);
                }
            }
        }
        Ok(())
    }
}

struct WhoHolds {
    by_inode: HashMap<Inode, Vec<Kept>>,
    by_mapping: HashMap<(Device, u64), Vec<Kept>>,
    near: NearDirectories,
}

/// Something of ours that a process uses, or may.
struct Held {
    pid: i32,
    how: How,
    kept: Vec<Kept>,
    /// Where a file is, by its name, that may have been opened through one of the directories.
    opened_in: Option<Arc<Path>>,
}

impl Question for WhoHolds {
    type Answer = Held;

    fn mapping(&self, mapping: &Mapping) -> bool {
        self.by_mapping.contains_key(&(mapping.device, mapping.ino)) || self.near.devices.contains(&mapping.device)
    }

    fn inode(&self, stat: &Stat) -> bool {
        self.by_inode.contains_key(&stat.inode) || self.near.may_be_in_one(stat)
    }

    fn superblocks(&self) -> &HashSet<Device> {
        &self.near.superblocks
    }

    fn tell(&self, seen: &Seen) -> Option<Held> {
        let (kept, may_be_near) = match seen.what {
            What::Stat(stat) => {
                let kept = self.by_inode.get(&stat.inode);
                // What is no alias was asked for because it is near, be it by a mount elsewhere.
                (kept, !stat.is_directory() && (kept.is_none() || self.near.may_be_in_one(&stat)))
            }
            What::Mapping(device, ino) => (self.by_mapping.get(&(device, ino)), self.near.devices.contains(&device)),
        };
        let opened_in = may_be_near.then(|| Some(path_of(&seen.opened_as()?)?.dir().into())).flatten();
        let kept = kept.cloned().unwrap_or_default();
        let says_something = !kept.is_empty() || opened_in.is_some();
        says_something.then_some(Held { pid: seen.pid, how: seen.how, kept, opened_in })
    }
}

/// Where files may be that were opened through one of the directories.
struct NearDirectories {
    devices: HashSet<Device>,
    /// Those of them that are known by their mounts alone.
    superblocks: HashSet<Device>,
    devs: HashSet<u64>,
    mounts: Vec<Mount>,
}

impl NearDirectories {
    fn new(root: &Root, directories: &[KeptDirectory]) -> Result<NearDirectories> {
        let devices: HashSet<Device> = directories.iter().map(|directory| directory.device).collect();
        let devs = directories.iter().map(|directory| directory.inode.dev).collect();
        let table = if directories.is_empty() { Vec::new() } else { mounts::table(root)? };
        let mounts: Vec<Mount> = table.into_iter().filter(|mount| devices.contains(&mount.device)).collect();
        let superblocks = mounts.iter().filter(|mount| mount.has_several_devs()).map(|mount| mount.device).collect();
        Ok(NearDirectories { devices, superblocks, devs, mounts })
    }

    /// On overlayfs files have other device numbers than directories.
    fn may_be_in_one(&self, stat: &Stat) -> bool {
        !stat.is_directory()
            && (self.devs.contains(&stat.inode.dev) || self.mounts.iter().any(|mount| mount.id == stat.mount_id))
    }
}

/// One of the things that are kept, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kept {
    Alias(usize),
    Directory(usize),
}

/// An alias as it is on disk.
struct Found {
    mount: PathBuf,
    device: Device,
    spot: Spot,
    name: AliasName,
    stat: Stat,
    /// The directory entry that it is: two paths may lead to one.
    link: (Inode, AliasName),
    told: Told,
}

/// What the journal tells of an alias.
#[derive(Clone, Debug, Default)]
struct Told {
    names: Vec<PathBuf>,
    /// Nobody ever said that it was more.
    guard: bool,
}

fn told(journal: &Journal, mount: &Path) -> HashMap<(Spot, AliasName), Told> {
    let mut told: HashMap<(Spot, AliasName), Told> = HashMap::new();
    for record in journal.records.iter().filter(|record| record.mount == mount) {
        let new = || Told { names: Vec::new(), guard: true };
        let known = told.entry((record.spot.clone(), record.alias)).or_insert_with(new);
        known.guard &= record.kind == Kind::Guard;
        known.names.extend(record.names.iter().filter(|name| !known.names.contains(name)).cloned().collect::<Vec<_>>());
    }
    told
}

/// In the store of the mount, and in those below it that the journal knows.
fn in_stores(root: &Root, mounted: &Mounted, journal: &Journal) -> Result<Vec<Found>> {
    let point = &mounted.mount.point;
    let mut told = told(journal, point);
    let mut sites: Vec<Site> = vec![Site::of(mounted)?];
    sites.extend(sites_below(root, mounted, told.keys().map(|(spot, _)| spot))?);
    let mut found = Vec::new();
    for site in sites {
        let Some(store) = Store::open(&site)? else { continue };
        let (store_inode, spot) = (store.inode()?, Spot::Store(site.path().to_owned()));
        found.extend(store.aliases()?.into_iter().map(|(name, stat)| Found {
            mount: point.clone(),
            device: mounted.mount.device,
            spot: spot.clone(),
            name,
            stat,
            link: (store_inode, name),
            told: told.remove(&(spot.clone(), name)).unwrap_or_default(),
        }));
    }
    Ok(found)
}

/// The other sites that the journal knows, if they are on the same file system still, and their stores ours.
pub(crate) fn sites_below<'a>(
    root: &Root,
    mounted: &Mounted,
    spots: impl Iterator<Item = &'a Spot>,
) -> Result<Vec<Site>> {
    let point = &mounted.mount.point;
    let paths: BTreeSet<&PathBuf> = spots
        .filter_map(|spot| match spot {
            Spot::Store(path) => Some(path).filter(|path| *path != point),
            Spot::Beside(_) | Spot::Inside(_) => None,
        })
        .collect();
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let here = mounts_of(root, mounted)?;
    let mut sites = Vec::new();
    for path in paths {
        let is_it = |site: &Site| here.contains(&site.mount_id()) && site.is_roots() && Store::open(site).is_ok();
        sites.extend(Site::open(root, path)?.filter(is_it));
    }
    Ok(sites)
}

/// The numbers of all mounts of the same file system: what is on another one is not what was written down, whatever it is
/// called.
pub(crate) fn mounts_of(root: &Root, mounted: &Mounted) -> Result<HashSet<u64>> {
    let table = mounts::table(root)?;
    Ok(table.iter().filter(|mount| mount.device == mounted.mount.device).map(|mount| mount.id).collect())
}

fn beside(root: &Root, mounted: &Mounted, journal: &Journal) -> Result<Vec<Found>> {
    let told = told(journal, &mounted.mount.point).into_iter();
    let told: Vec<_> = told.filter(|((spot, _), _)| matches!(spot, Spot::Beside(_))).collect();
    let here = if told.is_empty() { HashSet::new() } else { mounts_of(root, mounted)? };
    let mut found = Vec::new();
    for ((spot, name), told) in told {
        let Spot::Beside(file) = &spot else { continue };
        let Some(path) = ListedPath::parse(file.as_os_str().as_bytes()) else { continue };
        let Some(dir) = root.open_dir(path.dir())? else { continue };
        let is_alias = |stat: &Stat| !stat.is_directory() && stat.inode.ino == name.0 && here.contains(&stat.mount_id);
        if let Some(stat) = dir.entry(&name.entry_beside(path.name()))?.filter(is_alias) {
            let (mount, device, link) = (mounted.mount.point.clone(), mounted.mount.device, (dir.stat()?.inode, name));
            found.push(Found { mount, device, link, spot, name, stat, told });
        }
    }
    Ok(found)
}

fn directories(root: &Root, mounted: &Mounted, journal: &Journal) -> Result<Vec<KeptDirectory>> {
    let (mount, device) = (&mounted.mount.point, mounted.mount.device);
    let told = told(journal, mount).into_iter();
    let told: Vec<_> = told.filter(|((spot, _), _)| matches!(spot, Spot::Inside(_))).collect();
    let here = if told.is_empty() { HashSet::new() } else { mounts_of(root, mounted)? };
    // On overlayfs a directory has another number whenever nobody has looked at it for a while.
    let numbers_stay = mounted.mount.overlay.is_none();
    let mut found = Vec::new();
    for ((spot, name), told) in told {
        let Spot::Inside(path) = spot else { continue };
        let is_it = |stat: &Stat| here.contains(&stat.mount_id) && (stat.inode.ino == name.0 || !numbers_stay);
        let Some(marked) = Marked::find(root, &path, name, is_it)? else { continue };
        let (mount, inode, above) = (mount.clone(), marked.inode()?, told.names.into_iter().skip(1).collect());
        found.push(KeptDirectory { mount, path, above, name, listed: None, holders: Vec::new(), inode, device });
    }
    Ok(found)
}

/// Sees what became of their names, of all of them together: two aliases of one inode are no name of it.
fn with_originals(root: &Root, mut found: Vec<Found>) -> Vec<Alias> {
    let mut links: HashMap<Inode, HashSet<(Inode, AliasName)>> = HashMap::new();
    for alias in &found {
        links.entry(alias.stat.inode).or_default().insert(alias.link);
    }
    // By name, so that each directory is opened once.
    found.sort_by(|a, b| a.told.names.cmp(&b.told.names));
    let mut lookup = Lookup::new(root);
    let alias = |found: Found| {
        let Found { mount, device, spot, name, stat, told: Told { names, guard }, .. } = found;
        let kind = if guard { Kind::Guard } else { Kind::Planned };
        let ours = links.get(&stat.inode).map_or(1, HashSet::len) as u64;
        // Where all links are aliases there is no name that could lead anywhere.
        let leads = if stat.links <= ours { None } else { a_name_leads_to(&mut lookup, &names, stat.inode) };
        let original = verdict::original(kind, stat.links, ours, leads);
        Alias {
            mount,
            spot,
            name,
            kind,
            bytes: stat.bytes,
            names,
            original,
            holders: Vec::new(),
            pin: None,
            inode: stat.inode,
            device,
        }
    };
    found.into_iter().map(alias).collect()
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
    let Some(dir) = lookup.directory(path.dir()).ok()? else { return Some(false) };
    Some(dir.entry(path.name()).ok()?.is_some_and(|stat| stat.inode == inode))
}
