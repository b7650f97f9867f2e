//! Many directories, one after the other: getdents64(2) into one piece of memory.
#![allow(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::libc;

/// Enough for a thousand descriptors of a process at once.
const BYTES: usize = 32 << 10;

/// `struct linux_dirent64`: inode, offset and type come before the name, and where the next one is.
const RECORD_LENGTH: usize = 16;
const NAME: usize = 19;

/// What lists directories.
#[derive(Debug, Default)]
pub struct Listing {
    buffer: Vec<u8>,
}

impl Listing {
    /// Does something for each name in a directory that was just opened (not with `O_PATH`), other than `.` and `..`.
    ///
    /// # Errors
    /// Those of getdents64(2), and the first that `each` answers.
    pub fn for_each(&mut self, dir: impl AsFd, mut each: impl FnMut(&OsStr) -> nix::Result<()>) -> nix::Result<()> {
        self.buffer.resize(BYTES, 0);
        loop {
            // SAFETY: the descriptor is open, and the buffer writable for as many bytes as are said.
            let filled = unsafe {
                libc::syscall(
                    libc::SYS_getdents64,
                    dir.as_fd().as_raw_fd(),
                    self.buffer.as_mut_ptr(),
                    self.buffer.len(),
                )
            };
            let filled = usize::try_from(Errno::result(filled)?).unwrap_or(0);
            let mut records = self.buffer.get(..filled).unwrap_or_default();
            if records.is_empty() {
                return Ok(());
            }
            while let Some((record, rest)) = first(records) {
                records = rest;
                let name = record.get(NAME..).and_then(|name| name.split(|b| *b == 0).next()).unwrap_or_default();
                if !matches!(name, b"" | b"." | b"..") {
                    each(OsStr::from_bytes(name))?;
                }
            }
        }
    }

    /// The names that are numbers: processes in /proc, tasks in `/proc/PID/task`.
    ///
    /// # Errors
    /// Those of getdents64(2).
    pub fn numbers(&mut self, dir: impl AsFd) -> nix::Result<Vec<i32>> {
        let mut numbers = Vec::new();
        self.for_each(dir, |name| {
            numbers.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
            Ok(())
        })?;
        Ok(numbers)
    }
}

fn first(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = records.get(RECORD_LENGTH..RECORD_LENGTH + 2)?.try_into().ok()?;
    // What is no whole record ends the list.
    records.split_at_checked(usize::from(u16::from_ne_bytes(length))).filter(|(record, _)| !record.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs::{self, File};

    #[test]
    fn every_name_once_also_where_they_do_not_fit_at_once() {
        let path = std::env::temp_dir().join(format!("rokeep-listing-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory of our own");
        let expected: BTreeSet<String> = (0..500).map(|number| format!("{number:0200}")).chain(["7".into()]).collect();
        expected.iter().for_each(|name| drop(File::create(path.join(name)).expect("a file")));
        let (mut seen, mut listing) = (Vec::new(), Listing::default());
        let listed = listing.for_each(File::open(&path).expect("the directory"), |name| {
            seen.push(name.to_str().expect("text").to_owned());
            Ok(())
        });
        let numbers = listing.numbers(File::open(&path).expect("the directory"));
        fs::remove_dir_all(&path).expect("the directory goes");
        assert_eq!((listed, seen.len()), (Ok(()), expected.len()));
        assert_eq!(BTreeSet::from_iter(seen), expected);
        assert!(numbers.expect("a list").contains(&7));
    }
}
