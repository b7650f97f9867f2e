//! What a machine does when the power is back, and what must be so then.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rokeep::core::journal::{self, Journal, Spot};

use crate::package_run::{DAEMON, contents, known, upgrades_everything};
use crate::support::small::{Access::ReadOnly, FileSystem, Small};

/// Boots from these disks, and has every rule hold.
pub fn check(file_system: FileSystem, disks: &Path) {
    let world = Small::booted(file_system, disks);
    let found = everything(&world);
    only_what_somebody_asked_for(&found);
    everything_of_ours_is_in_the_journal(&world, &found);

    the_boot_unit(&world);
    is_closed(&world);
    is_clean(file_system, &world.disk("usr"));
    let recovered = everything(&world);
    only_what_somebody_asked_for(&recovered);
    only_what_may_still_be_replaced(&world, &recovered);
    let journal = world.journal();

    world.rokeep(["cleanup"]).assert_code(0);
    assert!(everything(&world) == recovered && world.journal() == journal, "a second recovery changed something");
    is_closed(&world);

    upgrades_everything(&world);
    is_closed(&world);
    is_clean(file_system, &world.disk("usr"));
    world.assert_nothing_of_ours();
    assert!(world.journal().is_empty(), "after a whole run that replaced everything the journal has something");
}

/// Boots from these disks, and has a record for all that is ours.
pub fn everything_of_ours_is_known(file_system: FileSystem, disks: &Path) {
    let world = Small::booted(file_system, disks);
    everything_of_ours_is_in_the_journal(&world, &everything(&world));
}

/// Starts a process only where one of the unit's paths is there: whatever a power cut leaves, one is, or nothing is to do.
fn the_boot_unit(world: &Small) {
    const UNIT: &str = include_str!("../../systemd/rokeep-boot.service");
    let mut paths = UNIT.lines().filter_map(|line| line.strip_prefix("ConditionPathExists=|"));
    if paths.any(|path| world.outside(path).symlink_metadata().is_ok()) {
        world.rokeep(["cleanup"]).assert_code(0);
    }
}

type Everything = BTreeMap<PathBuf, Option<Vec<u8>>>;

fn everything(world: &Small) -> Everything {
    world.everything_on("/usr")
}

fn is_closed(world: &Small) {
    world.assert_mount("/usr", ReadOnly);
    world.assert_no_session();
    let problems = world.status().problems;
    assert!(problems.is_empty(), "{problems:?}");
}

/// Every file is the old one or the new one, whole; nothing else is there but what is ours, or dpkg's while it unpacks.
fn only_what_somebody_asked_for(found: &Everything) {
    let known = known();
    for known in &known {
        match found.get(Path::new(known.path)) {
            Some(Some(bytes)) => {
                let whole = (1..=known.last_version).any(|version| contents(known.path, version) == *bytes);
                assert!(whole, "{} is neither the old file nor the new one: {} bytes", known.path, bytes.len());
            }
            Some(None) => panic!("{} is no file", known.path),
            None => assert!(known.may_be_gone, "{} is gone", known.path),
        }
    }
    let of_dpkg = |path: &Path| {
        let path = path.as_os_str().as_bytes();
        let stem = path.strip_suffix(b".dpkg-new").or(path.strip_suffix(b".dpkg-tmp")).unwrap_or(path);
        known.iter().any(|known| known.path.as_bytes() == stem)
    };
    for (path, _) in found.iter().filter(|(_, contents)| contents.is_some()) {
        let asked_for = of_dpkg(path) || path == Path::new(DAEMON) || is_ours(path);
        assert!(asked_for, "{path:?} is on /usr, and nobody asked for it");
    }
}

/// In the store, or a marker.
fn is_ours(path: &Path) -> bool {
    path.starts_with("/usr/.rokeep") || is_marker(path)
}

fn is_marker(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".rokeep."))
}

/// Intent first, then the deed; and what is taken away is gone before it is forgotten.
fn everything_of_ours_is_in_the_journal(world: &Small, found: &Everything) {
    let journal = read_journal(world);
    let recorded = |spot: Spot, number: &OsStr| {
        journal.records.iter().any(|record| record.spot == spot && *record.alias.entry() == *number)
    };
    for path in found.keys().filter(|path| is_ours(path)) {
        let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else { continue };
        let known = match directory == Path::new("/usr/.rokeep") {
            true if name == "proof" => true,
            true => recorded(Spot::Store(Path::new("/usr").into()), name),
            false if path == Path::new("/usr/.rokeep") => true,
            false => {
                let inside = |spot: &Spot| *spot == Spot::Inside(directory.into());
                journal.records.iter().any(|record| inside(&record.spot))
            }
        };
        assert!(known, "{path:?} is in no record");
    }
}

fn read_journal(world: &Small) -> Journal {
    let text = world.journal();
    journal::parse(&text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)))
}

/// Nobody holds anything after a boot: what was replaced goes, and so do guards and markers. An alias of a file that dpkg
/// was to replace, and did not, stays, and is known; without any there is no store, and no journal.
fn only_what_may_still_be_replaced(world: &Small, found: &Everything) {
    let journal = read_journal(world);
    let inodes: BTreeSet<_> = known().iter().filter_map(|known| world.inode(known.path)).collect();
    // A proof of writing may be there too, until somebody writes another one, or the store goes.
    let aliases: Vec<_> = world.all_aliases().into_values().collect();
    for alias in &aliases {
        assert!(inodes.contains(alias), "an alias is left of inode {alias:?}, which was replaced and nobody holds");
        let record = journal.records.iter().any(|record| record.alias.0 == alias.1);
        assert!(record, "an alias is left of inode {alias:?}, and in no record");
    }
    let markers: Vec<_> = found.keys().filter(|path| is_marker(path)).collect();
    assert!(markers.is_empty(), "markers are left: {markers:?}");
    let status = world.status();
    let counted = &status.mount("/usr").aliases;
    assert!(
        counted.unchanged == aliases.len(),
        "{} aliases are left, and of these some are not of files that may still be replaced: {counted:?}",
        aliases.len()
    );
    if aliases.is_empty() {
        world.assert_no_store("/usr");
        assert!(journal.records.is_empty(), "records of nothing are left: {:?}", journal.records);
    }
}

/// The file system is whole, and nothing of it waits to be done again.
fn is_clean(file_system: FileSystem, disk: &Path) {
    let mut check = match file_system {
        FileSystem::Ext4 => Command::new("e2fsck"),
        FileSystem::Xfs => Command::new("xfs_repair"),
        FileSystem::Btrfs => Command::new("btrfs"),
        other => panic!("{other:?} is not booted from"),
    };
    match file_system {
        FileSystem::Ext4 => check.arg("-fn"),
        FileSystem::Xfs => check.args(["-f", "-n"]),
        _ => check.args(["check", "--force", "--readonly"]),
    };
    let (code, said) = run(check.arg(disk));
    assert!(code == 0, "{disk:?} is not clean: {said}");
    if let FileSystem::Ext4 = file_system {
        let (_, said) = run(Command::new("dumpe2fs").arg("-h").arg(disk));
        assert!(said.contains("Filesystem state:         clean"), "{said}");
        assert!(!said.contains("needs_recovery"), "{said}");
    }
}

fn run(command: &mut Command) -> (i32, String) {
    let output = command.env("LC_ALL", "C").output().expect("a program of the machine's");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}
