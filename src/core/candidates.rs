//! Names that dpkg is going to replace or remove: gathered package by package, looked at directory by directory.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::paths::ListedPath;
use super::plan::Reason;

/// The names, by directory.
#[derive(Debug, Default)]
pub struct Candidates(HashMap<Arc<Path>, Vec<Claim>>);

/// That a package has a name, or brings it.
type Claim = (OsString, Reason, Arc<str>);

/// A name in a directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The name.
    pub name: OsString,
    /// Every reason, each with its package.
    pub reasons: Vec<(Reason, Option<Arc<str>>)>,
}

impl Candidates {
    /// Adds what a package has, or brings.
    pub fn add(&mut self, paths: impl IntoIterator<Item = ListedPath>, reason: Reason, package: &Arc<str>) {
        let mut paths = paths.into_iter().peekable();
        while let Some(ListedPath { dir, name }) = paths.next() {
            let claims = self.0.entry(dir.clone()).or_default();
            claims.push((name, reason, package.clone()));
            while let Some(path) = paths.next_if(|next| Arc::ptr_eq(&next.dir, &dir)) {
                claims.push((path.name, reason, package.clone()));
            }
        }
    }

    /// Each directory once, and each name in it once, in the order of paths.
    pub fn by_directory(&self) -> impl Iterator<Item = (&Arc<Path>, Vec<Candidate>)> {
        let mut directories: Vec<_> = self.0.iter().collect();
        directories.sort_unstable_by(|(a, _), (b, _)| a.as_os_str().cmp(b.as_os_str()));
        directories.into_iter().map(|(dir, claims)| (dir, merge(claims)))
    }

    /// Whether an installed package has this name.
    pub fn has_installed(&self, path: &ListedPath) -> bool {
        let it = |(name, reason, _): &Claim| *name == path.name && *reason == Reason::Installed;
        self.0.get(&path.dir).is_some_and(|claims| claims.iter().any(it))
    }
}

fn merge(claims: &[Claim]) -> Vec<Candidate> {
    let mut claims: Vec<&Claim> = claims.iter().collect();
    claims.sort_unstable();
    claims.dedup();
    let reason = |(_, reason, package): &&Claim| (*reason, Some(package.clone()));
    let candidate = |same: &[&Claim]| {
        let (name, ..) = same.first()?;
        Some(Candidate { name: name.clone(), reasons: same.iter().map(reason).collect() })
    };
    claims.chunk_by(|(a, ..), (b, ..)| a == b).filter_map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::paths::PathReader;

    fn candidates(lists: &[(Reason, &str, &[&str])]) -> Candidates {
        let mut candidates = Candidates::default();
        for (reason, package, lines) in lists {
            let mut reader = PathReader::default();
            let paths = lines.iter().filter_map(|line| reader.absolute(line.as_bytes()));
            candidates.add(paths, *reason, &Arc::from(*package));
        }
        candidates
    }

    #[test]
    fn each_directory_and_each_name_comes_once_whoever_has_it() {
        let candidates = candidates(&[
            (Reason::Installed, "tool", &["/usr", "/usr/bin", "/usr/bin/tool", "/usr/share/x", "/usr/bin/awk"]),
            (Reason::Installed, "other", &["/usr", "/usr/bin/other"]),
            (Reason::Brought, "tool", &["/usr/bin/tool"]),
        ]);
        let mut text = String::new();
        for (dir, names) in candidates.by_directory() {
            for Candidate { name, reasons } in names {
                let said: Vec<_> =
                    reasons.iter().map(|(why, who)| format!("{why:?} {}", who.as_ref().unwrap())).collect();
                text += &format!("{}: {}\n", dir.join(name).display(), said.join(", "));
            }
        }
        let expected = "/usr: Installed other, Installed tool\n\
                        /usr/bin: Installed tool\n\
                        /usr/bin/awk: Installed tool\n\
                        /usr/bin/other: Installed other\n\
                        /usr/bin/tool: Installed tool, Brought tool\n\
                        /usr/share/x: Installed tool\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_only_brought_is_of_no_installed_package() {
        let candidates = candidates(&[
            (Reason::Installed, "tool", &["/usr/bin/tool"]),
            (Reason::Brought, "tool", &["/usr/bin/new"]),
        ]);
        let has = |path: &str| candidates.has_installed(&ListedPath::parse(path.as_bytes()).unwrap());
        assert_eq!(["/usr/bin/tool", "/usr/bin/new", "/usr/bin", "/usr"].map(has), [true, false, false, false]);
    }
}
