//! Words for people.
#![forbid(unsafe_code)]

use std::path::Path;

use super::columns::shown;
use super::text::escape;

/// What a stage has to say when it did not fail.
#[derive(Debug, Default)]
#[must_use]
pub struct Outcome {
    /// Worth knowing.
    pub notes: Vec<String>,
    /// In need of a person.
    pub problems: Vec<String>,
    /// Those of both that are not for the system's log: they are there already, or are nothing new.
    pub logged: Vec<String>,
}

impl Outcome {
    /// Adds what another stage has to say.
    pub fn join(&mut self, later: Outcome) {
        self.notes.extend(later.notes);
        self.problems.extend(later.problems);
        self.logged.extend(later.logged);
    }
}

/// A path as it may be shown: nothing in it can move a terminal's cursor, or make it look like another one.
pub fn path(path: &Path) -> String {
    shown(&escape(path.as_os_str()))
}

/// Any other text that came from outside, as a command name.
pub fn text(text: &str) -> String {
    shown(&escape(text.as_ref()))
}

/// A process: `sshd (812)`.
pub fn process(command: &str, pid: i32) -> String {
    format!("{} ({pid})", text(command))
}

/// Bytes in the unit a person would use.
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, size) in UNITS {
        if count >= size {
            let tenths = count / (size / 10).max(1);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} bytes")
}

/// How long ago something began, both in seconds since 1970: `3 days ago`, and a date where nobody counts days any more.
pub fn ago(now: u64, then: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let ago = |number: u64, unit: &str| format!("{} ago", count(usize::try_from(number).unwrap_or(usize::MAX), unit));
    match now.saturating_sub(then) {
        seconds if seconds < MINUTE => "just now".to_owned(),
        seconds if seconds < 2 * HOUR => ago(seconds / MINUTE, "minute"),
        seconds if seconds < 2 * DAY => ago(seconds / HOUR, "hour"),
        seconds if seconds < 60 * DAY => ago(seconds / DAY, "day"),
        _ => date(then / DAY),
    }
}

/// So many seconds as people say it, to the nearest minute where that is exact enough: `90 seconds`, `30 minutes`,
/// `1 hour 30 minutes`, `2 days`.
pub fn span(seconds: u64) -> String {
    let count = |number: u64, unit: &str| count(usize::try_from(number).unwrap_or(usize::MAX), unit);
    let two = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => count(large, unit),
        small => format!("{} {}", count(large, unit), count(small, part)),
    };
    match (seconds, seconds.saturating_add(30) / 60) {
        (..120, _) => count(seconds, "second"),
        (_, minutes @ ..60) => count(minutes, "minute"),
        (_, minutes @ ..2_880) => two(minutes / 60, "hour", minutes % 60, "minute"),
        (_, minutes) => two(minutes / 1_440, "day", minutes % 1_440 / 60, "hour"),
    }
}

/// The day in UTC, by its number since the first of January 1970 (the proleptic Gregorian calendar, whose cycle is 400
/// years or 146,097 days, counted from a first of March so that the leap day is the last of its year).
fn date(day: u64) -> String {
    let day = day + 719_468;
    let (cycle, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("on {:04}-{month:02}-{day:02}", 400 * cycle + year + next)
}

/// `1 file`, `2 files`, `3 processes`, `4 directories`, `5 days`.
pub fn count(number: usize, noun: &str) -> String {
    let (stem, ending) = match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => (stem, "ies"),
        _ if noun.ends_with('s') => (noun, "es"),
        _ => (noun, "s"),
    };
    if number == 1 { format!("1 {noun}") } else { format!("{number} {stem}{ending}") }
}

/// `a, b and 3 more`.
pub fn few(names: &[String], most: usize) -> String {
    first(names.get(..most).unwrap_or(names), names.len())
}

/// The same of the first few names of so many, where the others are not known any more.
pub fn first(names: &[String], all: usize) -> String {
    let shown = names.join(", ");
    match all.saturating_sub(names.len()) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 20), "5.0 MiB");
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(0, "file"), "0 files");
        assert_eq!(count(2, "process"), "2 processes");
        assert_eq!(count(1, "directory"), "1 directory");
        assert_eq!(count(3, "directory"), "3 directories");
        assert_eq!(count(3, "day"), "3 days");
    }

    #[test]
    fn how_long_ago_is_said_as_people_say_it() {
        const NOW: u64 = 1_764_205_629;
        for (seconds, expected) in [
            (0, "just now"),
            (60, "1 minute ago"),
            (3_600, "60 minutes ago"),
            (7_200, "2 hours ago"),
            (172_799, "47 hours ago"),
            (172_800, "2 days ago"),
            (59 * 86_400, "59 days ago"),
            (60 * 86_400, "on 2025-09-28"),
            (636 * 86_400, "on 2024-03-01"),
            (637 * 86_400, "on 2024-02-29"),
            (NOW, "on 1970-01-01"),
        ] {
            assert_eq!(ago(NOW, NOW - seconds), expected, "{seconds}");
        }
        assert_eq!(ago(NOW, NOW + 5), "just now", "a clock was set back");
    }

    #[test]
    fn a_span_is_said_as_people_say_it() {
        for (seconds, expected) in [
            (1, "1 second"),
            (119, "119 seconds"),
            (121, "2 minutes"),
            (1_799, "30 minutes"),
            (5_400, "1 hour 30 minutes"),
            (7_200, "2 hours"),
            (172_800, "2 days"),
            (176_400, "2 days 1 hour"),
        ] {
            assert_eq!(span(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn a_hostile_name_is_shown_harmlessly() {
        assert_eq!(path(Path::new("/usr/\x1b[2J\n")), "/usr/%1B[2J%0A");
        assert_eq!(path(Path::new("/usr/a\u{202e}b\u{200b}")), "/usr/a%E2%80%AEb%E2%80%8B");
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<_> = ["a", "b", "c"].map(String::from).into();
        assert_eq!(few(&names, 3), "a, b, c");
        assert_eq!(few(&names, 2), "a, b and 1 more");
    }
}
