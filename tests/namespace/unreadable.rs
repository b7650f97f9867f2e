//! Processes that keep everybody waiting who reads their memory maps. Any user can have one; apt must not wait.

use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount},
    Alias,
    Change::Upgrade,
    Small,
    State::{Mapped, Open},
};

const TOOL: &str = "/usr/bin/tool";
const CACHE: &str = "/usr/lib/generated.cache";

fn world() -> Small {
    Small::ext4().installed("tool", "1", &[TOOL]).unlisted(&[CACHE])
}

/// Does something while these processes are there. If it never ends, they are sent away, everybody goes on, and the test
/// fails.
#[track_caller]
fn while_there_are<H: Send + 'static>(holders: H, act: impl FnOnce()) -> H {
    let (tell, told) = channel();
    let watch = std::thread::spawn(move || told.recv_timeout(Duration::from_secs(90)).map(|()| holders));
    act();
    let _ = tell.send(());
    watch.join().expect("a watch").expect("it would have waited for ever")
}

/// From Linux 6.17 on the map itself can be read, but what it leads to can not.
#[test]
fn control_whoever_looks_at_its_memory_waits() {
    let world = world();
    let holder = world.hold_unreadably(Mapped(TOOL));
    let process = world.outside(format!("/proc/{}", holder.pid()));
    let (tell, told) = channel();
    let reader = std::thread::spawn(move || {
        let map = std::fs::read_to_string(process.join("maps")).unwrap_or_default();
        let line = map.lines().find(|line| line.ends_with(TOOL)).unwrap_or_default();
        let range = line.split(' ').next().unwrap_or_default();
        let _ = tell.send(std::fs::metadata(process.join("map_files").join(range)).map(drop));
    });
    assert!(told.recv_timeout(Duration::from_millis(500)).is_err(), "it can be looked at");
    drop(holder);
    reader.join().expect("a reader");
}

/// What they may use is kept, and what others use is kept as always.
#[test]
fn apt_goes_on_and_keeps_what_they_may_use() {
    let world = world();
    let another = world.hold_unreadably(Mapped(TOOL));
    let holder = world.hold_unreadably(Mapped(TOOL));
    let normal = world.hold(Mapped(CACHE));
    let named = format!("holder ({})", holder.pid());
    let holders = while_there_are([another, holder], || {
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2")]).assert_says(&[&named, "could not be read"]);
        world.dpkg_replaces(TOOL);
        world.rebuilds(CACHE);
        world.end().assert_says(&[&named, "could not be read", &format!("({})", normal.pid())]);
        world.assert_mount("/usr", ReadOnly);
        world.rokeep(["cleanup"]).assert_code(0);
        let status = world.status();
        assert!(status.problems.iter().any(|problem| problem.contains(&named)), "{status:#?}");
        let unknown = status.unknown.expect("somebody could not be asked");
        assert!(unknown.who.contains(&named) && unknown.kept.files == 1, "only {TOOL}: {unknown:#?}");
        [TOOL, CACHE].iter().for_each(|file| world.assert_alias(file, Alias::Kept));
    });
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(world.aliases("/usr").len(), 1, "{CACHE} is in use");
    drop(normal);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
    world.assert_mount("/usr", ReadOnly);
}

/// Descriptors can be read all the same.
#[test]
fn what_they_have_open_is_guarded() {
    let world = world();
    let holder = while_there_are(world.hold_unreadably(Open(CACHE)), || {
        world.begin();
        world.protect(&[]);
        world.rebuilds(CACHE);
        world.end();
        world.assert_mount("/usr", ReadOnly);
    });
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

/// What nobody can know to be in use, and no list names.
#[test]
fn what_they_alone_map_may_be_in_the_way_and_they_are_named() {
    let world = world();
    let holder = world.hold_unreadably(Mapped(CACHE));
    let named = format!("holder ({})", holder.pid());
    let holder = while_there_are(holder, || {
        world.begin();
        world.protect(&[]);
        world.rebuilds(CACHE);
        world.end().assert_says(&["degraded", &named]);
        world.assert_mount("/usr", ReadOnlyMount);
    });
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}
