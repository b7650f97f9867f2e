//! Protecting: journal what is about to be linked, then give each planned inode its alias.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;

use crate::core::apt_stream::{self, Stream};
use crate::core::inode::AliasName;
use crate::core::journal::{Journal, Record, Spot};
use crate::core::message::{self, Outcome};
use crate::core::paths::ListedPath;
use crate::core::plan::{PlannedAlias, Shortage};
use crate::core::session::Session;
use crate::core::verdict::Kind;
use crate::plan::{self, InUseDirectory, Planned};
use crate::session;
use crate::sys::files::{Lookup, Root};
use crate::sys::link::{self, Linked, Source};
use crate::sys::marker::Marked;
use crate::sys::mounts::{self, Mounted};
use crate::sys::processes::CalledBy;
use crate::sys::site::Site;
use crate::sys::state::{self, Locked};
use crate::sys::store::{self, Store};

/// Reads apt's announcement and protects what it is about to replace.
///
/// # Errors
/// Where it cannot be known what is to be protected, or not be written down: aliases made for this run are taken back,
/// every mount is put back, and dpkg must not start. A single file that cannot have an alias is a note.
pub fn protect(root: &Root, mut announcement: impl Read) -> Result<Outcome> {
    // All of it first: apt blocks while we do not read.
    let mut stream = Vec::new();
    let read = announcement.read_to_end(&mut stream);
    let locked = Locked::wait(root)?;
    let session = locked.session()?;
    if !session.in_use() {
        return without_a_session(root, apt_stream::parse(&stream).ok().as_ref());
    }
    let mut made = Made::default();
    let stream =
        read.context("cannot read apt's description of the package run").and_then(|_| Ok(apt_stream::parse(&stream)?));
    let protected = match stream {
        // dpkg will not run. The mounts need not wait for Post-Invoke.
        Ok(stream) if stream.dry_run => return session::leave(root, &locked, session, CalledBy::Itself),
        Ok(stream) => link_all(root, &locked, &session, &stream, &mut made),
        Err(why) => Err(why),
    };
    match protected {
        Ok(outcome) => Ok(outcome),
        Err(why) => {
            made.take_back(root);
            Err(session::give_up(root, &locked, session, CalledBy::Itself, why))
        }
    }
}

/// In the middle of a run, before dpkg is started once more: protects what has come into use since. Programs that were
/// installed a moment ago run by now, and may be replaced in this very run.
///
/// # Errors
/// Where that could not be done. The run goes on without.
pub fn refresh(root: &Root) -> Result<Outcome> {
    // A dpkg of its own is no business of ours, and leaves no trace.
    if !state::session(root)?.in_use() {
        return Ok(Outcome::default());
    }
    let locked = Locked::wait(root)?;
    let session = locked.session()?;
    if !session.in_use() {
        return Ok(Outcome::default());
    }
    let mounts = writable(root, &session)?;
    let planned = plan::plan_what_is_in_use(root, &mounts)?;
    link_planned(root, &locked, &planned, &mut Made::default())
}

/// Nobody made anything writable: then there should be nothing to protect.
fn without_a_session(root: &Root, stream: Option<&Stream>) -> Result<Outcome> {
    if stream.is_some_and(|stream| stream.dry_run) {
        return Ok(Outcome::default());
    }
    session::require_nothing_read_only(root)?;
    let notes = stream.and_then(opened_by_another).into_iter().collect();
    Ok(Outcome { notes, problems: Vec::new() })
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
    let mounts = writable(root, session)?;
    let planned = plan::plan(root, stream, &mounts)?;
    link_planned(root, locked, &planned, made)
}

/// The mounts of the session, which must be writable.
fn writable(root: &Root, session: &Session) -> Result<Vec<Mounted>> {
    let mut mounted = Vec::new();
    for noted in &session.mounts {
        mounted.extend(mounts::at(root, &noted.mount.point)?);
    }
    match mounted.iter().find(|mounted| mounted.mount.flags.refuse_writes()) {
        Some(closed) => bail!("{} was made read-only again by somebody else", message::path(&closed.mount.point)),
        None => Ok(mounted),
    }
}

/// Intent first, then the deed: what is in the journal and not there is forgotten, what is there and not in the journal
/// would be nobody's.
fn link_planned(root: &Root, locked: &Locked, planned: &Planned, made: &mut Made) -> Result<Outcome> {
    let (journal, mut appender) = locked.journal_to_extend()?;
    let known = Known::of(&journal);
    appender.append(records(planned).filter(|record| known.lacks(record)))?;
    let mut outcome = Outcome { notes: planned.notes.clone(), problems: Vec::new() };
    for (site, aliases) in &planned.aliases {
        let Some(at) = planned.places.site(site) else { continue };
        let mut linking =
            Linking { root, lookup: Lookup::new(root), planned, site: at, made, without: Without::default() };
        let mount = planned.places.mount(site);
        let out_of_reach = match linking.link_into_store(aliases) {
            Ok(out_of_reach) => out_of_reach,
            // Below the mount there are places of other people: a snapshot, a subvolume of a user's. begin() proved the
            // mount itself.
            Err(error) if mount != **site => {
                let planned = aliases.iter().filter(|alias| alias.kind() == Kind::Planned).count();
                let files = message::count(planned, "file");
                outcome.notes.extend((planned > 0).then(|| format!("not protected: {files} ({error:#})")));
                continue;
            }
            Err(error) => return Err(error),
        };
        let records = out_of_reach.iter().filter_map(|alias| record_beside(&mount, alias));
        appender.append(records.filter(|record| known.lacks(record)))?;
        linking.link_beside(&out_of_reach)?;
        outcome.notes.extend(linking.without.describe(at));
    }
    outcome.notes.extend(planned.shortages.iter().map(|(site, shortage)| say_shortage(site, shortage, planned)));
    outcome.notes.extend(mark(root, &planned.directories, made));
    Ok(outcome)
}

/// One after the other: all of them at once would take more memory than the plan.
fn records(planned: &Planned) -> impl Iterator<Item = Record> {
    let aliases = planned.aliases.iter().flat_map(|(site, aliases)| {
        let mount = planned.places.mount(site);
        aliases.iter().map(move |alias| Record {
            mount: mount.clone(),
            spot: Spot::Store(site.to_path_buf()),
            alias: AliasName(alias.inode.ino),
            names: alias.names.iter().map(ListedPath::full).collect(),
            kind: alias.kind(),
        })
    });
    let markers = planned.directories.iter().map(|directory| Record {
        mount: directory.mount.clone(),
        spot: Spot::Inside(directory.path.full()),
        alias: AliasName(directory.inode.ino),
        names: std::iter::once(&directory.path).chain(&directory.above).map(ListedPath::full).collect(),
        kind: Kind::Guard,
    });
    aliases.chain(markers)
}

fn record_beside(mount: &Path, alias: &PlannedAlias) -> Option<Record> {
    let names: Vec<_> = alias.names.iter().map(ListedPath::full).collect();
    let spot = Spot::Beside(names.first()?.clone());
    Some(Record { mount: mount.to_owned(), spot, alias: AliasName(alias.inode.ino), names, kind: alias.kind() })
}

/// What the journal has already.
struct Known<'a>(HashMap<(&'a Spot, AliasName), Vec<&'a Record>>);

impl<'a> Known<'a> {
    fn of(journal: &'a Journal) -> Known<'a> {
        let mut known = Known(HashMap::new());
        for record in &journal.records {
            known.0.entry((&record.spot, record.alias)).or_default().push(record);
        }
        known
    }

    /// That an alias was once a guard does not make it one for ever; that what it was made for is in use as well says
    /// nothing new.
    fn lacks(&self, record: &Record) -> bool {
        match self.0.get(&(&record.spot, record.alias)) {
            None => true,
            Some(_) if record.kind == Kind::Guard => false,
            Some(known) => !known.iter().any(|known| known.kind == Kind::Planned && known.names == record.names),
        }
    }
}

/// The aliases of one site in the making.
struct Linking<'a, 'p> {
    root: &'a Root,
    lookup: Lookup<'a>,
    planned: &'a Planned<'p>,
    site: &'a Site,
    made: &'a mut Made,
    without: Without,
}

impl Linking<'_, '_> {
    /// Answers those that the store is out of reach for, or has no name for.
    fn link_into_store<'l>(&mut self, aliases: &'l [PlannedAlias]) -> Result<Vec<&'l PlannedAlias>> {
        let store = match Store::open_or_make(self.site) {
            Ok(store) => store,
            Err(error) => {
                let Some(errno) = store::refused(&error) else { return Err(error) };
                aliases.iter().for_each(|alias| self.without.note(Linked::Refused(errno), alias));
                return Ok(Vec::new());
            }
        };
        let mut attempts = Vec::with_capacity(aliases.len());
        let all_attempted = aliases.iter().try_for_each(|alias| {
            attempts.push(self.link(alias, |source| store.attempt(source, alias.inode))?);
            Ok(())
        });
        let (site, mut out_of_reach) = (Arc::<Path>::from(self.site.path()), Vec::new());
        let sound = self.sound_aliases(&store, &attempts);
        for (alias, attempt) in aliases.iter().zip(attempts) {
            let name = AliasName(alias.inode.ino);
            let linked = match attempt {
                Linked::Made if sound.contains(&name) => Linked::Made,
                unproven => self.prove(&store, alias, unproven)?,
            };
            match linked {
                Linked::Made => self.made.in_stores.push((site.clone(), name)),
                Linked::Refused(Errno::EXDEV) | Linked::Taken(_) if !alias.names.is_empty() => out_of_reach.push(alias),
                other => self.without.note(other, alias),
            }
        }
        all_attempted.map(|()| out_of_reach)
    }

    /// Those that need no look at each. A link cannot lead to another file system, so its number says all; but on
    /// overlayfs files of two layers may have one number.
    fn sound_aliases(&self, store: &Store, attempts: &[Linked]) -> HashSet<AliasName> {
        match attempts.contains(&Linked::Made) && self.planned.places.knows_inodes(self.site.path()) {
            true => store.sound_aliases().unwrap_or_default(),
            false => HashSet::new(),
        }
    }

    fn prove(&mut self, store: &Store, alias: &PlannedAlias, attempt: Linked) -> Result<Linked> {
        match store.prove(attempt, alias.inode)? {
            // One of its other names may still lead to it.
            Linked::NameChanged => self.link(alias, |source| store.link(source, alias.inode)),
            proven => Ok(proven),
        }
    }

    fn link_beside(&mut self, aliases: &[&PlannedAlias]) -> Result<()> {
        for alias in aliases {
            let Some(first) = alias.names.first() else { continue };
            let entry = AliasName(alias.inode.ino).entry_beside(&first.name);
            let Some(dir) = self.root.open_dir(&first.dir)? else { continue };
            let linked = link::link(Source::Entry(&dir, &first.name), alias.inode, &dir, &entry);
            match linked.with_context(|| format!("cannot link beside {}", message::path(&first.full())))? {
                Linked::Made => self.made.beside.push((first.dir.clone(), entry)),
                other => self.without.note(other, alias),
            }
        }
        Ok(())
    }

    /// By any of its names; by its handle where none leads to it.
    fn link(&mut self, alias: &PlannedAlias, link: impl Fn(Source) -> Result<Linked>) -> Result<Linked> {
        let mut answer = Linked::NameChanged;
        for name in &alias.names {
            let Some(dir) = self.lookup.directory(&name.dir)? else { continue };
            answer = link(Source::Entry(dir, &name.name))?;
            if answer != Linked::NameChanged {
                return Ok(answer);
            }
        }
        let handle = self.planned.in_use.handle(alias.inode);
        match handle.and_then(|handle| handle.open(self.site).ok()) {
            Some(file) => link(Source::Open(file.as_fd())),
            None => Ok(answer),
        }
    }
}

/// Files that got no alias, by reason.
#[derive(Default)]
struct Without(BTreeMap<&'static str, Vec<String>>);

impl Without {
    fn note(&mut self, linked: Linked, alias: &PlannedAlias) {
        let why = match linked {
            Linked::Made | Linked::AlreadyThere => return,
            // As many names as the file system permits: they will not all go at once.
            Linked::Refused(Errno::EMLINK) => return,
            // Changed or gone since somebody was seen to use it: nothing of ours.
            Linked::NameChanged if alias.kind() == Kind::Guard => return,
            // dpkg cannot replace such a file either, and nobody said that it would.
            Linked::Refused(Errno::EPERM) if alias.kind() == Kind::Guard => return,
            Linked::NameChanged => "changed while it was looked at",
            Linked::Taken(_) => "its alias's name is taken",
            Linked::Refused(errno) => errno.desc(),
        };
        let name = alias.names.first().map(|name| message::path(&name.full()));
        self.0.entry(why).or_default().push(name.unwrap_or_else(|| format!("inode {}", alias.inode.ino)));
    }

    fn describe(self, site: &Site) -> Option<String> {
        let reason = |(why, names): (&str, Vec<String>)| {
            let left = if why == Errno::ENOSPC.desc() { free(site) } else { String::new() };
            format!("{} ({}; {why}{left})", message::few(&names, 3), message::count(names.len(), "file"))
        };
        let reasons: Vec<String> = self.0.into_iter().map(reason).collect();
        (!reasons.is_empty()).then(|| format!("not protected: {}", reasons.join("; ")))
    }
}

/// What is left on a full file system.
fn free(site: &Site) -> String {
    let Ok(free) = site.free() else { return String::new() };
    let inodes = free.inodes.map(|inodes| format!(" and {inodes} inodes")).unwrap_or_default();
    format!(": {} has {}{inodes} free", message::path(site.path()), message::bytes(free.bytes))
}

fn say_shortage(site: &Arc<Path>, shortage: &Shortage, planned: &Planned) -> String {
    let Shortage { free, needed, left_out } = shortage;
    let kept = planned.aliases.get(site).map_or(0, Vec::len);
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
        match Marked::make(root, &path, directory.inode) {
            Ok(marked) => made.markers.extend(marked),
            Err(errno) => without.push(format!("{} ({})", message::path(&path), errno.desc())),
        }
    }
    (!without.is_empty()).then(|| format!("directories in use that are not protected: {}", message::few(&without, 3)))
}

/// What this run made.
#[derive(Default)]
struct Made {
    in_stores: Vec<(Arc<Path>, AliasName)>,
    beside: Vec<(Arc<Path>, OsString)>,
    markers: Vec<Marked>,
}

impl Made {
    /// Takes it back, while dpkg has not started: only what another name still leads to. What cannot be taken back
    /// stays as an alias of an unchanged file, which is safe.
    fn take_back(&self, root: &Root) {
        for in_one_store in self.in_stores.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((site, _)) = in_one_store.first() else { continue };
            let store = Site::open(root, site).ok().flatten().and_then(|site| Store::open(&site).ok().flatten());
            let Some(store) = store else { continue };
            for (_, alias) in in_one_store {
                if store.alias(*alias).is_ok_and(|stat| stat.is_some_and(|stat| stat.links > 1)) {
                    let _ = store.drop_alias(*alias);
                }
            }
        }
        for (dir, entry) in &self.beside {
            let Ok(Some(dir)) = root.open_dir(dir) else { continue };
            if dir.entry(entry).is_ok_and(|stat| stat.is_some_and(|stat| stat.links > 1)) {
                let _ = link::unlink(&dir, entry);
            }
        }
        for marked in &self.markers {
            let _ = marked.unmark();
        }
    }
}
