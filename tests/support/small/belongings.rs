//! Whose is what: everything in a small world that rokeep has no business with, and whether it let it be.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{FileSystem, Mount, Small};

/// What there is, at one moment.
pub(super) struct Belongings {
    /// Files, links and directories of others, and what would change if they were touched.
    foreign: BTreeMap<PathBuf, Touchable>,
    /// Directories that are there only because a marker of ours is in them, or below.
    held: Vec<PathBuf>,
}

#[derive(PartialEq, Eq)]
struct Touchable {
    mode: u32,
    /// Number, size, and time of change of what is in it. A directory's size and time change when a store comes and goes
    /// in it; its number, on overlayfs, whenever nobody has looked at it for a while.
    contents: Option<(u64, u64, i64, i64)>,
    /// How many names it has, where it may have no alias.
    links: Option<u64>,
}

impl Belongings {
    pub(super) fn of(world: &Small) -> Belongings {
        let root = world.outside("/");
        let mut ours = ["var/lib/rokeep", "run/rokeep"].map(|path| root.join(path)).to_vec();
        ours.extend(world.handed_over.iter().map(|path| world.outside(path)));
        let foreign = ["proc", "sys", "dev", "tool", "image"].map(|path| root.join(path));
        // FUSE gives a file another number whenever it has forgotten it.
        let exfat = world.mounts.iter().filter(|mount| matches!(mount.1, FileSystem::Exfat));
        let device = |Mount(point, ..): &Mount| world.outside(point).metadata().map(|found| found.dev()).ok();
        let renumbered: Vec<u64> = exfat.filter_map(device).collect();
        let stay = |Mount(point, ..): &&Mount| !world.handed_over.contains(point);
        let devices: Vec<u64> = world.mounts.iter().filter(stay).filter_map(device).collect();
        // There may be tens of thousands of files: no path is taken apart for each, and no directory asked again.
        let excepted: HashSet<&OsStr> = foreign.iter().chain(&ours).map(|path| path.as_os_str()).collect();
        let visit =
            |entry: &walkdir::DirEntry| !excepted.contains(entry.path().as_os_str()) && entry.file_name() != ".rokeep";
        let mut directories = HashMap::new();
        let mut found = Belongings { foreign: BTreeMap::new(), held: Vec::new() };
        let (mut may_have_aliases, mut names) = (HashSet::new(), BTreeMap::new());
        let points: Vec<PathBuf> = world.mounts.iter().map(|Mount(point, ..)| world.outside(point)).collect();
        for entry in walkdir::WalkDir::new(&root).into_iter().filter_entry(visit).filter_map(Result::ok) {
            // Seen from here a path may be longer than the kernel takes.
            let Ok(is) = entry.path().symlink_metadata() else { continue };
            if is.is_file() && is_name_of_ours(entry.file_name().as_bytes()) {
                let dirs = entry.path().ancestors().skip(1).take_while(|dir| **dir != root);
                found.held.extend(dirs.map(Path::to_path_buf));
                continue;
            }
            // What is on a managed mount may be seen at other places too, and at no other where something covers it. On
            // btrfs and overlayfs it may have another device number than the root directory; a single file that is mounted
            // somewhere has another one than whatever is around it.
            let parent = entry.path().parent().unwrap_or(&root);
            let around =
                directories.entry(parent.as_os_str().to_owned()).or_insert_with(|| Around::of(parent, &points));
            let Around { device, is_below_a_point } = *around;
            let is_mounted = !is.is_dir() && device.is_some_and(|device| device != is.dev());
            let is_point = || is.is_dir() && points.iter().any(|point| entry.path() == point);
            if is_mounted || devices.contains(&is.dev()) || is_below_a_point || is_point() {
                may_have_aliases.insert((is.dev(), is.ino()));
            }
            let number = if renumbered.contains(&is.dev()) { 0 } else { is.ino() };
            let contents = (!is.is_dir()).then(|| (number, is.size(), is.mtime(), is.mtime_nsec()));
            if !is.is_dir() {
                names.insert(entry.path().to_owned(), ((is.dev(), is.ino()), is.nlink()));
            }
            found.foreign.insert(entry.into_path(), Touchable { mode: is.mode(), contents, links: None });
        }
        for (path, (_, links)) in names.into_iter().filter(|(_, (inode, _))| !may_have_aliases.contains(inode)) {
            found.foreign.entry(path).and_modify(|touchable| touchable.links = Some(links));
        }
        found
    }

    /// What is not as it was, though it should be.
    pub(super) fn touched(&self, after: &Belongings) -> Vec<PathBuf> {
        let may_go = |path: &PathBuf| self.held.contains(path) && !after.foreign.contains_key(path);
        let changed = self.foreign.iter().filter(|(path, was)| after.foreign.get(*path) != Some(*was));
        let changed = changed.map(|(path, _)| path).filter(|path| !may_go(path));
        let new = after.foreign.keys().filter(|path| !self.foreign.contains_key(*path));
        changed.chain(new).cloned().collect()
    }
}

/// A directory, for what is in it.
#[derive(Clone, Copy)]
struct Around {
    device: Option<u64>,
    is_below_a_point: bool,
}

impl Around {
    fn of(directory: &Path, points: &[PathBuf]) -> Around {
        let is_below_a_point = points.iter().any(|point| directory.starts_with(point));
        Around { device: directory.symlink_metadata().map(|found| found.dev()).ok(), is_below_a_point }
    }
}

/// `.rokeep.INODE`, a directory's marker, and `.NAME.rokeep.INODE`, an alias beside its file.
pub(super) fn is_name_of_ours(name: &[u8]) -> bool {
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.') else { return false };
    let (name, number) = (&name[..dot], &name[dot + 1..]);
    name.starts_with(b".") && name.ends_with(b".rokeep") && !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}
