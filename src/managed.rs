//! Which mounts rokeep looks after: those that the settings name, those that have an overlay, and
//! those where it left something.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::core::container::Standing;
use crate::core::journal::Journal;
use crate::core::message;
use crate::core::session::Session;
use crate::overlay;
use crate::settings::Settings;
use crate::sys::files::Root;
use crate::sys::mounts::{self, Mounted};
use crate::sys::rights;

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
    for point in points(root, settings, &mut managed.notes) {
        managed.look(root, settings, &point)?;
    }
    if managed.mounts.iter().any(|mounted| mounted.mount.flags.refuse_writes()) {
        let standing = rights::standing(root);
        managed.mounts.retain(|mounted| settings.names(&mounted.mount.point) || is_ours(standing, mounted));
    }
    Ok(managed)
}

/// Those, and every mount that the session or the journal knows.
///
/// # Errors
/// As [`named`].
pub fn all(root: &Root, settings: &Settings, session: &Session, journal: &Journal) -> Result<Managed> {
    let mut managed = self::named(root, settings)?;
    let in_session = session.mounts.iter().map(|noted| noted.mount.point.as_path());
    // Records of one mount are next to each other, and there may be very many.
    let in_journal = journal.records.chunk_by(|a, b| a.mount.as_os_str() == b.mount.as_os_str());
    let in_journal = in_journal.filter_map(|of_one| Some(&*of_one.first()?.mount));
    let others: BTreeSet<&Path> = in_session.chain(in_journal).collect();
    let named = points(root, settings, &mut Vec::new());
    for point in others.into_iter().filter(|point| !named.iter().any(|named| named == point)) {
        managed.look(root, settings, point)?;
    }
    Ok(managed)
}

/// Where to look. Which mounts have an overlay whoever only closes or looks need not know: a session begins with laying what
/// is missing, and fails where that cannot be told.
pub(crate) fn points(root: &Root, settings: &Settings, notes: &mut Vec<String>) -> Vec<PathBuf> {
    let mut points = settings.mounts();
    match overlay::points(root, settings) {
        Ok(overlaid) => {
            for (point, instead) in overlaid {
                points.retain(|other| *other != point || instead.contains(other));
                points.extend(instead);
            }
        }
        Err(error) => notes.push(format!("{error:#}")),
    }
    let mut seen = BTreeSet::new();
    points.retain(|point| seen.insert(point.clone()));
    points
}

/// In a container, what nobody in it may make writable is none of ours: it is read-only for the container, and apt does
/// what it would do without rokeep. Whoever names a mount in the settings of a container means it all the same.
pub(crate) fn is_ours(standing: Standing, mounted: &Mounted) -> bool {
    match standing {
        Standing::Machine => true,
        Standing::NobodyMayMount => !mounted.mount.flags.refuse_writes(),
        Standing::OwnMountsOnly => mounted.may_be_opened(),
    }
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
