//! A directory that dpkg removes while somebody is in it cannot have a second name. A marker in it keeps it, as anything
//! in it would, until nobody is in it.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Change::{Remove, Upgrade},
    FileSystem::{self, Ext4, Tmpfs},
    Holder, Mount, Small,
    State::{Cwd, Mapped, OfAThread, Open, OpenPath, Root},
    Where::{Chroot, OwnMounts, OwnPath, OwnProcesses},
};

const PACKAGE: &str = "/usr/share/old";
const DATA: &str = "/usr/share/old/data";
const FILE: &str = "/usr/share/old/data/file";

const SHARED: [&str; 6] = ["/bin", "/lib", "/usr", "/usr/bin", "/usr/lib", "/usr/share"];

/// A package with a directory in a directory; the ones above are another's too, as on every Debian.
fn with_package(file_system: FileSystem) -> Small {
    Small::on(file_system).installed_tree("old", "1", &[FILE]).recorded("base-files", "1", &SHARED)
}

fn with_package_and_jail() -> Small {
    let world = with_package(Ext4);
    world.jail("/srv/jail");
    world
}

fn exists(world: &Small, path: &str) -> bool {
    world.inode(path).is_some()
}

#[track_caller]
fn assert_left_nothing(world: &Small) {
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_store("/usr");
    world.assert_no_session();
    assert_eq!(world.records(), 0, "{}", String::from_utf8_lossy(&world.journal()));
    for stays in ["/usr/share", "/usr/lib", "/usr/bin"] {
        assert!(exists(world, stays), "{stays} is another package's");
    }
}

// ── somebody is in it ───────────────────────────────────────────────────────────────────────────────────────────────

/// The package is removed while somebody is in its directory: the mount goes back, and the directory goes later.
#[track_caller]
fn assert_is_kept(world: impl Fn() -> Small, hold: impl Fn(&Small) -> Holder) {
    assert_is_kept_when(world, hold, |world| world.dpkg_removes_package("old"));
}

#[track_caller]
fn assert_is_kept_when(world: impl Fn() -> Small, hold: impl Fn(&Small) -> Holder, remove: impl Fn(&Small)) {
    let control = world();
    let holder = hold(&control);
    control.remount("rw", "/usr").expect("/usr can be written");
    remove(&control);
    assert!(!exists(&control, DATA));
    assert_eq!(control.remount("ro", "/usr"), Err(Errno::EBUSY), "without rokeep the kernel must refuse");
    drop((holder, control));

    let world = world();
    let holder = hold(&world);
    world.begin();
    world.protect(&[Remove("old", "1")]);
    assert!(world.marker(DATA).is_some(), "no marker");
    remove(&world);
    world.end().assert_says(&[&format!("({})", holder.pid())]);
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
    assert!(world.marker(DATA).is_some(), "in use is in use");
    let status = world.status();
    // The one above it, too, if that is what somebody has mounted elsewhere.
    let expected = 1 + usize::from(world.marker(PACKAGE).is_some());
    assert_eq!(status.mount("/usr").aliases.directories, expected, "{status:#?}");
    let named = status.held.iter().flat_map(|held| &held.holders).any(|known| known.pid == Some(holder.pid()));
    assert!(named, "{status:#?}");
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(world.marker(DATA).is_some(), "in use is in use");

    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(!exists(&world, PACKAGE), "nobody needs it any more");
    assert_left_nothing(&world);
}

#[test]
fn of_a_removed_package_however_it_is_used() {
    for file_system in FileSystem::ALL {
        for state in [Cwd, Root, Open, OpenPath] {
            assert_is_kept(|| with_package(file_system), |world| world.hold(state(DATA)));
        }
    }
}

/// Its configuration stays, and so does its list, with the directory that dpkg could not remove.
#[test]
fn of_a_package_that_is_removed_and_not_purged() {
    let holder = |world: &Small| world.hold(Cwd(DATA));
    assert_is_kept_when(
        || with_package(Ext4),
        holder,
        |world| {
            world.dpkg_removes_package("old");
            let left: Vec<&str> = [DATA, PACKAGE].into_iter().filter(|path| exists(world, path)).collect();
            world.dpkg_leaves_configuration_of("old", &left);
        },
    );
}

/// The status is behind: dpkg was killed before it had written anew that the package is there again.
#[test]
fn of_a_package_that_may_be_there_again() {
    let world = with_package(Ext4);
    let holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.dpkg_leaves_configuration_of("old", &[DATA, PACKAGE]);
    world.end();
    world.write("/var/lib/dpkg/updates/0001", b"Package: old\nStatus: install ok unpacked\n\n");
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(exists(&world, DATA), "it may be the package's");
    world.removes("/var/lib/dpkg/updates/0001");
}

/// Who came into the one above it later, when that was there for its sake only.
#[test]
fn goes_when_nobody_is_in_the_one_above_it_either() {
    for state in [Cwd, Open, OpenPath] {
        let world = with_package(Ext4);
        let first = world.hold(Cwd(DATA));
        world.begin();
        world.protect(&[Remove("old", "1")]);
        world.dpkg_removes_package("old");
        world.end();
        let second = world.hold(state(PACKAGE));
        drop(first);
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_mount("/usr", ReadOnly);
        assert!(exists(&world, PACKAGE), "in use is in use");
        let status = world.status();
        let named = status.held.iter().flat_map(|held| &held.holders).any(|known| known.pid == Some(second.pid()));
        assert!(named, "{status:#?}");

        drop(second);
        world.rokeep(["cleanup"]).assert_code(0);
        assert!(!exists(&world, PACKAGE), "nobody needs it any more");
        assert_left_nothing(&world);
    }
}

/// The kernel keeps the directory as long as the file that was opened through it, and shows it to nobody.
#[test]
fn of_a_removed_package_one_of_whose_files_is_in_use() {
    for file_system in FileSystem::ALL {
        for state in [Mapped, Open, OpenPath, OfAThread] {
            assert_is_kept(|| with_package(file_system), |world| world.hold(state(FILE)));
        }
    }
    for from in [Chroot("/srv/jail"), OwnMounts, OwnPath, OwnProcesses] {
        assert_is_kept(with_package_and_jail, |world| world.hold_from(from, Mapped(FILE)));
    }
}

/// A file in it that no package lists, and that a maintainer script removes.
#[test]
fn of_a_removed_package_where_something_was_made_that_is_in_use() {
    const MADE: &str = "/usr/share/old/data/cache";
    let world = || with_package(Ext4).unlisted(&[MADE]);
    let hold = |world: &Small| {
        let holder = world.hold(Mapped(MADE));
        world.writably(|| world.links(MADE, "/usr/lib/same"));
        holder
    };
    assert_is_kept_when(world, hold, |world| {
        world.removes(MADE);
        world.dpkg_removes_package("old");
    });
}

/// It has another name, and it is open by one that is gone already.
#[test]
fn of_a_removed_package_whose_file_lost_its_name_before() {
    const MADE: &str = "/usr/share/old/data/cache";
    let hold = |world: &Small| {
        let holder = world.hold(Mapped(MADE));
        world.writably(|| {
            world.links(MADE, "/usr/lib/same");
            world.removes(MADE);
        });
        holder
    };
    assert_is_kept(|| with_package(Ext4).unlisted(&[MADE]), hold);
}

#[test]
fn of_a_removed_package_used_from_elsewhere() {
    for from in [Chroot("/srv/jail"), OwnMounts, OwnPath, OwnProcesses] {
        assert_is_kept(with_package_and_jail, |world| world.hold_from(from, Cwd(DATA)));
    }
}

#[test]
fn is_called_what_it_is_called() {
    let world = with_package(Ext4);
    let holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.end();
    assert_eq!(world.status().uses(DATA, holder.pid()), ["current directory"]);
}

/// The list says where it was before /usr was merged.
#[test]
fn that_is_listed_where_it_was_before_usr_was_merged() {
    let world = || {
        let world = Small::ext4().installed_tree("old", "1", &["/lib/old/file"]).recorded("base-files", "1", &SHARED);
        world.writably(|| world.makes_directory("/usr/share"));
        world
    };
    let control = world();
    control.remount("rw", "/usr").expect("/usr can be written");
    let holder = control.hold(Cwd("/usr/lib/old"));
    control.dpkg_removes_package("old");
    assert_eq!(control.remount("ro", "/usr"), Err(Errno::EBUSY), "without rokeep the kernel must refuse");
    drop((holder, control));

    let world = world();
    let holder = world.hold(Cwd("/usr/lib/old"));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    assert!(world.marker("/usr/lib/old").is_some());
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(!exists(&world, "/usr/lib/old"));
    assert_left_nothing(&world);
}

/// It may be one that insists on finding nothing in the directory that is not its own.
#[test]
fn not_of_a_package_whose_new_version_cannot_be_read() {
    let world = with_package(Ext4);
    let _holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Upgrade("old", "1", "2")]).assert_says(&["old_2_amd64.deb"]);
    assert!(world.marker(DATA).is_none());
    world.end();
}

/// The new version does not have it any more.
#[test]
fn of_an_upgraded_package() {
    let world = with_package(Ext4);
    world.archive("old", "2", &[], &["/usr/share/old/other"]);
    let holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Upgrade("old", "1", "2")]);
    world.dpkg_removes(FILE);
    world.dpkg_removes_directory(DATA);
    world.dpkg_lists("old", &["/usr", "/usr/share", PACKAGE]);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    assert!(world.marker(DATA).is_some());
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(!exists(&world, DATA));
    assert!(exists(&world, PACKAGE), "it is the new version's");
    assert_left_nothing(&world);
}

#[test]
fn several_of_one_package() {
    let world = Small::ext4().installed_tree("old", "1", &[FILE, "/usr/share/old/more/file"]).recorded(
        "base-files",
        "1",
        &["/usr", "/usr/share", "/usr/lib", "/usr/bin"],
    );
    let inner = world.hold(Cwd(DATA));
    let (other, above) = (world.hold(Open("/usr/share/old/more")), world.hold(Root(PACKAGE)));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    drop(other);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(!exists(&world, "/usr/share/old/more"));
    drop(inner);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    assert!(!exists(&world, DATA));
    assert!(exists(&world, PACKAGE), "somebody is in it");
    drop(above);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(!exists(&world, PACKAGE));
    assert_left_nothing(&world);
}

#[test]
fn each_on_its_own_mount() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Tmpfs, ReadOnly)])
        .installed_tree("old", "1", &[FILE, "/opt/old/file"])
        .recorded("base-files", "1", &SHARED)
        .recorded("opt", "1", &["/opt"]);
    let holders = [world.hold(Cwd(DATA)), world.hold(Cwd("/opt/old"))];
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    world.assert_mount("/opt", ReadOnly);
    drop(holders);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(!exists(&world, PACKAGE) && !exists(&world, "/opt/old"));
    assert_left_nothing(&world);
    world.assert_mount("/opt", ReadOnly);
    assert!(exists(&world, "/opt/lib"));
}

// ── nobody is in it any more ────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn goes_at_once_if_whoever_was_in_it_has_left() {
    let world = with_package(Ext4);
    let holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    drop(holder);
    world.end();
    assert!(!exists(&world, PACKAGE));
    assert_left_nothing(&world);
}

/// It is not removed, so there is nothing to keep; the marker would only be found by dpkg, and by people.
#[test]
fn has_no_marker_after_the_run_where_a_package_still_has_it() {
    let world = with_package(Ext4);
    world.archive("old", "2", &[], &[FILE]);
    let _holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Upgrade("old", "1", "2")]);
    assert!(world.marker(DATA).is_some());
    world.dpkg_replaces(FILE);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    assert!(world.marker(DATA).is_none());
    assert!(exists(&world, DATA));
    assert_eq!(world.status().mount("/usr").aliases.directories, 0);
    assert_left_nothing(&world);
}

/// dpkg compares what it reads: a directory that another package has under its other name it removes. Whatever it does,
/// the directory is there afterwards.
#[test]
fn stays_where_another_package_has_it() {
    for (list, here) in [("/usr/lib/old", "/usr/lib/old"), ("/lib/old", "/usr/lib/old"), ("/usr/lib/old", "/lib/old")] {
        let world = Small::ext4().installed_tree("old", "1", &[&format!("{here}/file")]).recorded(
            "other",
            "1",
            &["/usr", "/usr/lib", "/lib", "/usr/bin", "/usr/share", list],
        );
        world.writably(|| world.makes_directory("/usr/share"));
        let _holder = world.hold(Cwd("/usr/lib/old"));
        world.begin();
        world.protect(&[Remove("old", "1")]);
        world.dpkg_removes_package("old");
        world.end();
        world.assert_mount("/usr", ReadOnly);
        assert!(world.marker("/usr/lib/old").is_none());
        assert!(exists(&world, "/usr/lib/old"), "listed as {list}");
        assert_left_nothing(&world);
    }
}

#[test]
fn leaves_a_parent_that_another_package_has() {
    let world = with_package(Ext4).recorded("other", "1", &["/usr", "/usr/share", PACKAGE]);
    let holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(!exists(&world, DATA));
    assert!(exists(&world, PACKAGE));
    assert_left_nothing(&world);
}

/// An administrator made it; the package has only what is in it.
#[test]
fn leaves_a_parent_that_no_package_ever_had() {
    let world = with_package(Ext4).recorded("old", "1", &["/usr", "/usr/share", DATA, FILE]);
    let holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(!exists(&world, DATA));
    assert!(exists(&world, PACKAGE));
    assert_left_nothing(&world);
}

#[test]
fn stays_with_somebody_elses_file_in_it() {
    for foreign in [&*format!("{DATA}/foreign"), &*format!("{DATA}/.rokeep.1"), &*format!("{PACKAGE}/foreign")] {
        let world = with_package(Ext4);
        let holder = world.hold(Cwd(DATA));
        world.begin();
        world.protect(&[Remove("old", "1")]);
        world.write(foreign, b"somebody else's\n");
        world.dpkg_removes_package("old");
        world.end();
        world.assert_mount("/usr", ReadOnly);
        drop(holder);
        world.rokeep(["cleanup"]).assert_code(0);
        assert!(world.marker(DATA).is_none());
        assert!(exists(&world, foreign), "{foreign}");
        assert_left_nothing(&world);
    }
}

/// Installed again while the old directory is still in use.
#[test]
fn that_comes_back_needs_no_marker() {
    let world = with_package(Ext4);
    let _holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.end();
    assert!(world.marker(DATA).is_some());
    world.begin();
    world.protect(&[]);
    world.write(FILE, b"old 1\n");
    world.dpkg_lists("old", &["/usr", "/usr/share", PACKAGE, DATA, FILE]);
    world.end();
    world.assert_mount("/usr", ReadOnly);
    assert!(world.marker(DATA).is_none());
    assert!(exists(&world, FILE));
    assert_left_nothing(&world);
}

/// Whoever was in it has left, but a file that was in it is in use.
#[test]
fn is_kept_for_as_long_as_a_file_that_was_in_it() {
    let world = with_package(Ext4);
    let (in_it, file) = (world.hold(Cwd(DATA)), world.hold(Open(FILE)));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.end();
    world.assert_mount("/usr", ReadOnly);
    drop(in_it);
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_mount("/usr", ReadOnly);
    assert!(world.marker(DATA).is_some());
    assert_eq!(world.aliases("/usr").len(), 1);
    drop(file);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(!exists(&world, PACKAGE));
    assert_left_nothing(&world);
}

// ── where none belongs ──────────────────────────────────────────────────────────────────────────────────────────────

fn markers(world: &Small) -> Vec<std::path::PathBuf> {
    let walk = walkdir::WalkDir::new(world.outside("/usr")).into_iter().filter_map(Result::ok);
    let is_marker = |entry: &walkdir::DirEntry| entry.file_name().to_string_lossy().starts_with(".rokeep.");
    walk.filter(is_marker).map(walkdir::DirEntry::into_path).collect()
}

#[test]
fn that_no_package_of_the_run_has_gets_none() {
    let world = with_package(Ext4).installed_tree("other", "1", &["/usr/share/other/file"]);
    world.writably(|| world.makes_directory("/usr/local/mine"));
    let _holders = [world.hold(Cwd("/usr/local/mine")), world.hold(Open("/usr/share/other"))];
    world.begin();
    world.protect(&[Remove("old", "1")]);
    assert!(markers(&world).is_empty(), "{:?}", markers(&world));
}

#[test]
fn that_nobody_uses_gets_none() {
    let world = with_package(Ext4);
    let _holder = world.hold(Open("/usr/lib"));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    assert!(markers(&world).is_empty(), "{:?}", markers(&world));
    world.dpkg_removes_package("old");
    world.end();
    assert!(!exists(&world, PACKAGE));
}

/// dpkg-maintscript-helper stops the upgrade if anything but the package's own files is in it.
#[test]
fn that_becomes_a_symbolic_link_gets_none() {
    let preinst =
        "#!/bin/sh\nset -e\ndpkg-maintscript-helper dir_to_symlink /usr/share/old/data ../other 2~ -- \"$@\"\n";
    for (scripts, expected) in [(&[("preinst", preinst)][..], 0), (&[], 1)] {
        let world = with_package(Ext4);
        world.archive("old", "2", scripts, &["/usr/share/old/other"]);
        let _holder = world.hold(Cwd(DATA));
        world.begin();
        world.protect(&[Upgrade("old", "1", "2")]);
        assert_eq!(markers(&world).len(), expected);
    }
}

/// Its own script removes the directory, and fails if that is not empty: it must not be because of us.
#[test]
fn that_a_script_of_the_installed_package_removes_gets_none() {
    for (script, expected) in [("rmdir /usr/share/old/data", 0), ("rmdir /usr/share/old/data || true", 1)] {
        let world = with_package(Ext4);
        world.write("/var/lib/dpkg/info/old.postrm", format!("#!/bin/sh\nset -e\n{script}\n").as_bytes());
        let _holder = world.hold(Cwd(DATA));
        world.begin();
        world.protect(&[Remove("old", "1")]);
        assert_eq!(markers(&world).len(), expected, "{script}");
    }
}

#[test]
fn in_a_run_that_stops_before_dpkg_gets_none() {
    let world = with_package(Ext4);
    let _holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.hook("pre-install-pkgs", Some(b"nonsense".to_vec())).assert_code(3);
    assert!(markers(&world).is_empty(), "{:?}", markers(&world));
    assert!(exists(&world, FILE));
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
}

// ── interrupted, and attacked ───────────────────────────────────────────────────────────────────────────────────────

#[test]
fn of_a_killed_run() {
    for dpkg_was_through in [false, true] {
        for command in ["recover", "cleanup"] {
            let world = with_package(Ext4);
            let holder = world.hold(Cwd(DATA));
            world.begin();
            world.protect(&[Remove("old", "1")]);
            if dpkg_was_through {
                world.dpkg_removes_package("old");
            }
            world.kill_rokeep();
            world.apt_dies();
            world.assert_mount("/usr", Writable);
            world.rokeep([command]).assert_code(0);
            world.assert_mount("/usr", ReadOnly);
            assert_eq!(world.marker(DATA).is_some(), dpkg_was_through);
            drop(holder);
            world.rokeep(["cleanup"]).assert_code(0);
            assert_eq!(exists(&world, PACKAGE), !dpkg_was_through);
            world.assert_mount("/usr", ReadOnly);
            assert!(markers(&world).is_empty());
        }
    }
}

#[test]
fn of_a_killed_run_whose_watch_lives() {
    let world = with_package(Ext4);
    let holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    world.dpkg_removes_package("old");
    world.apt_dies();
    world.assert_within(Duration::from_secs(2), "the session is over", || !world.has_session());
    world.assert_mount("/usr", ReadOnly);
    assert!(world.marker(DATA).is_some());
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(!exists(&world, PACKAGE));
    assert_left_nothing(&world);
}

/// The name of a directory leads somewhere else by now, where things look just like ours: down to the directory's number.
#[test]
fn that_was_exchanged_for_a_link_leads_nowhere() {
    for (exchanged, marker_too) in [(DATA, true), (DATA, false), (PACKAGE, true), (PACKAGE, false)] {
        let mounts = [Mount("/usr", Ext4, ReadOnly), Mount("/srv", Tmpfs, Writable)];
        let world = Small::with(&mounts).installed_tree("old", "1", &[FILE]).recorded("base-files", "1", &SHARED);
        let holder = world.hold(Cwd(DATA));
        world.begin();
        world.protect(&[Remove("old", "1")]);
        let marker = world.marker(DATA).expect("a marker");
        world.dpkg_removes_package("old");

        let trap = world.directory_with_number("/srv/traps", world.inode(DATA).expect("it is kept").1);
        let below = Path::new(DATA).strip_prefix(exchanged).expect("it is in there");
        let victim = if below == Path::new("") {
            trap
        } else {
            world.makes_directory("/srv/victim");
            world.renames(trap, Path::new("/srv/victim").join(below));
            "/srv/victim".into()
        };
        let name = below.join(marker.file_name().expect("a name"));
        if marker_too {
            world.write(victim.join(&name), b"");
            world.set_mode(victim.join(&name), 0);
        }
        world.renames(exchanged, "/usr/share/moved");
        world.points(exchanged, &format!("../../..{}", victim.display()));
        drop(holder);
        world.end();
        world.rokeep(["cleanup"]);
        world.assert_mount("/usr", ReadOnly);
        assert!(world.inode(victim.join(below)).is_some(), "what is behind the link is none of ours");
        assert_eq!(world.inode(victim.join(&name)).is_some(), marker_too, "what is behind the link is none of ours");
    }
}

/// A marker of a directory that was moved is not where it was; nothing else is taken for it.
#[test]
fn that_was_moved_away_stays_with_its_marker() {
    let world = with_package(Ext4);
    let holder = world.hold(Cwd(DATA));
    world.begin();
    world.protect(&[Remove("old", "1")]);
    let marker = world.marker(DATA).expect("a marker");
    world.dpkg_removes_package("old");
    world.renames(DATA, "/usr/share/moved");
    world.write(&marker, b"somebody else's\n");
    world.end();
    drop(holder);
    world.rokeep(["cleanup"]);
    world.assert_mount("/usr", ReadOnly);
    assert!(world.inode(&marker).is_some(), "it is not ours");
}
