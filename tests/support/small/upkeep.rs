//! Who changes /usr besides dpkg's unpacking: maintainer scripts, triggers, an administrator. And dpkg with directories.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::Small;

const DATABASE: &str = "/var/lib/dpkg/info";

impl Small {
    /// These files are there, and no package lists them.
    pub fn unlisted(mut self, paths: &[impl AsRef<Path>]) -> Small {
        let text = || "made on this machine\n".to_owned();
        self.writably(|| self.write_each(paths.iter().map(|path| (path.as_ref(), text()))));
        self.remember(paths);
        self
    }

    /// A package is installed with these files, and lists their directories too.
    pub fn installed_tree(self, name: &str, version: &str, files: &[&str]) -> Small {
        let mut paths: Vec<&Path> = files.iter().flat_map(|file| Path::new(file).ancestors()).collect();
        paths.retain(|path| path.parent().is_some());
        paths.sort();
        paths.dedup();
        let text = || format!("{name} {version}\n");
        self.writably(|| self.write_each(files.iter().map(|file| (Path::new(file), text()))));
        self.recorded(name, version, &paths)
    }

    /// A program is there, and no package lists it.
    pub fn unlisted_program(mut self, path: &str) -> Small {
        self.writably(|| self.write_program(path));
        self.remember(&[path]);
        self
    }

    /// What is there now is what [`Small::assert_alias`] asks about.
    pub fn remember(&mut self, paths: &[impl AsRef<Path>]) {
        for path in paths {
            let inode = self.inode(path).unwrap_or_else(|| self.fail(&format!("{:?} is not there", path.as_ref())));
            self.first_inode.insert(path.as_ref().to_path_buf(), inode);
        }
    }

    /// A cache is made anew, as most are: beside the old one, then renamed over it.
    pub fn rebuilds(&self, path: impl AsRef<Path>) {
        let new = beside(path.as_ref());
        self.write(&new, b"made again\n");
        self.renames(&new, path);
    }

    /// A cache is made anew as locale-gen does it: the old one goes first.
    pub fn removes_and_rebuilds(&self, path: impl AsRef<Path>) {
        self.removes(&path);
        self.write(path, b"made again\n");
    }

    /// rm(1), rmdir(1).
    pub fn removes(&self, path: impl AsRef<Path>) {
        let outside = self.outside(&path);
        let is_directory = outside.symlink_metadata().is_ok_and(|found| found.is_dir());
        let done = if is_directory { fs::remove_dir(outside) } else { fs::remove_file(outside) };
        self.must(done, "remove", path);
    }

    /// mv(1).
    pub fn renames(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        self.must(fs::rename(self.outside(&from), self.outside(to)), "rename", from);
    }

    /// ln(1).
    pub fn links(&self, file: impl AsRef<Path>, name: impl AsRef<Path>) {
        self.must(fs::hard_link(self.outside(&file), self.outside(name)), "link", file);
    }

    /// `ln -sfn`: a symbolic link is there now, in the place of whatever was.
    pub fn points(&self, path: impl AsRef<Path>, target: &str) {
        let new = beside(path.as_ref());
        self.must(symlink(target, self.outside(&new)), "symlink", &new);
        self.renames(new, path);
    }

    /// mkdir(1).
    pub fn makes_directory(&self, path: impl AsRef<Path>) {
        self.must(fs::create_dir_all(self.outside(&path)), "mkdir", path);
    }

    /// A new directory below this one that has this number. Those that were made on the way to it stay.
    pub fn directory_with_number(&self, below: &str, number: u64) -> PathBuf {
        for count in 0..100_000 {
            let path = Path::new(below).join(count.to_string());
            self.makes_directory(&path);
            let made = self.inode(&path).map_or(0, |(_, made)| made);
            if made == number {
                return path;
            }
            self.check(made < number, "the numbers of new directories do not lead there");
        }
        self.fail("the number is far away")
    }

    /// What is written down in a record of this start of the machine was written before it.
    pub fn is_another_start(&self, record: &str) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot_id");
        let text = fs::read_to_string(self.outside(record)).expect("its record");
        self.check(text.contains(boot.trim_end()), &format!("nothing there is of this start: {text}"));
        self.write(record, text.replace(boot.trim_end(), "another").as_bytes());
    }

    /// mknod(1): a pipe, or the device that swallows everything.
    pub fn makes_node(&self, path: impl AsRef<Path>, kind: SFlag) {
        let made = mknod(&self.outside(&path), kind, Mode::from_bits_truncate(0o666), makedev(1, 3));
        self.must(made.map_err(Into::into), "mknod", path);
    }

    /// dpkg is done with a package's directory: it removes it, unless something is in it.
    pub fn dpkg_removes_directory(&self, path: impl AsRef<Path>) {
        self.run_helper(&["dpkg", "rmdir"], path.as_ref(), b"");
    }

    /// dpkg removes a package: everything it lists, from the last to the first, but no directory that another package
    /// lists too; and then the list.
    pub fn dpkg_removes_package(&self, name: &str) {
        let lists = self.lists();
        for path in lists[name].iter().rev() {
            let is_directory = |found: std::io::Result<fs::Metadata>| found.is_ok_and(|found| found.is_dir());
            let listed_by = lists.values().filter(|paths| paths.contains(path)).count();
            match (is_directory(self.outside(path).symlink_metadata()), is_directory(self.outside(path).metadata())) {
                (_, true) if listed_by > 1 => {}
                (true, _) => self.dpkg_removes_directory(path),
                (false, _) => self.dpkg_removes(path),
            }
        }
        self.removes(list_of(name));
        self.write("/var/lib/dpkg/status", b"");
    }

    /// dpkg has removed a package and not purged it: its list has what could not be removed.
    pub fn dpkg_leaves_configuration_of(&self, name: &str, paths: &[&str]) {
        let list: String = ["/.", "/etc"].iter().chain(paths).map(|path| format!("{path}\n")).collect();
        self.write(list_of(name), list.as_bytes());
        let status = format!("Package: {name}\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: amd64\n\n");
        self.write("/var/lib/dpkg/status", status.as_bytes());
    }

    fn lists(&self) -> BTreeMap<String, Vec<String>> {
        let entries = fs::read_dir(self.outside(DATABASE)).expect("a database").flatten();
        let list = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?.strip_suffix(".list")?.to_owned();
            let text = fs::read_to_string(entry.path()).ok()?;
            Some((name, text.lines().filter(|path| *path != "/.").map(str::to_owned).collect()))
        };
        entries.filter_map(list).collect()
    }

    /// dpkg's list of a package is this now; what is on the disk stays as it is.
    pub fn dpkg_lists(&self, name: &str, paths: &[&str]) {
        let lines: Vec<&str> = ["/."].iter().chain(paths).copied().collect();
        self.write(list_of(name), (lines.join("\n") + "\n").as_bytes());
    }

    /// The marker that holds a directory, if there is one: its number is the directory's.
    pub fn marker(&self, directory: &str) -> Option<PathBuf> {
        let (_, number) = self.inode(directory)?;
        let marker = Path::new(directory).join(format!(".rokeep.{number}"));
        self.inode(&marker).map(|_| marker)
    }

    fn must(&self, done: std::io::Result<()>, what: &str, path: impl AsRef<Path>) {
        done.unwrap_or_else(|error| self.fail(&format!("{what} {:?}: {error}", path.as_ref())));
    }
}

fn list_of(package: &str) -> String {
    format!("{DATABASE}/{package}.list")
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}
