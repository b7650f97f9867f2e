use rokeep::core::dpkg_db::listed_paths;
use rokeep::core::paths::PathReader;
use std::os::unix::ffi::OsStrExt;

use super::bounds::in_proportion;
use super::words::{plain_path, stays_below_the_root};

/// Every line of a list that is a path is read, however the one before it went, as if each were read by itself, and stays
/// below the root.
pub fn list(text: &[u8]) {
    let paths: Vec<_> = in_proportion(text, || listed_paths(text).collect());
    paths.iter().for_each(stays_below_the_root);
    let read: Vec<_> = paths.iter().map(|path| path.full().as_os_str().as_bytes().to_vec()).collect();
    assert_eq!(read, text.split(|b| *b == b'\n').filter_map(plain_path).collect::<Vec<_>>());

    let mut reader = PathReader::default();
    text.split(|b| *b == b'\n').for_each(|line| reader.absolute(line));
    assert_eq!((reader.count(), reader.paths()), (paths.len(), paths.clone()));

    let mut sorted = paths;
    sorted.sort();
    assert!(sorted.is_sorted_by_key(|path| (path.dir().as_os_str().to_owned(), path.name().to_owned())));
}
