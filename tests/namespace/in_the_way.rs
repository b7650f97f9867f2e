//! Things below a managed mount that are other people's, and stand in the way of an alias or hide one: none of them stops
//! apt, and none is taken for the end of what rokeep left there.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::small::{
    Access::ReadOnly,
    Alias,
    Change::{Remove, Upgrade},
    FileSystem::{Btrfs, Ext4, Xfs},
    Run, Small,
    State::{Cwd, Mapped, Open},
};

const PLAIN: &str = "/usr/bin/plain";
const BOUND: &str = "/usr/share/second/tool";

/// A directory of /usr that is mounted a second time below it, and a package with a file there.
fn with_second_mount() -> Small {
    let world = Small::on(Ext4);
    world.writably(|| {
        world.write("/usr/share/first/.keep", b"");
        world.bind("/usr/share/first", "/usr/share/second");
    });
    world.installed("tool", "1", &[BOUND]).installed("plain", "1", &[PLAIN])
}

/// apt upgrades the other package, all of it as always.
#[track_caller]
fn upgrade_plain(world: &Small) -> Run {
    world.begin();
    let run = world.protect(&[Upgrade("plain", "1", "2")]);
    world.assert_alias(PLAIN, Alias::Kept);
    world.dpkg_replaces(PLAIN);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    run
}

#[test]
fn a_mount_below_it_that_is_read_only_by_itself() {
    let world = with_second_mount();
    world.remount("bind,ro", "/usr/share/second").expect("it is closed");
    let _holder = world.hold(Open(BOUND));
    upgrade_plain(&world);
}

/// dpkg will not get on either, but that is for dpkg to say.
#[test]
fn a_mount_below_it_that_is_read_only_by_itself_and_a_package_needs() {
    let world = with_second_mount();
    world.remount("bind,ro", "/usr/share/second").expect("it is closed");
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]).assert_says(&["not protected", "/usr/share/second"]);
    world.end();
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn a_snapshot_that_somebody_reads() {
    let world = Small::on(Btrfs).installed("plain", "1", &[PLAIN]);
    world.writably(|| {
        world.write("/usr/lib/file", b"x");
        let snapshot = Command::new("btrfs")
            .args(["-q", "subvolume", "snapshot", "-r"])
            .args([world.outside("/usr"), world.outside("/usr/snapshot")])
            .status();
        assert!(snapshot.is_ok_and(|status| status.success()), "no snapshot");
    });
    let _holder = world.hold(Open("/usr/snapshot/lib/file"));
    upgrade_plain(&world);
}

#[test]
fn a_subvolume_whose_owner_has_a_directory_called_as_a_store() {
    let world = Small::on(Btrfs).installed("plain", "1", &[PLAIN]);
    world.writably(|| {
        world.subvolume("/usr/lib/users");
        world.write("/usr/lib/users/file", b"x");
        world.makes_directory("/usr/lib/users/.rokeep");
    });
    let _holder = world.hold(Open("/usr/lib/users/file"));
    upgrade_plain(&world);
}

/// Whatever is put into it could be moved away, or exchanged, at any moment.
#[test]
fn a_subvolume_that_is_somebody_elses() {
    let world = Small::on(Btrfs).installed("plain", "1", &[PLAIN]);
    world.writably(|| {
        world.subvolume("/usr/lib/users");
        world.write("/usr/lib/users/file", b"x");
        std::os::unix::fs::chown(world.outside("/usr/lib/users"), Some(1000), None).expect("it is given away");
    });
    let _holder = world.hold(Open("/usr/lib/users/file"));
    world.begin();
    world.protect(&[Upgrade("plain", "1", "2")]);
    assert!(world.inode("/usr/lib/users/.rokeep").is_none());
    world.end();
    world.assert_mount("/usr", ReadOnly);
}

/// What waits there keeps nothing else from being done.
#[test]
fn a_store_on_a_mount_that_was_closed_meanwhile() {
    let world = with_second_mount();
    let holders = (world.hold(Mapped(BOUND)), world.hold(Mapped(PLAIN)));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2"), Upgrade("plain", "1", "2")]);
    world.dpkg_replaces(BOUND);
    world.dpkg_replaces(PLAIN);
    world.end();
    world.remount("bind,ro", "/usr/share/second").expect("it is closed");
    drop(holders);
    world.rokeep(["cleanup"]);
    world.assert_alias(PLAIN, Alias::None);
    world.assert_alias(BOUND, Alias::Kept);
    world.assert_mount("/usr", ReadOnly);
    world.writably(|| world.remount("bind,rw", "/usr/share/second").expect("it is open again"));
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
}

#[test]
fn something_mounted_over_a_store() {
    let world = with_second_mount();
    let holder = world.hold(Mapped(BOUND));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(BOUND);
    world.end();
    world.cover("/usr/share/second");
    upgrade_plain(&world);
    world.unmount("/usr/share/second");
    world.assert_alias(BOUND, Alias::Kept);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
}

#[test]
fn a_mount_with_a_store_that_is_away_for_a_while_with_its_mount_point() {
    let world = with_second_mount();
    let holder = world.hold(Mapped(BOUND));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(BOUND);
    world.end();
    drop(holder);
    world.unmount("/usr/share/second");
    world.writably(|| world.removes("/usr/share/second"));
    upgrade_plain(&world);
    world.writably(|| world.bind("/usr/share/first", "/usr/share/second"));
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
}

#[test]
fn something_mounted_over_a_directory_that_is_kept() {
    const DATA: &str = "/usr/share/old/data";
    let world = Small::ext4()
        .installed_tree("old", "1", &["/usr/share/old/data/file"])
        .recorded("base-files", "1", &["/usr", "/usr/share", "/usr/lib", "/usr/bin"])
        .installed("plain", "1", &[PLAIN]);
    let holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.end();
    assert!(world.marker(DATA).is_some());
    world.cover("/usr/share");
    upgrade_plain(&world);
    world.unmount("/usr/share");
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(world.inode(DATA).is_none(), "dpkg wanted it gone");
}

/// The alias was beside its file, and the directory is nobody's but the administrator's.
#[test]
fn an_empty_directory_that_no_package_ever_had() {
    const SPOOL: &str = "/usr/local/spool/in";
    let world = Small::on(Xfs);
    world.writably(|| {
        world.makes_directory(SPOOL);
        world.project("/usr", "7");
        world.project("/usr/local/spool", "8");
        world.project(SPOOL, "8");
        world.write("/usr/local/spool/in/job", b"x");
    });
    let holder = world.hold(Open("/usr/local/spool/in/job"));
    world.begin();
    world.protect(&[]);
    assert_eq!(world.aliases_beside().len(), 1);
    world.removes("/usr/local/spool/in/job");
    world.end();
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(world.aliases_beside().len(), 0);
    assert!(world.inode(SPOOL).is_some(), "{SPOOL} is gone");
}

/// The kernel refuses to follow `..` in a symbolic link (EAGAIN) while it cannot tell where that leads.
#[test]
fn somebody_who_renames_files_all_the_time() {
    let links = || (0..300).map(|number| format!("/usr/share/link{number}/file"));
    let world = Small::ext4();
    world.writably(|| {
        world.makes_directory("/usr/share");
        for number in 0..300 {
            world.write(format!("/usr/lib/real{number}/file"), b"");
            world.points(format!("/usr/share/link{number}"), &format!("../lib/real{number}"));
        }
    });
    let world = world.recorded("tool", "1", &links().collect::<Vec<_>>());
    let stop = Arc::new(AtomicBool::new(false));
    // In the kernel there is one lock for all renames, whatever the file system. Here nobody looks for what changes.
    let scratch = std::env::temp_dir();
    let rename = |thread: u32| {
        let (stop, names) = (
            stop.clone(),
            ["a", "b"].map(|name| scratch.join(format!("rokeep-{name}{thread}-{}", std::process::id()))),
        );
        std::thread::spawn(move || {
            std::fs::write(&names[0], b"").expect("a file");
            while !stop.load(Ordering::Relaxed) {
                std::fs::rename(&names[0], &names[1]).expect("it is renamed");
                std::fs::rename(&names[1], &names[0]).expect("it is renamed back");
            }
            std::fs::remove_file(&names[0]).expect("it is removed");
        })
    };
    let busy = [rename(1), rename(2)];
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    stop.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().expect("it ends"));
    for link in links() {
        world.assert_alias(&link, Alias::Kept);
    }
    world.end();
}

/// It never had a store.
#[test]
fn a_place_that_is_read_only_by_itself_and_has_something_in_use() {
    let world = with_second_mount();
    world.remount("bind,ro", "/usr/share/second").expect("nobody writes");
    let _holder = world.hold(Mapped(BOUND));
    let run = world.rokeep_runs(&["--", "/tool/holder", "kill", "1000000"], b"");
    assert!(!run.stderr.contains("not finished"), "{}", run.stderr);
    world.assert_mount("/usr", ReadOnly);
}
