//! A deeper look: what keeps an inode in use though no process, no mount and no lease shows it.
//!
//! A Landlock rule, a uprobe, a fanotify event that nobody has read: each keeps the inode itself, and the file system
//! cannot become read-only once it has no name. The kernel is asked by having it forget every inode that nobody uses
//! ([`crate::sys::evictable`]). That slows the whole machine down for a moment, which is why it is done only when asked
//! for, and only where there is something that everybody else calls free.
//!
//! It errs to *in use*: what the kernel remembers for other reasons is kept as well. Of a file system in memory (tmpfs)
//! the kernel never forgets anything, so there it cannot be told, and everything is kept. Directories that a marker keeps
//! are not looked at.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::core::inode::{AliasName, Inode};
use crate::core::journal::Spot;
use crate::core::message;
use crate::core::verdict::{Because, Original, Pin, Verdict};
use crate::survey::{Alias, Survey};
use crate::sys::evictable::{self, Caches, Eviction, Listed};
use crate::sys::files::{Lookup, Root};
use crate::sys::mounts::Mounted;
use crate::sys::site::Site;
use crate::sys::store;

/// How closely to look before an alias is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Look {
    /// At what says who holds what.
    #[default]
    Usual,
    /// And at whether the kernel has it in use all the same.
    Deep,
}

/// Before each but the first time that the kernel is told to forget: it lets go of some things a moment later, and whoever
/// reads events may need one.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(300),
];

/// Which aliases the kernel has in use.
#[derive(Debug, Default)]
pub struct Pins(HashMap<(Spot, AliasName), Pin>);

/// Makes sure that a deeper look is possible, before anything is done for it.
///
/// # Errors
/// Where it is not, and why.
pub fn require(root: &Root) -> Result<()> {
    Caches::open(root)
        .and_then(|_| Eviction::begin(root))
        .map(drop)
        .context("nothing was done (\"rokeep cleanup\" needs no deeper look), for that is not possible here")
}

/// Has the kernel forget what nobody uses: an overlay may remember a file of the file system below it that is gone there.
///
/// # Errors
/// Where it cannot be told to.
pub fn forget_the_unused(root: &Root) -> Result<()> {
    let caches = Caches::open(root)?;
    caches.forget()?;
    caches.forget()
}

/// The aliases that a deeper look is worth for: whose inodes were replaced, and nobody was seen to hold.
pub fn candidates(survey: &Survey) -> impl Iterator<Item = &Alias> {
    let nobody_seen = survey.with(Verdict::Drop).chain(survey.with(Verdict::Keep(Because::Unknown)));
    nobody_seen.filter(|alias| alias.original == Original::Replaced)
}

/// Looks deeper, at all candidates together.
///
/// # Errors
/// Where the kernel cannot be asked at all. An alias that it cannot be asked about is [`Pin::Unknown`].
pub fn find(root: &Root, survey: &Survey, mounts: &[&Mounted]) -> Result<Pins> {
    let asked: Vec<Asked> = candidates(survey).filter_map(Asked::about).collect();
    let cannot_forget = mounts.iter().filter(|mounted| !mounted.mount.can_be_forgotten());
    let in_memory: HashSet<&Path> = cannot_forget.map(|mounted| mounted.mount.point.as_path()).collect();
    let mut asked: Vec<Asked> = asked.into_iter().filter(|asked| !in_memory.contains(asked.mount)).collect();
    if asked.is_empty() {
        return Ok(Pins::default());
    }
    // So that each directory is opened once.
    asked.sort_by(|a, b| a.dir.cmp(&b.dir));
    let (caches, eviction) = (Caches::open(root)?, Eviction::begin(root)?);
    let mut lookup = Lookup::new(root);
    let mut marked: Vec<(&Asked, Listed)> = Vec::new();
    for one in &asked {
        // What cannot be marked is not known, and kept.
        let Ok(Some(dir)) = lookup.directory(&one.dir) else { continue };
        marked.extend(eviction.mark(dir, &one.entry, one.inode).ok().flatten().map(|listed| (one, listed)));
    }
    let left = have_it_forget(&caches, &eviction, &marked, lookup, mounts)?;
    let pin = |listed: &Listed| if left.contains(listed) { Pin::Pinned } else { Pin::Forgotten };
    Ok(Pins(marked.iter().map(|(one, listed)| (one.key.clone(), pin(listed))).collect()))
}

impl Survey {
    /// Believes a deeper look: nothing goes that it was not sure of.
    pub fn heed(&mut self, pins: &Pins) {
        for alias in &mut self.aliases {
            let pin = pins.0.get(&(alias.spot.clone(), alias.name));
            alias.pin = Some(pin.copied().unwrap_or(Pin::Unknown));
        }
    }
}

/// What a person may wonder about after a deeper look.
pub fn summary(survey: &Survey) -> Vec<String> {
    let pinned: Vec<&Alias> = survey.with(Verdict::Keep(Because::Held)).filter(|alias| alias.is_pinned()).collect();
    let mut lines = Vec::new();
    if !pinned.is_empty() {
        let bytes = message::bytes(pinned.iter().map(|alias| alias.bytes).sum());
        let files = message::count(pinned.len(), "replaced file");
        let names: Vec<String> =
            pinned.iter().filter_map(|alias| alias.names.first()).map(|name| message::path(name)).collect();
        lines.push(format!(
            "kept: {files} ({bytes}) that the kernel still has in use although no process shows it (a Landlock rule, a \
             uprobe, an unread fanotify event): {}",
            message::few(&names, 4)
        ));
    }
    let mut unknown: BTreeMap<&Path, usize> = BTreeMap::new();
    let untold = survey.with(Verdict::Keep(Because::Unknown)).filter(|alias| alias.original == Original::Replaced);
    for alias in untold.filter(|alias| alias.pin == Some(Pin::Unknown)) {
        *unknown.entry(&alias.mount).or_default() += 1;
    }
    lines.extend(unknown.into_iter().map(|(mount, count)| {
        format!(
            "kept: {} on {} of which a deeper look cannot tell whether the kernel has it in use (on a tmpfs it never can); \
             \"rokeep cleanup\" does without that look",
            message::count(count, "replaced file"),
            message::path(mount)
        )
    }));
    lines
}

/// An alias that the kernel is asked about, and where it is.
struct Asked<'a> {
    mount: &'a Path,
    dir: PathBuf,
    entry: OsString,
    inode: Inode,
    key: (Spot, AliasName),
}

impl Asked<'_> {
    fn about(alias: &Alias) -> Option<Asked<'_>> {
        let (dir, entry) = match &alias.spot {
            Spot::Store(site) => (site.join(store::NAME), alias.name.entry()),
            Spot::Beside(file) => (file.parent()?.to_owned(), alias.name.entry_beside(file.file_name()?)),
            Spot::Inside(_) => return None,
        };
        let key = (alias.spot.clone(), alias.name);
        Some(Asked { mount: &alias.mount, dir, entry, inode: alias.inode, key })
    }
}

/// Answers what the kernel would not forget.
fn have_it_forget(
    caches: &Caches,
    eviction: &Eviction,
    marked: &[(&Asked, Listed)],
    mut lookup: Lookup,
    mounts: &[&Mounted],
) -> Result<HashSet<Listed>> {
    // An inode with changes that are not on the disk yet cannot be forgotten. If this fails they stay, and it is kept.
    for mounted in mounts {
        let _ = Site::of(mounted).and_then(|site| nix::unistd::syncfs(&site));
    }
    let forget = || caches.forget().and_then(|()| eviction.left());
    let mut left = forget()?;
    // To do so a file has to be opened, which others may be told of: not one more than needed.
    for (one, _) in marked.iter().filter(|(_, listed)| left.contains(listed)) {
        if let Ok(Some(dir)) = lookup.directory(&one.dir) {
            let _ = evictable::let_go_of_contents(dir, &one.entry, one.inode);
        }
    }
    for pause in PAUSES {
        if left.is_empty() {
            break;
        }
        std::thread::sleep(pause);
        left = forget()?;
    }
    Ok(left)
}
