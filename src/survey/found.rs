//! What was left on the mounts: aliases in stores and beside files, directories with a marker.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::{Alias, KeptDirectory};
use crate::core::inode::{AliasName, Device, Inode};
use crate::core::journal::{Journal, Spot};
use crate::core::paths::ListedPath;
use crate::core::verdict::{self, Kind, Lease, Shown};
use crate::sys::files::{Lookup, Root};
use crate::sys::kernel::Stat;
use crate::sys::marker::Marked;
use crate::sys::mounts::{self, Mounted};
use crate::sys::site::Site;
use crate::sys::store::Store;

/// An alias as it is on disk.
pub(super) struct Found {
    mount: PathBuf,
    device: Device,
    /// The store that it is in; none where it is beside a file.
    store: Option<Arc<Store>>,
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
pub(super) fn in_stores(root: &Root, mounted: &Mounted, journal: &Journal) -> Result<Vec<Found>> {
    let point = &mounted.mount.point;
    let mut told = told(journal, point);
    let mut sites: Vec<Site> = vec![Site::of(mounted)?];
    sites.extend(sites_below(root, mounted, told.keys().map(|(spot, _)| spot))?);
    let mut found = Vec::new();
    for site in sites {
        let Some(store) = Store::open(&site)? else { continue };
        let (store_inode, spot, store) = (store.inode()?, Spot::Store(site.path().to_owned()), Arc::new(store));
        found.extend(store.aliases()?.into_iter().map(|(name, stat)| Found {
            mount: point.clone(),
            device: mounted.mount.device,
            store: Some(store.clone()),
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

pub(super) fn beside(root: &Root, mounted: &Mounted, journal: &Journal) -> Result<Vec<Found>> {
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
            found.push(Found { mount, device, store: None, link, spot, name, stat, told });
        }
    }
    Ok(found)
}

pub(super) fn directories(root: &Root, mounted: &Mounted, journal: &Journal) -> Result<Vec<KeptDirectory>> {
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
        let (listed, holders, shown) = (None, Vec::new(), Shown::NotAll);
        found.push(KeptDirectory { mount, path, above, name, listed, holders, inode, device, shown });
    }
    Ok(found)
}

/// Sees what became of their names, of all of them together: two aliases of one inode are no name of it. Each comes with the
/// store that it is in.
pub(super) fn with_originals(root: &Root, mut found: Vec<Found>) -> Vec<(Alias, Option<Arc<Store>>)> {
    let mut links: HashMap<Inode, HashSet<(Inode, AliasName)>> = HashMap::new();
    for alias in &found {
        links.entry(alias.stat.inode).or_default().insert(alias.link);
    }
    // By name, so that each directory is opened once.
    found.sort_by(|a, b| a.told.names.cmp(&b.told.names));
    let mut lookup = Lookup::new(root);
    let alias = |found: Found| {
        let Found { mount, device, store, spot, name, stat, told: Told { names, guard }, .. } = found;
        let kind = if guard { Kind::Guard } else { Kind::Planned };
        let ours = links.get(&stat.inode).map_or(1, HashSet::len) as u64;
        // Where all links are aliases there is no name that could lead anywhere.
        let leads = if stat.links <= ours { None } else { a_name_leads_to(&mut lookup, &names, stat.inode) };
        let original = verdict::original(kind, stat.links, ours, leads);
        let alias = Alias {
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
            is_file: stat.is_file(),
            lease: if stat.is_file() { Lease::Unknown } else { Lease::NotApplicable },
            shown: Shown::NotAll,
        };
        (alias, store)
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
