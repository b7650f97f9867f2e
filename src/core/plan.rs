//! Which inodes get an alias: one each, with every name that was found to lead to it, and every reason.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use smallvec::{Array, SmallVec};

use super::candidates::{Candidates, Claim};
use super::inode::Inode;
use super::paths::ListedPath;
use super::verdict::Kind;

/// Why an inode is in danger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Reason {
    /// An installed package has the file, and dpkg will replace or remove what that package has.
    #[serde(rename = "installed")]
    Installed,
    /// A new archive brings a file of that name, whoever has it now.
    #[serde(rename = "brought")]
    Brought,
    /// A process uses it now: a maintainer script or a trigger may replace it though no list names it.
    #[serde(rename = "in use")]
    InUse,
}

/// A file on a managed file system, as gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// A name that leads to it; none where it could only be reached through the process that uses it.
    pub path: Option<ListedPath>,
    /// The directory whose store its alias belongs into.
    pub site: Arc<Path>,
    /// Which inode it is.
    pub inode: Inode,
    /// Bytes on disk that the alias keeps alive once the inode is replaced.
    pub bytes: u64,
    /// Why it is in danger.
    pub reasons: Reasons,
}

/// Every reason, each with its package, where a package is the reason; none twice. Most files have two: that a package
/// has them, and that its next version brings them.
pub type Reasons = SmallVec<[(Reason, Option<Arc<str>>); 2]>;

/// One alias to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAlias {
    /// The inode.
    pub inode: Inode,
    /// Every name known to lead to it; nearly always one.
    pub names: SmallVec<[ListedPath; 1]>,
    /// Why it is in danger.
    pub reasons: Reasons,
    /// Bytes on disk.
    pub bytes: u64,
}

impl PlannedAlias {
    /// Whether a process uses it now.
    pub fn is_in_use(&self) -> bool {
        self.reasons.iter().any(|(reason, _)| *reason == Reason::InUse)
    }

    /// What it is made for: if no package is a reason, for this run only.
    pub fn kind(&self) -> Kind {
        let only_in_use = self.reasons.iter().all(|(reason, _)| *reason == Reason::InUse);
        if only_in_use { Kind::Guard } else { Kind::Planned }
    }
}

/// Adds to the files who brings them too, and leaves in `brought` only what is none of them. The files have names, and are
/// in the order of these.
pub fn add_brought(files: &mut [FoundFile], brought: &mut Candidates) {
    brought.visit(|dir, claims| {
        let here = files_in(files, dir);
        claims.retain(|Claim { path, package }| {
            let at = here.binary_search_by(|file| file.path.as_ref().map(ListedPath::name).cmp(&Some(path.name())));
            let found = at.ok().and_then(|at| here.get_mut(at));
            found.map(|file| file.reasons.push((Reason::Brought, Some(package.clone())))).is_none()
        });
    });
}

fn files_in<'a>(files: &'a mut [FoundFile], dir: &Path) -> &'a mut [FoundFile] {
    let dir_of = |file: &FoundFile| file.path.as_ref().map(|path| path.dir().as_os_str().cmp(dir.as_os_str()));
    let start = files.partition_point(|file| dir_of(file) < Some(Ordering::Equal));
    let (_, files) = files.split_at_mut(start);
    let end = files.partition_point(|file| dir_of(file) == Some(Ordering::Equal));
    files.split_at_mut(end).0
}

/// What is to be done in each store, by the directory that has it. What is in use comes first, as it matters most; else
/// in the order in which it was found.
pub type Plan = BTreeMap<Arc<Path>, Vec<PlannedAlias>>;

/// One alias an inode.
pub fn plan(files: impl IntoIterator<Item = FoundFile>) -> Plan {
    let mut sites: BTreeMap<Arc<Path>, Gathered> = BTreeMap::new();
    for file in files {
        sites.entry(file.site.clone()).or_default().add(file);
    }
    let in_order = |(site, Gathered { mut aliases, .. })| {
        aliases.sort_by_key(|alias: &PlannedAlias| !alias.is_in_use());
        (site, aliases)
    };
    sites.into_iter().map(in_order).collect()
}

/// What was found so far of one site.
#[derive(Default)]
struct Gathered {
    aliases: Vec<PlannedAlias>,
    at: HashMap<Inode, usize>,
}

impl Gathered {
    fn add(&mut self, FoundFile { path, inode, bytes, reasons, .. }: FoundFile) {
        let at = *self.at.entry(inode).or_insert(self.aliases.len());
        match self.aliases.get_mut(at) {
            None => self.aliases.push(PlannedAlias { inode, names: path.into_iter().collect(), reasons, bytes }),
            Some(alias) => {
                add_new(&mut alias.names, path);
                add_new(&mut alias.reasons, reasons);
            }
        }
    }
}

fn add_new<A: Array<Item: PartialEq>>(to: &mut SmallVec<A>, more: impl IntoIterator<Item = A::Item>) {
    for one in more {
        if !to.contains(&one) {
            to.push(one);
        }
    }
}

/// That a file system is too full to keep every old file beside the new ones until the run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that the new files will take, as far as can be told.
    pub needed: u64,
    /// How many files get no alias, because nobody uses them now.
    pub left_out: usize,
}

/// Leaves out what nobody uses where the new files would not fit beside the old ones: those give back their space while
/// dpkg works, package by package.
pub fn leave_out_what_does_not_fit(aliases: &mut Vec<PlannedAlias>, free: u64, needed: u64) -> Option<Shortage> {
    if needed <= free {
        return None;
    }
    let all = aliases.len();
    aliases.retain(PlannedAlias::is_in_use);
    let left_out = all - aliases.len();
    (left_out > 0).then_some(Shortage { free, needed, left_out })
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn file(path: &str, ino: u64) -> FoundFile {
        FoundFile {
            path: ListedPath::parse(path.as_bytes()),
            site: Path::new("/usr").into(),
            inode: Inode { dev: 1, ino },
            bytes: 4096,
            reasons: smallvec![(Reason::Installed, Some("perl".into()))],
        }
    }

    fn in_use(path: &str, ino: u64) -> FoundFile {
        FoundFile { reasons: smallvec![(Reason::InUse, None)], ..file(path, ino) }
    }

    fn numbers(aliases: &[PlannedAlias]) -> Vec<u64> {
        aliases.iter().map(|alias| alias.inode.ino).collect()
    }

    #[test]
    fn an_inode_with_two_names_gets_one_alias() {
        let plan = plan([
            file("/usr/bin/perl", 7),
            file("/usr/bin/awk", 3),
            file("/usr/bin/perl5.36.0", 7),
            file("/usr/bin/perl", 7),
        ]);
        let aliases = &plan[Path::new("/usr")];
        assert_eq!(numbers(aliases), [7, 3]);
        let names: Vec<_> = aliases[0].names.iter().map(ListedPath::full).collect();
        assert_eq!(names, [Path::new("/usr/bin/perl"), Path::new("/usr/bin/perl5.36.0")]);
        assert_eq!(aliases[0].reasons.len(), 1);
    }

    #[test]
    fn what_is_found_already_is_not_looked_for_again_when_it_is_brought() {
        let mut files = vec![file("/usr/bin/awk", 3), file("/usr/bin/perl", 7), file("/usr/lib/perl", 5)];
        let mut brought = Candidates::new(Reason::Brought);
        let paths = ["/usr/bin/perl", "/usr/bin/new", "/usr/lib/awk", "/opt/perl"];
        brought.add(paths.into_iter().filter_map(|path| ListedPath::parse(path.as_bytes())), &"mawk".into());
        add_brought(&mut files, &mut brought);
        let [installed, mawk] =
            [(Reason::Installed, "perl"), (Reason::Brought, "mawk")].map(|(why, who)| (why, Some(who.into())));
        let reasons: Vec<_> = files.into_iter().map(|file| file.reasons).collect();
        assert_eq!(
            reasons,
            [smallvec![installed.clone()], smallvec![installed.clone(), mawk], smallvec![installed]] as [Reasons; 3]
        );
        let left: Vec<_> =
            brought.by_directory().flat_map(|(_, names)| names).map(|candidate| candidate.path).collect();
        let expected = ["/opt/perl", "/usr/bin/new", "/usr/lib/awk"];
        assert_eq!(left, expected.map(|path| ListedPath::parse(path.as_bytes()).unwrap()));
    }

    #[test]
    fn what_is_in_use_comes_first_and_is_a_guard_if_no_package_is_a_reason() {
        let plan = plan([file("/usr/bin/awk", 3), file("/usr/bin/perl", 7), in_use("", 9), in_use("/usr/bin/perl", 7)]);
        let aliases = &plan[Path::new("/usr")];
        assert_eq!(numbers(aliases), [7, 9, 3]);
        assert_eq!(
            aliases.iter().map(PlannedAlias::kind).collect::<Vec<_>>(),
            [Kind::Planned, Kind::Guard, Kind::Planned]
        );
    }

    #[test]
    fn where_the_new_files_do_not_fit_beside_the_old_ones_only_what_is_in_use_is_kept() {
        let mut aliases =
            plan([file("/usr/bin/awk", 3), in_use("/usr/bin/perl", 7)]).remove(Path::new("/usr")).unwrap();
        assert_eq!(leave_out_what_does_not_fit(&mut aliases, 10, 10), None);
        assert_eq!(numbers(&aliases), [7, 3]);
        let short = leave_out_what_does_not_fit(&mut aliases, 9, 10);
        assert_eq!(short, Some(Shortage { free: 9, needed: 10, left_out: 1 }));
        assert_eq!(numbers(&aliases), [7]);
        assert_eq!(
            leave_out_what_does_not_fit(&mut aliases, 9, 10),
            None,
            "nothing is left out, so there is nothing to say"
        );
    }
}
