//! Protecting: journal what is about to be linked, then give each planned inode its alias.

mod linking;
mod made;
mod records;
mod without;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use self::linking::{Linking, SoFar};
use self::made::Made;
use self::records::{Written, record_beside, records};
use self::without::Without;
use crate::core::apt_stream::{self, Stream};
use crate::core::inode::AliasName;
use crate::core::looks::Looks;
use crate::core::message::{self, Outcome};
use crate::core::plan::{PlannedAlias, Shortage};
use crate::core::session::{Frontend, Session};
use crate::overlay;
use crate::plan::{self, Grounds, InUseDirectory, Part};
use crate::session;
use crate::settings::Settings;
use crate::sys::files::Root;
use crate::sys::marker::Marked;
use crate::sys::mounts::{self, Mounted};
use crate::sys::processes::CalledBy;
use crate::sys::progress::Progress;
use crate::sys::site::Site;
use crate::sys::state::{self, Locked};
use crate::sys::store::Store;

/// Reads apt's announcement and protects what it is about to replace.
///
/// # Errors
/// Where it cannot be known what is to be protected, or not be written down: aliases made for this run are taken back,
/// every mount is put back, and dpkg must not start. A single file that cannot have an alias is a note.
pub fn protect(root: &Root, mut announcement: impl Read) -> Result<Outcome> {
    // All of it first: apt blocks while we do not read.
    let mut stream = Vec::new();
    let read = announcement.read_to_end(&mut stream);
    let left_open = "dpkg was not started; mounts that were made writable for it are closed when apt has ended";
    let locked = Locked::wait(root).context(left_open)?;
    let session = locked.session().context(left_open)?;
    if !session.in_use() {
        return without_a_session(root, apt_stream::parse(&stream).ok().as_ref());
    }
    let stream =
        read.context("cannot read apt's description of the package run").and_then(|_| Ok(apt_stream::parse(&stream)?));
    match stream {
        // dpkg will not run. The mounts need not wait for Post-Invoke.
        Ok(stream) if stream.dry_run => session::leave(root, &locked, session, CalledBy::Itself),
        stream => all_or_nothing(root, &locked, session, stream, CalledBy::Itself),
    }
}

/// The same for a dpkg that nobody announced: what is known of it by its command line.
///
/// # Errors
/// As [`protect`]. dpkg must not go on.
pub fn protect_from_dpkg(root: &Root, stream: Result<Stream>) -> Result<Outcome> {
    // The lock was given back when the mounts had been opened.
    let left_open = "dpkg was stopped before it did anything; the mounts are closed when it has ended";
    let locked = Locked::wait(root).context(left_open)?;
    let session = locked.session().context(left_open)?;
    all_or_nothing(root, &locked, session, stream, CalledBy::Dpkg)
}

fn all_or_nothing(
    root: &Root,
    locked: &Locked,
    session: Session,
    stream: Result<Stream>,
    called_by: CalledBy,
) -> Result<Outcome> {
    let mut made = Made::default();
    stream.and_then(|stream| link_all(root, locked, &session, &stream, &mut made)).map_err(|why| {
        made.take_back(root);
        session::give_up(root, locked, session, called_by, why)
    })
}

/// In the middle of a run, before dpkg does what it was started for: it is in the session from now on, in case it outlives who
/// started it, and what has come into use since is protected. Programs that were installed a moment ago run by now, and may
/// be replaced in this very run. `None` where nobody's run is on any more.
///
/// # Errors
/// Where that could not be done. The run goes on without.
pub fn refresh(root: &Root, dpkg: Option<Frontend>) -> Result<Option<Outcome>> {
    let locked = Locked::wait(root)?;
    let mut session = locked.session()?;
    if !session.in_use() {
        return Ok(None);
    }
    if let Some(dpkg) = dpkg {
        session.join(dpkg);
        locked.save_session(&session)?;
    }
    let mounts = writable(root, &session)?;
    link_what_is_in_use(root, &locked, &mounts, &state::looks(root), &mut Made::default()).map(Some)
}

/// Protects what is in use on these mounts, which are writable, from a program of which nobody knows what it will replace.
///
/// # Errors
/// Where that could not be done: aliases made for it are taken back.
pub(crate) fn guard(root: &Root, locked: &Locked, mounts: &[Mounted]) -> Result<Outcome> {
    let mut made = Made::default();
    let linked = link_what_is_in_use(root, locked, mounts, &Looks::default(), &mut made);
    linked.inspect_err(|_| made.take_back(root))
}

/// By processes that have run since they were looked at `before`.
fn link_what_is_in_use(
    root: &Root,
    locked: &Locked,
    mounts: &[Mounted],
    before: &Looks,
    made: &mut Made,
) -> Result<Outcome> {
    let (grounds, mut part) = plan::plan_what_is_in_use(root, mounts, before)?;
    leave_out_what_has_an_alias(&grounds, &mut part);
    let outcome = match part.aliases.is_empty() {
        true => Outcome::default(),
        false => {
            let (journal, appender) = locked.journal_to_extend()?;
            let written = Written::new(&journal, appender);
            written.add(records(&grounds, &part))?;
            let mut protecting = Protecting::new(root, &written, made);
            protecting.link(&grounds, part)?;
            protecting.finish()
        }
    };
    locked.save_looks(&grounds.in_use.looks);
    Ok(outcome)
}

/// A guard more would be nothing new. The journal may be long, and is not even read then.
fn leave_out_what_has_an_alias(grounds: &Grounds, part: &mut Part) {
    for (site, aliases) in &mut part.aliases {
        let store = grounds.places.site(site).and_then(|at| Store::open(&at).ok().flatten());
        let Some(store) = store else { continue };
        let is_there = |alias: &PlannedAlias| {
            let entry = store.alias(AliasName(alias.inode.ino));
            entry.is_ok_and(|entry| entry.is_some_and(|entry| entry.inode == alias.inode))
        };
        aliases.retain(|alias| !is_there(alias));
    }
    part.aliases.retain(|_, aliases| !aliases.is_empty());
}

/// Nobody made anything writable: then there should be nothing to protect.
fn without_a_session(root: &Root, stream: Option<&Stream>) -> Result<Outcome> {
    if stream.is_some_and(|stream| stream.dry_run) {
        return Ok(Outcome::default());
    }
    session::require_nothing_read_only(root)?;
    let notes = stream.and_then(opened_by_another).into_iter().collect();
    Ok(Outcome { notes, ..Outcome::default() })
}

/// Why there may be nothing to do, where there should be.
fn opened_by_another(stream: &Stream) -> Option<String> {
    let command = message::text(stream.other_remount.as_ref()?);
    Some(format!(
        "nothing is protected: \"{command}\" in apt's configuration makes mounts writable before rokeep can see that they \
         were read-only; remove that hook and the one that goes with it"
    ))
}

fn link_all(root: &Root, locked: &Locked, session: &Session, stream: &Stream, made: &mut Made) -> Result<Outcome> {
    overlay::require_nothing_elsewhere(root, stream)?;
    let mounts = writable(root, session)?;
    let (journal, appender) = locked.journal_to_extend()?;
    let written = Written::new(&journal, appender);
    let mut protecting = Protecting::new(root, &written, made);
    let write_down = |grounds: &Grounds, part: &Part| written.add(records(grounds, part));
    let looks = plan::plan(root, stream, &mounts, write_down, |grounds, part| protecting.link(grounds, part))?;
    locked.save_looks(&looks);
    Ok(protecting.finish())
}

/// The mounts of the session, which must be writable; but for one that only a person opened, and that could not go all
/// the way back.
fn writable(root: &Root, session: &Session) -> Result<Vec<Mounted>> {
    let named = Settings::load(root)?.mounts();
    let mut mounted = Vec::new();
    for noted in &session.mounts {
        mounted.extend(mounts::at(root, &noted.mount.point)?);
    }
    mounted.retain(|mounted| !mounted.mount.flags.refuse_writes() || named.contains(&mounted.mount.point));
    match mounted.iter().find(|mounted| mounted.mount.flags.refuse_writes()) {
        Some(closed) => bail!("{} was made read-only again by somebody else", message::path(&closed.mount.point)),
        None => Ok(mounted),
    }
}

/// What is needed for linking one part of a plan after the other.
struct Protecting<'a> {
    root: &'a Root,
    written: &'a Written<'a>,
    made: &'a mut Made,
    without: BTreeMap<Arc<Path>, Without>,
    progress: Option<Progress>,
    outcome: Outcome,
}

impl<'a> Protecting<'a> {
    fn new(root: &'a Root, written: &'a Written<'a>, made: &'a mut Made) -> Protecting<'a> {
        let (without, outcome) = (BTreeMap::new(), Outcome::default());
        Protecting { root, written, made, without, progress: None, outcome }
    }

    /// The deed, after the intent was written down: what is in the journal and not there is forgotten, what is there and not
    /// in the journal would be nobody's.
    fn link(&mut self, grounds: &Grounds, part: Part) -> Result<()> {
        let Protecting { root, written, made, without, progress, outcome } = self;
        let progress = &*progress.get_or_insert_with(|| Progress::of("protecting", part.of));
        outcome.notes.extend(part.notes);
        for (site, aliases) in &part.aliases {
            let Some(at) = grounds.places.site(site) else { continue };
            let mount = grounds.places.mount(site);
            let without = without.entry(site.clone()).or_default();
            let mut linking = Linking::new(root, grounds, &at, SoFar { made, without, progress });
            let out_of_reach = match linking.link_into_store(aliases) {
                // Below the mount there are places of other people: a snapshot, a subvolume of a user's. begin() proved
                // the mount itself.
                Err(error) if mount != **site => linking.give_up(aliases, &error),
                linked => linked?,
            };
            written.add(out_of_reach.iter().filter_map(|(alias, _)| record_beside(grounds, site, alias)))?;
            linking.link_beside(&out_of_reach, &written.known)?;
        }
        outcome.notes.extend(part.shortages.iter().map(|(site, shortage)| say_shortage(site, shortage)));
        outcome.notes.extend(mark(root, &part.directories, made));
        Ok(())
    }

    /// What came of it, with what got no alias said once for each site.
    fn finish(self) -> Outcome {
        let Protecting { root, without, mut outcome, .. } = self;
        let describe =
            |(site, without): (Arc<Path>, Without)| without.describe(|| Site::open(root, &site).ok().flatten());
        outcome.notes.extend(without.into_iter().filter_map(describe));
        outcome
    }
}

fn say_shortage(site: &Path, shortage: &Shortage) -> String {
    let Shortage { free, needed, kept, left_out } = shortage;
    format!(
        "{} has {} free and the new files need about {}: only what is in use is protected, {kept} of {}, so that the others \
         give their space back at once",
        message::path(site),
        message::bytes(*free),
        message::bytes(*needed),
        message::count(kept + left_out, "file")
    )
}

/// Directories cannot be linked: a marker keeps each from being removed under somebody.
fn mark(root: &Root, directories: &[InUseDirectory], made: &mut Made) -> Option<String> {
    let mut without = Vec::new();
    for directory in directories {
        let path = directory.path.full();
        match Marked::make(root, path, directory.inode) {
            Ok(marked) => made.markers.extend(marked),
            Err(errno) => without.push(format!("{} ({})", message::path(path), errno.desc())),
        }
    }
    (!without.is_empty()).then(|| format!("directories in use that are not protected: {}", message::few(&without, 3)))
}
