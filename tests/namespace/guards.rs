//! Pre-Install-Pkgs: what no list names and somebody uses gets an alias for this run, a guard. The caches that triggers
//! make anew are of that kind, and every file that an administrator put there.
//!
//! Each scenario runs twice, with the same steps: without rokeep the kernel refuses to make the superblock read-only,
//! with it the superblock is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    Alias,
    Change::{self, Upgrade},
    FileSystem::{self, Btrfs, Exfat, Ext4, Overlay, Tmpfs, Xfs},
    Holder, Mount, Small,
    State::{Bound, Executed, Link, Mapped, Nameless, OfAThread, Open, OpenPath, Pipe, WithoutLeader},
    Where::{Chroot, OwnMounts, OwnPath, OwnProcesses},
};

const CACHE: &str = "/usr/lib/generated.cache";
const PROGRAM: &str = "/usr/local/program";

/// On these an inode can be reached whatever it is called.
const WITH_HANDLES: [FileSystem; 4] = [Ext4, Xfs, Btrfs, Tmpfs];

fn with_cache() -> Small {
    Small::ext4().unlisted(&[CACHE])
}

// ── in use and replaced ─────────────────────────────────────────────────────────────────────────────────────────────

/// Somebody uses a file and it is replaced: the mount goes back, and the old file stays for as long as it is in use.
#[track_caller]
fn assert_is_guarded(world: impl Fn() -> Small, hold: impl Fn(&Small) -> Holder, replace: impl Fn(&Small)) {
    let control = world();
    let holder = hold(&control);
    control.remount("rw", "/usr").expect("/usr can be written");
    replace(&control);
    assert_eq!(control.remount("ro", "/usr"), Err(Errno::EBUSY), "without rokeep the kernel must refuse");
    drop((holder, control));

    let world = world();
    let holder = hold(&world);
    world.begin();
    world.protect(&[]);
    replace(&world);
    world.end().assert_says(&["1 replaced file", &format!("({})", holder.pid())]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
    let status = world.status();
    assert_eq!(status.mount("/usr").aliases.held, 1, "{status:#?}");
    assert_eq!(status.mount("/usr").aliases.guards, 0, "{status:#?}");
    let holders = status.held.iter().flat_map(|held| &held.holders);
    assert_eq!(holders.filter_map(|known| known.pid).collect::<Vec<_>>(), [holder.pid()], "{status:#?}");
    assert_eq!(world.aliases("/usr").len(), 1);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(world.aliases("/usr").len(), 1, "in use is in use");

    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
    world.assert_mount("/usr", ReadOnly);
    assert_eq!(world.records(), 0);
}

#[test]
fn a_file_of_no_list_however_it_is_used() {
    for file_system in FileSystem::ALL {
        for state in [Mapped, Executed, Open, OpenPath, OfAThread, WithoutLeader] {
            assert_is_guarded(
                || Small::on(file_system).unlisted_program(PROGRAM),
                |world| world.hold(state(PROGRAM)),
                |world| world.rebuilds(PROGRAM),
            );
        }
    }
}

#[test]
fn is_called_what_it_was_called() {
    let world = with_cache();
    let holder = world.hold(Mapped(CACHE));
    world.begin();
    world.protect(&[]);
    world.assert_alias(CACHE, Alias::Kept);
    world.rebuilds(CACHE);
    world.end();
    world.assert_alias(CACHE, Alias::Kept);
    assert_eq!(world.status().uses(CACHE, holder.pid()), ["mapped"]);
}

/// As locale-gen does.
#[test]
fn a_file_that_is_removed_and_made_again() {
    assert_is_guarded(with_cache, |world| world.hold(Mapped(CACHE)), |world| world.removes_and_rebuilds(CACHE));
}

#[test]
fn a_file_that_is_removed() {
    assert_is_guarded(with_cache, |world| world.hold(Mapped(CACHE)), |world| world.removes(CACHE));
}

#[test]
fn a_file_that_is_moved_away_first() {
    let replace = |world: &Small| {
        world.renames(CACHE, "/usr/lib/generated.cache.old");
        world.write(CACHE, b"made again\n");
        world.removes("/usr/lib/generated.cache.old");
    };
    assert_is_guarded(with_cache, |world| world.hold(Mapped(CACHE)), replace);
}

#[test]
fn a_file_that_was_renamed_while_in_use() {
    const NOW: &str = "/usr/lib/renamed.cache";
    let hold = |world: &Small| {
        let holder = world.hold(Mapped(CACHE));
        world.writably(|| world.renames(CACHE, NOW));
        holder
    };
    assert_is_guarded(with_cache, hold, |world| world.rebuilds(NOW));
}

#[test]
fn a_file_opened_through_a_symbolic_link() {
    let world = || {
        let world = with_cache();
        world.writably(|| world.points("/usr/lib/link", "generated.cache"));
        world
    };
    assert_is_guarded(world, |world| world.hold(Mapped("/usr/lib/link")), |world| world.rebuilds(CACHE));
}

/// A list could not say some of these, and /proc does not say all of them in full.
#[test]
fn a_file_whatever_it_is_called() {
    let long = format!("/usr/lib/{}", "x".repeat(250));
    let deep = format!("/usr{}/file", format!("/{}", "d".repeat(254)).repeat(15));
    let names = ["/usr/lib/new\nline", "/usr/lib/gone (deleted)", "/usr/lib/ ", "/usr/lib/\\134", &long, &deep];
    for name in names {
        let world = || Small::ext4().unlisted(&[name]);
        assert_is_guarded(world, |world| world.hold(Mapped(name)), |world| world.rebuilds(name));

        let unchanged = world();
        let _holder = unchanged.hold(Open(name));
        unchanged.begin();
        unchanged.protect(&[]);
        unchanged.end();
        assert_left_nothing(&unchanged);
    }
    let name = OsStr::from_bytes(b"/usr/lib/\xff\xfe");
    let world = || Small::ext4().unlisted(&[name]);
    assert_is_guarded(world, |world| world.hold(Mapped(name)), |world| world.rebuilds(name));
}

// ── under another name, from somewhere else ─────────────────────────────────────────────────────────────────────────

const SAME: &str = "/usr/lib/same.cache";

fn with_two_names() -> Small {
    let world = with_cache();
    world.writably(|| world.links(CACHE, SAME));
    world
}

#[test]
fn a_file_that_loses_the_name_it_was_opened_by_and_the_other() {
    let replace = |world: &Small| {
        world.removes(SAME);
        world.rebuilds(CACHE);
    };
    assert_is_guarded(with_two_names, |world| world.hold(Mapped(SAME)), replace);
}

/// /proc has only the name that is gone.
#[test]
fn a_file_that_had_lost_the_name_it_was_opened_by() {
    let hold = |world: &Small| {
        let holder = world.hold(Mapped(SAME));
        world.writably(|| world.removes(SAME));
        holder
    };
    assert_is_guarded(with_two_names, hold, |world| world.rebuilds(CACHE));
}

#[test]
fn a_file_that_keeps_another_name_needs_no_guard_afterwards() {
    for (opened, replaced) in [(SAME, CACHE), (SAME, SAME), (CACHE, SAME)] {
        let world = with_two_names();
        let holder = world.hold(Mapped(opened));
        world.begin();
        world.protect(&[]);
        world.rebuilds(replaced);
        world.end();
        world.assert_mount("/usr", ReadOnly);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_no_store("/usr");
    }
}

#[test]
fn a_file_in_a_chroot() {
    let hold = |world: &Small| {
        world.jail("/srv/jail");
        world.hold_from(Chroot("/srv/jail"), Mapped(CACHE))
    };
    assert_is_guarded(with_cache, hold, |world| world.rebuilds(CACHE));
}

#[test]
fn a_file_in_another_mount_namespace() {
    for state in [Mapped, Open, OpenPath] {
        let hold = |world: &Small| world.hold_from(OwnMounts, state(CACHE));
        assert_is_guarded(with_cache, hold, |world| world.rebuilds(CACHE));
    }
    let hold = |world: &Small| world.hold_from(OwnMounts, Executed(PROGRAM));
    assert_is_guarded(|| Small::ext4().unlisted_program(PROGRAM), hold, |world| world.rebuilds(PROGRAM));
}

#[test]
fn a_file_in_another_pid_namespace() {
    let hold = |world: &Small| world.hold_from(OwnProcesses, Mapped(CACHE));
    assert_is_guarded(with_cache, hold, |world| world.rebuilds(CACHE));
}

/// What /proc calls it is not there, as seen from here.
#[test]
fn a_file_by_a_path_that_nobody_else_has() {
    for file_system in WITH_HANDLES {
        for state in [Mapped, Open, OpenPath] {
            let hold = |world: &Small| world.hold_from(OwnPath, state(CACHE));
            let world = || Small::on(file_system).unlisted(&[CACHE]);
            assert_is_guarded(world, hold, |world| world.rebuilds(CACHE));
        }
    }
}

/// What has that path here is a file system that answers nothing, or would let apt wait for ever.
#[test]
fn a_file_by_a_path_that_leads_into_a_dead_file_system_here() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/tmp/elsewhere", Exfat, Writable)]);
    let world = world.unlisted(&[CACHE]);
    let holder = world.hold_from(OwnPath, Mapped(CACHE));
    world.fuse_dies();
    world.begin();
    world.protect(&[]);
    world.rebuilds(CACHE);
    world.end().assert_says(&["1 replaced file"]);
    world.assert_mount("/usr", ReadOnly);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

/// overlayfs gives out no handle that leads back, unless it was mounted to be exported.
#[test]
fn on_overlayfs_not_a_file_by_a_path_that_nobody_else_has() {
    let world = Small::on(Overlay("")).unlisted(&[CACHE]);
    let holder = world.hold_from(OwnPath, Mapped(CACHE));
    world.begin();
    world.protect(&[]);
    world.rebuilds(CACHE);
    world.end().assert_says(&["degraded"]);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

const COVERED: &str = "/usr/lib/covered/cache";

/// There is a file that somebody will mount something over, and then it can be reached at another place only.
fn covered() -> Small {
    let world = Small::ext4().unlisted(&[COVERED]);
    world.bind("/usr/lib", "/tmp/lib");
    world.remount("bind,rw", "/tmp/lib").expect("it can be written where /usr can");
    world
}

#[test]
fn a_file_that_a_mount_covers() {
    let hold = |world: &Small| {
        let holder = world.hold(Mapped(COVERED));
        world.cover("/usr/lib/covered");
        holder
    };
    assert_is_guarded(covered, hold, |world| world.rebuilds("/tmp/lib/covered/cache"));

    let unchanged = covered();
    let _holder = hold(&unchanged);
    unchanged.begin();
    unchanged.protect(&[]);
    assert_eq!(unchanged.aliases("/usr").len(), 1);
    unchanged.end();
    assert_left_nothing(&unchanged);
}

// ── no regular file ─────────────────────────────────────────────────────────────────────────────────────────────────

const ODD: &str = "/usr/lib/odd";

#[test]
fn a_symbolic_link() {
    for file_system in FileSystem::ALL {
        let world = || {
            let world = Small::on(file_system);
            world.writably(|| world.points(ODD, "somewhere"));
            world
        };
        assert_is_guarded(world, |world| world.hold(Link(ODD)), |world| world.points(ODD, "elsewhere"));
    }
}

#[test]
fn a_pipe_and_a_device() {
    for (kind, state) in [(SFlag::S_IFIFO, Pipe(ODD)), (SFlag::S_IFIFO, OpenPath(ODD)), (SFlag::S_IFCHR, OpenPath(ODD))]
    {
        for file_system in FileSystem::ALL {
            let world = || {
                let world = Small::on(file_system);
                world.writably(|| world.makes_node(ODD, kind));
                world
            };
            assert_is_guarded(world, |world| world.hold(state), |world| world.rebuilds(ODD));
        }
    }
}

#[test]
fn a_socket_that_is_open_as_a_path() {
    let world = || {
        let world = Small::ext4();
        world.writably(|| world.makes_node(ODD, SFlag::S_IFSOCK));
        world
    };
    assert_is_guarded(world, |world| world.hold(OpenPath(ODD)), |world| world.rebuilds(ODD));
}

// ── when it goes ────────────────────────────────────────────────────────────────────────────────────────────────────

/// Nothing is left of this run.
#[track_caller]
fn assert_left_nothing(world: &Small) {
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
    world.assert_no_session();
    assert_eq!(world.records(), 0, "the journal remembers a guard that is gone");
    assert!(world.status().held.is_empty());
}

#[test]
fn a_guard_that_guarded_nothing_goes_with_the_run() {
    let given = |world: &Small| {
        world.links(CACHE, SAME);
        world.points(ODD, "somewhere");
        world.makes_node("/usr/lib/pipe", SFlag::S_IFIFO);
    };
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system).unlisted(&[CACHE]).unlisted_program(PROGRAM);
        world.writably(|| given(&world));
        world.jail("/srv/jail");
        let _holders = [
            world.hold(Mapped(CACHE)),
            world.hold(Executed(PROGRAM)),
            world.hold(OpenPath(SAME)),
            world.hold(Link(ODD)),
            world.hold(Pipe("/usr/lib/pipe")),
            world.hold_from(OwnMounts, Open(CACHE)),
            world.hold_from(OwnPath, Mapped(CACHE)),
            world.hold_from(Chroot("/srv/jail"), Open(PROGRAM)),
        ];
        world.begin();
        world.protect(&[]);
        assert_eq!(world.aliases("/usr").len(), 4, "{file_system:?}");
        assert_eq!(world.status().mount("/usr").aliases.guards, 4, "{file_system:?}");
        let run = world.end();
        assert_eq!(run.stderr, "", "where all is well there is nothing to say");
        assert_left_nothing(&world);
    }
}

/// The name it was opened by is gone, or nobody else's. But it has one: the alias is not all that is left.
#[test]
fn a_guard_without_a_name_goes_as_well() {
    for file_system in WITH_HANDLES {
        let world = Small::on(file_system).unlisted(&[CACHE]);
        world.writably(|| world.links(CACHE, SAME));
        let _holders = [world.hold_from(OwnPath, Mapped(SAME)), world.hold(Open(SAME))];
        world.writably(|| world.removes(SAME));
        world.begin();
        world.protect(&[]);
        world.assert_alias(CACHE, Alias::Kept);
        world.end();
        assert_left_nothing(&world);
    }
}

#[test]
fn a_guard_whose_file_was_replaced_goes_when_nobody_holds_it_any_more() {
    let world = with_cache();
    let holder = world.hold(Mapped(CACHE));
    world.begin();
    world.protect(&[]);
    world.rebuilds(CACHE);
    drop(holder);
    world.end();
    assert_left_nothing(&world);
}

#[test]
fn a_guard_whose_file_was_replaced_and_put_back_goes() {
    let world = with_cache();
    let _holder = world.hold(Mapped(CACHE));
    world.begin();
    world.protect(&[]);
    world.links(CACHE, SAME);
    world.rebuilds(CACHE);
    world.renames(SAME, CACHE);
    world.end();
    assert_left_nothing(&world);
}

#[test]
fn of_several_guards_only_that_of_the_replaced_file_stays() {
    let world = Small::ext4().unlisted(&[CACHE, "/usr/lib/other.cache"]);
    let holders = [world.hold(Mapped(CACHE)), world.hold(Mapped("/usr/lib/other.cache"))];
    world.begin();
    world.protect(&[]);
    world.rebuilds(CACHE);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(CACHE, Alias::Kept);
    world.assert_alias("/usr/lib/other.cache", Alias::None);
    assert_eq!(world.records(), 1);
    drop(holders);
}

/// The second run sees a process that uses what only our own alias leads to.
#[test]
fn what_an_earlier_run_replaced_stays_for_as_long_as_it_is_in_use() {
    for changes in [&[][..], &[Upgrade("tool", "1", "2")]] {
        for file_system in FileSystem::ALL {
            let world = Small::on(file_system).unlisted(&[CACHE]).installed("tool", "1", &["/usr/bin/tool"]);
            let holders = [world.hold(Mapped(CACHE)), world.hold(Mapped("/usr/bin/tool"))];
            world.begin();
            world.protect(&[Upgrade("tool", "1", "2")]);
            world.dpkg_replaces("/usr/bin/tool");
            world.rebuilds(CACHE);
            world.end();
            for _ in 0..2 {
                world.begin();
                world.protect(changes);
                if !changes.is_empty() {
                    world.dpkg_replaces("/usr/bin/tool");
                }
                world.end();
                world.assert_mount("/usr", ReadOnly);
                world.assert_alias(CACHE, Alias::Kept);
                world.assert_alias("/usr/bin/tool", Alias::Kept);
                assert_eq!(world.status().uses(CACHE, holders[0].pid()), ["mapped"]);
                assert_eq!(world.status().uses("/usr/bin/tool", holders[1].pid()), ["mapped"]);
            }
            drop(holders);
            world.rokeep(["cleanup"]).assert_code(0);
            assert_left_nothing(&world);
        }
    }
}

/// One that is unchanged, one that was replaced and is in use, one that was replaced and is not.
fn killed_in_the_middle() -> (Small, [Holder; 2]) {
    const FREE: &str = "/usr/lib/free.cache";
    let world = Small::ext4().unlisted(&[CACHE, FREE, "/usr/lib/unchanged.cache"]);
    let held = world.hold(Mapped(CACHE));
    let unchanged = world.hold(Mapped("/usr/lib/unchanged.cache"));
    let free = world.hold(Mapped(FREE));
    world.begin();
    world.protect(&[]);
    world.assert_alias(FREE, Alias::Kept);
    world.rebuilds(CACHE);
    world.rebuilds(FREE);
    drop(free);
    (world, [held, unchanged])
}

#[track_caller]
fn assert_only_the_held_one_is_left(world: &Small) {
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(CACHE, Alias::Kept);
    assert_eq!(world.aliases("/usr").len(), 1);
    assert_eq!(world.records(), 1);
}

#[test]
fn the_guards_of_a_killed_run_go_when_its_watch_ends_it() {
    let (world, holders) = killed_in_the_middle();
    world.apt_dies();
    world.assert_within(Duration::from_secs(2), "the session is over", || !world.has_session());
    assert_only_the_held_one_is_left(&world);
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_left_nothing(&world);
}

#[test]
fn the_guards_of_a_killed_run_go_with_the_next_command() {
    for command in ["recover", "cleanup"] {
        let (world, holders) = killed_in_the_middle();
        world.kill_rokeep();
        world.apt_dies();
        world.rokeep([command]).assert_code(0);
        assert_only_the_held_one_is_left(&world);
        drop(holders);
        world.rokeep(["cleanup"]).assert_code(0);
        assert_left_nothing(&world);
    }
}

#[test]
fn the_guards_of_a_killed_run_go_with_the_next_one() {
    let (world, _holders) = killed_in_the_middle();
    world.kill_rokeep();
    world.apt_dies();
    world.begin();
    world.protect(&[]);
    world.end();
    assert_only_the_held_one_is_left(&world);
}

#[test]
fn a_run_that_stops_before_dpkg_leaves_no_guard() {
    let world = with_cache();
    let _holder = world.hold(Mapped(CACHE));
    world.begin();
    world.protect(&[]);
    world.hook("pre-install-pkgs", Some(b"nonsense".to_vec())).assert_code(3);
    assert_left_nothing(&world);
}

// ── guard or not ────────────────────────────────────────────────────────────────────────────────────────────────────

const TOOL: &str = "/usr/bin/tool";

/// In one run, apt announces these, one after the other, and dpkg replaces nothing.
fn announced(announcements: &[&[Change]]) -> (Small, Holder) {
    let world = Small::ext4().installed("tool", "1", &[TOOL]);
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    announcements.iter().for_each(|changes| drop(world.protect(changes)));
    world.assert_alias(TOOL, Alias::Kept);
    (world, holder)
}

#[test]
fn a_file_that_is_listed_and_in_use_is_no_guard() {
    let (world, _holder) = announced(&[&[Upgrade("tool", "1", "2")]]);
    let aliases = world.status().mounts.remove(0).aliases;
    assert_eq!((aliases.guards, aliases.unchanged), (0, 1));
    world.end();
    // dpkg has not replaced it yet; the next run may.
    world.assert_alias(TOOL, Alias::Kept);
    assert_eq!(world.status().mount("/usr").aliases.unchanged, 1);
}

#[test]
fn a_guard_whose_file_is_announced_later_is_none_any_more() {
    let upgrade = [Upgrade("tool", "1", "2")];
    for announcements in [[&[][..], &upgrade], [&upgrade, &[]]] {
        let (world, _holder) = announced(&announcements);
        let aliases = world.status().mounts.remove(0).aliases;
        assert_eq!((aliases.guards, aliases.unchanged), (0, 1));
        world.end();
        world.assert_alias(TOOL, Alias::Kept);
        assert_eq!(world.status().mount("/usr").aliases.unchanged, 1);
    }
}

#[test]
fn an_alias_of_an_earlier_run_is_no_guard() {
    let (world, _holder) = announced(&[&[Upgrade("tool", "1", "2")]]);
    world.end();
    world.begin();
    world.protect(&[]);
    world.end();
    world.assert_alias(TOOL, Alias::Kept);
    assert_eq!(world.status().mount("/usr").aliases.unchanged, 1);
}

#[test]
fn a_guard_whose_file_dpkg_replaces_unannounced_is_kept_like_any_alias() {
    let (world, holder) = announced(&[&[]]);
    assert_eq!(world.status().mount("/usr").aliases.guards, 1);
    world.dpkg_replaces(TOOL);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(TOOL, Alias::Kept);
    assert!(!world.status().uses(TOOL, holder.pid()).is_empty());
}

/// Each store has a link of it. "There is another link" is true of both, until one is gone.
#[test]
fn two_guards_of_one_file_do_not_vouch_for_each_other() {
    for hold in [
        |world: &Small| world.hold(Mapped(CACHE)),
        |world: &Small| world.hold(Mapped("/srv/generated.cache")),
        |world: &Small| world.hold_from(OwnPath, Mapped(CACHE)),
    ] {
        let world = with_cache();
        world.write("/etc/rokeep/config.toml", b"mounts = ['/usr', '/srv']\n");
        world.bind("/usr/lib", "/srv");
        let holder = hold(&world);
        world.begin();
        world.protect(&[]);
        world.rebuilds(CACHE);
        world.end();
        world.assert_mount("/usr", ReadOnly);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_no_store("/usr");
        world.assert_no_store("/srv");
    }
}

/// The same, of guards that never had a name; the second store became one of ours only after the first run.
#[test]
fn two_guards_of_one_file_without_a_name_do_not_vouch_for_each_other() {
    let world = covered();
    world.bind("/usr/lib", "/srv");
    world.cover("/srv/covered");
    let holder = world.hold(Mapped(COVERED));
    world.cover("/usr/lib/covered");
    world.write("/etc/rokeep/config.toml", b"mounts = ['/srv']\n");
    world.begin();
    world.protect(&[]);
    world.rebuilds("/tmp/lib/covered/cache");
    world.end();
    assert_eq!((world.aliases("/usr").len(), world.aliases("/srv").len()), (0, 1));
    world.write("/etc/rokeep/config.toml", b"mounts = ['/usr', '/srv']\n");
    for _ in 0..2 {
        world.begin();
        world.protect(&[]);
        assert_eq!((world.aliases("/usr").len(), world.aliases("/srv").len()), (1, 1));
        world.end();
        world.assert_mount("/usr", ReadOnly);
    }
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
    world.assert_no_store("/srv");
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn only_on_managed_mounts() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Tmpfs, Writable)]);
    world.write("/opt/file", b"");
    world.write("/etc/file", b"");
    let _holders = [world.hold(Mapped("/opt/file")), world.hold(Mapped("/etc/file"))];
    world.begin();
    world.protect(&[]);
    world.assert_no_store("/opt");
    world.assert_no_store("");
    assert!(world.aliases("/usr").is_empty());
}

/// On btrfs the numbers of two files may be the same.
#[test]
fn each_on_its_own_mount() {
    let world = Small::with(&[Mount("/usr", Btrfs, ReadOnly), Mount("/opt", Btrfs, ReadOnly)])
        .unlisted(&["/usr/lib/one", "/opt/lib/one"]);
    let _holders = [world.hold(Mapped("/usr/lib/one")), world.hold(Mapped("/opt/lib/one"))];
    world.begin();
    world.protect(&[]);
    world.assert_alias("/usr/lib/one", Alias::Kept);
    world.assert_alias("/opt/lib/one", Alias::Kept);
    assert_eq!((world.aliases("/usr").len(), world.aliases("/opt").len()), (1, 1));
    world.rebuilds("/opt/lib/one");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_mount("/opt", ReadOnly);
    world.assert_no_store("/usr");
    world.assert_alias("/opt/lib/one", Alias::Kept);
}

// ── what cannot have one ────────────────────────────────────────────────────────────────────────────────────────────

/// Nobody can give it a name again. It is left, and it stops nothing.
#[test]
fn a_file_that_is_deleted_already_is_left_alone() {
    for file_system in FileSystem::ALL {
        let world = Small::with(&[Mount("/usr", file_system, ReadOnlyMount)]).unlisted(&[CACHE]);
        let found = world.mount_line("/usr");
        let holders = [Mapped(CACHE), Open(CACHE), OpenPath(CACHE)].map(|state| world.hold(state));
        world.writably(|| world.removes(CACHE));
        world.begin();
        world.protect(&[]);
        assert!(world.aliases("/usr").is_empty());
        world.end();
        assert_eq!(world.mount_line("/usr"), found);
        world.assert_no_store("/usr");
        assert_eq!(world.records(), 0);
        drop(holders);
    }
}

/// The kernel would permit to give it one. It is not ours to publish.
#[test]
fn a_file_that_has_no_name_yet_gets_none_from_us() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system);
        world.begin();
        let holder = world.hold(Nameless("/usr/lib"));
        world.protect(&[]);
        assert!(world.aliases("/usr").is_empty(), "{file_system:?}");
        drop(holder);
        world.end();
        assert_left_nothing(&world);
    }
}

#[test]
fn a_file_that_can_have_no_other_name_stops_nobody() {
    let world = with_cache();
    world.writably(|| world.immutable(CACHE, "+i"));
    let _holder = world.hold(Mapped(CACHE));
    world.begin();
    world.protect(&[]);
    world.assert_alias(CACHE, Alias::None);
    world.end();
    assert_left_nothing(&world);
}

/// What has no descriptor that leads to it, /proc does not show.
#[test]
fn the_name_of_a_socket_is_not_seen() {
    let world = Small::ext4();
    let bound = world.writably(|| world.hold(Bound(ODD)));
    world.begin();
    world.protect(&[]);
    world.removes(ODD);
    world.end().assert_says(&["degraded"]);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(bound);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}
