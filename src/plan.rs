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
//!
//! Opening the archives takes a processor nearly as long as linking takes another one, and tells of few files that no
//! list has. So the plan comes in parts, and while the first of them are being linked the archives are opened. No part is
//! larger than so many files ([`findings`]), so that of a large run little more than the names is in memory.

pub mod archives;
pub mod findings;
pub mod in_use;
pub mod lists;
pub mod places;
pub mod room;

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle, available_parallelism};

use anyhow::{Context, Result};

use self::archives::{Archives, Which};
use self::findings::{Findings, Located};
use self::in_use::InUse;
use self::lists::Lists;
use self::places::Places;
use self::room::Room;
use crate::core::apt_stream::Stream;
use crate::core::candidates::{self, Candidates};
use crate::core::inode::Inode;
use crate::core::looks::Looks;
use crate::core::message;
use crate::core::paths::ListedPath;
use crate::core::plan::{self, Plan, Shortage};
use crate::sys::ahead;
use crate::sys::files::Root;
use crate::sys::mounts::Mounted;

/// Fewer names than this are looked at sooner than another thread is there.
const WORTH_A_THREAD: usize = 2000;

/// What every part of a plan stands on.
pub struct Grounds<'a> {
    /// Where aliases go.
    pub places: Places<'a>,
    /// How to reach what has no name here.
    pub in_use: InUse,
}

/// Some of what a run is to be protected from.
#[derive(Debug, Default)]
pub struct Part {
    /// About how many files all parts of the plan together are for.
    pub of: usize,
    /// The aliases, by site.
    pub aliases: Plan,
    /// Directories that dpkg may remove and somebody is in.
    pub directories: Vec<InUseDirectory>,
    /// What was left out because it would not fit, by site.
    pub shortages: BTreeMap<Arc<Path>, Shortage>,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Part {
    /// All of them together.
    pub fn joined(parts: Vec<Part>) -> Part {
        let (mut all, mut plans) = (Part::default(), Vec::new());
        for part in parts {
            plans.push(part.aliases);
            all.directories.extend(part.directories);
            all.shortages.extend(part.shortages);
            all.notes.extend(part.notes);
            all.of = all.of.max(part.of);
        }
        Part { aliases: plan::joined(plans), ..all }
    }
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

/// Plans for everything that apt announced, on these mounts. Each part is written down, perhaps by another thread while the
/// one before is still being used, and then handed over. Answers who need not be asked again what they use.
///
/// # Errors
/// Where a list or a directory cannot be read, or a package has none although dpkg counts it as installed; and whatever
/// `write_down` and `hand_over` fail with. An archive that cannot be read is a note: dpkg will say more of it.
pub fn plan<'a>(
    root: &'a Root,
    stream: &Stream,
    mounts: &'a [Mounted],
    write_down: impl Fn(&Grounds<'a>, &Part) -> Result<()> + Sync,
    mut hand_over: impl FnMut(&Grounds<'a>, Part) -> Result<()>,
) -> Result<Looks> {
    let mut grounds = Grounds { places: Places::new(root, mounts)?, in_use: InUse::default() };
    let mut room = Room::new(root, stream, &grounds.places)?;
    let lists = thread::scope(|scope| {
        let lists = Started::on(scope, || lists::listed(root, stream));
        grounds.in_use = in_use::in_use(root, &grounds.places, &Looks::default())?;
        lists.joined()
    })?;
    // They say how much room they take, and where there are many of them there is little else.
    let mut archives = Archives::default();
    archives.add(root, archives::open(stream, Which::New, &lists), &lists)?;
    let in_use = grounds.in_use.take_found();
    let found = find(root, &lists.candidates, &grounds)?;
    let (files, directories): (_, Vec<_>) = found.into_iter().map(|found| (found.files, found.directories)).unzip();
    let findings = Findings::new(in_use, files);
    room.reckon(&grounds.places, &findings, archives.new_bytes)?;

    let of = findings.count();
    let mut hand_over_all = |findings: Findings, room: &mut Room| {
        let ready = |mut aliases| {
            room.leave_out_what_does_not_fit(&mut aliases);
            let part = Part { of, aliases, ..Part::default() };
            write_down(&grounds, &part).map(|()| part)
        };
        ahead::each(findings.plans(), ready, |part| hand_over(&grounds, part))
    };
    let rest = || -> Result<Rest> {
        archives.add(root, archives::open(stream, Which::Replacing, &lists), &lists)?;
        let brought = archives.take_brought();
        let directories = directories.into_iter().flatten().collect();
        let directories = without_objections(root, directories, &lists, &archives, &brought)?;
        let directories = lists::of_no_other_package(root, &lists, directories)?;
        Ok(Rest { brought: brought.without(&lists.candidates), directories, notes: archives.notes() })
    };
    let Rest { brought, directories, notes } = thread::scope(|scope| {
        let rest = thread::Builder::new().spawn_scoped(scope, rest).context("cannot start a thread")?;
        hand_over_all(findings, &mut room)?;
        rest.join().unwrap_or_else(|panic| resume_unwind(panic))
    })?;
    let found = find(root, &brought, &grounds)?;
    let findings = Findings::new(Vec::new(), found.into_iter().map(|found| found.files).collect());
    room.reckon(&grounds.places, &findings, 0)?;
    hand_over_all(findings, &mut room)?;
    let notes = say_unreadable(&grounds.in_use).into_iter().chain(notes).collect();
    let last = Part { of, aliases: Plan::new(), directories, shortages: room.shortages(), notes };
    write_down(&grounds, &last)?;
    hand_over(&grounds, last)?;
    Ok(grounds.in_use.looks)
}

/// What is known when the archives are open.
struct Rest {
    /// The names that only they have.
    brought: Candidates,
    directories: Vec<InUseDirectory>,
    notes: Vec<String>,
}

/// Plans for what is in use now and nothing else, by processes that have run since they were asked `before`.
///
/// # Errors
/// Where /proc or a mount cannot be looked at.
pub fn plan_what_is_in_use<'a>(root: &'a Root, mounts: &'a [Mounted], before: &Looks) -> Result<(Grounds<'a>, Part)> {
    let places = Places::new(root, mounts)?;
    let mut in_use = in_use::in_use(root, &places, before)?;
    let aliases = plan::plan(in_use.take_found());
    let of = aliases.values().map(Vec::len).sum();
    Ok((Grounds { places, in_use }, Part { of, aliases, ..Part::default() }))
}

fn say_unreadable(in_use: &InUse) -> Vec<String> {
    let note = |who| {
        format!(
            "what {who} may use could not be read; if a file is replaced that only they use, and that no list names, \
             nothing keeps it"
        )
    };
    (!in_use.unreadable.is_empty()).then(|| note(in_use.unreadable.who())).into_iter().collect()
}

#[derive(Default)]
struct Found<'a> {
    files: Vec<Located<'a>>,
    directories: Vec<InUseDirectory>,
}

/// Those of the candidates that are regular files on one of the mounts, and directories that somebody is in. In the
/// order of paths; all processors look.
fn find<'a>(root: &Root, candidates: &'a Candidates, grounds: &Grounds) -> Result<Vec<Found<'a>>> {
    let processors = available_parallelism().map_or(1, usize::from);
    let parts = candidates.by_directory(processors.min(candidates.count() / WORTH_A_THREAD).max(1));
    thread::scope(|scope| {
        let (first, others) = parts.split_first().map_or((None, &[][..]), |(first, others)| (Some(first), others));
        let look = |part| find_in(root, part, candidates, grounds);
        let others: Vec<_> = others.iter().map(|part| Started::on(scope, move || look(part))).collect();
        let first = first.map(look).into_iter();
        first.chain(others.into_iter().map(Started::joined)).collect()
    })
}

/// Something that another thread does, or this one did where there can be no other.
enum Started<'scope, T> {
    There(ScopedJoinHandle<'scope, T>),
    Here(T),
}

impl<'scope, T: Send + 'scope> Started<'scope, T> {
    fn on(scope: &'scope Scope<'scope, '_>, work: impl Fn() -> T + Clone + Send + 'scope) -> Started<'scope, T> {
        match thread::Builder::new().spawn_scoped(scope, work.clone()) {
            Ok(there) => Started::There(there),
            Err(_) => Started::Here(work()),
        }
    }

    fn joined(self) -> T {
        match self {
            Started::There(there) => there.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Started::Here(done) => done,
        }
    }
}

fn find_in<'a>(root: &Root, part: &candidates::Part<'a>, all: &Candidates, grounds: &Grounds) -> Result<Found<'a>> {
    let Grounds { places, in_use } = grounds;
    let mut found = Found { files: Vec::with_capacity(part.count()), directories: Vec::new() };
    let unreadable = |path: &Path| format!("cannot look at {}", message::path(path));
    for (directory, names) in part.directories() {
        let Some(dir) = root.open_dir(directory).with_context(|| unreadable(directory))? else { continue };
        let Some(place) = places.of(&dir).with_context(|| unreadable(directory))? else { continue };
        for candidate in names {
            let path = candidate.path;
            let entry = dir.entry(path.name()).with_context(|| unreadable(path.full()))?;
            let Some(stat) = entry.filter(|stat| stat.mount_id == place.mount_id) else { continue };
            if stat.is_file() && places.can_link(&place, &dir, path.name())? {
                let (site, inode, born, bytes) = (place.site.clone(), stat.inode, stat.born, stat.bytes);
                found.files.push(Located { candidate, site, inode, born, bytes });
            } else if stat.is_directory() && in_use.has_directory(stat.inode) {
                let (mount, above) = (places.mount(&place.site), listed_above(path, all));
                found.directories.push(InUseDirectory { mount, path: path.clone(), above, inode: stat.inode });
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
    brought: &Candidates,
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
            || brought.packages(&directory.path).any(|package| archives.mind_other_files(package))
    };
    Ok(directories.into_iter().filter(|directory| !objections(directory)).collect())
}
