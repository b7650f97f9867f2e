use std::os::unix::ffi::OsStrExt;

use rokeep::core::deb::{self, conffiles};

use super::bounds::in_proportion;
use super::words::stays_below_the_root;

/// Checksums are all read or none: one by one they are the same, and so they are when md5sum writes them again.
pub fn md5sums(text: &[u8]) {
    in_proportion(text, || conffiles(text).collect::<Vec<_>>()).iter().for_each(stays_below_the_root);

    let lines = || text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let one_by_one: Option<Vec<_>> = lines().map(deb::md5sums).collect();
    let read = in_proportion(text, || deb::md5sums(text));
    assert_eq!(read, one_by_one.map(Vec::from_iter).filter(|_| lines().count() > 0).map(|paths| paths.concat()));

    let Some(paths) = read else { return };
    paths.iter().for_each(stays_below_the_root);
    if !paths.is_empty() {
        let written: Vec<u8> = paths.iter().flat_map(|path| line(path.full().as_os_str().as_bytes())).collect();
        assert_eq!(deb::md5sums(&written), Some(paths));
    }
}

/// As md5sum(1) writes it: the path below the root, escaped where it has to be.
pub fn line(path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(b"/").expect("an absolute path");
    let mut escaped = Vec::new();
    for byte in path {
        match byte {
            b'\\' => escaped.extend(b"\\\\"),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            other => escaped.push(*other),
        }
    }
    let mark: &[u8] = if escaped == path { b"" } else { b"\\" };
    [mark, b"d41d8cd98f00b204e9800998ecf8427e  ", &escaped, b"\n"].concat()
}
