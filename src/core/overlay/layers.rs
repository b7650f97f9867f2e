//! What a path is in the two layers of an overlay, and what that comes to (Documentation/filesystems/overlayfs.rst).
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::Serialize;

/// One path that is above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layered {
    /// From the mount point.
    pub path: PathBuf,
    /// What there is above.
    pub above: Above,
    /// What there is below.
    pub below: Below,
    /// Of a directory: the one below, from the mount point, that is seen in it, too.
    pub shown: Option<PathBuf>,
}

/// What there is above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Above {
    /// It says that the path is not there (a character device 0:0).
    Whiteout,
    /// A directory.
    Directory {
        /// How it looks.
        attributes: Attributes,
        /// Nothing of a directory of that name below is seen in it (`trusted.overlay.opaque`).
        is_opaque: bool,
        /// It was called so, from the mount point, when it was below, and shows what is there
        /// (`trusted.overlay.redirect`).
        was: Option<PathBuf>,
    },
    /// Anything else, which hides whatever is below.
    File {
        /// Bytes on disk.
        bytes: u64,
    },
}

/// What there is below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Below {
    /// Nothing of that name, or nothing that could be seen even without what is above.
    Nothing,
    /// A directory.
    Directory(Attributes),
    /// Anything else.
    File,
    /// That cannot be told, and why.
    Unknown(String),
}

/// Whose a directory is, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The permissions, without the type.
    pub mode: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
}

/// What has become of a path by what is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is above only.
    Added,
    /// What is above is seen in place of what is below.
    Replaced,
    /// It is below, and not to be seen.
    Hidden,
    /// A directory, of which nothing that is below is to be seen.
    Covered,
    /// A directory that has another name below.
    Moved,
    /// A directory that is somebody else's, or has other permissions, than below.
    Attributes,
    /// It is above; what is below could not be looked at.
    Unknown,
}

impl Change {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Replaced => "replaced",
            Change::Hidden => "hidden",
            Change::Covered => "covered",
            Change::Moved => "moved",
            Change::Attributes => "attributes",
            Change::Unknown => "unknown",
        }
    }
}

impl Layered {
    /// What has become of it; `None` for a directory that only leads to what has changed.
    pub fn change(&self) -> Option<Change> {
        match (&self.above, &self.below) {
            (Above::Whiteout, _) => Some(Change::Hidden),
            (Above::Directory { was: Some(_), .. }, _) => Some(Change::Moved),
            (_, Below::Unknown(_)) => Some(Change::Unknown),
            (Above::Directory { .. } | Above::File { .. }, Below::Nothing) => Some(Change::Added),
            (Above::Directory { is_opaque: true, .. }, Below::Directory(_)) => Some(Change::Covered),
            (Above::Directory { attributes, .. }, Below::Directory(below)) => {
                (attributes != below).then_some(Change::Attributes)
            }
            (Above::File { .. }, Below::Directory(_) | Below::File) | (Above::Directory { .. }, Below::File) => {
                Some(Change::Replaced)
            }
        }
    }

    /// Whether it says of itself that nothing below is to be seen in it.
    pub fn is_opaque(&self) -> bool {
        matches!(self.above, Above::Directory { is_opaque: true, .. })
    }

    /// Whether it hides a directory below as a whole, so that what is below each name in it is not seen even if that is gone
    /// above.
    pub fn hides_all_below(&self) -> bool {
        let is_one_below = matches!(self.below, Below::Directory(_) | Below::Unknown(_));
        self.is_opaque() && is_one_below
    }

    /// Bytes on disk that it takes above, directories apart.
    pub fn bytes(&self) -> u64 {
        match self.above {
            Above::File { bytes } => bytes,
            Above::Whiteout | Above::Directory { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOTS: Attributes = Attributes { mode: 0o755, user: 0, group: 0 };

    fn directory(is_opaque: bool) -> Above {
        Above::Directory { attributes: ROOTS, is_opaque, was: None }
    }

    #[test]
    fn what_becomes_of_a_path() {
        let others = Attributes { user: 1000, ..ROOTS };
        let unknown = || Below::Unknown("permission denied".to_owned());
        let moved = Above::Directory { attributes: ROOTS, is_opaque: false, was: Some("old".into()) };
        for (above, below, change) in [
            (Above::Whiteout, Below::File, Some(Change::Hidden)),
            (Above::Whiteout, Below::Nothing, Some(Change::Hidden)),
            (Above::File { bytes: 1 }, Below::Nothing, Some(Change::Added)),
            (Above::File { bytes: 1 }, Below::File, Some(Change::Replaced)),
            (Above::File { bytes: 1 }, Below::Directory(ROOTS), Some(Change::Replaced)),
            (Above::File { bytes: 1 }, unknown(), Some(Change::Unknown)),
            (directory(true), Below::Nothing, Some(Change::Added)),
            (directory(true), Below::Directory(ROOTS), Some(Change::Covered)),
            (directory(false), Below::Directory(ROOTS), None),
            (directory(false), Below::Directory(others), Some(Change::Attributes)),
            (directory(true), Below::File, Some(Change::Replaced)),
            (moved, Below::Nothing, Some(Change::Moved)),
        ] {
            let layered = Layered { path: "x".into(), above, below, shown: None };
            assert_eq!(layered.change(), change, "{layered:?}");
        }
    }
}
