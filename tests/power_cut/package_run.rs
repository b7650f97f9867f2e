//! A package run and what follows it, recorded; and what may be found on /usr at any moment of it.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::syncfs;

use crate::Dice;
use crate::recording::Recording;
use crate::support::small::{
    Change::{Remove, Upgrade},
    FileSystem, Small,
    State::{Cwd, Executed, Mapped, Open},
};

/// A package of several files, which is upgraded.
const TOOL: [&str; 5] =
    ["/usr/bin/tool", "/usr/lib/tool/a", "/usr/lib/tool/b", "/usr/lib/tool/c", "/usr/lib/tool/with space"];
/// One whose upgrade fails the first time.
const LATE: [&str; 2] = ["/usr/bin/late", "/usr/lib/late"];
/// One that is not touched.
const OTHER: [&str; 2] = ["/usr/bin/other", "/usr/lib/other"];
/// One that is removed, with its directory.
const GONE: [&str; 2] = ["/usr/lib/gone/a", "/usr/lib/gone/b"];
const GONE_LIST: &str = "/var/lib/dpkg/info/gone.list";
const GONE_DIRECTORY: &str = "/usr/lib/gone";
/// Files that no package has, one of which is made anew.
const CACHES: [&str; 2] = ["/usr/share/cache", "/usr/share/other-cache"];
/// A program that runs all the time.
pub const DAEMON: &str = "/usr/sbin/daemon";

const STATUS: &str = "/var/lib/dpkg/status";

/// How long a change takes, in microseconds, so that between any two the file systems may write what they have.
const SLOWLY: u32 = 1500;

/// What a path may have in it.
pub struct Known {
    pub path: &'static str,
    /// The version that is there from the beginning is 1.
    pub last_version: u32,
    pub may_be_gone: bool,
}

/// All files that anybody asked for.
pub fn known() -> Vec<Known> {
    let those = |paths: &[&'static str], last_version, may_be_gone| {
        paths.iter().map(|path| Known { path, last_version, may_be_gone }).collect::<Vec<_>>()
    };
    let caches = [those(&CACHES[..1], 2, false), those(&CACHES[1..], 1, false)].concat_all();
    [those(&TOOL, 2, false), those(&LATE, 2, false), those(&OTHER, 1, false), those(&GONE, 1, true), caches]
        .concat_all()
}

trait ConcatAll<T> {
    fn concat_all(self) -> Vec<T>;
}

impl<T, const N: usize> ConcatAll<T> for [Vec<T>; N] {
    fn concat_all(self) -> Vec<T> {
        self.into_iter().flatten().collect()
    }
}

/// Several blocks of each, no two alike.
pub fn contents(path: &str, version: u32) -> Vec<u8> {
    (0..400).flat_map(|line| format!("{path} {version} {line}\n").into_bytes()).collect()
}

/// Runs it on new disks.
pub fn record(file_system: FileSystem, place: &Path) -> Recording {
    let mut world = Small::on_recorded_disks(file_system);
    for (name, paths) in [("tool", &TOOL[..]), ("late", &LATE), ("other", &OTHER)] {
        world = installed(world, name, paths, paths);
    }
    world = installed(world, "gone", &GONE, &[GONE_DIRECTORY, GONE[0], GONE[1]]);
    world.writably(|| {
        CACHES.iter().for_each(|path| world.write(path, &contents(path, 1)));
        world.write_program(DAEMON);
    });
    ["/usr", "/var"].iter().for_each(|point| sync(&world.outside(point)));

    let holders = (
        (world.hold(Mapped(TOOL[0])), world.hold(Open(TOOL[1])), world.hold(Cwd(GONE_DIRECTORY))),
        (world.hold(Mapped(CACHES[0])), world.hold(Mapped(CACHES[1])), world.hold(Executed(DAEMON))),
    );
    let mut steps = Steps { world: &world, steps: Vec::new() };
    while_file_systems_write(&world, &MOODS, || {
        let slowed = world.apt_is_slow(SLOWLY);
        steps.step("begin", || drop(world.begin()));
        steps.step("protect", || {
            world.protect(&[Upgrade("tool", "1", "2"), Upgrade("late", "1", "2"), Remove("gone", "1")]);
        });
        steps.step("dpkg unpacks", || {
            world.hook_of_apts_dpkg("dpkg-pre-invoke").assert_code(0);
            TOOL.iter().for_each(|path| replaces(&world, path, 2));
            world.replaces_with(STATUS, &contents(STATUS, 2));
        });
        steps.step("dpkg removes", || {
            removes_gone(&world);
        });
        steps.step("a trigger", || replaces(&world, CACHES[0], 2));
        steps.step("end", || drop(world.end()));
        steps.step("they let go, and cleanup", || {
            drop(holders);
            world.apt_runs(&["/tool/rokeep", "cleanup"]).assert_code(0);
        });
        steps.step("the second run", || {
            world.begin();
            world.protect(&[Upgrade("late", "1", "2")]);
            LATE.iter().for_each(|path| replaces(&world, path, 2));
        });
        steps.step("apt dies, and the watch", || {
            world.apt_dies();
            world.assert_is_ended();
        });
        drop(slowed);
    });
    world.assert_no_store("/usr");
    assert!(world.journal().is_empty(), "nothing is left in the end");
    let steps = steps.steps;
    Recording::of(&world, format!("{file_system:?}"), steps, place)
}

/// What a boot does with these disks.
pub fn record_recovery(file_system: FileSystem, disks: &Path, place: &Path) -> Recording {
    let world = Small::booted_on_recorded_disks(file_system, disks);
    let mut steps = Steps { world: &world, steps: Vec::new() };
    while_file_systems_write(&world, &MOODS, || {
        let slowed = world.apt_is_slow(SLOWLY);
        steps.step("recovery", || drop(world.apt_runs(&["/tool/rokeep", "cleanup"]).assert_code(0)));
        drop(slowed);
    });
    let steps = steps.steps;
    Recording::of(&world, format!("{file_system:?}"), steps, place)
}

/// A run in which nothing is replaced: guards go in the end, and the aliases of what was to be replaced stay. While they are
/// made /usr writes all that it has, and /var nothing; in the end neither writes anything that it is not asked to.
pub fn record_one_that_replaces_nothing(place: &Path) -> Recording {
    let world = installed(Small::on_recorded_disks(FileSystem::Ext4), "late", &LATE, &LATE);
    world.writably(|| CACHES.iter().for_each(|path| world.write(path, &contents(path, 1))));
    let holders = CACHES.map(|path| world.hold(Mapped(path)));
    let mut steps = Steps { world: &world, steps: Vec::new() };
    world.begin();
    while_file_systems_write(&world, &[&["/usr"]], || {
        let slowed = world.apt_is_slow(SLOWLY);
        steps.step("protect", || drop(world.protect(&[Upgrade("late", "1", "2")])));
        drop(slowed);
    });
    sync(&world.outside("/usr"));
    steps.step("end", || drop(world.end()));
    drop(holders);
    let steps = steps.steps;
    Recording::of(&world, "Ext4".to_owned(), steps, place)
}

/// After the boot: everything is upgraded, to a version that is not in the recording.
pub fn upgrades_everything(world: &Small) {
    const NEXT: u32 = 3;
    // What a dpkg that was interrupted has left, it removes first.
    for known in known() {
        for suffix in [".dpkg-new", ".dpkg-tmp"] {
            let path = format!("{}{suffix}", known.path);
            if world.inode(&path).is_some() {
                world.writably(|| world.dpkg_removes(path));
            }
        }
    }
    world.begin();
    let mut changes = vec![Upgrade("tool", "2", "3"), Upgrade("late", "2", "3"), Upgrade("other", "1", "3")];
    // Without its list dpkg does not know it any more, though its files may be back.
    changes.extend(world.inode(GONE_LIST).map(|_| Remove("gone", "1")));
    world.protect(&changes);
    TOOL.iter().chain(&LATE).chain(&OTHER).for_each(|path| replaces(world, path, NEXT));
    removes_gone(world);
    world.end();
}

fn installed(world: Small, name: &str, files: &[&str], paths: &[&str]) -> Small {
    world.writably(|| files.iter().for_each(|path| world.write(path, &contents(path, 1))));
    world.recorded(name, "1", paths)
}

/// What of it is there.
fn removes_gone(world: &Small) {
    let there = |path: &&&str| world.inode(path).is_some();
    GONE.iter().filter(there).for_each(|path| world.dpkg_removes(path));
    [GONE_DIRECTORY].iter().filter(there).for_each(|path| world.dpkg_removes_directory(path));
    [GONE_LIST].iter().filter(there).for_each(|path| world.removes(path));
}

fn replaces(world: &Small, path: &str, version: u32) {
    world.replaces_with(path, &contents(path, version));
}

/// What was done, and where the log was before and after.
struct Steps<'a> {
    world: &'a Small,
    steps: Vec<(String, Range<usize>)>,
}

impl Steps<'_> {
    fn step(&mut self, name: &str, act: impl FnOnce()) {
        let now = || std::fs::metadata(self.world.told_to_disks()).expect("a log").len() as usize;
        let start = now();
        act();
        let end = now();
        self.steps.push((name.to_owned(), start..end));
    }
}

/// Now one of them and not the other, now both, now neither.
const MOODS: [&[&str]; 6] = [&["/usr"], &["/usr"], &["/var"], &["/var"], &["/usr", "/var"], &[]];

/// A file system writes what it has when it likes. Here they like it very often, each of these for a while.
fn while_file_systems_write(world: &Small, moods: &[&[&str]], act: impl FnOnce()) {
    const A_WHILE: Duration = Duration::from_millis(60);
    let done = AtomicBool::new(false);
    let outside = |mood: &&[&str]| mood.iter().map(|point| world.outside(point)).collect();
    let moods: Vec<Vec<PathBuf>> = moods.iter().map(outside).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice::new(1);
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                let mood = &moods[dice.below(moods.len() as u64) as usize];
                while began.elapsed() < A_WHILE && !done.load(Ordering::Relaxed) {
                    mood.iter().for_each(|mount| sync(mount));
                    thread::sleep(Duration::from_micros(dice.below(4000)));
                }
            }
        });
        // Whatever becomes of it, the other thread has to end.
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _done = Done(&done);
        act();
    });
}

fn sync(mount: &Path) {
    let written = File::open(mount).map(|root| syncfs(&root));
    assert!(matches!(written, Ok(Ok(()))), "sync {mount:?}: {written:?}");
}
