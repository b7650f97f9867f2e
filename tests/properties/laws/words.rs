//! What is said to people, and names that lead where they should.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rokeep::core::paths::ListedPath;

/// A refusal says something, in one line, and nothing in it moves a cursor.
pub fn is_said_in_one_line(refusal: impl Display) {
    let said = format!("{refusal:#}");
    assert!(said.chars().any(char::is_alphabetic), "nothing is said: {said:?}");
    assert!(!said.chars().any(char::is_control), "a control character is said: {said:?}");
}

/// A path is below the root, leads up nowhere, and is the same when it is read again.
pub fn stays_below_the_root(path: &ListedPath) {
    let full = path.full();
    assert!(path.dir().is_absolute(), "{path:?}");
    assert!(is_one_name(path.name().as_bytes()), "{path:?}");
    assert!(full.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_))), "{path:?}");
    assert_eq!(path.dir().join(path.name()).as_os_str(), full.as_os_str());
    assert_eq!(ListedPath::parse(full.as_os_str().as_bytes()).as_ref(), Some(path));
}

/// A path as it is to be read, found in the slowest and plainest way; `None` for what is none.
pub fn plain_path(text: &[u8]) -> Option<Vec<u8>> {
    let names: Vec<&[u8]> = text.strip_prefix(b"/")?.split(|b| *b == b'/').filter(|name| !name.is_empty()).collect();
    let is_good = |name: &&[u8]| **name != *b"." && **name != *b".." && !name.contains(&0);
    let all_are_good = !names.is_empty() && names.iter().all(is_good);
    all_are_good.then(|| names.iter().flat_map(|name| [b"/", *name].concat()).collect())
}

pub fn is_one_name(name: impl AsRef<[u8]>) -> bool {
    let name = OsStr::from_bytes(name.as_ref());
    Path::new("/x").join(name).file_name() == Some(name) && !name.as_bytes().contains(&0)
}
