//! What dpkg's lists say: the files of the packages that lose or replace them, and who else has a directory.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::InUseDirectory;
use crate::core::apt_stream::{Action, Name, Step, Stream, Version};
use crate::core::candidates::{Candidates, Gathering};
use crate::core::dpkg_db::{self, Diversions};
use crate::core::inode::Inode;
use crate::core::maintainer_script::minds_other_files;
use crate::core::paths::ListedPath;
use crate::core::plan::Reason;
use crate::sys::files::{Lookup, Root};

/// dpkg's database.
pub const DPKG: &str = "/var/lib/dpkg";

/// What the lists of the run's packages say.
#[derive(Debug)]
pub struct Lists {
    /// Every path in them, directories included, where diversions put it.
    pub candidates: Candidates,
    /// Where other files of the run's packages are put.
    pub diversions: Diversions,
    /// The lists that were read, by file name.
    read: HashSet<OsString>,
}

/// Reads the list of each package that is upgraded, downgraded, reinstalled or removed.
///
/// # Errors
/// Where one cannot be read, or is missing although dpkg counts the package as installed.
pub fn listed(root: &Root, stream: &Stream) -> Result<Lists> {
    let diversions = Diversions::parse(&read(root, "diversions")?.unwrap_or_default());
    let (mut gathering, mut files) = (Gathering::default(), HashSet::new());
    let steps = dpkg_db::packages_that_lose_files(stream);
    for step in &steps {
        let Some(installed) = &step.installed else { continue };
        let Some((file, list)) = read_list(root, step, installed)? else { continue };
        files.insert(file.into());
        let stays = stays(root, step, installed, &steps)?;
        let listed = dpkg_db::listed_paths(&list).filter(|path| !stays.contains(path));
        let placed = listed.map(|path| diversions.place(path, &step.package));
        gathering.add(placed, &step.package.as_str().into());
    }
    Ok(Lists { candidates: gathering.candidates(Reason::Installed), diversions, read: files })
}

/// What stays although a package goes for one architecture: files that it has for another one, to which nothing happens
/// in this run (dpkg src/main/remove.c, removal_bulk_file_is_shared).
fn stays(root: &Root, step: &Step, installed: &Version, steps: &[&Step]) -> Result<HashSet<ListedPath>> {
    let mut stays = HashSet::new();
    if step.action != Action::Remove || step.coming.is_some() || !installed.co_installable {
        return Ok(stays);
    }
    let of_it = steps.iter().filter(|other| other.package == step.package);
    let changing: HashSet<&Name> = of_it.filter_map(|other| Some(&other.installed.as_ref()?.arch)).collect();
    let architectures = read(root, "arch")?.unwrap_or_default();
    for other in architectures.split(|byte| *byte == b'\n').filter_map(Name::parse) {
        if !changing.contains(&other) {
            let [list, _] = dpkg_db::list_files(&step.package, &other, true);
            stays.extend(dpkg_db::listed_paths(&read(root, format!("info/{list}"))?.unwrap_or_default()));
        }
    }
    Ok(stays)
}

impl Lists {
    /// Whether the installed version of a package of the run may fail if it finds something in its directories that is
    /// not its own.
    ///
    /// # Errors
    /// Where a script cannot be read.
    pub fn mind_other_files(&self, root: &Root, package: &str) -> Result<bool> {
        let lists = self.read.iter().filter_map(|list| list.to_str()?.strip_suffix(".list"));
        let is_of = |name: &&str| name.split(':').next() == Some(package);
        for name in lists.filter(is_of) {
            for script in ["prerm", "postrm"] {
                let text = read(root, format!("info/{name}.{script}"))?.unwrap_or_default();
                if minds_other_files(&text) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// The list of a package, and what its file is called; `None` where it need have none.
fn read_list(root: &Root, step: &Step, installed: &Version) -> Result<Option<(String, Vec<u8>)>> {
    let names = dpkg_db::list_files(&step.package, &installed.arch, installed.co_installable);
    for name in &names {
        let Some(list) = read(root, format!("info/{name}"))? else { continue };
        return Ok(Some((name.clone(), list)));
    }
    let status = read(root, "status")?.with_context(|| format!("there is no {DPKG}/status"))?;
    if dpkg_db::has_files(&status, &step.package, &installed.arch) == Some(false) {
        return Ok(None);
    }
    let [list, _] = names;
    let package = &step.package;
    bail!(
        "dpkg has lost the list of {package}'s files ({DPKG}/info/{list}), so they cannot be protected; \
         \"touch {DPKG}/info/{list}\" says that it has none, then \"apt install --reinstall {package}\" writes a new one"
    )
}

/// The versions of a package that are installed, one for each architecture.
///
/// # Errors
/// Where dpkg's status cannot be read.
pub fn installed(root: &Root, package: &Name) -> Result<Vec<Version>> {
    let status = read(root, "status")?.with_context(|| format!("there is no {DPKG}/status"))?;
    Ok(dpkg_db::installed(&status, package))
}

/// What is installed and selected to be removed or purged.
///
/// # Errors
/// Where dpkg's status cannot be read.
pub fn selected_for_removal(root: &Root) -> Result<Vec<(Name, Version)>> {
    let status = read(root, "status")?.with_context(|| format!("there is no {DPKG}/status"))?;
    Ok(dpkg_db::selected_for_removal(&status))
}

/// The files that a package has for other architectures: of those that are the same for all, dpkg keeps one copy, and
/// does not replace it when another architecture comes along (dpkg src/main/archives.c, tarobject).
///
/// # Errors
/// Where a list cannot be read.
pub fn shared_with_other_architectures(root: &Root, package: &Name, arch: &Name) -> Result<HashSet<ListedPath>> {
    let mut shared = HashSet::new();
    for name in all_lists(root)? {
        if dpkg_db::is_list_of_another_arch(name.as_encoded_bytes(), package, arch) {
            let list = read(root, Path::new("info").join(name))?.unwrap_or_default();
            shared.extend(dpkg_db::listed_paths(&list));
        }
    }
    Ok(shared)
}

/// Those of the directories that no package has which is not of this run: dpkg leaves the others alone. It compares paths
/// as they are written, so what another package has as /lib/x does not keep it from removing /usr/lib/x.
///
/// # Errors
/// Where a list cannot be read.
pub fn of_no_other_package(
    root: &Root,
    lists: &Lists,
    directories: Vec<InUseDirectory>,
) -> Result<Vec<InUseDirectory>> {
    let mut left: HashMap<ListedPath, InUseDirectory> =
        directories.into_iter().map(|directory| (directory.path.clone(), directory)).collect();
    for list in all_lists(root)?.into_iter().filter(|name| !lists.read.contains(name)) {
        if left.is_empty() {
            break;
        }
        let text = read(root, Path::new("info").join(list))?.unwrap_or_default();
        dpkg_db::listed_paths(&text).for_each(|path| drop(left.remove(&path)));
    }
    let mut left: Vec<InUseDirectory> = left.into_values().collect();
    left.sort_by(|a, b| a.path.cmp(&b.path));
    let mut seen = HashSet::new();
    left.retain(|directory| seen.insert(directory.inode));
    Ok(left)
}

/// Which of these directories, given by their last names, any list has, however it is written there. Not one of a package
/// that was removed: dpkg leaves a directory in it that it could not remove, until the package is purged.
///
/// # Errors
/// Where a list cannot be read.
pub fn listed_directories(root: &Root, directories: &[(&OsStr, Inode)]) -> Result<HashSet<Inode>> {
    let mut found = HashSet::new();
    if directories.is_empty() {
        return Ok(found);
    }
    let mut by_name: HashMap<&OsStr, Vec<Inode>> = HashMap::new();
    for (name, inode) in directories {
        by_name.entry(name).or_default().push(*inode);
    }
    let mut lookup = Lookup::new(root);
    // What a dpkg that was killed has written behind it is in no status yet (dpkg lib/dpkg/dbmodify.c).
    let status = if has_updates(root) { None } else { read(root, "status")? };
    let removed = dpkg_db::lists_of_removed(&status.unwrap_or_default());
    let is_removed = |list: &OsString| list.to_str().is_some_and(|list| removed.contains(list));
    for list in all_lists(root)?.into_iter().filter(|list| !is_removed(list)) {
        // Many packages have the same directories: where none was removed, the first lists have them all.
        if by_name.is_empty() {
            break;
        }
        let text = read(root, Path::new("info").join(list))?.unwrap_or_default();
        for path in dpkg_db::listed_paths(&text) {
            let Some(inodes) = by_name.get_mut(path.name()) else { continue };
            let Some(dir) = lookup.directory(path.dir())? else { continue };
            let here = dir.entry(path.name())?.map(|stat| stat.inode);
            found.extend(here.filter(|inode| inodes.contains(inode)));
            inodes.retain(|inode| !found.contains(inode));
            if inodes.is_empty() {
                by_name.remove(path.name());
            }
        }
    }
    Ok(found)
}

/// Where a path is that may be in a list.
struct Place<'a> {
    /// Which of the paths.
    number: usize,
    /// The directory, as it is written.
    dir: &'a Path,
    /// Which one that is, if it is there.
    inode: Option<Inode>,
}

/// The packages that have each of these absolute paths in their lists, as `name` or `name:architecture`: wherever a diversion
/// or a symbolic link to a directory has put it.
///
/// # Errors
/// Where a list, or a directory, cannot be read.
pub fn owners(root: &Root, paths: &[&Path]) -> Result<Vec<Vec<String>>> {
    let mut owners = vec![Vec::new(); paths.len()];
    let mut by_name: HashMap<&OsStr, Vec<Place>> = HashMap::new();
    let mut lookup = Lookup::new(root);
    for (number, path) in paths.iter().enumerate() {
        let (Some(name), Some(dir)) = (path.file_name(), path.parent()) else { continue };
        let inode = lookup.directory(dir)?.map(|dir| dir.stat()).transpose()?.map(|stat| stat.inode);
        by_name.entry(name).or_default().push(Place { number, dir, inode });
    }
    let diversions = Diversions::parse(&read(root, "diversions")?.unwrap_or_default());
    let mut lists = if by_name.is_empty() { Vec::new() } else { all_lists(root)? };
    lists.sort();
    for list in lists {
        let Some(package) = list.to_str().and_then(|list| list.strip_suffix(".list")) else { continue };
        let Some(name) = package.split(':').next().and_then(|name| Name::parse(name.as_bytes())) else { continue };
        let text = read(root, Path::new("info").join(&list))?.unwrap_or_default();
        for path in dpkg_db::listed_paths(&text).map(|path| diversions.place(path, &name)) {
            let Some(wanted) = by_name.get(path.name()) else { continue };
            let is_written_so = |dir: &Path| path.dir().as_os_str() == dir.as_os_str();
            let here = match wanted.iter().all(|place| is_written_so(place.dir)) {
                true => None,
                false => lookup.directory(path.dir())?.map(|dir| dir.stat()).transpose()?.map(|stat| stat.inode),
            };
            let is_here = |place: &&Place| is_written_so(place.dir) || (here.is_some() && here == place.inode);
            for place in wanted.iter().filter(is_here) {
                owners.get_mut(place.number).into_iter().for_each(|owners| owners.push(package.to_owned()));
            }
        }
    }
    Ok(owners)
}

/// The names of all lists.
fn all_lists(root: &Root) -> Result<Vec<OsString>> {
    let info = root.path(&format!("{DPKG}/info"));
    let failed = || format!("cannot read {}", info.display());
    let mut lists = Vec::new();
    for entry in std::fs::read_dir(&info).with_context(failed)? {
        let name = entry.with_context(failed)?.file_name();
        if name.as_encoded_bytes().ends_with(b".list") {
            lists.push(name);
        }
    }
    Ok(lists)
}

/// Whether dpkg has changed the status of packages and not written it anew yet: the files of changes have numbers.
fn has_updates(root: &Root) -> bool {
    let mut entries = std::fs::read_dir(root.path(&format!("{DPKG}/updates"))).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
}

/// A file of dpkg's database; `None` where there is none.
fn read(root: &Root, name: impl AsRef<Path>) -> Result<Option<Vec<u8>>> {
    let path = root.path(DPKG).join(name);
    match std::fs::read(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
