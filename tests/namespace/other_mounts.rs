//! A file system has more mounts than the managed one: every service with `PrivateTmp=` has copies of all of them. Nobody
//! can write through any of them, where nobody could when apt began.

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    Change::Upgrade,
    FileSystem::{self, Ext4},
    Holder, Mount, Small,
    State::{Cwd, Mapped, Writing},
    Where::OwnMounts,
};

const GENERATED: &str = "/usr/lib/generated.cache";
const THERE: &str = "/usr/lib";

/// Something that nobody announced is in use, and goes.
fn a_deleted_file_in_use(world: &Small) -> Holder {
    world.write(GENERATED, b"made by a maintainer script\n");
    let holder = world.hold(Mapped(GENERATED));
    world.dpkg_removes(GENERATED);
    holder
}

fn on_every_file_system(found: crate::support::small::Access, scenario: impl Fn(Small)) {
    for file_system in FileSystem::ALL {
        let world = Small::with(&[Mount("/usr", file_system, found)]);
        world.writably(|| world.write("/usr/lib/log", b""));
        scenario(world);
    }
}

#[test]
fn control_a_copy_stays_writable_when_the_mount_alone_is_closed() {
    on_every_file_system(ReadOnly, |world| {
        world.remount("rw", "/usr").expect("it can be written");
        let service = world.hold_from(OwnMounts, Cwd(THERE));
        world.remount("bind,ro", "/usr").expect("nobody writes through it");
        assert!(!world.can_write("/usr/lib/x"));
        world.assert_mount_of(&service, "/usr", Writable);
        assert!(world.can_write_as(&service, "/usr/lib/x"));
    });
}

#[test]
fn nobody_writes_to_a_degraded_mount_through_a_copy() {
    on_every_file_system(ReadOnly, |world| {
        world.begin();
        world.protect(&[]);
        let service = world.hold_from(OwnMounts, Cwd(THERE));
        let holder = a_deleted_file_in_use(&world);
        world.end().assert_says(&["/usr", "degraded"]);
        world.assert_mount("/usr", ReadOnlyMount);
        world.assert_mount_of(&service, "/usr", ReadOnlyMount);
        assert!(!world.can_write_as(&service, "/usr/lib/x"));
        world.rokeep(["cleanup"]).assert_code(1);
        assert!(!world.can_write_as(&service, "/usr/lib/x"));

        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
        world.assert_no_session();
        let line = world.mount_line_of(&service, "/usr");
        assert_eq!(line.split([' ', ',']).nth(5), Some("rw"), "what was closed by us is opened again: {line}");
        assert!(!world.can_write_as(&service, "/usr/lib/x"));
    });
}

#[test]
fn a_degraded_mount_keeps_what_it_closed_in_mind_over_the_next_run() {
    let world = Small::ext4();
    world.begin();
    world.protect(&[]);
    let service = world.hold_from(OwnMounts, Cwd(THERE));
    let holder = a_deleted_file_in_use(&world);
    world.end().assert_says(&["degraded"]);
    world.begin();
    world.protect(&[]);
    drop(holder);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    let line = world.mount_line_of(&service, "/usr");
    assert_eq!(line.split([' ', ',']).nth(5), Some("rw"), "{line}");
}

#[test]
fn another_place_of_the_same_file_system_is_closed_and_opened_along() {
    let world = Small::ext4();
    world.bind("/usr", "/srv/usr");
    world.remount("bind,rw", "/srv/usr").expect("its superblock is read-only all the same");
    let found = world.mount_line("/srv/usr");
    assert!(!world.can_write("/srv/usr/lib/x"));
    world.begin();
    world.protect(&[]);
    let holder = a_deleted_file_in_use(&world);
    world.end().assert_says(&["degraded"]);
    assert!(!world.can_write("/srv/usr/lib/x"));
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(world.mount_line("/srv/usr"), found);
}

/// Of /usr that was degraded: its superblock became writable, and the mount below it stayed closed. dpkg met it half way.
#[test]
fn a_mount_below_a_degraded_one_stayed_read_only_in_the_next_run() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    world.writably(|| world.bind("/usr/bin", "/usr/bin"));
    let found = world.mount_line("/usr/bin");
    world.begin();
    world.protect(&[]);
    let holder = a_deleted_file_in_use(&world);
    world.end().assert_says(&["degraded"]);
    world.assert_mount("/usr/bin", ReadOnlyMount);

    world.begin();
    world.assert_mount("/usr/bin", Writable);
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces("/usr/bin/tool");
    world.end().assert_says(&["degraded"]);
    world.assert_mount("/usr/bin", ReadOnlyMount);

    world.rokeep(["remount", "rw"]).assert_code(0);
    world.assert_mount("/usr/bin", Writable);
    world.rokeep(["remount", "ro"]).assert_code(1);
    world.assert_mount("/usr/bin", ReadOnlyMount);

    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(world.mount_line("/usr/bin"), found);
    world.assert_no_session();
}

/// It has inherited what was closed, and nobody knows there whether that was by somebody's wish.
#[test]
fn apt_does_not_begin_in_a_mount_namespace_that_has_one_closed_below() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    world.writably(|| world.bind("/usr/bin", "/usr/bin"));
    world.begin();
    world.protect(&[]);
    let holder = a_deleted_file_in_use(&world);
    world.end().assert_says(&["degraded"]);
    world.apt_dies();
    let world = world.apt_has_its_own_mounts();
    let run = world.hook("pre-invoke", None).assert_code(3);
    run.assert_says(&["/usr/bin is still read-only", "dpkg was not started", "remount,bind,rw /usr/bin"]);
    world.apt_dies();
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn a_copy_with_a_writer_stays_writable_and_is_named() {
    on_every_file_system(ReadOnly, |world| {
        world.begin();
        world.protect(&[]);
        let writer = world.hold_from(OwnMounts, Writing("/usr/lib/log"));
        let pid = writer.pid().to_string();
        world.end().assert_says(&["/usr", "degraded", "may still be written", "/usr of holder", &pid, "/usr/lib/log"]);
        world.assert_mount("/usr", ReadOnlyMount);
        world.assert_mount_of(&writer, "/usr", Writable);
        world.rokeep(["cleanup"]).assert_code(1);
        drop(writer);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
    });
}

#[test]
fn a_writer_of_the_mount_itself_keeps_no_copy_open() {
    let world = Small::ext4();
    world.begin();
    world.protect(&[]);
    let service = world.hold_from(OwnMounts, Cwd(THERE));
    world.write("/usr/lib/log", b"");
    let writer = world.hold(Writing("/usr/lib/log"));
    world.end().assert_says(&["/usr", "WRITABLE"]);
    world.assert_mount_of(&service, "/usr", ReadOnlyMount);
    let (problems, pid) = (world.status().problems.concat(), writer.pid().to_string());
    assert!(problems.contains("/usr/lib/log") && problems.contains(&pid), "and status says who: {problems}");
    drop(writer);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn a_copy_that_was_made_meanwhile_is_as_read_only_as_what_it_copied() {
    on_every_file_system(ReadOnlyMount, |world| {
        let before = world.hold_from(OwnMounts, Cwd(THERE));
        world.begin();
        world.protect(&[]);
        let service = world.hold_from(OwnMounts, Cwd(THERE));
        world.assert_mount_of(&before, "/usr", ReadOnlyMount);
        world.assert_mount_of(&service, "/usr", Writable);
        world.end();
        world.assert_mount("/usr", ReadOnlyMount);
        world.assert_mount_of(&service, "/usr", ReadOnlyMount);
        assert!(!world.can_write_as(&service, "/usr/lib/x"));
        world.assert_no_session();
        assert!(world.status().problems.is_empty());
    });
}

#[test]
fn a_copy_that_was_writable_before_stays_so() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnlyMount)]);
    world.bind("/usr", "/srv/usr");
    world.remount("bind,rw", "/srv/usr").expect("a container may want it so");
    let found = world.mount_line("/srv/usr");
    for _ in 0..2 {
        world.begin();
        // apt may call it twice, and what was made meanwhile was not there before.
        let service = world.hold_from(OwnMounts, Cwd(THERE));
        world.begin();
        world.protect(&[]);
        world.end();
        world.assert_mount_of(&service, "/usr", ReadOnlyMount);
        assert_eq!(world.mount_line("/srv/usr"), found);
        assert!(world.can_write("/srv/usr/lib/x"));
    }
}

#[test]
fn a_copy_made_meanwhile_that_somebody_writes_through_is_not_forgotten() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnlyMount)]);
    world.begin();
    world.protect(&[]);
    world.write("/usr/lib/log", b"");
    let writer = world.hold_from(OwnMounts, Writing("/usr/lib/log"));
    let pid = writer.pid().to_string();
    world.end().assert_says(&["/usr", "WRITTEN", "/usr of holder", &pid]);
    world.assert_mount("/usr", ReadOnlyMount);
    let problems = world.status().problems.concat();
    assert!(problems.contains("/usr") && problems.contains("copies"), "{problems}");
    world.rokeep(["cleanup"]).assert_code(1);
    let bystander = world.hold_from(OwnMounts, Cwd(THERE));
    drop(writer);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount_of(&bystander, "/usr", ReadOnlyMount);
    world.assert_no_session();
}
