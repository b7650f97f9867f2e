//! Pre-Invoke: every managed mount can be written when apt goes on, or apt does not go on and nothing has changed.

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable, WriteProtected},
    Alias,
    Change::{Install, Reinstall},
    FileSystem::{self, Ext4, Tmpfs},
    Mount, Small, stream,
};

#[test]
fn a_read_only_mount_is_writable_for_one_run() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system);
        let found = world.mount_line("/usr");
        world.begin();
        world.assert_mount("/usr", Writable);
        world.write("/usr/bin/proof", b"");
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_no_store("/usr");
        world.assert_no_session();
        assert_eq!(world.mount_line("/usr"), found, "{file_system:?}");
    }
}

#[test]
fn no_other_option_of_the_mount_changes_meanwhile() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system);
        let but_for_writing = |line: String| {
            line.split([' ', ',']).filter(|word| !["ro", "rw"].contains(word)).collect::<Vec<_>>().join(" ")
        };
        let found = but_for_writing(world.mount_line("/usr"));
        world.begin();
        assert_eq!(but_for_writing(world.mount_line("/usr")), found, "{file_system:?}");
    }
}

#[test]
fn the_session_names_the_program_that_installs() {
    let world = Small::ext4();
    assert!(world.status().session.is_none());
    world.begin();
    let session = world.status().session.expect("an open session");
    let commands: Vec<_> = session.frontends.iter().map(|frontend| frontend.command.as_str()).collect();
    assert_eq!(commands, ["apt-get"]);
    assert_eq!(world.status().mount("/usr").state, "writable");
    world.end();
    assert!(world.status().session.is_none());
}

#[test]
fn apt_may_call_it_again_before_it_is_done() {
    let world = Small::ext4();
    let found = world.mount_line("/usr");
    world.begin();
    world.begin();
    world.assert_mount("/usr", Writable);
    assert_eq!(world.status().session.expect("an open session").frontends.len(), 1);
    world.end();
    assert_eq!(world.mount_line("/usr"), found);
    world.assert_no_session();
}

#[test]
fn one_apt_may_make_many_runs() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    let mut journals = Vec::new();
    for _ in 0..5 {
        world.begin();
        world.assert_mount("/usr", Writable);
        world.protect(&[Reinstall("tool", "1")]);
        world.dpkg_replaces("/usr/bin/tool");
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_no_store("/usr");
        journals.push(world.journal());
    }
    world.assert_no_session();
    assert!(journals.iter().all(|journal| *journal == journals[0]), "the journal does not grow: {journals:?}");
}

#[test]
fn it_stays_writable_until_the_last_of_two_is_done() {
    let world = Small::ext4();
    world.begin();
    world.meanwhile_another_apt(|| {
        world.begin();
        world.end();
        world.assert_mount("/usr", Writable);
    });
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}

#[test]
fn whoever_cleans_up_meanwhile_waits_for_apt() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool"]);
    world.begin();
    world.protect(&[Reinstall("tool", "1")]);
    world.dpkg_replaces("/usr/bin/tool");
    for command in ["cleanup", "recover"] {
        world.rokeep([command]).assert_code(0);
        world.assert_mount("/usr", Writable);
        world.assert_alias("/usr/bin/tool", Alias::Kept);
    }
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
}

#[test]
fn a_mount_that_is_writable_anyway_is_left_alone() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Ext4, Writable)]);
    let found = world.mount_line("/opt");
    world.begin();
    world.assert_no_store("/opt");
    world.end();
    assert_eq!(world.mount_line("/opt"), found);
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn a_mount_that_nobody_asked_for_is_left_alone() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/srv", Tmpfs, ReadOnly)]);
    world.begin();
    world.assert_mount("/srv", ReadOnly);
    world.end();
    world.assert_mount("/srv", ReadOnly);
}

#[test]
fn every_managed_mount_becomes_writable() {
    let points = ["/usr", "/opt", "/boot", "/boot/efi"];
    let world = Small::with(&points.map(|point| Mount(point, Tmpfs, ReadOnly)));
    world.begin();
    points.iter().for_each(|point| world.assert_mount(point, Writable));
    world.end();
    points.iter().for_each(|point| world.assert_mount(point, ReadOnly));
    points.iter().for_each(|point| world.assert_no_store(point));
}

#[test]
fn a_read_only_mount_of_a_writable_file_system_is_put_back_just_so() {
    for file_system in FileSystem::ALL {
        let world = Small::with(&[Mount("/usr", file_system, ReadOnlyMount)]);
        let found = world.mount_line("/usr");
        world.begin();
        world.assert_mount("/usr", Writable);
        world.end();
        world.assert_mount("/usr", ReadOnlyMount);
        assert_eq!(world.mount_line("/usr"), found, "{file_system:?}");
        assert_eq!(world.status().mount("/usr").state, "read-only", "it is as it should be: not degraded");
    }
}

#[test]
fn the_settings_say_which_mounts() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/srv/data", Tmpfs, ReadOnly)]);
    world.write("/etc/rokeep/config.toml", b"mounts = ['/srv/data']\n");
    world.begin();
    world.assert_mount("/usr", ReadOnly);
    world.assert_mount("/srv/data", Writable);
    world.end();
    world.assert_mount("/srv/data", ReadOnly);
}

#[test]
fn settings_that_cannot_be_read_stop_apt() {
    let world = Small::ext4();
    world.write("/etc/rokeep/config.toml", b"mount = ['/srv/data']\n");
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["/etc/rokeep/config.toml", "mount"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}

#[test]
fn a_device_that_refuses_stops_apt() {
    let world = Small::with(&[Mount("/usr", Ext4, WriteProtected)]);
    let found = world.mount_line("/usr");
    let run = world.hook("pre-invoke", None).assert_code(3);
    run.assert_says(&["/usr", "write-protected", "blockdev --setrw /dev/loop"]);
    assert_eq!(world.mount_line("/usr"), found);
    world.assert_no_store("/usr");
    world.assert_no_session();
    assert_eq!(world.status().mount("/usr").state, "read-only");
}

#[test]
fn when_one_mount_refuses_the_others_are_put_back() {
    for (good, bad) in [("/usr", "/opt"), ("/opt", "/usr")] {
        let world = Small::with(&[Mount(good, Ext4, ReadOnly), Mount(bad, Ext4, WriteProtected)]);
        let found = world.mount_line(good);
        world.hook("pre-invoke", None).assert_code(3).assert_says(&[bad]);
        assert_eq!(world.mount_line(good), found, "{bad} refused");
        world.assert_no_store(good);
        world.assert_no_session();
    }
}

#[test]
fn a_store_that_is_open_to_others_stops_apt() {
    let world = Small::ext4();
    world.writably(|| {
        std::fs::create_dir(world.outside("/usr/.rokeep")).expect("a directory");
        world.set_mode("/usr/.rokeep", 0o777);
    });
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["/usr/.rokeep"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}

#[test]
fn a_store_that_is_not_ours_stops_apt() {
    let world = Small::ext4();
    world.writably(|| std::os::unix::fs::symlink("../tmp", world.outside("/usr/.rokeep")).expect("a trap"));
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["/usr/.rokeep"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
    assert!(world.outside("/usr/.rokeep").is_symlink(), "what is not ours stays");
}

#[test]
fn a_session_that_cannot_be_read_stops_apt_and_stays() {
    for session in ["{\"format\":999}", "{\"format\":1,\"frontends\":[],\"mou", ""] {
        let world = Small::ext4();
        world.write("/run/rokeep/session.json", session.as_bytes());
        world.hook("pre-invoke", None).assert_code(3).assert_says(&["/run/rokeep/session.json"]);
        world.assert_mount("/usr", ReadOnly);
        let after = std::fs::read_to_string(world.outside("/run/rokeep/session.json"));
        assert_eq!(after.expect("it is still there"), session);
    }
}

#[test]
fn a_session_that_cannot_be_written_down_stops_apt() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/run", Tmpfs, Writable)]);
    world.fill("/run");
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["/run/rokeep", "No space left"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}

/// Somebody was faster, or never called Pre-Invoke. dpkg would break the package that it unpacks.
#[test]
fn a_mount_that_is_not_writable_any_more_stops_apt() {
    let world = Small::ext4();
    world.begin();
    world.remount("ro", "/usr").expect("somebody remounts it by hand");
    world.hook("pre-install-pkgs", Some(stream(&[Install("new", "1")]))).assert_code(3).assert_says(&["/usr"]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}

#[test]
fn apt_that_never_said_it_would_begin_is_stopped() {
    let world = Small::ext4();
    world.hook("pre-install-pkgs", Some(stream(&[Install("new", "1")]))).assert_code(3).assert_says(&["/usr"]);
    world.assert_mount("/usr", ReadOnly);
}

/// Since Linux 6.15 the mount table goes on calling the superblock of such a file system writable.
#[test]
fn a_file_system_that_the_kernel_closed_because_of_errors_stops_apt() {
    let world = Small::ext4();
    world.begin();
    world.ext4_fails("/usr");
    world.end().assert_says(&["/usr"]);
    world.hook("pre-invoke", None).assert_code(3).assert_says(&["/usr"]);
    assert_ne!(world.access("/usr"), Writable);
}

/// A directory made in it inherits the bit, and is no less ours.
#[test]
fn a_mount_whose_root_hands_its_group_on() {
    let world = Small::ext4();
    world.writably(|| world.set_mode("/usr", 0o2775));
    world.begin();
    world.protect(&[]);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
}

/// The well-known pair, still there: rokeep finds the mount writable, and would otherwise be of no use without a word.
#[test]
fn a_hook_of_somebody_else_that_remounts_is_named() {
    let world = Small::ext4();
    world.remount("rw", "/usr").expect("as that hook does");
    world.hook("pre-invoke", None).assert_code(0);
    let pair = b"VERSION 3\nDPkg::Pre-Invoke::=mount%20-o%20remount,rw%20/usr\n\n".to_vec();
    world.hook("pre-install-pkgs", Some(pair)).assert_code(0).assert_says(&["mount -o remount,rw /usr", "remove"]);
    world.assert_mount("/usr", Writable);
}
