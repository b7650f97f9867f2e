//! The log of disks that write down what they are told (`holder recorded`): one entry after the other, in the order in which
//! they were done.

use std::borrow::Cow;

/// One thing that a disk was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Which disk.
    pub disk: u32,
    /// What.
    pub told: Told<'a>,
}

/// What a disk may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// These bytes from there on; it may forget them again when the power goes.
    Write(u64, Cow<'a, [u8]>),
    /// All that it was told before has to be safe now.
    Flush,
}

/// Disk, kind, offset, length.
const HEAD: usize = 4 + 4 + 8 + 8;

impl Entry<'_> {
    /// It was told to write.
    pub fn write(disk: u32, offset: u64, bytes: &[u8]) -> Entry<'_> {
        Entry { disk, told: Told::Write(offset, bytes.into()) }
    }

    /// It was told to have everything safe.
    pub fn flush(disk: u32) -> Entry<'static> {
        Entry { disk, told: Told::Flush }
    }

    /// As it is in the log.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, offset, bytes): (u32, u64, &[u8]) = match &self.told {
            Told::Write(offset, bytes) => (0, *offset, bytes),
            Told::Flush => (1, 0, &[]),
        };
        let length = bytes.len() as u64;
        let head = [&self.disk.to_le_bytes()[..], &kind.to_le_bytes(), &offset.to_le_bytes(), &length.to_le_bytes()];
        [&head.concat(), bytes].concat()
    }
}

/// Reads a log.
pub fn parse(mut log: &[u8]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    while let Some((head, rest)) = log.split_at_checked(HEAD) {
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let (disk, kind) = (number(0) as u32, number(0) >> 32);
        let length = usize::try_from(number(16)).expect("a length");
        let Some((bytes, rest)) = rest.split_at_checked(length) else { break };
        let told = if kind == 0 { Told::Write(number(8), bytes.into()) } else { Told::Flush };
        entries.push(Entry { disk, told });
        log = rest;
    }
    entries
}
