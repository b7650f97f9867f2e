//! A dpkg that nobody announced: a person calls it, or a program that goes round apt. Its own hooks do what apt's would.

use std::time::Duration;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable, WriteProtected},
    Alias,
    Change::Upgrade,
    Dpkg,
    FileSystem::{self, Ext4},
    Mount, Small,
    State::{Executed, Mapped, Writing},
};

const TOOL: &str = "/usr/bin/tool";
const CACHE: &str = "/usr/lib/generated.cache";
const ARCHIVE: &str = "var/cache/apt/archives/tool_2_amd64.deb";
const MOMENT: Duration = Duration::from_secs(2);

/// A package is installed, the archive of its next version lies there, and there is a cache that a trigger would make anew.
fn upgradable(file_system: FileSystem) -> Small {
    let world = Small::on(file_system).installed_program("tool", "1", TOOL).unlisted(&[CACHE]);
    world.archive("tool", "2", &[], &[TOOL]);
    world
}

fn install(world: &Small) -> Dpkg<'_> {
    world.dpkg("install", &["-i", ARCHIVE])
}

#[track_caller]
fn assert_touches_nothing(world: &Small, calls: impl FnOnce()) {
    let (found, journal) = (world.mount_line("/usr"), world.journal());
    calls();
    assert_eq!((world.mount_line("/usr"), world.journal()), (found, journal));
    world.assert_no_session();
    world.assert_no_store("/usr");
}

fn frontends(world: &Small) -> Vec<u32> {
    let session = world.status().session.expect("a session is open");
    session.frontends.iter().map(|frontend| frontend.pid).collect()
}

// ── a good run ──────────────────────────────────────────────────────────────────────────────────────────────────────

/// The file comes into use only after dpkg has called us: nothing but the plan can have kept it.
#[test]
fn what_it_replaces_is_kept_and_the_mount_put_back() {
    for file_system in FileSystem::ALL {
        let world = upgradable(file_system);
        let found = world.mount_line("/usr");
        let dpkg = install(&world);
        dpkg.begins();
        world.assert_mount("/usr", Writable);
        assert_eq!(frontends(&world), [dpkg.pid()]);
        let holder = world.hold(Executed(TOOL));
        world.dpkg_replaces(TOOL);
        dpkg.is_done().assert_says(&["kept while in use"]);
        assert_eq!(world.mount_line("/usr"), found);
        world.assert_no_session();
        world.assert_alias(TOOL, Alias::Kept);
        drop((holder, dpkg));
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_is_ended();
        world.assert_no_store("/usr");
    }
}

/// Of whatever came into use since then, only what the plan has can be kept.
#[test]
fn control_what_no_command_line_told_is_not_kept() {
    let world = upgradable(Ext4);
    let dpkg = world.dpkg("configure", &["--configure", "-a"]);
    dpkg.begins();
    let _holder = world.hold(Executed(TOOL));
    world.dpkg_replaces(TOOL);
    dpkg.is_done().assert_says(&["degraded"]);
    world.assert_mount("/usr", ReadOnlyMount);
}

#[test]
fn its_command_line_tells_what_it_will_replace() {
    for (action, words) in [
        ("install", &["-i", ARCHIVE][..]),
        ("install", &["--status-fd", "2", "-GB", "--install", "--", "/var/cache/apt/archives/tool_2_amd64.deb"]),
        ("unpack", &["--force-depends", "--unpack", ARCHIVE]),
        ("install", &["-R", "--install", "var/cache"]),
        ("remove", &["-r", "tool"]),
        ("remove", &["--remove", "tool:amd64"]),
        ("purge", &["--purge", "--", "no-such-package", "tool"]),
    ] {
        let world = upgradable(Ext4);
        let dpkg = world.dpkg(action, words);
        dpkg.begins();
        assert_eq!(world.status().mount("/usr").aliases.unchanged, 1, "{words:?}");
        world.assert_alias(TOOL, Alias::Kept);
    }
}

#[test]
fn what_it_will_not_replace_gets_no_alias() {
    for (action, words) in [
        ("configure", &["--configure", "tool"][..]),
        ("triggers-only", &["--triggers-only", "-a"]),
        ("remove", &["-r", "tool:i386"]),
        ("remove", &["-r", "--pending"]),
        ("install", &["-i", "tool_2_amd64.deb"]),
    ] {
        let world = upgradable(Ext4);
        let dpkg = world.dpkg(action, words);
        dpkg.begins();
        world.assert_mount("/usr", Writable);
        world.assert_alias(TOOL, Alias::None);
    }
}

#[test]
fn what_is_selected_for_removal_is_what_pending_means() {
    for (action, words) in [("remove", ["-r", "--pending"]), ("purge", ["-P", "-a"])] {
        let world = upgradable(Ext4);
        let status = String::from_utf8(std::fs::read(world.outside("/var/lib/dpkg/status")).expect("a status"));
        let selected = status.expect("text").replace("install ok installed", "deinstall ok installed");
        world.write("/var/lib/dpkg/status", selected.as_bytes());
        let dpkg = world.dpkg(action, &words);
        dpkg.begins();
        world.assert_alias(TOOL, Alias::Kept);
    }
}

#[test]
fn a_version_that_it_skips_gets_no_alias() {
    for (option, alias) in [("-E", Alias::None), ("-G", Alias::Kept)] {
        let world = upgradable(Ext4);
        world.archive("tool", "1", &[], &[TOOL]);
        let dpkg = world.dpkg("install", &[option, "-i", "var/cache/apt/archives/tool_1_amd64.deb"]);
        dpkg.begins();
        world.assert_alias(TOOL, alias);
    }
}

#[test]
fn what_is_in_use_is_kept_whatever_it_was_asked_to_do() {
    for (action, words) in [
        ("configure", &["--configure", "-a"][..]),
        ("triggers-only", &["--triggers-only", "-a"]),
        ("install", &["-i", ARCHIVE]),
        ("remove", &["-r", "tool"]),
    ] {
        let world = upgradable(Ext4);
        let _holder = world.hold(Mapped(CACHE));
        let dpkg = world.dpkg(action, words);
        dpkg.begins();
        world.rebuilds(CACHE);
        dpkg.is_done();
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias(CACHE, Alias::Kept);
    }
}

/// It is replaced by the second of two runs, whose command line tells of no package.
#[test]
fn a_conffile_has_its_alias_since_it_was_unpacked() {
    const CONFFILE: &str = "/usr/lib/tool.conf";
    let world = Small::ext4().installed("tool", "1", &[TOOL, CONFFILE]);
    world.archive("tool", "2", &[], &[TOOL, CONFFILE]);
    let dpkg = world.dpkg("unpack", &["--unpack", ARCHIVE]);
    dpkg.begins();
    world.dpkg_replaces(TOOL);
    dpkg.is_done();
    drop(dpkg);
    world.assert_is_ended();
    let dpkg = world.dpkg("configure", &["--configure", "--pending"]);
    dpkg.begins();
    let _holder = world.hold(Mapped(CONFFILE));
    world.dpkg_replaces(CONFFILE);
    dpkg.is_done();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(CONFFILE, Alias::Kept);
}

/// It has its own program and libraries in use until it is gone, and its database locked.
#[test]
fn what_it_held_itself_goes_when_it_has_gone() {
    let world = upgradable(Ext4);
    let held_by_dpkg = world.hold(Executed(TOOL));
    let dpkg = install(&world);
    dpkg.begins();
    world.dpkg_replaces(TOOL);
    dpkg.is_done();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(TOOL, Alias::Kept);
    drop(held_by_dpkg);
    drop(dpkg);
    world.assert_within(MOMENT, "the store is gone", || world.aliases("/usr").is_empty());
    world.assert_is_ended();
}

// ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────────

/// A lock that somebody has, an archive that is missing, a signal: it calls no other hook.
#[test]
fn the_session_of_one_that_is_never_done_is_ended_in_its_place() {
    let world = upgradable(Ext4);
    let dpkg = install(&world);
    dpkg.begins();
    world.dpkg_replaces(TOOL);
    drop(dpkg);
    world.assert_is_ended();
    world.assert_no_store("/usr");
}

#[test]
fn where_nothing_can_become_writable_it_is_stopped() {
    let world = Small::with(&[Mount("/usr", Ext4, WriteProtected)]);
    let dpkg = world.dpkg("configure", &["--configure", "-a"]);
    assert_touches_nothing(&world, || {
        let says = ["/usr", "write-protected", "dpkg was stopped before it did anything", "as it was found"];
        dpkg.hook("dpkg-pre-invoke").assert_code(3).assert_says(&says);
    });
}

#[test]
fn where_it_is_not_known_what_will_be_replaced_it_is_stopped() {
    let world = upgradable(Ext4);
    world.removes("/var/lib/dpkg/info/tool.list");
    let dpkg = install(&world);
    assert_touches_nothing(&world, || {
        dpkg.hook("dpkg-pre-invoke").assert_code(3).assert_says(&["lost the list", "dpkg was stopped"]);
    });
}

#[test]
fn a_session_that_is_broken_stops_it() {
    let world = upgradable(Ext4);
    world.write("/run/rokeep/session.json", b"hello\n");
    install(&world).hook("dpkg-pre-invoke").assert_code(3).assert_says(&["session", "dpkg was stopped"]);
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn who_called_the_hook_must_be_known_where_something_is_read_only() {
    let world = upgradable(Ext4);
    assert_touches_nothing(&world, || {
        world.hook("dpkg-pre-invoke", None).assert_code(3).assert_says(&["no dpkg called this hook"]);
    });
}

#[test]
fn a_command_line_that_is_not_understood_protects_what_is_in_use() {
    for (action, words) in [("install", &["--option-of-tomorrow", "-i", ARCHIVE][..]), ("unpack", &["-i", ARCHIVE])] {
        let world = upgradable(Ext4);
        let _holder = world.hold(Mapped(CACHE));
        let dpkg = world.dpkg(action, words);
        dpkg.begins().assert_says(&["only what is in use is protected", "not understood"]);
        world.assert_alias(CACHE, Alias::Kept);
        world.assert_alias(TOOL, Alias::None);
    }
}

/// dpkg will say that, and go on with the others, or not.
#[test]
fn an_archive_that_cannot_be_read_is_no_obstacle() {
    let world = upgradable(Ext4);
    world.write("/tmp/none.deb", b"hello\n");
    let dpkg = world.dpkg("install", &["-i", "tmp/none.deb", "tmp/missing.deb", ARCHIVE]);
    dpkg.begins().assert_says(&["/tmp/none.deb", "/tmp/missing.deb"]);
    world.assert_alias(TOOL, Alias::Kept);
}

#[test]
fn a_writer_at_its_end_does_not_fail_it() {
    let world = upgradable(Ext4);
    let dpkg = install(&world);
    dpkg.begins();
    let _writer = world.hold(Writing(CACHE));
    dpkg.is_done().assert_says(&["still WRITABLE"]);
}

/// There is a session, for the mount that could not go back; nobody is at work in it.
#[test]
fn a_mount_that_an_earlier_run_left_degraded_is_opened_and_finished() {
    let world = upgradable(Ext4);
    let found = world.mount_line("/usr");
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    let holder = world.hold(Mapped(CACHE));
    world.rebuilds(CACHE);
    world.end().assert_says(&["degraded"]);
    let dpkg = install(&world);
    dpkg.begins();
    world.assert_mount("/usr", Writable);
    drop(holder);
    world.dpkg_replaces(TOOL);
    dpkg.is_done();
    assert_eq!(world.mount_line("/usr"), found);
}

// ── when it has nothing to do ───────────────────────────────────────────────────────────────────────────────────────

#[test]
fn one_that_only_pretends_finds_nothing_done() {
    for option in ["--no-act", "--dry-run", "--simulate"] {
        let world = upgradable(Ext4);
        let dpkg = world.dpkg("install", &[option, "-i", ARCHIVE]);
        assert_touches_nothing(&world, || drop(dpkg.begins()));
        assert_touches_nothing(&world, || drop(dpkg.is_done()));
    }
}

#[test]
fn one_that_works_elsewhere_or_may_not_finds_nothing_done() {
    for program in [
        &["/tool/holder", "env", "DPKG_ROOT=/srv/x"][..],
        &["/tool/holder", "env", "DPKG_ADMINDIR=/srv/x/var/lib/dpkg"],
        &["/tool/holder", "nobody"],
    ] {
        let world = upgradable(Ext4);
        let dpkg = install(&world);
        for hook in ["dpkg-pre-invoke", "dpkg-post-invoke"] {
            assert_touches_nothing(&world, || drop(dpkg.hook_under(program, hook).assert_code(0)));
        }
    }
}

#[test]
fn one_that_works_here_may_say_so() {
    for setting in ["DPKG_ROOT=/", "DPKG_ADMINDIR=/var/lib/dpkg/", "DPKG_ADMINDIR=//var/lib/dpkg"] {
        let world = upgradable(Ext4);
        let dpkg = install(&world);
        dpkg.hook_under(&["/tool/holder", "env", setting], "dpkg-pre-invoke").assert_code(0);
        world.assert_mount("/usr", Writable);
    }
}

#[test]
fn where_everything_is_writable_it_does_nothing() {
    let world = Small::with(&[Mount("/usr", Ext4, Writable)]).unlisted(&[CACHE]);
    let _holder = world.hold(Mapped(CACHE));
    let dpkg = world.dpkg("configure", &["--configure", "-a"]);
    assert_touches_nothing(&world, || drop(dpkg.begins()));
    assert_touches_nothing(&world, || drop(dpkg.is_done()));
}

// ── beside others ───────────────────────────────────────────────────────────────────────────────────────────────────

/// Called by apt, or by a script of a package: either way it is one of apt's.
#[test]
fn within_apt_there_is_one_session_and_it_is_apts() {
    let world = upgradable(Ext4);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    let apt = frontends(&world);
    let _holder = world.hold(Mapped(CACHE));
    let run = world.hook_of_apts_dpkg("dpkg-pre-invoke").assert_code(0);
    assert_eq!(run.stderr, "", "it need not know what it was asked to do");
    world.assert_alias(CACHE, Alias::Kept);
    assert_eq!(frontends(&world), apt);
    world.hook_of_apts_dpkg("dpkg-post-invoke").assert_code(0);
    world.assert_mount("/usr", Writable);
    assert_eq!(frontends(&world), apt);
    world.end();
    world.assert_mount("/usr", ReadOnly);
}

/// aptitude has its dpkg finish what went wrong, when apt's hooks are all done.
#[test]
fn after_apts_last_hook_it_has_a_session_of_its_own() {
    let world = upgradable(Ext4);
    world.begin();
    world.end();
    world.assert_mount("/usr", ReadOnly);
    let dpkg = world.dpkg("configure", &["--configure", "-a"]);
    dpkg.begins();
    world.assert_mount("/usr", Writable);
    assert_eq!(frontends(&world), [dpkg.pid()]);
    dpkg.is_done();
    world.assert_mount("/usr", ReadOnly);
}

/// It is told that the database is locked, and ends.
#[test]
fn while_apt_is_at_work_it_changes_nothing_for_apt() {
    let world = upgradable(Ext4);
    world.begin();
    let apt = frontends(&world);
    let dpkg = install(&world);
    dpkg.begins();
    assert_eq!(frontends(&world), [&apt[..], &[dpkg.pid()]].concat());
    drop(dpkg);
    world.assert_within(MOMENT, "it is forgotten", || frontends(&world) == apt);
    world.assert_mount("/usr", Writable);
    world.end();
    world.assert_mount("/usr", ReadOnly);
}

/// It does not wait for the lock: nothing that its command line says will happen.
#[test]
fn with_the_database_locked_only_what_is_in_use_gets_an_alias() {
    let world = upgradable(Ext4);
    let other = world.dpkg_works();
    let _holder = world.hold(Mapped(CACHE));
    let dpkg = world.dpkg("install", &["-i", ARCHIVE]);
    dpkg.begins();
    world.assert_alias(CACHE, Alias::Kept);
    world.assert_alias(TOOL, Alias::None);
    drop((dpkg, other));
    world.assert_is_ended();
    world.assert_no_store("/usr");
}

#[test]
fn whoever_is_done_first_leaves_the_mounts_to_the_other() {
    for apt_is_first in [false, true] {
        let world = upgradable(Ext4);
        world.begin();
        let dpkg = install(&world);
        dpkg.begins();
        if apt_is_first {
            world.end();
        } else {
            dpkg.is_done();
        }
        world.assert_mount("/usr", Writable);
        if apt_is_first {
            dpkg.is_done();
        } else {
            drop(dpkg);
            world.end();
        }
        world.assert_mount("/usr", ReadOnly);
        world.assert_no_session();
    }
}

/// A script of a package that it installs.
#[test]
fn one_that_it_started_itself_is_a_part_of_it() {
    let world = upgradable(Ext4);
    let dpkg = install(&world);
    dpkg.begins();
    let _holder = world.hold(Mapped(CACHE));
    for name in ["dpkg-pre-invoke", "dpkg-post-invoke"] {
        dpkg.hook_under(&["/tool/dpkg", "runs"], name).assert_code(0);
        assert_eq!(frontends(&world), [dpkg.pid()]);
        world.assert_mount("/usr", Writable);
    }
    world.assert_alias(CACHE, Alias::Kept);
    world.dpkg_replaces(TOOL);
    dpkg.is_done();
    world.assert_mount("/usr", ReadOnly);
}
