//! Post-Invoke when the kernel refuses: the mount is as closed as it can be, it is said what is in the way, apt's run is
//! not failed, and a later cleanup finishes the job.

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    Alias,
    Change::Upgrade,
    FileSystem::{self, Ext4, Tmpfs},
    Holder, Mount, Run, Small,
    State::{Cwd, IoUring, Mapped, Writing},
};

const GENERATED: &str = "/usr/lib/generated.cache";

/// A file that nobody announced comes during the run, is used, and goes again.
fn a_run_that_leaves_a_deleted_file_in_use(world: &Small) -> (Run, Holder) {
    world.begin();
    world.protect(&[]);
    world.write(GENERATED, b"made by a maintainer script\n");
    let holder = world.hold(Mapped(GENERATED));
    world.dpkg_removes(GENERATED);
    (world.end(), holder)
}

#[test]
fn a_deleted_file_in_use_leaves_the_mount_alone_read_only() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system);
        let (run, holder) = a_run_that_leaves_a_deleted_file_in_use(&world);
        run.assert_says(&["/usr", "degraded", &holder.pid().to_string(), "holder", "rokeep cleanup"]);
        world.assert_mount("/usr", ReadOnlyMount);
        let status = world.status();
        assert_eq!(status.mount("/usr").state, "degraded", "{file_system:?}");
        assert!(status.session.is_none(), "nobody needs it writable any more");

        world.rokeep(["cleanup"]).assert_code(1);
        world.assert_mount("/usr", ReadOnlyMount);

        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
        assert_eq!(world.status().mount("/usr").state, "read-only", "{file_system:?}");
    }
}

#[test]
fn a_writer_leaves_it_writable_and_is_named() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system);
        world.begin();
        world.protect(&[]);
        world.write("/usr/lib/log", b"");
        let writer = world.hold(Writing("/usr/lib/log"));
        let run = world.end();
        run.assert_says(&["/usr", "WRITABLE", &writer.pid().to_string(), "holder", "/usr/lib/log"]);
        world.assert_mount("/usr", Writable);
        let status = world.status();
        assert_eq!(status.mount("/usr").state, "writable");
        assert!(status.session.is_none());
        assert!(!status.problems.is_empty());

        drop(writer);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
    }
}

#[test]
fn a_removed_directory_that_somebody_is_in_is_named() {
    let world = Small::ext4();
    world.begin();
    world.protect(&[]);
    std::fs::create_dir(world.outside("/usr/lib/old")).expect("a directory");
    let holder = world.hold(Cwd("/usr/lib/old"));
    world.dpkg_removes("/usr/lib/old");
    world.end().assert_says(&["/usr", "degraded", &holder.pid().to_string()]);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn the_next_run_still_knows_how_it_was_found() {
    let world = Small::ext4();
    let found = world.mount_line("/usr");
    let (_, holder) = a_run_that_leaves_a_deleted_file_in_use(&world);
    world.begin();
    world.assert_mount("/usr", Writable);
    world.protect(&[]);
    drop(holder);
    world.end();
    assert_eq!(world.mount_line("/usr"), found);
}

#[test]
fn the_next_run_may_be_no_luckier() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    let (_, holder) = a_run_that_leaves_a_deleted_file_in_use(&world);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces("/usr/bin/tool");
    world.end().assert_says(&["degraded"]);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn the_other_mounts_go_back_all_the_same() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Tmpfs, ReadOnly)]);
    let (_, _holder) = a_run_that_leaves_a_deleted_file_in_use(&world);
    world.assert_mount("/usr", ReadOnlyMount);
    world.assert_mount("/opt", ReadOnly);
}

#[test]
fn whoever_wants_apt_to_fail_then_can_say_so() {
    let world = Small::ext4();
    world.write("/etc/rokeep/config.toml", b"strict_exit = true\n");
    world.begin();
    world.protect(&[]);
    world.write("/usr/lib/log", b"");
    let writer = world.hold(Writing("/usr/lib/log"));
    world.hook("post-invoke", None).assert_code(1);
    drop(writer);
    world.begin();
    world.hook("post-invoke", None).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn an_end_without_a_beginning_does_nothing() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Tmpfs, Writable)]);
    let found = (world.mount_line("/usr"), world.mount_line("/opt"));
    world.end();
    assert_eq!((world.mount_line("/usr"), world.mount_line("/opt")), found);
}

/// The mounts come first.
#[test]
fn a_disk_with_no_room_for_the_journal_does_not_keep_it() {
    for full in ["/var/lib/rokeep", "/run"] {
        let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount(full, Tmpfs, Writable)]);
        let world = world.installed("tool", "1", &["/usr/bin/tool", "/usr/lib/data"]);
        let _holder = world.hold(Mapped("/usr/bin/tool"));
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2")]);
        world.fill(full);
        world.dpkg_replaces("/usr/bin/tool");
        world.dpkg_replaces("/usr/lib/data");
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias("/usr/bin/tool", Alias::Kept);
    }
}

/// As systemd-sysext does with /usr. What is on top is none of ours, and what is below is not forgotten.
#[test]
fn a_mount_that_somebody_mounted_over_is_not_forgotten() {
    let world = Small::ext4();
    world.begin();
    world.protect(&[]);
    world.bind("/tmp", "/usr");
    world.end().assert_says(&["/usr", "WRITABLE", "what is mounted there now"]);
    assert!(world.status().problems.concat().contains("/usr is still WRITABLE"));
    world.unmount("/usr");
    world.assert_mount("/usr", Writable);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}

/// It is not in a session, so there is nothing that cleanup could put back.
#[test]
fn a_mount_that_somebody_else_opened_is_said_with_what_helps() {
    let world = Small::ext4();
    world.write("/etc/rokeep/config.toml", b"mounts = ['/usr']\n");
    world.remount("rw", "/usr").expect("by hand");
    let status = world.status();
    assert_eq!(status.mount("/usr").state, "writable");
    assert!(status.problems.concat().contains("mount -o remount,ro /usr"), "{:?}", status.problems);
}

/// By its name alone, which is gone, it was taken for one without any.
#[test]
fn a_file_that_has_its_alias_is_not_in_the_way() {
    const TOOL: &str = "/usr/bin/tool";
    let world = Small::ext4().installed("tool", "1", &[TOOL]);
    let with_alias = world.hold(IoUring(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.write(GENERATED, b"made by a maintainer script\n");
    let holder = world.hold(Mapped(GENERATED));
    world.dpkg_removes(GENERATED);
    let said = world.end().stderr;
    let degraded = said.lines().find(|line| line.contains("degraded")).unwrap_or_default();
    assert!(degraded.contains(GENERATED) && degraded.contains(&holder.pid().to_string()), "{said}");
    assert!(!degraded.contains(TOOL) && !degraded.contains(&with_alias.pid().to_string()), "{said}");
    let problems = world.status().problems.concat();
    assert!(problems.contains(GENERATED) && !problems.contains(TOOL), "{problems}");
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(TOOL, Alias::Kept);
}
