//! Mounts that are held by hand: how that comes to be, and that the end of a session leaves them alone.

use crate::core::by_hand::ByHand;
use crate::core::change::Change;
use crate::core::message::{self, Outcome};
use crate::core::session::{FoundMount, Frontend, MountId, Session};
use crate::sys::clock;
use crate::sys::files::Root;
use crate::sys::log;
use crate::sys::mounts::{self, Mounted};

/// Has a mount that is writable held by hand, and says so in the log.
pub fn hold(root: &Root, session: &mut Session, mount: &MountId, by_hand: ByHand) {
    let sentence = by_hand.describe(&mount.point, by_hand.since);
    log::change(root, &Change::held(&mount.point, &sentence, &by_hand.why));
    session.hold(mount, by_hand);
}

/// `NO_APT_REMOUNT=yes`, the convention of Debian's wiki page ReadonlyRoot: from now on the mounts of a run that has begun
/// are held by hand, unless they are already.
pub fn leave_to_a_person(root: &Root, session: &mut Session, frontend: &Frontend) {
    if !session.frontends.iter().any(|other| other.is(frontend)) {
        return;
    }
    let now = clock::seconds_since_boot();
    let why = format!("{} was run with NO_APT_REMOUNT=yes", message::process(&frontend.command, frontend.pid));
    let is_writable = |mounted: Mounted| !mounted.mount.flags.refuse_writes();
    for noted in session.mounts.clone().iter().filter(|noted| noted.held(now).is_none()) {
        if mounts::at(root, &noted.mount.point).is_ok_and(|found| found.is_some_and(is_writable)) {
            hold(root, session, &noted.mount, ByHand { since: now, until: None, why: why.clone() });
        }
    }
}

/// Takes what is held by hand out of the mounts that are to be put back, and says so. Whoever closed such a mount wants it
/// held no longer.
pub fn leave_alone(mounts: &mut Vec<(FoundMount, Mounted)>, outcome: &mut Outcome) {
    let now = clock::seconds_since_boot();
    mounts.retain(|(noted, mounted)| {
        let held = noted.held(now).filter(|_| !mounted.mount.flags.refuse_writes());
        if let Some(by_hand) = held {
            say(outcome, by_hand.describe(&noted.mount.point, now));
        }
        held.is_none()
    });
}

/// For whoever is there; the log has heard of it when it came to be.
pub fn say(outcome: &mut Outcome, sentence: String) {
    outcome.logged.push(sentence.clone());
    outcome.notes.push(sentence);
}
