//! `/proc/PID/maps` (proc_pid_maps(5)): which inodes a process has mapped.
//!
//! `address perms offset major:minor inode    path`. The device is that of the superblock, as in mountinfo, also on
//! btrfs and overlayfs where stat(2) says otherwise. The path is escaped and may be stale; the numbers are exact.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::inode::Device;

/// What stands behind a name that is gone, here and behind the links under `fd` and `map_files`.
pub const DELETED: &[u8] = b" (deleted)";

/// A mapped file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// The superblock's device number.
    pub device: Device,
    /// The inode's number.
    pub ino: u64,
    /// `START-END`: the mapping's name under `/proc/PID/map_files`.
    pub range: &'a str,
    /// The name it was opened by, as the process's mount namespace has it.
    pub name: &'a [u8],
    /// Whether that name is gone. True of an aliased inode too.
    pub name_is_gone: bool,
    /// What is written to it is written to the file (`MAP_SHARED`): as long as it is there nobody can make the file system
    /// read-only.
    pub writes_the_file: bool,
}

/// What to read of a memory map that comes line by line: the files of some file systems, the parts of one file once, and
/// those through which it is written as well.
///
/// Most lines are of other files, or of the same file as the line before. They are not taken apart.
#[derive(Debug)]
pub struct Reader {
    /// As they stand in a line.
    devices: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Reader {
    /// For the files of these file systems.
    pub fn new(devices: &HashSet<Device>) -> Reader {
        // fs/proc/task_mmu.c, show_vma_header_prefix.
        let text = |device: &Device| format!("{:02x}:{:02x} ", device.major, device.minor).into_bytes();
        Reader { devices: devices.iter().map(text).collect(), last: Vec::new() }
    }

    /// The next line is the first of another map.
    pub fn start(&mut self) {
        self.last.clear();
    }

    /// The mapping in this line, if it tells of anything new.
    pub fn read<'a>(&mut self, line: &'a [u8]) -> Option<Mapping<'a>> {
        let file = after_fields(line, 3)?;
        let is_known = file == self.last && !writes_the_file(after_fields(line, 1)?);
        if is_known || !self.devices.iter().any(|device| file.starts_with(device)) {
            return None;
        }
        self.last.clear();
        self.last.extend_from_slice(file);
        mapping(line)
    }
}

/// From its permissions on.
fn writes_the_file(line: &[u8]) -> bool {
    matches!(line, [_, b'w', _, b's', ..])
}

fn after_fields(line: &[u8], count: usize) -> Option<&[u8]> {
    (0..count).try_fold(line, |rest, _| rest.get(rest.iter().position(|b| *b == b' ')? + 1..))
}

/// Every mapping of a file; anonymous memory is left out.
pub fn parse(maps: &[u8]) -> impl Iterator<Item = Mapping<'_>> {
    maps.split(|b| *b == b'\n').filter_map(mapping)
}

fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let mut rest = line;
    let mut field = || {
        let (field, after) = rest.split_at(rest.iter().position(|b| *b == b' ').unwrap_or(rest.len()));
        rest = after.trim_ascii_start();
        (!field.is_empty()).then_some(field)
    };
    let range = std::str::from_utf8(field()?).ok()?;
    let (permissions, _offset) = (field()?, field()?);
    let device = device(field()?)?;
    let ino = std::str::from_utf8(field()?).ok()?.parse().ok()?;
    let (name, name_is_gone) = match rest.strip_suffix(DELETED) {
        Some(name) => (name, true),
        None => (rest, false),
    };
    let writes_the_file = writes_the_file(permissions);
    (ino != 0).then_some(Mapping { device, ino, range, name, name_is_gone, writes_the_file })
}

fn device(field: &[u8]) -> Option<Device> {
    let (major, minor) = std::str::from_utf8(field).ok()?.split_once(':')?;
    Some(Device { major: u32::from_str_radix(major, 16).ok()?, minor: u32::from_str_radix(minor, 16).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_lines_of_a_file_one_is_enough() {
        let maps: &[&[u8]] = &[
            b"10-11 r--p 00000000 fe:01 5                       /usr/lib/x.so",
            b"11-12 r-xp 00001000 fe:01 5                       /usr/lib/x.so",
            b"12-13 r-xp 00001000 fe:01 5                       /usr/lib/x.so (deleted)",
            b"13-14 r-xp 00001000 fe:11 5                       /usr/lib/x.so",
            b"14-15 rw-p 00000000 00:00 0 ",
            b"15-16 r--p 00000000 fe:01 5                       /usr/lib/x.so",
            b"16-17 rw-p 00000000 fe:01 5                       /usr/lib/x.so",
            b"17-18 rw-s 00000000 fe:01 5                       /usr/lib/x.so",
            b"nonsense",
        ];
        let mut reader = Reader::new(&HashSet::from([Device { major: 0xfe, minor: 1 }]));
        let ranges =
            |reader: &mut Reader| maps.iter().filter_map(|line| Some(reader.read(line)?.range)).collect::<Vec<_>>();
        assert_eq!(ranges(&mut reader), ["10-11", "12-13", "15-16", "17-18"]);
        reader.start();
        assert_eq!(ranges(&mut reader), ["10-11", "12-13", "15-16", "17-18"]);
    }

    #[test]
    fn files_are_told_from_memory_and_numbers_are_hexadecimal() {
        let maps = b"55e0-55e1 r--p 00000000 fe:1b 4711                       /usr/bin/a b\n\
                     7f00-7f01 r-xp 00001000 00:27 257                        /usr/lib/x.so (deleted)\n\
                     7f02-7f03 rw-p 00000000 00:00 0 \n\
                     7ffd-7ffe rw-p 00000000 00:00 0                          [stack]\n";
        let seen: Vec<_> = parse(maps).collect();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].device, Device { major: 0xfe, minor: 0x1b });
        assert_eq!((seen[0].ino, seen[0].range, seen[0].name_is_gone), (4711, "55e0-55e1", false));
        assert_eq!(seen[0].name, b"/usr/bin/a b");
        assert_eq!((seen[1].device.minor, seen[1].ino, seen[1].name_is_gone), (0x27, 257, true));
        assert_eq!(seen[1].name, b"/usr/lib/x.so");
    }
}
