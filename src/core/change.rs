//! That the state of a mount has changed, and why: for the system's log, one entry each.
#![forbid(unsafe_code)]

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::log_entry::{Entry, Priority};
use super::message;
use super::mount_state::MountState;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    mount: PathBuf,
    state: MountState,
    why: Why,
}

/// Why it came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// Somebody needs it writable.
    Needed(String),
    /// Nobody does any more.
    Over,
    /// The kernel refused to put it back: the whole sentence, and the reason alone.
    Refused { sentence: String, because: String },
    /// A person wants it writable: the whole sentence, and the reason alone.
    ByHand { sentence: String, because: String },
}

impl Change {
    /// A mount was made writable for somebody.
    pub fn opened(mount: &Path, whom: &str) -> Change {
        Change { mount: mount.to_owned(), state: MountState::Writable, why: Why::Needed(whom.to_owned()) }
    }

    /// A mount is as it was found.
    pub fn put_back(mount: &Path) -> Change {
        Change { mount: mount.to_owned(), state: MountState::ReadOnly, why: Why::Over }
    }

    /// A mount could not go back all the way.
    pub fn refused(mount: &Path, state: MountState, sentence: &str, because: &str) -> Change {
        let why = Why::Refused { sentence: sentence.to_owned(), because: because.to_owned() };
        Change { mount: mount.to_owned(), state, why }
    }

    /// A mount is writable, and stays so, because a person wants it.
    pub fn held(mount: &Path, sentence: &str, because: &str) -> Change {
        let why = Why::ByHand { sentence: sentence.to_owned(), because: because.to_owned() };
        Change { mount: mount.to_owned(), state: MountState::Writable, why }
    }

    /// What is to be logged. `MESSAGE_ID` tells one kind of change from another (`journalctl MESSAGE_ID=…`).
    pub fn entry(&self) -> Entry {
        let point = message::path(&self.mount);
        let (id, priority, message, reason) = match &self.why {
            Why::Needed(whom) => (
                "c47838b4f9b24962abe33670700b8e33",
                Priority::Info,
                format!("{point} is writable for {whom}"),
                format!("needed by {whom}"),
            ),
            Why::Over => (
                "976b77bd6a8247549a7dd2342d500bf0",
                Priority::Info,
                format!("{point} is read-only again"),
                "nobody needs it writable".to_owned(),
            ),
            Why::Refused { sentence, because } => {
                ("44f1c3caaa4e4050977109240b82db8f", Priority::Error, sentence.clone(), because.clone())
            }
            Why::ByHand { sentence, because } => {
                ("6074af7bde244735abd8715ab8b4a67d", Priority::Info, sentence.clone(), because.clone())
            }
        };
        let state = match self.state {
            MountState::ReadOnly => "read-only",
            MountState::Degraded => "degraded",
            MountState::Writable => "writable",
        };
        let fields = vec![
            ("MESSAGE_ID", id.into()),
            ("ROKEEP_MOUNT", self.mount.as_os_str().as_bytes().into()),
            ("ROKEEP_STATE", state.into()),
            ("ROKEEP_REASON", reason.into_bytes()),
        ];
        Entry { priority, message, fields }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_number_of_its_own() {
        let usr = Path::new("/usr");
        let all = [
            Change::opened(usr, "apt (812)"),
            Change::put_back(usr),
            Change::refused(usr, MountState::Degraded, "/usr is degraded, because of x", "x"),
            Change::held(usr, "/usr is held", "alice asked for it"),
        ];
        let mut ids: Vec<_> = all.iter().filter_map(|change| change.entry().fields.into_iter().next()).collect();
        assert!(ids.iter().all(|(_, id)| id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit)));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all.len());
    }

    #[test]
    fn what_needs_a_person_is_an_error() {
        let usr = Path::new("/usr");
        let refused = Change::refused(usr, MountState::Writable, "/usr is still WRITABLE, because of x", "x").entry();
        assert_eq!(
            (refused.priority, refused.message.as_str()),
            (Priority::Error, "/usr is still WRITABLE, because of x")
        );
        let opened = Change::opened(usr, "apt (812)").entry();
        assert_eq!((opened.priority, opened.message.as_str()), (Priority::Info, "/usr is writable for apt (812)"));
    }
}
