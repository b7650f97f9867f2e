//! Where an alias goes: link(2) reaches neither another mount, nor another subvolume, nor another project.

use nix::errno::Errno;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    FileSystem::{self, Btrfs, Exfat, Ext4, Subvolume, Tmpfs, Xfs},
    Mount, Small,
    State::{Mapped, Open},
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
