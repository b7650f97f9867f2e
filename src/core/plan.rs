//! Which inodes get an alias: one each, with every name that was found to lead to it, and every reason.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use smallvec::{Array, SmallVec};

use super::inode::{Born, Inode};
use super::paths::ListedPath;
use super::verdict::Kind;

/// Why an inode is in danger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Reason {
    /// An installed package has the file, and dpkg will replace or remove what that package has.
    #[serde(rename = "installed")]
    Installed,
    /// A new archive brings a file of that name, which none of the packages that are replaced or removed has.
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
    /// When that was made, where it can be told.
    pub born: Option<Born>,
    /// Bytes on disk that the alias keeps alive once the inode is replaced.
    pub bytes: u64,
    /// Why it is in danger.
    pub reasons: Reasons,
}

/// Every reason, each with its package, where a package is the reason; none twice. Most files have just one.
pub type Reasons = SmallVec<[(Reason, Option<Arc<str>>); 1]>;

/// One alias to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAlias {
    /// The inode.
    pub inode: Inode,
    /// When it was made, where that can be told.
    pub born: Option<Born>,
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

/// What is to be done in each store, by the directory that has it. What is in use comes first, as it matters most; else
/// in the order in which it was found.
pub type Plan = BTreeMap<Arc<Path>, Vec<PlannedAlias>>;

/// One alias an inode.
pub fn plan(files: impl IntoIterator<Item = FoundFile>) -> Plan {
    let mut sites: BTreeMap<Arc<Path>, Gathered> = BTreeMap::new();
    for FoundFile { path, site, inode, born, bytes, reasons } in files {
        let alias = PlannedAlias { inode, born, names: path.into_iter().collect(), reasons, bytes };
        sites.entry(site).or_default().add(alias);
    }
    sites.into_iter().map(|(site, gathered)| (site, gathered.in_order())).collect()
}

/// What was planned one after the other, as one.
pub fn joined(plans: impl IntoIterator<Item = Plan>) -> Plan {
    let mut sites: BTreeMap<Arc<Path>, Gathered> = BTreeMap::new();
    for (site, aliases) in plans.into_iter().flatten() {
        let all = sites.entry(site).or_default();
        aliases.into_iter().for_each(|alias| all.add(alias));
    }
    sites.into_iter().map(|(site, gathered)| (site, gathered.in_order())).collect()
}

/// Which of many names lead to one inode, each name known by its place among them.
#[derive(Debug, Default)]
pub struct SameInode {
    /// By the first of them.
    others: HashMap<usize, Vec<usize>>,
    not_first: HashSet<usize>,
}

impl SameInode {
    /// Of names that lead to these.
    pub fn among(inodes: impl Iterator<Item = Inode>) -> SameInode {
        let mut same = SameInode::default();
        let mut in_order: Vec<(Inode, usize)> = inodes.zip(0..).collect();
        in_order.sort_unstable();
        for of_one in in_order.chunk_by(|(a, _), (b, _)| a == b) {
            if let [(_, first), others @ ..] = of_one {
                let others = others.iter().map(|(_, at)| *at);
                same.not_first.extend(others.clone());
                if others.len() > 0 {
                    same.others.insert(*first, others.collect());
                }
            }
        }
        same
    }

    /// Whether no name before this one leads there.
    pub fn is_first(&self, at: usize) -> bool {
        !self.not_first.contains(&at)
    }

    /// The first name, and all that lead there too.
    pub fn all(&self, first: usize) -> impl Iterator<Item = usize> {
        std::iter::once(first).chain(self.others.get(&first).into_iter().flatten().copied())
    }
}

/// What was found so far of one site.
#[derive(Default)]
struct Gathered {
    aliases: Vec<PlannedAlias>,
    at: HashMap<Inode, usize>,
}

impl Gathered {
    fn add(&mut self, new: PlannedAlias) {
        let at = *self.at.entry(new.inode).or_insert(self.aliases.len());
        match self.aliases.get_mut(at) {
            None => self.aliases.push(new),
            Some(alias) => {
                add_new(&mut alias.names, new.names);
                add_new(&mut alias.reasons, new.reasons);
            }
        }
    }

    fn in_order(mut self) -> Vec<PlannedAlias> {
        self.aliases.sort_by_key(|alias| !alias.is_in_use());
        self.aliases
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
    /// How many files get an alias all the same, because they are in use.
    pub kept: usize,
    /// How many files get no alias, because nobody uses them now.
    pub left_out: usize,
}

impl Shortage {
    /// Together with what was found of the same file system later.
    pub fn and(self, later: Shortage) -> Shortage {
        Shortage { kept: self.kept + later.kept, left_out: self.left_out + later.left_out, ..later }
    }
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
    (left_out > 0).then_some(Shortage { free, needed, kept: aliases.len(), left_out })
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn file(path: &str, ino: u64) -> FoundFile {
        FoundFile {
            path: ListedPath::parse(path.as_bytes()),
            site: Path::new("/usr").into(),
            born: None,
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
    fn names_of_one_inode_are_known_by_the_first() {
        let inode = |ino| Inode { dev: 1, ino };
        let same = SameInode::among([7, 3, 7, 9, 3, 7].map(inode).into_iter());
        let firsts: Vec<_> = (0..6).filter(|at| same.is_first(*at)).collect();
        assert_eq!(firsts, [0, 1, 3]);
        let all: Vec<Vec<_>> = firsts.into_iter().map(|first| same.all(first).collect()).collect();
        assert_eq!(all, [vec![0, 2, 5], vec![1, 4], vec![3]]);
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
        assert_eq!(short, Some(Shortage { free: 9, needed: 10, kept: 1, left_out: 1 }));
        assert_eq!(numbers(&aliases), [7]);
        assert_eq!(
            leave_out_what_does_not_fit(&mut aliases, 9, 10),
            None,
            "nothing is left out, so there is nothing to say"
        );
    }
}
