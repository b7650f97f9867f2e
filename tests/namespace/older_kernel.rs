//! A kernel that does not have the system calls that rokeep remounts with: mount(2) does it, and no option is lost.

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    FileSystem::{self, Ext4, Tmpfs},
    Mount, Small,
    State::Mapped,
};

/// As they were before Linux 5.2. The helper fails where the kernel goes on answering otherwise.
const OLDER: [&str; 3] = ["/tool/holder", "refusing-newer-calls", "ENOSYS"];
const FILTERED: [&str; 3] = ["/tool/holder", "refusing-newer-calls", "EPERM"];

fn options(line: &str) -> Vec<String> {
    line.split([' ', ',']).filter(|word| !["ro", "rw"].contains(word)).map(str::to_owned).collect()
}

#[track_caller]
fn one_run(world: &Small, found: crate::support::small::Access) {
    let before = world.mount_line("/usr");
    let begun = world.hook_under(&OLDER, "pre-invoke").assert_code(0);
    assert_eq!(begun.stderr, "");
    world.assert_mount("/usr", Writable);
    assert_eq!(options(&world.mount_line("/usr")), options(&before));
    let ended = world.hook_under(&OLDER, "post-invoke").assert_code(0);
    assert_eq!(ended.stderr, "");
    world.assert_mount("/usr", found);
    assert_eq!(world.mount_line("/usr"), before);
}

#[test]
fn control_what_mount_is_not_told_again_is_lost() {
    let world = Small::ext4();
    let before = world.mount_line("/usr");
    world.remount("rw,relatime", "/usr").expect("as mount(8) does it for whoever does not say more");
    assert_ne!(options(&world.mount_line("/usr")), options(&before));
}

#[test]
fn remounts_with_every_option_kept() {
    for file_system in FileSystem::ALL {
        for found in [ReadOnly, ReadOnlyMount] {
            one_run(&Small::with(&[Mount("/usr", file_system, found)]), found);
        }
    }
}

#[test]
fn remounts_with_options_kept_that_few_people_have() {
    for file_system in [Ext4, Tmpfs] {
        for options in [
            "ro,nosuid,nodev,noexec,nosymfollow,nodiratime,relatime",
            "ro,strictatime,nosuid",
            "ro,noatime,sync,lazytime",
        ] {
            let world = Small::on(file_system);
            world.remount(options, "/usr").expect("these options");
            one_run(&world, ReadOnly);
        }
    }
}

/// mount(2) changes the mount's own flag along with the superblock's.
#[test]
fn puts_a_writable_mount_of_a_read_only_superblock_back_just_so() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system);
        world.remount("bind,rw", "/usr").expect("its superblock is read-only all the same");
        one_run(&world, ReadOnly);
    }
}

#[test]
fn degrades_as_any_other() {
    let world = Small::ext4();
    world.hook_under(&OLDER, "pre-invoke").assert_code(0);
    world.write("/usr/lib/cache", b"");
    let holder = world.hold(Mapped("/usr/lib/cache"));
    world.dpkg_removes("/usr/lib/cache");
    world.hook_under(&OLDER, "post-invoke").assert_code(0).assert_says(&["degraded"]);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

/// A container's filter has said no. mount(2) may be open to us, and is not tried.
#[test]
fn is_not_what_a_filter_makes_of_it() {
    let world = Small::ext4();
    let before = world.mount_line("/usr");
    world.hook_under(&FILTERED, "pre-invoke").assert_code(3).assert_says(&["/usr", "may not change mounts"]);
    assert_eq!(world.mount_line("/usr"), before);
    world.assert_no_session();
}
