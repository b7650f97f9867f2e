use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

use rokeep::core::apt_stream::Name;
use rokeep::core::dpkg_db::Diversions;
use rokeep::core::paths::ListedPath;

use super::bounds::in_proportion;
use super::words::{plain_path, stays_below_the_root};

/// A file is where the last diversion of its name says, unless its package made that; anything else is where it is. Three
/// lines are a diversion, or nothing.
pub fn diversions(text: &[u8]) {
    let read = in_proportion(text, || Diversions::parse(text));
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    let mut diverted = HashMap::new();
    for three in lines.chunks_exact(3).filter(|three| !three[2].is_empty()) {
        if let (Some(from), Some(to)) = (plain_path(three[0]), plain_path(three[1])) {
            diverted.insert(from, (to, three[2]));
        }
    }
    let packages = [&b"tool"[..]].into_iter().chain(diverted.values().map(|(_, by)| *by)).take(8);
    for package in packages.filter_map(Name::parse) {
        for path in lines.iter().filter_map(|line| ListedPath::parse(line)) {
            let place = read.place(path.clone(), &package);
            stays_below_the_root(&place);
            let plain = path.full().as_os_str().as_bytes();
            let expected = match diverted.get(plain) {
                Some((to, by)) if *by != package.as_str().as_bytes() => to,
                _ => plain,
            };
            assert_eq!(place.full().as_os_str().as_bytes(), expected, "{path:?} of {package}");
        }
    }
}
