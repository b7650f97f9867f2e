//! The watch: apt is killed, or never calls Post-Invoke, and the session ends all the same.

use std::time::Duration;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    Alias,
    Change::Upgrade,
    Small,
    State::Mapped,
};

const TOOL: &str = "/usr/bin/tool";
const MOMENT: Duration = Duration::from_secs(2);

#[test]
fn before_dpkg_started() {
    let world = Small::ext4();
    world.begin();
    world.apt_dies();
    world.assert_is_ended();
    world.assert_no_store("/usr");
}

#[test]
fn in_the_middle_of_an_upgrade() {
    let world = Small::ext4().installed("tool", "1", &[TOOL, "/usr/lib/data"]);
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.apt_dies();
    world.assert_is_ended();
    world.assert_alias(TOOL, Alias::Kept);
    world.assert_alias("/usr/lib/data", Alias::Kept);
    assert!(!world.status().uses(TOOL, holder.pid()).is_empty());
}

/// Without a terminal between them a dpkg survives its apt. It must not find its mounts read-only half way.
#[test]
fn while_its_dpkg_works_on() {
    let world = Small::ext4().installed("tool", "1", &[TOOL]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    let dpkg = world.dpkg_works();
    world.apt_dies();
    std::thread::sleep(MOMENT / 2);
    world.assert_mount("/usr", Writable);
    world.assert_alias(TOOL, Alias::Kept);
    let frontends = world.status().session.expect("a session for the dpkg that is left").frontends;
    assert_eq!(frontends.iter().map(|frontend| frontend.pid).collect::<Vec<_>>(), [dpkg.pid()]);
    world.dpkg_replaces(TOOL);
    drop(dpkg);
    world.assert_is_ended();
    world.assert_no_store("/usr");
}

/// Between its first hook and the lock on its database nothing showed that it was at work.
#[test]
fn while_its_dpkg_has_not_locked_its_database_yet() {
    let world = Small::ext4().installed("tool", "1", &[TOOL]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    let old = world.inode(TOOL);
    world.apt_dies_before_its_dpkg_locks(TOOL);
    std::thread::sleep(Duration::from_secs(1));
    world.assert_mount("/usr", Writable);
    let people = world.status().session.expect("a session").frontends;
    assert_eq!(people.iter().map(|one| one.command.as_str()).collect::<Vec<_>>(), ["dpkg"]);
    world.assert_within(Duration::from_secs(10), "dpkg has done it", || world.inode(TOOL) != old);
    world.assert_is_ended();
    assert!(!world.outside("/tmp/dpkg-failed").exists());
}

/// rokeep itself was upgraded, and its watcher is the old one. What the new one had written down, that could not read: /usr
/// stayed writable until somebody called the new one.
#[test]
fn after_the_watcher_itself_was_upgraded() {
    let world = Small::ext4().with_shell_and_hooks();
    world.makes_directory("/srv");
    world.begin();
    world.watcher_waits();
    let session = world.outside("/run/rokeep/session.json");
    let text = std::fs::read_to_string(&session).expect("a session");
    let of_a_later_one = text.replacen("\"format\":2", "\"format\":99", 1);
    assert_ne!(text, of_a_later_one);
    std::fs::write(session, of_a_later_one).expect("it is there");
    // The name that the watcher runs by, and the one by which it is installed.
    for name in ["/tool/rokeep", "/usr/sbin/rokeep"] {
        world.removes(name);
    }
    world.write("/usr/sbin/rokeep", b"#!/bin/sh\necho \"$@\" > /srv/called\n");
    world.set_mode("/usr/sbin/rokeep", 0o755);
    world.apt_dies();
    let called = || std::fs::read_to_string(world.outside("/srv/called")).unwrap_or_default();
    world.assert_within(MOMENT, "the new one goes on", || called().starts_with("watch "));
}

#[test]
fn what_apt_itself_held_goes_when_apt_has_gone() {
    let world = Small::ext4().installed("tool", "1", &[TOOL]);
    let held_by_apt = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    world.assert_alias(TOOL, Alias::Kept);
    drop(held_by_apt);
    world.apt_dies();
    world.assert_within(MOMENT, "the store is gone", || world.aliases("/usr").is_empty());
    world.assert_is_ended();
    world.assert_no_store("/usr");
}

#[test]
fn nothing_is_left_running_after_a_good_run() {
    let world = Small::ext4();
    world.begin();
    world.end();
    world.apt_dies();
    world.assert_is_ended();
}

#[test]
fn while_another_apt_goes_on() {
    let world = Small::ext4();
    world.begin();
    world.meanwhile_another_apt(|| world.begin());
    // The other one is dead now; this one is not done.
    std::thread::sleep(MOMENT / 4);
    world.assert_mount("/usr", Writable);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.apt_dies();
    world.assert_is_ended();
}

/// Nobody is left to notice: the watch was killed too.
#[test]
fn and_the_watch_with_it() {
    for command in ["recover", "cleanup"] {
        let world = Small::ext4().installed("tool", "1", &[TOOL]);
        world.begin();
        assert_eq!(world.running_rokeeps().len(), 1, "the watch");
        world.protect(&[Upgrade("tool", "1", "2")]);
        world.dpkg_replaces(TOOL);
        world.kill_rokeep();
        world.apt_dies();
        world.assert_mount("/usr", Writable);
        let status = world.status();
        assert!(!status.problems.is_empty(), "a session of the dead is a problem");
        world.rokeep([command]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
        world.assert_no_session();
        world.assert_no_store("/usr");
    }
}

#[test]
fn and_the_next_apt_takes_over() {
    let world = Small::ext4().installed("tool", "1", &[TOOL]);
    let found = world.mount_line("/usr");
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.kill_rokeep();
    world.apt_dies();
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    assert_eq!(world.mount_line("/usr"), found);
    world.assert_no_store("/usr");
    world.assert_no_session();
}

/// Its mount is gone with it, but the superblock that was made writable is everybody's.
#[test]
fn in_a_mount_namespace_of_its_own() {
    let world = Small::ext4().apt_has_its_own_mounts();
    world.begin();
    world.assert_mount("/usr", ReadOnlyMount);
    world.kill_rokeep();
    world.apt_dies();
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}
