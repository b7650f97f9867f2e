//! `rokeep remount` and `NO_APT_REMOUNT`: a mount that a person wants writable stays so, is said to be, and goes back when
//! its time has come or somebody says so.

use std::time::Duration;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable, WriteProtected},
    Alias,
    Change::Upgrade,
    FileSystem::{self, Ext4, Subvolume, Tmpfs},
    Mount, Run, Small,
    State::{Mapped, Writing},
};

const CACHE: &str = "/usr/lib/cache";
const MOMENT: Duration = Duration::from_secs(2);

#[track_caller]
fn assert_is_over(world: &Small) {
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
    world.assert_within(MOMENT, "no rokeep is left running", || world.running_rokeeps().is_empty());
    assert!(world.status().problems.is_empty());
}

fn apt_is_done_with(world: &Small, setting: &str) -> Run {
    world.hook_under(&["/tool/holder", "env", setting], "post-invoke").assert_code(0)
}

#[test]
fn a_mount_is_writable_until_it_is_closed() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system);
        let found = world.mount_line("/usr");
        let opened = world.rokeep(["remount", "rw"]).assert_code(0);
        opened.assert_says(&["/usr is held writable by hand: root asked for it just now", "rokeep remount ro /usr"]);
        world.assert_mount("/usr", Writable);
        assert!(world.writes("/usr/lib/new"));
        world.rokeep(["remount", "ro"]).assert_code(0).assert_says(&["/usr is read-only"]);
        assert_eq!(world.mount_line("/usr"), found, "{file_system:?}");
        assert_is_over(&world);
        world.assert_no_store("/usr");
    }
}

#[test]
fn whatever_runs_meanwhile_does_not_close_it_silently() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    world.rokeep(["remount", "rw", "/usr"]).assert_code(0);
    for command in ["cleanup", "recover"] {
        world.rokeep([command]).assert_code(0).assert_says(&["/usr is held writable by hand: root asked for it"]);
        world.assert_mount("/usr", Writable);
    }
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces("/usr/bin/tool");
    let said = world.end().stderr;
    assert_eq!(said.matches("held writable by hand").count(), 1, "{said}");
    world.apt_leaves();
    world.rokeep_runs(&["--", "/tool/holder", "write", "/usr/lib/new"], b"").assert_code(0);
    world.assert_mount("/usr", Writable);
    let status = world.status();
    assert_eq!(status.mount("/usr").state, "writable");
    assert!(status.problems.concat().contains("held writable by hand: root asked for it"), "{:?}", status.problems);
    world.rokeep(["remount", "ro", "/usr"]).assert_code(0);
    assert_is_over(&world);
    world.assert_no_store("/usr");
}

#[test]
fn what_is_in_use_when_it_is_opened_can_be_replaced() {
    let world = Small::ext4().unlisted(&[CACHE, "/usr/lib/other"]);
    let (holder, _other) = (world.hold(Mapped(CACHE)), world.hold(Mapped("/usr/lib/other")));
    world.rokeep(["remount", "rw"]).assert_code(0);
    world.rokeep(["cleanup"]).assert_code(0);
    world.removes(CACHE);
    world.rokeep(["remount", "ro"]).assert_code(0).assert_says(&["kept while in use: 1 replaced file"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(CACHE, Alias::Kept);
    world.assert_alias("/usr/lib/other", Alias::None);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_is_over(&world);
}

#[test]
fn who_is_in_the_way_is_named_as_after_a_package_run() {
    let world = Small::ext4().unlisted(&[CACHE]);
    world.rokeep(["remount", "rw"]).assert_code(0);
    let writer = world.hold(Writing(CACHE));
    let run = world.rokeep(["remount", "ro"]).assert_code(1);
    run.assert_says(&["/usr is still WRITABLE", &writer.pid().to_string(), CACHE]);
    drop(writer);
    let holder = world.hold(Mapped(CACHE));
    world.removes(CACHE);
    world.rokeep(["remount", "ro"]).assert_code(1).assert_says(&["/usr is degraded", &holder.pid().to_string()]);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(holder);
    world.rokeep(["remount", "ro"]).assert_code(0);
    assert_is_over(&world);
}

#[test]
fn for_a_time_it_goes_back_by_itself() {
    let world = Small::ext4();
    world.rokeep(["remount", "rw", "--for", "1s"]).assert_code(0).assert_says(&["it goes back by itself in"]);
    std::thread::sleep(MOMENT / 4);
    world.assert_mount("/usr", Writable);
    world.assert_within(2 * MOMENT, "/usr is read-only", || world.access("/usr") == ReadOnly);
    world.assert_within(MOMENT, "the session is over", || !world.has_session());
    assert_is_over(&world);
}

#[test]
fn closing_it_calls_the_time_off() {
    let world = Small::ext4();
    world.rokeep(["remount", "rw", "--for", "1h30m"]).assert_code(0).assert_says(&["by itself in 1 hour 30 minutes"]);
    // So long that it waits for nothing else any more.
    std::thread::sleep(MOMENT / 4);
    assert_eq!(world.running_rokeeps().len(), 1, "somebody waits");
    world.rokeep(["remount", "ro"]).assert_code(0);
    assert_is_over(&world);
}

#[test]
fn the_last_word_says_how_long() {
    let world = Small::ext4();
    world.rokeep(["remount", "rw", "--for", "1s"]).assert_code(0);
    world.rokeep(["remount", "rw"]).assert_code(0);
    std::thread::sleep(MOMENT + MOMENT / 2);
    world.assert_mount("/usr", Writable);
    world.rokeep(["remount", "rw", "--for", "1h"]).assert_code(0);
    world.rokeep(["remount", "rw", "--for", "1s"]).assert_code(0);
    world.assert_within(2 * MOMENT, "/usr is read-only", || world.access("/usr") == ReadOnly);
    world.assert_within(MOMENT, "the session is over", || !world.has_session());
    assert_is_over(&world);
}

/// It would be read-only under apt.
#[test]
fn while_apt_is_at_work_it_goes_back_when_that_is_done() {
    let world = Small::ext4();
    world.rokeep(["remount", "rw", "--for", "1s"]).assert_code(0);
    world.begin();
    std::thread::sleep(MOMENT + MOMENT / 2);
    world.assert_mount("/usr", Writable);
    world.end();
    world.apt_leaves();
    assert_is_over(&world);
}

#[test]
fn whoever_should_have_waited_was_killed() {
    for command in ["cleanup", "recover"] {
        let world = Small::ext4();
        world.rokeep(["remount", "rw", "--for", "1s"]).assert_code(0);
        world.assert_within(MOMENT, "somebody waits", || world.running_rokeeps().len() == 1);
        world.kill_rokeep_that("watch");
        std::thread::sleep(MOMENT + MOMENT / 4);
        world.assert_mount("/usr", Writable);
        world.rokeep([command]).assert_code(0);
        assert_is_over(&world);
    }
}

#[test]
fn it_is_not_closed_under_somebody_at_work() {
    let world = Small::ext4();
    world.begin();
    world.rokeep(["remount", "ro"]).assert_code(3).assert_says(&["apt-get", "is at work", "nothing was changed"]);
    world.assert_mount("/usr", Writable);
    world.end();
    world.apt_leaves();
    world.rokeep(["remount", "rw"]).assert_code(0);
    let dpkg = world.dpkg_works();
    world.rokeep(["remount", "ro"]).assert_code(3).assert_says(&["dpkg", &dpkg.pid().to_string()]);
    drop(dpkg);
    let running = world.running(&[]);
    world.rokeep(["remount", "ro"]).assert_code(3).assert_says(&["rokeep"]);
    drop(running);
    world.rokeep(["remount", "ro"]).assert_code(0);
    assert_is_over(&world);
}

/// Then it stays so when apt is done.
#[test]
fn a_mount_that_apt_has_opened_may_be_held_too() {
    let world = Small::ext4();
    world.begin();
    world.rokeep(["remount", "rw", "/usr"]).assert_code(0);
    world.end().assert_says(&["/usr is held writable by hand"]);
    world.apt_dies();
    std::thread::sleep(MOMENT / 2);
    world.assert_mount("/usr", Writable);
    world.rokeep(["remount", "ro"]).assert_code(0);
    assert_is_over(&world);
}

#[test]
fn a_mount_that_cannot_become_writable_leaves_all_as_it_was() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Ext4, WriteProtected)]);
    world.rokeep(["remount", "rw"]).assert_code(3).assert_says(&["/opt", "write-protected", "as it was found"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
    world.rokeep(["remount", "rw", "/usr"]).assert_code(0);
    world.rokeep(["remount", "rw", "/usr", "/opt"]).assert_code(3).assert_says(&["/opt", "as it was found"]);
    world.assert_mount("/usr", Writable);
    world.rokeep(["remount", "ro", "/usr"]).assert_code(0);
    world.assert_no_session();
}

#[test]
fn only_what_is_named() {
    let mounts = [Mount("/usr", Ext4, ReadOnly), Mount("/opt", Tmpfs, ReadOnly), Mount("/srv", Tmpfs, ReadOnlyMount)];
    let world = Small::with(&mounts);
    world.rokeep(["remount", "rw", "/opt", "/srv/"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    world.assert_mount("/srv", Writable);
    world.rokeep(["remount", "ro", "/srv"]).assert_code(0);
    world.assert_mount("/srv", ReadOnlyMount);
    world.assert_mount("/opt", Writable);
    world.begin();
    world.assert_mount("/usr", Writable);
    world.end();
    world.assert_mount("/opt", Writable);
    world.assert_mount("/usr", ReadOnly);
    world.rokeep(["remount", "ro"]).assert_code(0);
    world.assert_mount("/opt", ReadOnly);
}

/// With its superblock, unless others write through that.
#[test]
fn a_mount_that_rokeep_never_opened_can_be_closed() {
    let world = Small::with(&[Mount("/usr", Ext4, Writable)]);
    world.rokeep(["remount", "ro", "/usr"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    let mounts = [Mount("/usr", Subvolume("@usr"), Writable), Mount("/home", Subvolume("@home"), Writable)];
    let world = Small::with(&mounts);
    world.rokeep(["remount", "ro", "/usr"]).assert_code(0);
    world.assert_mount("/usr", ReadOnlyMount);
    world.assert_mount("/home", Writable);
    assert!(world.writes("/home/new"));
}

#[test]
fn whoever_closes_it_with_mount_8_holds_it_no_longer() {
    let world = Small::ext4();
    world.rokeep(["remount", "rw"]).assert_code(0);
    world.remount("ro", "/usr").expect("by hand");
    world.begin();
    world.end();
    assert_is_over_once_apt_has_gone(&world);
    world.rokeep(["remount", "rw"]).assert_code(0);
    world.remount("ro", "/usr").expect("by hand");
    world.rokeep(["cleanup"]).assert_code(0);
    assert_is_over(&world);
}

#[track_caller]
fn assert_is_over_once_apt_has_gone(world: &Small) {
    world.apt_leaves();
    assert_is_over(world);
}

#[test]
fn what_has_nothing_to_do_says_so() {
    let world = Small::with(&[Mount("/usr", Ext4, Writable)]);
    world.rokeep(["remount", "rw"]).assert_code(0).assert_says(&["nothing was changed"]);
    world.rokeep(["remount", "ro"]).assert_code(0).assert_says(&["nothing was changed"]);
    world.assert_mount("/usr", Writable);
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_can() {
    let world = Small::ext4();
    for (words, says) in [
        (&["remount", "rw", "--for", "30"][..], "30m"),
        (&["remount", "rw", "--for", "0s"], "no time at all"),
        (&["remount", "rw", "--for", "8d"], "the longest is 7d"),
        (&["remount", "ro", "--for", "30m"], "--for"),
        (&["remount", "rw", "usr"], "absolute path"),
        (&["remount"], "Usage"),
    ] {
        world.rokeep_given(words, b"").assert_code(2).assert_says(&[says]);
    }
    world.rokeep(["remount", "rw", "/usr/lib"]).assert_code(3).assert_says(&["it is on /usr"]);
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn apt_leaves_the_mounts_writable_where_it_is_asked_to() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    let _holder = world.hold(Mapped("/usr/bin/tool"));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces("/usr/bin/tool");
    apt_is_done_with(&world, "NO_APT_REMOUNT=yes")
        .assert_says(&["/usr is held writable by hand: apt-get (", "NO_APT_REMOUNT=yes"]);
    world.apt_leaves();
    world.assert_mount("/usr", Writable);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(world.status().problems.concat().contains("NO_APT_REMOUNT=yes"));
    world.begin();
    world.end().assert_says(&["held writable by hand"]);
    world.assert_mount("/usr", Writable);
    world.apt_leaves();
    world.rokeep(["remount", "ro"]).assert_code(0);
    assert_is_over(&world);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
}

#[test]
fn no_other_value_asks_for_it() {
    let world = Small::ext4();
    for setting in ["NO_APT_REMOUNT=no", "NO_APT_REMOUNT=", "NO_APT_REMOUNT=1", "NO_APT_REMOUNT=yes "] {
        world.begin();
        apt_is_done_with(&world, setting);
        world.assert_mount("/usr", ReadOnly);
    }
}

#[test]
fn an_end_without_a_beginning_holds_nothing() {
    let world = Small::ext4();
    apt_is_done_with(&world, "NO_APT_REMOUNT=yes");
    world.assert_no_session();
    let running = world.running(&[]);
    apt_is_done_with(&world, "NO_APT_REMOUNT=yes");
    drop(running);
    world.apt_leaves();
    assert_is_over(&world);
}

/// It never came to say what it wants.
#[test]
fn an_apt_that_dies_leaves_nothing_writable() {
    let world = Small::ext4();
    world.begin();
    world.apt_dies();
    world.assert_within(MOMENT, "/usr is read-only", || world.access("/usr") == ReadOnly);
}

/// Two subvolumes are one file system, and what closes that closes both.
#[test]
fn its_neighbour_on_the_same_file_system_goes_back_without_it() {
    let mounts = [Mount("/usr", Subvolume("@usr"), ReadOnly), Mount("/opt", Subvolume("@opt"), ReadOnly)];
    let control = Small::with(&mounts);
    ["/usr", "/opt"].iter().for_each(|point| control.remount("rw", point).expect("they can be written"));
    control.remount("ro", "/usr").expect("nobody writes just now");
    assert!(!control.writes("/opt/lib/new"), "one file system");
    drop(control);

    let world = Small::with(&mounts);
    world.rokeep(["remount", "rw", "/usr"]).assert_code(0);
    world.rokeep(["remount", "rw", "/opt"]).assert_code(0);
    let closed = world.rokeep(["remount", "ro", "/usr"]).assert_code(1);
    closed.assert_says(&["/usr is read-only by itself", "stays writable for /opt, which is held by hand"]);
    assert!(!world.writes("/usr/lib/new"));
    assert!(world.writes("/opt/lib/new"), "somebody is at work there");
    world.rokeep(["remount", "ro", "/opt"]).assert_code(0);
    for point in ["/usr", "/opt"] {
        world.assert_mount(point, ReadOnly);
    }
    assert_is_over(&world);
}

/// The time of one comes while the other is being closed.
#[test]
fn two_times_that_are_close_together_are_both_kept() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Ext4, ReadOnly)]);
    world.rokeep(["remount", "rw", "/usr", "--for", "1s"]).assert_code(0);
    world.rokeep(["remount", "rw", "/opt", "--for", "1s"]).assert_code(0);
    let both = || ["/usr", "/opt"].iter().all(|point| world.access(point) == ReadOnly);
    world.assert_within(Duration::from_secs(5), "both have gone back", both);
    world.assert_within(MOMENT, "no rokeep is left running", || world.running_rokeeps().is_empty());
}
