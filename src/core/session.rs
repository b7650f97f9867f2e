//! The open session: which mounts were made writable, how they were found, and for whom.
//!
//! It is written before anything is remounted, so that whoever comes next knows what to restore. A session without a
//! living frontend is unfinished business: some mount could not go back yet, or its owner died.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::by_hand::ByHand;
use super::inode::Device;
use super::message;
use super::mount_state::Flags;

/// The version of the file's form. Format 1 knew nothing of other mounts than the managed ones, nor of mounts that are held
/// by hand.
pub const FORMAT: u32 = 2;

/// Reads a session as it was written.
///
/// # Errors
/// Another format, or what is no session at all.
pub fn parse(text: &[u8]) -> Result<Session, SessionError> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let damaged = |error: serde_json::Error| SessionError::Damaged(error.to_string());
    match serde_json::from_slice(text).map_err(damaged)? {
        Versioned { format: 1 | FORMAT } => {
            serde_json::from_slice(text).map(|session| Session { format: FORMAT, ..session }).map_err(damaged)
        }
        Versioned { format } => Err(SessionError::Format(format)),
    }
}

/// Why a session cannot be used. It is left as it is.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionError {
    /// Written by another version of rokeep.
    Format(u32),
    /// Not a session.
    Damaged(String),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Format(version) => {
                write!(f, "it is of format {version}, and this rokeep knows format {FORMAT}: it was left alone")
            }
            SessionError::Damaged(why) => {
                write!(f, "it is damaged ({}); remove it once no package run is open", message::text(why))
            }
        }
    }
}

impl std::error::Error for SessionError {}

/// The whole state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// [`FORMAT`].
    pub format: u32,
    /// The package managers for which the mounts are writable.
    pub frontends: Vec<Frontend>,
    /// The mounts that are to be put back, in the order in which they were made writable.
    pub mounts: Vec<FoundMount>,
    /// Other mounts, in whatever mount namespace, that were closed because the superblock could not be: they are opened
    /// again as soon as it is read-only. Written down before they are closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<MountId>,
}

/// A process on whose behalf the mounts are writable: apt, aptitude, unattended-upgrades, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontend {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot (proc_pid_stat(5), field 22): tells a reused pid from the process.
    pub started: u64,
    /// Its command name, for messages.
    pub command: String,
}

impl Frontend {
    /// Whether both are the same process.
    pub fn is(&self, other: &Frontend) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }
}

/// A mount and how it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundMount {
    /// Which one.
    #[serde(flatten)]
    pub mount: MountId,
    /// What to restore.
    pub found: Flags,
    /// The copies of it that were writable before it was opened, where that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_before: Option<Vec<MountId>>,
    /// Somebody wants it to stay writable without a frontend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<ByHand>,
}

impl FoundMount {
    /// Who holds it by hand at this time, if somebody does.
    pub fn held(&self, now: u64) -> Option<&ByHand> {
        self.by_hand.as_ref().filter(|by_hand| by_hand.lasts(now))
    }
}

/// Which mount: another one on top of it, at the same mount point, is another mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountId {
    /// Mount point. (Any bytes: written escaped, see [`super::text::escape`].)
    #[serde(with = "super::text::path_as_text")]
    pub point: PathBuf,
    /// The superblock's device number, which is the same in every mount namespace.
    pub device: Device,
    /// The kernel's id of the mount; mounts of one namespace never share one.
    pub id: u64,
    /// The mount namespace in which the id was read: the inode number of `/proc/PID/ns/mnt`.
    pub namespace: u64,
}

impl Default for Session {
    fn default() -> Session {
        Session { format: FORMAT, frontends: Vec::new(), mounts: Vec::new(), closed: Vec::new() }
    }
}

impl Session {
    /// Adds a frontend; a second time changes nothing.
    pub fn join(&mut self, frontend: Frontend) {
        if !self.frontends.iter().any(|known| known.is(&frontend)) {
            self.frontends.push(frontend);
        }
    }

    /// Takes a frontend out.
    pub fn leave(&mut self, frontend: &Frontend) {
        self.frontends.retain(|known| !known.is(frontend));
    }

    /// Takes out every frontend that is not alive any more.
    pub fn forget_dead(&mut self, alive: impl Fn(&Frontend) -> bool) {
        self.frontends.retain(alive);
    }

    /// Notes how a mount was found. What was noted first stays, as later it is as *we* made it; except that a mount which
    /// was found writable, and is not any more, was closed by somebody who wants it so.
    pub fn note(&mut self, mount: &MountId, found: Flags) {
        match self.mounts.iter_mut().find(|noted| noted.mount == *mount) {
            Some(noted) => {
                if !noted.found.refuse_writes() && found.refuse_writes() {
                    noted.found = found;
                }
                // Whoever closed it wants it held no longer.
                noted.by_hand.take_if(|_| found.refuse_writes());
            }
            None => {
                self.mounts.push(FoundMount { mount: mount.clone(), found, open_before: None, by_hand: None });
            }
        }
    }

    /// Notes which copies of a mount could be written before it was opened. What was noted first stays.
    pub fn note_open_before(&mut self, mount: &MountId, copies: Vec<MountId>) {
        if let Some(noted) = self.mounts.iter_mut().find(|noted| noted.mount == *mount) {
            noted.open_before.get_or_insert(copies);
        }
    }

    /// Notes that another mount is about to be closed; a second time changes nothing.
    pub fn note_closed(&mut self, mount: MountId) {
        if !self.closed.contains(&mount) {
            self.closed.push(mount);
        }
    }

    /// A mount that is noted stays writable, whoever comes and goes, until this is [`Session::release`]d or over.
    pub fn hold(&mut self, mount: &MountId, by_hand: ByHand) {
        if let Some(noted) = self.mounts.iter_mut().find(|noted| noted.mount == *mount) {
            noted.by_hand = Some(by_hand);
        }
    }

    /// A mount goes back as soon as no frontend needs it.
    pub fn release(&mut self, mount: &MountId) {
        if let Some(noted) = self.mounts.iter_mut().find(|noted| noted.mount == *mount) {
            noted.by_hand = None;
        }
    }

    /// The mounts that are held by hand at this time, in seconds since the machine was started.
    pub fn held(&self, now: u64) -> impl Iterator<Item = (&FoundMount, &ByHand)> {
        let by_hand = move |noted| Some((noted, FoundMount::held(noted, now)?));
        self.mounts.iter().filter_map(by_hand)
    }

    /// The next time at which a mount is held by hand no longer.
    pub fn next_deadline(&self, now: u64) -> Option<u64> {
        self.held(now).filter_map(|(_, by_hand)| by_hand.until).min()
    }

    /// Whether the time of a mount that was held by hand has come, and it is still there to go back.
    pub fn is_overdue(&self, now: u64) -> bool {
        let until = |noted: &FoundMount| noted.by_hand.as_ref()?.until;
        self.mounts.iter().filter_map(until).any(|until| until <= now)
    }

    /// How a mount was found.
    pub fn found(&self, mount: &MountId) -> Option<Flags> {
        self.mounts.iter().find(|noted| noted.mount == *mount).map(|noted| noted.found)
    }

    /// Nothing is left to restore on a mount.
    pub fn forget(&mut self, mount: &MountId) {
        self.mounts.retain(|noted| noted.mount != *mount);
    }

    /// Whether somebody still needs the mounts writable.
    pub fn in_use(&self) -> bool {
        !self.frontends.is_empty()
    }

    /// Nobody uses it and nothing is left to restore.
    pub fn is_over(&self) -> bool {
        self.frontends.is_empty() && self.mounts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::mount_state::Access;

    const CLOSED: Flags = Flags { mount: Access::ReadOnly, superblock: Access::ReadOnly };

    fn frontend(pid: i32, started: u64) -> Frontend {
        Frontend { pid, started, command: "apt".into() }
    }

    fn usr(id: u64) -> MountId {
        MountId { point: "/usr".into(), device: Device { major: 8, minor: 1 }, id, namespace: 4026531841 }
    }

    fn by_hand(until: Option<u64>) -> ByHand {
        ByHand { since: 10, until, why: "alice asked for it".into() }
    }

    #[test]
    fn what_is_held_by_hand_is_held_until_its_time_comes() {
        let mut session = Session::default();
        session.note(&usr(7), CLOSED);
        session.note(&usr(8), CLOSED);
        session.hold(&usr(7), by_hand(Some(60)));
        session.hold(&usr(8), by_hand(None));
        assert_eq!(session.held(59).count(), 2);
        assert_eq!(session.next_deadline(59), Some(60));
        assert_eq!(session.held(60).count(), 1);
        assert_eq!(session.next_deadline(60), None);
        assert_eq!([session.is_overdue(59), session.is_overdue(60)], [false, true]);
        session.release(&usr(8));
        assert_eq!(session.held(60).count(), 0);
        session.release(&usr(7));
        assert!(!session.is_overdue(60));
    }

    #[test]
    fn what_somebody_closed_is_held_no_longer() {
        let mut session = Session::default();
        session.note(&usr(7), CLOSED);
        session.hold(&usr(7), by_hand(None));
        session.note(&usr(7), Flags::WRITABLE);
        assert_eq!(session.held(60).count(), 1);
        session.note(&usr(7), CLOSED);
        assert_eq!(session.held(60).count(), 0);
    }

    #[test]
    fn what_was_found_first_stays() {
        let mut session = Session::default();
        let found = Flags { mount: Access::ReadOnly, superblock: Access::ReadOnly };
        session.note(&usr(7), found);
        session.note(&usr(7), Flags::WRITABLE);
        assert_eq!(session.found(&usr(7)), Some(found));
        assert_eq!(session.mounts.len(), 1);
    }

    #[test]
    fn a_mount_that_somebody_closed_since_is_found_closed() {
        let mut session = Session::default();
        let closed = Flags { mount: Access::ReadOnly, superblock: Access::ReadOnly };
        session.note(&usr(7), Flags::WRITABLE);
        session.note(&usr(7), closed);
        assert_eq!(session.found(&usr(7)), Some(closed));
    }

    #[test]
    fn a_mount_on_top_of_another_is_another() {
        let mut session = Session::default();
        let closed = Flags { mount: Access::ReadOnly, superblock: Access::ReadOnly };
        session.note(&usr(7), closed);
        session.note(&usr(8), Flags::WRITABLE);
        assert_eq!(session.found(&usr(7)), Some(closed));
        session.forget(&usr(7));
        assert_eq!(session.found(&usr(7)), None);
        assert_eq!(session.found(&usr(8)), Some(Flags::WRITABLE));
    }

    #[test]
    fn it_lasts_until_the_last_living_frontend_leaves() {
        let mut session = Session::default();
        session.join(frontend(1, 10));
        session.join(frontend(1, 10));
        session.join(frontend(2, 20));
        session.join(frontend(3, 30));
        session.leave(&frontend(1, 10));
        session.forget_dead(|other| other.pid != 3);
        assert_eq!(session.frontends, [frontend(2, 20)]);
        session.leave(&frontend(2, 99));
        assert!(session.in_use(), "another process with the same pid is not the frontend");
        session.forget_dead(|_| false);
        assert!(!session.in_use());
    }

    #[test]
    fn what_was_open_before_is_noted_once() {
        let mut session = Session::default();
        session.note(&usr(7), Flags::WRITABLE);
        session.note_open_before(&usr(7), vec![usr(8)]);
        session.note_open_before(&usr(7), vec![usr(8), usr(9)]);
        assert_eq!(session.mounts[0].open_before, Some(vec![usr(8)]));
    }

    #[test]
    fn what_an_earlier_rokeep_wrote_is_read() {
        let text = br#"{"format":1,"frontends":[{"pid":1,"started":10,"command":"apt"}],"mounts":[]}"#;
        let mut session = Session::default();
        session.join(frontend(1, 10));
        assert_eq!(parse(text), Ok(session));
    }

    #[test]
    fn what_is_damaged_is_said_in_one_line() {
        let error = parse(br#"{"format":2,"a\nb":1}"#).unwrap_err().to_string();
        assert!(error.contains("a%0Ab") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn it_reads_back_what_it_wrote() {
        let mut session = Session::default();
        session.join(frontend(1, 10));
        session.note(&usr(7), Flags::WRITABLE);
        session.hold(&usr(7), by_hand(Some(60)));
        session.note_open_before(&usr(7), vec![usr(9)]);
        session.note_closed(usr(8));
        let text = serde_json::to_string(&session).unwrap();
        assert_eq!(parse(text.as_bytes()), Ok(session));
        assert_eq!(parse(b"{\"format\":3,\"new\":1}"), Err(SessionError::Format(3)));
        assert!(matches!(parse(b"{\"format\":1"), Err(SessionError::Damaged(_))));
    }
}
