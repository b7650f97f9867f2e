//! Which mounts rokeep looks after: those that the settings name, and those where it left something.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::core::journal::Journal;
use crate::core::message;
use crate::core::session::Session;
use crate::settings::Settings;
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};

/// What was found.
#[derive(Debug, Default)]
pub struct Managed {
    /// The mounts, each by the descriptor of its root directory.
    pub mounts: Vec<Mounted>,
    /// What an administrator may have meant otherwise.
    pub notes: Vec<String>,
}

/// The mounts that the settings name.
///
/// # Errors
/// Where one that an administrator named cannot be looked at. A default one that cannot is a note: an automount whose
/// device is absent must not stop apt.
pub fn named(root: &Root, settings: &Settings) -> Result<Managed> {
    let mut managed = Managed::default();
    for point in settings.mounts() {
        managed.look(root, settings, &point)?;
    }
    Ok(managed)
}

/// Those, and every mount that the session or the journal knows.
///
/// # Errors
/// As [`named`].
pub fn all(root: &Root, settings: &Settings, session: &Session, journal: &Journal) -> Result<Managed> {
    let mut managed = self::named(root, settings)?;
    let in_session = session.mounts.iter().map(|noted| &noted.mount.point);
    let mut others: Vec<&PathBuf> = in_session.chain(journal.records.iter().map(|record| &record.mount)).collect();
    others.sort();
    others.dedup();
    let named = settings.mounts();
    for point in others.into_iter().filter(|point| !named.contains(point)) {
        managed.look(root, settings, point)?;
    }
    Ok(managed)
}

impl Managed {
    fn look(&mut self, root: &Root, settings: &Settings, point: &Path) -> Result<()> {
        let shown = message::path(point);
        match mounts::at(root, point) {
            Ok(Some(mounted)) => self.mounts.push(mounted),
            Ok(None) if settings.names(point) => {
                self.notes.push(format!("{shown} is to be managed and is no mount point"))
            }
            Ok(None) => {}
            Err(error) if settings.names(point) => return Err(error),
            Err(error) => self.notes.push(format!("{shown} is left alone: {error:#}")),
        }
        Ok(())
    }
}
