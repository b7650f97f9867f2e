//! What got no alias, in words.

use std::borrow::Cow;
use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::core::message;
use crate::core::plan::PlannedAlias;
use crate::core::verdict::Kind;
use crate::sys::link::Linked;
use crate::sys::site::Site;

/// So many of them are named.
const NAMED: usize = 3;

/// Files that got no alias, by reason.
#[derive(Default)]
pub struct Without(BTreeMap<Cow<'static, str>, Files>);

#[derive(Default)]
struct Files {
    count: usize,
    first: Vec<String>,
}

impl Files {
    fn add(&mut self, alias: &PlannedAlias) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(name(alias));
        }
    }
}

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
        self.0.entry(Cow::Borrowed(why)).or_default().add(alias);
    }

    /// None of these has an alias. What is only in use there is nobody's who is at work now.
    pub fn note_all(&mut self, aliases: &[PlannedAlias], why: &anyhow::Error) {
        for alias in aliases.iter().filter(|alias| alias.kind() == Kind::Planned) {
            self.0.entry(Cow::Owned(format!("{why:#}"))).or_default().add(alias);
        }
    }

    /// One line; none where there is nothing to say.
    pub fn describe(&self, site: impl Fn() -> Option<Site>) -> Option<String> {
        let reason = |(why, files): (&Cow<str>, &Files)| {
            let is_full = why == Errno::ENOSPC.desc();
            let left = is_full.then(&site).flatten().map(|site| free(&site)).unwrap_or_default();
            format!(
                "{} ({}; {why}{left})",
                message::first(&files.first, files.count),
                message::count(files.count, "file")
            )
        };
        let reasons: Vec<String> = self.0.iter().map(reason).collect();
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
