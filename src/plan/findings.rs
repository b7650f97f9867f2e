//! What was found for a plan, and the plan itself for some of it at a time: a run may replace hundreds of thousands of
//! files, and nobody needs to know all about all of them at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::core::candidates::Candidate;
use crate::core::inode::{Born, Inode};
use crate::core::plan::{self, FoundFile, Plan, SameInode};

/// So many files are planned for at a time. Each such part of a plan costs one flush of the journal.
const AT_A_TIME: usize = 20_000;

/// At first it is fewer: the linking can begin the sooner.
const FIRST: usize = 5_000;

/// A candidate that is a regular file on one of the mounts.
#[derive(Debug)]
pub struct Located<'a> {
    /// By which name, and why.
    pub candidate: Candidate<'a>,
    /// The directory whose store its alias belongs into.
    pub site: Arc<Path>,
    /// Which inode it is.
    pub inode: Inode,
    /// When that was made, where it can be told.
    pub born: Option<Born>,
    /// Bytes on disk.
    pub bytes: u64,
}

/// All that was found.
#[derive(Debug)]
pub struct Findings<'a> {
    in_use: Vec<FoundFile>,
    located: Vec<Vec<Located<'a>>>,
    same: SameInode,
}

impl<'a> Findings<'a> {
    /// What is in use comes first, as it matters most.
    pub fn new(in_use: Vec<FoundFile>, located: Vec<Vec<Located<'a>>>) -> Findings<'a> {
        let inodes = in_use.iter().map(|file| file.inode);
        let inodes = inodes.chain(located.iter().flatten().map(|file| file.inode));
        let same = SameInode::among(inodes);
        Findings { in_use, located, same }
    }

    /// For each site that something was found on, how many bytes those files have there of which a package is a reason
    /// that `comes_anew`.
    pub fn replaced_bytes(&self, comes_anew: impl Fn(&str) -> bool) -> BTreeMap<Arc<Path>, u64> {
        let mut bytes: BTreeMap<Arc<Path>, u64> = self.in_use.iter().map(|file| (file.site.clone(), 0)).collect();
        for first in self.firsts(0..self.count()) {
            let of_it = || self.same.all(first).filter_map(|at| self.located(at));
            let is_replaced = of_it().any(|file| file.candidate.packages().any(|package| comes_anew(package)));
            // By way of another mount it may have a name on another site, which keeps an alias of its own.
            let mut sites: SmallVec<[&Arc<Path>; 1]> = SmallVec::new();
            for Located { site, bytes: on_disk, .. } in of_it() {
                if !sites.contains(&site) {
                    sites.push(site);
                    let sum = bytes.entry(site.clone()).or_default();
                    *sum = sum.saturating_add(if is_replaced { *on_disk } else { 0 });
                }
            }
        }
        bytes
    }

    /// The plan, in parts: all names of an inode are in one of them.
    pub fn plans(&self) -> impl ExactSizeIterator<Item = Plan> {
        self.plans_of(FIRST, AT_A_TIME)
    }

    fn plans_of(&self, first: usize, at_a_time: usize) -> impl ExactSizeIterator<Item = Plan> {
        let starts = [0].into_iter().chain((first..self.count()).step_by(at_a_time));
        let starts: Vec<usize> = starts.take_while(|start| *start < self.count()).collect();
        let ends: Vec<usize> = starts.iter().copied().skip(1).chain([self.count()]).collect();
        starts.into_iter().zip(ends).map(|(start, end)| {
            let firsts = self.firsts(start..end);
            plan::plan(firsts.flat_map(|first| self.same.all(first)).filter_map(|at| self.file(at)))
        })
    }

    /// How many names there are.
    pub fn count(&self) -> usize {
        self.in_use.len() + self.located.iter().map(Vec::len).sum::<usize>()
    }

    fn firsts(&self, some: Range<usize>) -> impl Iterator<Item = usize> {
        some.filter(|at| self.same.is_first(*at))
    }

    fn located(&self, at: usize) -> Option<&Located<'a>> {
        let mut at = at.checked_sub(self.in_use.len())?;
        self.located.iter().find_map(|part| {
            let located = part.get(at);
            at = at.saturating_sub(part.len());
            located
        })
    }

    fn file(&self, at: usize) -> Option<FoundFile> {
        let Some(Located { candidate, site, inode, born, bytes }) = self.located(at) else {
            return self.in_use.get(at).cloned();
        };
        let (path, reasons) = (Some(candidate.path.clone()), candidate.reasons());
        Some(FoundFile { path, site: site.clone(), inode: *inode, born: *born, bytes: *bytes, reasons })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::candidates::{Candidates, Gathering, Part};
    use crate::core::paths::ListedPath;
    use crate::core::plan::Reason;
    use smallvec::smallvec;

    const LIST: &[u8] = b"/usr/a\n/usr/b\n/usr/bin/c\n/usr/bin/d\n/usr/lib/e\n/usr/lib/f\n/usr/lib/g\n";

    fn listed() -> Candidates {
        let mut gathering = Gathering::default();
        gathering.add(ListedPath::in_lines(LIST), &"tool".into());
        gathering.candidates(Reason::Installed)
    }

    /// The files of the list have these inodes, in their order.
    fn located<'a>(part: &Part<'a>, inodes: &mut impl Iterator<Item = u64>) -> Vec<Located<'a>> {
        let candidates = part.directories().flat_map(|(_, names)| names);
        let file = |(candidate, ino)| {
            let (site, inode) = (Path::new("/usr").into(), Inode { dev: 1, ino });
            Located { candidate, site, inode, born: None, bytes: 1000 }
        };
        candidates.zip(inodes).map(file).collect()
    }

    fn in_use(ino: u64) -> FoundFile {
        let (site, inode, reasons) =
            (Path::new("/usr").into(), Inode { dev: 1, ino }, smallvec![(Reason::InUse, None)]);
        FoundFile { path: None, site, inode, born: None, bytes: 1000, reasons }
    }

    #[test]
    fn the_parts_together_are_the_plan_however_large_they_are() {
        let candidates = listed();
        // The second and the last are one inode, and so are the third and the fifth, which is in use.
        let mut inodes = [1, 7, 3, 4, 3, 6, 7].into_iter();
        let parts = candidates.by_directory(2);
        let located: Vec<_> = parts.iter().map(|part| located(part, &mut inodes)).collect();
        assert_eq!(located.len(), 2);
        let findings = Findings::new(vec![in_use(9), in_use(3)], located);
        let all = plan::plan((0..findings.count()).filter_map(|at| findings.file(at)));
        assert_eq!(all.values().map(Vec::len).collect::<Vec<_>>(), [6]);
        for (first, at_a_time) in [(1, 1), (1, 2), (2, 3), (9, 1), (100, 100)] {
            let mut together = Plan::new();
            for part in findings.plans_of(first, at_a_time) {
                for (site, aliases) in part {
                    together.entry(site).or_default().extend(aliases);
                }
            }
            assert_eq!(together, all, "{first}, then {at_a_time}");
        }
    }

    #[test]
    fn what_is_replaced_is_counted_once_an_inode() {
        let candidates = listed();
        let parts = candidates.by_directory(1);
        let located = parts.iter().map(|part| located(part, &mut [1, 7, 3, 4, 3, 6, 7].into_iter())).collect();
        let findings = Findings::new(vec![in_use(9)], located);
        let bytes =
            |comes_anew: fn(&str) -> bool| findings.replaced_bytes(comes_anew).into_values().collect::<Vec<_>>();
        assert_eq!(bytes(|package| package == "tool"), [5000]);
        assert_eq!(bytes(|_| false), [0], "where nothing is replaced something may be new");
    }
}
