//! Whether a file system takes all old files beside the new ones, or only what must be kept.
//!
//! What an upgrade brings to a file system is taken to be as much as what it replaces there; what a new package brings
//! goes to /usr, where nearly all of it always goes.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::places::Places;
use crate::core::apt_stream::{Action, Step, Stream};
use crate::core::message;
use crate::core::plan::{self, Plan, PlannedAlias, Reason, Shortage};
use crate::sys::files::{Directory, Root};

/// What is needed so far, and what did not fit.
pub struct Room<'a> {
    comes_anew: HashSet<&'a str>,
    usr: Option<Arc<Path>>,
    needed: BTreeMap<Arc<Path>, u64>,
    /// What was left out, by site.
    pub shortages: BTreeMap<Arc<Path>, Shortage>,
}

impl<'a> Room<'a> {
    /// For what apt announced.
    ///
    /// # Errors
    /// Where /usr cannot be looked at.
    pub fn new(root: &Root, stream: &'a Stream, places: &Places) -> Result<Room<'a>> {
        let unpacked = |step: &&Step| matches!(step.action, Action::Unpack(_));
        let comes_anew = stream.steps.iter().filter(unpacked).map(|step| step.package.as_str()).collect();
        let usr: Option<Directory> = root.open_dir(Path::new("/usr"))?;
        let usr = usr.map(|dir| places.of(&dir)).transpose()?.flatten().map(|place| place.site);
        Ok(Room { comes_anew, usr, needed: BTreeMap::new(), shortages: BTreeMap::new() })
    }

    /// Leaves out what nobody uses where it would not fit beside the new files: those that replace it, and as many bytes
    /// as are new.
    ///
    /// # Errors
    /// Where a file system cannot be asked how full it is.
    pub fn leave_out_what_does_not_fit(&mut self, places: &Places, aliases: &mut Plan, new_bytes: u64) -> Result<()> {
        for (site, aliases) in aliases {
            let replaced: u64 = aliases.iter().filter(|alias| self.is_replaced(alias)).map(|alias| alias.bytes).sum();
            let new = if self.usr.as_ref() == Some(site) { new_bytes } else { 0 };
            let needed = self.needed.entry(site.clone()).or_default();
            *needed = needed.saturating_add(replaced).saturating_add(new);
            let Some(placed) = places.site(site) else { continue };
            let free = placed.free().with_context(|| format!("cannot ask how full {} is", message::path(site)))?.bytes;
            if let Some(shortage) = plan::leave_out_what_does_not_fit(aliases, free, *needed) {
                let before = self.shortages.get(site);
                let shortage = before.map_or(shortage, |before| before.and(shortage));
                self.shortages.insert(site.clone(), shortage);
            }
        }
        Ok(())
    }

    fn is_replaced(&self, alias: &PlannedAlias) -> bool {
        let package = |(_, package): &(Reason, Option<Arc<str>>)| {
            package.as_deref().is_some_and(|name| self.comes_anew.contains(name))
        };
        alias.reasons.iter().any(package)
    }
}
