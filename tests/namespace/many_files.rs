//! Runs that replace more files than are planned for at a time: the plan comes in parts, and while one is linked the next
//! one is written down.

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Alias,
    Change::Upgrade,
    FileSystem::{Ext4, TmpfsOf},
    Mount, Small,
    State::Mapped,
    stream,
};

/// So many that there are two parts: the first is of 5,000.
const MANY: usize = 7_000;

fn files() -> Vec<String> {
    (0..MANY).map(|number| format!("/usr/lib/many/{number:04}")).collect()
}

/// The last one is another name of the first.
fn world(mounts: &[Mount], files: &[String]) -> Small {
    let world = Small::with(mounts).installed("tool", "1", files);
    world.writably(|| {
        let [first, last] = [files.first(), files.last()].map(|file| world.outside(file.expect("a file")));
        std::fs::remove_file(&last).expect("the last goes");
        std::fs::hard_link(first, last).expect("another name");
    });
    world
}

#[test]
fn every_inode_gets_one_alias_and_is_written_down_once() {
    let files = files();
    let world = world(&[Mount("/usr", Ext4, ReadOnly)], &files);
    let _holder = world.hold(Mapped(&files[6_000]));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    assert_eq!(world.aliases("/usr").len(), MANY - 1);
    assert_eq!(world.records(), MANY - 1);
    for number in [1, 5_500, 6_000] {
        world.assert_alias(&files[number], Alias::Kept);
        world.dpkg_replaces(&files[number]);
    }
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(&files[1], Alias::None);
    world.assert_alias(&files[5_500], Alias::None);
    world.assert_alias(&files[6_000], Alias::Kept);
    assert_eq!(world.records(), MANY - 3);
}

/// Where only the first part can be written down dpkg does not start, and nothing of it stays.
#[test]
fn what_cannot_be_written_down_takes_back_what_was_linked_before() {
    let files = files();
    let state = Mount("/var/lib/rokeep", TmpfsOf("size=1000k"), Writable);
    let world = world(&[Mount("/usr", Ext4, ReadOnly), state], &files);
    world.begin();
    let refused = world.hook("pre-install-pkgs", Some(stream(&[Upgrade("tool", "1", "2")]))).assert_code(3);
    refused.assert_says(&["/var/lib/rokeep/journal.jsonl", "No space left", "as it was found"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
}
