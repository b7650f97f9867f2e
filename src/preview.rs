//! `plan`: what would get an alias, for which reason, from which package, and how many bytes it would keep alive. Changes
//! nothing.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;

use crate::core::apt_stream::Stream;
use crate::core::columns;
use crate::core::inode::AliasName;
use crate::core::message;
use crate::core::plan::{PlannedAlias, Reason};
use crate::core::verdict::Kind;
use crate::managed;
use crate::plan::{self, Grounds, Part};
use crate::settings::Settings;
use crate::sys::files::Root;
use crate::sys::mounts::Mounted;
use crate::sys::state;

/// Everything there is to say, in the form of `plan --json`.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// The version of this form.
    pub format: u32,
    /// Each store that aliases would go into.
    pub stores: Vec<StorePreview>,
    /// Directories in use that would get a marker, so that they are not removed.
    pub directories: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// One store.
#[derive(Debug, Serialize)]
pub struct StorePreview {
    /// The mount point of the managed mount.
    pub mount: String,
    /// The directory whose `.rokeep` it is: the mount point, or the root of another mount or subvolume below it.
    pub store: String,
    /// Bytes on disk that they would keep alive until the run is over, if every one of them was replaced.
    pub bytes: u64,
    /// How many files nobody uses would be left out, because the new ones would not fit beside them.
    pub left_out: usize,
    /// The aliases, those in use first.
    pub aliases: Vec<AliasPreview>,
}

/// One alias.
#[derive(Debug, Serialize)]
pub struct AliasPreview {
    /// The inode's number, which would be the alias's name.
    pub inode: AliasName,
    /// The names that lead to it; none if only the process that uses it can say where it is.
    pub names: Vec<String>,
    /// Bytes on disk.
    pub bytes: u64,
    /// Made for this run only, as no package is a reason.
    pub guard: bool,
    /// Every reason.
    pub reasons: Vec<ReasonPreview>,
}

/// One reason.
#[derive(Debug, Serialize)]
pub struct ReasonPreview {
    /// Which.
    pub reason: Reason,
    /// The package, unless it is that somebody uses the file.
    pub package: Option<String>,
}

/// What apt's announcement would lead to now.
///
/// # Errors
/// As [`plan::plan`]; where settings, session or mounts cannot be read.
pub fn preview(root: &Root, stream: &Stream) -> Result<Preview> {
    let session = state::session(root)?;
    let mut managed = managed::named(root, &Settings::load(root)?)?;
    let is_ours = |mounted: &Mounted| mounted.mount.flags.refuse_writes() || session.found(&mounted.id()).is_some();
    managed.mounts.retain(is_ours);
    let mut notes = managed.notes;
    if managed.mounts.is_empty() {
        notes.push("no managed mount is read-only: nothing would get an alias".to_owned());
    }
    let (mut parts, mut mounts) = (Vec::new(), HashMap::new());
    let write_down = |_: &Grounds, _: &Part| Ok(());
    plan::plan(root, stream, &managed.mounts, write_down, |grounds, part| {
        mounts.extend(part.aliases.keys().map(|site| (site.clone(), grounds.places.mount(site))));
        parts.push(part);
        Ok(())
    })?;
    let all = Part::joined(parts);
    let directories = all.directories.iter().map(|directory| message::path(directory.path.full())).collect();
    let stores = stores(&all, &mounts);
    notes.extend(all.notes);
    Ok(Preview { format: 1, stores, directories, notes })
}

fn stores(part: &Part, mounts: &HashMap<Arc<Path>, PathBuf>) -> Vec<StorePreview> {
    let store = |(site, aliases): (&Arc<Path>, &Vec<PlannedAlias>)| StorePreview {
        mount: message::path(mounts.get(site).map_or(site, PathBuf::as_path)),
        store: message::path(site),
        bytes: aliases.iter().map(|alias| alias.bytes).sum(),
        left_out: part.shortages.get(site).map_or(0, |shortage| shortage.left_out),
        aliases: aliases.iter().map(alias).collect(),
    };
    part.aliases.iter().map(store).collect()
}

fn alias(alias: &PlannedAlias) -> AliasPreview {
    let reason = |(reason, package): &(Reason, Option<Arc<str>>)| ReasonPreview {
        reason: *reason,
        package: package.as_deref().map(str::to_owned),
    };
    let mut reasons = alias.reasons.clone();
    reasons.sort_unstable();
    AliasPreview {
        inode: AliasName(alias.inode.ino),
        names: alias.names.iter().map(|name| message::path(name.full())).collect(),
        bytes: alias.bytes,
        guard: alias.kind() == Kind::Guard,
        reasons: reasons.iter().map(reason).collect(),
    }
}

/// The same for a person: one line an alias, the sums below them.
pub fn as_text(preview: &Preview) -> String {
    let mut text = String::new();
    for alias in preview.stores.iter().flat_map(|store| &store.aliases) {
        let name =
            alias.names.first().cloned().unwrap_or_else(|| format!("inode {}, without a name here", alias.inode.0));
        let others: String = alias.names.iter().skip(1).map(|name| format!(" = {name}")).collect();
        let reasons: Vec<String> = alias.reasons.iter().map(reason_in_words).collect();
        let _ = writeln!(text, "{:>10}  {name}{others}  ({})", message::bytes(alias.bytes), reasons.join(", "));
    }
    for directory in &preview.directories {
        let _ = writeln!(text, "{:>10}  {directory}  (in use: not to be removed)", "directory");
    }
    for store in &preview.stores {
        let guards = store.aliases.iter().filter(|alias| alias.guard).count();
        let left_out = match store.left_out {
            0 => String::new(),
            more => format!("; {} in nobody's use left out for want of space", message::count(more, "file")),
        };
        let _ = writeln!(
            text,
            "{}: {}, {} of them only because they are in use, {} kept alive at most{left_out}",
            store.store,
            message::count(store.aliases.len(), "alias"),
            guards,
            message::bytes(store.bytes)
        );
    }
    for note in &preview.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text.lines().map(|line| columns::shown(line) + "\n").collect()
}

fn reason_in_words(reason: &ReasonPreview) -> String {
    let package = reason.package.as_deref().unwrap_or_default();
    match reason.reason {
        Reason::Installed => format!("installed with {package}"),
        Reason::Brought => format!("brought by {package}"),
        Reason::InUse => "in use".to_owned(),
    }
}
