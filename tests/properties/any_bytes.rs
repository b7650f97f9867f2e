//! Each of the [`laws`] on its seeds, on what comes of them by chance, and on so much that only what takes time in
//! proportion is done in time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use walkdir::WalkDir;

use crate::{config, given, laws};

macro_rules! laws {
    ($($law:ident)*) => {
        $(mod $law {
            use super::*;

            #[test]
            fn holds_of_every_seed() {
                every_seed(stringify!($law), laws::$law);
            }

            #[test]
            fn holds_of_damaged_seeds() {
                damaged_seeds(stringify!($law), laws::$law);
            }

            #[test]
            fn takes_time_in_proportion() {
                more_and_more(stringify!($law), laws::$law);
            }
        })*

        const LAWS: &[&str] = &[$(stringify!($law)),*];
    };
}

laws! {
    cgroup command deb diversions dump journal list maps md5sums members mountinfo session settings status stream
}

#[test]
fn every_law_is_tried_here_and_by_fuzzing() {
    let laws: BTreeSet<_> = LAWS.iter().map(|law| (*law).to_owned()).collect();
    let named = |dir: &str| {
        let entries =
            fs::read_dir(project().join(dir)).expect("a directory").map(|entry| entry.expect("an entry").path());
        let stem = |path: PathBuf| path.file_stem().expect("a name").to_str().expect("text").to_owned();
        entries.map(stem).collect::<BTreeSet<String>>()
    };
    assert_eq!(named("fuzz/targets"), laws);
    assert_eq!(named("fuzz/dictionaries"), laws);
    assert_eq!(named("tests/properties/seeds").difference(&laws).next(), None);
}

fn every_seed(law: &str, holds: fn(&[u8])) {
    for (path, seed) in seeds(law) {
        // The test's own output says which, as a law does not.
        eprintln!("{}", path.display());
        holds(&seed);
    }
}

fn damaged_seeds(law: &str, holds: fn(&[u8])) {
    let seeds: Vec<_> = seeds(law).into_iter().map(|(_, seed)| seed).collect();
    let bytes = select(seeds).prop_flat_map(given::damaged);
    let tried = TestRunner::new(config()).run(&bytes, |bytes| {
        holds(&bytes);
        Ok(())
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Eight times as much takes not much more than eight times as long. Where it takes the square, it is 64 times.
fn more_and_more(law: &str, holds: fn(&[u8])) {
    const SOME: usize = 64 << 10;
    let (_, seed) = seeds(law).into_iter().max_by_key(|(_, seed)| seed.len()).expect("a seed");
    for grow in [lines, one_long_line, one_line_of_one_byte] {
        let took = |length| processor_time(|| holds(&grow(&seed, length)));
        let (some, more) = (took(SOME), took(8 * SOME));
        assert!(more < 20 * some + Duration::from_millis(500), "{some:?}, and {more:?} for eight times as much");
    }
}

/// Its last line again and again.
fn lines(seed: &[u8], length: usize) -> Vec<u8> {
    let last = seed.split_inclusive(|b| *b == b'\n').next_back().unwrap_or(b"\n");
    seed.iter().chain(last.iter().cycle().take(length)).copied().collect()
}

fn one_long_line(seed: &[u8], length: usize) -> Vec<u8> {
    let rest = seed.iter().filter(|b| **b != b'\n').cycle().take(length);
    seed.iter().chain(rest).copied().collect()
}

fn one_line_of_one_byte(seed: &[u8], length: usize) -> Vec<u8> {
    let last = *seed.iter().rfind(|b| !b.is_ascii_whitespace()).unwrap_or(&b'/');
    [seed, &vec![last; length]].concat()
}

/// Of this thread: a busy machine takes longer, and no more of it.
fn processor_time(ask: impl FnOnce()) -> Duration {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock"));
    let begun = now();
    ask();
    now() - begun
}

/// See [`laws`].
fn seeds(law: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files =
        |dir| WalkDir::new(project().join(dir)).sort_by_file_name().into_iter().map(|entry| entry.expect("an entry"));
    // Some have recordings alone.
    let own = files("tests/properties/seeds".to_owned())
        .filter(|entry| entry.path().parent().and_then(Path::file_name).is_some_and(|name| name == law));
    let (dotted, json) = (format!(".{law}"), format!("{law}.json"));
    let is_recording = |name: &str| name == law || name.ends_with(&dotted) || name == json;
    let recordings =
        files("tests/decisions".to_owned()).filter(|entry| entry.file_name().to_str().is_some_and(is_recording));
    let paths = own.chain(recordings).filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    let seeds: Vec<_> = paths.map(|path| (path.clone(), fs::read(&path).expect("a seed can be read"))).collect();
    assert!(!seeds.is_empty(), "there are no seeds for {law}");
    seeds
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
