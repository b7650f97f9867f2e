//! Protecting: journal what is about to be linked, then give each planned inode its alias.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::core::apt_stream::{self, Stream};
use crate::core::inode::AliasName;
use crate::core::journal::{Journal, Record};
use crate::core::message::{self, Outcome};
use crate::core::paths::ListedPath;
use crate::core::plan::{Plan, PlannedAlias};
use crate::plan;
use crate::session;
use crate::sys::files::{Lookup, Root};
use crate::sys::mounts::{self, Mounted};
use crate::sys::processes::CalledBy;
use crate::sys::state::Locked;
use crate::sys::store::{Linked, Store};

/// Reads apt's announcement and protects what it is about to replace.
///
/// # Errors
/// Where not everything could be protected: aliases made for this run are taken back, every mount is put back, and
/// dpkg must not start.
pub fn protect(root: &Root, mut announcement: impl Read) -> Result<Outcome> {
    // All of it first: apt blocks while we do not read.
    let mut stream = Vec::new();
    let read = announcement.read_to_end(&mut stream);
    let locked = Locked::wait(root)?;
    let session = locked.session()?;
    if !session.in_use() {
        session::require_nothing_read_only(root)?;
        let notes = apt_stream::parse(&stream).ok().and_then(|stream| opened_by_another(&stream)).into_iter().collect();
        return Ok(Outcome { notes, problems: Vec::new() });
    }
    let mut made = Vec::new();
    let points = session.mounts.iter().map(|noted| noted.mount.point.as_path());
    let protected = read
        .context("cannot read apt's description of the package run")
        .and_then(|_| link_all(root, &locked, points, &stream, &mut made));
    match protected {
        Ok(outcome) => Ok(outcome),
        Err(why) => {
            made.iter().for_each(Made::take_back);
            Err(session::give_up(root, &locked, session, CalledBy::Itself, why))
        }
    }
}

fn link_all<'a>(
    root: &Root,
    locked: &Locked,
    points: impl Iterator<Item = &'a Path>,
    stream: &[u8],
    made: &mut Vec<Made>,
) -> Result<Outcome> {
    let stream = apt_stream::parse(stream)?;
    if stream.dry_run {
        return Ok(Outcome::default());
    }
    let mut mounted = Vec::new();
    for point in points {
        mounted.extend(mounts::at(root, point)?);
    }
    if let Some(closed) = mounted.iter().find(|mounted| mounted.mount.flags.refuse_writes()) {
        bail!("{} was made read-only again by somebody else", message::path(&closed.mount.point));
    }
    let plan = plan::plan(root, &stream, &mounted)?;
    let journal = locked.journal()?;
    locked.append(&journal, &new_records(&plan, &journal))?;
    let mut outcome = Outcome::default();
    for (point, aliases) in &plan {
        let at = |mounted: &&Mounted| mounted.mount.point == *point && mounted.mount.knows_hard_links();
        let Some(mounted) = mounted.iter().find(at) else { continue };
        outcome.notes.extend(link(root, mounted, aliases, made)?);
    }
    Ok(outcome)
}

/// Why there may be nothing to do, where there should be.
fn opened_by_another(stream: &Stream) -> Option<String> {
    let command = message::text(stream.other_remount.as_ref()?);
    Some(format!(
        "nothing is protected: \"{command}\" in apt's configuration makes mounts writable before rokeep can see that they \
         were read-only; remove that hook and the one that goes with it"
    ))
}

/// The records that the journal does not have yet.
fn new_records(plan: &Plan, journal: &Journal) -> Vec<Record> {
    let mut known: HashMap<(&Path, AliasName), Vec<&[PathBuf]>> = HashMap::new();
    for record in &journal.records {
        known.entry((&record.mount, record.alias)).or_default().push(&record.names);
    }
    let mut new = Vec::new();
    for (mount, aliases) in plan {
        for planned in aliases {
            let alias = AliasName(planned.inode.ino);
            let names: Vec<PathBuf> = planned.names.iter().map(ListedPath::full).collect();
            let is_known = known.get(&(mount.as_path(), alias)).is_some_and(|sets| sets.contains(&names.as_slice()));
            if !is_known {
                new.push(Record { mount: mount.clone(), alias, names });
            }
        }
    }
    new
}

/// Makes the aliases of one mount and answers what a person should know.
fn link(root: &Root, mounted: &Mounted, aliases: &[PlannedAlias], made: &mut Vec<Made>) -> Result<Option<String>> {
    let mut here = Made { store: Store::open_or_make(mounted)?, aliases: Vec::new() };
    let linked = link_each(root, aliases, &mut here);
    made.push(here);
    linked
}

fn link_each(root: &Root, aliases: &[PlannedAlias], here: &mut Made) -> Result<Option<String>> {
    let mut lookup = Lookup::new(root);
    let mut without = Without::default();
    for alias in aliases {
        match link_by_any_name(&mut lookup, &here.store, alias)? {
            Linked::Made => here.aliases.push(AliasName(alias.inode.ino)),
            Linked::AlreadyThere => {}
            Linked::NameChanged => without.note("changed while it was looked at", alias),
            Linked::Refused(errno) => without.note(errno.desc(), alias),
        }
    }
    Ok(without.describe())
}

fn link_by_any_name(lookup: &mut Lookup, store: &Store, alias: &PlannedAlias) -> Result<Linked> {
    let mut answer = Linked::NameChanged;
    for name in &alias.names {
        let Some(dir) = lookup.directory(&name.dir)? else { continue };
        answer = store.link(dir, &name.name, alias.inode)?;
        if answer != Linked::NameChanged {
            break;
        }
    }
    Ok(answer)
}

/// Files that got no alias, by reason.
#[derive(Default)]
struct Without(BTreeMap<&'static str, Vec<String>>);

impl Without {
    fn note(&mut self, why: &'static str, alias: &PlannedAlias) {
        let name = alias.names.first().map(|name| message::path(&name.full()));
        self.0.entry(why).or_default().extend(name);
    }

    fn describe(self) -> Option<String> {
        let reason = |(why, names): (&str, Vec<String>)| format!("{} ({why})", message::few(&names, 3));
        let reasons: Vec<String> = self.0.into_iter().map(reason).collect();
        (!reasons.is_empty()).then(|| format!("not protected: {}", reasons.join("; ")))
    }
}

/// What this run made on one mount.
struct Made {
    store: Store,
    aliases: Vec<AliasName>,
}

impl Made {
    /// Takes it back, while dpkg has not started: only what another name still leads to. What cannot be taken back
    /// stays as an alias of an unchanged file, which is safe.
    fn take_back(&self) {
        for alias in &self.aliases {
            if self.store.alias(*alias).is_ok_and(|stat| stat.is_some_and(|stat| stat.links > 1)) {
                let _ = self.store.drop_alias(*alias);
            }
        }
    }
}
