//! Files that no process holds: the kernel has them open itself, for swap, for programs of other machines, for an io_uring.
//!
//! What it says of them are names, as whoever handed the file over called it, and nothing more exact.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::mountinfo::unescape;
use super::proc_maps::DELETED;

/// The name in what the kernel prints of an open file, without what stands behind one that is gone.
pub fn without_deleted(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    Path::new(OsStr::from_bytes(bytes.strip_suffix(DELETED).unwrap_or(bytes)))
}

/// The files that are swapped to (proc_swaps(5)): `NAME TYPE SIZE USED PRIORITY` below a headline.
pub fn swap_files(swaps: &[u8]) -> Vec<PathBuf> {
    let lines = swaps.split(|b| *b == b'\n').skip(1);
    let fields = lines.map(|line| line.split(|b| b.is_ascii_whitespace()).filter(|field| !field.is_empty()));
    fields
        .filter_map(|mut fields| Some((fields.next()?, fields.next()?)))
        .filter(|(_, kind)| *kind == b"file")
        .map(|(name, _)| unescape(name))
        .collect()
}

/// The program that a rule of binfmt_misc runs others with, if the kernel keeps it open: flag F, "fix binary"
/// (Documentation/admin-guide/binfmt-misc.rst).
pub fn fixed_interpreter(rule: &[u8]) -> Option<PathBuf> {
    let field = |name: &[u8]| rule.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name));
    let is_fixed = field(b"flags: ")?.contains(&b'F');
    is_fixed.then(|| field(b"interpreter ").map(|path| PathBuf::from(OsStr::from_bytes(path))))?
}

/// The files that an io_uring has been given (io_uring/fdinfo.c): `INDEX: NAME` below `UserFiles:`.
pub fn registered_files(fdinfo: &[u8]) -> Vec<PathBuf> {
    let after = fdinfo.split(|b| *b == b'\n').skip_while(|line| !line.starts_with(b"UserFiles:")).skip(1);
    let name = |line: &[u8]| {
        let line = line.trim_ascii_start();
        let index = line.iter().position(|b| *b == b':')?;
        let (digits, name) = line.split_at(index);
        digits.iter().all(u8::is_ascii_digit).then_some(unescape(name.strip_prefix(b": ")?))
    };
    after.map_while(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_on_files_or_on_devices() {
        let swaps = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
            /dev/sda2                               partition\t8\t\t0\t\t-2\n\
            /usr/my\\040swap\\040(deleted)           file\t\t8\t\t0\t\t-3\n";
        assert_eq!(swap_files(swaps), [Path::new("/usr/my swap (deleted)")]);
        assert_eq!(without_deleted(&swap_files(swaps)[0]), Path::new("/usr/my swap"));
        assert_eq!(swap_files(b""), [] as [PathBuf; 0]);
    }

    #[test]
    fn only_a_rule_with_flag_f_keeps_its_program_open() {
        let rule = |flags| format!("enabled\ninterpreter /usr/bin/qemu-arm\nflags: {flags}\noffset 0\nmagic 7f45\n");
        assert_eq!(fixed_interpreter(rule("OCF").as_bytes()), Some("/usr/bin/qemu-arm".into()));
        assert_eq!(fixed_interpreter(rule("OC").as_bytes()), None);
        assert_eq!(fixed_interpreter(rule("").as_bytes()), None);
        assert_eq!(fixed_interpreter(b"enabled\n"), None);
    }

    #[test]
    fn an_io_uring_lists_its_files_until_it_lists_something_else() {
        let fdinfo =
            b"pos:\t0\nSqMask:\t0x7\nUserFiles:\t3\n    0: /usr/a\\040b\n    2: /usr/c (deleted)\nUserBufs:\t0\n";
        assert_eq!(registered_files(fdinfo), [Path::new("/usr/a b"), Path::new("/usr/c (deleted)")]);
        assert_eq!(registered_files(b"pos:\t0\nflags:\t02\n"), [] as [PathBuf; 0]);
    }
}
