//! Names that dpkg is going to replace or remove: gathered package by package, looked at directory by directory.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::paths::ListedPath;

/// The names, by directory.
#[derive(Debug, Default)]
pub struct Candidates(HashMap<Arc<Path>, Vec<Claim>>);

/// That a package has a name, or brings it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The name, without its directory.
    pub name: OsString,
    /// The package.
    pub package: Arc<str>,
}

/// A name in a directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The name.
    pub name: OsString,
    /// Every package that has it, or brings it.
    pub packages: Vec<Arc<str>>,
}

impl Candidates {
    /// Adds what a package has, or brings.
    pub fn add(&mut self, paths: impl IntoIterator<Item = ListedPath>, package: &Arc<str>) {
        let mut paths = paths.into_iter().peekable();
        while let Some(ListedPath { dir, name }) = paths.next() {
            let claims = self.0.entry(dir.clone()).or_default();
            claims.push(Claim { name, package: package.clone() });
            while let Some(path) = paths.next_if(|next| Arc::ptr_eq(&next.dir, &dir)) {
                claims.push(Claim { name: path.name, package: package.clone() });
            }
        }
    }

    /// Each directory once, and each name in it once, in the order of paths.
    pub fn by_directory(&self) -> impl Iterator<Item = (&Arc<Path>, Vec<Candidate>)> {
        let mut directories: Vec<_> = self.0.iter().collect();
        directories.sort_unstable_by(|(a, _), (b, _)| a.as_os_str().cmp(b.as_os_str()));
        directories.into_iter().map(|(dir, claims)| (dir, merge(claims)))
    }

    /// The packages that have this name, or bring it.
    pub fn packages(&self, path: &ListedPath) -> impl Iterator<Item = &Arc<str>> {
        let claims = self.0.get(&path.dir).into_iter().flatten();
        claims.filter(|claim| claim.name == path.name).map(|claim| &claim.package)
    }

    /// Shows every directory and what is claimed in it, in no order. A visitor may take claims away.
    pub fn visit(&mut self, mut visitor: impl FnMut(&Path, &mut Vec<Claim>)) {
        self.0.retain(|dir, claims| {
            visitor(dir, claims);
            !claims.is_empty()
        });
    }
}

fn merge(claims: &[Claim]) -> Vec<Candidate> {
    let mut claims: Vec<&Claim> = claims.iter().collect();
    claims.sort_unstable();
    claims.dedup();
    let candidate = |same: &[&Claim]| {
        let packages = same.iter().map(|claim| claim.package.clone()).collect();
        Some(Candidate { name: same.first()?.name.clone(), packages })
    };
    claims.chunk_by(|a, b| a.name == b.name).filter_map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::paths::PathReader;

    fn candidates(lists: &[(&str, &[&str])]) -> Candidates {
        let mut candidates = Candidates::default();
        for (package, lines) in lists {
            let mut reader = PathReader::default();
            let paths = lines.iter().filter_map(|line| reader.absolute(line.as_bytes()));
            candidates.add(paths, &Arc::from(*package));
        }
        candidates
    }

    fn text(candidates: &Candidates) -> String {
        let mut text = String::new();
        for (dir, names) in candidates.by_directory() {
            for Candidate { name, packages } in names {
                text += &format!("{}: {}\n", dir.join(name).display(), packages.join(", "));
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
        candidates.visit(|dir, claims| claims.retain(|claim| dir != Path::new("/usr/bin") || claim.name == "b"));
        assert_eq!(text(&candidates), "/opt/a: tool\n/usr/bin/b: tool\n");
        candidates.visit(|_, claims| claims.clear());
        assert_eq!(candidates.by_directory().count(), 0, "no empty directory is left");
    }
}
