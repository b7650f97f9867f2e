//! The identity of a file: which inode of which file system.
#![forbid(unsafe_code)]

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

/// An inode as stat(2) names it: `st_dev` and `st_ino`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inode {
    /// `st_dev`. On btrfs and overlayfs this differs from the device number in mountinfo and maps.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

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

impl AliasName {
    /// Reads a directory entry of a store; `None` where rokeep would not have given that name.
    pub fn parse(entry: &[u8]) -> Option<AliasName> {
        let name = AliasName(std::str::from_utf8(entry).ok()?.parse().ok()?);
        (name.entry().as_encoded_bytes() == entry).then_some(name)
    }

    /// The directory entry.
    pub fn entry(self) -> OsString {
        self.0.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_spelling_of_a_number_is_an_alias() {
        assert_eq!(AliasName::parse(b"123"), Some(AliasName(123)));
        for foreign in [&b""[..], b"0123", b"+1", b"-1", b"12a", b" 1", b"\xff", b"99999999999999999999999"] {
            assert_eq!(AliasName::parse(foreign), None, "{foreign:?}");
        }
    }
}
