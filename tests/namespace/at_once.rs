//! Two at once: one that waits for the other, and one that was in the middle of something when the other came. What comes by
//! chance is in the `at_once` world.

use std::fs;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Alias,
    Change::Upgrade,
    Small,
    State::{Flocked, Mapped, OpenPath},
    stream,
};

const TOOL: &str = "/usr/bin/tool";
const CACHE: &str = "/usr/lib/a.cache";
const LOCK: &str = "/run/rokeep/lock";
const MOMENT: Duration = Duration::from_secs(2);

fn installed() -> Small {
    Small::ext4().installed("tool", "1", &[TOOL]).unlisted(&[CACHE])
}

/// There is one replaced file, whose alias may go, as nobody uses it any more.
fn with_something_to_drop() -> Small {
    let world = installed();
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    world.apt_dies();
    world.assert_within(MOMENT, "the watch is done", || world.running_rokeeps().is_empty());
    world.assert_alias(TOOL, Alias::Kept);
    drop(holder);
    world
}

// ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn whoever_waits_says_for_whom_and_goes_on_when_that_is_done() {
    let world = with_something_to_drop();
    let other = world.hold(Flocked(LOCK));
    let mut cleanup = world.begun("/tool/rokeep", &["cleanup"], b"");
    std::thread::sleep(Duration::from_millis(1300));
    cleanup.assert_waits();
    let whom = format!("waiting, a minute at a time, for holder ({}), which has {LOCK}\n", other.pid());
    drop(other);
    cleanup.ended().assert_code(0).assert_says(&[&whom]);
    world.assert_no_store("/usr");
}

#[test]
fn nothing_is_said_of_a_short_wait() {
    let world = with_something_to_drop();
    let other = world.hold(Flocked(LOCK));
    let mut cleanup = world.begun("/tool/rokeep", &["cleanup"], b"");
    cleanup.assert_waits();
    drop(other);
    let run = cleanup.ended().assert_code(0);
    assert_eq!(run.stderr, "");
}

/// A minute, for whoever somebody waits for; the watch goes on after that, as nobody else may come.
#[test]
fn nobody_waits_for_ever_for_one_that_is_stopped_but_the_watch() {
    let world = installed();
    world.begin();
    let other = world.hold(Flocked(LOCK));
    other.stops();
    world.apt_dies();
    let cleanup = world.begun("/tool/rokeep", &["cleanup"], b"");
    let begin = world.begun("/tool/apt-get", &["runs", "/tool/rokeep", "hook", "pre-invoke"], b"");
    let release = world.begun("/tool/rokeep", &["release"], b"");
    let (cleanup, took) = cleanup.ended_after();
    assert!((58..75).contains(&took.as_secs()), "{took:?}");
    let who = format!("for a minute {LOCK} was not free; holder ({}), which is stopped, has it now", other.pid());
    let next = format!("\"kill -CONT {}\" lets it go on, then \"rokeep recover\"", other.pid());
    cleanup.assert_code(3).assert_says(&[&who, "now WRITABLE: /usr", &next]);
    begin.ended().assert_code(3).assert_says(&[&who, "dpkg was not started"]);
    let (release, took) = release.ended_after();
    assert!(took < MOMENT, "{took:?} more");
    release.assert_code(3).assert_says(&[&who]);
    world.assert_mount("/usr", Writable);
    // The watch has waited a minute, too, by now.
    std::thread::sleep(MOMENT);
    other.continues();
    drop(other);
    world.assert_is_ended();
}

#[test]
fn a_lock_that_somebody_removed_keeps_nobody_out_and_lets_nobody_in() {
    let world = with_something_to_drop();
    let first = world.hold(Flocked(LOCK));
    let mut cleanup = world.begun("/tool/rokeep", &["cleanup"], b"");
    cleanup.assert_waits();
    fs::remove_file(world.outside(LOCK)).expect("a lock");
    let second = world.hold(Flocked(LOCK));
    drop(first);
    cleanup.assert_waits();
    world.assert_alias(TOOL, Alias::Kept);
    drop(second);
    cleanup.ended().assert_code(0);
    world.assert_no_store("/usr");
}

/// Nobody would ever have had it, and everybody have waited for a minute.
#[test]
fn a_lock_that_is_a_link_is_refused_at_once() {
    let world = with_something_to_drop();
    fs::remove_file(world.outside(LOCK)).expect("a lock");
    world.write("/tmp/target", b"somebody's");
    world.points(LOCK, "/tmp/target");
    let (run, took) = world.begun("/tool/rokeep", &["cleanup"], b"").ended_after();
    run.assert_code(3).assert_says(&["cannot open", LOCK]);
    assert!(took < MOMENT, "{took:?}");
    world.assert_alias(TOOL, Alias::Kept);
}

/// dpkg waits for its hook, the hook for what it is told.
#[test]
fn an_announcement_that_does_not_end_is_not_waited_for_for_ever() {
    let world = installed();
    world.begin();
    let announcement = stream(&[Upgrade("tool", "1", "2")]);
    let (run, took) = world
        .begun("/tool/apt-get", &["runs", "/tool/rokeep", "hook", "pre-install-pkgs"], &announcement)
        .ended_after();
    assert!((55..75).contains(&took.as_secs()), "{took:?}");
    run.assert_code(3).assert_says(&[
        "cannot read apt's description",
        "not closed for a minute",
        "dpkg was not started",
    ]);
    world.assert_alias(TOOL, Alias::None);
    world.apt_dies();
    world.assert_is_ended();
}

/// Whoever starts the watch has the lock.
#[test]
fn a_systemctl_that_does_not_end_is_not_waited_for_for_ever() {
    let world = installed().installed_program("systemd", "1", "/usr/bin/systemctl");
    fs::create_dir_all(world.outside("/run/systemd/system")).expect("as systemd has it");
    let began = Instant::now();
    world.begin();
    let took = began.elapsed();
    assert!((9..20).contains(&took.as_secs()), "{took:?}");
    world.assert_mount("/usr", Writable);
    // There is a watch all the same.
    world.apt_dies();
    world.assert_within(MOMENT, "/usr is read-only", || world.access("/usr") == ReadOnly);
}

// ── in the middle of something ──────────────────────────────────────────────────────────────────────────────────────

/// What it saw before it had the lock would be of no use.
#[test]
fn a_cleanup_drops_nothing_that_has_come_to_be_needed_while_it_waited() {
    let world = installed();
    let holder = world.hold(Mapped(CACHE));
    world.begin();
    world.protect(&[]);
    world.kill_rokeep();
    world.apt_dies();
    let cleanup = world.paused_at("flock", "", &["cleanup"]);
    world.rokeep_runs(&["--", "/tool/holder", "dpkg", "replace", CACHE], b"made by hand").assert_code(0);
    cleanup.goes_on().assert_code(0);
    world.assert_alias(CACHE, Alias::Kept);
    assert!(!world.status().uses(CACHE, holder.pid()).is_empty());
}

/// It sees the mounts writable, and then no session: they were closed in between.
#[test]
fn whoever_begins_while_another_ends_finds_the_mounts_writable() {
    let world = installed();
    world.begin();
    let words = ["run", "--", "/tool/holder", "dpkg", "remove", CACHE];
    let run = world.paused_at("openat", "session.json", &words);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    run.goes_on().assert_code(0);
    assert!(world.inode(CACHE).is_none());
    world.assert_mount("/usr", ReadOnly);
}

/// Between its look at the session and that at the mounts a package run begins.
#[test]
fn status_sees_no_problem_in_a_run_that_begins_under_it() {
    let world = installed();
    // What is named there is never meant to be writable.
    world.write("/etc/rokeep/config.toml", b"mounts = [\"/usr\"]\n");
    let status = world.paused_at("openat", "mountinfo", &["status", "--json"]);
    world.begin();
    let run = status.goes_on();
    assert!(run.stdout.contains("\"problems\": []"), "{}", run.stdout);
    run.assert_code(0);
}

/// Between its list of the store and its look at each.
#[test]
fn status_sees_no_problem_in_an_alias_that_goes_under_it() {
    let world = with_something_to_drop();
    let number = world.aliases("/usr")[0].1;
    let status = world.paused_at("statx", &format!(".rokeep>, \"{number}\""), &["status", "--json"]);
    world.rokeep(["cleanup"]);
    let run = status.goes_on();
    assert!(run.stdout.contains("\"problems\": []"), "{}", run.stdout);
}

/// Between its opening of the store and its list of it.
#[test]
fn status_can_be_told_while_a_store_goes_under_it() {
    let world = with_something_to_drop();
    let status = world.paused_at("getdents64", "/usr/.rokeep>", &["status", "--json"]);
    world.rokeep(["cleanup"]);
    assert!(!world.outside("/usr/.rokeep").exists());
    let run = status.goes_on();
    assert!(run.code != 3, "{}", run.stderr);
}

// ── others ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A lease keeps whoever opens the file waiting until it is given back.
#[test]
fn nobody_who_opens_a_replaced_file_waits_for_a_look_at_it() {
    let world = installed();
    // A name that is in no list, so that there is one at all.
    world.writably(|| world.links(TOOL, "/usr/lib/other-name"));
    let _holder = world.hold(OpenPath(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    world.assert_alias(TOOL, Alias::Kept);
    let (is_over, file) = (AtomicBool::new(false), world.outside("/usr/lib/other-name"));
    let (longest, opened) = std::thread::scope(|scope| {
        let opening = scope.spawn(|| {
            let (mut longest, mut opened) = (Duration::ZERO, 0);
            while !is_over.load(Ordering::SeqCst) {
                let began = Instant::now();
                drop(File::open(&file).expect("it is there"));
                longest = longest.max(began.elapsed());
                opened += 1;
            }
            (longest, opened)
        });
        (0..30).for_each(|_| drop(world.rokeep(["status", "--json"])));
        is_over.store(true, Ordering::SeqCst);
        opening.join().expect("it opens")
    });
    println!("opened {opened} times, {longest:?} at most");
    assert!(longest < Duration::from_secs(1), "opened {opened} times, {longest:?} at most");
}
