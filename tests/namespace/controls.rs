//! Without rokeep: why a machine with a read-only /usr cannot go back to it, and the one thing that helps. If one of
//! these fails, the kernel has changed, and so has the reason for everything else.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use crate::support::small::{
    Access::{ReadOnly, ReadOnlyMount, Writable},
    FileSystem, Small,
    State::{self, Bound, Cwd, Executed, Link, Mapped, Open, OpenPath, Pipe, Root, Writing},
    Where::{Chroot, OwnMounts, OwnPath, OwnProcesses},
};

const TOOL: &str = "/usr/bin/tool";

/// A small world that dpkg can work in, as the well-known `Pre-Invoke { "mount -o remount,rw /usr"; }` leaves it.
fn writable(file_system: FileSystem) -> Small {
    let world = Small::on(file_system).installed_program("tool", "1", TOOL);
    world.remount("rw", "/usr").expect("/usr can be written");
    world
}

fn on_every_file_system(scenario: impl Fn(FileSystem, Small)) {
    for file_system in FileSystem::ALL {
        scenario(file_system, writable(file_system));
    }
}

fn in_every_state(scenario: impl Fn(FileSystem, &Small, State<&str>)) {
    on_every_file_system(|file_system, world| {
        for state in [Mapped(TOOL), Executed(TOOL), Open(TOOL), OpenPath(TOOL)] {
            world.remount("rw", "/usr").expect("/usr can be written");
            world.write_program(TOOL);
            scenario(file_system, &world, state);
        }
    });
}

/// The superblock becomes read-only, at the latest when the kernel has let go of what nobody uses any more.
#[track_caller]
fn assert_goes_back(world: &Small, file_system: FileSystem) {
    let moment = Duration::from_secs(2);
    world.assert_within(moment, &format!("{file_system:?} is read-only"), || world.remount("ro", "/usr").is_ok());
    world.assert_mount("/usr", ReadOnly);
}

#[test]
fn a_replaced_file_that_nobody_uses_does_not_matter() {
    on_every_file_system(|file_system, world| {
        world.dpkg_replaces(TOOL);
        assert_goes_back(&world, file_system);
    });
}

#[test]
fn a_replaced_file_in_use_keeps_the_superblock_writable() {
    in_every_state(|file_system, world, state| {
        let holder = world.hold(state);
        world.dpkg_replaces(TOOL);
        assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY), "{state:?} on {file_system:?}");
        world.assert_mount("/usr", Writable);
        drop(holder);
        assert_goes_back(world, file_system);
    });
}

#[test]
fn it_does_not_matter_from_where_the_replaced_file_is_used() {
    on_every_file_system(|file_system, world| {
        world.jail("/srv/jail");
        for from in [Chroot("/srv/jail"), OwnMounts, OwnPath, OwnProcesses] {
            for state in [Mapped(TOOL), OpenPath(TOOL)] {
                let holder = world.hold_from(from, state);
                world.dpkg_replaces(TOOL);
                assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY), "{state:?} {from:?} on {file_system:?}");
                drop(holder);
                assert_goes_back(&world, file_system);
                world.remount("rw", "/usr").expect("/usr can be written");
            }
        }
    });
}

#[test]
fn a_link_a_pipe_a_device_and_a_socket_are_no_better_than_a_file() {
    const ODD: &str = "/usr/lib/odd";
    on_every_file_system(|file_system, world| {
        let made: [(&dyn Fn(), _); 6] = [
            (&|| world.points(ODD, "somewhere"), Link(ODD)),
            (&|| world.makes_node(ODD, SFlag::S_IFIFO), Pipe(ODD)),
            (&|| world.makes_node(ODD, SFlag::S_IFIFO), OpenPath(ODD)),
            (&|| world.makes_node(ODD, SFlag::S_IFCHR), OpenPath(ODD)),
            (&|| world.makes_node(ODD, SFlag::S_IFSOCK), OpenPath(ODD)),
            (&|| (), Bound(ODD)),
        ];
        for (make, state) in made {
            make();
            let holder = world.hold(state);
            world.rebuilds(ODD);
            assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY), "{state:?} on {file_system:?}");
            drop(holder);
            assert_goes_back(&world, file_system);
            world.remount("rw", "/usr").expect("/usr can be written");
            world.removes(ODD);
        }
    });
}

#[test]
fn with_one_more_name_it_does_not_matter_who_uses_the_file() {
    in_every_state(|file_system, world, state| {
        let _holder = world.hold(state);
        let name = format!("/usr/{:?}", world.inode(TOOL));
        std::fs::hard_link(world.outside(TOOL), world.outside(name)).expect("a link");
        world.dpkg_replaces(TOOL);
        assert_eq!(world.remount("ro", "/usr"), Ok(()), "{state:?} on {file_system:?}");
        world.assert_mount("/usr", ReadOnly);
    });
}

#[test]
fn the_mount_alone_becomes_read_only_also_when_the_superblock_cannot() {
    on_every_file_system(|file_system, world| {
        let _holder = world.hold(Mapped(TOOL));
        world.dpkg_replaces(TOOL);
        assert_eq!(world.remount("bind,ro", "/usr"), Ok(()), "{file_system:?}");
        world.assert_mount("/usr", ReadOnlyMount);
    });
}

#[test]
fn a_file_open_for_writing_keeps_both_writable() {
    on_every_file_system(|file_system, world| {
        world.write("/usr/lib/log", b"");
        let writer = world.hold(Writing("/usr/lib/log"));
        assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY), "{file_system:?}");
        assert_eq!(world.remount("bind,ro", "/usr"), Err(Errno::EBUSY), "{file_system:?}");
        world.assert_mount("/usr", Writable);
        drop(writer);
        assert_goes_back(&world, file_system);
    });
}

#[test]
fn a_removed_directory_that_somebody_is_in_keeps_the_superblock_writable() {
    on_every_file_system(|file_system, world| {
        for state in [Cwd, Root, Open, OpenPath].map(|state: fn(_) -> _| state("/usr/lib/old")) {
            world.write("/usr/lib/old/file", b"");
            let holder = world.hold(state);
            world.dpkg_removes("/usr/lib/old/file");
            world.dpkg_removes("/usr/lib/old");
            assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY), "{state:?} on {file_system:?}");
            drop(holder);
            assert_goes_back(&world, file_system);
            world.remount("rw", "/usr").expect("/usr can be written");
        }
    });
}

/// The file itself has one more name. But who uses it came to it through the directory, and so the kernel keeps that too,
/// which no list of what processes have open shows. With the directory still there nothing is in the way.
#[test]
fn a_removed_directory_that_a_file_in_use_was_in_keeps_the_superblock_writable() {
    on_every_file_system(|file_system, world| {
        for state in [Mapped("/usr/lib/old/file"), Open("/usr/lib/old/file")] {
            world.write("/usr/lib/old/file", b"old");
            let holder = world.hold(state);
            let name = format!("/usr/{:?}", world.inode("/usr/lib/old/file"));
            std::fs::hard_link(world.outside("/usr/lib/old/file"), world.outside(name)).expect("a link");
            world.dpkg_removes("/usr/lib/old/file");
            assert_eq!(world.remount("ro", "/usr"), Ok(()), "{state:?} on {file_system:?}");
            world.remount("rw", "/usr").expect("/usr can be written");

            world.dpkg_removes("/usr/lib/old");
            assert_eq!(world.remount("ro", "/usr"), Err(Errno::EBUSY), "{state:?} on {file_system:?}");
            drop(holder);
            assert_goes_back(&world, file_system);
            world.remount("rw", "/usr").expect("/usr can be written");
        }
    });
}
