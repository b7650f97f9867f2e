//! What was left on the mounts: aliases in stores and beside files, directories with a marker.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use smallvec::SmallVec;

use super::{Alias, ForeignEntry, KeptDirectory};
use crate::core::inode::{AliasName, Born, Inode};
use crate::core::journal::{Journal, Names, Record, Spot};
use crate::core::paths::ListedPath;
use crate::core::verdict::{self, Kind, Lease, Original, Shown};
use crate::sys::files::{Lookup, Root};
use crate::sys::kernel::Stat;
use crate::sys::marker::Marked;
use crate::sys::mounts::{self, Mounted};
use crate::sys::site::Site;
use crate::sys::store::{Contents, NAME, Store};

/// What the journal tells of an alias.
#[derive(Clone, Debug, Default)]
struct Told {
    is_recorded: bool,
    names: Names,
    /// Nobody ever said that it was more.
    guard: bool,
}

impl Told {
    /// By all records that may be of this inode; nothing where there is none.
    fn of(records: &[&Record], born: Option<Born>) -> Told {
        let mut told = Told::default();
        for record in records.iter().filter(|record| record.may_be_of(born)) {
            let is_guard = record.kind == Kind::Guard;
            told.guard = if told.is_recorded { told.guard && is_guard } else { is_guard };
            told.is_recorded = true;
            for name in &record.names {
                if !told.names.iter().any(|known| known.as_os_str() == name.as_os_str()) {
                    told.names.push(name.clone());
                }
            }
        }
        told
    }
}

/// The records of one alias.
type Records<'a> = SmallVec<[&'a Record; 1]>;

/// What the journal tells of one mount.
struct Journalled<'a> {
    in_stores: BTreeMap<&'a OsStr, HashMap<AliasName, Records<'a>>>,
    beside: BTreeMap<(&'a Path, AliasName), Records<'a>>,
    inside: BTreeMap<(&'a Path, AliasName), Records<'a>>,
}

impl<'a> Journalled<'a> {
    // As bytes: comparing paths takes them apart, and there may be very many records.
    fn of(journal: &'a Journal, mount: &Path) -> Journalled<'a> {
        let mut journalled =
            Journalled { in_stores: BTreeMap::new(), beside: BTreeMap::new(), inside: BTreeMap::new() };
        for record in journal.records.iter().filter(|record| record.mount.as_os_str() == mount.as_os_str()) {
            let records = match &record.spot {
                Spot::Store(site) => {
                    journalled.in_stores.entry(site.as_os_str()).or_default().entry(record.alias).or_default()
                }
                Spot::Beside(file) => journalled.beside.entry((file, record.alias)).or_default(),
                Spot::Inside(directory) => journalled.inside.entry((directory, record.alias)).or_default(),
            };
            records.push(record);
        }
        journalled
    }
}

/// All that was left on one mount.
pub(super) struct OnMount {
    pub(super) aliases: Vec<Alias>,
    pub(super) directories: Vec<KeptDirectory>,
    pub(super) foreign: Vec<ForeignEntry>,
    pub(super) has_empty_store: bool,
}

/// Looks for it.
pub(super) fn on(root: &Root, mounted: &Mounted, journal: &Journal) -> Result<OnMount> {
    let journalled = Journalled::of(journal, &mounted.mount.point);
    let directories = directories(root, mounted, journalled.inside)?;
    let mut on = in_stores(root, mounted, journalled.in_stores)?;
    on.aliases.extend(beside(root, mounted, journalled.beside)?);
    Ok(OnMount { directories, ..on })
}

/// In the store of the mount, and in those below it that the journal knows; and what is in its own that is not ours.
fn in_stores(root: &Root, mounted: &Mounted, told: BTreeMap<&OsStr, HashMap<AliasName, Records>>) -> Result<OnMount> {
    let (point, mount) = (&mounted.mount.point, Arc::from(&*mounted.mount.point));
    let mut sites: Vec<Site> = vec![Site::of(mounted)?];
    sites.extend(sites_below(root, mounted, told.keys().map(Path::new))?);
    let mut on = OnMount { aliases: Vec::new(), directories: Vec::new(), foreign: Vec::new(), has_empty_store: false };
    for site in sites {
        let Some(store) = Store::open(&site)? else { continue };
        let (dir, spot, store) = (store.inode()?, Spot::Store(site.path().into()), Arc::new(store));
        let told = told.get(site.path().as_os_str());
        let told_of = |name, born| {
            let records = told.and_then(|told| told.get(&name)).map_or(&[][..], SmallVec::as_slice);
            Told::of(records, born)
        };
        let Contents { aliases, others } = store.contents()?;
        on.has_empty_store |= aliases.is_empty() && others.is_empty();
        on.aliases.reserve(aliases.len());
        on.aliases.extend(aliases.into_iter().map(|(name, stat)| {
            let place = Place { mounted, mount: &mount, spot: spot.clone(), store: Some(store.clone()), dir };
            place.alias(name, stat, told_of(name, stat.born))
        }));
        let entry = |name| ForeignEntry { mount: point.clone(), store: site.path().join(NAME), name };
        on.foreign.extend(others.into_iter().map(entry));
    }
    Ok(on)
}

/// The other sites that the journal knows, if they are on the same file system still, and their stores ours.
pub(crate) fn sites_below<'a>(
    root: &Root,
    mounted: &Mounted,
    sites: impl Iterator<Item = &'a Path>,
) -> Result<Vec<Site>> {
    let point = mounted.mount.point.as_os_str();
    let paths: BTreeSet<&OsStr> = sites.map(Path::as_os_str).filter(|path| *path != point).collect();
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let here = mounts_of(root, mounted)?;
    let mut sites = Vec::new();
    for path in paths {
        sites.extend(our_site(root, Path::new(path), &here)?);
    }
    Ok(sites)
}

/// The site at a path, if it is on one of these mounts, and what is in its store would be found.
pub(crate) fn our_site(root: &Root, path: &Path, here: &HashSet<u64>) -> Result<Option<Site>> {
    let is_it = |site: &Site| here.contains(&site.mount_id()) && site.is_roots() && Store::open(site).is_ok();
    Ok(Site::open(root, path)?.filter(is_it))
}

/// The numbers of all mounts of the same file system: what is on another one is not what was written down, whatever it is
/// called.
pub(crate) fn mounts_of(root: &Root, mounted: &Mounted) -> Result<HashSet<u64>> {
    let table = mounts::table(root)?;
    Ok(table.iter().filter(|mount| mount.device == mounted.mount.device).map(|mount| mount.id).collect())
}

fn beside(root: &Root, mounted: &Mounted, told: BTreeMap<(&Path, AliasName), Records>) -> Result<Vec<Alias>> {
    let here = if told.is_empty() { HashSet::new() } else { mounts_of(root, mounted)? };
    let mount = Arc::from(&*mounted.mount.point);
    let mut found = Vec::new();
    for ((file, name), told) in told {
        let Some(path) = ListedPath::parse(file.as_os_str().as_bytes()) else { continue };
        let Some(dir) = root.open_dir(path.dir())? else { continue };
        let is_alias = |stat: &Stat| !stat.is_directory() && stat.inode.ino == name.0 && here.contains(&stat.mount_id);
        if let Some(stat) = dir.entry(&name.entry_beside(path.name()))?.filter(is_alias) {
            let (spot, dir) = (Spot::Beside(file.into()), dir.stat()?.inode);
            let place = Place { mounted, mount: &mount, spot, store: None, dir };
            found.push(place.alias(name, stat, Told::of(&told, stat.born)));
        }
    }
    Ok(found)
}

/// Where an alias is.
struct Place<'a> {
    mounted: &'a Mounted,
    /// The mount point of that.
    mount: &'a Arc<Path>,
    spot: Spot,
    store: Option<Arc<Store>>,
    /// The directory that has the entry.
    dir: Inode,
}

impl Place<'_> {
    /// What is known of the alias there before anybody was asked.
    fn alias(self, name: AliasName, stat: Stat, told: Told) -> Alias {
        let Place { mounted, mount, spot, store, dir } = self;
        let Told { is_recorded, names, guard } = told;
        Alias {
            mount: mount.clone(),
            spot,
            name,
            kind: if guard { Kind::Guard } else { Kind::Planned },
            bytes: stat.bytes,
            names,
            original: Original::Unknown,
            holders: Vec::new(),
            pin: None,
            inode: stat.inode,
            born: stat.born,
            is_recorded,
            links: stat.links,
            device: mounted.mount.device,
            is_file: stat.is_file(),
            lease: before_asking(mounted, &stat),
            shown: Shown::NotAll,
            store,
            dir,
        }
    }
}

fn before_asking(mounted: &Mounted, stat: &Stat) -> Lease {
    if stat.is_file() && mounted.mount.gives_leases() { Lease::Unknown } else { Lease::NotApplicable }
}

fn directories(
    root: &Root,
    mounted: &Mounted,
    told: BTreeMap<(&Path, AliasName), Records>,
) -> Result<Vec<KeptDirectory>> {
    let (mount, device) = (&mounted.mount.point, mounted.mount.device);
    let here = if told.is_empty() { HashSet::new() } else { mounts_of(root, mounted)? };
    // On overlayfs a directory has another number whenever nobody has looked at it for a while.
    let numbers_stay = mounted.mount.overlay.is_none();
    let mut found = Vec::new();
    for ((path, name), told) in told {
        let is_it = |stat: &Stat| here.contains(&stat.mount_id) && (stat.inode.ino == name.0 || !numbers_stay);
        let Some(marked) = Marked::find(root, path, name, is_it)? else { continue };
        let names = Told::of(&told, None).names;
        let above: Vec<PathBuf> = names.iter().skip(1).map(|name| name.to_path_buf()).collect();
        let (mount, inode) = (mount.clone(), marked.inode()?);
        let mut with_above = vec![inode];
        for path in &above {
            let Some(dir) = root.open_dir(path)? else { break };
            with_above.push(dir.stat()?.inode);
        }
        let (path, listed, holders, shown) = (path.to_owned(), None, Vec::new(), Shown::NotAll);
        found.push(KeptDirectory { mount, path, above, name, listed, holders, inode, with_above, device, shown });
    }
    Ok(found)
}

/// Sees what became of their names, of all of them together: two aliases of one inode are no name of it.
pub(super) fn see_originals(root: &Root, aliases: &mut [Alias]) {
    // By name, so that a directory is seldom opened twice.
    aliases.sort_by(|a, b| a.first_name().cmp(&b.first_name()));
    let several = several_aliases(aliases);
    let mut lookup = Lookup::new(root);
    for alias in aliases {
        let ours = several.get(&alias.inode).copied().unwrap_or(1);
        // Where all links are aliases there is no name that could lead anywhere.
        let leads = if alias.links <= ours { None } else { a_name_leads_to(&mut lookup, &alias.names, alias.inode) };
        alias.original = verdict::original(alias.kind, alias.links, ours, leads);
    }
}

/// How many there are of each inode that has more than one. Two paths may lead to one directory entry.
fn several_aliases(aliases: &[Alias]) -> HashMap<Inode, u64> {
    let mut entries: Vec<(Inode, Inode, AliasName)> =
        aliases.iter().map(|alias| (alias.inode, alias.dir, alias.name)).collect();
    entries.sort_unstable();
    entries.dedup();
    let of_one = entries.chunk_by(|(a, ..), (b, ..)| a == b).filter(|of_one| of_one.len() > 1);
    of_one.filter_map(|of_one| Some((of_one.first()?.0, of_one.len() as u64))).collect()
}

/// `None` where it cannot be known: no names, or one that cannot be followed.
fn a_name_leads_to(lookup: &mut Lookup, names: &[Arc<Path>], inode: Inode) -> Option<bool> {
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
