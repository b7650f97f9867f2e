//! Room: what a file system without any still takes, and what is done there.

use crate::support::small::{
    Access::ReadOnly,
    FileSystem::{self, Ext4, MixedBtrfs, TmpfsOf, Xfs},
    Full::{self, Bytes, Files},
    Small,
};

const SMALL: FileSystem = TmpfsOf("size=32M,nr_inodes=200");

/// A file system, what it has no room for, and whether it takes one more name in a directory that is there, and one more
/// directory.
const CASES: [(FileSystem, Full, bool, bool); 6] = [
    (Ext4, Bytes, true, false),
    (Ext4, Files, true, false),
    (Xfs, Bytes, true, false),
    (MixedBtrfs, Bytes, false, false),
    (SMALL, Bytes, true, true),
    (SMALL, Files, false, false),
];

#[test]
fn control_what_a_full_file_system_still_takes() {
    for (file_system, full, name, directory) in CASES {
        let world = Small::on(file_system).installed("tool", "1", &["/usr/bin/tool", "/usr/store/other"]);
        world.remount("rw", "/usr").expect("/usr can be written");
        world.fill_with(full, "/usr");
        let linked = std::fs::hard_link(world.outside("/usr/bin/tool"), world.outside("/usr/store/1"));
        assert_eq!(linked.is_ok(), name, "{file_system:?} has no room for {full:?}: {linked:?}");
        let made = std::fs::create_dir(world.outside("/usr/new"));
        assert_eq!(made.is_ok(), directory, "{file_system:?} has no room for {full:?}: {made:?}");
        assert_eq!(world.remount("ro", "/usr"), Ok(()), "{file_system:?} has no room for {full:?}");
        world.assert_mount("/usr", ReadOnly);
    }
}
