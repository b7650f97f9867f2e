//! `seen`, what is known of an alias's names → whether it may go, for whatever is known of its holders.
//!
//! An alias is of a file that was to be replaced, unless `seen` begins with `guard`; one link is ours, unless it says how
//! many are.

use rokeep::core::verdict::{self, Because, Kind, Run, Use, Verdict};

use crate::Case;

pub fn decide(case: &Case) -> String {
    let seen = case.text("seen");
    let (kind, seen) = match seen.trim().strip_prefix("guard, ") {
        Some(rest) => (Kind::Guard, rest),
        None => (Kind::Planned, seen.trim()),
    };
    let (links, names) = seen.split_once(", ").expect("\"LINKS links, NAMES\"");
    let (links, ours) = links.split_once(" of which ours: ").unwrap_or((links, "1"));
    let number = |text: &str| text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number of links");
    let a_name_leads_here = match names {
        "a name leads to it" => Some(true),
        "no name leads to it" => Some(false),
        "its names are not known" => None,
        other => panic!("not what is known of names: {other:?}"),
    };
    let original = verdict::original(kind, number(links), number(ours), a_name_leads_here);
    let uses = [("held", Use::Held), ("free", Use::Free), ("not known whether held", Use::Unknown)];
    let lines = uses.map(|(words, used)| {
        let during = answer(verdict::verdict(kind, original, used, Run::On));
        match answer(verdict::verdict(kind, original, used, Run::Over)) {
            after if after == during => format!("{words}: {after}\n"),
            after => format!("{words}: {during}; after the run: {after}\n"),
        }
    });
    lines.concat()
}

fn answer(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Keep(Because::Unchanged) => "keep, it was not replaced",
        Verdict::Keep(Because::Guards) => "keep, for the run",
        Verdict::Keep(Because::Held) => "keep, somebody holds it",
        Verdict::Keep(Because::Unknown) => "keep, not everything is known",
        Verdict::Drop => "DROP",
    }
}
