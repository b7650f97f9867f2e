//! Whatever is in the environment of apt, dpkg and the hooks: no program is started by it, and nothing is written but
//! rokeep's own, least of all in /tmp.

use std::collections::BTreeSet;
use std::fs;

use crate::support::small::{Access::ReadOnly, Alias, Change::Upgrade, Event, Run, Small, State::Mapped, stream};

/// What a shell of root's may have in it, by accident or not.
const HOSTILE: [&str; 22] = [
    "PATH=/evil",
    "LD_PRELOAD=/evil/nothing.so",
    "LD_LIBRARY_PATH=/evil",
    "LD_AUDIT=/evil/nothing.so",
    "TMPDIR=/evil/tmp",
    "TMP=/evil/tmp",
    "HOME=/evil",
    "IFS=/",
    "ENV=/evil/script",
    "BASH_ENV=/evil/script",
    "CDPATH=/evil",
    "LANG=/evil",
    "LC_ALL=tr_TR.UTF-8",
    "RUST_BACKTRACE=full",
    "RUST_LOG=trace",
    "SYSTEMD_LOG_TARGET=file:/evil/tmp/log",
    "SYSTEMD_PAGER=/evil/script",
    "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/evil/tmp/bus",
    "NOTIFY_SOCKET=/evil/tmp/notify",
    "XDG_RUNTIME_DIR=/evil/tmp",
    "GCONV_PATH=/evil",
    "MALLOC_TRACE=/evil/tmp/malloc",
];

const WITNESS: &str = "/srv/witness";

/// A shell, the hooks, and programs that nobody should run.
fn with_hostile_programs() -> Small {
    let world = Small::ext4().with_shell_and_hooks().installed("tool", "1", &["/usr/bin/tool"]);
    world.makes_directory("/srv");
    world.makes_directory("/evil/tmp");
    world.set_mode("/tmp", 0o1777);
    for name in ["rokeep", "sh", "systemctl", "mount", "test", "[", "echo", "cat", "trap", "script"] {
        world.write(format!("/evil/{name}"), format!("#!/bin/sh\n: > {WITNESS}\n").as_bytes());
        world.set_mode(format!("/evil/{name}"), 0o755);
    }
    world
}

/// apt's line for a hook, in that environment; what the shell finds first there would be `rokeep`.
fn run_hook(world: &Small, name: &str, stream: Option<Vec<u8>>) -> Run {
    let mut words: Vec<&str> = HOSTILE.iter().flat_map(|setting| ["/tool/holder", "env", setting]).collect();
    let line = format!("hook=/etc/rokeep/hooks/{name} && test ! -x $hook || $hook");
    words.extend(["/bin/sh", "-c", &line]);
    world.among_others(&words, stream)
}

fn whole_run(world: &Small) {
    let _holder = world.hold(Mapped("/usr/bin/tool"));
    run_hook(world, "pre-invoke", None).assert_code(0);
    run_hook(world, "pre-install-pkgs", Some(stream(&[Upgrade("tool", "1", "2")]))).assert_code(0);
    run_hook(world, "dpkg-pre-invoke", None).assert_code(0);
    world.dpkg_replaces("/usr/bin/tool");
    run_hook(world, "dpkg-post-invoke", None).assert_code(0);
    run_hook(world, "post-invoke", None).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
}

/// In the store, the state and the run directory, or one of these itself.
fn is_ours(event: &Event) -> bool {
    ["/run/rokeep", "/var/lib/rokeep", "/usr/.rokeep"].iter().any(|dir| event.path.starts_with(dir))
}

#[test]
fn control_it_is_hostile() {
    let world = with_hostile_programs();
    let words: Vec<&str> = ["/tool/holder", "env", HOSTILE[0], "/bin/sh", "-c", "rokeep hook pre-invoke"].into();
    world.among_others(&words, None);
    assert!(world.inode(WITNESS).is_some(), "PATH leads to their programs");
}

/// What dpkg does to the file that it replaces.
fn is_dpkgs(event: &Event) -> bool {
    event.path.to_string_lossy().starts_with("/usr/bin/tool")
}

#[test]
fn no_hook_runs_or_writes_what_it_names() {
    let world = with_hostile_programs();
    let events = world.watched(|| whole_run(&world));
    assert!(world.inode(WITNESS).is_none(), "somebody else's program was run");
    let in_directories = |event: &&Event| ["/evil", "/tmp", "/var/tmp"].iter().any(|dir| event.path.starts_with(dir));
    // This test itself has a look at the directories.
    let is_of_a_file = |event: &&Event| event.is_change() || !event.is_of_a_directory();
    let touched: Vec<&Event> = events.iter().filter(in_directories).filter(is_of_a_file).collect();
    assert!(touched.is_empty(), "not even opened: {touched:#?}");
    let changed: Vec<&Event> = events.iter().filter(|event| event.is_change()).collect();
    let others: Vec<&&Event> = changed.iter().filter(|event| !is_ours(event) && !is_dpkgs(event)).collect();
    assert!(others.is_empty(), "{others:#?}");
    for made in ["/run/rokeep", "/var/lib/rokeep/journal.jsonl", "/usr/.rokeep"] {
        assert!(changed.iter().any(|event| event.path.starts_with(made)), "{made} was not seen: {events:#?}");
    }
}

/// What is not there shows too: a search along PATH would.
#[test]
fn every_program_is_started_by_its_whole_path_and_what_we_start_has_no_environment() {
    let world = with_hostile_programs();
    world.makes_directory("/run/systemd/system");
    world.writably(|| {
        // Then there is a watcher of our own.
        world.write("/usr/bin/systemctl", b"#!/bin/sh\nexit 1\n");
        world.set_mode("/usr/bin/systemctl", 0o755);
    });
    let started = world.executed(|| whole_run(&world));
    // apt's shell, and what stands in for root's environment.
    let is_ours = |program: &str| !["/bin/sh", "/tool/holder"].contains(&program);
    let programs: BTreeSet<&str> = started.iter().filter_map(|one| one.program.to_str()).collect();
    let programs: Vec<&str> = programs.into_iter().filter(|program| is_ours(program)).collect();
    assert_eq!(
        programs,
        [
            "/etc/rokeep/hooks/dpkg-post-invoke",
            "/etc/rokeep/hooks/dpkg-pre-invoke",
            "/etc/rokeep/hooks/post-invoke",
            "/etc/rokeep/hooks/pre-install-pkgs",
            "/etc/rokeep/hooks/pre-invoke",
            "/tool/rokeep",
            "/usr/bin/systemctl",
            "/usr/sbin/rokeep",
        ],
        "{started:#?}"
    );
    for one in &started {
        assert!(one.succeeded, "{}", one.line);
        let by_us = ["/tool/rokeep", "/usr/bin/systemctl"].iter().any(|program| *one.program == **program);
        assert!(one.without_environment || !by_us, "{}", one.line);
    }
}

/// Of apt and of systemd something is asked, and of nobody else.
#[test]
fn check_starts_two_programs_by_their_whole_paths_and_without_an_environment() {
    let world = with_hostile_programs();
    world.makes_directory("/run/systemd/system");
    for program in ["/usr/bin/apt-config", "/usr/bin/systemctl"] {
        world.has_program(program, "export -p");
    }
    let mut words: Vec<&str> = HOSTILE.iter().flat_map(|setting| ["/tool/holder", "env", setting]).collect();
    words.extend(["/tool/rokeep", "check"]);
    let started = world.executed(|| drop(world.among_others(&words, None)));
    let programs: BTreeSet<&str> = started.iter().filter_map(|one| one.program.to_str()).collect();
    let expected = ["/tool/holder", "/tool/rokeep", "/usr/bin/apt-config", "/usr/bin/systemctl"];
    assert_eq!(programs, BTreeSet::from(expected), "{started:#?}");
    for one in started.iter().filter(|one| one.program.starts_with("/usr/bin")) {
        assert!(one.succeeded && one.without_environment, "{}", one.line);
    }
    assert!(world.inode(WITNESS).is_none(), "somebody else's program was run");
}

/// The same by hand; a person's own command is what "run" is for, and has his environment.
#[test]
fn no_command_writes_what_is_not_ours() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    world.set_mode("/tmp", 0o1777);
    let commands: [&[&str]; 7] = [
        &["status"],
        &["check"],
        &["plan", "tool"],
        &["remount", "rw", "--for", "1h"],
        &["remount", "ro"],
        &["cleanup"],
        &["run", "--", "/tool/holder", "lease", "/usr/bin/tool"],
    ];
    let events = world.watched(|| {
        for words in commands {
            world.among_others(&[&["/tool/holder", "env", "TMPDIR=/tmp", "/tool/rokeep"], words].concat(), None);
        }
    });
    let others: Vec<&Event> = events.iter().filter(|event| event.is_change() && !is_ours(event)).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(events.iter().any(is_ours), "nothing was seen");
    world.assert_mount("/usr", ReadOnly);
}

/// It found the whole environment of root's shell, and so another bus, and libraries to load.
#[test]
fn systemctl_had_the_callers_environment() {
    let world = with_hostile_programs();
    world.makes_directory("/run/systemd/system");
    world.writably(|| {
        world.write("/usr/bin/systemctl", b"#!/bin/sh\nexport -p > /srv/environment\nexit 1\n");
        world.set_mode("/usr/bin/systemctl", 0o755);
    });
    run_hook(&world, "pre-invoke", None).assert_code(0);
    let environment = fs::read_to_string(world.outside("/srv/environment")).expect("it was started");
    assert!(!environment.contains("/evil") && !environment.contains("SYSTEMD_"), "{environment}");
    run_hook(&world, "post-invoke", None).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}
