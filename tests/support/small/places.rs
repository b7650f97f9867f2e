//! Where the files and the aliases of a small world are: directories that look like part of /usr and are none, files that
//! share a number, stores other than the one at a mount's root, and aliases beside their files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::belongings::is_name_of_ours;
use super::{Inode, Small};

impl Small {
    /// Somebody makes a btrfs subvolume, which has no mount of its own.
    pub fn subvolume(&self, path: &str) {
        self.outside_tool("btrfs", &["-q", "subvolume", "create"], path);
    }

    /// Somebody makes a snapshot of a btrfs subvolume.
    pub fn snapshot(&self, of: &str, to: &str) {
        let of = self.outside(of);
        self.outside_tool("btrfs", &["-q", "subvolume", "snapshot", &of.to_string_lossy()], to);
    }

    /// A directory belongs to this project, and so does what will be made in it.
    pub fn project(&self, directory: &str, project: &str) {
        self.outside_tool("chattr", &["-p", project], directory);
        self.outside_tool("chattr", &["+P"], directory);
    }

    /// A file has this many names from now on, all but one in a directory of their own.
    pub fn many_names(&self, path: &str, count: usize) {
        let directory = self.outside(format!("{path}.names"));
        std::fs::create_dir(&directory).expect("a directory");
        let named = (1..count)
            .try_for_each(|number| std::fs::hard_link(self.outside(path), directory.join(number.to_string())));
        named.unwrap_or_else(|error| self.fail(&format!("not {count} names: {error}")));
    }

    /// Mounts a memory file system on a directory.
    pub fn cover(&self, directory: &str) {
        self.run_helper(&["mount", "tmpfs", "memory", "mode=755"], Path::new(directory), b"");
    }

    /// A new file in this directory that has the same number as another one has on another file system. The files that
    /// were made on the way to it stay.
    pub fn same_number(&self, directory: &str, as_of: &str) -> String {
        let Some((_, wanted)) = self.inode(as_of) else { self.fail(&format!("{as_of} is not there")) };
        for count in 0..10_000 {
            let path = format!("{directory}/number-{count}");
            self.write(&path, b"one of many\n");
            match self.inode(&path) {
                Some((_, number)) if number == wanted => return path,
                Some((_, number)) => self.check(number < wanted, "the numbers of new files do not lead there"),
                None => self.fail(&format!("{path} was not made")),
            }
        }
        self.fail("the number is far away")
    }

    /// Bytes on disk of the upper layer of the overlay that is the first mount, and of what it is working on.
    pub fn upper_layer_bytes(&self) -> u64 {
        let all = walkdir::WalkDir::new(self.outside("/image/0.memory")).into_iter().filter_map(Result::ok);
        let files = all.filter_map(|entry| entry.path().symlink_metadata().ok());
        // By number: a file with two names is there once.
        files.map(|found| (found.ino(), found.blocks() * 512)).collect::<BTreeMap<_, _>>().into_values().sum()
    }

    /// What of a path is in that upper layer; `None` where there is nothing.
    pub fn in_upper_layer(&self, path: &str) -> Option<std::fs::Metadata> {
        let upper = self.outside("/image/0.memory/upper").join(path.trim_start_matches("/usr/"));
        upper.symlink_metadata().ok()
    }

    /// Where the alias is that a file has.
    pub fn alias_of(&self, path: &str) -> PathBuf {
        let inode = self.inode(path);
        let alias = self.all_aliases().into_iter().find(|(_, alias)| Some(*alias) == inode);
        alias.unwrap_or_else(|| self.fail(&format!("{path} has no alias"))).0
    }

    /// rm(1), of the alias that a file has.
    pub fn somebody_removes_the_alias_of(&self, path: &str) {
        self.removes(self.alias_of(path));
    }

    /// ln(1).
    pub fn hard_link(&self, from: &Path, to: &str) {
        let linked = std::fs::hard_link(self.outside(from), self.outside(to));
        linked.unwrap_or_else(|error| self.fail(&format!("no link from {from:?}: {error}")));
    }

    /// Every alias, wherever it is: in any store, or beside its file.
    pub fn all_aliases(&self) -> BTreeMap<PathBuf, Inode> {
        let mut seen = Vec::new();
        let mut aliases = BTreeMap::new();
        for entry in self.everywhere() {
            let Ok(found) = entry.path().symlink_metadata() else { continue };
            let parent = entry.path().parent().and_then(|parent| parent.symlink_metadata().ok());
            let Some(parent) = parent.map(|parent| (parent.dev(), parent.ino())) else { continue };
            let in_store = entry.path().parent().and_then(Path::file_name) == Some(OsStr::new(".rokeep"));
            let number = entry.file_name().as_bytes().rsplit(|byte| *byte == b'.').next();
            let is_named_so = in_store || is_name_of_ours(entry.file_name().as_bytes());
            let is_alias = is_named_so && !found.is_dir() && number == Some(found.ino().to_string().as_bytes());
            // A directory may be mounted at two places.
            if is_alias && !seen.contains(&(parent, entry.file_name().to_owned())) {
                seen.push((parent, entry.file_name().to_owned()));
                aliases.insert(self.inside(entry.path()), (found.dev(), found.ino()));
            }
        }
        aliases
    }

    /// The aliases that are beside their files.
    pub fn aliases_beside(&self) -> Vec<PathBuf> {
        let beside = |path: &PathBuf| path.file_name().is_some_and(|name| is_name_of_ours(name.as_bytes()));
        self.all_aliases().into_keys().filter(beside).collect()
    }

    /// Neither a store nor an alias is anywhere.
    #[track_caller]
    pub fn assert_nothing_of_ours(&self) {
        let ours = |name: &OsStr| name == ".rokeep" || is_name_of_ours(name.as_bytes());
        let left: Vec<_> = self.everywhere().filter(|entry| ours(entry.file_name())).collect();
        self.check(left.is_empty(), &format!("rokeep left something: {left:?}"));
    }

    pub(super) fn everywhere(&self) -> impl Iterator<Item = walkdir::DirEntry> {
        let root = self.outside("/");
        let foreign = ["proc", "sys", "dev", "tool", "image"].map(|path| root.join(path));
        let walk = walkdir::WalkDir::new(&root).min_depth(1).into_iter();
        walk.filter_entry(move |entry| !foreign.iter().any(|other| other == entry.path())).filter_map(Result::ok)
    }

    pub(super) fn inside(&self, outside: &Path) -> PathBuf {
        Path::new("/").join(outside.strip_prefix(self.outside("/")).expect("it is in the world"))
    }

    /// A program of the machine, for what the kernel lets do by a descriptor.
    pub(super) fn outside_tool(&self, program: &str, words: &[&str], path: &str) {
        let status = Command::new(program).args(words).arg(self.outside(path)).status();
        let worked = status.is_ok_and(|status| status.success());
        self.check(worked, &format!("{program} {words:?} {path} did not work (see stderr)"));
    }
}
