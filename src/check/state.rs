//! What rokeep remembers, and whether it could.

use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::Error;

use super::mounts::Looked;
use crate::core::check::seen::Seen;
use crate::core::check::state::{Facts, Home, HomeAccess};
use crate::core::session::Session;
use crate::sys::files::Root;
use crate::sys::{clock, mounts, processes, seen, state};

const HOMES: [&str; 2] = ["/var/lib/rokeep", "/run/rokeep"];

const FILES: [&str; 3] = ["/var/lib/rokeep/journal.jsonl", "/run/rokeep/session.json", "/run/rokeep/looks.json"];

/// Session and journal. The session is one of nobody where it cannot be read.
pub fn look(root: &Root) -> (Session, Facts) {
    let alive = state::session(root).map(|mut session| {
        session.forget_dead(processes::is_alive);
        session
    });
    let session = alive.as_ref().cloned().unwrap_or_default();
    let files: Vec<_> = FILES.iter().map(|path| root.path(path)).collect();
    let facts = Facts {
        session: seen_or_why(alive),
        journal: seen_or_why(state::journal(root).map(|journal| journal.records.len())),
        homes: Vec::new(),
        files: seen::objects(&files.iter().map(|path| path.as_path()).collect::<Vec<_>>()),
        now: clock::seconds_since_boot(),
    };
    (session, facts)
}

/// Together with the directories that it is in.
pub fn with_homes(root: &Root, facts: Facts, managed: &Looked) -> Facts {
    let home = |path: &&str| Home {
        path: path.into(),
        found: seen::itself(&root.path(path)),
        access: access(root, path, managed),
    };
    Facts { homes: HOMES.iter().map(home).collect(), ..facts }
}

/// Of the directory, or of the one in which it would be made.
fn access(root: &Root, path: &str, managed: &Looked) -> HomeAccess {
    let existing = Path::new(path).ancestors().find_map(|dir| mounts::holding(root, dir).transpose());
    match existing {
        Some(Ok(mount)) if mount.flags.refuse_writes() && !managed.opens(&mount.point) => {
            HomeAccess::ReadOnly(mount.point)
        }
        Some(Ok(_)) => HomeAccess::Writable,
        Some(Err(why)) => HomeAccess::Unknown(format!("{why:#}")),
        None => HomeAccess::Unknown("it is on no mount".to_owned()),
    }
}

fn seen_or_why<T>(read: Result<T, Error>) -> Seen<Result<T, String>> {
    match read {
        Ok(value) => Seen::There(Ok(value)),
        Err(why) if is_not_permitted(&why) => Seen::Unknown(format!("{why:#}")),
        Err(why) => Seen::There(Err(format!("{why:#}"))),
    }
}

fn is_not_permitted(why: &Error) -> bool {
    let mut causes = why.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|error| error.kind() == ErrorKind::PermissionDenied)
}
