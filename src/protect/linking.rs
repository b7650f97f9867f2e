//! Making the aliases of one site, each believed only after it was looked at.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result};
use nix::errno::Errno;

use super::made::Made;
use super::records::Known;
use super::without::Without;
use crate::core::inode::AliasName;
use crate::core::message;
use crate::core::paths::ListedPath;
use crate::core::plan::PlannedAlias;
use crate::plan::Grounds;
use crate::sys::files::{Lookup, Root};
use crate::sys::link::{self, Linked, Source};
use crate::sys::progress::Progress;
use crate::sys::site::Site;
use crate::sys::store::{self, Store};

/// For fewer than this a look at each is quick.
const MANY: usize = 500;

/// Which aliases may be something else than they are called.
enum Doubtful {
    All,
    These(HashSet<AliasName>),
}

/// An alias that the store of its site cannot take, and why.
pub type OutOfReach<'l> = (&'l PlannedAlias, Linked);

/// The aliases of one site in the making.
pub struct Linking<'a, 'p> {
    root: &'a Root,
    lookup: Lookup<'a>,
    grounds: &'a Grounds<'p>,
    site: &'a Site,
    so_far: SoFar<'a>,
}

/// What became of the run so far.
pub struct SoFar<'a> {
    /// What was made.
    pub made: &'a mut Made,
    /// What of this site got no alias.
    pub without: &'a mut Without,
    /// How many files were tried.
    pub progress: &'a Progress,
}

impl<'a, 'p> Linking<'a, 'p> {
    /// Into the store of this site.
    pub fn new(root: &'a Root, grounds: &'a Grounds<'p>, site: &'a Site, so_far: SoFar<'a>) -> Linking<'a, 'p> {
        Linking { root, lookup: Lookup::new(root), grounds, site, so_far }
    }

    /// Answers those that the store is out of reach for, or has no name for.
    ///
    /// # Errors
    /// Where the store is none of ours, or cannot be written for another reason than that it is full.
    pub fn link_into_store<'l>(&mut self, aliases: &'l [PlannedAlias]) -> Result<Vec<OutOfReach<'l>>> {
        let store = match Store::open_or_make(self.site) {
            Ok(store) => store,
            Err(error) => {
                let Some(errno) = store::refused(&error) else { return Err(error) };
                aliases.iter().for_each(|alias| self.so_far.without.note(Linked::Refused(errno), alias));
                return Ok(Vec::new());
            }
        };
        let mut attempts = Vec::with_capacity(aliases.len());
        let mut done = aliases.iter().try_for_each(|alias| {
            self.so_far.progress.step();
            attempts.push(self.link(alias, |source| store.attempt(source, alias.inode))?);
            Ok(())
        });
        let (mut made, mut out_of_reach) = (Vec::new(), Vec::new());
        let doubtful = self.doubtful(&store, &attempts);
        for (alias, attempt) in aliases.iter().zip(attempts) {
            let name = AliasName(alias.inode.ino);
            let linked = match (attempt, &doubtful) {
                (Linked::Made, Doubtful::These(doubtful)) if !doubtful.contains(&name) => Ok(Linked::Made),
                (unproven, _) => self.prove(&store, alias, unproven),
            };
            match linked {
                Ok(Linked::Made) => made.push(name),
                Ok(answer @ (Linked::Refused(Errno::EXDEV) | Linked::Taken(_))) => out_of_reach.push((alias, answer)),
                Ok(other) => self.so_far.without.note(other, alias),
                // The others still have to be known, to be taken back.
                Err(error) => done = done.and(Err(error)),
            }
        }
        self.so_far.made.in_stores.entry(self.site.path().into()).or_default().extend(made);
        done.map(|()| out_of_reach)
    }

    /// None of them gets an alias, because of this.
    pub fn give_up<'l>(&mut self, aliases: &[PlannedAlias], why: &anyhow::Error) -> Vec<OutOfReach<'l>> {
        self.so_far.without.note_all(aliases, why);
        Vec::new()
    }

    /// Those that need a look at each. A link cannot lead to another file system, so its number says all; but on
    /// overlayfs files of two layers may have one number. And where they are few, or most of the store is of earlier parts
    /// of the run, reading it takes longer than these looks.
    fn doubtful(&self, store: &Store, attempts: &[Linked]) -> Doubtful {
        let made = attempts.iter().filter(|attempt| **attempt == Linked::Made).count();
        let is_worth_reading =
            made >= MANY && made >= self.so_far.made.in_stores.get(self.site.path()).map_or(0, Vec::len);
        match is_worth_reading && self.grounds.places.knows_inodes(self.site.path()) {
            true => store.misnamed().map_or(Doubtful::All, Doubtful::These),
            false => Doubtful::All,
        }
    }

    fn prove(&mut self, store: &Store, alias: &PlannedAlias, attempt: Linked) -> Result<Linked> {
        match store.prove(attempt, alias.inode)? {
            // One of its other names may still lead to it.
            Linked::NameChanged => self.link(alias, |source| store.link(source, alias.inode)),
            proven => Ok(proven),
        }
    }

    /// Beside themselves. One that has no name any more may be `known` to have its alias already.
    ///
    /// # Errors
    /// Where a directory cannot be looked at.
    pub fn link_beside(&mut self, aliases: &[OutOfReach], known: &Known) -> Result<()> {
        for (alias, answer) in aliases {
            let Some(first) = alias.names.first() else {
                if !self.has_alias_beside(alias, known) {
                    self.so_far.without.note(*answer, alias);
                }
                continue;
            };
            let entry = AliasName(alias.inode.ino).entry_beside(first.name());
            let failed = || format!("cannot link beside {}", message::path(first.full()));
            let Some(dir) = self.root.open_dir(first.dir()).with_context(failed)? else { continue };
            let linked = link::link_beside(&dir, first.name(), alias.inode, &entry);
            match linked.with_context(failed)? {
                Linked::Made => self.so_far.made.beside.push((first.dir().into(), entry, alias.inode)),
                other => self.so_far.without.note(other, alias),
            }
        }
        Ok(())
    }

    fn has_alias_beside(&self, alias: &PlannedAlias, known: &Known) -> bool {
        let name = AliasName(alias.inode.ino);
        let files = known.beside(name).iter().filter_map(|file| ListedPath::parse(file.as_os_str().as_bytes()));
        let mut entries = files.filter_map(|path| {
            let dir = self.root.open_dir(path.dir()).ok().flatten()?;
            dir.entry(&name.entry_beside(path.name())).ok().flatten()
        });
        entries.any(|entry| entry.inode == alias.inode)
    }

    /// By any of its names; by its handle where none leads to it.
    fn link(&mut self, alias: &PlannedAlias, link: impl Fn(Source) -> Result<Linked>) -> Result<Linked> {
        let mut answer = Linked::NameChanged;
        for name in &alias.names {
            let dir = self.lookup.directory(name.dir());
            let Some(dir) = dir.with_context(|| format!("cannot look at {}", message::path(name.dir())))? else {
                continue;
            };
            answer = link(Source::Entry(dir, name.name()))?;
            if answer != Linked::NameChanged {
                return Ok(answer);
            }
        }
        let handle = self.grounds.in_use.handle(alias.inode);
        match handle.and_then(|handle| handle.open(self.site).ok()) {
            Some(file) => link(Source::Open(file.as_fd())),
            None => Ok(answer),
        }
    }
}
