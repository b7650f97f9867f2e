//! Doing without an overlay: directories that live wholly above are mounted one by one over what is below.

use std::fs;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount},
    Change::{Install, Remove, Upgrade},
    FileSystem::Tmpfs,
    Mount, Small,
    State::{Cwd, Mapped},
};

const APP: &str = "/opt/app/bin/app";
const RECORD: &str = "/var/lib/rokeep/overlay/opt/overlay.json";
const UPPER: &str = "/var/lib/rokeep/overlay/opt/upper";
const LOWER: &str = "/var/lib/rokeep/overlay/opt/lower";
const UNITS: &str = "/etc/systemd/system";

/// /opt has an application of somebody's, which is hidden, and ours is installed in its place; and something beside it.
fn installed() -> Small {
    let world = Small::with(&[Mount("/usr", Tmpfs, ReadOnly), Mount("/opt", Tmpfs, ReadOnly)]);
    let world = world.hands_over(&["/opt", "/etc/systemd", "/var/opt"]);
    world.writably(|| {
        world.write("/opt/app/theirs", b"theirs\n");
        world.write("/opt/beside/it", b"theirs\n");
    });
    world.rokeep(["overlay", "enable", "/opt", "--mask", "app"]).assert_code(0);
    world.begin();
    world.protect(&[Install("app", "1")]);
    world.write_program(APP);
    world.end();
    world.recorded("app", "1", &["/opt", "/opt/app", "/opt/app/bin", APP])
}

fn bound() -> Small {
    let world = installed();
    world.rokeep(["overlay", "bind", "/opt"]).assert_code(0).assert_says(&["/opt has no overlay: /opt/app of it"]);
    world
}

fn has(world: &Small, path: &str) -> bool {
    world.inode(path).is_some()
}

#[test]
fn what_lives_above_is_mounted_and_the_rest_is_as_it_is_below() {
    let world = installed();
    assert!(has(&world, APP) && !has(&world, "/opt/app/theirs") && world.fs_type("/opt") == "overlay");
    world.rokeep(["overlay", "bind", "/opt"]).assert_code(0);
    assert!(has(&world, APP) && !has(&world, "/opt/app/theirs") && has(&world, "/opt/beside/it"));
    assert_eq!(world.fs_type("/opt"), "tmpfs");
    assert!(world.sandbox().mount_line(LOWER).is_none());
    world.assert_mount("/opt/app", ReadOnlyMount);
    assert!(
        world
            .rokeep(["overlay", "status"])
            .assert_code(0)
            .stdout
            .contains("/opt  directories, read-only\n         /opt/app\n")
    );
    // What is below may change now.
    world.remount("rw", "/opt").expect("it can be, here");
    world.write("/opt/beside/more", b"theirs\n");
    world.remount("ro", "/opt").expect("nobody writes");
    assert!(has(&world, "/opt/beside/more"));
    world.rokeep(["overlay", "status"]).assert_code(0);
}

#[test]
fn a_package_is_upgraded_there_while_it_runs() {
    let mut world = bound();
    world.remember(&[APP]);
    let holder = world.hold(Mapped(APP));
    world.begin();
    world.assert_mount("/opt", ReadOnly);
    world.protect(&[Upgrade("app", "1", "2")]);
    world.dpkg_replaces(APP);
    world.end();
    world.assert_mount("/opt/app", ReadOnlyMount);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
    assert!(world.outside(format!("{UPPER}/app/bin/app")).exists());
}

/// dpkg would break it there.
#[test]
fn a_package_that_has_something_elsewhere_stops_apt() {
    let world = bound();
    let stops = |world: &Small, change, says: &[&str]| {
        world.begin();
        let said = world.hook("pre-install-pkgs", Some(crate::support::small::stream(&[change])));
        said.assert_code(3).assert_says(says).assert_says(&[
            "nothing can be but what is in /opt/app",
            "rokeep overlay enable /opt",
            "dpkg was not started",
        ]);
        world.assert_mount("/opt/app", ReadOnlyMount);
        world.assert_no_session();
    };
    world.archive("other", "1", &[], &["/opt/other/file"]);
    stops(&world, Install("other", "1"), &["/opt/other/file of other is to be written or removed"]);
    world.archive("app", "2", &[], &[APP, "/opt/beside/app"]);
    stops(&world, Upgrade("app", "1", "2"), &["/opt/beside/app of app"]);
    let world = world.recorded("theirs", "1", &["/opt", "/opt/beside", "/opt/beside/it"]);
    stops(&world, Remove("theirs", "1"), &["/opt/beside/it of theirs"]);
    // What dpkg would end with, and cannot: it is a mount point now.
    stops(&world, Remove("app", "1"), &["/opt/app of app is to be written or removed"]);
    // Neither is in checksums.
    let sums = ("md5sums", "d41d8cd98f00b204e9800998ecf8427e  opt/app/bin/app\n");
    world.archive_with_links("app", "2", &[sums], &[APP], &["/opt/beside/link"]);
    stops(&world, Upgrade("app", "1", "2"), &["/opt/beside/link of app"]);
    world.archive_with_links("app", "2", &[sums], &[APP], &["/opt/empty/"]);
    stops(&world, Upgrade("app", "1", "2"), &["/opt/empty of app"]);
    // What is there below is left there: a directory, and the same link to one.
    world.remount("rw", "/opt").expect("it can be, here");
    world.points("/opt/leads", "beside");
    world.makes_directory("/opt/beside/nowhere");
    world.remount("ro", "/opt").expect("nobody writes");
    world.archive_with_links("app", "2", &[sums], &[APP], &["/opt/leads"]);
    stops(&world, Upgrade("app", "1", "2"), &["/opt/leads of app"]);
    world.remount("rw", "/opt").expect("it can be, here");
    world.points("/opt/leads", "nowhere");
    world.makes_directory("/opt/nowhere");
    world.remount("ro", "/opt").expect("nobody writes");
    let others = ["/opt/beside/", "/opt/app/bin/", "/opt/leads", "/opt/beside/nowhere"];
    world.archive_with_links("app", "2", &[sums], &[APP], &others);
    world.begin();
    world.protect(&[Upgrade("app", "1", "2")]);
    world.end();
    world.archive("app", "3", &[], &[APP, "/opt/app/more", "/usr/bin/more"]);
    world.begin();
    world.protect(&[Upgrade("app", "1", "3")]);
    world.end();
}

#[test]
fn and_back() {
    let world = bound();
    for _ in 0..2 {
        world.rokeep(["overlay", "enable", "/opt"]).assert_code(0).assert_says(&["/opt has an overlay now"]);
        assert_eq!((world.fs_type("/opt"), world.fs_type("/opt/app")), ("overlay".into(), String::new()));
        assert!(has(&world, APP) && !has(&world, "/opt/app/theirs"));
        world.assert_mount("/opt", ReadOnly);
        world.rokeep(["overlay", "status"]).assert_code(0);
        assert!(!world.outside(format!("{UNITS}/opt-app.mount")).exists());
        world.rokeep(["overlay", "bind", "/opt"]).assert_code(0);
        world.rokeep(["overlay", "bind", "/opt"]).assert_code(0);
    }
    world.rokeep(["overlay", "reset", "/opt", "--discard"]).assert_code(3).assert_says(&["rokeep overlay enable /opt"]);
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(0).assert_says(&["is kept in"]);
    assert!(has(&world, "/opt/app/theirs") && world.fs_type("/opt/app").is_empty() && world.fs_type("/opt") == "tmpfs");
    let units: Vec<_> = walkdir::WalkDir::new(world.outside(UNITS)).into_iter().filter_map(Result::ok).collect();
    assert!(!units.iter().any(|unit| !unit.file_type().is_dir()), "{units:?}");
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    assert!(has(&world, APP) && !has(&world, "/opt/app/theirs"));
}

#[test]
fn what_would_be_lost_is_listed_and_nothing_is_done() {
    let world = installed();
    world.begin();
    world.write("/opt/new/file", b"x");
    world.write("/opt/beside/ours", b"x");
    world.removes("/opt/lib");
    world.end();
    let before = world.sandbox().mount_table();
    let said = world.rokeep(["overlay", "bind", "/opt"]).assert_code(3);
    for line in [
        "/opt/new  is not below; make an empty directory of that name there, or remove this one",
        "/opt/beside/ours  added, in a directory that has more from below",
        "/opt/lib  is below, and would be seen again",
    ] {
        assert!(said.stdout.lines().any(|found| found == line), "{line}: {}", said.stdout);
    }
    assert!(said.stdout.ends_with("nothing was changed\n") && world.sandbox().mount_table() == before);
    for path in ["new", "beside/ours", "lib"] {
        world.rokeep(["overlay", "reset", "/opt", path, "--discard"]).assert_code(0);
    }
    world.rokeep(["overlay", "bind", "/opt"]).assert_code(0);
}

/// What was below was replaced name by name: nothing of it is seen, so it can be mounted, and what hid the rest is gone.
#[test]
fn a_directory_can_come_to_live_above() {
    let world = installed();
    world.begin();
    world.dpkg_replaces("/opt/beside/it");
    world.write("/opt/beside/more", b"x");
    world.end();
    world.rokeep(["overlay", "bind", "/opt"]).assert_code(0);
    assert_eq!(world.fs_type("/opt/beside"), world.fs_type("/opt/app"));
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    world.begin();
    world.removes("/opt/beside/it");
    world.end();
    world.rokeep(["overlay", "bind", "/opt"]).assert_code(0);
    let names: Vec<_> =
        fs::read_dir(world.outside("/opt/beside")).expect("it is there").map(|e| e.expect("one").file_name()).collect();
    assert_eq!(names, ["more"]);
}

#[test]
fn who_uses_it_is_named_and_it_stays() {
    let world = installed();
    let before = world.sandbox().mount_table();
    let holder = world.hold(Mapped(APP));
    let said = world.rokeep(["overlay", "bind", "/opt"]).assert_code(3);
    said.assert_says(&["/opt is in use", &format!("({})", holder.pid()), "The overlay is as it was"]);
    assert_eq!(world.sandbox().mount_table(), before);
    world.rokeep(["overlay", "status"]).assert_code(0);
    drop(holder);
    world.rokeep(["overlay", "bind", "/opt"]).assert_code(0);

    let before = world.sandbox().mount_table();
    for state in [Mapped(APP), Cwd("/opt/app")] {
        let holder = world.hold(state);
        for words in [["overlay", "enable", "/opt"], ["overlay", "disable", "/opt"]] {
            let said = world.rokeep(words).assert_code(3);
            said.assert_says(&["/opt/app is in use", &format!("({})", holder.pid()), "still there"]);
            assert_eq!(world.sandbox().mount_table(), before);
            world.rokeep(["overlay", "status"]).assert_code(0);
        }
    }
}

/// As after a start of the machine that knew no units.
#[test]
fn what_is_missing_is_mounted_by_the_next_package_run() {
    let world = bound();
    world.unmount("/opt/app");
    let status = world.rokeep(["overlay", "status"]).assert_code(1);
    assert!(status.stdout.contains("directories NOT MOUNTED: \"rokeep overlay bind /opt\""), "{}", status.stdout);
    world.begin().assert_says(&["directories of /opt were not mounted, and are now"]);
    assert!(has(&world, APP) && !has(&world, "/opt/app/theirs"));
    world.end();
    world.assert_mount("/opt/app", ReadOnlyMount);
    world.unmount("/opt/app");
    world.bind("/var/tmp", "/opt/app");
    let said = world.hook("pre-invoke", None).assert_code(3);
    said.assert_says(&["something else is mounted at /opt/app", "dpkg was not started"]);
    world.unmount("/opt/app");
    world.unmount("/opt");
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["/opt is not mounted", "dpkg was not started"]);
}

#[test]
fn they_can_go_with_the_next_start_of_the_machine() {
    let world = bound();
    let holder = world.hold(Mapped(APP));
    world.rokeep(["overlay", "disable", "--at-next-start", "/opt"]).assert_code(0);
    assert!(has(&world, APP) && !world.outside(format!("{UNITS}/opt-app.mount")).exists());
    assert!(world.rokeep(["overlay", "status"]).assert_code(1).stdout.contains("GOES"));
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["goes with the next start"]);
    drop(holder);
    world.unmount("/opt/app");
    world.is_another_start(RECORD);
    assert!(has(&world, "/opt/app/theirs"));
    // As directories again, without an overlay in between.
    world.rokeep(["overlay", "bind", "/opt"]).assert_code(0);
    assert!(has(&world, APP) && world.outside(format!("{UNITS}/opt-app.mount")).exists());
    world.rokeep(["overlay", "status"]).assert_code(0);

    world.rokeep(["overlay", "disable", "--at-next-start", "/opt"]).assert_code(0);
    world.unmount("/opt/app");
    world.is_another_start(RECORD);
    world.begin().assert_says(&["/opt has no overlay any more", "is kept in"]);
    world.end();
    assert!(has(&world, "/opt/app/theirs") && world.outside(format!("{UPPER}/app/bin/app")).exists());
    assert!(world.rokeep(["overlay", "status"]).assert_code(0).stdout.contains("there is no overlay"));
}

/// As whoever is killed once he has written it down leaves it.
fn intend(world: &Small) {
    let text = fs::read_to_string(world.outside(RECORD)).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    record["bound"] = serde_json::json!(["app"]);
    world.write(RECORD, record.to_string().as_bytes());
}

/// Written down, and not done: it is finished, or what is in use stays an overlay.
#[test]
fn what_was_interrupted_is_finished_or_taken_back() {
    let world = installed();
    intend(&world);
    let holder = world.hold(Cwd("/opt/app"));
    // Whoever began it tries again.
    let said = world.rokeep(["overlay", "bind", "/opt"]).assert_code(3);
    said.assert_says(&["/opt keeps its overlay", &format!("({})", holder.pid())]);
    assert!(!world.outside(format!("{UNITS}/opt-app.mount")).exists());
    world.rokeep(["overlay", "status"]).assert_code(0);
    intend(&world);
    world.begin().assert_says(&["/opt keeps its overlay", &format!("({})", holder.pid())]);
    assert_eq!(world.fs_type("/opt"), "overlay");
    world.end();
    world.assert_mount("/opt", ReadOnly);
    drop(holder);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    world.rokeep(["overlay", "status"]).assert_code(0);

    intend(&world);
    world.begin();
    assert!(world.fs_type("/opt") == "tmpfs" && has(&world, APP) && !has(&world, "/opt/app/theirs"));
    world.end();
    world.assert_mount("/opt/app", ReadOnlyMount);
    world.rokeep(["overlay", "bind", "/opt"]).assert_code(0);
    world.rokeep(["overlay", "status"]).assert_code(0);
}

/// What is below can be written to by now, which nothing can be laid over: it stays as it is.
#[test]
fn where_there_can_be_no_overlay_again_the_directories_stay() {
    let world = bound();
    world.remount("rw", "/opt").expect("it can be, here");
    let said = world.rokeep(["overlay", "enable", "/opt"]).assert_code(3);
    said.assert_says(&["or not read-only", "The directories are mounted as before"]);
    assert!(has(&world, APP) && !has(&world, "/opt/app/theirs"));
    world.assert_mount("/opt/app", ReadOnlyMount);
    world.rokeep(["overlay", "status"]).assert_code(0);
    world.remount("ro", "/opt").expect("nobody writes");
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
}

#[test]
fn on_an_older_kernel_they_are_mounted_all_the_same() {
    let world = installed();
    let rokeep = |words: &[&str]| world.runs("/tool/holder", &[&["before-5.12", "/tool/rokeep"], words].concat());
    rokeep(&["overlay", "bind", "/opt"]).assert_code(0);
    assert!(has(&world, APP) && !has(&world, "/opt/app/theirs") && world.sandbox().mount_line(LOWER).is_none());
    world.assert_mount("/opt/app", ReadOnlyMount);
    rokeep(&["overlay", "enable", "/opt"]).assert_code(0);
    world.assert_mount("/opt", ReadOnly);
    assert!(has(&world, APP) && world.fs_type("/opt") == "overlay");
}

/// Somebody has removed what is above while it was mounted: there is a way on.
#[test]
fn what_is_gone_can_be_discarded() {
    let world = bound();
    fs::remove_dir_all(world.outside(UPPER)).expect("somebody removes it");
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["rokeep overlay disable --discard /opt"]);
    world.rokeep(["overlay", "disable", "--discard", "/opt"]).assert_code(0);
    assert!(has(&world, "/opt/app/theirs") && !world.outside("/var/lib/rokeep/overlay").exists());
}

/// A directory that is not below any more.
#[test]
fn what_cannot_be_mounted_leaves_the_overlay() {
    let world = installed();
    let lower = world.outside(format!("{LOWER}/app"));
    world.remount("rw", LOWER).expect("it can be, here");
    fs::remove_dir_all(&lower).expect("somebody removes it");
    world.remount("ro", LOWER).expect("nobody writes");
    let said = world.rokeep(["overlay", "bind", "/opt"]).assert_code(3);
    assert!(said.stdout.contains("/opt/app  is not below"), "{}", said.stdout);
    assert!(world.fs_type("/opt") == "overlay" && has(&world, APP));
    // The same, found only after an interruption.
    intend(&world);
    world.begin().assert_says(&["/opt keeps its overlay", "/opt/app is not below"]);
    assert!(world.fs_type("/opt") == "overlay" && has(&world, APP));
    world.end();
    world.assert_mount("/opt", ReadOnly);
}
