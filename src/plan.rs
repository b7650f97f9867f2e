//! The plan: which inodes may be freed while dpkg works?
//!
//! - What the installed packages list, of those that are upgraded, downgraded, reinstalled or removed ([`lists`]).
//! - What the new archives bring where there is a file already: it may belong to a package that nobody announced
//!   ([`archives`]).
//! - What is in use now, whoever owns it and whatever it is called: caches that maintainer scripts and triggers rebuild
//!   are in no list ([`in_use`]).
//!
//! Paths are resolved as the kernel would: `/lib/x` on a merged /usr is `/usr/lib/x`. [`places`] knows which store an
//! alias of a file belongs into, if any.

pub mod archives;
pub mod in_use;
pub mod lists;
pub mod places;

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};

use self::archives::{Archives, Opening};
use self::in_use::InUse;
use self::lists::Lists;
use self::places::Places;
use crate::core::apt_stream::{Action, Stream};
use crate::core::candidates::{Candidate, Candidates};
use crate::core::inode::Inode;
use crate::core::message;
use crate::core::paths::ListedPath;
use crate::core::plan::{self, FoundFile, Plan, PlannedAlias, Reason, Shortage};
use crate::sys::files::{Directory, Root};
use crate::sys::mounts::Mounted;

/// All that one run is to be protected from.
pub struct Planned<'a> {
    /// The aliases, by site.
    pub aliases: Plan,
    /// Where they go.
    pub places: Places<'a>,
    /// How to reach what has no name here.
    pub in_use: InUse,
    /// Directories that dpkg may remove and somebody is in.
    pub directories: Vec<InUseDirectory>,
    /// What was left out because it would not fit, by site.
    pub shortages: Vec<(Arc<Path>, Shortage)>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// A directory in use that a package of the run has, and no other package.
#[derive(Debug)]
pub struct InUseDirectory {
    /// The managed mount that it is on.
    pub mount: PathBuf,
    /// The name that a list gives it.
    pub path: ListedPath,
    /// The directories above it that a package of the run has as well, from the nearest up.
    pub above: Vec<ListedPath>,
    /// Which one.
    pub inode: Inode,
}

/// Plans for everything that apt announced, on these mounts.
///
/// # Errors
/// Where a list or a directory cannot be read, or a package has none although dpkg counts it as installed. An archive
/// that cannot be read is a note: dpkg will say more of it.
pub fn plan<'a>(root: &'a Root, stream: &Stream, mounts: &'a [Mounted]) -> Result<Planned<'a>> {
    let mut places = Places::new(root, mounts)?;
    let (mut found, mut in_use, lists, mut archives) = thread::scope(|scope| {
        let opening = Opening::start(scope, stream);
        let in_use = in_use::in_use(root, &mut places)?;
        let lists = lists::listed(root, stream)?;
        let found = find(root, &lists.candidates, &mut places, &in_use)?;
        let archives = archives::brought(root, opening.finish(), &lists)?;
        Ok::<_, anyhow::Error>((found, in_use, lists, archives))
    })?;
    plan::add_brought(&mut found.files, &mut archives.candidates);
    found.files.extend(find(root, &archives.candidates, &mut places, &in_use)?.files);
    // In the order in which they are to be linked, so that nothing has to be moved.
    let mut aliases = plan::plan(in_use.take_found().into_iter().chain(found.files));
    let shortages = leave_out_what_does_not_fit(root, stream, &archives, &mut places, &mut aliases)?;
    let directories = without_objections(root, found.directories, &lists, &archives)?;
    let directories = lists::of_no_other_package(root, &lists, directories)?;
    let mut notes = archives.notes;
    if !in_use.unreadable.is_empty() {
        let who = in_use.unreadable.who();
        notes.push(format!(
            "what {who} may use could not be read; if a file is replaced that only they use, and that no list names, \
             nothing keeps it"
        ));
    }
    Ok(Planned { aliases, places, in_use, directories, shortages, notes })
}

/// Plans for what is in use now and nothing else.
///
/// # Errors
/// Where /proc or a mount cannot be looked at.
pub fn plan_what_is_in_use<'a>(root: &'a Root, mounts: &'a [Mounted]) -> Result<Planned<'a>> {
    let mut places = Places::new(root, mounts)?;
    let mut in_use = in_use::in_use(root, &mut places)?;
    let aliases = plan::plan(in_use.take_found());
    let (directories, shortages, notes) = (Vec::new(), Vec::new(), Vec::new());
    Ok(Planned { aliases, places, in_use, directories, shortages, notes })
}

struct Found {
    files: Vec<FoundFile>,
    directories: Vec<InUseDirectory>,
}

/// Those of the candidates that are regular files on one of the mounts, and directories that somebody is in.
fn find(root: &Root, candidates: &Candidates, places: &mut Places, in_use: &InUse) -> Result<Found> {
    let mut found = Found { files: Vec::new(), directories: Vec::new() };
    let unreadable = |path: &Path| format!("cannot look at {}", message::path(path));
    for (directory, names) in candidates.by_directory() {
        let Some(dir) = root.open_dir(directory).with_context(|| unreadable(directory))? else { continue };
        let Some(place) = places.of(&dir).with_context(|| unreadable(directory))? else { continue };
        for Candidate { path, reasons } in names {
            let entry = dir.entry(path.name()).with_context(|| unreadable(path.full()))?;
            let Some(stat) = entry.filter(|stat| stat.mount_id == place.mount_id) else { continue };
            if stat.is_file() && places.can_link(&place, &dir, path.name())? {
                let (site, inode, bytes) = (place.site.clone(), stat.inode, stat.bytes);
                found.files.push(FoundFile { path: Some(path), site, inode, bytes, reasons });
            } else if stat.is_directory() && in_use.has_directory(stat.inode) {
                let (mount, above) = (places.mount(&place.site), listed_above(&path, candidates));
                found.directories.push(InUseDirectory { mount, path, above, inode: stat.inode });
            }
        }
    }
    Ok(found)
}

/// As far up as there is no gap: dpkg removes no directory that none of its packages has.
fn listed_above(path: &ListedPath, candidates: &Candidates) -> Vec<ListedPath> {
    let parent = |path: &ListedPath| ListedPath::parse(path.dir().as_os_str().as_bytes());
    std::iter::successors(parent(path), parent)
        .take_while(|above| candidates.packages(above).next().is_some())
        .collect()
}

/// Those whose packages have nothing against a marker in them.
fn without_objections(
    root: &Root,
    directories: Vec<InUseDirectory>,
    lists: &Lists,
    archives: &Archives,
) -> Result<Vec<InUseDirectory>> {
    // Some directories are in every package.
    let mut asked: HashMap<&Arc<str>, bool> = HashMap::new();
    for directory in &directories {
        for package in lists.candidates.packages(&directory.path) {
            if !asked.contains_key(package) {
                asked.insert(package, archives.mind_other_files(package) || lists.mind_other_files(root, package)?);
            }
        }
    }
    let objections = |directory: &InUseDirectory| {
        lists.candidates.packages(&directory.path).any(|package| asked.get(package) == Some(&true))
            || archives.candidates.packages(&directory.path).any(|package| archives.mind_other_files(package))
    };
    Ok(directories.into_iter().filter(|directory| !objections(directory)).collect())
}

/// A file system takes all old files beside the new ones, or only what must be kept.
///
/// What an upgrade brings to a file system is taken to be as much as what it replaces there; what a new package brings
/// goes to /usr, where nearly all of it always goes.
fn leave_out_what_does_not_fit(
    root: &Root,
    stream: &Stream,
    archives: &Archives,
    places: &mut Places,
    aliases: &mut Plan,
) -> Result<Vec<(Arc<Path>, Shortage)>> {
    let unpacked = |step: &&crate::core::apt_stream::Step| matches!(step.action, Action::Unpack(_));
    let comes_anew: HashSet<&str> = stream.steps.iter().filter(unpacked).map(|step| step.package.as_str()).collect();
    let usr: Option<Directory> = root.open_dir(Path::new("/usr"))?;
    let usr = usr.map(|dir| places.of(&dir)).transpose()?.flatten();
    let mut shortages = Vec::new();
    for (site, aliases) in aliases {
        let replaced = |alias: &&PlannedAlias| {
            let package = |(_, package): &(Reason, Option<Arc<str>>)| {
                package.as_deref().is_some_and(|name| comes_anew.contains(name))
            };
            alias.reasons.iter().any(package)
        };
        let replaced: u64 = aliases.iter().filter(replaced).map(|alias| alias.bytes).sum();
        let new = if usr.as_ref().is_some_and(|usr| usr.site == *site) { archives.new_bytes } else { 0 };
        let Some(placed) = places.site(site) else { continue };
        let free = placed.free().with_context(|| format!("cannot ask how full {} is", message::path(site)))?.bytes;
        let shortage = plan::leave_out_what_does_not_fit(aliases, free, replaced.saturating_add(new));
        shortages.extend(shortage.map(|shortage| (site.clone(), shortage)));
    }
    Ok(shortages)
}
