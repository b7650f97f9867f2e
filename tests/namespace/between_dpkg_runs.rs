//! dpkg's own hook. apt runs dpkg several times; a service that one of them restarts maps files that a later one replaces.

use std::os::unix::fs::MetadataExt;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    Alias,
    Change::Upgrade,
    FileSystem::{self, Ext4, Tmpfs},
    Mount, Run, STREAM_HEAD, Small,
    State::{Executed, Mapped, OpenPath},
};

const JOURNAL: &str = "/var/lib/rokeep/journal.jsonl";
const CACHE: &str = "/usr/lib/generated.cache";
const TOOL: &str = "/usr/bin/tool";

/// A package is upgraded, and there is a cache that a trigger will make anew.
fn upgradable(file_system: FileSystem) -> Small {
    Small::on(file_system).installed_program("tool", "1", TOOL).unlisted(&[CACHE])
}

#[track_caller]
fn dpkg_starts(world: &Small) -> Run {
    let run = world.hook("dpkg-pre-invoke", None).assert_code(0);
    assert_eq!(run.stderr, "", "all is well");
    run
}

fn begun(world: &Small) {
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    dpkg_starts(world);
    world.dpkg_replaces(TOOL);
}

/// Without it nobody sees what is in use since then.
#[test]
fn what_is_in_use_since_the_run_began_gets_a_guard() {
    for file_system in FileSystem::ALL {
        for dpkg_has_our_hook in [false, true] {
            let world = upgradable(file_system);
            begun(&world);
            let holder = world.hold(Mapped(CACHE));
            if dpkg_has_our_hook {
                dpkg_starts(&world);
                world.assert_alias(CACHE, Alias::Kept);
            }
            world.rebuilds(CACHE);
            world.end();
            world.assert_mount("/usr", if dpkg_has_our_hook { ReadOnly } else { ReadOnlyMount });
            world.assert_alias(CACHE, if dpkg_has_our_hook { Alias::Kept } else { Alias::None });
            drop(holder);
            world.rokeep(["cleanup"]).assert_code(0);
            world.assert_mount("/usr", ReadOnly);
            world.assert_no_store("/usr");
        }
    }
}

/// A service is restarted with the new version, and the package is unpacked once more.
#[test]
fn what_this_very_run_has_installed_gets_a_guard() {
    for dpkg_has_our_hook in [false, true] {
        let world = upgradable(Ext4);
        begun(&world);
        world.write_program("/usr/bin/tool.new");
        world.renames("/usr/bin/tool.new", TOOL);
        let holder = world.hold(Executed(TOOL));
        if dpkg_has_our_hook {
            dpkg_starts(&world);
        }
        world.dpkg_replaces(TOOL);
        world.end();
        world.assert_mount("/usr", if dpkg_has_our_hook { ReadOnly } else { ReadOnlyMount });
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
    }
}

/// Who has not run since is not asked again, and is not found to use what has no alias any more.
#[test]
fn only_who_has_run_since_is_looked_at() {
    for file_system in FileSystem::ALL {
        let world = upgradable(file_system).unlisted(&["/usr/lib/another.cache"]);
        let mut holder = world.will_hold(Mapped(CACHE));
        let _sleeper = world.hold(Mapped("/usr/lib/another.cache"));
        begun(&world);
        world.assert_alias("/usr/lib/another.cache", Alias::Kept);
        world.somebody_removes_the_alias_of("/usr/lib/another.cache");
        holder.holds_now();
        dpkg_starts(&world);
        world.assert_alias(CACHE, Alias::Kept);
        world.assert_alias("/usr/lib/another.cache", Alias::None);
    }
}

/// Its guard went with the run that it was made for.
#[test]
fn in_the_next_run_everybody_is_looked_at() {
    let world = upgradable(Ext4);
    let _sleeper = world.hold(Mapped(CACHE));
    for _ in 0..2 {
        world.begin();
        dpkg_starts(&world);
        world.assert_alias(CACHE, Alias::Kept);
        world.end();
        world.assert_no_store("/usr");
    }
}

#[test]
fn whom_it_has_looked_at_is_nobodys_business_when_the_run_is_over() {
    let world = upgradable(Ext4);
    begun(&world);
    let looks = world.outside("/run/rokeep/looks.json");
    assert_eq!(looks.symlink_metadata().expect("there by now").mode() & 0o777, 0o600);
    world.end();
    assert!(looks.symlink_metadata().is_err());
}

/// Then it looks at everybody.
#[test]
fn what_it_cannot_read_of_earlier_looks_stops_nothing() {
    let world = upgradable(Ext4);
    let _sleeper = world.hold(Mapped(CACHE));
    begun(&world);
    world.somebody_removes_the_alias_of(CACHE);
    world.write("/run/rokeep/looks.json", b"{\"mounts\":[1],\"another\":[]}");
    dpkg_starts(&world);
    world.assert_alias(CACHE, Alias::Kept);
}

#[test]
fn its_guards_go_like_any_other() {
    let world = upgradable(Ext4);
    begun(&world);
    let _holder = world.hold(OpenPath(CACHE));
    dpkg_starts(&world);
    assert_eq!(world.status().mount("/usr").aliases.guards, 1);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
    assert_eq!(world.records(), 0);
}

#[test]
fn what_was_announced_stays_announced() {
    let world = upgradable(Ext4);
    world.begin();
    let _holder = world.hold(Mapped(TOOL));
    world.protect(&[Upgrade("tool", "1", "2")]);
    dpkg_starts(&world);
    let aliases = world.status().mounts.remove(0).aliases;
    assert_eq!((aliases.unchanged, aliases.guards), (1, 0));
    world.end();
    world.assert_alias(TOOL, Alias::Kept);
}

/// Once for each dpkg, of which there may be hundreds.
#[test]
fn it_writes_nothing_where_there_is_nothing_new() {
    let world = upgradable(Ext4);
    begun(&world);
    let _holder = world.hold(Mapped(CACHE));
    dpkg_starts(&world);
    let (journal, aliases) = (world.journal(), world.aliases("/usr"));
    for _ in 0..3 {
        dpkg_starts(&world);
        assert_eq!(world.journal(), journal);
        assert_eq!(world.aliases("/usr"), aliases);
    }
}

// ── when it has nothing to do ───────────────────────────────────────────────────────────────────────────────────────

/// Somebody made it writable by hand and runs dpkg.
#[test]
fn on_a_mount_that_is_writable_anyway_it_does_nothing() {
    let world = Small::with(&[Mount("/usr", Ext4, Writable)]).unlisted(&[CACHE]);
    let _holder = world.hold(Mapped(CACHE));
    dpkg_starts(&world);
    world.assert_no_store("/usr");
    assert!(world.journal().is_empty());
}

#[test]
fn for_another_root_it_does_nothing() {
    let world = upgradable(Ext4);
    begun(&world);
    let _holder = world.hold(Mapped(CACHE));
    world.hook_under(&["/tool/holder", "env", "DPKG_ROOT=/srv/x"], "dpkg-pre-invoke").assert_code(0);
    world.assert_alias(CACHE, Alias::None);
    world.hook_under(&["/tool/holder", "env", "DPKG_ROOT="], "dpkg-pre-invoke").assert_code(0);
    world.assert_alias(CACHE, Alias::Kept);
}

#[test]
fn in_a_dry_run_it_does_nothing() {
    let world = upgradable(Ext4);
    let _holder = world.hold(Mapped(CACHE));
    world.begin();
    let dry = STREAM_HEAD.replacen("Quiet::", "Debug::pkgDPkgPM=1\nQuiet::", 1);
    world.hook("pre-install-pkgs", Some(dry.into_bytes())).assert_code(0);
    world.assert_alias(CACHE, Alias::None);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
}

// ── when it cannot ──────────────────────────────────────────────────────────────────────────────────────────────────

/// dpkg has started. Nothing of ours may stop it now; what gets no guard leaves the mount degraded at worst.
#[track_caller]
fn assert_dpkg_goes_on(world: &Small, says: &[&str]) {
    world.hook("dpkg-pre-invoke", None).assert_code(0).assert_says(says);
    world.assert_alias(CACHE, Alias::None);
    world.assert_mount("/usr", Writable);
}

#[test]
fn a_journal_that_is_broken_does_not_stop_dpkg() {
    for broken in ["{\"rokeep_journal\":999}\n", "hello\nworld\n"] {
        let world = upgradable(Ext4);
        begun(&world);
        let _holder = world.hold(Mapped(CACHE));
        world.write(JOURNAL, broken.as_bytes());
        assert_dpkg_goes_on(&world, &[JOURNAL]);
        assert_eq!(world.journal(), broken.as_bytes());
    }
}

#[test]
fn a_session_that_is_broken_does_not_stop_dpkg() {
    let world = upgradable(Ext4);
    begun(&world);
    let _holder = world.hold(Mapped(CACHE));
    world.write("/run/rokeep/session.json", b"hello\n");
    assert_dpkg_goes_on(&world, &["session"]);
}

#[test]
fn a_disk_with_no_room_for_the_journal_does_not_stop_dpkg() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/var/lib/rokeep", Tmpfs, Writable)]);
    // What is left of the last page takes a few names, but not this one.
    let long = format!("/usr{}/file", format!("/{}", "%".repeat(254)).repeat(15));
    let world = world.installed_program("tool", "1", TOOL).unlisted(&[CACHE, &long]);
    begun(&world);
    let _holders = [world.hold(Mapped(CACHE)), world.hold(Mapped(&long))];
    world.fill("/var/lib/rokeep");
    assert_dpkg_goes_on(&world, &[JOURNAL, "No space left"]);
}

/// A link takes no room of its own where its directory has some left: whether there is a guard is for the disk to say.
#[test]
fn a_full_file_system_does_not_stop_dpkg() {
    for file_system in [Ext4, Tmpfs] {
        let world = upgradable(file_system);
        begun(&world);
        let _holder = world.hold(Mapped(CACHE));
        world.fill("/usr");
        world.hook("dpkg-pre-invoke", None).assert_code(0);
        world.removes("/usr/ballast");
        world.end();
        world.assert_mount("/usr", ReadOnly);
    }
}

#[test]
fn somebody_who_is_not_root_is_not_stopped() {
    let world = upgradable(Ext4);
    let journal = world.journal();
    world.hook_under(&["/tool/holder", "nobody"], "dpkg-pre-invoke").assert_code(0);
    world.begin();
    world.hook_under(&["/tool/holder", "nobody"], "dpkg-pre-invoke").assert_code(0);
    assert!(world.aliases("/usr").is_empty());
    assert_eq!(world.journal(), journal);
}
