//! What there is to boot: releases of Debian, and what is on which file system.

use std::fmt::{self, Display, Formatter};

use anyhow::Result;

use super::image::Image;

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 12, /usr on ext4.
    Bookworm,
    /// Debian 13, /usr on a subvolume of btrfs.
    Trixie,
}

impl Release {
    /// All of them.
    pub const ALL: [Release; 2] = [Release::Bookworm, Release::Trixie];

    /// Its code name.
    pub fn suite(self) -> &'static str {
        match self {
            Release::Bookworm => "bookworm",
            Release::Trixie => "trixie",
        }
    }

    /// The versions of Debian, its kernel, apt, dpkg and systemd, before anything is upgraded.
    pub fn versions(self) -> Result<Vec<String>> {
        Image::of(self)?.versions()
    }

    /// What /usr is on.
    pub fn file_system(self) -> &'static str {
        match self {
            Release::Bookworm => "ext4",
            Release::Trixie => "btrfs",
        }
    }
}

impl Display for Release {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        out.pad(match self {
            Release::Bookworm => "Debian 12",
            Release::Trixie => "Debian 13",
        })
    }
}

/// What is on which file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// /usr and /boot by themselves, both read-only.
    Usr,
    /// All of it on one that is read-only, but /var.
    Root,
}

impl Layout {
    /// The disks; the first has the root directory. Their file systems have the same names as labels.
    pub(super) fn disks(self) -> &'static [&'static str] {
        match self {
            Layout::Usr => &["root", "usr", "boot"],
            Layout::Root => &["whole", "var"],
        }
    }

    /// The mounts that are read-only; packages are on the first.
    pub fn read_only(self) -> &'static [&'static str] {
        match self {
            Layout::Usr => &["/usr", "/boot"],
            Layout::Root => &["/"],
        }
    }
}
