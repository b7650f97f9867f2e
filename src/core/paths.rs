//! Absolute paths out of dpkg's records, split where the kernel is asked: directory and last name.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// An absolute path without `.` or `..`, not the root itself.
///
/// Only the directory part is resolved through symlinks, by the kernel; the last name is taken as it is, as dpkg does
/// when it replaces or removes it.
#[derive(Clone)]
pub struct ListedPath {
    /// Of all paths that were read together: there may be hundreds of thousands.
    text: Arc<[u8]>,
    place: Place,
}

/// Where in the text a path is: from its first slash to its last one, and to its end.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    slash: u32,
    end: u32,
}

impl Place {
    /// `None` beyond 4 GiB.
    fn new(start: usize, slash: usize, end: usize) -> Option<Place> {
        let [start, slash, end] = [start, slash, end].map(|at| u32::try_from(at).ok());
        Some(Place { start: start?, slash: slash?, end: end? })
    }
}

impl ListedPath {
    /// `None` for whatever is not such a path.
    pub fn parse(bytes: &[u8]) -> Option<ListedPath> {
        let mut reader = PathReader::default();
        reader.absolute(bytes);
        reader.paths().pop()
    }

    /// The paths of a text that has one on each line. Whatever else is there is passed over.
    pub fn in_lines(text: &[u8]) -> impl Iterator<Item = ListedPath> + use<> {
        Lines { text: text.into(), next: 0, last: None }
    }

    /// The same paths without the text of others that were read with them.
    pub fn by_themselves(paths: &[ListedPath]) -> Vec<ListedPath> {
        let mut reader = PathReader::default();
        paths.iter().for_each(|path| reader.absolute(path.full().as_os_str().as_bytes()));
        reader.paths()
    }

    /// The directory, absolute.
    pub fn dir(&self) -> &Path {
        let Place { start, slash, .. } = self.place;
        Path::new(self.part(start, slash.max(start + 1)))
    }

    /// The entry in it.
    pub fn name(&self) -> &OsStr {
        self.part(self.place.slash + 1, self.place.end)
    }

    /// Whether the other one is in the same directory.
    pub fn is_beside(&self, other: &ListedPath) -> bool {
        self.dir().as_os_str() == other.dir().as_os_str()
    }

    /// The whole path.
    pub fn full(&self) -> &Path {
        Path::new(self.part(self.place.start, self.place.end))
    }

    fn part(&self, from: u32, to: u32) -> &OsStr {
        OsStr::from_bytes(self.text.get(from as usize..to as usize).unwrap_or_default())
    }
}

impl fmt::Debug for ListedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.full().fmt(f)
    }
}

// As bytes: there is only one way to write each, and taking paths apart for every comparison takes ten times as long.

impl PartialEq for ListedPath {
    fn eq(&self, other: &ListedPath) -> bool {
        self.full().as_os_str() == other.full().as_os_str()
    }
}

impl Eq for ListedPath {}

impl Hash for ListedPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.full().as_os_str().hash(state);
    }
}

impl PartialOrd for ListedPath {
    fn partial_cmp(&self, other: &ListedPath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Paths of one directory are next to each other.
impl Ord for ListedPath {
    fn cmp(&self, other: &ListedPath) -> Ordering {
        let dirs = self.dir().as_os_str().cmp(other.dir().as_os_str());
        dirs.then_with(|| self.name().cmp(other.name()))
    }
}

/// Reads one path after the other.
#[derive(Debug, Default)]
pub struct PathReader {
    text: Vec<u8>,
    read: Vec<Place>,
}

impl PathReader {
    /// A path from the root. Whatever is no [`ListedPath`] is passed over.
    pub fn absolute(&mut self, path: &[u8]) {
        if let Some(path) = path.strip_prefix(b"/") {
            self.below_root(path);
        }
    }

    /// The same without the slash in front, as in an archive.
    pub fn below_root(&mut self, path: &[u8]) {
        let start = self.text.len();
        match self.copy(path).and_then(|slash| Place::new(start, slash, self.text.len())) {
            Some(place) => self.read.push(place),
            None => self.text.truncate(start),
        }
    }

    /// How many there are so far.
    pub fn count(&self) -> usize {
        self.read.len()
    }

    /// All that were read.
    pub fn paths(self) -> Vec<ListedPath> {
        let text: Arc<[u8]> = self.text.into();
        self.read.into_iter().map(|place| ListedPath { text: text.clone(), place }).collect()
    }

    /// Answers where the last slash is now.
    fn copy(&mut self, path: &[u8]) -> Option<usize> {
        let end = path.iter().rposition(|b| *b != b'/')? + 1;
        let path = path.get(..end)?;
        let (dir, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => (path.get(..slash)?, path.get(slash + 1..)?),
            None => (&[][..], path),
        };
        self.copy_dir(dir)?;
        let slash = self.text.len();
        self.copy_name(name)?;
        Some(slash)
    }

    fn copy_dir(&mut self, dir: &[u8]) -> Option<()> {
        // Nearly always it is the directory of the path before, or that path itself, and known to be one.
        if let Some(Place { start, slash, end }) = self.read.last().copied() {
            for (start, end) in [slash, end].map(|end| (start as usize, end as usize)) {
                if self.text.get(start + 1..end) == Some(dir) {
                    self.text.extend_from_within(start..end);
                    return Some(());
                }
            }
        }
        dir.split(|b| *b == b'/').filter(|name| !name.is_empty()).try_for_each(|name| self.copy_name(name))
    }

    fn copy_name(&mut self, name: &[u8]) -> Option<()> {
        if !is_name(name) {
            return None;
        }
        self.text.push(b'/');
        self.text.extend_from_slice(name);
        Some(())
    }
}

/// Lines as paths that share the text; only what is not written in the plainest way is copied.
struct Lines {
    text: Arc<[u8]>,
    next: usize,
    last: Option<Place>,
}

impl Iterator for Lines {
    type Item = ListedPath;

    fn next(&mut self) -> Option<ListedPath> {
        loop {
            let start = self.next;
            let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
            let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            self.next = start + length + 1;
            let line = rest.get(..length)?;
            let place = self.plain(line).and_then(|slash| Place::new(start, start + slash, start + length));
            self.last = place.or(self.last);
            let path = match place {
                Some(place) => Some(ListedPath { text: self.text.clone(), place }),
                None => ListedPath::parse(line),
            };
            if path.is_some() {
                return path;
            }
        }
    }
}

impl Lines {
    /// Where the last slash of a line is that is a path just as it stands.
    fn plain(&self, line: &[u8]) -> Option<usize> {
        let known_dirs = self.last.into_iter().flat_map(|Place { start, slash, end }| [(start, slash), (start, end)]);
        for (start, end) in known_dirs {
            let dir = self.text.get(start as usize..end as usize)?;
            let name = line.strip_prefix(dir).and_then(|rest| rest.strip_prefix(b"/"));
            if name.is_some_and(|name| is_name(name) && !name.contains(&b'/')) {
                return Some(dir.len());
            }
        }
        let below_root = line.strip_prefix(b"/")?;
        below_root.split(|b| *b == b'/').all(is_name).then(|| line.iter().rposition(|b| *b == b'/')).flatten()
    }
}

/// One that a directory may have, apart from its length.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_at_the_last_name() {
        let path = ListedPath::parse(b"//usr///bin/tool/").unwrap();
        assert_eq!((path.dir(), path.name()), (Path::new("/usr/bin"), OsStr::new("tool")));
        assert_eq!(ListedPath::parse(b"/vmlinuz").unwrap().dir(), Path::new("/"));
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_path() {
        for bad in [&b""[..], b"/", b"/.", b"usr", b"/usr/../etc", b"/usr/./x", b"/..", b"/a\0b"] {
            assert_eq!(ListedPath::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn each_path_is_read_as_if_it_were_the_first() {
        let paths: [&[u8]; 12] = [
            b"/usr/a",
            b"/usr/b",
            b"/usr//c",
            b"/usr",
            b"/usr/share",
            b"/usr/share/a",
            b"/a",
            b"/b",
            b"/usr/../a",
            b"/usr/a/",
            b"/.",
            b"/usr/a/b",
        ];
        let mut reader = PathReader::default();
        paths.iter().for_each(|path| reader.absolute(path));
        let one_by_one: Vec<_> = paths.iter().filter_map(|path| ListedPath::parse(path)).collect();
        assert_eq!(reader.count(), 10);
        assert_eq!(reader.paths(), one_by_one);
        assert_eq!(ListedPath::in_lines(&paths.join(&b'\n')).collect::<Vec<_>>(), one_by_one);
    }
}
