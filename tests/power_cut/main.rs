//! The power fails in the middle of a package run, again and again, at another moment each time.
//!
//! One real run is recorded, with /usr and /var on disks of their own that write down what they are told to write, and
//! when they were told to have it safe ([`recording`]). What a power cut leaves of a disk is everything up to the last time
//! that it was told so, and of what came after any part ([`recording::Cut`]). Whatever is left is booted: checked and
//! mounted as a machine does it, /run empty, nothing running; rokeep does what its boot unit does; and then the rules that
//! never bend must hold ([`boot`]). Some of these recoveries are recorded in their turn, and the power fails again.
//!
//! `POWER_CUTS` says how many there are on each file system, `POWER_CUT_SEED` from which number they are rolled. Those
//! that went wrong say how to have them once more.

#[path = "../support/mod.rs"]
mod support;

mod boot;
mod package_run;
mod recording;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use recording::{Cut, Recording};
use support::dice::Dice;
use support::small::FileSystem::{self, Btrfs, Ext4, Xfs};

/// On each file system, where nothing else is said.
const USUAL: u64 = 10;

/// Of so many cuts, one is followed by these during the recovery.
const AGAIN: usize = 5;
const CUTS_OF_A_RECOVERY: u64 = 3;

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
    let cuts = recording.cuts(number("POWER_CUTS").unwrap_or(USUAL), number("POWER_CUT_SEED").unwrap_or(1));
    let mut failures = Failures(Vec::new());
    let mut count = cuts.len();
    for (number, cut) in cuts.iter().enumerate() {
        failures.note(&recording, *cut, || cut_and_boot(file_system, &recording, *cut));
        if number % AGAIN == AGAIN - 1 {
            count += cut_during_recovery(file_system, &recording, *cut, &mut failures);
        }
        if failures.0.len() >= ENOUGH_FAILURES {
            break;
        }
    }
    eprintln!("{file_system:?}: {count} power cuts; the run has {} writes and flushes", recording.length());
    assert!(failures.0.is_empty(), "a rule was broken, as said above, after\n{}", failures.0.join("\n"));
    std::fs::remove_dir_all(place).expect("it can go");
}

/// The power fails once more while the machine recovers. Answers how often.
fn cut_during_recovery(file_system: FileSystem, first: &Recording, cut: Cut, failures: &mut Failures) -> usize {
    let (disks, place) = (first.place.join("first"), first.place.join(cut.to_string()));
    first.leave(cut, &disks);
    std::fs::create_dir_all(&place).expect("a directory");
    let recovery = package_run::record_recovery(file_system, &disks, &place);
    let before = failures.0.len();
    let cuts = recovery.cuts(CUTS_OF_A_RECOVERY, cut.seed);
    for cut in &cuts {
        failures.note(&recovery, *cut, || cut_and_boot(file_system, &recovery, *cut));
    }
    if failures.0.len() == before {
        std::fs::remove_dir_all(place).expect("it can go");
    }
    cuts.len()
}

/// What went wrong, and how to have it once more.
struct Failures(Vec<String>);

impl Failures {
    fn note(&mut self, recording: &Recording, cut: Cut, act: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(act)).is_err() {
            let place = recording.place.display();
            self.0.push(format!("{}\n    again: POWER_CUT={place}:{cut}", recording.describe(cut)));
        }
    }
}

/// `POWER_CUT=PLACE:INSTANT:SEED`, as a failure has it.
#[test]
fn once_more() {
    let Ok(which) = std::env::var("POWER_CUT") else { return };
    let (place, cut) = Cut::parse(&which).expect("PLACE:INSTANT:SEED");
    let recording = Recording::load(&place).expect("a recording");
    eprintln!("{}", recording.describe(cut));
    let file_system = [Ext4, Xfs, Btrfs].into_iter().find(|one| format!("{one:?}") == recording.file_system);
    cut_and_boot(file_system.expect("one of them"), &recording, cut);
}

/// Otherwise there would be aliases and markers that nobody knows of. Here each disk is as far behind the other as it may
/// be when that matters.
#[test]
fn what_is_made_is_in_the_journal_before_and_what_goes_until_it_is_gone() {
    let place = place(&format!("worst-{}", std::process::id()));
    let recording = package_run::record_one_that_replaces_nothing(&place);
    let disks = place.join("left");
    let known = |cut| {
        recording.leave(cut, &disks);
        boot::everything_of_ours_is_known(Ext4, &disks);
    };
    recording.moments("protect").step_by(4).for_each(|instant| known(Cut::with([4, 0], instant)));
    recording.moments("end").for_each(|instant| known(Cut::with([0, 4], instant)));
    std::fs::remove_dir_all(place).expect("it can go");
}

fn cut_and_boot(file_system: FileSystem, recording: &Recording, cut: Cut) {
    let disks = recording.place.join("left");
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
