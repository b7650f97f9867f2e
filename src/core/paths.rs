//! Absolute paths out of dpkg's records, split where the kernel is asked: directory and last name.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An absolute path without `.` or `..`, not the root itself.
///
/// Only the directory part is resolved through symlinks, by the kernel; the last name is taken as it is, as dpkg does
/// when it replaces or removes it.
#[derive(Clone, Debug)]
pub struct ListedPath {
    /// The directory, absolute.
    pub dir: Arc<Path>,
    /// The entry in it.
    pub name: OsString,
}

impl ListedPath {
    /// `None` for whatever is not such a path.
    pub fn parse(bytes: &[u8]) -> Option<ListedPath> {
        PathReader::default().absolute(bytes)
    }

    /// The whole path again.
    pub fn full(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// What makes it this path and no other. Paths of one directory are next to each other in this order.
    fn bytes(&self) -> (&[u8], &[u8]) {
        (self.dir.as_os_str().as_bytes(), self.name.as_bytes())
    }
}

// Not derived: [`Path`] would be taken apart again for every comparison, which takes ten times as long.

impl PartialEq for ListedPath {
    fn eq(&self, other: &ListedPath) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for ListedPath {}

impl PartialOrd for ListedPath {
    fn partial_cmp(&self, other: &ListedPath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ListedPath {
    fn cmp(&self, other: &ListedPath) -> Ordering {
        self.bytes().cmp(&other.bytes())
    }
}

impl Hash for ListedPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

/// Reads one path after the other. Those of one directory that come in a row share its name in memory.
#[derive(Debug, Default)]
pub struct PathReader {
    last_dir: Option<Arc<Path>>,
}

impl PathReader {
    /// A path from the root; `None` for whatever is no [`ListedPath`].
    pub fn absolute(&mut self, path: &[u8]) -> Option<ListedPath> {
        self.below_root(path.strip_prefix(b"/")?)
    }

    /// The same without the slash in front, as in an archive.
    pub fn below_root(&mut self, path: &[u8]) -> Option<ListedPath> {
        let end = path.iter().rposition(|b| *b != b'/')? + 1;
        let path = path.get(..end)?;
        let (dir, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => (path.get(..slash)?, path.get(slash + 1..)?),
            None => (&[][..], path),
        };
        let name = is_name(name).then(|| OsStr::from_bytes(name).to_owned())?;
        Some(ListedPath { dir: self.dir(dir)?, name })
    }

    fn dir(&mut self, dir: &[u8]) -> Option<Arc<Path>> {
        let is_it = |last: &&Arc<Path>| last.as_os_str().as_bytes().strip_prefix(b"/") == Some(dir);
        if let Some(last) = self.last_dir.as_ref().filter(is_it) {
            return Some(last.clone());
        }
        let parts: Vec<&[u8]> = dir.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
        if !parts.iter().all(|part| is_name(part)) {
            return None;
        }
        let dir = [b"/", parts.join(&b'/').as_slice()].concat();
        Some(self.last_dir.insert(Path::new(OsStr::from_bytes(&dir)).into()).clone())
    }
}

fn is_name(part: &[u8]) -> bool {
    !matches!(part, b"." | b"..") && !part.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_at_the_last_name() {
        let path = ListedPath::parse(b"//usr///bin/tool/").unwrap();
        assert_eq!((&*path.dir, path.name.as_os_str()), (Path::new("/usr/bin"), OsStr::new("tool")));
        assert_eq!(&*ListedPath::parse(b"/vmlinuz").unwrap().dir, Path::new("/"));
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_path() {
        for bad in [&b""[..], b"/", b"/.", b"usr", b"/usr/../etc", b"/usr/./x", b"/..", b"/a\0b"] {
            assert_eq!(ListedPath::parse(bad), None, "{bad:?}");
        }
    }
    #[test]
    fn a_reader_reads_each_path_as_if_it_were_the_first() {
        let paths: [&[u8]; 8] =
            [b"/usr/a", b"/usr/b", b"/usr//c", b"/usr/share/a", b"/a", b"/b", b"/usr/../a", b"/usr/a/"];
        let mut reader = PathReader::default();
        for path in paths {
            assert_eq!(reader.absolute(path), ListedPath::parse(path), "{path:?}");
        }
    }

    #[test]
    fn paths_of_one_directory_in_a_row_share_it() {
        let mut reader = PathReader::default();
        let [a, b] = [&b"/usr/a"[..], b"/usr/b"].map(|path| reader.absolute(path).unwrap());
        assert!(Arc::ptr_eq(&a.dir, &b.dir));
        assert!(Arc::ptr_eq(&a.dir, &reader.below_root(b"usr/c").unwrap().dir));
    }
}
