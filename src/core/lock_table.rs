//! The kernel's table of file locks, /proc/locks (proc_locks(5)).
#![forbid(unsafe_code)]

use super::inode::Device;

/// The process that has an flock(2) on a file, by its device and inode number: `None` where there is none, or where it is
/// not in the reader's pid namespace.
///
/// `1: FLOCK ADVISORY WRITE 2130 00:19:437 0 EOF`: the device in hexadecimal, the inode in decimal (fs/locks.c,
/// lock_get_status). A second number after the first is of a process that waits.
pub fn holder(table: &[u8], device: Device, inode: u64) -> Option<i32> {
    let Device { major, minor } = device;
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    let text = String::from_utf8_lossy(table);
    text.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [_, "FLOCK", _, _, pid, of, ..] if *of == file => pid.parse().ok().filter(|pid| *pid > 0),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
1: POSIX  ADVISORY  WRITE 11 08:01:437 0 EOF
2: FLOCK  ADVISORY  WRITE 12 00:19:437 0 EOF
2: -> FLOCK  ADVISORY  WRITE 13 00:19:437 0 EOF
3: FLOCK  ADVISORY  WRITE 14 103:1f:9 0 EOF
4: FLOCK  ADVISORY  WRITE -1 00:19:8 0 EOF
5: FLOCK
";

    fn device(major: u32, minor: u32) -> Device {
        Device { major, minor }
    }

    #[test]
    fn it_is_the_one_of_this_kind_on_this_file_that_does_not_wait() {
        assert_eq!(holder(TABLE, device(0, 0x19), 437), Some(12));
        assert_eq!(holder(TABLE, device(0x103, 0x1f), 9), Some(14));
        assert_eq!(holder(TABLE, device(8, 1), 437), None, "another kind of lock");
        assert_eq!(holder(TABLE, device(0, 0x19), 8), None, "nobody whom this process can see");
        assert_eq!(holder(TABLE, device(0, 0x19), 43), None);
        assert_eq!(holder(b"\xff\n", device(0, 0), 0), None);
    }
}
