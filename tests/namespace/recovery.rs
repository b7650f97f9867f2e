//! The journal and what is on disk do not tell the same: one of them was lost, came back from a backup, or is another one's.

use std::path::Path;

use crate::support::small::{
    Access::{ReadOnly, Writable},
    Alias,
    Change::{Remove, Upgrade},
    FileSystem::{self, Btrfs, Ext4, Subvolume, Tmpfs, Xfs},
    Mount, Small,
    State::{Cwd, Mapped},
};

const TOOL: &str = "/usr/bin/tool";
const DATA: &str = "/usr/lib/data";
const JOURNAL: &str = "/var/lib/rokeep/journal.jsonl";

/// A package was upgraded, as far as one of its two files; that one is in use.
fn half_upgraded(world: &Small) {
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.end();
    world.assert_mount("/usr", ReadOnly);
}

fn installed(file_system: FileSystem) -> Small {
    Small::on(file_system).installed("tool", "1", &[TOOL, DATA])
}

/// What has an alias and no record is written down again; with the names that lead to it where a person asks for it.
#[test]
fn a_lost_journal_is_made_anew_from_the_stores() {
    for file_system in FileSystem::ALL {
        let world = installed(file_system);
        let holder = world.hold(Mapped(TOOL));
        half_upgraded(&world);
        world.removes(JOURNAL);
        world.rokeep(["cleanup"]).assert_code(0);
        assert_eq!(world.records(), 2, "{file_system:?}");
        let aliases = world.status().mounts.remove(0).aliases;
        assert_eq!((aliases.held, aliases.unchanged, aliases.unknown), (1, 0, 1), "{file_system:?}");
        world.rokeep(["recover"]).assert_code(0);
        let journal = String::from_utf8(world.journal()).expect("text");
        assert!(journal.contains(r#""names":["/usr/lib/data"]"#), "{file_system:?}: {journal}");
        let aliases = world.status().mounts.remove(0).aliases;
        assert_eq!((aliases.held, aliases.unchanged, aliases.unknown), (1, 1, 0), "{file_system:?}");
        world.rokeep(["cleanup"]).assert_code(0);
        world.rokeep(["recover"]).assert_code(0);
        assert_eq!(world.journal(), journal.as_bytes(), "once is enough");

        drop(holder);
        world.begin();
        world.protect(&[]);
        world.dpkg_replaces(DATA);
        world.end();
        world.assert_no_store("/usr");
        world.assert_mount("/usr", ReadOnly);
    }
}

/// Whatever is wrong with what it looks for.
#[test]
fn what_is_open_is_closed_before_anything_is_looked_for() {
    for (path, text) in [(JOURNAL, "{\"rokeep_journal\":3}\nhello\nworld\n"), ("/etc/rokeep/config.toml", "mounts = [")]
    {
        let world = installed(Ext4);
        world.begin();
        world.kill_rokeep();
        world.apt_dies();
        world.write(path, text.as_bytes());
        world.assert_mount("/usr", Writable);
        world.rokeep(["recover"]).assert_code(1).assert_says(&["could not look for", path]);
        world.assert_mount("/usr", ReadOnly);
    }
}

/// Of one file system, each with its own store; the journal knows all of it.
#[test]
fn what_another_managed_mount_has_is_no_stranger() {
    let world = Small::on(Ext4);
    world.writably(|| {
        world.write("/usr/share/first/.keep", b"");
        world.bind("/usr/share/first", "/usr/share/mounted");
    });
    let world = world.installed("tool", "1", &[TOOL, "/usr/share/mounted/data"]);
    world.write("/etc/rokeep/config.toml", b"mounts = ['/usr', '/usr/share/mounted']\n");
    let _holders = [world.hold(Mapped(TOOL)), world.hold(Mapped("/usr/share/mounted/data"))];
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(TOOL);
    world.dpkg_replaces("/usr/share/mounted/data");
    world.end();
    let journal = world.journal();
    assert_eq!(world.records(), 2);
    world.rokeep(["recover"]);
    world.rokeep(["cleanup"]);
    assert_eq!(world.journal(), journal);
}

/// It has a copy of the store, which is its owner's.
#[test]
fn a_snapshot_is_nobodys_business() {
    let world = installed(Btrfs);
    half_upgraded(&world);
    world.remount("rw", "/usr").expect("by hand");
    world.snapshot("/usr", "/usr/snapshot");
    world.remount("ro", "/usr").expect("by hand");
    let journal = world.journal();
    world.rokeep(["recover"]).assert_code(0);
    assert_eq!(world.journal(), journal);
    world.rokeep(["cleanup"]).assert_code(0);
    assert!(world.outside("/usr/snapshot/.rokeep").exists());
}

/// The name that it stands beside is not all there is, or never was one.
#[test]
fn an_alias_beside_its_file_has_all_names_that_lead_to_it() {
    let long = format!("/usr/lib/{}", "n".repeat(250));
    let world = Small::on(Ext4).unlisted(&[DATA, &long]);
    world.remount("rw", "/usr").expect("by hand");
    world.hard_link(Path::new(DATA), "/usr/lib/another-name");
    for file in [DATA, &long] {
        let number = world.inode(file).expect("there").1;
        let end = format!(".rokeep.{number}");
        let name = &file["/usr/lib/".len()..];
        let name = &name[..name.len().min(254 - end.len())];
        world.hard_link(Path::new(file), &format!("/usr/lib/.{name}{end}"));
    }
    world.removes(DATA);
    world.remount("ro", "/usr").expect("by hand");
    world.rokeep(["recover"]).assert_says(&["2 aliases"]);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(world.aliases_beside().len(), 2, "{}", String::from_utf8_lossy(&world.journal()));
}

/// There is something to drop, and nowhere to write it down.
#[test]
fn a_read_only_state_directory_keeps_nothing_from_being_dropped() {
    for command in ["cleanup", "release"] {
        let world = Small::with(&[Mount("/usr", Ext4, ReadOnly), Mount("/var/lib/rokeep", Tmpfs, Writable)]);
        let world = world.installed("tool", "1", &[TOOL]);
        let holder = world.hold(Mapped(TOOL));
        half_upgraded(&world);
        world.removes(JOURNAL);
        world.remount("ro", "/var/lib/rokeep").expect("by hand");
        drop(holder);
        world.rokeep([command]);
        world.assert_alias(TOOL, Alias::None);
        world.assert_mount("/usr", ReadOnly);
    }
}

/// Markers in directories, aliases beside files: nobody comes upon them by chance.
#[test]
fn by_hand_everything_is_found_that_the_lost_journal_knew() {
    const DIRECTORY: &str = "/usr/share/old/data";
    let above = ["/usr", "/usr/share"];
    let world = Small::on(Ext4).installed_tree("old", "1", &["/usr/share/old/data/file"]);
    let world = world.recorded("base-files", "1", &above).installed("tool", "1", &[TOOL]);
    let _somebody = world.hold(Cwd(DIRECTORY));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2"), Remove("old", "1")]);
    assert!(world.marker(DIRECTORY).is_some());
    let known = world.records();
    let beside = format!("/usr/bin/.tool.rokeep.{}", world.inode(TOOL).expect("installed").1);
    world.hard_link(&world.alias_of(TOOL), &beside);
    world.removes(JOURNAL);

    world.rokeep(["recover"]).assert_says(&[&format!("{} aliases", known + 1)]);
    assert_eq!(world.records(), known + 1, "and the one beside");
    world.end();
    assert!(world.marker(DIRECTORY).is_none(), "the directory is its package's as before");
    world.assert_mount("/usr", ReadOnly);
    world.begin();
    world.protect(&[]);
    world.dpkg_removes(TOOL);
    world.end();
    world.assert_alias(TOOL, Alias::None);
}

/// Nobody would have looked there again before a package had a file there.
#[test]
fn what_is_in_a_store_below_the_mount_point_was_not_found() {
    let (file, plain) = ("/usr/share/second/tool", "/usr/bin/plain");
    let world = Small::ext4();
    world.writably(|| {
        world.write("/usr/share/first/.keep", b"");
        world.bind("/usr/share/first", "/usr/share/second");
    });
    let world = world.installed("tool", "1", &[file, "/usr/share/second/unused"]).installed("plain", "1", &[plain]);
    let holder = world.hold(Mapped(file));
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.dpkg_replaces(file);
    world.end();
    assert_eq!(world.aliases("/usr/share/second").len(), 2);
    world.removes("/var/lib/rokeep/journal.jsonl");
    world.rokeep(["recover"]).assert_code(0).assert_says(&["2 aliases", "did not know"]);
    world.rokeep(["recover"]).assert_code(0);
    let status = world.status();
    assert_eq!((status.mount("/usr").aliases.held, status.mount("/usr").aliases.unchanged), (1, 1));
    world.assert_alias(file, Alias::Kept);
    drop(holder);
    world.rokeep(["cleanup"]).assert_code(0);
    assert_eq!(world.aliases("/usr/share/second").len(), 1, "dpkg never came to replace the other one");
    world.writably(|| world.dpkg_replaces("/usr/share/second/unused"));
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_nothing_of_ours();
    world.assert_mount("/usr", ReadOnly);
}

/// Each subvolume counts its files anew, and the names of others were taken for those of a file with the same number: it would
/// have passed for one that is replaced, or for one that nobody mounts.
#[test]
fn a_file_of_another_subvolume_lends_no_names() {
    let mounts = [Mount("/usr", Subvolume("@usr"), ReadOnly), Mount("/usr/local", Subvolume("@local"), ReadOnly)];
    let world = Small::with(&mounts).installed("tool", "1", &[TOOL]);
    world.writably(|| {
        let twin = world.same_number("/usr/local", TOOL);
        world.hard_link(twin.as_ref(), "/usr/local/second-name");
    });
    let _holder = world.hold(Mapped(TOOL));
    half_upgraded(&world);
    world.removes(JOURNAL);
    world.rokeep(["recover"]).assert_code(0);
    let journal = String::from_utf8_lossy(&world.journal()).into_owned();
    assert!(world.records() > 0 && !journal.contains("/usr/local"), "{journal}");
}

/// It is one store, wherever it is seen.
#[test]
fn a_second_place_of_the_whole_mount_has_nothing_of_its_own() {
    let world = Small::ext4();
    world.writably(|| world.bind("/usr", "/usr/share/copy"));
    let world = world.installed("tool", "1", &[TOOL, "/usr/bin/unused"]);
    let _holder = world.hold(Mapped(TOOL));
    half_upgraded(&world);
    let journal = world.journal();
    world.remount("bind,ro", "/usr/share/copy").expect("nobody writes through it");
    let run = world.rokeep(["recover"]).assert_code(0);
    assert!(!run.stderr.contains("did not know"), "{}", run.stderr);
    assert_eq!(world.journal(), journal);
    world.begin();
    world.protect(&[]);
    let run = world.end();
    assert!(!run.stderr.contains("not finished"), "{}", run.stderr);
}

/// It has a rokeep of its own, which may be in the middle of a run.
#[test]
fn what_is_in_the_tree_of_another_system_is_that_systems() {
    let chroot = "/usr/lib/chroot";
    let world = Small::ext4();
    world.writably(|| {
        for directory in ["etc", "usr/bin", "var"] {
            world.makes_directory(format!("{chroot}/{directory}"));
        }
        world.bind(chroot, chroot);
        world.makes_directory(format!("{chroot}/.rokeep"));
        world.set_mode(format!("{chroot}/.rokeep"), 0o700);
        let program = format!("{chroot}/usr/bin/program");
        world.write(&program, b"another system's");
        let number = world.inode(&program).expect("it is there").1;
        world.hard_link(program.as_ref(), &format!("{chroot}/.rokeep/{number}"));
    });
    let found = world.all_aliases();
    for command in ["recover", "release", "cleanup"] {
        world.rokeep([command]).assert_code(0);
    }
    assert_eq!(world.all_aliases(), found);
    assert!(world.journal().is_empty());
}

/// Its records are of other files that had these numbers once.
#[test]
fn a_journal_of_another_time_tells_nothing_of_the_files_of_today() {
    for file_system in [Ext4, Xfs, Btrfs, Tmpfs] {
        let world = installed(file_system);
        half_upgraded(&world);
        let number = world.inode(DATA).expect("installed").1;
        let of_then = format!(
            "{{\"rokeep_journal\":3}}\n{{\"mount\":\"/usr\",\"inode\":{number},\"born\":5,\"names\":[\"/usr/bin/gone\"]}}\n"
        );
        world.write(JOURNAL, of_then.as_bytes());
        for command in ["cleanup", "recover"] {
            world.rokeep([command]).assert_code(0);
            world.assert_alias(DATA, Alias::Kept);
        }
        world.begin();
        world.end();
        world.assert_alias(DATA, Alias::Kept);
        let journal = String::from_utf8(world.journal()).expect("text");
        assert!(journal.contains("/usr/lib/data") && !journal.contains("/usr/bin/gone"), "{file_system:?}: {journal}");
    }
}

/// As the journal before this format did not tell.
#[test]
fn control_without_the_time_it_is_believed() {
    let world = installed(Ext4);
    half_upgraded(&world);
    let number = world.inode(DATA).expect("installed").1;
    let of_then =
        format!("{{\"rokeep_journal\":2}}\n{{\"mount\":\"/usr\",\"inode\":{number},\"names\":[\"/usr/bin/gone\"]}}\n");
    world.write(JOURNAL, of_then.as_bytes());
    world.rokeep(["cleanup"]).assert_code(0);
    world.assert_alias(DATA, Alias::None);
}

#[test]
fn a_store_that_somebody_removed_is_forgotten() {
    let world = installed(Ext4);
    half_upgraded(&world);
    world.remount("rw", "/usr").expect("by hand");
    for alias in world.all_aliases().into_keys() {
        world.removes(alias);
    }
    world.removes("/usr/.rokeep");
    world.remount("ro", "/usr").expect("by hand");
    world.begin();
    world.protect(&[]);
    world.end();
    assert_eq!(world.records(), 0);
    world.assert_mount("/usr", ReadOnly);
    assert!(world.status().problems.is_empty());
}

/// It is not what was written down, and nobody's to remove.
#[test]
fn what_stands_in_the_place_of_an_alias_is_left_alone() {
    let world = installed(Ext4);
    half_upgraded(&world);
    let alias = world.all_aliases().into_keys().next().expect("of the file that was not replaced");
    world.remount("rw", "/usr").expect("by hand");
    world.removes(&alias);
    world.write(&alias, b"somebody's\n");
    world.remount("ro", "/usr").expect("by hand");
    world.rokeep(["cleanup"]);
    world.begin();
    world.protect(&[Upgrade("tool", "1", "2")]);
    world.end();
    assert_eq!(std::fs::read(world.outside(&alias)).expect("still there"), b"somebody's\n");
    assert!(world.status().problems.iter().any(|problem| problem.contains("not rokeep's")));
}
