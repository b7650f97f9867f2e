//! What got no alias, in words.

use std::borrow::Cow;
use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::core::message;
use crate::core::plan::PlannedAlias;
use crate::core::verdict::Kind;
use crate::sys::link::Linked;
use crate::sys::site::Site;

/// Files that got no alias, by reason.
#[derive(Default)]
pub struct Without(BTreeMap<Cow<'static, str>, Vec<String>>);

impl Without {
    /// That is what became of one, if it is worth saying.
    pub fn note(&mut self, linked: Linked, alias: &PlannedAlias) {
        let why = match linked {
            Linked::Made | Linked::AlreadyThere => return,
            // As many names as the file system permits: they will not all go at once.
            Linked::Refused(Errno::EMLINK) => return,
            // Changed or gone since somebody was seen to use it: nothing of ours.
            Linked::NameChanged if alias.kind() == Kind::Guard => return,
            // dpkg cannot replace such a file either, and nobody said that it would.
            Linked::Refused(Errno::EPERM) if alias.kind() == Kind::Guard => return,
            Linked::NameChanged => "changed while it was looked at",
            Linked::GivesRights => "anybody could run the old version, with the rights that it gives",
            Linked::Taken(_) => "its alias's name is taken",
            Linked::Refused(errno) => errno.desc(),
        };
        self.0.entry(Cow::Borrowed(why)).or_default().push(name(alias));
    }

    /// None of these has an alias. What is only in use there is nobody's who is at work now.
    pub fn note_all(&mut self, aliases: &[PlannedAlias], why: &anyhow::Error) {
        let planned: Vec<String> = aliases.iter().filter(|alias| alias.kind() == Kind::Planned).map(name).collect();
        if !planned.is_empty() {
            self.0.entry(Cow::Owned(format!("{why:#}"))).or_default().extend(planned);
        }
    }

    /// One line; none where there is nothing to say.
    pub fn describe(self, site: &Site) -> Option<String> {
        let reason = |(why, names): (Cow<str>, Vec<String>)| {
            let left = if why == Errno::ENOSPC.desc() { free(site) } else { String::new() };
            format!("{} ({}; {why}{left})", message::few(&names, 3), message::count(names.len(), "file"))
        };
        let reasons: Vec<String> = self.0.into_iter().map(reason).collect();
        (!reasons.is_empty()).then(|| format!("not protected: {}", reasons.join("; ")))
    }
}

fn name(alias: &PlannedAlias) -> String {
    let name = alias.names.first().map(|name| message::path(name.full()));
    name.unwrap_or_else(|| format!("inode {}", alias.inode.ino))
}

/// What is left on a full file system.
fn free(site: &Site) -> String {
    let Ok(free) = site.free() else { return String::new() };
    let inodes = free.inodes.map(|inodes| format!(" and {inodes} inodes")).unwrap_or_default();
    format!(": {} has {}{inodes} free", message::path(site.path()), message::bytes(free.bytes))
}
