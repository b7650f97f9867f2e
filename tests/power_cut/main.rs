//! The power fails in the middle of a package run, again and again, at another moment each time.
//!
//! One real run is recorded, with /usr and /var on disks of their own that write down what they are told to write, and
//! when they were told to have it safe ([`recording`]). What a power cut leaves of a disk is everything up to the last time
//! that it was told so, and of what came after any part ([`recording::Cut`]). Whatever is left is booted: checked and
//! mounted as a machine does it, /run empty, nothing running; rokeep does what its boot unit does; and then the rules that
//! never bend must hold ([`boot`]).
//!
//! `POWER_CUTS` says how many there are on each file system, `POWER_CUT_SEED` from which number they are rolled. Those
//! that went wrong say how to have them once more.

#[path = "../support/mod.rs"]
mod support;

mod boot;
mod dice;
mod package_run;
mod recording;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use dice::Dice;
use recording::{Cut, Recording};
use support::small::FileSystem::{self, Btrfs, Ext4, Xfs};

/// On each file system, where nothing else is said.
const USUAL: u64 = 18;

/// After so many there is no need for more.
const ENOUGH_FAILURES: usize = 10;

#[test]
fn on_ext4() {
    on(Ext4);
}

#[test]
fn on_xfs() {
    on(Xfs);
}

#[test]
fn on_btrfs() {
    on(Btrfs);
}

fn on(file_system: FileSystem) {
    let place = place(&format!("{file_system:?}-{}", std::process::id()));
    let recording = package_run::record(file_system, &place);
    let seed = number("POWER_CUT_SEED").unwrap_or(1);
    let cuts = recording.cuts(number("POWER_CUTS").unwrap_or(USUAL), seed);
    let mut failed = Vec::new();
    for cut in &cuts {
        if catch_unwind(AssertUnwindSafe(|| cut_and_boot(file_system, &recording, *cut, &place))).is_err() {
            failed.push(format!("{}\n    again: POWER_CUT={}:{cut}", recording.describe(*cut), place.display()));
        }
        if failed.len() == ENOUGH_FAILURES {
            break;
        }
    }
    eprintln!("{file_system:?}: {} power cuts among {} writes and flushes", cuts.len(), recording.length());
    assert!(failed.is_empty(), "power cuts after which a rule was broken, as said above:\n{}", failed.join("\n"));
    std::fs::remove_dir_all(place).expect("it can go");
}

/// `POWER_CUT=PLACE:INSTANT:SEED`, as a failure has it.
#[test]
fn once_more() {
    let Ok(which) = std::env::var("POWER_CUT") else { return };
    let (place, cut) = Cut::parse(&which).expect("PLACE:INSTANT:SEED");
    let recording = Recording::load(&place).expect("a recording");
    eprintln!("{}", recording.describe(cut));
    let file_system = [Ext4, Xfs, Btrfs].into_iter().find(|one| format!("{one:?}") == recording.file_system);
    cut_and_boot(file_system.expect("one of them"), &recording, cut, &place);
}

/// Otherwise there would be aliases and markers that nobody knows of.
#[test]
fn what_goes_is_gone_from_the_disk_before_the_journal_forgets_it() {
    let place = place(&format!("end-{}", std::process::id()));
    let recording = package_run::record_one_that_replaces_nothing(&place);
    let disks = place.join("left");
    for instant in recording.instants_of_the_last_step() {
        recording.leave(Cut::worst(instant), &disks);
        boot::everything_of_ours_is_known(Ext4, &disks);
    }
    std::fs::remove_dir_all(place).expect("it can go");
}

fn cut_and_boot(file_system: FileSystem, recording: &Recording, cut: Cut, place: &Path) {
    let disks = place.join("left");
    recording.leave(cut, &disks);
    boot::check(file_system, &disks);
    std::fs::remove_dir_all(disks).expect("it can go");
}

fn place(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("power-cut").join(name);
    std::fs::create_dir_all(&place).expect("a directory");
    place
}

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().expect("a number"))
}
