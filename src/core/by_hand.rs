//! That a person wants a mount to stay writable.
#![forbid(unsafe_code)]

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::message;

/// That somebody wants a mount to stay writable, whoever comes and goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByHand {
    /// Since when: seconds since the machine was started. No clock that somebody sets.
    pub since: u64,
    /// Until when, by the same clock; `None` until somebody ends it.
    pub until: Option<u64>,
    /// Who wants it, in words: `alice asked for it`.
    pub why: String,
}

impl ByHand {
    /// Whether its time has not come yet.
    pub fn lasts(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The sentence for a mount that is held so.
    pub fn describe(&self, point: &Path, now: u64) -> String {
        let point = message::path(point);
        let next = match self.until {
            Some(until) => format!("it goes back by itself in {}", message::span(until.saturating_sub(now))),
            None => format!("\"rokeep remount ro {point}\" puts it back"),
        };
        let Self { since, why, .. } = self;
        format!("{point} is held writable by hand: {why} {}; {next}", message::ago(now, *since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_with_what_ends_it() {
        let by_hand = |until| ByHand { since: 1_000, until, why: "alice asked for it".into() };
        let usr = Path::new("/usr");
        let expected =
            "/usr is held writable by hand: alice asked for it 3 hours ago; \"rokeep remount ro /usr\" puts it back";
        assert_eq!(by_hand(None).describe(usr, 11_800), expected);
        let expected =
            "/usr is held writable by hand: alice asked for it just now; it goes back by itself in 30 minutes";
        assert_eq!(by_hand(Some(2_801)).describe(usr, 1_000), expected);
    }
}
