//! Packages on a mount that can never be writable: an overlay is laid over it, and is a mount like any other from then on.

use crate::support::small::{
    Access::{self, ReadOnly, Writable, WriteProtected},
    Alias,
    Change::{Install, Upgrade},
    FileSystem::{self, Btrfs, Erofs, Exfat, Ext4, Overlay, Squashfs, Tmpfs, Xfs},
    Mount, Small,
    State::{Cwd, Mapped},
    Where::OwnMounts,
};

const TOOL: &str = "/opt/bin/tool";
const UPPER: &str = "/var/lib/rokeep/overlay/opt/upper";
const UNITS: &str = "/etc/systemd";
const UNIT: &str = "/etc/systemd/system/opt.mount";
const UNIT_BELOW: &str = "/etc/systemd/system/var-lib-rokeep-overlay-opt-lower.mount";
const RECORD: &str = "/var/lib/rokeep/overlay/opt/overlay.json";
const LOWER: &str = "/var/lib/rokeep/overlay/opt/lower";

/// /opt is one of these; /usr is none of the story.
fn on(below: FileSystem) -> Small {
    let found = if below == Ext4 { WriteProtected } else { ReadOnly };
    Small::with(&[Mount("/usr", Tmpfs, ReadOnly), Mount("/opt", below, found)]).hands_over(&["/opt", UNITS, "/var/opt"])
}

/// The same, and a file system for what is above.
fn with_data(above: FileSystem, access: Access) -> Small {
    let mounts = [Mount("/usr", Tmpfs, ReadOnly), Mount("/opt", Squashfs, ReadOnly), Mount("/data", above, access)];
    Small::with(&mounts).hands_over(&["/opt", UNITS, "/data"])
}

fn enabled(below: FileSystem) -> Small {
    let world = on(below);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0).assert_says(&["/opt has an overlay now", UPPER]);
    world
}

/// A package run that unpacks one program, which does not end with the mount read-only because nobody uses it.
fn install(world: &Small, version: &str) {
    world.begin();
    world.assert_mount("/opt", Writable);
    world.protect(&[Install("tool", version)]);
    world.write_program(TOOL);
    world.end();
    world.assert_mount("/opt", ReadOnly);
}

fn fs_type(world: &Small, point: &str) -> String {
    let line = world.mount_line(point);
    let (_, after) = line.split_once(" - ").expect("a mount line");
    after.split(' ').next().expect("a type").to_owned()
}

fn is_mounted(world: &Small, point: &str) -> bool {
    world.sandbox().mount_line(point).is_some()
}

const BELOW: [FileSystem; 3] = [Squashfs, Erofs, Ext4];

/// The same world without an overlay: apt is stopped, and is told what helps.
#[test]
fn control_without_it_apt_is_stopped() {
    for (below, helps) in [(Squashfs, "overlay enable /opt"), (Erofs, "overlay enable /opt"), (Ext4, "write-protected")]
    {
        let world = on(below);
        world.hook("pre-invoke", None).assert_code(3).assert_says(&[helps, "dpkg was not started"]);
    }
}

#[test]
fn a_package_is_installed_and_upgraded_while_it_runs() {
    for below in BELOW {
        let world = enabled(below);
        world.assert_mount("/opt", ReadOnly);
        assert_eq!(fs_type(&world, "/opt"), "overlay", "{below:?}");
        install(&world, "1");
        let mut world = world.recorded("tool", "1", &[TOOL]);
        world.remember(&[TOOL]);
        let holder = world.hold(Mapped(TOOL));
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2")]);
        world.dpkg_replaces(TOOL);
        world.end().assert_says(&["1 replaced file", &format!("({})", holder.pid())]);
        world.assert_mount("/opt", ReadOnly);
        world.assert_alias(TOOL, Alias::Kept);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/opt", ReadOnly);
        world.assert_nothing_of_ours();
        assert!(world.outside(UPPER).join("bin/tool").exists());
    }
}

/// Without an alias it is as busy as any mount.
#[test]
fn control_a_replaced_file_in_use_keeps_it_writable() {
    let world = enabled(Squashfs);
    install(&world, "1");
    let _holder = world.hold(Mapped(TOOL));
    world.remount("rw", "/opt").expect("it can");
    world.dpkg_replaces(TOOL);
    assert_eq!(world.remount("ro", "/opt"), Err(nix::errno::Errno::EBUSY));
}

#[test]
fn the_topmost_directory_looks_as_it_did() {
    let world = on(Squashfs);
    let look = |world: &Small| {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(world.outside("/opt")).expect("/opt");
        (found.mode(), found.uid(), found.gid())
    };
    let before = look(&world);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    assert_eq!(look(&world), before);
}

#[test]
fn what_is_above_can_be_on_each_local_file_system() {
    for above in [Ext4, Xfs, Btrfs, Tmpfs] {
        let world = with_data(above, Writable);
        world
            .rokeep(["overlay", "enable", "/opt", "--upper", "/data/opt"])
            .assert_code(0)
            .assert_says(&["/data/opt/upper"]);
        install(&world, "1");
        assert!(world.outside("/data/opt/upper/bin/tool").exists(), "{above:?}");
    }
}

#[test]
fn where_there_can_be_none_nothing_is_changed() {
    for (world, upper, says) in [
        (with_data(Exfat, Writable), "/data/x", "/data/x cannot be used"),
        (with_data(Overlay(""), Writable), "/data/x", "/data is an overlay itself"),
        (with_data(Ext4, ReadOnly), "/data/x", "/data is read-only"),
        (on(Squashfs), "/opt/x", "it is on the file system that is to be overlaid"),
        (on(Squashfs), "/var/a:b", "has a character in it"),
    ] {
        let before = world.mount_line("/opt");
        world.rokeep(["overlay", "enable", "/opt", "--upper", upper]).assert_code(3).assert_says(&[says]);
        assert_eq!(world.mount_line("/opt"), before, "{says}");
        assert!(!world.outside(upper).exists(), "{says}");
        assert!(!is_mounted(&world, LOWER) && !world.outside("/etc/systemd/system/opt.mount").exists(), "{says}");
        assert_eq!(world.rokeep(["overlay", "status"]).assert_code(0).stdout, "there is no overlay\n", "{says}");
    }
    let world = on(Squashfs);
    for (point, says) in [
        ("/", "mounted before anything could lay an overlay over it"),
        ("/var", "/var is no mount point"),
        ("/none", "/none is no mount point"),
    ] {
        world.rokeep(["overlay", "enable", point]).assert_code(3).assert_says(&[says, "nothing was changed"]);
    }
    let nested = Small::with(&[
        Mount("/usr", Tmpfs, ReadOnly),
        Mount("/opt", Ext4, ReadOnly),
        Mount("/opt/lib", Tmpfs, ReadOnly),
    ]);
    nested.rokeep(["overlay", "enable", "/opt"]).assert_code(3).assert_says(&["/opt/lib is mounted below /opt"]);
}

/// Two times the same thing is that thing; another place is refused.
#[test]
fn enabling_it_again_changes_nothing() {
    let world = enabled(Squashfs);
    let before = world.sandbox().mount_table();
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    assert_eq!(world.sandbox().mount_table(), before);
    let another = world.rokeep(["overlay", "enable", "/opt", "--upper", "/var/x"]);
    another.assert_code(3).assert_says(&["has an overlay already", "nothing was changed"]);
}

#[test]
fn what_is_taken_away_is_kept_and_comes_back() {
    let world = enabled(Squashfs);
    install(&world, "1");
    let said = world.rokeep(["overlay", "disable", "/opt"]).assert_code(0);
    said.assert_says(&["/opt has no overlay any more", UPPER, "rokeep overlay enable /opt", "dpkg --verify"]);
    assert_eq!(fs_type(&world, "/opt"), "squashfs");
    assert!(!is_mounted(&world, LOWER) && !world.outside("/etc/systemd/system/opt.mount").exists());
    assert!(world.inode(TOOL).is_none() && world.outside(UPPER).join("bin/tool").exists());
    world.hook("pre-invoke", None).assert_code(3);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    assert!(world.inode(TOOL).is_some());
    world.rokeep(["overlay", "disable", "/opt", "--discard"]).assert_code(0);
    assert!(!world.outside("/var/lib/rokeep/overlay").exists());
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(3).assert_says(&["there is no overlay over /opt"]);
}

#[test]
fn one_that_is_in_use_stays_and_it_is_said_by_whom() {
    let world = enabled(Squashfs);
    install(&world, "1");
    for state in [Mapped(TOOL), Cwd("/opt/lib")] {
        let holder = world.hold(state);
        let said = world.rokeep(["overlay", "disable", "/opt"]).assert_code(3);
        said.assert_says(&["/opt is in use", &format!("({})", holder.pid()), "still there"]);
        assert_eq!(fs_type(&world, "/opt"), "overlay");
    }
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(0);
}

/// Whoever never ends, as on /usr, is no reason to keep it for ever.
#[test]
fn one_that_is_in_use_goes_with_the_next_start() {
    let world = enabled(Squashfs);
    install(&world, "1");
    let holder = world.hold(Mapped(TOOL));
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(3).assert_says(&["--at-next-start"]);
    goes_with_the_next_start(&world, &[]);
    assert_eq!(fs_type(&world, "/opt"), "overlay");
    assert!(world.inode(TOOL).is_some() && !is_there(&world, UNIT));
    assert!(is_there(&world, UNIT_BELOW), "it is unmounted before what it needs is stopped");
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["with the next start", "overlay enable /opt"]);
    for words in [&["overlay", "bind", "/opt"][..], &["overlay", "reset", "/opt", "--discard"]] {
        world.rokeep_given(words, b"").assert_code(3).assert_says(&["nothing was changed", "overlay enable /opt"]);
    }
    let json = world.rokeep(["overlay", "status", "--json"]).assert_code(1).stdout;
    assert!(json.contains("\"is_retiring\": true") && json.contains("\"state\": \"read-only\""), "{json}");
    // What cannot be taken away now is not written down as what stays.
    let refused = world.rokeep(["overlay", "disable", "/opt"]).assert_code(3);
    refused.assert_says(&["/opt is in use", "still there"]);
    assert!(!is_there(&world, UNIT) && is_there(&world, UNIT_BELOW), "the machine does not lay it");

    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    assert!(is_there(&world, UNIT));
    world.rokeep(["overlay", "status"]).assert_code(0);
    install(&world, "2");

    goes_with_the_next_start(&world, &[]);
    drop(holder);
    starts_with_what_is_below_alone(&world);
    world.rokeep(["overlay", "status"]).assert_code(0);
    // There is nothing to write to, and no overlay to be laid.
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["overlay enable /opt"]);
    assert!(world.rokeep(["overlay", "status"]).assert_code(0).stdout.contains("there is no overlay"));
    assert!(world.inode(TOOL).is_none() && world.outside(UPPER).join("bin/tool").exists());
    assert!(!is_there(&world, UNIT_BELOW));
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    assert!(world.inode(TOOL).is_some());
}

/// Also where nothing is to be made writable, as the mount it was over can be written to by now.
#[test]
fn what_is_gone_with_a_start_is_forgotten_and_kept_or_discarded() {
    for (discard, is_kept) in [(&[][..], true), (&["--discard"][..], false)] {
        let world = enabled(Squashfs);
        install(&world, "1");
        goes_with_the_next_start(&world, discard);
        assert!(world.outside(UPPER).join("bin/tool").exists());
        starts_with_what_is_below_alone(&world);
        world.unmount("/opt");
        world.remount("rw", "/usr").expect("nobody minds");
        let said = world.hook("pre-invoke", None).assert_code(0);
        said.assert_says(&["/opt has no overlay any more", "\"dpkg --verify\" names them"]);
        assert!(world.rokeep(["overlay", "status"]).assert_code(0).stdout.contains("there is no overlay"));
        assert_eq!(world.outside(UPPER).join("bin/tool").exists(), is_kept);
        assert_eq!(world.outside("/var/lib/rokeep/overlay").exists(), is_kept);
    }
}

#[test]
fn what_is_gone_with_a_start_can_be_had_back() {
    let world = enabled(Squashfs);
    install(&world, "1");
    goes_with_the_next_start(&world, &[]);
    starts_with_what_is_below_alone(&world);
    let at_next_start = ["overlay", "disable", "--at-next-start", "/opt"];
    world.rokeep(at_next_start).assert_code(3).assert_says(&["not mounted", "does it now"]);
    // What cannot be laid goes on being what goes.
    std::fs::rename(world.outside(UPPER), world.outside("/var/lib/rokeep/elsewhere")).expect("rename");
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(3).assert_says(&["as before"]);
    assert!(world.rokeep(["overlay", "status"]).stdout.contains("the next package run forgets it"));
    std::fs::rename(world.outside("/var/lib/rokeep/elsewhere"), world.outside(UPPER)).expect("rename");
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    assert!(world.inode(TOOL).is_some());
    install(&world, "2");
}

/// As from a backup, or where the power failed a moment later.
#[test]
fn units_that_are_there_again_keep_it_for_one_start_only() {
    let world = enabled(Squashfs);
    let unit = std::fs::read(world.outside(UNIT)).expect("its unit");
    goes_with_the_next_start(&world, &[]);
    world.write(UNIT, &unit);
    world.is_another_start(RECORD);
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["with the next start"]);
    assert!(!is_there(&world, UNIT));
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["with the next start"]);
    starts_with_what_is_below_alone(&world);
    world.hook("pre-invoke", None).assert_code(3);
    assert!(world.rokeep(["overlay", "status"]).assert_code(0).stdout.contains("there is no overlay"));
}

/// The settings are not asked whether it goes, but have it be laid again once it is gone.
#[test]
fn what_the_settings_want_is_there_again_after_it_was_gone() {
    let world = enabled(Squashfs);
    install(&world, "1");
    world.write("/etc/rokeep/config.toml", b"[managed.\"/opt\"]\nmode = \"overlay\"\n");
    let said = world.rokeep(["overlay", "disable", "--at-next-start", "/opt"]).assert_code(0);
    said.assert_says(&["a package run after that lays it again"]);
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["goes with the next start"]);
    starts_with_what_is_below_alone(&world);
    world.begin().assert_says(&["/opt has no overlay any more"]);
    assert!(fs_type(&world, "/opt") == "overlay" && world.inode(TOOL).is_some());
    world.end();
    world.rokeep(["overlay", "status"]).assert_code(0);
}

/// Whoever goes round apt has no package run begin.
#[test]
fn a_dpkg_is_stopped_too_where_what_is_above_goes() {
    let world = enabled(Squashfs);
    goes_with_the_next_start(&world, &[]);
    let dpkg = ["run", "/usr", "--", "/tool/rokeep", "hook", "dpkg-pre-invoke"];
    world.rokeep(dpkg).assert_code(3).assert_says(&["with the next start"]);
}

fn goes_with_the_next_start(world: &Small, more: &[&str]) {
    let words = [&["overlay", "disable", "--at-next-start", "/opt"], more].concat();
    world.rokeep_given(&words, b"").assert_code(0).assert_says(&["the next start"]);
}

/// As the machine does without the units: from /etc/fstab.
fn starts_with_what_is_below_alone(world: &Small) {
    world.unmount("/opt");
    world.unmount(LOWER);
    assert_eq!(fs_type(world, "/opt"), "squashfs");
    world.is_another_start(RECORD);
}

fn is_there(world: &Small, path: &str) -> bool {
    world.outside(path).symlink_metadata().is_ok()
}

#[test]
fn nothing_is_taken_away_while_somebody_needs_it() {
    let world = enabled(Squashfs);
    world.begin();
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(3).assert_says(&["is at work"]);
    world.end();
    world.rokeep(["remount", "rw", "/opt"]).assert_code(0);
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(3).assert_says(&["rokeep remount ro /opt"]);
    world.rokeep(["remount", "ro", "/opt"]).assert_code(0);
    install(&world, "1");
    let world = world.recorded("tool", "1", &[TOOL]);
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(3).assert_says(&["1 alias", "rokeep release"]);
    drop(holder);
    world.rokeep(["release"]).assert_code(0);
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(0);
}

/// The settings alone: the next package run lays it.
#[test]
fn the_settings_can_ask_for_it() {
    let world = on(Squashfs);
    world.write("/etc/rokeep/config.toml", b"[managed.\"/opt\"]\nmode = \"overlay\"\nupper = \"/var/opt\"\n");
    assert_eq!(fs_type(&world, "/opt"), "squashfs");
    install(&world, "1");
    assert_eq!(fs_type(&world, "/opt"), "overlay");
    assert!(world.outside("/var/opt/upper/bin/tool").exists());
}

/// Somebody has unmounted it, or the machine was started without its units.
#[test]
fn what_is_missing_is_laid_by_the_next_package_run() {
    let world = enabled(Squashfs);
    install(&world, "1");
    world.unmount("/opt");
    world.unmount(LOWER);
    let status = world.rokeep(["overlay", "status"]).assert_code(1);
    assert!(status.stdout.contains("NOT LAID"), "{}", status.stdout);
    world.begin().assert_says(&["/opt had no overlay, and has one now"]);
    assert!(world.inode(TOOL).is_some());
    world.end();
    world.assert_mount("/opt", ReadOnly);
    assert!(world.rokeep(["overlay", "status"]).assert_code(0).stdout.contains("overlay, read-only"));
}

/// As after a start of the machine: what is below has its own place, and at the mount point there is nothing else.
#[test]
fn what_is_below_goes_back_to_where_it_was() {
    let world = enabled(Squashfs);
    install(&world, "1");
    world.unmount("/opt");
    world.unmount("/opt");
    assert!(!is_mounted(&world, "/opt"));
    world.begin();
    assert!(world.inode(TOOL).is_some());
    world.end();
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(0);
    assert_eq!(fs_type(&world, "/opt"), "squashfs");
    assert!(!is_mounted(&world, LOWER));
}

/// A package would be installed over nothing, or without what it was installed on.
#[test]
fn without_what_is_below_or_above_apt_is_stopped() {
    let world = enabled(Squashfs);
    world.unmount("/opt");
    world.unmount("/opt");
    world.unmount(LOWER);
    let said = world.hook("pre-invoke", None).assert_code(3);
    said.assert_says(&["is not mounted", "/dev/loop", "dpkg was not started"]);

    let world = enabled(Squashfs);
    install(&world, "1");
    world.unmount("/opt");
    std::fs::rename(world.outside(UPPER), world.outside("/var/moved")).expect("somebody moves it");
    let said = world.hook("pre-invoke", None).assert_code(3);
    said.assert_says(&[UPPER, "is gone", "rokeep overlay disable --discard /opt", "dpkg was not started"]);
    let status = world.rokeep(["overlay", "status"]).assert_code(1);
    assert!(status.stdout.contains("GONE"), "{}", status.stdout);
    std::fs::rename(world.outside("/var/moved"), world.outside(UPPER)).expect("it comes back");
    world.begin();
    assert!(world.inode(TOOL).is_some());
    world.end();
}

/// What was in work when the power went is no obstacle.
#[test]
fn a_dirty_work_directory_is_cleaned() {
    let world = enabled(Squashfs);
    install(&world, "1");
    world.unmount("/opt");
    let dirt = world.outside("/var/lib/rokeep/overlay/opt/work/work/#7");
    std::fs::create_dir_all(dirt.join("x")).expect("dirt");
    world.begin();
    assert!(!dirt.exists() && world.inode(TOOL).is_some());
    world.end();
}

/// dpkg rolls back what does not fit, and there is nothing that rokeep would have to do.
#[test]
fn where_what_is_above_is_full_the_mount_goes_back() {
    let world = with_data(Ext4, Writable);
    world.rokeep(["overlay", "enable", "/opt", "--upper", "/data/opt"]).assert_code(0);
    world.begin();
    world.fill("/data");
    world.end();
    world.assert_mount("/opt", ReadOnly);
    world.assert_no_session();
}

/// It may be all that there is to open.
#[test]
fn nothing_is_installed_over_nothing_where_no_other_mount_is_read_only() {
    let world = Small::with(&[Mount("/usr", Tmpfs, Writable), Mount("/opt", Squashfs, ReadOnly)]);
    let world = world.hands_over(&["/opt", UNITS]);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    [("/opt"), ("/opt"), LOWER].iter().for_each(|point| world.unmount(point));
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["is not mounted", "dpkg was not started"]);
}

/// What was above it must not be forgotten because it cannot be laid now.
#[test]
fn enabling_it_again_forgets_nothing() {
    let world = enabled(Squashfs);
    install(&world, "1");
    world.unmount("/opt");
    std::fs::rename(world.outside(UPPER), world.outside("/var/opt")).expect("somebody moves it");
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(3).assert_says(&["is gone", "nothing was changed"]);
    assert!(world.rokeep(["overlay", "status"]).assert_code(1).stdout.contains("GONE"));
}

/// Nothing is taken for an overlay's that is not, and nothing of anybody else's is removed.
#[test]
fn what_is_somebody_elses_is_no_place_for_an_overlay() {
    let world = with_data(Ext4, Writable);
    let enable = || world.rokeep(["overlay", "enable", "/opt", "--upper", "/data/opt"]);
    world.makes_directory("/data/opt");
    world.set_mode("/data/opt", 0o755);
    enable().assert_code(3).assert_says(&["/data/opt can be looked into", "chmod 700", "nothing was changed"]);
    world.set_mode("/data/opt", 0o700);
    world.makes_directory("/data/opt/work");
    world.write("/data/opt/work/precious", b"somebody's");
    enable().assert_code(3).assert_says(&["/data/opt is not empty", "nothing was changed"]);
    assert!(world.outside("/data/opt/work/precious").exists());
    std::fs::remove_dir_all(world.outside("/data/opt/work")).expect("it goes");
    enable().assert_code(0);
    install(&world, "1");
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(0);
    world.write("/data/opt/rokeep-overlay", b"/srv\n");
    enable().assert_code(3).assert_says(&["/data/opt has what was installed on /srv"]);
    world.set_mode("/data/opt", 0o777);
    enable().assert_code(3).assert_says(&["/data/opt", "others could exchange"]);
}

/// Its unit would mount something else.
#[test]
fn a_directory_of_a_file_system_has_to_be_in_fstab() {
    let world = Small::with(&[Mount("/usr", Tmpfs, ReadOnly), Mount("/data", Ext4, Writable)]);
    let world = world.hands_over(&["/opt", UNITS]);
    world.makes_directory("/data/app");
    world.bind("/data/app", "/opt");
    world.remount("bind,ro", "/opt").expect("it can");
    let enable = || world.rokeep(["overlay", "enable", "/opt"]);
    enable().assert_code(3).assert_says(&["/etc/fstab does not say which", "nothing was changed"]);
    world.write("/etc/fstab", b"/data/app /opt none bind,ro 0 0\n");
    enable().assert_code(0);
}

#[test]
fn a_link_on_the_way_to_it_is_refused() {
    let world = on(Squashfs);
    std::fs::rename(world.outside("/var/lib"), world.outside("/var/real")).expect("a directory");
    std::os::unix::fs::symlink("real", world.outside("/var/lib")).expect("a link");
    let said = world.rokeep(["overlay", "enable", "/opt"]).assert_code(3);
    said.assert_says(&["/var/lib", "a symbolic link", "nothing was changed"]);
}

/// Whoever is in there reads what is below, which stays.
#[test]
fn who_is_in_what_is_below_keeps_nothing_from_being_taken_away() {
    let world = enabled(Squashfs);
    let _holder = world.hold(Cwd("/var/lib/rokeep/overlay/opt/lower/lib"));
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(0);
    assert_eq!(fs_type(&world, "/opt"), "squashfs");
    assert!(!is_mounted(&world, LOWER));
}

/// Somebody has removed them, or they could not be written.
#[test]
fn that_units_are_not_there_is_said_and_nobody_elses_is_overwritten() {
    let world = enabled(Squashfs);
    world.removes("/etc/systemd/system/opt.mount");
    assert!(world.rokeep(["overlay", "status"]).assert_code(1).stdout.contains("units are NOT THERE"));
    world.begin().assert_says(&["not laid when the machine starts", "rokeep overlay enable /opt"]);
    world.end();
    world.write("/etc/systemd/system/opt.mount", b"[Mount]\nWhat=x\n");
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(3).assert_says(&["a unit of somebody else's"]);
    world.removes("/etc/systemd/system/opt.mount");
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    world.rokeep(["overlay", "status"]).assert_code(0);
}

/// Nobody knows then what is missing. What is open is closed all the same.
#[test]
fn a_damaged_record_stops_apt_and_nothing_else() {
    let world = enabled(Squashfs);
    let record = "/var/lib/rokeep/overlay/opt/overlay.json";
    world.begin();
    let text = std::fs::read(world.outside(record)).expect("a record");
    world.write(record, b"{");
    world.end();
    world.assert_mount("/opt", ReadOnly);
    world.assert_no_session();
    world.hook("pre-invoke", None).assert_code(3).assert_says(&[record, "damaged", "dpkg was not started"]);
    world.write(record, &text);
    world.begin();
    world.end();
}

/// "rokeep run" lays none: a dpkg that is run by it would write below.
#[test]
fn a_dpkg_is_stopped_that_would_write_below_a_missing_overlay() {
    let world = enabled(Squashfs);
    [("/opt"), ("/opt"), LOWER].iter().for_each(|point| world.unmount(point));
    let dpkg = ["run", "/usr", "--", "/tool/rokeep", "hook", "dpkg-pre-invoke"];
    world.rokeep(dpkg).assert_code(3).assert_says(&["an overlay is not laid"]);
}

/// /etc is on a mount that is read-only itself.
#[test]
fn on_a_read_only_root_it_is_enabled_in_a_session() {
    let world = Small::with(&[Mount("/", Tmpfs, ReadOnly), Mount("/opt", Squashfs, ReadOnly)]);
    let world = world.hands_over(&["/opt", UNITS, "/etc"]);
    let said = world.rokeep(["overlay", "enable", "/opt"]).assert_code(3);
    said.assert_says(&["/etc is read-only", "rokeep remount rw /", "Everything is as it was"]);
    assert_eq!(fs_type(&world, "/opt"), "squashfs");
    assert!(!is_mounted(&world, LOWER) && !world.outside("/var/lib/rokeep/overlay").exists());
    let words = ["run", "/", "--", "/tool/rokeep", "overlay", "enable", "/opt"];
    world.rokeep(words).assert_code(0);
    assert_eq!(fs_type(&world, "/opt"), "overlay");
    world.assert_mount("/", ReadOnly);
}

/// Nor is it in the way of one that is gone.
#[test]
fn on_a_read_only_root_one_goes_with_the_next_start() {
    let world = Small::with(&[Mount("/", Tmpfs, ReadOnly), Mount("/opt", Squashfs, ReadOnly)]);
    let world = world.hands_over(&["/opt", UNITS, "/etc"]);
    let in_a_session = |words: &[&str]| {
        world.rokeep_given(&[&["run", "/", "--", "/tool/rokeep", "overlay"], words].concat(), b"").assert_code(0)
    };
    in_a_session(&["enable", "/opt"]);
    let record = std::fs::read(world.outside(RECORD)).expect("its record");
    let refused = world.rokeep(["overlay", "disable", "--at-next-start", "/opt"]).assert_code(3);
    refused.assert_says(&["/etc is read-only", "nothing was changed"]);
    assert_eq!(std::fs::read(world.outside(RECORD)).expect("its record"), record);
    world.rokeep(["overlay", "status"]).assert_code(0);
    in_a_session(&["disable", "--at-next-start", "/opt"]);
    // Its watcher may look at the mounts once more.
    world.assert_within(std::time::Duration::from_secs(10), "it ends", || world.running_rokeeps().is_empty());
    starts_with_what_is_below_alone(&world);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(3).assert_says(&["/etc is read-only", "as before"]);
    assert_eq!((fs_type(&world, "/opt"), is_mounted(&world, LOWER)), ("squashfs".to_owned(), false));
    // /opt can never be writable, which is another matter.
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["/opt cannot become writable"]);
    assert!(world.rokeep(["overlay", "status"]).assert_code(0).stdout.contains("there is no overlay"));
}

/// The package run may be what makes /etc writable: so the units can wait.
#[test]
fn on_a_read_only_root_the_settings_can_ask_for_it() {
    let world = Small::with(&[Mount("/", Tmpfs, ReadOnly), Mount("/opt", Squashfs, ReadOnly)]);
    let world = world.hands_over(&["/opt", UNITS]);
    world.remount("rw", "/").expect("it can");
    world.write("/etc/rokeep/config.toml", b"managed = { \"/opt\" = { mode = \"overlay\" } }\n");
    world.remount("ro", "/").expect("nobody writes");
    world.begin().assert_says(&["not laid when the machine starts", "rokeep overlay enable /opt"]);
    world.assert_mount("/opt", Writable);
    world.end();
    world.assert_mount("/opt", ReadOnly);
    world.rokeep(["remount", "rw", "/"]).assert_code(0);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    world.rokeep(["remount", "ro", "/"]).assert_code(0);
    assert!(world.outside("/etc/systemd/system/local-fs.target.wants/opt.mount").exists());
}

#[test]
fn what_cannot_be_laid_leaves_nothing_behind() {
    let world = Small::with(&[Mount("/usr", Tmpfs, ReadOnly), Mount("/opt", Overlay(""), ReadOnly)]);
    let world = world.hands_over(&["/opt", UNITS]);
    world.write("/etc/rokeep/config.toml", b"[managed.\"/opt\"]\nmode = \"overlay\"\n");
    world
        .hook("pre-invoke", None)
        .assert_code(3)
        .assert_says(&["an overlay is mounted at /opt already", "dpkg was not started"]);
    assert!(
        !world.outside("/etc/systemd/system/opt.mount").exists() && !world.outside("/var/lib/rokeep/overlay").exists()
    );
    world.write("/etc/rokeep/config.toml", b"");
    world.begin();
    world.end();
}

/// The kernel would mount both, and neither would know what the other writes.
#[test]
fn two_overlays_share_no_place() {
    let mounts = [
        Mount("/usr", Tmpfs, ReadOnly),
        Mount("/opt", Squashfs, ReadOnly),
        Mount("/srv/app", Squashfs, ReadOnly),
        Mount("/data", Ext4, Writable),
    ];
    let world = Small::with(&mounts).hands_over(&["/opt", "/srv/app", "/data", UNITS]);
    world.rokeep(["overlay", "enable", "/opt", "--upper", "/data/x"]).assert_code(0);
    for place in ["/data/x", "/data/x/upper", "/data"] {
        let said = world.rokeep(["overlay", "enable", "/srv/app", "--upper", place]).assert_code(3);
        said.assert_says(&["is kept in /data/x", "nothing was changed"]);
    }
    world.rokeep(["overlay", "enable", "/srv/app", "--upper", "/data/y"]).assert_code(0);
}

/// Somebody still has it in a mount namespace of his own, and writable: neither would know what the other writes.
#[test]
fn what_can_still_be_written_to_elsewhere_is_not_laid_again() {
    let world = enabled(Squashfs);
    world.remount("rw", "/opt").expect("it can");
    let holder = world.hold_from(OwnMounts, Cwd("/opt/lib"));
    world.unmount("/opt");
    let said = world.hook("pre-invoke", None).assert_code(3);
    said.assert_says(&["still mounted", &format!("({})", holder.pid()), "dpkg was not started"]);
    drop(holder);
    world.begin();
    world.end();
}

/// It writes nothing, and is nobody's business.
#[test]
fn what_can_only_be_read_elsewhere_does_not_matter() {
    let world = enabled(Squashfs);
    let _holder = world.hold_from(OwnMounts, Cwd("/opt/lib"));
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(0);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
}

#[test]
fn what_is_said_to_bring_it_back_does() {
    let world = with_data(Ext4, Writable);
    world.rokeep(["overlay", "enable", "/opt", "--upper", "/data/opt"]).assert_code(0);
    install(&world, "1");
    world
        .rokeep(["overlay", "disable", "/opt"])
        .assert_code(0)
        .assert_says(&["rokeep overlay enable /opt --upper /data/opt"]);
    world.rokeep(["overlay", "enable", "/opt", "--upper", "/data/opt"]).assert_code(0);
    assert!(world.inode(TOOL).is_some());
}

/// What is written would go on to where it was moved, and nobody would see it again.
#[test]
fn apt_is_stopped_where_what_is_above_was_moved_while_it_was_mounted() {
    let world = enabled(Squashfs);
    install(&world, "1");
    std::fs::rename(world.outside(UPPER), world.outside("/var/opt")).expect("somebody moves it");
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["is gone", "dpkg was not started"]);
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(3).assert_says(&["--discard"]);
}

/// Another image is mounted than the one that the overlay was laid over.
#[test]
fn what_is_mounted_and_what_is_below_have_to_be_one() {
    let world = enabled(Squashfs);
    world.unmount("/opt");
    world.unmount("/opt");
    world.bind("/var/tmp", "/opt");
    let says = ["is not what was below the overlay on /opt", "dpkg was not started"];
    world.hook("pre-invoke", None).assert_code(3).assert_says(&says);
    world.unmount(LOWER);
    world.hook("pre-invoke", None).assert_code(3).assert_says(&says);
}

#[test]
fn one_that_can_be_written_to_gets_none() {
    let world = Small::with(&[Mount("/usr", Tmpfs, ReadOnly), Mount("/opt", Ext4, Writable)]);
    world
        .rokeep(["overlay", "enable", "/opt"])
        .assert_code(3)
        .assert_says(&["can be written to", "nothing was changed"]);
}

/// A program that may not become root below may not above.
#[test]
fn what_files_may_not_do_stays_so() {
    let world = on(Squashfs);
    let flags = |world: &Small| world.mount_line("/opt").split(' ').nth(5).expect("options").to_owned();
    assert!(flags(&world).contains("nodev"), "{}", flags(&world));
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    assert!(flags(&world).contains("nodev"), "{}", flags(&world));
    let unit = std::fs::read_to_string(world.outside("/etc/systemd/system/opt.mount")).expect("a unit");
    assert!(unit.contains("\nOptions=ro,nodev,"), "{unit}");
}

#[test]
fn units_say_what_was_mounted() {
    let world = on(Squashfs);
    world.write("/etc/fstab", b"/srv/opt.squashfs /opt squashfs loop,ro 0 0\n");
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    let unit =
        |name: &str| std::fs::read_to_string(world.outside(format!("/etc/systemd/system/{name}"))).expect("a unit");
    assert!(unit("var-lib-rokeep-overlay-opt-lower.mount").contains("\nWhat=/srv/opt.squashfs\n"));
    assert!(unit("local-fs.target.wants/opt.mount").contains("\nWhere=/opt\n"));
    world.rokeep(["overlay", "disable", "/opt"]).assert_code(0);
    world.write("/etc/systemd/system/opt.mount", b"[Mount]\nWhat=x\n");
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(3).assert_says(&["a unit of somebody else's"]);
    assert!(unit("opt.mount").contains("What=x"));
}

/// As systemd has every mount: services with mounts of their own see what is mounted over it.
#[test]
fn what_was_shared_is_shared_again() {
    let is_shared = |world: &Small| world.mount_line("/opt").contains(" shared:");
    for program in ["/tool/rokeep", "/tool/holder"] {
        let world = on(Squashfs);
        let overlay = |word| {
            let kernel = if program == "/tool/holder" { &["before-5.12", "/tool/rokeep"][..] } else { &[] };
            world.runs(program, &[kernel, &["overlay", word, "/opt"]].concat()).assert_code(0)
        };
        ["/", "/opt"].iter().for_each(|point| world.is_shared(point));
        let before = world.mount_line("/opt");
        overlay("enable");
        assert!(is_shared(&world), "{program}");
        overlay("disable");
        assert_eq!(world.mount_line("/opt"), before, "{program}");
        // As after a start of the machine: what is below has only its place.
        overlay("enable");
        ["/opt", "/opt"].iter().for_each(|point| world.unmount(point));
        world.is_shared(LOWER);
        overlay("enable");
        overlay("disable");
        assert!(is_shared(&world) && fs_type(&world, "/opt") == "squashfs", "{program}: {}", world.mount_line("/opt"));
    }
}

/// The machine went down, or somebody killed it, when what was above had its name no more.
#[test]
fn what_was_being_discarded_is_discarded_whatever_comes_next() {
    let world = enabled(Squashfs);
    install(&world, "1");
    ["/opt", LOWER].iter().for_each(|point| world.unmount(point));
    world.renames(UPPER, format!("{UPPER}.discarded"));
    let says = ["was to be discarded", "\"rokeep overlay disable /opt\" finishes that"];
    world.hook("pre-invoke", None).assert_code(3).assert_says(&says);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(3).assert_says(&says);
    world
        .rokeep(["overlay", "disable", "/opt"])
        .assert_code(0)
        .assert_says(&["/opt has no overlay any more", "is discarded"]);
    assert!(!world.outside("/var/lib/rokeep/overlay").exists());
}

/// It is laid first of all, and stays: whoever is told that nothing was changed would not look for it.
#[test]
fn one_that_is_laid_by_a_run_that_cannot_begin_is_said_to_be_there() {
    let says = ["dpkg was not started", "/opt has its overlay now"];
    let world = enabled(Squashfs);
    install(&world, "1");
    ["/opt", LOWER].iter().for_each(|point| world.unmount(point));
    world.write("/var/lib/rokeep/journal.jsonl", b"{\"format\":99}\n");
    world.hook("pre-invoke", None).assert_code(3).assert_says(&says);
    assert!(fs_type(&world, "/opt") == "overlay" && world.inode(TOOL).is_some());
    let again =
        world.hook("pre-invoke", None).assert_code(3).assert_says(&["dpkg was not started, and nothing was changed"]);
    assert!(!again.stderr.contains("has its overlay now"), "{}", again.stderr);

    let world = Small::with(&[Mount("/usr", Squashfs, ReadOnly), Mount("/opt", Squashfs, ReadOnly)]);
    let world = world.hands_over(&["/opt", UNITS]);
    world.rokeep(["overlay", "enable", "/opt"]).assert_code(0);
    ["/opt", LOWER].iter().for_each(|point| world.unmount(point));
    world.hook("pre-invoke", None).assert_code(3).assert_says(&says).assert_says(&["every mount is as it was found"]);
    world.assert_mount("/opt", ReadOnly);
}
