//! What the new archives bring: a file that is there already may belong to a package that nobody announced, which then
//! loses it (Replaces, --force-overwrite) or disappears altogether.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::Result;

use super::lists::{self, Candidate, Lists};
use crate::core::apt_stream::{Action, Step, Stream};
use crate::core::deb::Deb;
use crate::core::message;
use crate::core::paths::ListedPath;
use crate::core::plan::Reason;
use crate::sys::deb;
use crate::sys::files::Root;

/// What they say of themselves.
#[derive(Debug, Default)]
pub struct Archives {
    /// Every path that they bring, where diversions put it.
    pub candidates: Vec<Candidate>,
    /// Bytes that packages take which were not there before, by their own account.
    pub new_bytes: u64,
    /// What a person should know.
    pub notes: Vec<String>,
    switching: HashSet<Arc<str>>,
}

/// Reads every archive that is to be unpacked, once.
///
/// # Errors
/// Where one of dpkg's lists cannot be read. An archive that cannot is a note.
pub fn brought(root: &Root, stream: &Stream, lists: &Lists) -> Result<Archives> {
    let mut archives = Archives::default();
    let mut unreadable = Vec::new();
    let mut seen = HashSet::new();
    for step in &stream.steps {
        let Action::Unpack(archive) = &step.action else { continue };
        if !seen.insert(archive) {
            continue;
        }
        match deb::read(archive) {
            Ok(deb) => archives.add(root, step, deb, lists)?,
            // apt has no name for it (`**ERROR**`).
            Err(_) if archive.as_os_str().is_empty() => unreadable.push(format!("the archive of {}", step.package)),
            Err(error) => unreadable.push(format!("{error:#}")),
        }
    }
    if !unreadable.is_empty() {
        let which = message::few(&unreadable, 3);
        archives
            .notes
            .push(format!("what they take over from other packages is protected only if it is in use: {which}"));
    }
    Ok(archives)
}

impl Archives {
    /// Whether a new package turns a directory into a symbolic link, and for that insists on finding nothing in it that
    /// is not its own (dpkg-maintscript-helper(1), dir_to_symlink).
    pub fn switches(&self, package: &str) -> bool {
        self.switching.contains(package)
    }

    fn add(&mut self, root: &Root, step: &Step, deb: Deb, lists: &Lists) -> Result<()> {
        let package: Arc<str> = step.package.as_str().into();
        if deb.switches_directories {
            self.switching.insert(package.clone());
        }
        if step.installed.is_none() {
            self.new_bytes += deb.installed_bytes;
        }
        let joins_others = step.installed.is_none() && deb.co_installable;
        let shared = match joins_others {
            true => lists::shared_with_other_architectures(root, &step.package, &deb.arch)?,
            false => HashSet::new(),
        };
        let candidate = |path: ListedPath| Candidate {
            path: lists.diversions.place(path, &step.package),
            reason: Reason::Brought,
            package: package.clone(),
        };
        self.candidates.extend(deb.paths.into_iter().filter(|path| !shared.contains(path)).map(candidate));
        Ok(())
    }
}
