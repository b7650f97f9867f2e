//! Mounts that cannot become writable: apt is stopped before dpkg starts, everything is as it was, and it is said why and
//! what helps. The words for every case are in `decisions/refusal/`.

use crate::support::small::{
    Access::{ReadOnly, WriteProtected},
    Change::Upgrade,
    FileSystem::{Erofs, Ext4, Overlay, Squashfs, Tmpfs},
    Mount, Small,
};

#[track_caller]
fn assert_stopped(world: &Small, words: &[&str]) {
    let before = (world.mount_line("/usr"), world.mount_line("/opt"));
    world.hook("pre-invoke", None).assert_code(3).assert_says(words).assert_says(&["/usr", "dpkg was not started"]);
    assert_eq!((world.mount_line("/usr"), world.mount_line("/opt")), before);
    world.assert_no_store("/opt");
    world.assert_no_session();
}

#[test]
fn squashfs_and_erofs_are_images() {
    for (file_system, name) in [(Squashfs, "squashfs"), (Erofs, "erofs")] {
        for read_only in [[("/usr", file_system), ("/opt", Tmpfs)], [("/opt", Tmpfs), ("/usr", file_system)]] {
            let world = Small::with(&read_only.map(|(point, kind)| Mount(point, kind, ReadOnly)));
            assert_stopped(&world, &[name, "can only be read", "new image", "/etc/rokeep/config.toml"]);
        }
    }
}

#[test]
fn what_is_an_image_does_not_matter_where_the_settings_leave_it_out() {
    let world = Small::with(&[Mount("/usr", Squashfs, ReadOnly), Mount("/opt", Tmpfs, ReadOnly)]);
    world.write("/etc/rokeep/config.toml", b"mounts = ['/opt']\n");
    world.begin();
    world.end();
    world.assert_mount("/opt", ReadOnly);
}

#[test]
fn a_write_protected_device_is_told_from_one_with_errors() {
    let world = Small::with(&[Mount("/usr", Ext4, WriteProtected), Mount("/opt", Tmpfs, ReadOnly)]);
    assert_stopped(&world, &["is write-protected; look for a switch", "blockdev --setrw /dev/loop"]);
}

/// The mount says that it is writable, and so does its superblock, as with an NFS export that is read-only on its server.
#[test]
fn what_calls_itself_writable_and_is_not_is_found_out_by_a_write() {
    let world = Small::with(&[Mount("/usr", Overlay(""), ReadOnly), Mount("/opt", Tmpfs, ReadOnly)]);
    world.remount("ro", "/image/0.memory").expect("nobody writes to it");
    assert_stopped(&world, &["takes no writes", "upper layer is read-only"]);
}

#[test]
fn a_file_system_without_room_for_the_journal_or_the_session() {
    for full in ["/var/lib/rokeep", "/run"] {
        let mounts = [Mount("/usr", Ext4, ReadOnly), Mount(full, Tmpfs, crate::support::small::Access::Writable)];
        let world = Small::with(&mounts).installed("tool", "1", &["/usr/bin/tool"]);
        world.fill(full);
        let begun = world.hook("pre-invoke", None);
        let stopped = if begun.code == 0 {
            world.hook("pre-install-pkgs", Some(crate::support::small::stream(&[Upgrade("tool", "1", "2")])))
        } else {
            begun
        };
        stopped.assert_code(3).assert_says(&[
            "file system is full",
            "make room",
            "No space left",
            "dpkg was not started",
        ]);
        world.assert_mount("/usr", ReadOnly);
        world.assert_no_session();
    }
}
