//! Which store an alias of a file belongs into, if the file is any of our business.
//!
//! A file is, on a managed mount or on another mount of the same file system below it: a deleted inode keeps the
//! superblock from going read-only, through whichever mount it was deleted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

use crate::core::inode::Device;
use crate::core::message;
use crate::core::mountinfo::{Mount, Overlay};
use crate::sys::files::{Directory, Root};
use crate::sys::kernel::Stat;
use crate::sys::mounts::{self, Mounted};
use crate::sys::site::Site;

/// What is known of the managed mounts and what is below them. Several threads may ask.
pub struct Places<'a> {
    root: &'a Root,
    managed: &'a [Mounted],
    /// The mounts that matter, each with the managed one that it is or is below.
    mounts: HashMap<u64, (Mount, usize)>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    places: HashMap<(u64, u64), Option<Place>>,
    sites: BTreeMap<Arc<Path>, (Arc<Site>, usize)>,
    by_dev: HashMap<u64, Arc<Path>>,
}

/// Where the files of one directory belong.
#[derive(Clone, Debug)]
pub struct Place {
    /// The site whose store takes their aliases.
    pub site: Arc<Path>,
    /// The mount that they are on.
    pub mount_id: u64,
}

impl<'a> Places<'a> {
    /// Looks at the mounts.
    ///
    /// # Errors
    /// Where the mount table or a mount's root cannot be read.
    pub fn new(root: &'a Root, managed: &'a [Mounted]) -> Result<Places<'a>> {
        let mut places = Places { root, managed, mounts: HashMap::new(), known: Mutex::default() };
        let table = mounts::table(root)?;
        for (at, mounted) in managed.iter().enumerate().filter(|(_, mounted)| mounted.mount.knows_hard_links()) {
            places.mounts.insert(mounted.mount.id, (mounted.mount.clone(), at));
            places.add(Site::of(mounted).with_context(|| cannot_open(&mounted.mount.point))?, at);
        }
        for mount in table {
            let above = |mounted: &Mounted| {
                mount.device == mounted.mount.device && mount.point.starts_with(&mounted.mount.point)
            };
            let above =
                managed.iter().enumerate().filter(|(_, mounted)| above(mounted) && mounted.mount.knows_hard_links());
            if let Some((at, _)) = above.max_by_key(|(_, mounted)| mounted.mount.point.as_os_str().len()) {
                places.mounts.entry(mount.id).or_insert((mount, at));
            }
        }
        Ok(places)
    }

    /// Where the files in this directory belong; `None` where they are none of our business.
    ///
    /// # Errors
    /// Where a directory above it cannot be opened.
    pub fn of(&self, dir: &Directory) -> Result<Option<Place>> {
        let stat = dir.stat()?;
        let key = (stat.mount_id, stat.inode.dev);
        if let Some(place) = self.known().places.get(&key) {
            return Ok(place.clone());
        }
        let place = match self.mounts.get(&stat.mount_id) {
            None => None,
            Some((_, at)) => {
                let at = *at;
                let site = Some(Site::above(dir)?).filter(Site::is_roots);
                site.map(|site| Place { site: self.add(site, at), mount_id: stat.mount_id })
            }
        };
        self.known().places.insert(key, place.clone());
        Ok(place)
    }

    /// The mounts that matter.
    pub fn mounts(&self) -> Vec<Mount> {
        self.mounts.values().map(|(mount, _)| mount.clone()).collect()
    }

    /// Where an inode belongs that was reached by no name; `None` where nothing below a managed mount has that device.
    pub fn of_dev(&self, dev: u64) -> Option<Arc<Path>> {
        self.known().by_dev.get(&dev).cloned()
    }

    /// By what their files are known, as far as can be told now.
    pub fn reach(&self) -> Reach {
        let mounts = || self.mounts.values().map(|(mount, _)| mount);
        Reach {
            devs: self.known().by_dev.keys().copied().collect(),
            mounts: self.mounts.keys().copied().collect(),
            devices: mounts().map(|mount| mount.device).collect(),
            superblocks: mounts().filter(|mount| mount.has_several_devs()).map(|mount| mount.device).collect(),
        }
    }

    /// Whether an inode there is itself, whatever it is called. On overlayfs it takes the name to tell in which layer a
    /// file is.
    pub fn knows_inodes(&self, site: &Path) -> bool {
        let mount = self.site(site).and_then(|site| self.mounts.get(&site.mount_id()));
        mount.is_some_and(|(mount, _)| mount.overlay.is_none())
    }

    /// Whether a file can be given one more link without being copied for it.
    ///
    /// overlayfs copies what is in a lower layer up as a whole before it links it, unless it was mounted with metacopy.
    /// What is in the upper layer has its name there too, and the overlay shows its times.
    ///
    /// # Errors
    /// Where the upper layer cannot be looked at.
    pub fn can_link(&self, place: &Place, dir: &Directory, name: &OsStr) -> Result<bool> {
        let Some((mount, _)) = self.mounts.get(&place.mount_id) else { return Ok(false) };
        let Some(Overlay { upper, metacopy }) = &mount.overlay else { return Ok(true) };
        if *metacopy {
            return Ok(true);
        }
        let Some(upper) = upper else { return Ok(false) };
        let link = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
        let path = std::fs::read_link(&link).with_context(|| format!("cannot read {link}"))?;
        let Some(inside) = mount.path_inside(&path) else { return Ok(false) };
        let Some(layer) = self.root.open_dir(&upper.join(inside))? else { return Ok(false) };
        // The directory has the name that it had when the overlay was mounted. If something else has it by now, its file
        // was not changed in the very same nanosecond.
        let changed = layer.entry(name)?.map(|stat| stat.changed);
        Ok(changed.is_some() && changed == dir.entry(name)?.map(|stat| stat.changed))
    }

    /// The site at a path.
    pub fn site(&self, path: &Path) -> Option<Arc<Site>> {
        self.known().sites.get(path).map(|(site, _)| site.clone())
    }

    /// The mount point of the managed mount that a site is on or below.
    pub fn mount(&self, site: &Path) -> PathBuf {
        let mounted = self.known().sites.get(site).and_then(|(_, at)| self.managed.get(*at));
        mounted.map_or_else(|| site.to_owned(), |mounted| mounted.mount.point.clone())
    }

    fn add(&self, site: Site, managed: usize) -> Arc<Path> {
        let path: Arc<Path> = site.path().into();
        let place = Place { site: path.clone(), mount_id: site.mount_id() };
        let mut known = self.known();
        known.places.insert((site.mount_id(), site.dev()), Some(place));
        known.by_dev.entry(site.dev()).or_insert_with(|| path.clone());
        known.sites.insert(path.clone(), (Arc::new(site), managed));
        path
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may be found on the mounts that matter.
#[derive(Debug)]
pub struct Reach {
    devs: HashSet<u64>,
    mounts: HashSet<u64>,
    devices: HashSet<Device>,
    superblocks: HashSet<Device>,
}

impl Reach {
    /// Whether an inode that somebody uses may be our business.
    pub fn may_have(&self, stat: &Stat) -> bool {
        self.devs.contains(&stat.inode.dev) || self.mounts.contains(&stat.mount_id)
    }

    /// Whether this is the device number of one of the superblocks.
    pub fn may_have_device(&self, device: Device) -> bool {
        self.devices.contains(&device)
    }

    /// Those that are known by their mounts alone.
    pub fn superblocks(&self) -> &HashSet<Device> {
        &self.superblocks
    }
}

fn cannot_open(path: &Path) -> String {
    format!("cannot open {}", message::path(path))
}
