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
pub struct Claim {
    /// The name.
    pub path: ListedPath,
    /// The package.
    pub package: Arc<str>,
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

    /// Each directory once, and each name in it once, in the order of paths.
    pub fn by_directory(&self) -> impl Iterator<Item = (&Path, Vec<Candidate>)> {
        let mut directories: Vec<_> = self.claims.iter().collect();
        directories.sort_unstable_by_key(|(dir, _)| *dir);
        directories.into_iter().map(|(dir, claims)| (Path::new(dir), merge(self.reason, claims)))
    }

    /// The packages that have this name, or bring it.
    pub fn packages(&self, path: &ListedPath) -> impl Iterator<Item = &Arc<str>> {
        let claims = self.claims.get(path.dir().as_os_str()).into_iter().flatten();
        claims.filter(|claim| claim.path == *path).map(|claim| &claim.package)
    }

    /// Shows every directory and what is claimed in it, in no order. A visitor may take claims away.
    pub fn visit(&mut self, mut visitor: impl FnMut(&Path, &mut Vec<Claim>)) {
        self.claims.retain(|dir, claims| {
            visitor(Path::new(dir), claims);
            !claims.is_empty()
        });
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
        for (dir, names) in candidates.by_directory() {
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
    fn a_name_is_asked_for_and_left_out_with_its_directory() {
        let mut candidates =
            candidates(&[("tool", &["/usr/bin/a", "/opt/a", "/usr/bin/b"]), ("other", &["/usr/bin/a"])]);
        let path = |path: &str| ListedPath::parse(path.as_bytes()).unwrap();
        assert_eq!(candidates.packages(&path("/usr/bin/a")).count(), 2);
        assert_eq!(candidates.packages(&path("/usr/a")).count(), 0);
        candidates.visit(|dir, claims| claims.retain(|claim| dir != Path::new("/usr/bin") || claim.path.name() == "b"));
        assert_eq!(text(&candidates), "/opt/a: tool\n/usr/bin/b: tool\n");
        candidates.visit(|_, claims| claims.clear());
        assert_eq!(candidates.by_directory().count(), 0, "no empty directory is left");
    }
}
