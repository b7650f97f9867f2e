//! The system's log hears of every change of a mount's state, once each, and can hold up nothing.

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount},
    Change::Upgrade,
    FileSystem::{Ext4, Tmpfs},
    Log, Mount, Small,
    State::{Mapped, Writing},
};

const JOURNALD: &str = "/run/systemd/journal/socket";
const CACHE: &str = "/usr/lib/cache";

#[track_caller]
fn assert_changes(log: &Log, expected: &[(&str, &str)]) {
    let changes = log.changes();
    let said: Vec<&str> = changes.iter().map(|(change, _)| change.as_str()).collect();
    assert_eq!(said, expected.iter().map(|(change, _)| *change).collect::<Vec<_>>(), "{changes:?}");
    for ((_, reason), (change, says)) in changes.iter().zip(expected) {
        assert!(reason.contains(says), "{change}: {reason:?} must say {says:?}");
    }
}

#[test]
fn a_package_run_is_two_entries_for_each_mount() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Tmpfs, ReadOnlyMount)]);
    let log = world.log_at(JOURNALD);
    world.begin();
    assert_changes(&log, &[("/usr writable 6", "apt-get ("), ("/opt writable 6", "apt-get (")]);
    world.begin();
    world.protect(&[]);
    assert_changes(&log, &[]);
    world.end();
    assert_changes(&log, &[("/opt read-only 6", "nobody needs it"), ("/usr read-only 6", "nobody needs it")]);
    world.end();
    world.rokeep(["cleanup"]).assert_code(0);
    world.status();
    assert!(log.datagrams().is_empty(), "nothing has changed");
}

#[test]
fn an_entry_has_what_a_program_looks_for() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/two\nlines", Tmpfs, ReadOnly)]);
    let log = world.log_at(JOURNALD);
    world.rokeep_runs(&["/two\nlines", "--", "/tool/holder", "write", "/two\nlines/new"], b"").assert_code(0);
    let entries = log.entries();
    assert_eq!(entries.len(), 2, "{entries:?}");
    for entry in &entries {
        assert_eq!(entry["SYSLOG_IDENTIFIER"], b"rokeep");
        assert_eq!(entry["ROKEEP_MOUNT"], b"/two\nlines");
        assert_eq!(entry["MESSAGE_ID"].len(), 32);
    }
    assert_ne!(entries[0]["MESSAGE_ID"], entries[1]["MESSAGE_ID"]);
    assert_eq!(entries[1]["MESSAGE"], b"/two%0Alines is read-only again");
}

#[test]
fn what_could_not_go_back_is_an_error_and_said_once() {
    let world = Small::ext4().unlisted(&[CACHE]);
    world.begin();
    world.protect(&[]);
    let log = world.log_at(JOURNALD);
    let holder = world.hold(Mapped(CACHE));
    world.dpkg_removes(CACHE);
    assert!(world.aliases("/usr").is_empty(), "it came into use after the run had begun");
    world.end();
    let entries = log.entries();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["PRIORITY"], b"3");
    assert_eq!(entries[0]["ROKEEP_STATE"], b"degraded");
    let reason = String::from_utf8_lossy(&entries[0]["ROKEEP_REASON"]).into_owned();
    assert!(reason.contains(&format!("holder ({}) maps {CACHE}", holder.pid())), "{reason}");
    assert!(String::from_utf8_lossy(&entries[0]["MESSAGE"]).starts_with("/usr is degraded"));
    world.rokeep(["cleanup"]).assert_code(1);
    assert!(log.datagrams().is_empty(), "it is as it was");
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_changes(&log, &[("/usr read-only 6", "nobody needs it")]);
}

#[test]
fn what_stays_writable_is_an_error_too() {
    let world = Small::ext4().unlisted(&[CACHE]);
    let log = world.log_at(JOURNALD);
    world.begin();
    let writer = world.hold(Writing(CACHE));
    world.end();
    assert_changes(&log, &[("/usr writable 6", "apt-get"), ("/usr writable 3", &format!("holder ({})", writer.pid()))]);
}

#[test]
fn by_hand_and_why() {
    let world = Small::ext4();
    let log = world.log_at(JOURNALD);
    world.rokeep(["remount", "rw"]).assert_code(0);
    assert_changes(&log, &[("/usr writable 6", "root asked for it")]);
    world.begin();
    world.end();
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(log.datagrams().is_empty(), "it is as it was");
    world.rokeep(["remount", "ro"]).assert_code(0);
    assert_changes(&log, &[("/usr read-only 6", "")]);
    world.begin();
    world.hook_under(&["/tool/holder", "env", "NO_APT_REMOUNT=yes"], "post-invoke").assert_code(0);
    assert_changes(&log, &[("/usr writable 6", "apt-get ("), ("/usr writable 6", "NO_APT_REMOUNT=yes")]);
}

#[test]
fn an_apt_that_died_is_cleaned_up_after_and_that_is_heard() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    let log = world.log_at(JOURNALD);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.apt_dies();
    world.assert_within(std::time::Duration::from_secs(2), "it is over", || world.running_rokeeps().is_empty());
    assert_changes(&log, &[("/usr writable 6", "apt-get"), ("/usr read-only 6", "")]);
}

#[test]
fn where_there_is_no_journald_another_log_hears_it() {
    let world = Small::ext4();
    let log = world.log_at("/dev/log");
    world.begin();
    world.end();
    let said: Vec<_> = log.datagrams().iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("<30>rokeep[") && said[0].contains("]: /usr is writable for apt-get ("), "{said:?}");
    assert!(said[1].ends_with("]: /usr is read-only again"), "{said:?}");
}

/// Nobody reads there.
#[test]
fn a_log_that_does_not_answer_holds_up_nothing() {
    let world = Small::ext4();
    let (_journald, _other) = (world.log_at(JOURNALD), world.log_at("/dev/log"));
    let queue: usize =
        std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").expect("a number").trim().parse().expect("one");
    for _ in 0..queue / 2 + 2 {
        world.begin();
        world.end();
    }
    world.assert_mount("/usr", ReadOnly);
}
