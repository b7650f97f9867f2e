//! Before rokeep is removed: nothing of it is left on any mount, but for what would be deleted in use.

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Alias,
    Change::Upgrade,
    FileSystem::{self, Ext4},
    Small,
    State::Mapped,
};

const TOOL: &str = "/usr/bin/tool";
const DATA: &str = "/usr/lib/data";

/// An upgrade that got no further than one file of two, which is in use.
fn half_upgraded(world: &Small) {
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
}

#[test]
fn only_what_was_replaced_and_is_in_use_stays_and_is_said() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system).installed("tool", "1", &[TOOL, DATA]);
        let holder = world.hold(Mapped(TOOL));
        half_upgraded(&world);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_alias(DATA, Alias::Kept);

        let pid = format!("({})", holder.pid());
        world.rokeep(["release"]).assert_code(1).assert_says(&["kept while in use: 1 replaced file", &pid]);
        world.assert_alias(DATA, Alias::None);
        world.assert_alias(TOOL, Alias::Kept);
        assert_eq!(world.records(), 1, "{file_system:?}");
        world.assert_mount("/usr", ReadOnly);

        drop(holder);
        world.rokeep(["release"]).assert_code(0);
        world.assert_no_store("/usr");
        assert!(world.journal().is_empty());
        world.assert_mount("/usr", ReadOnly);
        world.assert_no_session();
    }
}

#[test]
fn what_no_journal_knows_goes_too() {
    let world = Small::on(Ext4).installed("tool", "1", &[TOOL, DATA]);
    half_upgraded(&world);
    world.removes("/var/lib/rokeep/journal.jsonl");
    world.rokeep(["release"]).assert_code(0);
    world.assert_no_store("/usr");
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn with_nothing_to_do_it_opens_nothing() {
    let world = Small::on(Ext4).installed("tool", "1", &[TOOL]);
    let before = world.mount_line("/usr");
    let run = world.rokeep(["release"]).assert_code(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    assert_eq!(world.mount_line("/usr"), before);
    assert!(world.journal().is_empty());
}

/// Whatever is in use there may still be replaced.
#[test]
fn it_is_refused_while_anybody_needs_what_there_is() {
    let world = Small::on(Ext4).installed("tool", "1", &[TOOL, DATA]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.rokeep(["release"]).assert_code(3).assert_says(&["is at work", "nothing was released"]);
    world.assert_alias(DATA, Alias::Kept);
    world.end();
    world.rokeep(["remount", "rw"]).assert_code(0);
    world.rokeep(["release"]).assert_code(3).assert_says(&["held by hand", "rokeep remount ro /usr"]);
    world.assert_alias(DATA, Alias::Kept);
    world.assert_mount("/usr", Writable);
    world.rokeep(["remount", "ro"]).assert_code(0);
    world.rokeep(["release"]).assert_code(0);
    world.assert_no_store("/usr");
}

/// Of what takes more than a second a person sees how far it is, and the line goes when it is done; a log sees nothing.
#[test]
fn how_far_it_is_is_for_terminals() {
    let slow = |settings: &[(&str, &str)]| {
        let world = Small::on(Ext4).installed("tool", "1", &[TOOL, DATA]);
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2")]);
        world.end();
        let first = [TOOL, DATA].into_iter().filter_map(|file| Some(world.inode(file)?.1)).min().expect("two files");
        (world.on_a_terminal_when_slow(&first.to_string(), settings, &["release"]), world)
    };
    let (seen, world) = slow(&[("TERM", "xterm")]);
    assert_eq!(seen, "\r\x1b[Krokeep: dropping 2 of 2 files\r\x1b[K");
    world.assert_no_store("/usr");
    for settings in [&[("TERM", "dumb")][..], &[]] {
        assert_eq!(slow(settings).0, "", "{settings:?}");
    }
}
