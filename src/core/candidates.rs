//! Names that dpkg is going to replace or remove: gathered package by package, looked at directory by directory.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::paths::ListedPath;
use super::plan::{Reason, Reasons};

/// Names that are in danger for one reason, by directory.
#[derive(Debug)]
pub struct Candidates {
    reason: Reason,
    claims: HashMap<Box<OsStr>, Vec<Claim>>,
}

/// That a package has a name, or brings it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    path: ListedPath,
    package: Arc<str>,
}

/// A name that somebody claims.
#[derive(Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The name.
    pub path: ListedPath,
    /// The reason, once for every package.
    pub reasons: Reasons,
}

impl Candidates {
    /// None yet.
    pub fn new(reason: Reason) -> Candidates {
        Candidates { reason, claims: HashMap::new() }
    }

    /// Adds what a package has, or brings.
    pub fn add(&mut self, paths: impl IntoIterator<Item = ListedPath>, package: &Arc<str>) {
        let mut paths = paths.into_iter().peekable();
        while let Some(path) = paths.next() {
            let claims = self.claims.entry(path.dir().as_os_str().into()).or_default();
            claims.push(Claim { path, package: package.clone() });
            let beside_last =
                |next: &ListedPath, claims: &[Claim]| claims.last().is_some_and(|it| it.path.is_beside(next));
            while let Some(path) = paths.next_if(|next| beside_last(next, claims)) {
                claims.push(Claim { path, package: package.clone() });
            }
        }
    }

    /// Each directory once, and each name in it once, in the order of paths: in as many parts as are asked for, none of
    /// them much larger than another, and none empty.
    pub fn by_directory(&self, parts: usize) -> Vec<Part<'_>> {
        let mut directories: Vec<_> = self.claims.iter().map(|(dir, claims)| (&**dir, &**claims)).collect();
        directories.sort_unstable_by_key(|(dir, _)| *dir);
        let (mut seen, size) = (0, self.count().div_ceil(parts.max(1)).max(1));
        let mut number = |claims: &[Claim]| {
            let number = seen / size;
            seen += claims.len();
            number
        };
        let numbered: Vec<_> = directories.into_iter().map(|(dir, claims)| (number(claims), (dir, claims))).collect();
        let part = |same: &[(usize, (_, _))]| Part {
            reason: self.reason,
            directories: same.iter().map(|(_, directory)| *directory).collect(),
        };
        numbered.chunk_by(|(a, _), (b, _)| a == b).map(part).collect()
    }

    /// Takes away every name that these have as well.
    pub fn without(mut self, others: &Candidates) -> Candidates {
        self.claims.retain(|dir, claims| {
            let mut theirs: Vec<&OsStr> = others.claims.get(dir).into_iter().flatten().map(Claim::name).collect();
            theirs.sort_unstable();
            claims.retain(|claim| theirs.binary_search(&claim.name()).is_err());
            !claims.is_empty()
        });
        self
    }

    /// How many there are, one for each package that has or brings a name.
    pub fn count(&self) -> usize {
        self.claims.values().map(Vec::len).sum()
    }

    /// The packages that have this name, or bring it.
    pub fn packages(&self, path: &ListedPath) -> impl Iterator<Item = &Arc<str>> {
        let claims = self.claims.get(path.dir().as_os_str()).into_iter().flatten();
        claims.filter(|claim| claim.path == *path).map(|claim| &claim.package)
    }
}

impl Claim {
    fn name(&self) -> &OsStr {
        self.path.name()
    }
}

/// Some of the directories.
#[derive(Debug)]
pub struct Part<'a> {
    reason: Reason,
    directories: Vec<(&'a OsStr, &'a [Claim])>,
}

impl<'a> Part<'a> {
    /// Each with the names that are claimed in it, in the order of paths.
    pub fn directories(&self) -> impl Iterator<Item = (&'a Path, Vec<Candidate>)> {
        self.directories.iter().map(|(dir, claims)| (Path::new(*dir), merge(self.reason, claims)))
    }
}

fn merge(reason: Reason, claims: &[Claim]) -> Vec<Candidate> {
    let mut claims: Vec<&Claim> = claims.iter().collect();
    claims.sort_unstable_by_key(|claim| (claim.path.name(), &claim.package));
    claims.dedup();
    let candidate = |same: &[&Claim]| {
        let reasons = same.iter().map(|claim| (reason, Some(claim.package.clone()))).collect();
        Some(Candidate { path: same.first()?.path.clone(), reasons })
    };
    claims.chunk_by(|a, b| a.path == b.path).filter_map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::paths::PathReader;

    fn candidates(lists: &[(&str, &[&str])]) -> Candidates {
        let mut candidates = Candidates::new(Reason::Installed);
        for (package, lines) in lists {
            let mut reader = PathReader::default();
            lines.iter().for_each(|line| reader.absolute(line.as_bytes()));
            candidates.add(reader.paths(), &Arc::from(*package));
        }
        candidates
    }

    fn text(candidates: &Candidates) -> String {
        let mut text = String::new();
        for (dir, names) in candidates.by_directory(1).iter().flat_map(Part::directories) {
            for Candidate { path, reasons } in names {
                assert_eq!(path.dir(), dir);
                let packages: Vec<_> = reasons.into_iter().filter_map(|(_, package)| package).collect();
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
        let names = |part: &Part| part.directories().map(|(_, names)| names.len()).collect::<Vec<_>>();
        for (parts, expected) in
            [(1, vec![vec![2, 1, 2, 1]]), (2, vec![vec![2, 1], vec![2, 1]]), (3, vec![vec![2], vec![1, 2], vec![1]])]
        {
            assert_eq!(candidates.by_directory(parts).iter().map(names).collect::<Vec<_>>(), expected, "{parts}");
        }
    }
}
