//! Where an alias goes: link(2) reaches neither another mount, nor another subvolume, nor another project.

use nix::errno::Errno;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    Alias,
    Change::{Remove, Upgrade},
    FileSystem::{self, Btrfs, Exfat, Ext4, Subvolume, Tmpfs, Xfs},
    Mount, Small,
    State::{Mapped, Open, OpenPath},
    Where::OwnMounts,
    stream,
};

// ── without rokeep ──────────────────────────────────────────────────────────────────────────────────────────────────

/// link(2) from a file into a directory at the root of /usr.
fn link_to_the_root(world: &Small, from: &str) -> Result<(), Errno> {
    let store = world.outside("/usr/store");
    std::fs::create_dir_all(&store).expect("a directory");
    let linked = std::fs::hard_link(world.outside(from), store.join("alias"));
    linked.map_err(|error| Errno::from_raw(error.raw_os_error().expect("the kernel's answer")))
}

#[test]
fn control_a_directory_mounted_twice_is_one_file_system_that_no_link_crosses() {
    for file_system in FileSystem::ALL {
        let world = Small::on(file_system);
        let file = "/usr/share/second/file";
        world.writably(|| {
            world.write("/usr/share/first/file", b"");
            world.bind("/usr/share/first", "/usr/share/second");
        });
        world.remount("rw", "/usr").expect("/usr can be written");
        assert_eq!(link_to_the_root(&world, file), Err(Errno::EXDEV), "{file_system:?}");
        let holder = world.hold(Mapped(file));
        world.dpkg_replaces(file);
        assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY), "{file_system:?}");
        drop(holder);
    }
}

#[test]
fn control_a_subvolume_is_one_file_system_that_no_link_crosses() {
    let world = Small::on(Btrfs);
    let file = "/usr/lib/machines/file";
    world.remount("rw", "/usr").expect("/usr can be written");
    world.subvolume("/usr/lib/machines");
    world.write(file, b"");
    assert_eq!(link_to_the_root(&world, file), Err(Errno::EXDEV));
    let _holder = world.hold(Mapped(file));
    world.dpkg_replaces(file);
    assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY));
}

/// It is the project of the directory that the link goes into that refuses: of a project of its own, as everything below
/// a mount that has one.
#[test]
fn control_a_project_is_one_file_system_that_no_link_enters() {
    let world = Small::on(Xfs);
    world.remount("rw", "/usr").expect("/usr can be written");
    for (path, project) in [("/usr/lib/of-eight", "8"), ("/usr/lib/of-none", "0")] {
        world.write(format!("{path}/older"), b"");
        world.project(path, project);
        world.write(format!("{path}/file"), b"");
    }
    assert_eq!(link_to_the_root(&world, "/usr/lib/of-eight/file"), Ok(()), "a store of no project takes every file");
    std::fs::remove_dir_all(world.outside("/usr/store")).expect("away with it");
    world.project("/usr", "7");
    for dir in ["/usr/lib/of-eight", "/usr/lib/of-none"] {
        let file = format!("{dir}/file");
        assert_eq!(link_to_the_root(&world, &file), Err(Errno::EXDEV), "{dir}");
        std::fs::hard_link(world.outside(&file), world.outside(dir).join(".file.rokeep.1")).expect("beside it");
        let holder = world.hold(Open(&file));
        world.dpkg_replaces(&file);
        assert_eq!(world.remount("ro", "/usr"), Ok(()), "one more name is enough, wherever it is");
        drop(holder);
        world.remount("rw", "/usr").expect("/usr can be written");
    }
}

const SUBVOLUMES: [Mount; 2] =
    [Mount("/home", Subvolume("@home"), Writable), Mount("/usr", Subvolume("@usr"), ReadOnlyMount)];

/// Read-only or not is said of each mount, but the superblock is one.
#[test]
fn control_two_subvolumes_are_one_file_system() {
    let world = Small::with(&SUBVOLUMES);
    world.write("/home/file", b"");
    let holder = world.hold(Open("/home/file"));
    world.dpkg_removes("/home/file");
    assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY));
    drop(holder);
    world.remount("ro", "/usr").expect("nobody is in the way");
    world.assert_mount("/home", ReadOnly);
}

#[test]
fn control_a_file_system_without_hard_links() {
    let world = Small::on(Exfat);
    world.remount("rw", "/usr").expect("/usr can be written");
    world.write("/usr/bin/tool", b"");
    assert_eq!(link_to_the_root(&world, "/usr/bin/tool"), Err(Errno::EPERM));
    assert_eq!(world.remount("ro", "/usr"), Ok(()));
    world.assert_mount("/usr", ReadOnly);
}

/// 65,000 links are as many as ext4 knows.
#[test]
fn control_a_file_that_can_have_no_more_names() {
    let world = Small::on(Ext4);
    world.remount("rw", "/usr").expect("/usr can be written");
    world.write("/usr/bin/tool", b"");
    world.many_names("/usr/bin/tool", 65_000);
    assert_eq!(link_to_the_root(&world, "/usr/bin/tool"), Err(Errno::EMLINK));
}

#[test]
fn control_the_root_directory_goes_back_too() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/", Tmpfs, ReadOnly)]);
    world.remount("rw", "/").expect("/ can be written");
    world.write("/etc/file", b"");
    let holder = world.hold(Open("/etc/file"));
    world.dpkg_replaces("/etc/file");
    assert_eq!(world.remount("ro", "/"), Err(Errno::EBUSY));
    drop(holder);
    assert_eq!(world.remount("ro", "/"), Ok(()));
    world.assert_mount("/", ReadOnly);
}

// ── with rokeep ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// `st_dev` differs there.
#[test]
fn who_is_in_the_way_may_be_in_another_subvolume() {
    let world = Small::with(&SUBVOLUMES.map(|Mount(point, kind, _)| Mount(point, kind, ReadOnly)));
    world.begin();
    world.protect(&[]);
    world.remount("rw", "/home").expect("/home can be written");
    world.write("/home/file", b"");
    let holder = world.hold(Open("/home/file"));
    world.dpkg_removes("/home/file");
    world.end().assert_says(&["/usr", "degraded", &format!("({})", holder.pid()), "/home/file"]);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

const BOUND: &str = "/usr/share/second/tool";

/// /usr has a directory that is mounted at a second place below /usr, and a package has its files there.
fn with_a_directory_mounted_twice(file_system: FileSystem) -> Small {
    let world = Small::on(file_system);
    world.writably(|| {
        world.write("/usr/share/first/.keep", b"");
        world.bind("/usr/share/first", "/usr/share/second");
    });
    world.installed_program("tool", "1", BOUND).installed("plain", "1", &["/usr/bin/plain"])
}

#[test]
fn a_directory_mounted_twice_has_its_own() {
    for file_system in FileSystem::ALL {
        let world = with_a_directory_mounted_twice(file_system);
        let holders = [world.hold(Mapped(BOUND)), world.hold(Open("/usr/bin/plain"))];
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2"), Upgrade("plain", "1", "2")]);
        assert_eq!(world.aliases("/usr/share/second").len(), 1, "{file_system:?}");
        world.dpkg_replaces(BOUND);
        world.dpkg_replaces("/usr/bin/plain");
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias(BOUND, Alias::Kept);
        world.assert_alias("/usr/bin/plain", Alias::Kept);
        let status = world.status();
        assert!(!status.uses(BOUND, holders[0].pid()).is_empty(), "{status:#?}");
        assert_eq!(status.mount("/usr").aliases.held, 2, "it is of /usr, wherever its alias is");
        drop(holders);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_nothing_of_ours();
        world.assert_mount("/usr", ReadOnly);
    }
}

/// It cannot be reached where it was written down to be. It is not forgotten, whatever happens meanwhile.
#[test]
fn one_that_is_unmounted_meanwhile_is_not_forgotten() {
    let world = with_a_directory_mounted_twice(Ext4);
    let holder = world.hold(Mapped(BOUND));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(BOUND);
    world.end();
    drop(holder);
    world.unmount("/usr/share/second");
    world.begin();
    world.protect(&[Upgrade("plain", "1", "2")]);
    world.dpkg_replaces("/usr/bin/plain");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(world.all_aliases().len(), 1);
    world.bind("/usr/share/first", "/usr/share/second");
    world.remount("bind,rw", "/usr/share/second").expect("as it was");
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
}

/// Of two places one cannot be written to. The other does not wait for it.
#[test]
fn one_that_is_read_only_by_itself_is_in_nobodys_way() {
    let world = with_a_directory_mounted_twice(Ext4);
    let holders = [BOUND, "/usr/bin/plain"].map(|file| world.hold(Mapped(file)));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2"), Upgrade("plain", "1", "2")]);
    world.dpkg_replaces(BOUND);
    world.dpkg_replaces("/usr/bin/plain");
    world.remount("bind,ro", "/usr/share/second").expect("somebody closes it");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(1).assert_says(&["/usr/share/second", "Read-only"]);
    world.assert_alias(BOUND, Alias::Kept);
    world.assert_alias("/usr/bin/plain", Alias::None);
    world.assert_mount("/usr", ReadOnly);
    world.remount("bind,rw", "/usr/share/second").expect("and opens it again");
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
}

#[test]
fn what_is_mounted_from_elsewhere_is_left_alone() {
    for file_system in [Ext4, Tmpfs] {
        let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/srv", file_system, Writable)]);
        world.write("/srv/share/.keep", b"");
        world.writably(|| world.bind("/srv/share", "/usr/share"));
        let world = world.installed("tool", "1", &["/usr/bin/tool", "/usr/share/data"]);
        let _holders = [world.hold(Mapped("/usr/share/data")), world.hold(Mapped("/usr/bin/tool"))];
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2")]);
        world.assert_alias("/usr/bin/tool", Alias::Kept);
        world.assert_alias("/usr/share/data", Alias::None);
        world.assert_no_store("/usr/share");
        world.assert_no_store("/srv");
        world.dpkg_replaces("/usr/bin/tool");
        world.dpkg_replaces("/usr/share/data");
        world.end();
        world.assert_mount("/usr", ReadOnly);
    }
}

#[test]
fn what_is_covered_is_left_alone() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/tool", "/usr/share/data"]);
    let _holder = world.hold(Mapped("/usr/share/data"));
    world.cover("/usr/share");
    world.write("/usr/share/data", b"another file of this name");
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    world.assert_no_store("/usr/share");
    world.dpkg_replaces("/usr/bin/tool");
    world.dpkg_replaces("/usr/share/data");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_nothing_of_ours();
}

/// It becomes writable with /usr, though nobody asked for that, and what is in use there is kept like anything on /usr.
#[test]
fn a_directory_that_is_mounted_elsewhere_and_not_managed() {
    for file_system in [Ext4, Xfs, Btrfs, Tmpfs] {
        let world = Small::on(file_system);
        world.writably(|| {
            world.write("/usr/share/.keep", b"");
            world.bind("/usr/share", "/srv/share");
        });
        let world = world.installed("tool", "1", &["/srv/share/used", "/srv/share/unused"]);
        let holder = world.hold(Mapped("/srv/share/used"));
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2")]);
        world.dpkg_replaces("/srv/share/used");
        world.dpkg_replaces("/srv/share/unused");
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias("/srv/share/used", Alias::Kept);
        assert_eq!(world.status().mount("/usr").aliases.held, 1, "{file_system:?}");
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_nothing_of_ours();
    }
}

/// One superblock, two managed mounts of it: each goes back, and each has the aliases of what dpkg calls by its name.
#[test]
fn a_directory_that_is_managed_at_a_second_place_too() {
    for file_system in [Ext4, Xfs, Btrfs, Tmpfs] {
        let world = Small::on(file_system);
        world.write("/etc/rokeep/config.toml", b"mounts = ['/usr', '/srv/share']\n");
        world.writably(|| {
            world.write("/usr/share/.keep", b"");
            world.bind("/usr/share", "/srv/share");
        });
        let files = ["/usr/share/one", "/srv/share/two"];
        let world = world.installed("tool", "1", &files);
        let found = ["/usr", "/srv/share"].map(|point| world.mount_line(point));
        let holders = files.map(|file| world.hold(Mapped(file)));
        world.begin();
        world.assert_mount("/srv/share", Writable);
        world.protect(&[Upgrade("tool", "1", "2")]);
        files.iter().for_each(|file| world.assert_alias(file, Alias::Kept));
        files.iter().for_each(|file| world.dpkg_replaces(file));
        world.end();
        assert_eq!(["/usr", "/srv/share"].map(|point| world.mount_line(point)), found, "{file_system:?}");
        files.iter().for_each(|file| world.assert_alias(file, Alias::Kept));
        drop(holders);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_nothing_of_ours();
    }
}

// ── btrfs ───────────────────────────────────────────────────────────────────────────────────────────────────────────

pub(crate) const OUTER: &str = "/usr/share/outer";
const INNER: &str = "/usr/lib/machines";

/// A subvolume inside /usr, and a package with a file out here and one in there, of the same number.
pub(crate) fn with_a_subvolume() -> (Small, String) {
    let world = Small::on(Btrfs).installed("outer", "1", &[OUTER]);
    let inner = world.writably(|| {
        world.subvolume(INNER);
        world.same_number(INNER, OUTER)
    });
    let mut world = world.recorded("inner", "1", &[&inner]);
    world.remember(&[&inner]);
    (world, inner)
}

#[test]
fn a_subvolume_without_a_mount_has_its_own() {
    let (world, inner) = with_a_subvolume();
    let holders = [OUTER, &inner].map(|file| world.hold(Mapped(file)));
    world.begin();
    world.protect(&[Upgrade("outer", "1", "2"), Upgrade("inner", "1", "2")]);
    assert_eq!(world.aliases(INNER).len(), 1);
    assert_eq!(world.aliases("/usr").len(), 1);
    world.dpkg_replaces(OUTER);
    world.dpkg_replaces(&inner);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    let status = world.status();
    for (file, holder) in [OUTER, &inner].iter().zip(&holders) {
        world.assert_alias(file, Alias::Kept);
        assert_eq!(status.uses(file, holder.pid()), ["mapped"], "{status:#?}");
    }
    for held in &status.held {
        assert_eq!(held.holders.len(), 1, "one number, two files, each with its own user: {status:#?}");
    }
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
}

/// Its mount there is none of ours, and its device number nobody knew until then.
#[test]
fn what_is_used_in_a_subvolume_in_another_mount_namespace_is_kept_too() {
    for state in [Mapped("/usr/lib/machines/cache"), Open("/usr/lib/machines/cache")] {
        let world = Small::on(Btrfs);
        world.writably(|| world.subvolume(INNER));
        let world = world.unlisted(&["/usr/lib/machines/cache"]);
        let holder = world.hold_from(OwnMounts, state);
        world.begin();
        world.protect(&[]);
        world.rebuilds("/usr/lib/machines/cache");
        world.end().assert_says(&["1 replaced file", &format!("({})", holder.pid())]);
        world.assert_mount("/usr", ReadOnly);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_nothing_of_ours();
    }
}

#[test]
fn who_is_in_the_way_may_be_in_a_subvolume_in_another_mount_namespace() {
    let world = Small::on(Btrfs);
    world.writably(|| world.subvolume(INNER));
    let world = world.unlisted(&["/usr/lib/machines/cache"]);
    world.begin();
    world.protect(&[]);
    let holder = world.hold_from(OwnMounts, Open("/usr/lib/machines/cache"));
    world.dpkg_removes("/usr/lib/machines/cache");
    world.end().assert_says(&["degraded", &format!("({})", holder.pid()), "/usr/lib/machines/cache"]);
    world.assert_mount("/usr", ReadOnlyMount);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn a_number_that_two_subvolumes_have_keeps_only_the_file_in_use() {
    for outer_in_use in [true, false] {
        let (world, inner) = with_a_subvolume();
        let (used, unused) = if outer_in_use { (OUTER, inner.as_str()) } else { (inner.as_str(), OUTER) };
        let _holders = [world.hold(Mapped(used)), world.hold(OpenPath(used))];
        world.begin();
        world.protect(&[Upgrade("outer", "1", "2"), Upgrade("inner", "1", "2")]);
        world.dpkg_replaces(OUTER);
        world.dpkg_replaces(&inner);
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias(used, Alias::Kept);
        world.assert_alias(unused, Alias::None);
    }
}

/// @home is written to all the time; a file there with the number of one in @usr is another file.
#[test]
fn a_subvolume_beside_usr_is_another_place() {
    for found in [ReadOnly, ReadOnlyMount] {
        let world = Small::with(&SUBVOLUMES.map(|Mount(point, kind, access)| match point {
            "/usr" => Mount(point, kind, found),
            _ => Mount(point, kind, access),
        }));
        let world = world.installed("tool", "1", &["/usr/bin/tool", "/usr/bin/unused"]);
        let home = world.writably(|| world.same_number("/home", "/usr/bin/unused"));
        let _holders = [world.hold(Mapped("/usr/bin/tool")), world.hold(Mapped(&home))];
        let line = world.mount_line("/usr");
        world.begin();
        world.assert_mount("/usr", Writable);
        world.protect(&[Upgrade("tool", "1", "2")]);
        world.dpkg_replaces("/usr/bin/tool");
        world.dpkg_replaces("/usr/bin/unused");
        world.end();
        assert_eq!(world.mount_line("/usr"), line);
        world.assert_alias("/usr/bin/tool", Alias::Kept);
        world.assert_alias("/usr/bin/unused", Alias::None);
        world.assert_no_store("/home");
    }
}

// ── beside ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// /usr has a project, and one of its directories another one.
pub(crate) fn with_projects(file: &str) -> Small {
    let world = Small::on(Xfs);
    world.writably(|| {
        world.project("/usr", "7");
        world.write("/usr/lib/quota/.keep", b"");
        world.project("/usr/lib/quota", "8");
    });
    world.installed("tool", "1", &[file, "/usr/lib/quota/unused"]).installed("plain", "1", &["/usr/share/plain"])
}

#[test]
fn a_file_that_no_store_can_take_has_its_alias_beside_it() {
    let longest = format!("/usr/lib/quota/{}", "n".repeat(255));
    for file in ["/usr/lib/quota/tool", "/usr/lib/quota/with space \u{e9}\t\\", &longest] {
        let world = with_projects(file);
        let number = world.inode(file).expect("a file").1;
        let holders = [world.hold(Mapped(file)), world.hold(Mapped("/usr/share/plain"))];
        world.begin();
        world.protect(&[Remove("tool", "1"), Upgrade("plain", "1", "2")]);
        let beside = world.aliases_beside();
        assert_eq!(beside.len(), 2, "{beside:?}");
        let alias = beside.iter().find(|path| path.to_string_lossy().ends_with(&format!(".rokeep.{number}")));
        let name = alias.expect("one of them").file_name().expect("a name").len();
        assert!(name <= 255, "{name} bytes");
        world.dpkg_removes(file);
        world.dpkg_removes("/usr/lib/quota/unused");
        world.dpkg_replaces("/usr/share/plain");
        world.end();
        world.assert_mount("/usr", ReadOnly);
        world.assert_alias(file, Alias::Kept);
        world.assert_alias("/usr/lib/quota/unused", Alias::None);
        assert!(String::from_utf8_lossy(&world.journal()).contains("\"beside\":true"));
        assert_eq!(world.status().mount("/usr").aliases.held, 2);
        drop(holders);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_nothing_of_ours();
        assert!(world.journal().is_empty());
    }
}

/// An alias that its run did not need is not left for ever: the next run that replaces the file has it.
#[test]
fn an_alias_beside_is_used_again() {
    let file = "/usr/lib/quota/tool";
    let world = with_projects(file);
    let _holder = world.hold(Mapped(file));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.end();
    assert_eq!(world.status().mount("/usr").aliases.unchanged, 2, "dpkg never came to replace them");
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    assert_eq!(world.aliases_beside().len(), 2);
    world.dpkg_replaces(file);
    world.dpkg_replaces("/usr/lib/quota/unused");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    assert_eq!(world.aliases_beside().len(), 1);
    world.assert_alias(file, Alias::Kept);
}

/// It has no name but that of its alias, and the store is out of reach: each further run said that it was not protected.
#[test]
fn what_is_in_use_and_has_its_alias_beside_is_protected_already() {
    let file = "/usr/lib/quota/tool";
    let world = with_projects(file);
    let holder = world.hold(Mapped(file));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(file);
    world.dpkg_replaces("/usr/lib/quota/unused");
    world.end();
    world.begin();
    for run in [world.protect(&[Remove("plain", "1")]), world.hook("dpkg-pre-invoke", None)] {
        assert_eq!(run.assert_code(0).stderr, "");
    }
    world.dpkg_removes("/usr/share/plain");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_alias(file, Alias::Kept);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
}

#[test]
fn what_stands_where_an_alias_beside_should_be_is_left_alone() {
    let file = "/usr/lib/quota/tool";
    let world = with_projects(file);
    let taken = format!("/usr/lib/quota/.tool.rokeep.{}", world.inode(file).expect("a file").1);
    world.writably(|| world.write(&taken, b"somebody else's\n"));
    let found = world.inode(&taken);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]).assert_says(&["not protected", file]);
    world.end();
    assert_eq!(world.inode(&taken), found);
    world.assert_mount("/usr", ReadOnly);
}

/// The journal is written twice: for what goes into a store, and then for what cannot.
#[test]
fn a_journal_that_is_full_half_way_stops_apt_and_nothing_is_left() {
    let files: Vec<String> = (0..40).map(|number| format!("/usr/lib/quota/{number}{}", "n".repeat(200))).collect();
    let world = Small::with(&[Mount("/usr", Xfs, ReadOnly), Mount("/var/lib/rokeep", Tmpfs, Writable)]);
    world.writably(|| {
        world.project("/usr", "7");
        world.write("/usr/lib/quota/.keep", b"");
        world.project("/usr/lib/quota", "8");
    });
    let world = world.installed("tool", "1", &files).installed("plain", "1", &["/usr/bin/plain"]);
    // Each record is longer than 200 bytes.
    world.fill_but(20 << 10, "/var/lib/rokeep");
    let found = world.mount_line("/usr");
    world.begin();
    let changes = stream(&[Upgrade("tool", "1", "2"), Upgrade("plain", "1", "2")]);
    let run = world.hook("pre-install-pkgs", Some(changes)).assert_code(3);
    run.assert_says(&["/var/lib/rokeep/journal.jsonl", "No space left", "as it was found"]);
    assert_eq!(world.mount_line("/usr"), found);
    world.assert_nothing_of_ours();
    world.assert_no_session();
}

// ── none ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// As /boot/efi often is. A maintainer script copies a boot loader there.
#[test]
fn a_file_system_without_hard_links_is_opened_and_closed() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/boot", Exfat, ReadOnly)]);
    let world = world.installed("loader", "1", &["/boot/EFI/loader.efi", "/usr/lib/loader"]);
    let found = world.mount_line("/boot");
    let holder = world.hold(Open("/boot/EFI/loader.efi"));
    world.begin();
    world.assert_mount("/boot", Writable);
    world.protect(&[Upgrade("loader", "1", "2")]);
    world.assert_alias("/usr/lib/loader", Alias::Kept);
    world.assert_no_store("/boot");
    world.write("/boot/EFI/loader.efi.new", b"loader 2");
    world.renames("/boot/EFI/loader.efi.new", "/boot/EFI/loader.efi");
    world.dpkg_replaces("/usr/lib/loader");
    world.end();
    assert_eq!(world.mount_line("/boot"), found);
    world.assert_mount("/usr", ReadOnly);
    world.assert_nothing_of_ours();
    drop(holder);
}

/// 65,000 names are as many as ext4 knows. They are a good protection.
#[test]
fn a_file_that_can_have_no_more_names_does_not_stop_apt() {
    let world = Small::ext4().installed("tool", "1", &["/usr/bin/many", "/usr/bin/tool"]);
    world.writably(|| world.many_names("/usr/bin/many", 65_000));
    let _holders = ["/usr/bin/many", "/usr/bin/tool"].map(|file| world.hold(Mapped(file)));
    world.begin();
    world.protect(&[Remove("tool", "1")]);
    world.assert_alias("/usr/bin/many", Alias::None);
    world.assert_alias("/usr/bin/tool", Alias::Kept);
    world.dpkg_removes("/usr/bin/many");
    world.dpkg_removes("/usr/bin/tool");
    world.end();
    world.assert_mount("/usr", ReadOnly);
}

/// dpkg can neither replace nor remove it.
#[test]
fn a_file_that_may_not_be_linked_does_not_stop_apt() {
    for how in ["+i", "+a"] {
        let world = Small::ext4().installed("tool", "1", &["/usr/bin/fixed", "/usr/bin/tool"]);
        world.writably(|| world.immutable("/usr/bin/fixed", how));
        let _holders = ["/usr/bin/fixed", "/usr/bin/tool"].map(|file| world.hold(Mapped(file)));
        world.begin();
        world.protect(&[Upgrade("tool", "1", "2")]).assert_says(&["/usr/bin/fixed", "not permitted"]);
        world.assert_alias("/usr/bin/tool", Alias::Kept);
        world.dpkg_replaces("/usr/bin/tool");
        world.end();
        world.assert_mount("/usr", ReadOnly);
    }
}

// ── / ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn the_root_directory_and_usr_go_back_together() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/", Tmpfs, ReadOnly)]);
    let files = ["/opt/tool/data", "/bin/tool", "/usr/lib/tool"];
    let world = world.installed("tool", "1", &files).installed("unused", "1", &["/opt/unused"]);
    let holders = files.map(|file| world.hold(Mapped(file)));
    world.begin();
    for point in ["/", "/usr"] {
        world.assert_mount(point, Writable);
    }
    world.protect(&[Upgrade("tool", "1", "2"), Remove("unused", "1")]);
    assert_eq!(world.aliases("/usr").len(), 2);
    files.iter().for_each(|file| world.dpkg_replaces(file));
    world.dpkg_removes("/opt/unused");
    world.end();
    files.iter().for_each(|file| world.assert_alias(file, Alias::Kept));
    for point in ["/", "/usr"] {
        world.assert_mount(point, ReadOnly);
    }
    assert_eq!(world.status().mount("/").aliases.held, 1);
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
    for point in ["/", "/usr"] {
        world.assert_mount(point, ReadOnly);
    }
}

/// The most common machine with a read-only system.
#[test]
fn the_root_directory_alone() {
    let world = Small::with(&[Mount("/", Tmpfs, ReadOnly)]);
    let files = ["/opt/tool/data", "/bin/tool", "/usr/lib/tool"];
    let world = world.installed("tool", "1", &files);
    let holders = files.map(|file| world.hold(Mapped(file)));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    files.iter().for_each(|file| world.dpkg_replaces(file));
    world.end();
    world.assert_mount("/", ReadOnly);
    files.iter().for_each(|file| world.assert_alias(file, Alias::Kept));
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
}
