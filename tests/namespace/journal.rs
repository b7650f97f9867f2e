//! What was written down: read whole or not at all, and never thrown away because it is not understood.

use crate::support::small::{Access::ReadOnly, Alias, Change::Upgrade, Holder, Small, State::Mapped};

const JOURNAL: &str = "/var/lib/rokeep/journal.jsonl";
const TOOL: &str = "/usr/bin/tool";

/// An upgrade whose old file is still in use, and so in the journal.
fn with_a_held_file() -> (Small, Holder) {
    let world = Small::ext4().installed("tool", "1", &[TOOL]).installed("other", "1", &["/usr/bin/other"]);
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    assert!(!world.journal().is_empty());
    (world, holder)
}

#[test]
fn of_an_unknown_format_stops_apt_and_stays() {
    let (world, _holder) = with_a_held_file();
    let journal = world.journal();
    let newer = [b"{\"rokeep_journal\":999,\"more\":true}\n".as_slice(), &journal].concat();
    world.write(JOURNAL, &newer);
    world.hook("pre-invoke", None).assert_code(3).assert_says(&[JOURNAL, "999"]);
    assert_eq!(world.journal(), newer);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
    world.assert_alias(TOOL, Alias::Kept);

    world.rokeep(["cleanup"]).assert_code(3);
    assert_eq!(world.journal(), newer);
    assert!(!world.status().problems.is_empty());
}

#[test]
fn damaged_in_the_middle_stops_apt_and_stays() {
    let (world, _holder) = with_a_held_file();
    let journal = String::from_utf8(world.journal()).expect("text");
    let damaged = journal.replacen("\"mount\"", "\u{1b}\"mou", 1).into_bytes();
    world.write(JOURNAL, &damaged);
    world.hook("pre-invoke", None).assert_code(3).assert_says(&[JOURNAL]);
    assert_eq!(world.journal(), damaged);
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(TOOL, Alias::Kept);
}

/// The machine stopped while the last record was written; its alias had not been made.
#[test]
fn with_a_torn_end_is_read_up_to_there() {
    let (world, holder) = with_a_held_file();
    let torn = [world.journal().as_slice(), b"{\"mount\":\"/usr\",\"ino"].concat();
    world.write(JOURNAL, &torn);
    assert_eq!(world.status().mount("/usr").aliases.held, 1);
    world.begin();
    world.protect(&[Upgrade("other", "1", "2")]);
    world.dpkg_replaces("/usr/bin/other");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    assert!(!world.status().uses(TOOL, holder.pid()).is_empty(), "the whole records before it are known");
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

/// What it knew cannot be known again: which names a file had. As long as it has any, its alias stays.
#[test]
fn lost_altogether_costs_no_file() {
    let world = Small::ext4().installed("tool", "1", &[TOOL, "/usr/lib/data"]);
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    std::fs::remove_file(world.outside(JOURNAL)).expect("a loss");

    let aliases = world.status().mounts.remove(0).aliases;
    assert_eq!((aliases.held, aliases.unknown), (1, 1));
    world.rokeep(["cleanup"]);
    world.assert_alias(TOOL, Alias::Kept);
    world.assert_alias("/usr/lib/data", Alias::Kept);
    world.assert_mount("/usr", ReadOnly);
    drop(holder);
    world.rokeep(["cleanup"]);
    world.assert_alias(TOOL, Alias::None);
    world.assert_alias("/usr/lib/data", Alias::Kept);
}

#[test]
fn that_names_what_is_not_there_is_put_right() {
    let (world, _holder) = with_a_held_file();
    let journal = world.journal();
    let more = [journal.as_slice(), b"{\"mount\":\"/usr\",\"inode\":9999999,\"names\":[\"/usr/bin/never\"]}\n"];
    world.write(JOURNAL, &more.concat());
    world.begin();
    world.protect(&[]);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(TOOL, Alias::Kept);
    assert_eq!(world.status().mount("/usr").aliases.held, 1);
}
