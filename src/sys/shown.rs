//! Directories by the names that links in /proc show.
//!
//! A process chooses what its links say: in a mount namespace of its own it may have a file of /usr at any place, and what
//! is at that place here may be a file system that never answers. So nothing but the right mounts is entered.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::files::{Directory, Root};
use crate::core::mountinfo::Mount;

/// The mounts that may be entered.
pub struct ShownNames<'a> {
    root: &'a Root,
    mounts: Vec<&'a Mount>,
    roots: HashMap<u64, Option<Directory>>,
    last: Option<(PathBuf, Option<Rc<Directory>>)>,
}

impl<'a> ShownNames<'a> {
    /// Names that lead into one of these mounts of this namespace.
    pub fn new(root: &'a Root, mounts: impl IntoIterator<Item = &'a Mount>) -> ShownNames<'a> {
        ShownNames { root, mounts: mounts.into_iter().collect(), roots: HashMap::new(), last: None }
    }

    /// The directory of that name, if it is on one of the mounts. No symbolic link is followed: the kernel shows none.
    ///
    /// Asked for the same one again, and for no other between, it opens nothing.
    pub fn directory(&mut self, path: &Path) -> Option<Rc<Directory>> {
        if self.last.as_ref().is_none_or(|(last, _)| last.as_os_str() != path.as_os_str()) {
            self.last = Some((path.to_owned(), self.open(path).map(Rc::new)));
        }
        self.last.as_ref().and_then(|(_, directory)| directory.clone())
    }

    fn open(&mut self, path: &Path) -> Option<Directory> {
        let root = self.root;
        let mut above: Vec<&Mount> =
            self.mounts.iter().copied().filter(|mount| path.starts_with(&mount.point)).collect();
        above.sort_by_key(|mount| std::cmp::Reverse(mount.point.as_os_str().len()));
        above.into_iter().find_map(|mount| {
            let top = self.roots.entry(mount.id).or_insert_with(|| {
                let dir = root.open_dir(&mount.point).ok().flatten();
                // Another mount may cover it.
                dir.filter(|dir| dir.stat().is_ok_and(|stat| stat.mount_id == mount.id))
            });
            top.as_ref()?.open_on_same_mount(path.strip_prefix(&mount.point).ok()?).ok()
        })
    }
}
