//! Post-Invoke and cleanup: a replaced file that somebody uses is kept and said, the mount is read-only all the same, and
//! what nobody uses is gone.

use crate::support::small::{
    Access::ReadOnly,
    Alias,
    Change::{Remove, Upgrade},
    FileSystem, Small,
    State::{Executed, Mapped, OfAThread, Open, OpenPath, WithoutLeader},
};

const TOOL: &str = "/usr/bin/tool";

fn upgradable(file_system: FileSystem) -> Small {
    Small::on(file_system).installed_program("tool", "1", TOOL)
}

/// The main promise, for each way to hold a file and on each file system. That the kernel refuses without us is what
/// `controls::a_replaced_file_in_use_keeps_the_superblock_writable` says of the very same steps.
#[test]
fn a_replaced_file_in_use_and_usr_is_read_only() {
    for file_system in FileSystem::ALL {
        for (state, use_of_it) in [
            (Mapped(TOOL), "mapped"),
            (Executed(TOOL), "executed"),
            (Open(TOOL), "open"),
            (OpenPath(TOOL), "open"),
            (OfAThread(TOOL), "open"),
            (WithoutLeader(TOOL), "mapped"),
        ] {
            let world = upgradable(file_system);
            let holder = world.hold(state);
            world.begin();
            world.protect(&[Upgrade("tool", "1", "2")]);
            world.dpkg_replaces(TOOL);
            world.end().assert_says(&["1 replaced file", &format!("({})", holder.pid()), "rokeep status"]);
            world.assert_mount("/usr", ReadOnly);
            world.assert_alias(TOOL, Alias::Kept);
            world.assert_no_session();

            let status = world.status();
            assert!(status.uses(TOOL, holder.pid()).contains(&use_of_it), "{state:?} on {file_system:?}: {status:#?}");
            assert_eq!(status.mount("/usr").state, "read-only");
            assert_eq!(status.mount("/usr").aliases.held, 1);
            assert!(status.mount("/usr").aliases.bytes > 0, "the old file is kept on the disk by its alias alone");

            drop(holder);
            world.rokeep(["cleanup"]).assert_code(0);
            world.assert_no_store("/usr");
            world.assert_mount("/usr", ReadOnly);
        }
    }
}

#[test]
fn a_removed_file_in_use_and_usr_is_read_only() {
    let world = upgradable(FileSystem::Ext4);
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Remove("tool", "1")]);
    world.dpkg_removes(TOOL);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(TOOL, Alias::Kept);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

#[test]
fn as_long_as_one_of_several_uses_it() {
    let world = upgradable(FileSystem::Ext4);
    let (first, second) = (world.hold(Mapped(TOOL)), world.hold(OpenPath(TOOL)));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    for holder in [first, second] {
        assert!(!world.status().uses(TOOL, holder.pid()).is_empty());
        world.assert_alias(TOOL, Alias::Kept);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
    }
    world.assert_no_store("/usr");
}

#[test]
fn of_two_replaced_files_only_the_one_in_use() {
    let world = Small::ext4().installed("tool", "1", &[TOOL, "/usr/lib/data"]);
    let _holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.dpkg_replaces("/usr/lib/data");
    world.end();
    world.assert_alias(TOOL, Alias::Kept);
    world.assert_alias("/usr/lib/data", Alias::None);
}

#[test]
fn nothing_when_nobody_uses_anything() {
    let world = upgradable(FileSystem::Ext4);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    let run = world.end();
    assert_eq!(run.stderr, "", "where all is well there is nothing to say");
    world.assert_no_store("/usr");
    world.assert_mount("/usr", ReadOnly);
    assert!(world.status().held.is_empty());
}

/// The upgrade failed before it came to this file. The next one will replace it, and nobody knows when that is.
#[test]
fn a_file_that_was_to_be_replaced_and_was_not() {
    let world = Small::ext4().installed("tool", "1", &[TOOL, "/usr/lib/data"]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces("/usr/lib/data");
    world.end();
    world.assert_alias(TOOL, Alias::Kept);
    world.assert_alias("/usr/lib/data", Alias::None);
    let aliases = world.status().mounts.remove(0).aliases;
    assert_eq!((aliases.unchanged, aliases.held, aliases.droppable, aliases.bytes), (1, 0, 0, 0));
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_alias(TOOL, Alias::Kept);

    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.assert_alias(TOOL, Alias::Kept);
    world.dpkg_replaces(TOOL);
    world.dpkg_replaces("/usr/lib/data");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(TOOL, Alias::Kept);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

#[test]
fn a_file_that_lost_one_of_its_two_names() {
    let world = upgradable(FileSystem::Ext4);
    world.writably(|| {
        std::fs::hard_link(world.outside(TOOL), world.outside("/usr/bin/same")).expect("a second name");
    });
    let world = world.recorded("tool", "1", &[TOOL, "/usr/bin/same"]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    world.assert_alias(TOOL, Alias::Kept);
    assert_eq!(world.status().mount("/usr").aliases.unchanged, 1);
}

/// Two upgrades while one process runs: it keeps the first version, another one the second.
#[test]
fn each_version_that_somebody_uses() {
    let world = upgradable(FileSystem::Ext4);
    let mut holders = Vec::new();
    for (old, new) in [("1", "2"), ("2", "3")] {
        holders.push(world.hold(Mapped(TOOL)));
        world.begin();
        world.protect(&[Upgrade("tool", old, new)]);
        world.dpkg_replaces(TOOL);
        world.end();
        world.assert_mount("/usr", ReadOnly);
    }
    assert_eq!(world.aliases("/usr").len(), 2);
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

#[test]
fn the_next_run_drops_what_has_become_free() {
    let world = upgradable(FileSystem::Ext4);
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    drop(holder);
    assert_eq!(world.status().mount("/usr").aliases.droppable, 1);
    world.begin();
    world.protect(&[]);
    world.end();
    world.assert_no_store("/usr");
}

#[test]
fn a_file_in_the_store_that_nobody_knows() {
    let world = upgradable(FileSystem::Ext4);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.write("/usr/.rokeep/notes", b"somebody else's\n");
    world.dpkg_replaces(TOOL);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    assert!(world.outside("/usr/.rokeep/notes").exists(), "unknown means keep");
}

/// A jail's /usr, say: the same directory, so the same store, seen through two managed mounts.
#[test]
fn a_file_of_a_directory_that_is_managed_at_two_places() {
    let world = upgradable(FileSystem::Ext4);
    world.write("/etc/rokeep/config.toml", b"mounts = ['/usr', '/srv']\n");
    world.bind("/usr", "/srv");
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(TOOL, Alias::Kept);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
    world.assert_mount("/usr", ReadOnly);
}
