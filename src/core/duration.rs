//! How long a person wants something to last: `90s`, `30m`, `2h`, `1h30m`, `1d`.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

/// No longer than this: whoever wants a mount writable for months does not want it read-only.
const MOST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Reads numbers with their units, the largest first and each at most once, from a second to seven days.
///
/// # Errors
/// What is no such duration.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    const UNITS: [(char, u64); 4] = [('d', 24 * 60 * 60), ('h', 60 * 60), ('m', 60), ('s', 1)];
    let (mut rest, mut units, mut seconds) = (text, UNITS.iter(), 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(DurationError::NotOne)?;
        let (number, unit) = rest.split_at(digits);
        let number: u64 = match number {
            "" => return Err(DurationError::NotOne),
            number => number.parse().map_err(|_| DurationError::TooLong)?,
        };
        let mut letters = unit.chars();
        let letter = letters.next();
        let (_, size) = units.find(|(name, _)| Some(*name) == letter).ok_or(DurationError::NotOne)?;
        seconds = number.checked_mul(*size).and_then(|more| seconds.checked_add(more)).ok_or(DurationError::TooLong)?;
        rest = letters.as_str();
    }
    match Duration::from_secs(seconds) {
        _ if text.is_empty() => Err(DurationError::NotOne),
        Duration::ZERO => Err(DurationError::Nothing),
        duration if duration > MOST => Err(DurationError::TooLong),
        duration => Ok(duration),
    }
}

/// Why it is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// It does not look like one.
    NotOne,
    /// No time at all.
    Nothing,
    /// More than a week.
    TooLong,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DurationError::NotOne => "write it as 90s, 30m, 2h or 1h30m",
            DurationError::Nothing => "that is no time at all; the shortest is 1s",
            DurationError::TooLong => "the longest is 7d; without --for it lasts until \"rokeep remount ro\"",
        })
    }
}

impl std::error::Error for DurationError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_what_people_write() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("1h30m", 5_400), ("7d", 604_800)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_refused_with_what_would_be_right() {
        for text in ["", "30", "m", "30 m", "-1m", "1.5h", "30min", "30m1h", "1m1m", "30M", "+3s", "1h\u{e4}"] {
            assert_eq!(parse(text), Err(DurationError::NotOne), "{text:?}");
        }
        for text in ["0s", "0h0m"] {
            assert_eq!(parse(text), Err(DurationError::Nothing), "{text:?}");
        }
        for text in ["7d1s", "169h", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse(text), Err(DurationError::TooLong), "{text:?}");
        }
    }
}
