//! What two disks were told during a package run, and what a power cut leaves of them.
//!
//! The model is that of a disk with a cache of its own. A write that is done may be forgotten until the disk was told to
//! have everything safe; after that it may not. Of what may be forgotten any part may be left, whatever came first. What
//! the disk takes or leaves as a whole is 4096 bytes. What the file system has not written yet is not there at all, and both
//! disks lose power at the same moment.

use std::fmt;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Dice;
use crate::support::disk_log::{self, Entry, Told};
use crate::support::small::{DISKS, Small};

/// A directory with the disks as they were, the log of what they were told, and what happened meanwhile.
pub struct Recording {
    pub place: PathBuf,
    log: Vec<u8>,
    steps: Vec<Step>,
    pub file_system: String,
}

/// Something that was done, and what the log had of it.
#[derive(Clone)]
struct Step {
    name: String,
    bytes: Range<usize>,
}

/// When the power fails, in entries of the log, and what decides about what may be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub instant: usize,
    pub seed: u64,
}

/// What a disk writes or does not write.
const SECTOR: u64 = 4096;

impl Recording {
    /// Keeps what the world's disks were told.
    pub fn of(world: &Small, file_system: String, steps: Vec<(String, Range<usize>)>, place: &Path) -> Recording {
        for disk in DISKS {
            copy(&world.disk_before(disk), &place.join(disk));
        }
        let log = fs::read(world.told_to_disks()).expect("its log");
        let lines = steps.iter().map(|(name, Range { start, end })| format!("{start} {end} {name}\n"));
        fs::write(place.join("steps"), lines.collect::<String>()).expect("the steps");
        fs::write(place.join("log"), &log).expect("the log");
        fs::write(place.join("file-system"), file_system).expect("its name");
        Recording::load(place).expect("what was just written")
    }

    pub fn load(place: &Path) -> std::io::Result<Recording> {
        let step = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let mut next = || words.next().expect("three words");
            let mut number = || next().parse().expect("a number");
            let bytes = number()..number();
            Step { name: next().to_owned(), bytes }
        };
        let steps = fs::read_to_string(place.join("steps"))?.lines().map(step).collect();
        let (log, file_system) = (fs::read(place.join("log"))?, fs::read_to_string(place.join("file-system"))?);
        Ok(Recording { place: place.to_owned(), log, steps, file_system })
    }

    /// So many, as many in each step as in any other; none where nothing was written.
    pub fn cuts(&self, count: u64, seed: u64) -> Vec<Cut> {
        let mut dice = Dice::new(seed);
        let steps: Vec<Range<usize>> = self.steps.iter().map(|step| self.instants(step)).collect();
        let steps: Vec<_> = steps.into_iter().filter(|instants| !instants.is_empty()).collect();
        let mut cut = |number: u64| {
            let Range { start, end } = steps[usize::try_from(number).expect("small") % steps.len()];
            let instant = start + usize::try_from(dice.below((end - start + 1) as u64)).expect("small");
            Cut { instant, seed: dice.roll() }
        };
        let count = if steps.is_empty() { 0 } else { count };
        (0..count).map(&mut cut).collect()
    }

    /// Every moment of a step.
    pub fn moments(&self, name: &str) -> Range<usize> {
        let step = self.steps.iter().find(|step| step.name == name).expect("there is such a step");
        self.instants(step)
    }

    /// Between which entries of the log it was done.
    fn instants(&self, step: &Step) -> Range<usize> {
        let entries = |bytes: usize| disk_log::parse(&self.log[..bytes]).len();
        entries(step.bytes.start)..entries(step.bytes.end)
    }

    pub fn length(&self) -> usize {
        disk_log::parse(&self.log).len()
    }

    /// For a person.
    pub fn describe(&self, cut: Cut) -> String {
        let step = self.steps.iter().find(|step| cut.instant <= self.instants(step).end);
        let (during, at) = step.map_or(("the end", 0), |step| (&*step.name, cut.instant - self.instants(step).start));
        format!("{}, cut {cut}: {at} entries into \"{during}\"", self.file_system)
    }

    /// Makes what the power cut has left of both disks.
    pub fn leave(&self, cut: Cut, disks: &Path) {
        let entries = disk_log::parse(&self.log);
        let told = &entries[..cut.instant.min(entries.len())];
        let _ = fs::remove_dir_all(disks);
        fs::create_dir_all(disks).expect("a directory");
        for (number, disk) in (0..).zip(DISKS) {
            copy(&self.place.join(disk), &disks.join(disk));
            let left = File::options().write(true).open(disks.join(disk)).expect("a disk");
            let told: Vec<&Entry> = told.iter().filter(|entry| entry.disk == number).collect();
            let (quarters, mut dice) = luck(cut.seed, number);
            for (offset, bytes) in written(&told, || dice.below(4) < quarters) {
                left.write_all_at(bytes, offset).expect("room");
            }
        }
    }
}

/// How many quarters of what may be forgotten a disk has written, and what decides about each sector. Mostly all or nothing:
/// then one disk is often far ahead of the other.
fn luck(seed: u64, disk: u32) -> (u64, Dice) {
    const QUARTERS: [u64; 8] = [0, 0, 1, 2, 3, 4, 4, 4];
    let mut dice = Dice::new(seed ^ u64::from(disk));
    let quarters = QUARTERS[dice.below(8) as usize];
    (quarters, dice)
}

/// What is written in the end, in this order. `luck` says of one sector whether it is, where it need not be.
fn written<'a>(told: &[&'a Entry], mut luck: impl FnMut() -> bool) -> Vec<(u64, &'a [u8])> {
    let safe = told.iter().rposition(|entry| entry.told == Told::Flush).unwrap_or(0);
    let mut written = Vec::new();
    for (at, entry) in told.iter().enumerate() {
        let Told::Write(offset, bytes) = &entry.told else { continue };
        if at < safe {
            written.push((*offset, &**bytes));
        } else {
            written.extend(sectors(*offset, bytes).into_iter().filter(|_| luck()));
        }
    }
    written
}

fn sectors(mut offset: u64, mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut sectors = Vec::new();
    while !bytes.is_empty() {
        let room = usize::try_from(SECTOR - offset % SECTOR).expect("small");
        let (sector, rest) = bytes.split_at(room.min(bytes.len()));
        sectors.push((offset, sector));
        (offset, bytes) = (offset + sector.len() as u64, rest);
    }
    sectors
}

/// With its holes.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("--sparse=always").args([from, to]).status().expect("cp");
    assert!(done.success(), "cp {from:?} {to:?}");
}

impl Cut {
    /// Of what may be forgotten each disk has written so many quarters.
    pub fn with(quarters: [u64; 2], instant: usize) -> Cut {
        let rolled = |seed| [0, 1].map(|disk| luck(seed, disk).0);
        let seed = (0..).find(|seed| rolled(*seed) == quarters).expect("one of many");
        Cut { instant, seed }
    }

    /// `PLACE:INSTANT:SEED`.
    pub fn parse(text: &str) -> Option<(PathBuf, Cut)> {
        let (rest, seed) = text.rsplit_once(':')?;
        let (place, instant) = rest.rsplit_once(':')?;
        Some((place.into(), Cut { instant: instant.parse().ok()?, seed: seed.parse().ok()? }))
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.instant, self.seed)
    }
}

/// The model itself.
#[test]
fn what_was_flushed_is_safe_and_what_came_after_may_be_torn() {
    let (first, second, large) = (vec![1; 4096], vec![2; 4096], vec![3; 10_000]);
    let log =
        [Entry::write(0, 0, &first), Entry::flush(0), Entry::write(0, 4096, &second), Entry::write(0, 8000, &large)];
    let log: Vec<u8> = log.iter().flat_map(Entry::to_bytes).collect();
    let entries = disk_log::parse(&log);
    let told: Vec<&Entry> = entries.iter().collect();
    let places = |luck: &mut dyn FnMut() -> bool| {
        written(&told, luck).iter().map(|(offset, bytes)| (*offset, bytes.len())).collect::<Vec<_>>()
    };
    assert_eq!(places(&mut || false), [(0, 4096)]);
    let all = [(0, 4096), (4096, 4096), (8000, 192), (8192, 4096), (12288, 4096), (16384, 1616)];
    assert_eq!(places(&mut || true), all);
    let mut other = true;
    let every_second = [(0, 4096), (8000, 192), (12288, 4096)];
    let mut luck = || {
        other = !other;
        other
    };
    assert_eq!(places(&mut luck), every_second);
}
