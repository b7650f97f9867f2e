//! Whether a file system takes all old files beside the new ones, or only what must be kept.
//!
//! What an upgrade brings to a file system is taken to be as much as what it replaces there; what a new package brings
//! goes to /usr, where nearly all of it always goes.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::findings::Findings;
use super::places::Places;
use crate::core::apt_stream::{Action, Step, Stream};
use crate::core::message;
use crate::core::plan::{self, Plan, Shortage};
use crate::sys::files::{Directory, Root};

/// What there is room for.
pub struct Room<'a> {
    comes_anew: HashSet<&'a str>,
    usr: Option<Arc<Path>>,
    sites: BTreeMap<Arc<Path>, OnSite>,
}

/// Bytes on the file system of one site, and what came of it that there are too few.
#[derive(Default)]
struct OnSite {
    free: u64,
    needed: u64,
    shortage: Option<Shortage>,
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
        Ok(Room { comes_anew, usr, sites: BTreeMap::new() })
    }

    /// Takes into account what replaces these, and as many bytes as are new.
    ///
    /// # Errors
    /// Where a file system cannot be asked how full it is.
    pub fn reckon(&mut self, places: &Places, findings: &Findings, new_bytes: u64) -> Result<()> {
        for (site, replaced) in findings.replaced_bytes(|package| self.comes_anew.contains(package)) {
            let Some(placed) = places.site(&site) else { continue };
            let free = placed.free().with_context(|| format!("cannot ask how full {} is", message::path(&site)))?.bytes;
            let new = if self.usr.as_ref() == Some(&site) { new_bytes } else { 0 };
            let on_site = self.sites.entry(site).or_default();
            on_site.needed = on_site.needed.saturating_add(replaced).saturating_add(new);
            on_site.free = free;
        }
        Ok(())
    }

    /// Leaves out what nobody uses where it would not fit beside the new files.
    pub fn leave_out_what_does_not_fit(&mut self, aliases: &mut Plan) {
        for (site, aliases) in aliases {
            let Some(OnSite { free, needed, shortage }) = self.sites.get_mut(site) else { continue };
            let (free, needed) = (*free, *needed);
            let left_out = plan::leave_out_what_does_not_fit(aliases, free, needed);
            let nothing = Shortage { free, needed, kept: aliases.len(), left_out: 0 };
            let new = left_out.or((needed > free).then_some(nothing));
            *shortage = match (shortage.take(), new) {
                (Some(before), Some(new)) => Some(before.and(new)),
                (before, new) => before.or(new),
            };
        }
    }

    /// What was left out, by site.
    pub fn shortages(self) -> BTreeMap<Arc<Path>, Shortage> {
        let of_site = |(site, on_site): (Arc<Path>, OnSite)| Some((site, on_site.shortage?));
        self.sites.into_iter().filter_map(of_site).filter(|(_, shortage)| shortage.left_out > 0).collect()
    }
}
