//! Absolute paths out of dpkg's records, split where the kernel is asked: directory and last name.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// An absolute path without `.` or `..`, not the root itself.
///
/// Only the directory part is resolved through symlinks, by the kernel; the last name is taken as it is, as dpkg does
/// when it replaces or removes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListedPath {
    /// The directory, absolute.
    pub dir: PathBuf,
    /// The entry in it.
    pub name: OsString,
}

impl ListedPath {
    /// `None` for whatever is not such a path.
    pub fn parse(bytes: &[u8]) -> Option<ListedPath> {
        if !bytes.starts_with(b"/") || bytes.contains(&0) {
            return None;
        }
        let mut parts: Vec<&[u8]> = bytes.split(|b| *b == b'/').filter(|part| !part.is_empty()).collect();
        if parts.iter().any(|part| matches!(*part, b"." | b"..")) {
            return None;
        }
        let name = parts.pop()?;
        let dir = [b"/", parts.join(&b'/').as_slice()].concat();
        Some(ListedPath { dir: PathBuf::from(OsStr::from_bytes(&dir)), name: OsStr::from_bytes(name).to_owned() })
    }

    /// The whole path again.
    pub fn full(&self) -> PathBuf {
        self.dir.join(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn split_at_the_last_name() {
        let path = ListedPath::parse(b"//usr///bin/tool/").unwrap();
        assert_eq!((path.dir.as_path(), path.name.as_os_str()), (Path::new("/usr/bin"), OsStr::new("tool")));
        assert_eq!(ListedPath::parse(b"/vmlinuz").unwrap().dir, Path::new("/"));
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_path() {
        for bad in [&b""[..], b"/", b"/.", b"usr", b"/usr/../etc", b"/usr/./x", b"/..", b"/a\0b"] {
            assert_eq!(ListedPath::parse(bad), None, "{bad:?}");
        }
    }
}
