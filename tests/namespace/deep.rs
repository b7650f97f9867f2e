//! `cleanup --deep`: what keeps a replaced file in use and shows nowhere. A Landlock rule, a uprobe, an unread fanotify
//! event: no process shows it, and a lease on the file is granted.

use std::os::unix::fs::MetadataExt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use nix::errno::Errno;

use crate::stores::{OUTER, with_a_subvolume, with_projects};
use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount},
    Alias,
    Change::Upgrade,
    FileSystem, Holder, Pin, Small,
    State::{self, Executed, Mapped, Open, OpenPath},
};

const TOOL: &str = "/usr/bin/tool";
const DEEP: [&str; 2] = ["cleanup", "--deep"];

/// On these the kernel forgets the inode of a file that nobody uses.
const FORGETFUL: [FileSystem; 3] = [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs];

/// What stays although the kernel forgets what it can.
const LASTING: [Pin; 4] = [Pin::LandlockRule, Pin::Uprobe, Pin::UnreadEvent, Pin::NameAbove];

/// And what the kernel only remembers.
const ALL: [Pin; 5] = [Pin::LandlockRule, Pin::Uprobe, Pin::UnreadEvent, Pin::NameAbove, Pin::EntryAbove];

/// A deeper look has the whole machine forget: while one test wants something remembered, no other may look so.
static FORGETTING: RwLock<()> = RwLock::new(());

fn while_others_forget() -> RwLockReadGuard<'static, ()> {
    FORGETTING.read().unwrap_or_else(PoisonError::into_inner)
}

fn while_nobody_forgets() -> RwLockWriteGuard<'static, ()> {
    FORGETTING.write().unwrap_or_else(PoisonError::into_inner)
}

fn upgradable(file_system: FileSystem) -> Small {
    Small::on(file_system).installed_program("tool", "1", TOOL)
}

/// A process used the file while apt replaced it, so its alias was kept. Now the process has ended.
fn replaced(world: &Small) {
    let holder = world.hold(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(TOOL, Alias::Kept);
    drop(holder);
}

fn with_each(pins: &[Pin], scenario: impl Fn(&str, Small, Holder)) {
    for file_system in FORGETFUL {
        for pin in pins {
            let world = upgradable(file_system);
            let pinned = world.pin(*pin, TOOL);
            scenario(&format!("{pin:?} on {file_system:?}"), world, pinned);
        }
    }
}

#[track_caller]
fn assert_goes_back(world: &Small, what: &str) {
    world.assert_within(Duration::from_secs(2), what, || world.remount("ro", "/usr").is_ok());
    world.assert_mount("/usr", ReadOnly);
}

/// Nothing of them is known to anybody, and they are in the way all the same.
#[test]
fn control_each_keeps_the_superblock_writable() {
    let _nobody = while_nobody_forgets();
    with_each(&ALL, |what, world, pinned| {
        assert!(world.grants_a_lease(TOOL), "{what}");
        let fds = world.outside(format!("/proc/{}/fd", pinned.pid()));
        let inode = world.inode(TOOL).expect("a file");
        let shown =
            std::fs::read_dir(fds).expect("its descriptors").flatten().filter_map(|fd| fd.path().metadata().ok());
        assert!(shown.map(|file| (file.dev(), file.ino())).all(|file| file != inode), "{what}");

        world.remount("rw", "/usr").expect("/usr can be written");
        world.dpkg_replaces(TOOL);
        assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY), "{what}");
        drop(pinned);
        assert_goes_back(&world, what);
    });
}

#[test]
fn control_with_one_more_name_none_of_them_matters() {
    let _others = while_others_forget();
    with_each(&ALL, |what, world, _pinned| {
        world.remount("rw", "/usr").expect("/usr can be written");
        std::fs::hard_link(world.outside(TOOL), world.outside("/usr/lib/another")).expect("a link");
        world.dpkg_replaces(TOOL);
        assert_eq!(world.remount("ro", "/usr"), Ok(()), "{what}");
    });
}

/// The blind spot: a usual look calls the file free.
#[test]
fn control_without_it_the_mount_ends_degraded() {
    let _others = while_others_forget();
    with_each(&LASTING, |_, world, pinned| {
        replaced(&world);
        world.rokeep(["cleanup"]).assert_code(1).assert_says(&["degraded", "no process", "a Landlock rule"]);
        world.assert_alias(TOOL, Alias::None);
        world.assert_mount("/usr", ReadOnlyMount);
        drop(pinned);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
    });
}

#[test]
fn keeps_what_the_kernel_has_in_use() {
    let _others = while_others_forget();
    with_each(&LASTING, |what, world, pinned| {
        replaced(&world);
        world.rokeep(DEEP).assert_code(0).assert_says(&["kept: 1 replaced file (", "no process shows it", TOOL]);
        world.assert_alias(TOOL, Alias::Kept);
        world.assert_mount("/usr", ReadOnly);
        drop(pinned);
        let freed = world.rokeep(DEEP).assert_code(0);
        assert_eq!(freed.stderr, "", "{what}");
        world.assert_no_store("/usr");
        world.assert_mount("/usr", ReadOnly);
    });
}

#[test]
fn puts_back_what_only_an_overlay_that_remembers_kept_writable() {
    let _nobody = while_nobody_forgets();
    with_each(&[Pin::EntryAbove], |_, world, _pinned| {
        replaced(&world);
        world.rokeep(["cleanup"]).assert_code(1);
        world.rokeep(["cleanup"]).assert_code(1);
        world.assert_mount("/usr", ReadOnlyMount);
        world.rokeep(DEEP).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
    });
}

/// A look that has the kernel forget what it can has it forget this too.
#[test]
fn frees_what_an_overlay_only_remembers() {
    let _others = while_others_forget();
    with_each(&[Pin::EntryAbove], |what, world, _pinned| {
        replaced(&world);
        assert_eq!(world.rokeep(DEEP).assert_code(0).stderr, "", "{what}");
        world.assert_no_store("/usr");
        world.assert_mount("/usr", ReadOnly);
    });
}

#[test]
fn drops_what_nobody_uses() {
    let _others = while_others_forget();
    for file_system in [&FORGETFUL[..], &[FileSystem::Overlay("metacopy=on")]].concat() {
        let world = upgradable(file_system);
        replaced(&world);
        assert_eq!(world.rokeep(DEEP).assert_code(0).stderr, "", "{file_system:?}");
        world.assert_no_store("/usr");
        world.assert_mount("/usr", ReadOnly);
    }
}

/// The kernel forgets nothing that is not on the disk yet.
#[test]
fn drops_what_was_written_a_moment_before_it_was_replaced() {
    let _others = while_others_forget();
    for file_system in FORGETFUL {
        let world = upgradable(file_system);
        world.write("/etc/rokeep/config.toml", b"cleanup = 'deep'\n");
        world.begin();
        world.rebuilds(TOOL);
        world.protect(&[Upgrade("tool", "1", "2")]);
        world.dpkg_replaces(TOOL);
        assert_eq!(world.end().stderr, "", "{file_system:?}");
        world.assert_no_store("/usr");
        world.assert_mount("/usr", ReadOnly);
    }
}

#[test]
fn keeps_what_processes_hold_and_names_them() {
    let _others = while_others_forget();
    for file_system in FORGETFUL {
        for state in [Mapped(TOOL), Executed(TOOL), Open(TOOL), OpenPath(TOOL)] {
            let world = upgradable(file_system);
            let holder: Holder = world.hold(state as State<&str>);
            replaced(&world);
            world.rokeep(DEEP).assert_code(0);
            world.assert_alias(TOOL, Alias::Kept);
            assert!(!world.status().uses(TOOL, holder.pid()).is_empty(), "{state:?} on {file_system:?}");
            drop(holder);
            world.rokeep(DEEP).assert_code(0);
            world.assert_no_store("/usr");
        }
    }
}

/// What that process may use nobody else can know, so a usual look keeps everything.
#[test]
fn knows_what_a_process_that_nobody_can_read_does_not_use() {
    const DATA: &str = "/usr/lib/data";
    let _others = while_others_forget();
    let world = Small::ext4().installed("tool", "1", &[TOOL, DATA]);
    let unreadable = world.hold_unreadably(Mapped(TOOL));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    [TOOL, DATA].iter().for_each(|file| world.dpkg_replaces(file));
    world.end();
    [TOOL, DATA].iter().for_each(|file| world.assert_alias(file, Alias::Kept));
    let deep = world.rokeep(DEEP).assert_code(0).assert_says(&["kept while in use: 1 replaced file ("]);
    assert!(!deep.stderr.contains("could not be read"), "{}", deep.stderr);
    world.assert_alias(TOOL, Alias::Kept);
    world.assert_alias(DATA, Alias::None);
    world.assert_mount("/usr", ReadOnly);
    drop(unreadable);
}

#[test]
fn of_two_replaced_files_only_the_pinned_one() {
    let _others = while_others_forget();
    let world = Small::ext4().installed("tool", "1", &[TOOL, "/usr/lib/data"]);
    let pinned = world.pin(Pin::LandlockRule, TOOL);
    let holders = [world.hold(Mapped(TOOL)), world.hold(Mapped("/usr/lib/data"))];
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    [TOOL, "/usr/lib/data"].iter().for_each(|file| world.dpkg_replaces(file));
    world.end();
    drop(holders);
    world.rokeep(DEEP).assert_code(0).assert_says(&["kept: 1 replaced file (", TOOL]);
    world.assert_alias(TOOL, Alias::Kept);
    world.assert_alias("/usr/lib/data", Alias::None);
    world.assert_mount("/usr", ReadOnly);
    drop(pinned);
}

/// Two files of one number: the kernel lists them with their handles, which tell them apart.
#[test]
fn tells_the_files_of_two_subvolumes_apart() {
    let _others = while_others_forget();
    for which in [0, 1] {
        let (world, inner) = with_a_subvolume();
        let files = [OUTER, &inner];
        let [outer, inner] = files.map(|file| world.inode(file).expect("a file"));
        assert!(outer.1 == inner.1 && outer != inner, "{outer:?} {inner:?}");
        let _pinned = world.pin(Pin::LandlockRule, files[which]);
        let holders = files.map(|file| world.hold(Mapped(file)));
        world.begin();
        world.protect(&[Upgrade("outer", "1", "2"), Upgrade("inner", "1", "2")]);
        files.iter().for_each(|file| world.dpkg_replaces(file));
        world.end();
        drop(holders);
        world.rokeep(DEEP).assert_code(0).assert_says(&["kept: 1 replaced file ("]);
        world.assert_alias(files[which], Alias::Kept);
        world.assert_alias(files[1 - which], Alias::None);
        world.assert_mount("/usr", ReadOnly);
    }
}

#[test]
fn finds_an_alias_that_is_beside_its_file() {
    const FILE: &str = "/usr/lib/quota/with space \u{e9}\t\\";
    let _others = while_others_forget();
    let world = with_projects(FILE);
    let pinned = world.pin(Pin::LandlockRule, FILE);
    let holders = [FILE, "/usr/lib/quota/unused"].map(|file| world.hold(Mapped(file)));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    assert_eq!(world.aliases_beside().len(), 2);
    [FILE, "/usr/lib/quota/unused"].iter().for_each(|file| world.dpkg_replaces(file));
    world.end();
    drop(holders);
    world.rokeep(DEEP).assert_code(0).assert_says(&["kept: 1 replaced file ("]);
    world.assert_alias(FILE, Alias::Kept);
    world.assert_mount("/usr", ReadOnly);
    drop(pinned);
    world.rokeep(DEEP).assert_code(0);
    world.assert_nothing_of_ours();
}

/// The kernel would let go of the watch, and cannot tell that it would.
#[test]
fn errs_to_in_use_where_a_file_is_watched() {
    let _others = while_others_forget();
    with_each(&[Pin::Watch], |_, world, watch| {
        replaced(&world);
        world.rokeep(DEEP).assert_code(0).assert_says(&["kept: 1 replaced file ("]);
        world.assert_alias(TOOL, Alias::Kept);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_no_store("/usr");
        world.assert_mount("/usr", ReadOnly);
        drop(watch);
    });
}

/// The kernel never forgets a file that is in memory alone.
#[test]
fn keeps_everything_on_tmpfs_and_says_why() {
    let _others = while_others_forget();
    let world = upgradable(FileSystem::Tmpfs);
    replaced(&world);
    world.rokeep(DEEP).assert_code(0).assert_says(&["kept: 1 replaced file on /usr", "tmpfs", "\"rokeep cleanup\""]);
    world.assert_alias(TOOL, Alias::Kept);
    world.assert_mount("/usr", ReadOnly);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

#[test]
fn does_nothing_on_an_older_kernel_and_says_so() {
    let _others = while_others_forget();
    let world = upgradable(FileSystem::Ext4);
    replaced(&world);
    world.rokeep_on_an_older_kernel(&DEEP).assert_code(3).assert_says(&["older than Linux 5.19", "\"rokeep cleanup\""]);
    world.assert_alias(TOOL, Alias::Kept);
    world.assert_mount("/usr", ReadOnly);
    world.rokeep_on_an_older_kernel(&["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
}

/// Every cleanup, also the one at the end of a package run, where the settings say so.
#[test]
fn is_what_every_cleanup_does_if_the_settings_say_so() {
    let _others = while_others_forget();
    let world = upgradable(FileSystem::Ext4);
    world.write("/etc/rokeep/config.toml", b"cleanup = 'deep'\n");
    let pinned = world.pin(Pin::Uprobe, TOOL);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end().assert_says(&["no process shows it"]);
    world.assert_alias(TOOL, Alias::Kept);
    world.assert_mount("/usr", ReadOnly);
    drop(pinned);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_no_store("/usr");
    world.assert_mount("/usr", ReadOnly);
}
