//! What is written down before it is made, and what need not be.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use crate::core::inode::{AliasName, Born};
use crate::core::journal::{Journal, Names, Record, Spot};
use crate::core::paths::ListedPath;
use crate::core::plan::PlannedAlias;
use crate::core::verdict::Kind;
use crate::plan::{Grounds, Part};
use crate::sys::state::Appender;

/// A record for everything that is planned. One after the other: all of them at once would take more memory than the plan.
pub fn records(grounds: &Grounds, part: &Part) -> impl Iterator<Item = Record> {
    let aliases = part.aliases.iter().flat_map(move |(site, aliases)| {
        let mount = Arc::<Path>::from(grounds.places.mount(site));
        aliases.iter().map(move |alias| Record {
            mount: mount.clone(),
            spot: Spot::Store(site.clone()),
            alias: AliasName(alias.inode.ino),
            born: born(grounds, site, alias),
            names: alias.names.iter().map(full).collect(),
            kind: alias.kind(),
        })
    });
    let markers = part.directories.iter().map(|directory| Record {
        mount: directory.mount.as_path().into(),
        spot: Spot::Inside(full(&directory.path)),
        alias: AliasName(directory.inode.ino),
        born: None,
        names: std::iter::once(&directory.path).chain(&directory.above).map(full).collect(),
        kind: Kind::Guard,
    });
    aliases.chain(markers)
}

/// For an alias that the store of this site cannot take; `None` where there is no name to stand beside.
pub fn record_beside(grounds: &Grounds, site: &Path, alias: &PlannedAlias) -> Option<Record> {
    let names: Names = alias.names.iter().map(full).collect();
    Some(Record {
        mount: grounds.places.mount(site).into(),
        spot: Spot::Beside(names.first()?.clone()),
        alias: AliasName(alias.inode.ino),
        born: born(grounds, site, alias),
        names,
        kind: alias.kind(),
    })
}

/// On overlayfs it is the time of whichever layer the file is in, and linking a file may change that.
fn born(grounds: &Grounds, site: &Path, alias: &PlannedAlias) -> Option<Born> {
    alias.born.filter(|_| grounds.places.knows_inodes(site))
}

fn full(path: &ListedPath) -> Arc<Path> {
    path.full().into()
}

/// The journal, to be added to by whoever has something new.
pub struct Written<'a> {
    /// What was in it when this run began.
    pub known: Known<'a>,
    appender: Mutex<Appender>,
}

impl<'a> Written<'a> {
    /// As it was read.
    pub fn new(journal: &'a Journal, appender: Appender) -> Written<'a> {
        Written { known: Known::of(journal), appender: Mutex::new(appender) }
    }

    /// Writes down what is new of these.
    ///
    /// # Errors
    /// Those of [`Appender::append`].
    pub fn add(&self, records: impl Iterator<Item = Record>) -> Result<()> {
        let mut new = records.filter(|record| self.known.lacks(record)).peekable();
        // Another thread may be writing, and where there is nothing to write nobody has to wait for it.
        if new.peek().is_none() {
            return Ok(());
        }
        self.appender.lock().unwrap_or_else(PoisonError::into_inner).append(new)
    }
}

/// What the journal has already.
pub struct Known<'a> {
    records: HashMap<(&'a Spot, AliasName), Vec<&'a Record>>,
    beside: HashMap<AliasName, Vec<&'a Path>>,
}

impl<'a> Known<'a> {
    /// As it was read.
    pub fn of(journal: &'a Journal) -> Known<'a> {
        let mut known = Known { records: HashMap::new(), beside: HashMap::new() };
        for record in &journal.records {
            known.records.entry((&record.spot, record.alias)).or_default().push(record);
            if let Spot::Beside(file) = &record.spot {
                known.beside.entry(record.alias).or_default().push(file);
            }
        }
        known
    }

    /// The files beside which an alias of this name may stand.
    pub fn beside(&self, alias: AliasName) -> &[&'a Path] {
        self.beside.get(&alias).map_or(&[], Vec::as_slice)
    }

    /// That an alias was once a guard does not make it one for ever; that what it was made for is in use as well says
    /// nothing new.
    pub fn lacks(&self, record: &Record) -> bool {
        let known = self.records.get(&(&record.spot, record.alias)).into_iter().flatten();
        let mut known = known.filter(|known| known.may_be_of(record.born));
        match record.kind {
            Kind::Guard => known.next().is_none(),
            Kind::Planned => !known.any(|known| known.kind == Kind::Planned && known.names == record.names),
        }
    }
}
