//! The identity of a file: which inode of which file system.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

/// An inode as stat(2) names it: `st_dev` and `st_ino`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inode {
    /// `st_dev`. On btrfs and overlayfs this differs from the device number in mountinfo and maps.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// When an inode was made, in nanoseconds since 1970, as its file system noted it (statx(2), `STATX_BTIME`). Together with its
/// number it tells an inode from all that had that number before, and from those of another disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Born(pub u64);

/// A device number as mountinfo and maps print it: that of the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// The name of an alias in its store: the inode number in decimal.
///
/// While the alias exists its inode does too, so the number cannot be given to another inode: one inode, one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AliasName(pub u64);

/// The longest name of a directory entry (NAME_MAX).
const LONGEST_NAME: usize = 255;

impl AliasName {
    /// Reads a directory entry of a store; `None` where rokeep would not have given that name.
    pub fn parse(entry: &[u8]) -> Option<AliasName> {
        let digits = std::str::from_utf8(entry).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        let number = digits.parse().ok().filter(|_| !digits.starts_with('0') || digits.len() == 1)?;
        Some(AliasName(number))
    }

    /// The directory entry in a store.
    pub fn entry(self) -> OsString {
        self.0.to_string().into()
    }

    /// The directory entry beside a file of that name, which is cut where the whole would be too long.
    pub fn entry_beside(self, name: &OsStr) -> OsString {
        let tail = format!(".rokeep.{}", self.0);
        let room = LONGEST_NAME - 1 - tail.len();
        let name = name.as_bytes().get(..room).unwrap_or(name.as_bytes());
        OsString::from_vec([b".", name, tail.as_bytes()].concat())
    }

    /// The directory entry of the marker in the directory that this is the number of.
    pub fn entry_inside(self) -> OsString {
        format!(".rokeep.{}", self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beside_another_is_never_too_long() {
        assert_eq!(AliasName(12).entry_beside(OsStr::new("tool")), ".tool.rokeep.12");
        let longest = AliasName(u64::MAX).entry_beside(OsStr::new(&"n".repeat(255)));
        assert_eq!(longest.len(), 255);
        assert!(longest.as_bytes().ends_with(b"n.rokeep.18446744073709551615"));
    }

    #[test]
    fn only_our_own_spelling_of_a_number_is_an_alias() {
        assert_eq!(AliasName::parse(b"123"), Some(AliasName(123)));
        for foreign in [&b""[..], b"0123", b"+1", b"-1", b"12a", b" 1", b"\xff", b"99999999999999999999999"] {
            assert_eq!(AliasName::parse(foreign), None, "{foreign:?}");
        }
    }
}
