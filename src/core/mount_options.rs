//! The options of a mount and of the file system under it, as mountinfo shows them.
//!
//! mount(2) sets all of them anew where it remounts: what is not said again is lost. (mount_setattr(2) and fsconfig(2)
//! change what they name, and need none of this.)
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt;

use super::message;
use super::mountinfo::unescape;

/// Both lists, as they are in mountinfo: separated by commas, special characters escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Those of the mount.
    pub mount: Vec<u8>,
    /// Those of the superblock.
    pub superblock: Vec<u8>,
}

/// What mount(2) has a flag for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `nosuid`
    NoSetUserId,
    /// `nodev`
    NoDevices,
    /// `noexec`
    NoPrograms,
    /// `nosymfollow`
    NoSymbolicLinks,
    /// `noatime`
    NoAccessTimes,
    /// `nodiratime`
    NoDirectoryAccessTimes,
    /// `relatime`
    RelativeAccessTimes,
    /// Neither `noatime` nor `relatime`, which is what a flag of its own has to say.
    StrictAccessTimes,
    /// `sync`
    Synchronous,
    /// `dirsync`
    SynchronousDirectories,
    /// `mand`
    MandatoryLocks,
    /// `lazytime`
    LazyTimes,
}

/// What the kernel shows of a file system and takes from nobody: whether it is read-only is said otherwise, `seclabel` and
/// the others are what became of it.
const SHOWN_ONLY: [&[u8]; 5] = [b"ro", b"rw", b"seclabel", b"emergency_ro", b"shutdown"];

/// mount(2): the data are at most a page, with the NUL at its end.
const LONGEST_DATA: usize = 4095;

impl Options {
    /// The flags of the mount, other than whether it is read-only.
    pub fn of_mount(&self) -> Vec<Flag> {
        let mut flags: Vec<Flag> = words(&self.mount).filter_map(mount_flag).collect();
        if !flags.contains(&Flag::NoAccessTimes) && !flags.contains(&Flag::RelativeAccessTimes) {
            flags.push(Flag::StrictAccessTimes);
        }
        flags
    }

    /// The flags of the superblock, other than whether it is read-only.
    pub fn of_superblock(&self) -> Vec<Flag> {
        words(&self.superblock).filter_map(superblock_flag).collect()
    }

    /// The superblock's options that mount(2) has no flag for, as it takes them. Nothing where they are too long for it.
    pub fn data(&self) -> Vec<u8> {
        let others =
            words(&self.superblock).filter(|word| !SHOWN_ONLY.contains(word) && superblock_flag(word).is_none());
        let data = others.map(|word| unescape(word).into_os_string().into_vec()).collect::<Vec<_>>().join(&b',');
        if data.len() > LONGEST_DATA { Vec::new() } else { data }
    }

    /// What is not as it was, in words; nothing where at most somebody made it read-only or writable.
    pub fn changes(&self, after: &Options) -> Option<String> {
        let (before, after) = (self.lasting(), after.lasting());
        let said = |word: &&[u8]| message::text(&String::from_utf8_lossy(word));
        let lost = before.difference(&after).map(said).map(|word| format!("lost {word}"));
        let all: Vec<String> =
            lost.chain(after.difference(&before).map(said).map(|word| format!("got {word}"))).collect();
        (!all.is_empty()).then(|| message::few(&all, 8))
    }

    fn lasting(&self) -> BTreeSet<&[u8]> {
        words(&self.mount).chain(words(&self.superblock)).filter(|word| !SHOWN_ONLY.contains(word)).collect()
    }
}

fn words(options: &[u8]) -> impl Iterator<Item = &[u8]> {
    options.split(|b| *b == b',').filter(|word| !word.is_empty())
}

/// fs/proc_namespace.c, show_mnt_opts.
fn mount_flag(word: &[u8]) -> Option<Flag> {
    match word {
        b"nosuid" => Some(Flag::NoSetUserId),
        b"nodev" => Some(Flag::NoDevices),
        b"noexec" => Some(Flag::NoPrograms),
        b"nosymfollow" => Some(Flag::NoSymbolicLinks),
        b"noatime" => Some(Flag::NoAccessTimes),
        b"nodiratime" => Some(Flag::NoDirectoryAccessTimes),
        b"relatime" => Some(Flag::RelativeAccessTimes),
        _ => None,
    }
}

/// fs/proc_namespace.c, show_sb_opts.
fn superblock_flag(word: &[u8]) -> Option<Flag> {
    match word {
        b"sync" => Some(Flag::Synchronous),
        b"dirsync" => Some(Flag::SynchronousDirectories),
        b"mand" => Some(Flag::MandatoryLocks),
        b"lazytime" => Some(Flag::LazyTimes),
        _ => None,
    }
}
