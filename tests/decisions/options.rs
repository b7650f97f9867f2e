//! `mountinfo` (two lines: before and after a remount) → what mount(2) has to be told for the first, and what has changed.

use rokeep::core::mountinfo;

use crate::{Case, shown};

pub fn decide(case: &Case) -> String {
    let mounts = mountinfo::parse(&case.read("mountinfo"));
    let [before, after] = mounts.as_slice() else { panic!("two mounts") };
    let options = &before.options;
    format!(
        "mount {:?}\nsuperblock {:?}\ndata {}\nchanged: {}\n",
        options.of_mount(),
        options.of_superblock(),
        shown(options.data()),
        options.changes(&after.options).unwrap_or_else(|| "nothing".to_owned())
    )
}
