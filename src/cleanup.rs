//! The cleanup pass: drop what [`crate::core::verdict`] lets go, and nothing else.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};

use crate::core::inode::AliasName;
use crate::core::journal::{Journal, Record};
use crate::core::message;
use crate::core::verdict::Verdict;
use crate::survey::{Survey, survey};
use crate::sys::files::Root;
use crate::sys::mounts::Mounted;
use crate::sys::state::Locked;
use crate::sys::store::Store;

/// Drops what may be dropped on these mounts, which must be writable, and answers what was seen.
///
/// The journal is written anew afterwards: without what is gone, and without records whose alias never came to be.
///
/// # Errors
/// Where an alias could not be looked at or unlinked, or the journal not written. What was not dropped is still there,
/// and what was dropped is dropped: the next pass finds the same.
pub fn drop_what_may_go(root: &Root, locked: &Locked, mounts: &[Mounted], journal: &Journal) -> Result<Survey> {
    let mut survey = survey(root, mounts, journal)?;
    let mut gone = HashSet::new();
    for mounted in mounts {
        let point = &mounted.mount.point;
        let candidates: Vec<AliasName> =
            survey.with(Verdict::Drop).filter(|alias| alias.mount == *point).map(|alias| alias.name).collect();
        drop_aliases(mounted, &candidates)
            .with_context(|| format!("cannot drop aliases on {}", message::path(point)))?;
        gone.extend(candidates.into_iter().map(|name| (point.clone(), name)));
    }
    survey.aliases.retain(|alias| !gone.contains(&(alias.mount.clone(), alias.name)));
    let left = records_that_matter(journal, mounts, &survey);
    if left != journal.records {
        locked.rewrite(&left)?;
    }
    Ok(survey)
}

fn drop_aliases(mounted: &Mounted, aliases: &[AliasName]) -> Result<()> {
    if aliases.is_empty() {
        return Ok(());
    }
    let Some(store) = Store::open(mounted)? else { return Ok(()) };
    for alias in aliases {
        store.drop_alias(*alias)?;
    }
    Ok(())
}

/// Those of aliases that exist; and those of file systems that are not mounted, of which nothing is known.
fn records_that_matter(journal: &Journal, mounts: &[Mounted], survey: &Survey) -> Vec<Record> {
    let exists: HashSet<(&Path, AliasName)> =
        survey.aliases.iter().map(|alias| (alias.mount.as_path(), alias.name)).collect();
    let looked_at = |mount: &Path| mounts.iter().any(|mounted| mounted.mount.point == mount);
    let matters = |record: &&Record| !looked_at(&record.mount) || exists.contains(&(&record.mount, record.alias));
    journal.records.iter().filter(matters).cloned().collect()
}
