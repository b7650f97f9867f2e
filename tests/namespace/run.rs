//! `rokeep run`: any program finds the mounts writable, and when it has ended they are as they were.

use std::time::Duration;

use nix::sys::signal::Signal;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable, WriteProtected},
    Alias,
    Change::Upgrade,
    FileSystem::{self, Ext4, Tmpfs},
    Mount, Small,
    State::{Mapped, Writing},
    stream,
};

const CACHE: &str = "/usr/lib/cache";
const MOMENT: Duration = Duration::from_secs(2);

#[test]
fn what_a_command_does_on_a_read_only_mount() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system);
        let found = world.mount_line("/usr");
        assert!(!world.writes("/usr/lib/new"), "a control: without rokeep it cannot");
        let run = world.rokeep_runs(&["--", "/tool/holder", "write", "/usr/lib/new"], b"typed by a person\n");
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{file_system:?}");
        let written = std::fs::read(world.outside("/usr/lib/new")).expect("the command's file");
        assert_eq!(written, b"typed by a person\n");
        assert_eq!(world.mount_line("/usr"), found, "{file_system:?}");
        world.assert_is_ended();
        world.assert_no_store("/usr");
    }
}

#[test]
fn its_exit_status_is_the_commands() {
    let world = Small::ext4();
    world.write("/tmp/no-program", b"hello\n");
    std::fs::set_permissions(world.outside("/tmp/no-program"), Permissions::from_mode(0o644)).expect("a file");
    world.rokeep_runs(&["--", "/tool/holder", "kill", "none"], b"").assert_code(1);
    world.rokeep_runs(&["--", "/tool/rokeep", "plan", "--surely-not"], b"").assert_code(2);
    world.rokeep_runs(&["--", "surely-not-there"], b"").assert_code(127).assert_says(&["cannot run surely-not-there"]);
    world.rokeep_runs(&["--", "/tmp/no-program"], b"").assert_code(126).assert_says(&["cannot run /tmp/no-program"]);
    world.rokeep_runs(&["--", "/tool/holder", "read"], b"").assert_code(1);
    world.assert_is_ended();
}

#[test]
fn a_replaced_file_in_use_is_kept() {
    let world = Small::ext4().unlisted(&[CACHE]);
    let _holder = world.hold(Mapped(CACHE));
    world
        .rokeep_runs(&["--", "/tool/holder", "dpkg", "remove", CACHE], b"")
        .assert_code(0)
        .assert_says(&["kept while in use"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(CACHE, Alias::Kept);
}

/// Nobody can know what will come into use and be replaced. It is said who is in the way.
#[test]
fn a_control_what_comes_into_use_meanwhile_is_not() {
    let world = Small::ext4().unlisted(&[CACHE]);
    let running = world.running(&[]);
    let holder = world.hold(Mapped(CACHE));
    world.removes(CACHE);
    drop(running);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn a_replaced_file_that_is_mounted_elsewhere_is_kept() {
    let world = Small::ext4().unlisted(&[CACHE]);
    world.bind_file(CACHE, "/etc/cache");
    world.rokeep_runs(&["--", "/tool/holder", "dpkg", "remove", CACHE], b"").assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(CACHE, Alias::Kept);
    world.unmount("/etc/cache");
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_alias(CACHE, Alias::None);
}

#[test]
fn what_was_in_use_and_is_not_replaced_has_no_alias_afterwards() {
    let world = Small::ext4().unlisted(&[CACHE]);
    let _holder = world.hold(Mapped(CACHE));
    let running = world.running(&[]);
    world.assert_alias(CACHE, Alias::Kept);
    drop(running);
    world.assert_no_store("/usr");
}

#[test]
fn only_the_mounts_that_are_named() {
    let mounts = [Mount("/usr", Ext4, ReadOnly), Mount("/opt", Tmpfs, ReadOnly), Mount("/srv", Tmpfs, ReadOnlyMount)];
    let world = Small::with(&mounts);
    let running = world.running(&["/opt", "/srv/"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_mount("/opt", Writable);
    world.assert_mount("/srv", Writable);
    drop(running);
    world.assert_mount("/opt", ReadOnly);
    world.assert_mount("/srv", ReadOnlyMount);
    let running = world.running(&[]);
    world.assert_mount("/usr", Writable);
    world.assert_mount("/opt", Writable);
    world.assert_mount("/srv", ReadOnlyMount);
    drop(running);
    world.assert_is_ended();
}

#[test]
fn a_mount_that_cannot_become_writable_keeps_the_command_from_starting() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Ext4, WriteProtected)]);
    let run = world.rokeep_runs(&["--", "/tool/holder", "write", "/tmp/was-here"], b"");
    run.assert_code(3).assert_says(&["/opt", "write-protected", "The command was not started", "as it was found"]);
    assert!(world.inode("/tmp/was-here").is_none());
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
    world.rokeep_runs(&["/usr", "--", "/tool/holder", "write", "/usr/was-here"], b"").assert_code(0);
}

#[test]
fn what_is_no_mount_point_keeps_the_command_from_starting() {
    let world = Small::ext4();
    for (name, says) in [("/usr/lib", "it is on /usr"), ("/surely-not", "/surely-not is no mount point")] {
        let run = world.rokeep_runs(&["/usr", name, "--", "/tool/holder", "write", "/tmp/was-here"], b"");
        run.assert_code(3).assert_says(&["no mount point", says, "nothing was changed"]);
    }
    world.rokeep_runs(&["usr", "--", "/tool/holder"], b"").assert_code(2).assert_says(&["absolute path", "\"--\""]);
    world.rokeep_runs(&["/tool/holder"], b"").assert_code(2).assert_says(&["-- <COMMAND>"]);
    assert!(world.inode("/tmp/was-here").is_none());
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn where_nothing_is_read_only_anybody_may_use_it() {
    let world = Small::with(&[Mount("/usr", Ext4, Writable)]);
    let words = ["/tool/holder", "nobody", "/tool/rokeep", "run", "--", "/tool/holder", "kill", "none"];
    world.announced_to(&words, Vec::new()).assert_code(1);
    world.assert_no_session();
}

#[test]
fn apt_inside_it_joins_and_the_mounts_go_back_when_the_outermost_ends() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    let holder = world.hold(Mapped("/usr/bin/tool"));
    world.apt_is_run_by_rokeep();
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces("/usr/bin/tool");
    let run = world.hook("dpkg-pre-invoke", None).assert_code(0);
    assert_eq!(run.stderr, "");
    world.end();
    world.assert_mount("/usr", Writable);
    world.apt_leaves();
    world.assert_is_ended();
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    drop(holder);
}

#[test]
fn another_one_inside_it_changes_nothing() {
    let world = Small::ext4();
    let run = world.rokeep_runs(&["--", "/tool/rokeep", "run", "--", "/tool/holder", "write", "/usr/lib/new"], b"");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let outer = world.running(&[]);
    drop(world.running(&[]));
    world.assert_mount("/usr", Writable);
    drop(outer);
    world.assert_is_ended();
}

#[test]
fn status_says_for_whom() {
    let world = Small::ext4();
    let running = world.running(&[]);
    let is_known = || world.status().session.is_some_and(|session| session.frontends.len() == 2);
    world.assert_within(MOMENT, "the command is in the session", is_known);
    let frontends = world.status().session.expect("a session").frontends;
    assert_eq!(frontends.iter().map(|one| one.command.as_str()).collect::<Vec<_>>(), ["rokeep", "holder"]);
    assert_eq!(frontends.last().map(|one| one.pid), Some(running.command()));
}

#[test]
fn ctrl_c_is_for_the_command() {
    let world = Small::ext4();
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGQUIT, 131), (Signal::SIGHUP, 129), (Signal::SIGTERM, 143)]
    {
        let running = world.running(&[]);
        running.signal_rokeep(signal);
        std::thread::sleep(MOMENT / 20);
        world.assert_mount("/usr", Writable);
        running.signal_both(signal);
        assert_eq!(running.ended(), code, "{signal}");
        world.assert_is_ended();
    }
}

#[test]
fn what_the_caller_left_open_is_for_the_command() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    let words = ["/tool/rokeep", "run", "--", "/tool/rokeep", "hook", "pre-install-pkgs"];
    world.announced_to(&words, stream(&[Upgrade("tool", "1", "2")])).assert_code(0);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
}

/// Nothing else is killed, and nothing becomes read-only under it.
#[test]
fn killed_itself_it_leaves_the_mounts_to_the_command() {
    let world = Small::ext4();
    let running = world.running(&[]);
    let is_known = || world.status().session.is_some_and(|session| session.frontends.len() == 2);
    world.assert_within(MOMENT, "the command is in the session", is_known);
    running.signal_rokeep(Signal::SIGKILL);
    std::thread::sleep(MOMENT / 2);
    world.assert_mount("/usr", Writable);
    assert!(world.writes("/usr/lib/half-way"));
    let frontends = world.status().session.expect("a session for the command that is left").frontends;
    assert_eq!(frontends.iter().map(|one| one.pid).collect::<Vec<_>>(), [running.command()]);
    drop(running);
    world.assert_is_ended();
}

#[test]
fn killed_with_its_command_it_leaves_nothing() {
    let world = Small::ext4();
    let running = world.running(&[]);
    running.signal_both(Signal::SIGKILL);
    world.assert_is_ended();
}

#[test]
fn a_mount_that_cannot_go_back_is_said_and_leaves_the_status_alone() {
    let world = Small::ext4().unlisted(&[CACHE]);
    let words = ["--", "/tool/holder", "write", "/usr/lib/other"];
    let writing = |world: &Small| {
        let running = world.running(&[]);
        let writer = world.hold(Writing(CACHE));
        drop(running);
        writer
    };
    let writer = writing(&world);
    world.rokeep_runs(&words, b"").assert_code(0).assert_says(&[
        "/usr is still WRITABLE",
        &writer.pid().to_string(),
        CACHE,
    ]);
    world.write("/etc/rokeep/config.toml", b"strict_exit = true\n");
    world.rokeep_runs(&words, b"").assert_code(1);
    world.rokeep_runs(&["--", "surely-not-there"], b"").assert_code(127);
    drop(writer);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_is_ended();
}

/// A mount that is none of the managed ones does not stop the package runs that follow.
#[test]
fn what_it_left_degraded_does_not_stop_apt() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/srv", Ext4, ReadOnly)]);
    let running = world.running(&["/srv"]);
    world.write("/srv/lib/cache", b"");
    let holder = world.hold(Mapped("/srv/lib/cache"));
    world.removes("/srv/lib/cache");
    drop(running);
    world.assert_mount("/srv", ReadOnlyMount);
    world.begin();
    world.protect(&[]);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/srv", ReadOnly);
}
