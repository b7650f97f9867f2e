//! What has to be so after each operation, from time to time, and in the end.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::model::Model;
use crate::packages;
use crate::support::debian::Debian;
use crate::support::sandbox::Access;
use crate::support::status::Status;
use crate::systems::Systems;

/// Whether an operation did all that it was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed,
}

/// After each operation.
pub fn hold(model: &mut Model, systems: &Systems, outcome: Outcome) -> Result<()> {
    let here = &systems.here;
    let (ours, theirs) = systems.packages()?;
    ensure!(ours == theirs, "packages: dpkg has something else here.\nHere:\n{ours}\nThere:\n{theirs}");
    let anybody_lost = nobody_loses_a_file(model, here)?;
    let expected = model.usr(anybody_lost);
    let found = here.usr()?;
    ensure!(found == expected, "mount: /usr is {found:?} and has to be {expected:?}: {:#?}", here.status()?);
    match found {
        Access::ReadOnlyMount => model.counts.degraded += 1,
        Access::Writable => model.counts.writable += 1,
        Access::ReadOnly | Access::WriteProtected => {}
    }
    status_tells_the_truth(model, here, found)?;
    who_writes_is_named(model, here)?;
    store_and_journal_agree(here)?;
    nothing_is_kept_without_need(model, here, outcome)
}

/// All of /usr, and one cleanup.
pub fn hold_on_the_whole(model: &mut Model, systems: &Systems) -> Result<()> {
    model.counts.compared += 1;
    let differences = systems.differences()?;
    ensure!(
        differences.is_empty(),
        "contents: {} files differ: {:#?}",
        differences.len(),
        &differences[..differences.len().min(20)]
    );
    let status = systems.here.status()?;
    let markers = systems.markers()?;
    let said = status.mount("/usr").aliases.directories;
    ensure!(markers.len() == said, "markers: {markers:?}, and status says {said}");
    if !model.is_held_by_hand {
        systems.here.run("rokeep", &["cleanup"])?;
        model.somebody_let_go = false;
        hold(model, systems, Outcome::Failed)?;
    }
    Ok(())
}

/// Nobody uses anything any more, and there was one cleanup. `and_all` where no package is left that an alias could wait for.
pub fn hold_in_the_end(systems: &Systems) -> Result<()> {
    let here = &systems.here;
    let status = here.status()?;
    let aliases = &status.mount("/usr").aliases;
    let left = (aliases.held, aliases.droppable, aliases.unknown, aliases.guards, aliases.directories, aliases.bytes);
    ensure!(left == (0, 0, 0, 0, 0, 0) && status.kept.bytes == 0, "the end: something is kept: {status:#?}");
    let aliases = Aliases::of(here)?;
    ensure!(aliases.replaced.is_empty(), "the end: aliases of replaced files: {:?}", aliases.replaced);
    let records = records(here)?;
    ensure!(records == aliases.unchanged, "the end: the journal has {records:?}, the store {:?}", aliases.unchanged);
    ensure!(here.usr()? == Access::ReadOnly, "the end: /usr is {:?}", here.usr()?);
    let differences = systems.differences()?;
    ensure!(differences.is_empty(), "the end: {differences:#?}");
    ensure!(systems.markers()?.is_empty(), "the end: markers: {:?}", systems.markers()?);
    Ok(())
}

/// After `rokeep release`.
pub fn hold_after_release(systems: &Systems) -> Result<()> {
    let here = &systems.here;
    ensure!(!here.has_store(), "release: there is a store, with {:?}", here.aliases()?);
    ensure!(!here.outside(JOURNAL).exists(), "release: there is a journal: {}", here.read(JOURNAL)?);
    ensure!(here.usr()? == Access::ReadOnly, "release: /usr is {:?}", here.usr()?);
    systems.check_the_file_system().context("release")
}

/// The kernel says who uses a file that has no name. Whether there is one that nobody could keep.
fn nobody_loses_a_file(model: &Model, here: &Debian) -> Result<bool> {
    let lost = here.deleted_files()?;
    for file in &lost {
        let excused = file.holders.keys().any(|pid| model.holder(*pid).is_some_and(|holder| model.may_be_lost(holder)));
        ensure!(excused, "lost: {file:?} has no name any more, and is in use: {:#?}", model.holders);
    }
    Ok(!lost.is_empty() || model.may_be_lost_out_of_sight() && here.usr()? == Access::ReadOnlyMount)
}

fn status_tells_the_truth(model: &Model, here: &Debian, usr: Access) -> Result<()> {
    let run = here.run("rokeep", &["status", "--json"])?;
    let status = Status::read(&run.stdout).map_err(|why| anyhow!("status: {why}: {run:?}"))?;
    let mount = status.mount("/usr");
    let word = match usr {
        Access::ReadOnly | Access::WriteProtected => "read-only",
        Access::ReadOnlyMount => "degraded",
        Access::Writable => "writable",
    };
    ensure!(mount.state == word, "status: it says {} and is {word}: {status:#?}", mount.state);
    let problem = usr != Access::ReadOnly;
    ensure!(problem != status.problems.is_empty(), "status: problems: {status:#?}");
    ensure!(run.code == i32::from(problem), "status: its code is {}: {status:#?}", run.code);
    ensure!(status.session.is_none(), "status: a session is open: {status:#?}");
    ensure!(status.unknown.is_none() && mount.aliases.unknown == 0, "status: unknown: {status:#?}");
    ensure!(mount.aliases.guards == 0 || model.is_held_by_hand, "status: guards without a run: {status:#?}");

    // Who has a file that only an alias keeps.
    for (inode, file) in here.used_files()? {
        let alias = here.outside(&format!("/usr/.rokeep/{inode}"));
        if file.links != 1 || alias.symlink_metadata().is_err() {
            continue;
        }
        let held = status.held.iter().find(|held| held.inode == inode);
        for pid in file.holders.keys() {
            let named = held.is_some_and(|held| held.holders.iter().any(|holder| holder.pid == Some(*pid)));
            ensure!(named, "status: {file:?} is held by {pid}, and that is not said: {status:#?}");
        }
    }
    for held in &status.held {
        ensure!(!held.holders.is_empty(), "status: held by nobody: {held:?}");
        for pid in held.holders.iter().filter_map(|holder| holder.pid) {
            ensure!(
                model.holder(pid).is_some(),
                "status: {held:?} is held by {pid}, whom nobody knows: {:#?}",
                model.holders
            );
        }
    }
    Ok(())
}

/// By whoever tries to close /usr.
fn who_writes_is_named(model: &Model, here: &Debian) -> Result<()> {
    let mut writers = model.holders.iter().filter(|holder| holder.writes()).peekable();
    if model.is_held_by_hand || writers.peek().is_none() {
        return Ok(());
    }
    let run = here.run("rokeep", &["cleanup"])?;
    ensure!(run.code == 1, "writers: {run:?}");
    // Where there are several, one may be named for all.
    let named = writers.any(|writer| run.stderr.contains(&format!("({})", writer.pid)));
    ensure!(named, "writers: none of {:#?} is named: {run:?}", model.holders);
    Ok(())
}

/// Every alias has its record, and every record its alias, or its marker.
fn store_and_journal_agree(here: &Debian) -> Result<()> {
    let (aliases, records) = (Aliases::of(here)?, records(here)?);
    let all = &aliases.unchanged | &aliases.replaced;
    ensure!(records == all, "journal: it has {records:?}, the store has {all:?}");
    Ok(())
}

fn nothing_is_kept_without_need(model: &mut Model, here: &Debian, outcome: Outcome) -> Result<()> {
    let aliases = Aliases::of(here)?;
    if !aliases.replaced.is_empty() {
        model.counts.kept.0 += 1;
        model.counts.kept.1 += aliases.replaced.len();
    }
    let may_be_unseen = model.holders.iter().any(|holder| !holder.shows());
    if !(model.somebody_let_go || model.is_held_by_hand || may_be_unseen) {
        let used = here.used_files()?;
        let free: Vec<_> = aliases.replaced.iter().filter(|inode| !used.contains_key(inode)).collect();
        ensure!(free.is_empty(), "leak: nobody uses these, and they are kept: {free:?}: {:#?}", here.status()?);
    }
    if outcome == Outcome::Done && !model.is_held_by_hand {
        let inode = |path| here.outside(path).metadata().map(|metadata| metadata.ino()).ok();
        let not_replaced: Vec<u64> = packages::NOT_ALWAYS_REPLACED.into_iter().filter_map(inode).collect();
        let more: Vec<_> =
            aliases.unchanged.difference(&model.unchanged).filter(|inode| !not_replaced.contains(inode)).collect();
        ensure!(more.is_empty(), "leak: nothing failed, and these are kept: {more:?}: {}", here.read(JOURNAL)?);
    }
    model.unchanged = aliases.unchanged;
    Ok(())
}

/// The aliases that there are.
struct Aliases {
    /// Another name leads to the same inode.
    unchanged: BTreeSet<u64>,
    /// None does.
    replaced: BTreeSet<u64>,
}

impl Aliases {
    fn of(here: &Debian) -> Result<Aliases> {
        let mut aliases = Aliases { unchanged: BTreeSet::new(), replaced: BTreeSet::new() };
        for name in here.aliases()? {
            let inode = name.parse().with_context(|| format!("store: {name:?} is no alias"))?;
            let metadata = fs::symlink_metadata(here.outside(&format!("/usr/.rokeep/{name}")))?;
            ensure!(metadata.ino() == inode, "store: {name} is inode {}", metadata.ino());
            let kind = if metadata.nlink() > 1 { &mut aliases.unchanged } else { &mut aliases.replaced };
            kind.insert(inode);
        }
        Ok(aliases)
    }
}

const JOURNAL: &str = "/var/lib/rokeep/journal.jsonl";

/// The inodes that the journal has, without directories.
fn records(here: &Debian) -> Result<BTreeSet<u64>> {
    let mut records = BTreeSet::new();
    if !here.outside(JOURNAL).exists() {
        return Ok(records);
    }
    let text = here.read(JOURNAL)?;
    let mut lines =
        text.lines().map(|line| serde_json::from_str::<Value>(line).with_context(|| format!("journal: {line}")));
    let Some(header) = lines.next() else { bail!("journal: it is empty") };
    ensure!(header?["rokeep_journal"] == 3, "journal: another format");
    for record in lines {
        let record = record?;
        if record["directory"] != true {
            records.insert(record["inode"].as_u64().context("journal: no inode")?);
        }
    }
    Ok(records)
}
