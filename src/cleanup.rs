//! The cleanup pass: drop what [`crate::core::verdict`] lets go, and nothing else.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};

use crate::core::inode::AliasName;
use crate::core::journal::{Journal, Record};
use crate::core::message;
use crate::core::verdict::{Because, Verdict};
use crate::survey::{Survey, survey};
use crate::sys::files::Root;
use crate::sys::mounts::Mounted;
use crate::sys::state::Locked;
use crate::sys::store::Store;

/// Drops what may be dropped on those of the mounts that are writable, and answers what is left.
///
/// The journal is written anew afterwards: without what is gone, and without records whose alias never came to be. A
/// store in which nothing is left goes too.
///
/// # Errors
/// Where an alias could not be looked at or unlinked, or the journal not read or written. What was not dropped is still
/// there, and what was dropped is dropped: the next pass finds the same.
pub fn clean(root: &Root, locked: &Locked, mounts: &[&Mounted]) -> Result<Survey> {
    let journal = locked.journal()?;
    let mut writable = Vec::new();
    for mounted in mounts {
        if !mounted.flags(root)?.refuse_writes() {
            writable.push(*mounted);
        }
    }
    let mut survey = survey(root, &writable, &journal)?;
    let mut gone = HashSet::new();
    for mounted in &writable {
        let point = &mounted.mount.point;
        let here = survey.with(Verdict::Drop).filter(|alias| alias.mount == *point);
        let aliases: Vec<AliasName> = here.map(|alias| alias.name).collect();
        drop_aliases(mounted, &aliases).with_context(|| format!("cannot drop aliases on {}", message::path(point)))?;
        gone.extend(aliases.into_iter().map(|name| (point.clone(), name)));
    }
    survey.aliases.retain(|alias| !gone.contains(&(alias.mount.clone(), alias.name)));
    let left = records_that_matter(&journal, &writable, &survey);
    if left != journal.records {
        locked.rewrite(&left).or_else(unless_read_only)?;
    }
    Ok(survey)
}

/// One line for each thing that a person may wonder about afterwards.
pub fn summary(survey: &Survey) -> Vec<String> {
    let mut lines = Vec::new();
    let held: Vec<_> = survey.with(Verdict::Keep(Because::Held)).collect();
    if !held.is_empty() {
        let bytes = held.iter().map(|alias| alias.bytes).sum();
        let mut holders: Vec<(i32, String)> = held
            .iter()
            .flat_map(|alias| &alias.holders)
            .map(|holder| (holder.pid, message::process(&holder.command, holder.pid)))
            .collect();
        holders.sort();
        holders.dedup();
        let holders: Vec<String> = holders.into_iter().map(|(_, name)| name).collect();
        lines.push(format!(
            "kept while in use: {} ({}), by {}; \"rokeep status\" says what frees each",
            message::count(held.len(), "replaced file"),
            message::bytes(bytes),
            message::few(&holders, 4)
        ));
    }
    if !survey.unreadable.is_empty() {
        let count = message::count(survey.unreadable.count(), "process");
        lines.push(format!("what {count} may hold could not be read, so every replaced file is kept"));
    }
    lines
}

fn drop_aliases(mounted: &Mounted, aliases: &[AliasName]) -> Result<()> {
    let Some(store) = Store::open(mounted)? else { return Ok(()) };
    for alias in aliases {
        store.drop_alias(*alias)?;
    }
    Ok(store.remove_if_empty(mounted)?)
}

/// A journal on a file system that is read-only now keeps its records; without an alias they mean nothing.
fn unless_read_only(error: anyhow::Error) -> Result<()> {
    let cause = error.root_cause().downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    if cause == Some(nix::libc::EROFS) { Ok(()) } else { Err(error) }
}

/// Those of aliases that exist; and those of file systems that are not mounted, of which nothing is known.
fn records_that_matter(journal: &Journal, mounts: &[&Mounted], survey: &Survey) -> Vec<Record> {
    let exists: HashSet<(&Path, AliasName)> =
        survey.aliases.iter().map(|alias| (alias.mount.as_path(), alias.name)).collect();
    let looked_at = |mount: &Path| mounts.iter().any(|mounted| mounted.mount.point == mount);
    let matters = |record: &&Record| !looked_at(&record.mount) || exists.contains(&(&record.mount, record.alias));
    journal.records.iter().filter(matters).cloned().collect()
}
