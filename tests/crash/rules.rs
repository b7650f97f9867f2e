//! What has to be so when a command was struck and somebody came after it: the rules of the design, as far as a kernel can
//! be asked about them.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rokeep::core::journal::{self, Spot};

use crate::stage::{Ground, Stage};

const STATE: &str = "/var/lib/rokeep";
const RUN: &str = "/run/rokeep";

/// The session is over, everything is as it was found, nothing in use is lost, and what there is is written down.
pub fn closed(stage: &Stage) {
    nothing_in_use_is_lost(stage);
    let Known { unrecorded, .. } = known(stage);
    stage.world.check(unrecorded.is_empty(), &format!("the journal does not know {unrecorded:?}"));
    only_these_files(stage, RUN, &["lock", "watchers"]);
    match stage.ground {
        Ground::Whole | Ground::Divided => only_these_files(stage, STATE, &["journal.jsonl", "journal.spare"]),
        Ground::Sealed | Ground::Inhabited => {
            only_these_files(stage, STATE, &["journal.jsonl", "journal.spare", "overlay"])
        }
    }
    stage.world.assert_no_session();
    as_found(stage);
}

/// Every mount has the flags that it had, its own and those of its superblock, and every option besides.
pub fn as_found(stage: &Stage) {
    for (point, found) in stage.found() {
        let now = stage.world.mount_line(point);
        stage.world.check(now == found, &format!("{point} is not as it was found: {now}, and it was {found}"));
    }
}

/// What nobody needs any more is gone, and so is what only guarded something; and it is forgotten.
pub fn tidy(stage: &Stage) {
    let Known { gone, .. } = known(stage);
    stage.world.check(gone.is_empty(), &format!("the journal knows what is not there: {gone:?}"));
    let aliases: BTreeSet<_> = stage.world.all_aliases().into_values().collect();
    for file in stage.files().filter(|file| aliases.contains(&file.inode)) {
        let needed = if file.is_replaced { file.is_used } else { file.is_of_the_package };
        stage.world.check(needed, &format!("there is an alias that nobody needs: {file:?}"));
    }
    let world = stage.world;
    for point in stage.mounts() {
        let entries = std::fs::read_dir(world.outside(format!("{point}/.rokeep")));
        let entries = entries.map(|dir| dir.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>());
        let proof = |names: &Vec<std::ffi::OsString>| names.is_empty() || names.iter().any(|name| name == "proof");
        world.check(
            !entries.is_ok_and(|names| proof(&names)),
            &format!("the store of {point} is empty, or has a proof"),
        );
    }
    world.check(world.marker("/usr/lib/tool").is_none(), "there is a marker that nobody needs");
    world.check(world.status().problems.is_empty(), "status sees a problem");
}

/// Nothing is left of rokeep.
pub fn without_a_trace(stage: &Stage) {
    as_found(stage);
    stage.world.assert_nothing_of_ours();
    stage.world.assert_no_session();
    only_these_files(stage, RUN, &["lock", "watchers"]);
    only_these_files(stage, STATE, &[]);
}

/// Everything that rokeep keeps, and every mount.
pub fn all_that_is_kept(stage: &Stage) -> Vec<String> {
    let stores = stage.mounts().map(|point| format!("{point}/.rokeep"));
    let kept = [STATE, RUN].map(str::to_owned).into_iter().chain(stores);
    let mut all: Vec<String> = kept.flat_map(|dir| listing(&stage.world.outside(dir))).collect();
    all.extend(stage.world.all_aliases().into_iter().map(|alias| format!("{alias:?}")));
    all.extend(stage.world.marker("/usr/lib/tool").map(|marker| marker.display().to_string()));
    all.extend(stage.world.sandbox().mount_table().lines().map(str::to_owned));
    all
}

fn listing(dir: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().filter_map(Result::ok);
    let line = |entry: walkdir::DirEntry| {
        let found = entry.path().symlink_metadata().expect("it was there a moment ago");
        let text = std::fs::read(entry.path()).unwrap_or_default();
        let (path, text) = (entry.path().display(), String::from_utf8_lossy(&text));
        format!("{path} {} {:o} {} {text}", found.ino(), found.mode(), found.nlink())
    };
    entries.map(line).collect()
}

fn nothing_in_use_is_lost(stage: &Stage) {
    if stage.is_excused.get() {
        return;
    }
    let aliases: BTreeSet<_> = stage.world.all_aliases().into_values().collect();
    for file in stage.files().filter(|file| file.is_replaced && file.is_used) {
        stage.world.check(aliases.contains(&file.inode), &format!("an alias in use is gone: {file:?}"));
    }
}

/// The journal, measured against what there is.
struct Known {
    unrecorded: Vec<PathBuf>,
    gone: Vec<PathBuf>,
}

fn known(stage: &Stage) -> Known {
    let journal = journal::parse(&stage.world.journal()).unwrap_or_else(|error| panic!("the journal: {error}"));
    let mut recorded = BTreeSet::new();
    for record in journal.records {
        let path = match &record.spot {
            Spot::Store(site) => site.join(".rokeep").join(record.alias.0.to_string()),
            Spot::Inside(dir) => dir.join(format!(".rokeep.{}", record.alias.0)),
            Spot::Beside(file) => file.with_file_name(record.alias.entry_beside(file.file_name().expect("a file"))),
        };
        recorded.insert(path);
    }
    let mut there: BTreeSet<PathBuf> = stage.world.all_aliases().into_keys().collect();
    for point in stage.mounts() {
        let store = Path::new(point).join(".rokeep");
        let entries = std::fs::read_dir(stage.world.outside(&store)).into_iter().flatten().flatten();
        there
            .extend(entries.map(|entry| entry.file_name()).filter(|name| name != "proof").map(|name| store.join(name)));
    }
    there.extend(stage.world.marker("/usr/lib/tool"));
    let without = |some: &BTreeSet<PathBuf>, others| some.difference(others).cloned().collect();
    Known { unrecorded: without(&there, &recorded), gone: without(&recorded, &there) }
}

fn only_these_files(stage: &Stage, dir: &str, names: &[&str]) {
    let entries = std::fs::read_dir(stage.world.outside(dir)).into_iter().flatten().flatten();
    let others: Vec<_> =
        entries.map(|entry| entry.file_name()).filter(|name| !names.iter().any(|one| name == one)).collect();
    stage.world.check(others.is_empty(), &format!("left behind in {dir}: {others:?}"));
}
