//! The settings.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::{Finding, Topic};
use crate::core::message;

/// What was seen.
#[derive(Debug)]
pub enum Facts {
    /// There are none, and the defaults serve.
    Default,
    /// They can be read; and the mounts that they name and that are none.
    Fine(Vec<PathBuf>),
    /// They cannot be used, and why.
    Wrong(String),
}

/// What there is to say.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let topic = Topic::Settings;
    match facts {
        Facts::Default => vec![topic.ok("there is no /etc/rokeep/config.toml: the defaults serve")],
        Facts::Fine(missing) if missing.is_empty() => vec![topic.ok("/etc/rokeep/config.toml can be read")],
        Facts::Fine(missing) => missing.iter().map(|point| not_mounted(point)).collect(),
        Facts::Wrong(why) => {
            let what = format!("the settings cannot be used, and every package run is stopped: {why}");
            vec![topic.broken(what).advice("correct /etc/rokeep/config.toml, or move it away for the defaults")]
        }
    }
}

fn not_mounted(point: &Path) -> Finding {
    let name = message::path(point);
    let what = format!("/etc/rokeep/config.toml names {name}, which is no mount point: nothing is done about it");
    Topic::Settings.attention(what).advice(format!("mount something at {name}, or take it out of that line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_needs_somebody() {
        for (facts, count, needs_somebody) in [
            (Facts::Default, 1, false),
            (Facts::Fine(vec![]), 1, false),
            (Facts::Fine(vec!["/srv/a".into(), "/srv/b".into()]), 2, true),
            (Facts::Wrong("line 2: unknown field `mount`".into()), 1, true),
        ] {
            let found = find(&facts);
            assert_eq!(found.len(), count, "{found:#?}");
            assert!(found.iter().all(|finding| finding.needs_somebody() == needs_somebody), "{found:#?}");
            assert!(found.iter().all(|finding| finding.fix.is_some() == needs_somebody), "{found:#?}");
        }
    }
}
