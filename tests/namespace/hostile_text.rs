//! What others may call their files, programs, packages and mounts, where it is shown: it moves no cursor, begins no line,
//! hides nothing and turns no direction of writing, neither on a terminal nor in the log. (That every output is harmless text
//! is looked at in every run of every scenario.)

use std::path::PathBuf;

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Change::Upgrade,
    FileSystem::{Ext4, Tmpfs},
    Log, Mount, STREAM_HEAD, Small,
    State::{Cwd, Executed, Mapped, Writing},
};

/// Title, clear, a second line for the log, C1 controls, direction, no width, no text at all.
const EVIL: [&str; 6] = [
    "\x1b]0;x\x07\x1b[2J",
    "a\n<24>su: root",
    "a\u{9b}2J\u{85}",
    "a\u{202e}gpj.b",
    "a\u{200b}\u{2066}b",
    "a\r\u{7f}\t",
];

#[track_caller]
fn assert_harmless(log: &Log) {
    for entry in log.entries() {
        let message = String::from_utf8(entry["MESSAGE"].clone()).expect("text");
        assert!(rokeep::core::columns::can_be_shown(&message), "{message:?}");
    }
}

/// A process is called what its program's file is called, or anything else that it says.
#[test]
fn of_processes_and_files() {
    let world = Small::ext4().installed("plain", "1", &["/usr/bin/plain"]);
    let log = world.log_at("/run/systemd/journal/socket");
    let programs: Vec<PathBuf> = EVIL.iter().map(|name| PathBuf::from(format!("/usr/bin/{name}"))).collect();
    world.writably(|| programs.iter().for_each(|program| world.write_program(program)));
    world.write_program("/tmp/\x1b[2J\n\u{202e}c");
    let in_list: Vec<&PathBuf> = programs.iter().filter(|name| !name.to_string_lossy().contains('\n')).collect();
    let world = world.recorded("evil", "1", &in_list);
    let mut holders: Vec<_> = programs.iter().map(|program| world.hold(Executed(program))).collect();
    world.writably(|| world.makes_directory("/usr/lib/\x1b[2J\u{202e}"));
    holders.push(world.hold(Cwd(PathBuf::from("/usr/lib/\x1b[2J\u{202e}"))));
    world.begin();
    world.protect(&[Upgrade("evil", "1", "2")]);
    programs.iter().for_each(|program| world.rebuilds(program));
    // One that came too late, and one who writes: both are in the way, and named.
    world.write("/usr/lib/late\u{202e}\x1b", b"");
    holders.push(world.hold(Mapped(PathBuf::from("/usr/lib/late\u{202e}\x1b"))));
    world.removes("/usr/lib/late\u{202e}\x1b");
    let writer = world.hold(Writing(PathBuf::from("/usr/bin/plain")));
    assert!(world.end().stderr.contains("%1B"), "they are named");
    drop(writer);
    world.rokeep(["cleanup"]);
    world.status();
    assert!(world.rokeep(["status"]).stdout.contains('%'), "they are named");
    assert!(world.rokeep(["cleanup", "--json"]).stdout.contains("%1B"), "they are named");
    world.rokeep(["plan", "evil"]);
    world.rokeep(["plan", "--json", "evil"]);
    let screen = world.on_a_terminal(80, &[("TERM", "xterm"), ("NO_COLOR", "1")], &["status"]);
    assert!(screen.lines().all(rokeep::core::columns::can_be_shown), "{screen:?}");
    assert_harmless(&log);
}

#[test]
fn of_mount_points() {
    let point = "/srv/a\u{202e}\x1b[2J\nb";
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount(point, Tmpfs, ReadOnly)]);
    let log = world.log_at("/run/systemd/journal/socket");
    world.rokeep(["remount", "rw", point]).assert_code(0);
    world.assert_mount(point, Writable);
    assert_eq!(world.status().problems.len(), 1);
    world.rokeep(["status"]);
    let file = format!("{point}/file");
    world.write(&file, b"");
    let writer = world.hold(Writing(file));
    world.rokeep(["remount", "ro"]).assert_code(1);
    drop(writer);
    world.rokeep(["remount", "ro"]).assert_code(0);
    world.rokeep(["remount", "ro", "/no\x1b[2J\u{202e}"]);
    assert_harmless(&log);
}

/// In what apt and dpkg say, in settings, in archives, and on the command line itself.
#[test]
fn of_packages_and_words() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    let log = world.log_at("/run/systemd/journal/socket");
    for evil in EVIL {
        world.rokeep(["plan", evil]).assert_code(3);
        world.rokeep(["plan", &format!("/tmp/{evil}.deb")]).assert_code(3);
        world.rokeep([evil]).assert_code(2);
        world.rokeep(["remount", "rw", "--for", evil]).assert_code(2);
        world.rokeep(["run", evil, "--", "/bin/true"]).assert_code(2);
        world.rokeep_runs(&["--", &format!("/no/{evil}")], b"").assert_code(127);
        world.begin();
        let line = format!("{STREAM_HEAD}tool 1 amd64 none < 2{evil} amd64 none /tmp/{evil}.deb\n");
        world.hook("pre-install-pkgs", Some(line.into_bytes()));
        world.end();
        world.begin();
        let version = format!("VERSION {evil}\n\n");
        world.hook("pre-install-pkgs", Some(version.into_bytes())).assert_code(3);
        let dpkg = world.dpkg("install", &["-i", &format!("/tmp/{evil}.deb"), &format!("--{evil}")]);
        dpkg.hook("dpkg-pre-invoke");
        dpkg.hook("dpkg-post-invoke");
        drop(dpkg);
        let quoted = evil.replace('\n', "\\n").replace(['\x1b', '\x07', '\x7f', '\r', '\t'], "?");
        world.write("/etc/rokeep/config.toml", format!("mounts = [\"{quoted}\"]\n\"{quoted}\" = 1\n").as_bytes());
        world.hook("pre-invoke", None).assert_code(3);
        world.write("/etc/rokeep/config.toml", format!("{evil}\n").as_bytes());
        world.rokeep(["status"]).assert_code(3);
        world.removes("/etc/rokeep/config.toml");
    }
    let status = "Package: tool\nStatus: install ok installed\nVersion: 1\u{202e}\x1b[2J\nArchitecture: amd64\n\n";
    world.write("/var/lib/dpkg/status", status.as_bytes());
    world.rokeep(["plan", "tool"]);
    world.rokeep(["plan", "--json", "tool"]);
    assert_harmless(&log);
    world.assert_mount("/usr", ReadOnly);
}
