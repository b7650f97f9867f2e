//! What this run made, so that it can be taken back before dpkg has started.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use crate::core::inode::{AliasName, Inode};
use crate::sys::files::Root;
use crate::sys::kernel::Stat;
use crate::sys::link;
use crate::sys::marker::Marked;
use crate::sys::site::Site;
use crate::sys::store::Store;

/// What this run made.
#[derive(Default)]
pub struct Made {
    /// Aliases, by the sites of their stores.
    pub in_stores: BTreeMap<Arc<Path>, Vec<AliasName>>,
    /// Aliases beside their files: directory, entry, and what it leads to.
    pub beside: Vec<(Arc<Path>, OsString, Inode)>,
    /// Directories that got a marker.
    pub markers: Vec<Marked>,
}

impl Made {
    /// Takes it back, while dpkg has not started: only what another name still leads to. What cannot be taken back
    /// stays as an alias of an unchanged file, which is safe.
    pub fn take_back(&self, root: &Root) {
        for (site, aliases) in &self.in_stores {
            let store = Site::open(root, site).ok().flatten().and_then(|site| Store::open(&site).ok().flatten());
            let Some(store) = store else { continue };
            for alias in aliases {
                if store.alias(*alias).is_ok_and(|stat| stat.is_some_and(|stat| stat.links > 1)) {
                    let _ = store.drop_alias(*alias);
                }
            }
        }
        for (dir, entry, inode) in &self.beside {
            let Ok(Some(dir)) = root.open_dir(dir) else { continue };
            let is_it = |stat: Stat| stat.inode == *inode && stat.links > 1;
            if dir.entry(entry).is_ok_and(|stat| stat.is_some_and(is_it)) {
                let _ = link::unlink(&dir, entry);
            }
        }
        for marked in &self.markers {
            let _ = marked.unmark();
        }
    }
}
