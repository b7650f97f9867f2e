//! docs/performance.md: `performance.md` beside this file, with what was measured in it.

mod cells;
mod decisions;
mod runs;

use anyhow::{Result, ensure};

use super::words::count;
use super::{Machine, Results};
use crate::cleanup;
use crate::measure::Rounds;

/// What does not depend on the numbers.
const TEMPLATE: &str = include_str!("performance.md");

/// The page.
///
/// # Errors
/// Where there is a place in it that nothing belongs to.
pub fn page(results: &Results, machine: &Machine) -> Result<String> {
    let places = [
        ("date", machine.date.clone()),
        ("hardware", machine.hardware.clone()),
        ("kernel", machine.kernel.clone()),
        ("file-system", machine.file_system.clone()),
        ("versions", machine.versions.clone()),
        ("others", others(results)),
        ("rounds", rounds(results.rounds)),
        ("sample", crate::protect::SAMPLE.to_string()),
        ("protect", runs::protect(&results.protect)),
        ("held", cleanup::HELD.to_string()),
        ("some-held", decisions::decisions(&results.cleanup.some_held)),
        ("all-held", decisions::decisions(&results.cleanup.all_held)),
        ("growth", decisions::growth(&results.cleanup.some_held)),
        ("asked-others", decisions::asked_others(&results.cleanup.some_held)),
        ("aliases-dropped", count(crate::drop::ALIASES, "alias")),
        ("drop", runs::drop(&results.drop)),
        ("hooks", runs::hooks(results)),
        ("upgrade", runs::upgrade(&results.upgrade)),
        ("counted", runs::counted(results)),
    ];
    let page = places
        .iter()
        .fold(TEMPLATE.to_owned(), |page, (name, text)| page.replace(&format!("{{{{{name}}}}}"), text.trim_end()));
    ensure!(
        !page.contains("{{"),
        "nothing belongs to a place in the page: {}",
        page.split("{{").nth(1).unwrap_or_default()
    );
    Ok(page)
}

fn rounds(rounds: Rounds) -> String {
    format!(
        "{} of what takes less than a second, {} of what takes longer, {} of what takes a few milliseconds, {} of the whole \
         upgrade",
        rounds.of_usual(),
        rounds.of_large(),
        rounds.of_small(),
        rounds.of_an_upgrade()
    )
}

fn others(results: &Results) -> String {
    let counted_by = results.size.iter().map(|size| size.counted_by.as_str());
    std::iter::once(results.cleanup.peers.as_str()).chain(counted_by).collect::<Vec<_>>().join(", ")
}
