//! overlayfs as /usr: what is replaced through it lives in its lower layer, in its upper one, or in both.

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use rokeep::sys::handle::FileHandle;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount},
    Alias,
    Change::{self, Remove, Upgrade},
    FileSystem::{Overlay, OverlayOutOfSight},
    LOWER, Small,
    State::{self, Cwd, Mapped, Open, OpenPath},
    Where::OwnMounts,
};

const UPPER: &str = "/usr/bin/upper";
const COPIED: &str = LOWER[1];
const DATA_IS_COPIED: &str = "";
const DATA_STAYS: &str = "metacopy=on,redirect_dir=on";

/// A lower file, an upper one, and a lower one that was copied up because its mode was changed; /usr can be written.
fn writable(options: &'static str) -> Small {
    let world = Small::on(Overlay(options));
    world.remount("rw", "/usr").expect("/usr can be written");
    world.write_program(UPPER);
    world.set_mode(COPIED, 0o700);
    world
}

fn states() -> impl Iterator<Item = State<&'static str>> {
    [LOWER[0], UPPER, COPIED].into_iter().flat_map(|file| [Mapped(file), Open(file), OpenPath(file)])
}

fn file(state: State<&'static str>) -> &'static str {
    let (Mapped(file) | Open(file) | OpenPath(file)) = state else { panic!("{state:?} is none of ours") };
    file
}

/// Whichever layer it is in: it is the overlay's own inode that has no name left.
#[test]
fn control_a_replaced_file_in_use_keeps_it_writable() {
    for options in [DATA_IS_COPIED, DATA_STAYS] {
        for state in states() {
            let world = writable(options);
            let _holder = world.hold(state);
            world.dpkg_replaces(file(state));
            assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY), "{state:?} {options}");
        }
    }
}

/// One more name helps for each of them, also for who had it open before it was copied up. What it costs differs.
#[test]
fn control_one_more_name_copies_a_lower_file_up() {
    for (options, copied) in [(DATA_IS_COPIED, [true, false, false]), (DATA_STAYS, [false, false, false])] {
        for state in states() {
            let world = writable(options);
            let _holder = world.hold(state);
            let size = std::fs::metadata(world.outside(file(state))).expect("a program").len();
            let before = world.upper_layer_bytes();
            std::fs::hard_link(world.outside(file(state)), world.outside("/usr/alias")).expect("a link");
            let grown = world.upper_layer_bytes() - before;
            let [lower, upper, copied_before] = copied;
            let expected = match file(state) {
                UPPER => upper,
                COPIED => copied_before,
                _ => lower,
            };
            let range = if expected { size..size + 100_000 } else { 0..10_000 };
            assert!(range.contains(&grown), "{state:?} {options}: a name costs {grown} bytes of {size}");
            world.dpkg_replaces(file(state));
            assert_eq!(world.remount("ro", "/usr"), Ok(()), "{state:?} {options}");
        }
    }
}

/// So dpkg copies each file that it replaces up, though only until the package is unpacked.
#[test]
fn control_a_name_for_going_back_copies_up_too() {
    let world = writable(DATA_IS_COPIED);
    std::fs::hard_link(world.outside(LOWER[0]), world.outside("/usr/bin/lower.dpkg-tmp")).expect("a link");
    let upper = world.in_upper_layer(LOWER[0]).expect("it is in the upper layer now");
    assert_eq!(upper.len(), std::fs::metadata(world.outside(LOWER[0])).expect("a program").len());
    world.dpkg_removes("/usr/bin/lower.dpkg-tmp");
    world.dpkg_replaces(LOWER[0]);
    assert!(world.in_upper_layer(LOWER[0]).expect("the other version").len() < 100);
}

/// A removed file leaves a mark that covers the lower one, and no data.
#[test]
fn control_what_is_removed_is_not_copied_up() {
    let world = writable(DATA_IS_COPIED);
    let before = world.upper_layer_bytes();
    world.dpkg_removes(LOWER[0]);
    assert!(world.in_upper_layer(LOWER[0]).is_some(), "a mark");
    assert!(world.upper_layer_bytes() - before < 10_000);
}

/// Each layer counts its files by itself: one number, two files, told apart by their devices alone.
#[test]
fn control_an_upper_file_may_have_the_number_of_a_lower_one() {
    let world = writable(DATA_IS_COPIED);
    let same = world.same_number("/usr/lib", LOWER[0]);
    let (lower, upper) = (world.inode(LOWER[0]).expect("a file"), world.inode(same).expect("a file"));
    assert_eq!(lower.1, upper.1);
    assert_ne!(lower.0, upper.0);
}

/// While nobody is in it: a number that was written down says nothing of a directory.
#[test]
fn control_a_directory_does_not_keep_its_number() {
    let world = Small::on(Overlay(DATA_IS_COPIED));
    let numbers: Vec<_> = (0..2)
        .map(|_| {
            world.remount("rw", "/usr").expect("/usr can be written");
            let number = world.inode("/usr/lib");
            world.remount("ro", "/usr").expect("which makes the kernel forget");
            number
        })
        .collect();
    assert_ne!(numbers[0], numbers[1]);
}

/// What is used under a name that is gone can be linked only from the process that uses it.
#[test]
fn control_a_file_has_no_handle_unless_it_is_meant_for_nfs() {
    for (options, has) in [(DATA_IS_COPIED, false), (DATA_STAYS, false), ("index=on,nfs_export=on", true)] {
        let world = writable(options);
        for file in [LOWER[0], UPPER, COPIED] {
            let handle = FileHandle::of_link(AT_FDCWD, world.outside(file).as_os_str());
            assert_eq!(handle.as_ref().err(), (!has).then_some(&Errno::EOPNOTSUPP), "{file} {options}");
        }
    }
}

// ── with rokeep ─────────────────────────────────────────────────────────────────────────────────────────────────────

const UPGRADE: [Change; 1] = [Upgrade("tool", "1", "2")];

/// One package has all three, and they are in use.
fn installed(options: &'static str) -> Small {
    let world = Small::on(Overlay(options)).installed_program("tool", "1", UPPER);
    world.writably(|| world.set_mode(COPIED, 0o700));
    world.recorded("tool", "1", &[LOWER[0], UPPER, COPIED])
}

/// Without a copy of what nobody needs there.
fn protected_without_copying(world: &Small, changes: &[Change]) {
    world.begin();
    let before = world.upper_layer_bytes();
    world.protect(changes);
    let grown = world.upper_layer_bytes() - before;
    assert!(grown < 50_000, "{grown} bytes were copied up");
}

#[test]
fn what_is_in_the_upper_layer_is_kept() {
    for file in [UPPER, COPIED] {
        for state in [Mapped(file), Open(file), OpenPath(file)] {
            let world = installed(DATA_IS_COPIED);
            let holder = world.hold(state);
            protected_without_copying(&world, &UPGRADE);
            assert!(world.in_upper_layer(LOWER[0]).is_none());
            [LOWER[0], UPPER, COPIED].iter().for_each(|file| world.dpkg_replaces(file));
            world.end();
            world.assert_mount("/usr", ReadOnly);
            world.assert_alias(file, Alias::Kept);
            assert!(!world.status().uses(file, holder.pid()).is_empty());
            drop(holder);
            world.rokeep(["cleanup"]).assert_code(0);
            world.assert_nothing_of_ours();
        }
    }
}

/// A copy of every program that runs would be a high price for one word in the mount table.
#[test]
fn what_is_in_the_lower_layer_alone_leaves_it_degraded() {
    for state in [Mapped(LOWER[0]), Open(LOWER[0]), OpenPath(LOWER[0])] {
        let world = Small::on(Overlay(DATA_IS_COPIED)).recorded("tool", "1", &LOWER);
        let holder = world.hold(state);
        protected_without_copying(&world, &UPGRADE);
        assert!(world.in_upper_layer(LOWER[0]).is_none());
        world.assert_alias(LOWER[0], Alias::None);
        world.dpkg_replaces(LOWER[0]);
        world.end().assert_says(&["/usr", "degraded", &format!("({})", holder.pid()), LOWER[0]]);
        world.assert_mount("/usr", ReadOnlyMount);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
        world.assert_nothing_of_ours();
    }
}

#[test]
fn what_nobody_uses_is_in_nobodys_way() {
    let world = installed(DATA_IS_COPIED);
    protected_without_copying(&world, &UPGRADE);
    [LOWER[0], UPPER, COPIED].iter().for_each(|file| world.dpkg_replaces(file));
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_nothing_of_ours();
}

#[test]
fn where_a_name_costs_no_data_every_file_is_kept() {
    for file in [LOWER[0], UPPER, COPIED] {
        let world = installed(DATA_STAYS);
        let holder = world.hold(Mapped(file));
        protected_without_copying(&world, &UPGRADE);
        world.dpkg_replaces(file);
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias(file, Alias::Kept);
        assert_eq!(world.status().uses(file, holder.pid()), ["mapped"]);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        // Those of the files that were not replaced.
        assert_eq!(world.all_aliases().len(), 2);
    }
}

/// Nobody can tell then what would be copied.
#[test]
fn where_the_upper_layer_is_out_of_sight_nothing_is_copied() {
    for decoy in [false, true] {
        let world = Small::on(OverlayOutOfSight).installed_program("tool", "1", UPPER);
        let world = world.recorded("tool", "1", &[LOWER[0], UPPER]);
        if decoy {
            // The name leads to something by now, and to a file of that name.
            world.write("/mnt/image/0.memory/upper/bin/lower", b"not what it seems");
        }
        let holder = world.hold(Mapped(LOWER[0]));
        protected_without_copying(&world, &UPGRADE);
        assert!(world.in_upper_layer(LOWER[0]).is_none());
        world.dpkg_replaces(LOWER[0]);
        world.end().assert_says(&["degraded", &format!("({})", holder.pid())]);
        world.assert_mount("/usr", ReadOnlyMount);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
    }
}

/// A file that was copied up keeps the number that it had below.
#[test]
fn a_number_that_two_files_have_is_no_obstacle() {
    for options in [DATA_IS_COPIED, DATA_STAYS] {
        let world = installed(options);
        let same = world.writably(|| world.same_number("/usr/lib", COPIED));
        let mut world = world.recorded("same", "1", &[&same]);
        world.remember(&[&same]);
        let holders = [&same, COPIED].map(|file| world.hold(Mapped(file)));
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2"), Remove("same", "1")]);
        world.dpkg_replaces(COPIED);
        world.dpkg_removes(&same);
        world.end();
        world.assert_mount("/usr", ReadOnly);
        let status = world.status();
        for (file, holder) in [&same, COPIED].iter().zip(&holders) {
            world.assert_alias(file, Alias::Kept);
            assert_eq!(status.uses(file, holder.pid()), ["mapped"], "{options}: {status:#?}");
        }
        drop(holders);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_alias(&same, Alias::None);
        world.assert_alias(COPIED, Alias::None);
    }
}

/// What no list names, in each layer: a cache that is rebuilt.
#[test]
fn what_no_package_lists_is_kept_where_that_copies_nothing() {
    let world = Small::on(Overlay(DATA_IS_COPIED)).unlisted(&["/usr/lib/cache"]);
    let holders = ["/usr/lib/cache", LOWER[0]].map(|file| world.hold(Mapped(file)));
    protected_without_copying(&world, &[]);
    assert!(world.in_upper_layer(LOWER[0]).is_none());
    world.rebuilds("/usr/lib/cache");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias("/usr/lib/cache", Alias::Kept);
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
}

/// Files have neither the mount's device number nor, there, a mount that is one of ours.
#[test]
fn what_is_used_in_another_mount_namespace_is_kept_too() {
    for state in [Mapped("/usr/lib/cache"), Open("/usr/lib/cache"), OpenPath("/usr/lib/cache")] {
        let world = Small::on(Overlay(DATA_IS_COPIED)).unlisted(&["/usr/lib/cache"]);
        let holder = world.hold_from(OwnMounts, state);
        protected_without_copying(&world, &[]);
        world.rebuilds("/usr/lib/cache");
        world.end().assert_says(&["1 replaced file", &format!("({})", holder.pid())]);
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias("/usr/lib/cache", Alias::Kept);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_nothing_of_ours();
    }
}

#[test]
fn who_is_in_the_way_may_be_in_another_mount_namespace() {
    let world = Small::on(Overlay(DATA_IS_COPIED)).unlisted(&["/usr/lib/cache"]);
    world.begin();
    world.protect(&[]);
    let holder = world.hold_from(OwnMounts, Open("/usr/lib/cache"));
    world.dpkg_removes("/usr/lib/cache");
    world.end().assert_says(&["degraded", &format!("({})", holder.pid()), "/usr/lib/cache"]);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

/// The directory is kept as long as a file that was opened through it, wherever that was.
#[test]
fn a_removed_directory_of_a_file_that_is_used_in_another_mount_namespace() {
    let world = Small::on(Overlay(DATA_IS_COPIED)).installed_tree("old", "1", &["/usr/lib/old/file"]);
    let world = world.recorded("other", "1", &["/usr", "/usr/lib"]).unlisted(&["/usr/lib/old/moved"]);
    let holder = world.hold_from(OwnMounts, Open("/usr/lib/old/moved"));
    protected_without_copying(&world, &[Remove("old", "1")]);
    world.renames("/usr/lib/old/moved", "/usr/lib/moved");
    world.dpkg_removes_package("old");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    assert!(world.inode("/usr/lib/old").is_some(), "somebody came through it");
    drop(holder);
    world.remount("ro", "/usr").expect("which makes the kernel forget");
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(world.inode("/usr/lib/old"), None);
    world.assert_mount("/usr", ReadOnly);
    world.assert_nothing_of_ours();
}

/// Its number is another one as soon as nobody is in it: the marker is known by the one that it had.
#[test]
fn a_removed_directory_that_somebody_is_in_is_kept_until_nobody_is() {
    let world = Small::on(Overlay(DATA_IS_COPIED)).installed_tree("old", "1", &["/usr/lib/old/file"]);
    let world = world.recorded("other", "1", &["/usr", "/usr/lib"]);
    let holder = world.hold(Cwd("/usr/lib/old"));
    protected_without_copying(&world, &[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    assert!(world.inode("/usr/lib/old").is_some(), "somebody is in it");
    drop(holder);
    world.remount("ro", "/usr").expect("which makes the kernel forget");
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(world.inode("/usr/lib/old"), None);
    world.assert_mount("/usr", ReadOnly);
    world.assert_nothing_of_ours();
}
