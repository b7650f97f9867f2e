//! Doing without an overlay where a directory shows something from below, too: what is seen in it is copied first.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use nix::sys::stat::SFlag;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    Change::{Install, Upgrade},
    FileSystem::Tmpfs,
    Mount, Small,
    State::{Cwd, Mapped},
    Where,
};

const TOOL: &str = "/opt/bin/tool";
const COPIES: &str = "/var/lib/rokeep/overlay/opt/copies";
const LOWER: &str = "/var/lib/rokeep/overlay/opt/lower";
const RECORD: &str = "/var/lib/rokeep/overlay/opt/overlay.json";

/// /opt is somebody's, with two directories into which a package of ours is installed, and one that it has nothing in.
fn installed() -> Small {
    let world = Small::with(&[Mount("/usr", Tmpfs, ReadOnly), Mount("/opt", Tmpfs, ReadOnly)]);
    let world = world.hands_over(&["/opt", "/etc/systemd", "/usr/bin", "/usr/lib", "/lib64"]);
    world.has_from_the_machine("/bin/cp");
    world.writably(|| {
        for path in ["/opt/bin/theirs", "/opt/lib/theirs", "/opt/games/theirs"] {
            world.write(path, b"theirs\n");
        }
        world.write("/opt/lib/old", b"old\n");
    });
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    world.begin();
    world.protect(&[Install("tool", "1")]);
    world.write_program(TOOL);
    world.write("/opt/lib/ours", b"ours\n");
    world.removes("/opt/lib/old");
    world.end();
    world.recorded("tool", "1", &["/opt", "/opt/bin", TOOL, "/opt/lib", "/opt/lib/ours"])
}

const BIND: [&str; 6] = ["overlay", "bind", "/opt", "--copy", "bin", "lib"];

fn bound() -> Small {
    let world = installed();
    world.rokeep(BIND).assert_code(0).assert_says(&["/opt has no overlay: /opt/lib, /opt/bin of it"]);
    world
}

#[track_caller]
fn assert_names(world: &Small, directory: &str, expected: &[&str]) {
    let names = fs::read_dir(world.outside(directory)).expect("a directory");
    let mut names: Vec<String> =
        names.map(|entry| entry.expect("one").file_name().into_string().expect("a name")).collect();
    names.sort();
    assert_eq!(names, expected, "{directory}");
}

#[track_caller]
fn assert_all_is_seen(world: &Small) {
    assert_names(world, "/opt/bin", &["theirs", "tool"]);
    assert_names(world, "/opt/lib", &["ours", "theirs"]);
    assert_names(world, "/opt/games", &["theirs"]);
    assert!(!world.outside(COPIES).exists(), "copies are left");
}

#[test]
fn what_else_is_seen_is_there_without_the_overlay() {
    let mut world = installed();
    let listed = world.rokeep(["overlay", "bind", "/opt"]).assert_code(3).stdout.clone();
    assert!(
        listed.contains("\"rokeep overlay bind /opt --copy bin lib\" copies above what else is seen there"),
        "{listed}"
    );
    // One of the two is not enough.
    let listed = world.rokeep(["overlay", "bind", "/opt", "--copy", "/opt/lib"]).assert_code(3).stdout.clone();
    assert!(listed.contains("/opt/bin/tool  added") && !listed.contains("/opt/lib/"), "{listed}");
    assert!(world.fs_type("/opt") == "overlay" && !world.outside(COPIES).exists());

    world.rokeep(BIND).assert_code(0);
    assert_eq!(world.fs_type("/opt"), "tmpfs");
    assert!(world.sandbox().mount_line(LOWER).is_none());
    assert_all_is_seen(&world);
    for point in ["/opt/bin", "/opt/lib"] {
        world.assert_mount(point, ReadOnlyMount);
    }
    world.rokeep(["overlay", "status"]).assert_code(0);

    world.remember(&[TOOL]);
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    for path in [TOOL, "/opt/lib/ours"] {
        world.dpkg_replaces(path);
    }
    world.end();
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();

    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    assert_all_is_seen(&world);
    world.rokeep(["overlay", "status"]).assert_code(0);
    world.rokeep(["overlay", "bind", "/opt"]).assert_code(0);
    assert_all_is_seen(&world);
}

/// Everything that a file has is in its copy, and in what packages installed, too.
#[test]
fn a_copy_is_as_what_it_is_of() {
    let world = installed();
    let lower = |path: &str| world.outside(format!("{LOWER}/lib{path}"));
    world.remount("rw", LOWER).expect("it can be, here");
    fs::create_dir_all(lower("/deep/er")).expect("a directory");
    fs::set_permissions(lower("/deep"), fs::Permissions::from_mode(0o3750)).expect("a mode");
    fs::write(lower("/deep/program"), [7; 9000]).expect("a file");
    chown(lower("/deep/program"), Some(33), Some(44)).expect("an owner");
    fs::set_permissions(lower("/deep/program"), fs::Permissions::from_mode(0o4755)).expect("a mode");
    let must = |program: &str, words: &[&str], path: &str| {
        let done = Command::new(program).args(words).arg(lower(path)).status().expect("it can be run");
        assert!(done.success(), "{program} {words:?} {path}");
    };
    must("setfattr", &["--name=user.note", "--value=kept"], "/deep/program");
    must("setcap", &["cap_net_bind_service=ep"], "/deep/program");
    must("setfacl", &["--modify=u:33:r"], "/theirs");
    fs::hard_link(lower("/deep/program"), lower("/deep/other")).expect("a link");
    symlink("nowhere", lower("/dangling")).expect("a link");
    lchown(lower("/dangling"), Some(33), Some(44)).expect("an owner");
    must("mkfifo", &["--mode=604"], "/pipe");
    must("truncate", &["--size=100M"], "/sparse");
    must("touch", &["--date=2001-02-03 04:05:06.789"], "/theirs");
    must("touch", &["--date=2002-02-03 04:05:06.789"], "/deep");
    world.remount("ro", LOWER).expect("nobody writes");
    // It has changed under the overlay.
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    world.begin();
    world.makes_node("/opt/lib/null", SFlag::S_IFCHR);
    world.end();

    let before = listing(&world);
    assert!(before.contains("cap_net_bind_service") && before.contains("user:33:r"), "{before}");
    world.rokeep(BIND).assert_code(0);
    assert_eq!(world.fs_type("/opt"), "tmpfs");
    assert_eq!(listing(&world), before);
    let [one, other] = ["program", "other"].map(|name| world.inode(format!("/opt/lib/deep/{name}")));
    assert!(one.is_some() && one == other, "two names of one file");
    assert!(fs::metadata(world.outside("/opt/lib/sparse")).expect("it is there").blocks() < 1000);
}

/// Kinds, modes, owners, times, sizes, targets, attributes, capabilities and access lists of all that is in /opt/lib.
fn listing(world: &Small) -> String {
    let script = "find . -printf '%p %y %m %U %G %s %T@ %l\\n' | sed '/ d /s/ [0-9]* \\([0-9.]* \\)$/ \\1/' | sort
        getfattr --absolute-names --no-dereference --match=- --dump --recursive . | grep -v -e '^# file' -e '^trusted.overlay' -e '^$' | sort
        getcap -r . | sort
        getfacl --recursive --numeric --skip-base . 2>/dev/null";
    let mut command = Command::new("sh");
    let output = command.args(["-euc", script]).current_dir(world.outside("/opt/lib")).output().expect("sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn more_can_be_had_beside_those_that_are_mounted() {
    let world = bound();
    let holder = world.hold(Mapped(TOOL));
    world.archive("game", "1", &[], &["/opt/games/game"]);
    let install = || {
        world.begin();
        world.hook("pre-install-pkgs", Some(crate::support::small::stream(&[Install("game", "1")])))
    };
    install().assert_code(3).assert_says(&["/opt/games/game of game", "rokeep overlay bind /opt --copy games"]);
    let before = world.sandbox().mount_table();
    for (name, says) in [
        ("/usr/games", "is not below /opt"),
        ("nothing", "/opt/nothing is no directory of what is below"),
        ("games/theirs", "is no directory of what is below"),
        ("..", "is not below /opt"),
    ] {
        world
            .rokeep(["overlay", "bind", "/opt", "--copy", name])
            .assert_code(3)
            .assert_says(&[says, "nothing was changed"]);
        assert_eq!(world.sandbox().mount_table(), before, "{name}");
    }
    // In use, the others stay where they are.
    world.rokeep(["overlay", "bind", "/opt", "--copy", "games", "bin"]).assert_code(0).assert_says(&["/opt/games"]);
    assert_all_is_seen(&world);
    world.assert_mount("/opt/games", ReadOnlyMount);
    assert!(world.outside("/etc/systemd/system/opt-games.mount").exists());
    world.rokeep(["overlay", "status"]).assert_code(0);
    drop(holder);
    install().assert_code(0);
    world.write("/opt/games/game", b"ours\n");
    world.end();
    world.assert_mount("/opt/games", ReadOnlyMount);
}

#[test]
fn what_is_mounted_is_not_covered() {
    let world = installed();
    world.remount("rw", LOWER).expect("it can be, here");
    world.write(format!("{LOWER}/share/theirs"), b"theirs\n");
    world.write(format!("{LOWER}/share/doc/theirs"), b"theirs\n");
    world.remount("ro", LOWER).expect("nobody writes");
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    // Its directory is not above, so that there is nothing that a copy could be in.
    let refused = world.rokeep(["overlay", "bind", "/opt", "--copy", "bin", "lib", "share/doc"]).assert_code(3);
    refused.assert_says(&["nothing is above of /opt/share", "Name that one"]);
    world.begin();
    world.write("/opt/share/doc/ours", b"ours\n");
    world.end();
    world.rokeep(["overlay", "bind", "/opt", "--copy", "bin", "lib", "share/doc"]).assert_code(0);
    let refused = world.rokeep(["overlay", "bind", "/opt", "--copy", "share"]).assert_code(3);
    refused.assert_says(&["/opt/share/doc is mounted, and would be covered", "nothing was changed"]);
    world.rokeep(["overlay", "status"]).assert_code(0);
}

/// What others have mounted is in no copy, and what is written meanwhile neither.
#[test]
fn what_a_copy_could_not_have_is_not_lost() {
    let world = installed();
    world.remount("rw", "/opt").expect("an overlay can be");
    let refused = world.rokeep(BIND).assert_code(3);
    refused.assert_says(&["/opt can be written to", "rokeep remount ro /opt", "The overlay is as it was"]);
    world.remount("ro", "/opt").expect("nobody writes");
    world.rokeep(BIND).assert_code(0);
    for point in ["/opt/games", "/opt/games/deep"] {
        world.remount("rw", "/opt").expect("it can be, here");
        world.makes_directory(point);
        world.remount("ro", "/opt").expect("nobody writes");
        world.bind("/var/tmp", point);
        let before = world.sandbox().mount_table();
        let refused = world.rokeep(["overlay", "bind", "/opt", "--copy", "games"]).assert_code(3);
        let says = if point == "/opt/games" { "no directory of what is below" } else { "/opt/games/deep is mounted" };
        refused.assert_says(&[says, "nothing was changed"]);
        assert_eq!(world.sandbox().mount_table(), before);
        world.rokeep(["overlay", "status"]).assert_code(0);
        world.begin();
        world.end();
        world.unmount(point);
    }
}

/// A symbolic link leads elsewhere, and an overlay shows what it showed before what is below it changed.
#[test]
fn what_is_below_has_to_be_what_is_seen() {
    let world = installed();
    world.remount("rw", LOWER).expect("it can be, here");
    symlink("games", world.outside(format!("{LOWER}/leads"))).expect("a link");
    world.remount("ro", LOWER).expect("nobody writes");
    let refused = world.rokeep(BIND).assert_code(3);
    refused.assert_says(&[
        "may have changed under its overlay",
        "rokeep overlay enable /opt",
        "The overlay is as it was",
    ]);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    let refused = world.rokeep(["overlay", "bind", "/opt", "--copy", "bin", "lib", "leads"]).assert_code(3);
    refused.assert_says(&["/opt/leads is no directory of what is below", "nothing was changed"]);
    world.rokeep(BIND).assert_code(0);
    assert_all_is_seen(&world);
}

/// Who has the overlay in a mount namespace of his own sees it change while it is mounted.
#[test]
fn who_has_it_elsewhere_is_named() {
    let world = installed();
    let elsewhere = world.hold_from(Where::OwnMounts, Cwd("/var"));
    let said = world.rokeep(BIND).assert_code(3);
    said.assert_says(&["is still mounted where", &format!("({})", elsewhere.pid()), "The overlay is as it was"]);
    assert_eq!(world.fs_type("/opt"), "overlay");
    assert_all_is_seen(&world);
    drop(elsewhere);
    world.rokeep(BIND).assert_code(0);
}

/// Before anything is copied, which takes long.
#[test]
fn who_uses_it_is_named_first() {
    let world = installed();
    // Nothing could be copied.
    world.writably(|| world.removes("/usr/bin/cp"));
    let holder = world.hold(Mapped(TOOL));
    let said = world.rokeep(BIND).assert_code(3);
    said.assert_says(&["/opt is in use", &format!("({})", holder.pid()), "The overlay is as it was"]);
    assert!(!world.outside(COPIES).exists());
    assert_eq!(world.fs_type("/opt"), "overlay");
    assert_all_is_seen(&world);
    world.rokeep(["overlay", "status"]).assert_code(0);
}

#[test]
fn what_does_not_fit_is_not_begun() {
    let mounts = [Mount("/usr", Tmpfs, ReadOnly), Mount("/opt", Tmpfs, ReadOnly), Mount("/srv", Tmpfs, Writable)];
    let world = Small::with(&mounts).hands_over(&["/opt", "/etc/systemd", "/srv"]);
    world.writably(|| world.write("/opt/lib/theirs", b"theirs\n"));
    world.rokeep(["overlay", "enable", "/opt", "--upper", "/srv/opt"]).assert_code(0);
    world.begin();
    world.write("/opt/lib/large", &vec![1; 30 << 20]);
    world.end();
    let said = world.rokeep(["overlay", "bind", "/opt", "--copy", "lib"]).assert_code(3);
    said.assert_says(&["a copy of /opt/lib needs 46.0 MiB, and /srv/opt has", "free. The overlay is as it was"]);
    assert!(world.fs_type("/opt") == "overlay" && !world.outside("/srv/opt/copies").exists());
    world.rokeep(["overlay", "status"]).assert_code(0);
}

/// A cp(1) that cannot do its work says why, and nothing is left of what it did.
#[test]
fn what_cannot_be_copied_leaves_the_overlay() {
    let world = installed();
    world.writably(|| world.removes("/usr/bin/cp"));
    world.rokeep(BIND).assert_code(3).assert_says(&["cannot start /bin/cp", "The overlay is as it was"]);
    world.has_program("/usr/bin/cp", "for last; do :; done; mkdir \"$last\"; echo 'cp: no' >&2; exit 1");
    world.has_from_the_machine("/bin/sh");
    world.rokeep(BIND).assert_code(3).assert_says(&["cannot copy /opt/bin: ", "The overlay is as it was"]);
    assert!(world.fs_type("/opt") == "overlay");
    assert_all_is_seen(&world);
    world.rokeep(["overlay", "status"]).assert_code(0);
}

/// A copy that somebody left is not what is seen now.
#[test]
fn an_earlier_copy_is_not_taken() {
    let world = installed();
    let stale = world.outside(format!("{COPIES}/lib"));
    fs::create_dir_all(&stale).and_then(|()| fs::write(stale.join("stale"), "stale")).expect("a file");
    let opaque = ["--name=trusted.overlay.opaque", "--value=y"];
    assert!(Command::new("setfattr").args(opaque).arg(&stale).status().expect("setfattr").success());
    world.rokeep(BIND).assert_code(0);
    assert_all_is_seen(&world);
}

/// As whoever is killed once the copies are made, and the overlay is unmounted for them, leaves it.
#[test]
fn what_was_interrupted_is_an_overlay_again() {
    let world = installed();
    let copies = world.outside(COPIES);
    fs::create_dir(&copies).expect("a directory");
    let copied = Command::new("cp").arg("-a").arg(world.outside("/opt/lib")).arg(&copies).status();
    assert!(copied.expect("cp").success());
    [LOWER, "/opt"].iter().for_each(|point| world.unmount(point));
    world.begin().assert_says(&["/opt had no overlay, and has one now"]);
    world.end();
    assert_eq!(world.fs_type("/opt"), "overlay");
    assert_all_is_seen(&world);
}

/// As after a start of the machine without the overlay: nobody is in it, so that it can go for good.
#[test]
fn what_is_gone_with_a_start_can_be_mounted_by_itself() {
    let world = installed();
    world.rokeep(["overlay", "disable", "--at-next-start", "/opt"]).assert_code(0);
    world.rokeep(BIND).assert_code(3).assert_says(&["goes with a start of the machine"]);
    [LOWER, "/opt"].iter().for_each(|point| world.unmount(point));
    world.is_another_start(RECORD);
    assert_names(&world, "/opt/bin", &["theirs"]);
    let holder = world.hold(Cwd("/opt/bin"));
    // What is in the way is said, and it goes on being gone.
    world.rokeep(["overlay", "bind", "/opt", "--copy", "lib"]).assert_code(3);
    assert!(world.rokeep(["overlay", "status"]).stdout.contains("the next package run forgets it"));
    world.rokeep(BIND).assert_code(0);
    assert_all_is_seen(&world);
    world.rokeep(["overlay", "status"]).assert_code(0);
    drop(holder);
    assert!(Path::new(&world.outside("/etc/systemd/system/opt-bin.mount")).exists());
}
