//! Names that dpkg is going to replace or remove: gathered package by package, looked at directory by directory.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use super::paths::ListedPath;
use super::plan::{Reason, Reasons};

/// Names as they come, package by package.
#[derive(Debug, Default)]
pub struct Gathering {
    claims: Vec<Claim>,
}

/// Names that are in danger for one reason.
#[derive(Debug)]
pub struct Candidates {
    reason: Reason,
    /// In order, each once: the names of a directory are next to each other.
    claims: Vec<Claim>,
}

/// That a package has a name, or brings it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    path: ListedPath,
    package: Arc<str>,
}

/// A name, and all who claim it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The name.
    pub path: &'a ListedPath,
    reason: Reason,
    claims: &'a [Claim],
}

impl Gathering {
    /// Adds what a package has, or brings.
    pub fn add(&mut self, paths: impl IntoIterator<Item = ListedPath>, package: &Arc<str>) {
        self.claims.extend(paths.into_iter().map(|path| Claim { path, package: package.clone() }));
    }

    /// All of them, which are in danger for this reason.
    pub fn candidates(self, reason: Reason) -> Candidates {
        let Gathering { mut claims } = self;
        // Every package comes in nearly this order already, of which the stable sort makes use.
        claims.sort();
        claims.dedup();
        Candidates { reason, claims }
    }
}

impl Candidates {
    /// Each directory once, and each name in it once, in the order of paths: in as many parts as are asked for, none of
    /// them much larger than another, and none empty.
    pub fn by_directory(&self, parts: usize) -> Vec<Part<'_>> {
        let (mut seen, size) = (0, self.count().div_ceil(parts.max(1)).max(1));
        let mut number = |claims: &[Claim]| {
            let number = seen / size;
            seen += claims.len();
            number
        };
        let directories = self.claims.chunk_by(|a, b| a.path.is_beside(&b.path));
        let numbered: Vec<_> = directories.map(|claims| (number(claims), claims)).collect();
        let part = |same: &[(usize, _)]| Part {
            reason: self.reason,
            directories: same.iter().map(|(_, claims)| *claims).collect(),
        };
        numbered.chunk_by(|(a, _), (b, _)| a == b).map(part).collect()
    }

    /// Takes away every name that these have as well.
    pub fn without(mut self, others: &Candidates) -> Candidates {
        self.claims.retain(|claim| others.packages(&claim.path).next().is_none());
        self
    }

    /// How many there are, one for each package that has or brings a name.
    pub fn count(&self) -> usize {
        self.claims.len()
    }

    /// The packages that have this name, or bring it.
    pub fn packages(&self, path: &ListedPath) -> impl Iterator<Item = &Arc<str>> {
        let first = self.claims.partition_point(|claim| claim.path < *path);
        let (_, from_first) = self.claims.split_at_checked(first).unwrap_or((&[], &[]));
        from_first.iter().take_while(|claim| claim.path == *path).map(|claim| &claim.package)
    }
}

impl<'a> Candidate<'a> {
    /// The packages that have the name, or bring it.
    pub fn packages(&self) -> impl Iterator<Item = &'a Arc<str>> + use<'a> {
        self.claims.iter().map(|claim| &claim.package)
    }

    /// The reason, once for every package.
    pub fn reasons(&self) -> Reasons {
        self.claims.iter().map(|claim| (self.reason, Some(claim.package.clone()))).collect()
    }
}

/// Some of the directories.
#[derive(Debug)]
pub struct Part<'a> {
    reason: Reason,
    directories: Vec<&'a [Claim]>,
}

impl<'a> Part<'a> {
    /// Each with the names that are claimed in it, in the order of paths.
    pub fn directories(&self) -> impl Iterator<Item = (&'a Path, impl Iterator<Item = Candidate<'a>> + use<'a>)> {
        let reason = self.reason;
        let candidate = move |claims: &'a [Claim]| Some(Candidate { path: &claims.first()?.path, reason, claims });
        self.directories.iter().filter_map(move |claims| {
            let same_name = claims.chunk_by(|a, b| a.path.name() == b.path.name());
            Some((claims.first()?.path.dir(), same_name.filter_map(candidate)))
        })
    }

    /// How many names there are at most.
    pub fn count(&self) -> usize {
        self.directories.iter().map(|claims| claims.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::paths::PathReader;

    fn candidates(lists: &[(&str, &[&str])]) -> Candidates {
        let mut gathering = Gathering::default();
        for (package, lines) in lists {
            let mut reader = PathReader::default();
            lines.iter().for_each(|line| reader.absolute(line.as_bytes()));
            gathering.add(reader.paths(), &Arc::from(*package));
        }
        gathering.candidates(Reason::Installed)
    }

    fn text(candidates: &Candidates) -> String {
        let mut text = String::new();
        for (dir, names) in candidates.by_directory(1).iter().flat_map(Part::directories) {
            for candidate in names {
                let path = candidate.path;
                assert_eq!(path.dir(), dir);
                let packages: Vec<_> = candidate.reasons().into_iter().filter_map(|(_, package)| package).collect();
                text += &format!("{}: {}\n", path.full().display(), packages.join(", "));
            }
        }
        text
    }

    #[test]
    fn each_directory_and_each_name_comes_once_whoever_has_it() {
        let candidates = candidates(&[
            ("tool", &["/usr", "/usr/bin", "/usr/bin/tool", "/usr/share/x", "/usr/bin/awk", "/usr/bin/awk"]),
            ("other", &["/usr", "/usr/bin/other"]),
        ]);
        let expected = "/usr: other, tool\n\
                        /usr/bin: tool\n\
                        /usr/bin/awk: tool\n\
                        /usr/bin/other: other\n\
                        /usr/bin/tool: tool\n\
                        /usr/share/x: tool\n";
        assert_eq!(text(&candidates), expected);
    }

    #[test]
    fn a_name_is_asked_for() {
        let candidates = candidates(&[("tool", &["/usr/bin/a", "/opt/a", "/usr/bin/b"]), ("other", &["/usr/bin/a"])]);
        let path = |path: &str| ListedPath::parse(path.as_bytes()).unwrap();
        assert_eq!(candidates.packages(&path("/usr/bin/a")).count(), 2);
        assert_eq!(candidates.packages(&path("/usr/a")).count(), 0);
    }

    #[test]
    fn what_others_have_too_is_taken_away() {
        let brought = || candidates(&[("new", &["/usr/bin/a", "/usr/bin/b", "/opt/a"]), ("other", &["/usr/bin/b"])]);
        let listed = candidates(&[("tool", &["/usr/bin/b", "/usr/lib/a", "/opt/a"])]);
        assert_eq!(text(&brought().without(&listed)), "/usr/bin/a: new\n");
        assert!(brought().without(&brought()).by_directory(1).is_empty(), "no empty directory is left");
    }

    #[test]
    fn parts_are_of_one_size_and_together_everything() {
        let candidates = candidates(&[("tool", &["/a/1", "/a/2", "/b/1", "/c/1", "/c/2", "/d/1"])]);
        let names = |part: &Part| part.directories().map(|(_, names)| names.count()).collect::<Vec<_>>();
        for (parts, expected) in
            [(1, vec![vec![2, 1, 2, 1]]), (2, vec![vec![2, 1], vec![2, 1]]), (3, vec![vec![2], vec![1, 2], vec![1]])]
        {
            assert_eq!(candidates.by_directory(parts).iter().map(names).collect::<Vec<_>>(), expected, "{parts}");
        }
    }
}
