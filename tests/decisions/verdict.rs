//! `seen`, what is known of an alias's names → whether it may go, for whatever is known of its holders.

use rokeep::core::verdict::{self, Because, Use, Verdict};

use crate::Case;

pub fn decide(case: &Case) -> String {
    let seen = case.text("seen");
    let (links, names) = seen.trim().split_once(", ").expect("\"LINKS links, NAMES\"");
    let links = links.split(' ').next().and_then(|number| number.parse().ok()).expect("a number of links");
    let a_name_leads_here = match names {
        "a name leads to it" => Some(true),
        "no name leads to it" => Some(false),
        "its names are not known" => None,
        other => panic!("not what is known of names: {other:?}"),
    };
    let original = verdict::original(links, a_name_leads_here);
    let uses = [("held", Use::Held), ("free", Use::Free), ("not known whether held", Use::Unknown)];
    uses.map(|(words, used)| format!("{words}: {}\n", answer(verdict::verdict(original, used)))).concat()
}

fn answer(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Keep(Because::Unchanged) => "keep, it was not replaced",
        Verdict::Keep(Because::Held) => "keep, somebody holds it",
        Verdict::Keep(Because::Unknown) => "keep, not everything is known",
        Verdict::Drop => "DROP",
    }
}
