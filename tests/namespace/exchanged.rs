//! A directory of a user's on a managed mount, who changes what is in it while rokeep is at work: nothing that is not
//! rokeep's own is linked, removed, made or changed, wherever he has it look.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;

use nix::sys::stat::SFlag;

use crate::support::small::{
    Access::ReadOnly,
    Change::{Remove, Upgrade},
    FileSystem::{Ext4, Xfs},
    Holder, Mount, Small,
    State::{Cwd, Mapped},
    stream,
};

const NOBODY: u32 = 65534;

/// /opt is managed, and /opt/app is a user's, with a package's files in it.
fn with_a_users_directory() -> Small {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Xfs, ReadOnly)]);
    let world = world.installed("app", "1", &["/opt/app/lib/data", "/opt/app/lib/secret", "/opt/app/lib/conf"]);
    world.writably(|| {
        // On the same file system, and on another one.
        for victim in ["/opt/roots", "/srv/roots"] {
            for name in ["data", "secret", "conf"] {
                world.write(format!("{victim}/{name}"), b"root's\n");
                world.set_mode(format!("{victim}/{name}"), 0o600);
            }
        }
        give_away(&world, "/opt/app");
        give_away(&world, "/opt/app/lib");
    });
    world
}

fn give_away(world: &Small, path: &str) {
    chown(world.outside(path), Some(NOBODY), Some(NOBODY)).expect("it is given away");
}

fn user_exchanges(world: &Small, first: &str, second: &str) -> Holder {
    Holder::start(world.sandbox(), &["nobody", "/tool/holder", "exchange", first, second])
}

/// Names, numbers, modes, owners and contents of what is root's. A name more in the store is no harm: nobody reaches it.
fn roots(world: &Small) -> BTreeMap<PathBuf, (u64, u32, u32, Vec<u8>)> {
    let all = ["/opt/roots", "/srv/roots"].into_iter().flat_map(|dir| walkdir::WalkDir::new(world.outside(dir)));
    let is = |entry: walkdir::DirEntry| {
        let is = entry.metadata().expect("it is there");
        let contents = if is.is_file() { std::fs::read(entry.path()).expect("a file") } else { Vec::new() };
        (entry.into_path(), (is.ino(), is.mode(), is.uid(), contents))
    };
    all.filter_map(Result::ok).map(is).collect()
}

fn package_run(world: &Small) {
    let hook = |name: &str, stream| world.among_others(&["/tool/rokeep", "hook", name], stream);
    hook("pre-invoke", None).assert_code(0);
    hook("pre-install-pkgs", Some(stream(&[Upgrade("app", "1", "2")]))).assert_code(0);
    hook("post-invoke", None).assert_code(0);
}

fn cleaned_up(world: &Small) {
    package_run(world);
    world.rokeep(["cleanup"]).assert_code(0);
}

#[test]
fn names_that_change_places_all_the_time() {
    for target in ["/opt/roots", "/srv/roots"] {
        let world = with_a_users_directory();
        let before = roots(&world);
        world.writably(|| world.points("/opt/app/other", target));
        world.remount("rw", "/opt").expect("a user's directory is for writing");
        let user = user_exchanges(&world, "/opt/app/lib", "/opt/app/other");
        let _holder = world.hold(Mapped("/opt/app/lib/data"));
        for _ in 0..8 {
            world.remount("rw", "/opt").expect("a user's directory is for writing");
            package_run(&world);
        }
        drop(user);
        world.remount("ro", "/opt").expect("nobody writes");
        assert_eq!(roots(&world), before, "{target}");
        cleaned_up(&world);
        world.assert_mount("/opt", ReadOnly);
        assert_eq!(roots(&world), before, "{target}");
        assert!(world.aliases_beside().is_empty());
    }
}

#[test]
fn files_that_change_places_all_the_time() {
    let world = with_a_users_directory();
    let before = roots(&world);
    world.writably(|| {
        // fs.protected_hardlinks keeps users from this, where it is on.
        world.links("/opt/roots/secret", "/opt/app/lib/theirs");
        world.makes_node("/opt/app/lib/pipe", SFlag::S_IFIFO);
        world.makes_node("/opt/app/lib/device", SFlag::S_IFCHR);
    });
    world.remount("rw", "/opt").expect("a user's directory is for writing");
    let lib = |name: &str| format!("/opt/app/lib/{name}");
    let users = [("secret", "theirs"), ("data", "pipe"), ("conf", "device")]
        .map(|(first, second)| user_exchanges(&world, &lib(first), &lib(second)));
    for _ in 0..8 {
        world.remount("rw", "/opt").expect("a user's directory is for writing");
        package_run(&world);
    }
    drop(users);
    world.remount("ro", "/opt").expect("nobody writes");
    cleaned_up(&world);
    world.assert_mount("/opt", ReadOnly);
    assert_eq!(roots(&world), before);
    assert!(world.inode("/opt/roots/secret").is_some());
}

/// The mount itself is a user's, who puts a directory of root's where the store is.
#[test]
fn a_store_that_changes_places_all_the_time() {
    let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Ext4, ReadOnly)]);
    let world = world.installed("app", "1", &["/opt/data", "/opt/conf"]);
    world.writably(|| {
        world.write("/opt/theirs/1", b"root's\n");
        give_away(&world, "/opt");
    });
    world.remount("rw", "/opt").expect("a user's directory is for writing");
    let user = user_exchanges(&world, "/opt/.rokeep", "/opt/theirs");
    for _ in 0..12 {
        // apt is stopped, or not: whichever of both it found.
        world.among_others(&["/tool/rokeep", "hook", "pre-invoke"], None);
        let announced = Some(stream(&[Upgrade("app", "1", "2")]));
        world.among_others(&["/tool/rokeep", "hook", "pre-install-pkgs"], announced);
        world.among_others(&["/tool/rokeep", "hook", "post-invoke"], None);
        world.remount("rw", "/opt").expect("a user's directory is for writing");
        world.makes_directory("/opt/.rokeep");
    }
    drop(user);
    let theirs = ["/opt/theirs", "/opt/.rokeep"].into_iter().find(|dir| world.inode(format!("{dir}/1")).is_some());
    let theirs = world.outside(theirs.expect("it is in one of both places"));
    assert_eq!(theirs.metadata().expect("it is there").mode() & 0o7777, 0o755);
    assert_eq!(std::fs::read_dir(&theirs).expect("a directory").count(), 1, "nothing was put there");
    assert_eq!(std::fs::read(theirs.join("1")).expect("it is there"), b"root's\n");
}

// ── names like ours ─────────────────────────────────────────────────────────────────────────────────────────────────

/// Everything there is to plant: a store, aliases in it and beside files, a marker.
#[test]
fn what_is_called_like_ours_and_is_not() {
    let world = with_a_users_directory();
    let number = |path: &str| world.inode(path).expect("it is there").1;
    let (data, lib) = (number("/opt/app/lib/data"), number("/opt/app/lib"));
    let planted = [
        format!("/opt/app/.rokeep/{data}"),
        format!("/opt/app/lib/.rokeep/{data}"),
        format!("/opt/app/lib/.data.rokeep.{data}"),
        format!("/opt/app/lib/.secret.rokeep.{data}"),
        format!("/opt/app/lib/.rokeep.{lib}"),
    ];
    world.writably(|| {
        planted.iter().for_each(|path| world.write(path, b"the user's\n"));
        world.links("/opt/app/lib/data", format!("/opt/app/lib/.conf.rokeep.{data}"));
    });
    let before: Vec<_> = planted.iter().map(|path| world.inode(path)).collect();
    let holder = world.hold(Mapped("/opt/app/lib/data"));
    world.begin();
    world.protect(&[Upgrade("app", "1", "2")]);
    assert!(world.aliases("/opt").iter().any(|(_, number)| *number == data));
    ["data", "secret", "conf"].iter().for_each(|name| world.dpkg_replaces(format!("/opt/app/lib/{name}")));
    world.end();
    world.assert_mount("/opt", ReadOnly);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(planted.iter().map(|path| world.inode(path)).collect::<Vec<_>>(), before);
    assert!(world.inode(format!("/opt/app/lib/.conf.rokeep.{data}")).is_some(), "the user made it");
    world.assert_no_store("/opt");
}

/// The name of a marker was taken for the marker, and removed when apt stopped.
#[test]
fn a_file_called_as_a_marker_was_taken_back() {
    let world = Small::ext4().installed_tree("old", "1", &["/usr/share/old/data/file"]);
    let number = world.inode("/usr/share/old/data").expect("it is there").1;
    let planted = format!("/usr/share/old/data/.rokeep.{number}");
    world.writably(|| world.write(&planted, b"somebody else's\n"));
    let _holder = world.hold(Cwd("/usr/share/old/data"));
    world.begin();
    world.protect(&[Remove("old", "1")]).assert_says(&["not protected", "/usr/share/old/data", "exists"]);
    world.hook("pre-install-pkgs", Some(b"nonsense".to_vec())).assert_code(3);
    assert_eq!(std::fs::read(world.outside(&planted)).expect("it is there"), b"somebody else's\n");
    world.assert_mount("/usr", ReadOnly);
}

/// A directory with a marker was moved to where its owner could not have removed the one around it: that was empty when the
/// marked one was gone, and went too.
#[test]
fn an_empty_directory_above_one_that_was_moved_there_was_removed() {
    const DATA: &str = "/opt/app/lib/data";
    for (mode, stays) in [(0o1777, true), (0o755, false)] {
        let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Ext4, ReadOnly)]);
        let world =
            world.installed_tree("old", "1", &["/opt/app/lib/data/file"]).recorded("base-files", "1", &["/opt"]);
        world.writably(|| world.makes_directory("/opt/roots/lib"));
        let holder = world.hold(Cwd(DATA));
        world.begin();
        world.protect(&[Remove("old", "1")]);
        assert!(world.marker(DATA).is_some());
        world.dpkg_removes_package("old");
        world.set_mode("/opt/roots/lib", mode);
        world.renames(DATA, "/opt/roots/lib/data");
        world.removes("/opt/app/lib");
        world.points("/opt/app/lib", "../roots/lib");
        drop(holder);
        world.among_others(&["/tool/rokeep", "hook", "post-invoke"], None).assert_code(0);
        world.assert_mount("/opt", ReadOnly);
        assert!(world.inode("/opt/roots/lib/data").is_none(), "this is the one that dpkg wanted gone");
        assert_eq!(world.inode("/opt/roots/lib").is_some(), stays, "{mode:o}");
    }
}

/// Beside a file in a directory that became a link to one that others can write to.
#[test]
fn an_empty_directory_that_an_alias_was_moved_into_was_removed() {
    for (mode, stays) in [(0o1777, true), (0o755, false)] {
        let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/opt", Xfs, ReadOnly)]);
        world.writably(|| {
            world.makes_directory("/opt/app/lib");
            world.project("/opt", "7");
            world.project("/opt/app/lib", "8");
            world.makes_directory("/opt/roots/lib");
            world.project("/opt/roots/lib", "8");
        });
        let world = world.installed("app", "1", &["/opt/app/lib/data"]);
        let holder = world.hold(Mapped("/opt/app/lib/data"));
        world.begin();
        world.protect(&[Remove("app", "1")]);
        let alias = world.aliases_beside().pop().expect("one beside it");
        world.dpkg_removes("/opt/app/lib/data");
        world.dpkg_lists("app", &[]);
        world.set_mode("/opt/roots/lib", mode);
        let name = alias.file_name().expect("a name").to_owned();
        assert!(name.as_bytes().starts_with(b".data.rokeep."));
        world.renames(&alias, PathBuf::from("/opt/roots/lib").join(name));
        world.removes("/opt/app/lib");
        world.points("/opt/app/lib", "../roots/lib");
        drop(holder);
        world.among_others(&["/tool/rokeep", "hook", "post-invoke"], None).assert_code(0);
        world.assert_mount("/opt", ReadOnly);
        assert!(world.aliases_beside().is_empty(), "this is ours, wherever it is");
        assert_eq!(world.inode("/opt/roots/lib").is_some(), stays, "{mode:o}");
        world.rokeep(["cleanup"]).assert_code(0);
        world.assert_nothing_of_ours();
    }
}
