//! What is above an overlay and what is below it: told apart, had be nothing again, hidden, and noticed when it changes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Change::Upgrade,
    FileSystem::{Ext4, Squashfs, Tmpfs},
    Mount, Small,
    State::Cwd,
};

const HOME: &str = "/var/lib/rokeep/overlay/opt";
const LOWER: &str = "/var/lib/rokeep/overlay/opt/lower";
const UPPER: &str = "/var/lib/rokeep/overlay/opt/upper";

/// What was installed on /opt by whoever made it: a package, something of nobody's, and a directory of secrets.
fn made() -> Small {
    let world = Small::with(&[Mount("/usr", Tmpfs, ReadOnly), Mount("/opt", Tmpfs, ReadOnly)]);
    let world = world.hands_over(&["/opt", "/etc/systemd", "/var/old", "/var/opt"]);
    world.writably(|| {
        world.write("/opt/vendor/tool", b"the vendor's\n");
        world.write("/opt/vendor/deep/notes", b"the vendor's\n");
        world.write("/opt/vendor/deep/in/notes", b"the vendor's\n");
    });
    world.installed_tree("app", "1", &["/opt/app/bin", "/opt/app/old", "/opt/app/share/text"])
}

fn enabled() -> Small {
    let world = made();
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    world
}

/// As dpkg does with a package that has a new file, and one less.
fn upgraded() -> Small {
    let world = enabled();
    world.begin();
    world.protect(&[Upgrade("app", "1", "2")]);
    world.dpkg_replaces("/opt/app/bin");
    world.dpkg_removes("/opt/app/old");
    world.write("/opt/app/new", b"app 2\n");
    let world = world.recorded("app", "2", &["/opt/app", "/opt/app/bin", "/opt/app/new"]);
    world.end();
    world
}

fn diff(world: &Small) -> serde_json::Value {
    let said = world.rokeep(["overlay", "diff", "/opt", "--json"]).assert_code(0);
    serde_json::from_str(&said.stdout).expect("JSON")
}

/// The path and what has become of it, of each.
fn changes(world: &Small) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    let changes = diff(world)["changes"].as_array().expect("changes").clone();
    changes.iter().map(|change| (text(&change["path"]), text(&change["change"]))).collect()
}

fn expected(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    changes.iter().map(|(path, change)| ((*path).to_owned(), (*change).to_owned())).collect()
}

/// A session in which something other than dpkg writes.
fn writes(world: &Small, act: impl FnOnce()) {
    world.begin();
    act();
    world.end();
}

fn change_below(world: &Small, act: impl FnOnce()) {
    world.remount("rw", LOWER).expect("it can be, here");
    act();
    world.remount("ro", LOWER).expect("nobody writes");
}

// ── diff ────────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn what_is_above_is_told_by_package() {
    let world = enabled();
    assert_eq!(world.rokeep(["overlay", "diff", "/opt"]).assert_code(0).stdout, "/opt is as what is below it\n");
    let world = upgraded();
    let said = world.rokeep(["overlay", "diff", "/opt"]).assert_code(0);
    assert!(said.stdout.starts_with("/opt: 1 added, 1 replaced, 1 hidden; "), "{}", said.stdout);
    let lines: Vec<&str> = said.stdout.lines().skip(1).collect();
    assert!(lines[0].starts_with("app (") && lines[3] == "in no package (0 bytes)", "{lines:?}");
    assert_eq!(
        [lines[1], lines[2], lines[4]],
        ["  replaced   /opt/app/bin", "  added      /opt/app/new", "  hidden     /opt/app/old"]
    );
    let diff = diff(&world);
    assert_eq!((&diff["format"], &diff["changes"][0]["packages"]), (&1.into(), &serde_json::json!(["app"])));
    world.rokeep(["overlay", "diff", "/usr"]).assert_code(3).assert_says(&["there is no overlay over /usr"]);
}

#[test]
fn a_package_has_a_file_by_whatever_way_it_has_it() {
    let world = enabled();
    world.makes_directory("/srv");
    world.points("/srv/link", "/opt/app");
    world.write("/var/lib/dpkg/diversions", b"/opt/app/bin\n/opt/app/bin.distrib\nother\n");
    writes(&world, || {
        world.write("/opt/app/bin.distrib", b"app's\n");
        world.write("/opt/app/linked", b"app-by-link's\n");
    });
    world.dpkg_lists("by-link:armhf", &["/srv/link/linked"]);
    let packages: Vec<_> =
        diff(&world)["changes"].as_array().expect("changes").iter().map(|c| c["packages"].clone()).collect();
    assert_eq!(packages, [serde_json::json!(["app"]), serde_json::json!(["by-link:armhf"])]);
}

#[test]
fn directories_are_told_by_what_has_become_of_them() {
    let world = enabled();
    let outside = |path: &str| world.outside(path);
    writes(&world, || {
        fs::remove_dir_all(outside("/opt/vendor")).expect("it goes");
        world.write("/opt/vendor/ours", b"ours\n");
        fs::set_permissions(outside("/opt/app/share"), fs::Permissions::from_mode(0o700)).expect("chmod");
        fs::create_dir(outside("/opt/empty")).expect("mkdir");
        world.write("/opt/strange\n\u{202e}name", b"x");
        fs::remove_dir_all(outside("/opt/lib")).expect("it goes");
        world.write("/opt/lib", b"a file now\n");
    });
    let found = changes(&world);
    assert_eq!(
        found,
        expected(&[
            ("/opt/app/share", "attributes"),
            ("/opt/empty", "added"),
            ("/opt/lib", "replaced"),
            ("/opt/strange%0A\u{202e}name", "added"),
            ("/opt/vendor", "covered"),
            ("/opt/vendor/ours", "added"),
        ])
    );
}

/// The kernel notes where what is below is to be found, and so do we.
#[test]
fn a_directory_that_was_moved_is_told_from_where() {
    let world = enabled();
    writes(&world, || {
        world.renames("/opt/vendor/deep", "/opt/vendor/deeper");
        world.write("/opt/vendor/deeper/more", b"ours\n");
        world.dpkg_replaces("/opt/vendor/deeper/notes");
        world.renames("/opt/vendor/deeper/in", "/opt/vendor/deeper/out");
        world.dpkg_replaces("/opt/vendor/deeper/out/notes");
    });
    assert_eq!(
        changes(&world),
        expected(&[
            ("/opt/vendor/deep", "hidden"),
            ("/opt/vendor/deeper", "moved"),
            ("/opt/vendor/deeper/in", "hidden"),
            ("/opt/vendor/deeper/more", "added"),
            ("/opt/vendor/deeper/notes", "replaced"),
            ("/opt/vendor/deeper/out", "moved"),
            ("/opt/vendor/deeper/out/notes", "replaced"),
        ])
    );
    assert_eq!(diff(&world)["changes"][1]["note"], "from vendor/deep");
    assert_eq!(diff(&world)["changes"][5]["note"], "from vendor/deep/in");
}

/// Taken away, what is above can still be compared with what is below.
#[test]
fn nothing_is_changed_by_looking() {
    let world = upgraded();
    let before = (changes(&world), world.sandbox().mount_table());
    world.unmount("/opt");
    assert_eq!(changes(&world), before.0);
    world.begin();
    world.end();
    assert_eq!((changes(&world), world.sandbox().mount_line("/opt").is_some()), (before.0, true));
}

// ── reset ───────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn nothing_is_discarded_unless_that_is_said() {
    let world = upgraded();
    for words in [&["overlay", "reset", "/opt"][..], &["overlay", "reset", "/opt", "app/new"]] {
        let said = world.rokeep_given(words, b"").assert_code(3);
        said.assert_says(&["would be lost", "rokeep overlay diff /opt", "nothing was changed", "--discard"]);
    }
    assert_eq!(changes(&world).len(), 3);
}

#[test]
fn all_of_it_can_be_discarded() {
    let world = upgraded();
    let holder = world.hold(Cwd("/opt/app"));
    let said = world.rokeep(["overlay", "reset", "/opt", "--discard"]).assert_code(3);
    said.assert_says(&["/opt is in use", &format!("({})", holder.pid())]);
    drop(holder);
    let root =
        |path: &str| fs::metadata(world.outside(path)).map(|found| (found.mode(), found.uid())).expect("it is there");
    let before = root("/opt");
    world.rokeep(["overlay", "reset", "/opt", "--discard"]).assert_code(0).assert_says(&["dpkg --verify"]);
    assert_eq!((changes(&world).len(), root("/opt")), (0, before));
    assert!(world.inode("/opt/app/old").is_some() && world.inode("/opt/app/new").is_none());
    world.assert_mount("/opt", ReadOnly);
    world.rokeep(["overlay", "status"]).assert_code(0);
    let left: Vec<_> =
        fs::read_dir(world.outside(HOME)).expect("a directory").map(|e| e.expect("an entry").file_name()).collect();
    assert!(!left.iter().any(|name| name == "discarded" || name == "upper.new"), "{left:?}");
    writes(&world, || world.write("/opt/app/new", b"again\n"));
    assert_eq!(changes(&world), expected(&[("/opt/app/new", "added")]));
}

#[test]
fn some_of_it_can_be_discarded() {
    let world = upgraded();
    let reset = |path: &str| world.rokeep(["overlay", "reset", "/opt", path, "--discard"]);
    reset("/opt/app/old").assert_code(0);
    assert_eq!(changes(&world), expected(&[("/opt/app/bin", "replaced"), ("/opt/app/new", "added")]));
    reset("app").assert_code(0).assert_says(&["1 path of /opt"]);
    assert_eq!(changes(&world), []);
    writes(&world, || {
        world.write("/opt/app/x", b"x");
        world.write("/opt/vendor/x", b"x");
    });
    let several = ["overlay", "reset", "/opt", "app/x", "vendor/x", "app", "vendor/x", "--discard"];
    world.rokeep(several).assert_code(0).assert_says(&["2 paths of /opt"]);
    assert_eq!(changes(&world), []);
    for (path, says) in [("app", "is not above"), ("../usr", "is not below /opt"), ("/usr/bin", "is not below /opt")] {
        reset(path).assert_code(3).assert_says(&[says, "nothing was changed"]);
    }
    writes(&world, || {
        fs::remove_dir_all(world.outside("/opt/vendor")).expect("it goes");
        world.write("/opt/vendor/ours", b"ours\n");
    });
    reset("vendor/ours").assert_code(3).assert_says(&["is in vendor, of which nothing below is seen"]);
    reset("vendor").assert_code(0);
    assert!(world.inode("/opt/vendor/deep/notes").is_some());
}

// ── masks ───────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn what_is_masked_is_hidden_before_anything_is_installed() {
    let world = made();
    let enable = |names: &[&str]| {
        let words = [&["overlay", "enable", "/opt", "--mask"], names].concat();
        world.rokeep_given(&words, b"")
    };
    enable(&["vendr"]).assert_code(3).assert_says(&["there is no vendr in /opt to hide", "nothing was changed"]);
    enable(&["vendor/deep"]).assert_code(2);
    assert!(world.inode("/opt/vendor/tool").is_some() && !world.outside(HOME).exists());
    enable(&["vendor", "lib"]).assert_code(0);
    assert!(
        world.inode("/opt/vendor").is_none() && world.inode("/opt/lib").is_none() && world.inode("/opt/app").is_some()
    );
    assert_eq!(changes(&world), expected(&[("/opt/lib", "hidden"), ("/opt/vendor", "hidden")]));
    enable(&["vendor"]).assert_code(0);
    enable(&["bin"]).assert_code(3).assert_says(&["does not hide bin", "nothing was changed"]);

    writes(&world, || world.write("/opt/vendor/ours", b"ours\n"));
    assert!(world.inode("/opt/vendor/tool").is_none());
    world.rokeep(["overlay", "reset", "/opt", "--discard"]).assert_code(0);
    assert!(world.inode("/opt/vendor").is_none(), "hidden again");
    world.rokeep(["overlay", "reset", "/opt", "vendor", "--discard"]).assert_code(0);
    assert!(world.inode("/opt/vendor/tool").is_some());
}

#[test]
fn the_settings_can_mask() {
    let world = made();
    // One file for many machines: what is not there needs no hiding.
    let text = b"[managed.\"/opt\"]\nmode = \"overlay\"\nmask = [\"vendor\", \"not-here\"]\n";
    world.write("/etc/rokeep/config.toml", text);
    writes(&world, || assert!(world.inode("/opt/vendor").is_none()));
    world.write("/etc/rokeep/config.toml", b"[managed.\"/opt\"]\nmode = \"overlay\"\nmask = [\"bin\"]\n");
    world.begin().assert_says(&["bin is not hidden in /opt as the settings have it"]);
    world.end();
}

// ── changes ─────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_change_below_is_noticed_and_said_until_somebody_has_seen_it() {
    let world = upgraded();
    world.rokeep(["overlay", "status"]).assert_code(0);
    change_below(&world, || world.write(format!("{LOWER}/app/bin"), b"newer than ours\n"));
    for _ in 0..2 {
        world
            .begin()
            .assert_says(&["what is below the overlay on /opt has changed (/opt/app/bin)", "overlay enable /opt"]);
        world.end();
    }
    let status = world.rokeep(["overlay", "status", "--json"]).assert_code(1);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["overlays"][0]["lower_changed"], serde_json::json!(["app/bin"]));
    let holder = world.hold(Cwd("/opt/app"));
    let said = world.rokeep(["overlay", "enable", "/opt"]).assert_code(3);
    said.assert_says(&["is in use", &format!("({})", holder.pid()), "nothing was changed"]);
    drop(holder);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0).assert_says(&["laid anew"]);
    world.rokeep(["overlay", "status"]).assert_code(0);

    change_below(&world, || world.write(format!("{LOWER}/added"), b"x"));
    assert!(world.rokeep(["overlay", "status"]).assert_code(1).stdout.contains("CHANGED below, in 1 place"));
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    assert!(world.inode("/opt/added").is_some());
}

/// As if what was written down of what is below had been before the last start of the machine.
fn is_of_an_earlier_start(world: &Small, home: &str) {
    let seen = world.outside(format!("{home}/below.json"));
    let text = fs::read_to_string(&seen).expect("what was seen");
    let mut seen_then: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    seen_then["boot"] = "another".into();
    fs::write(&seen, seen_then.to_string()).expect("another start");
}

/// The units have laid it over another image: nothing that is seen is undefined, and somebody may use it all the time.
#[test]
fn a_change_before_the_machine_was_started_is_taken_as_it_is() {
    let world = upgraded();
    change_below(&world, || world.write(format!("{LOWER}/app/bin"), b"newer than ours\n"));
    let _holder = world.hold(Cwd("/opt/app"));
    let just_started =
        |words: &[&str]| world.runs("/tool/holder", &[&["just-started", "/tool/rokeep"], words].concat());
    let is_undefined = |words: &[&str]| {
        let said = just_started(&["overlay", "status"]).assert_code(1);
        assert!(said.stdout.contains("lays the overlay anew"), "{words:?}: {}", said.stdout);
        just_started(words).assert_code(3).assert_says(&["/opt is in use", "nothing was changed"]);
    };
    // Seen since the machine was started; and changed since.
    is_undefined(&["overlay", "enable", "/opt"]);
    is_of_an_earlier_start(&world, HOME);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(3).assert_says(&["/opt is in use", "nothing was changed"]);

    let status = just_started(&["overlay", "status"]).assert_code(1);
    assert!(
        status.stdout.contains("OTHER below, in 1 place, than before: \"rokeep overlay enable /opt\""),
        "{}",
        status.stdout
    );
    let status = just_started(&["overlay", "status", "--json"]).assert_code(1);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(
        (&status["overlays"][0]["lower_changed"], &status["overlays"][0]["needs_laying_anew"]),
        (&serde_json::json!(["app/bin"]), &false.into())
    );
    let before = world.sandbox().mount_table();
    let said = just_started(&["overlay", "enable", "/opt"]).assert_code(0);
    said.assert_says(&["is not what it was (/opt/app/bin)", "rokeep overlay diff /opt"]);
    assert_eq!(world.sandbox().mount_table(), before);
    world.rokeep(["overlay", "status"]).assert_code(0);
    // From now on it is this that must not change.
    change_below(&world, || world.write(format!("{LOWER}/app/bin"), b"newer still\n"));
    is_undefined(&["overlay", "enable", "/opt"]);
}

/// It is always in use on a running machine: only another start lays it anew.
#[test]
fn of_usr_it_is_said_that_the_machine_has_to_be_started() {
    let world = Small::with(&[Mount("/usr", Tmpfs, ReadOnly)]).hands_over(&["/usr", "/etc/systemd"]);
    let lower = "/var/lib/rokeep/overlay/usr/lower";
    world.rokeep(["overlay", "enable", "/usr"]).assert_code(0);
    let _holder = world.hold(Cwd("/usr/lib"));
    world.remount("rw", lower).expect("it can be, here");
    world.write(format!("{lower}/added"), b"x");
    world.remount("ro", lower).expect("nobody writes");
    let says = ["start the machine anew", "rokeep overlay enable /usr"];
    world.rokeep(["overlay", "enable", "/usr"]).assert_code(3).assert_says(&says).assert_says(&["nothing was changed"]);
    assert!(world.rokeep(["overlay", "status"]).assert_code(1).stdout.contains("start the machine anew"));
    world.begin().assert_says(&says);
    world.end();
    is_of_an_earlier_start(&world, "/var/lib/rokeep/overlay/usr");
    let enable = ["just-started", "/tool/rokeep", "overlay", "enable", "/usr"];
    world.runs("/tool/holder", &enable).assert_code(0).assert_says(&["is not what it was"]);
    world.rokeep(["overlay", "status"]).assert_code(0);
}

/// An image of another size, though everything that is looked at in it is as it was.
#[test]
fn another_image_below_is_noticed() {
    let world = Small::with(&[Mount("/usr", Tmpfs, ReadOnly), Mount("/opt", Squashfs, ReadOnly)]);
    let world = world.hands_over(&["/opt", "/etc/systemd"]);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    world.rokeep(["overlay", "status"]).assert_code(0);
    let seen = world.outside(format!("{HOME}/below.json"));
    let text = fs::read_to_string(&seen).expect("what was seen");
    let (head, tail) = text.split_once("\"size\":[").expect("a size");
    fs::write(&seen, format!("{head}\"size\":[1{tail}")).expect("another size");
    world.begin().assert_says(&["what is below the overlay on /opt has changed (/opt)"]);
    world.end();
}

/// A backup: the same files, and not what is mounted.
#[test]
fn that_what_is_above_was_exchanged_stops_apt() {
    let world = upgraded();
    world.renames(UPPER, "/var/old");
    let copied =
        std::process::Command::new("cp").arg("-a").arg(world.outside("/var/old")).arg(world.outside(UPPER)).status();
    assert!(copied.expect("cp").success());
    let said = world.hook("pre-invoke", None).assert_code(3);
    said.assert_says(&["is not what is in", UPPER, "rokeep overlay enable /opt", "dpkg was not started"]);
    assert!(world.rokeep(["overlay", "status"]).assert_code(1).stdout.contains("GONE, or exchanged"));
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0).assert_says(&["laid anew"]);
    writes(&world, || world.write("/opt/app/newest", b"x"));
    assert!(world.outside(format!("{UPPER}/app/newest")).exists());
    world.rokeep(["overlay", "status"]).assert_code(0);
}

/// What is looked at for that is the same on every file system that can be above.
#[test]
fn what_is_above_is_known_again() {
    for above in [Ext4, Tmpfs] {
        let mounts =
            [Mount("/usr", Tmpfs, ReadOnly), Mount("/opt", Squashfs, ReadOnly), Mount("/data", above, Writable)];
        let world = Small::with(&mounts).hands_over(&["/opt", "/etc/systemd", "/data"]);
        world.rokeep(["overlay", "enable", "/opt", "--upper", "/data/opt"]).assert_code(0);
        writes(&world, || world.write("/opt/x", b"x"));
        writes(&world, || world.removes("/opt/x"));
        world.rokeep(["overlay", "status"]).assert_code(0);
    }
}
