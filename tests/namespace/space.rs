//! Room: what a file system without any still takes, and what is done there.

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    Alias,
    Change::{Install, Remove, Upgrade},
    FileSystem::{self, Btrfs, Ext4, Ext4OfFewFiles, MixedBtrfs, TmpfsOf, Xfs},
    Full::{self, Bytes, Files},
    Mount, Small,
    State::Mapped,
};

const SMALL: FileSystem = TmpfsOf("size=32M,nr_inodes=200");

/// A file system, what it has no room for, and whether it takes one more name in a directory that is there, and one more
/// directory.
const CASES: [(FileSystem, Full, bool, bool); 6] = [
    (Ext4, Bytes, true, false),
    (Ext4OfFewFiles, Files, true, false),
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

const TOOL: &str = "/usr/bin/tool";
const DATA: &str = "/usr/lib/data";

/// A program in use, a large file that nobody uses, and no room for more.
fn full(file_system: FileSystem, full: Full, with_store: bool) -> Small {
    let world = Small::on(file_system).installed("tool", "1", &[TOOL]).installed("data", "1", &[DATA]);
    world.writably(|| {
        world.write(DATA, &vec![1; 2 << 20]);
        if with_store {
            world.write("/usr/.rokeep/9999999", b"");
            world.set_mode("/usr/.rokeep", 0o700);
            world.removes("/usr/.rokeep/9999999");
        }
        world.fill_with(full, "/usr");
    });
    world
}

fn in_every_case(scenario: impl Fn(Small, (FileSystem, Full), bool)) {
    for (file_system, what, name, directory) in CASES {
        for with_store in [false, true] {
            let takes_an_alias = name && (with_store || directory);
            scenario(full(file_system, what, with_store), (file_system, what), takes_an_alias);
        }
    }
}

/// `apt remove` is the way out, and rokeep is not in it.
#[test]
fn a_removal_makes_room_and_usr_is_read_only() {
    in_every_case(|world, case, _| {
        let before = world.free_bytes("/usr");
        let _holder = world.hold(Mapped(TOOL));
        world.begin();
        world.protect(&[Remove("data", "1")]);
        world.dpkg_removes(DATA);
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_nothing_of_ours();
        let freed = world.free_bytes("/usr") - before;
        assert!(freed >= 1 << 20, "{case:?}: only {freed} bytes were freed");
    });
}

/// What is in use comes first where little fits, and what did not fit is said with figures. At worst the mount ends
/// degraded, until its user has ended.
#[test]
fn what_is_in_use_is_protected_if_anything_can_be() {
    in_every_case(|world, case, takes_an_alias| {
        let holder = world.hold(Mapped(TOOL));
        world.begin();
        let run = world.protect(&[Remove("tool", "1"), Remove("data", "1")]);
        world.dpkg_removes(DATA);
        world.dpkg_removes(TOOL);
        if takes_an_alias {
            world.assert_alias(TOOL, Alias::Kept);
            world.end();
            world.assert_mount("/usr", ReadOnly);
            assert_eq!(world.status().uses(TOOL, holder.pid()), ["mapped"], "{case:?}");
        } else {
            run.assert_says(&["not protected", TOOL, DATA, "2 files", "No space left", "free"]);
            world.end().assert_says(&["degraded", &format!("({})", holder.pid()), TOOL]);
            world.assert_mount("/usr", ReadOnlyMount);
        }
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
        world.assert_nothing_of_ours();
    });
}

/// The last by name, so that it is not by chance.
#[test]
fn where_some_fit_what_is_in_use_comes_first() {
    let files: Vec<String> = (0..300).map(|number| format!("/usr/lib/many/{number}")).collect();
    let last = "/usr/sbin/z";
    for file_system in [Ext4, Xfs, TmpfsOf("size=32M,nr_inodes=500")] {
        let world = full(file_system, Bytes, true);
        world.writably(|| {
            world.removes("/usr/ballast/bytes");
            files.iter().chain([&last.to_owned()]).for_each(|file| world.write(file, b"data"));
            world.fill_with(Bytes, "/usr");
        });
        let mut world = world.recorded("many", "1", &files).recorded("one", "1", &[last]);
        world.remember(&[last]);
        let _holder = world.hold(Mapped(last));
        world.begin();
        let run = world.protect(&[Remove("many", "1"), Remove("one", "1")]);
        run.assert_says(&["not protected", "/usr/lib/many/", "files", "No space left", "free"]);
        assert!((1..300).contains(&world.aliases("/usr").len()), "{file_system:?}");
        world.assert_alias(last, Alias::Kept);
        files.iter().chain([&last.to_owned()]).for_each(|file| world.dpkg_removes(file));
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias(last, Alias::Kept);
    }
}

/// A quota of a subvolume is room like any other. An in-between: what is there may be linked, or not.
#[test]
fn a_quota_that_is_used_up_does_not_stop_apt() {
    let world = Small::on(Btrfs).installed("tool", "1", &[TOOL]).installed("data", "1", &[DATA]);
    world.writably(|| {
        world.write(DATA, &vec![1; 2 << 20]);
        world.quota("/usr", "1M");
    });
    world.remount("rw", "/usr").expect("/usr can be written");
    let refused = std::fs::create_dir(world.outside("/usr/new")).expect_err("there is a quota");
    assert_eq!(refused.raw_os_error(), Some(nix::libc::EDQUOT));
    world.remount("ro", "/usr").expect("nobody is in the way");

    let _holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Remove("data", "1")]).assert_says(&["not protected", DATA, "Quota exceeded"]);
    world.dpkg_removes(DATA);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_nothing_of_ours();
}

/// Old files beside new ones, until the run is over: if that does not fit, an upgrade would fail that did not fail
/// without rokeep. dpkg gives the space of each package back when it is unpacked.
#[test]
fn with_little_room_only_what_is_in_use_is_protected() {
    let files: Vec<String> = (0..12).map(|number| format!("/usr/lib/data/{number}")).collect();
    let mebibyte = vec![7; 1 << 20];
    let world = Small::ext4().installed("data", "1", &files).installed("tool", "1", &[TOOL]);
    world.writably(|| {
        files.iter().for_each(|file| world.write(file, &mebibyte));
        world.fill_but(6 << 20, "/usr");
    });
    let _holders = [TOOL, &files[3]].map(|file| world.hold(Mapped(file)));
    world.begin();
    let run = world.protect(&[Upgrade("data", "1", "2"), Upgrade("tool", "1", "2")]);
    run.assert_says(&["/usr has", "MiB free", "only what is in use", "2 of 13 files"]);
    assert_eq!(world.aliases("/usr").len(), 2);
    world.assert_alias(TOOL, Alias::Kept);
    world.assert_alias(&files[3], Alias::Kept);
    files.iter().for_each(|file| world.replaces_with(file, &mebibyte));
    world.dpkg_replaces(TOOL);
    world.end();
    world.assert_mount("/usr", ReadOnly);
}

/// The same with room enough: nothing is left out, and nothing is said.
#[test]
fn with_room_enough_everything_is_protected() {
    let files: Vec<String> = (0..12).map(|number| format!("/usr/lib/data/{number}")).collect();
    let world = Small::ext4().installed("data", "1", &files);
    world.writably(|| {
        files.iter().for_each(|file| world.write(file, &vec![7; 1 << 20]));
        world.fill_but(14 << 20, "/usr");
    });
    world.archive("data", "2", &[], &[&files[0]]);
    world.begin();
    let run = world.protect(&[Upgrade("data", "1", "2")]);
    assert_eq!(run.stderr, "");
    assert_eq!(world.aliases("/usr").len(), 12);
}

/// A removal brings nothing that would have to fit.
#[test]
fn with_little_room_a_removal_is_protected_as_always() {
    let world = Small::ext4().installed("data", "1", &[DATA]);
    world.writably(|| {
        world.write(DATA, &vec![7; 4 << 20]);
        world.fill_but(1 << 20, "/usr");
    });
    world.begin();
    let run = world.protect(&[Remove("data", "1")]);
    assert_eq!(run.stderr, "");
    world.assert_alias(DATA, Alias::Kept);
    world.dpkg_removes(DATA);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_nothing_of_ours();
}

/// What a new package takes is said by its archive.
#[test]
fn with_little_room_for_what_is_new_only_what_is_in_use_is_protected() {
    let files: Vec<String> = (0..4).map(|number| format!("/usr/lib/data/{number}")).collect();
    for (kibibytes, protected) in [(1024, 4), (6144, 1)] {
        let world = Small::ext4().installed("data", "1", &files);
        world.writably(|| {
            files.iter().for_each(|file| world.write(file, &vec![7; 1 << 20]));
            world.fill_but(8 << 20, "/usr");
        });
        world.archive("data", "2", &[], &[&files[0]]);
        world.archive_of_size("new", "1", kibibytes);
        let _holder = world.hold(Mapped(&files[2]));
        world.begin();
        world.protect(&[Upgrade("data", "1", "2"), Install("new", "1")]);
        assert_eq!(world.aliases("/usr").len(), protected, "{kibibytes} KiB come");
        world.assert_alias(&files[2], Alias::Kept);
    }
}

/// Room for that was set aside when there was some; the control has none. (A full btrfs takes no new name for it.)
#[test]
fn a_full_disk_of_the_journal_does_not_keep_it_from_being_written_anew() {
    for file_system in [Ext4, Xfs, SMALL] {
        for has_room in [true, false] {
            let state = Mount("/var/lib/rokeep", file_system, Writable);
            let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), state]);
            let many: Vec<String> = (0..300).map(|number| format!("/usr/lib/file-{number}")).collect();
            let many: Vec<&str> = many.iter().map(String::as_str).collect();
            let world = world.installed("tool", "1", &many);
            world.begin();
            world.protect(&[Upgrade("tool", "1", "2")]);
            if !has_room {
                world.removes("/var/lib/rokeep/journal.spare");
            }
            world.fill_with(Bytes, "/var/lib/rokeep");
            world.dpkg_replaces("/usr/lib/file-0");
            world.end();
            assert_eq!(world.records(), if has_room { 299 } else { 300 }, "{file_system:?}");
            world.assert_mount("/usr", ReadOnly);
        }
    }
}
