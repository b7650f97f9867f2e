//! `status`: the truth about each managed mount, its aliases and who holds them. Changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::blockers;
use crate::core::copies;
use crate::core::holder::Holder;
use crate::core::holding::{self, Held, Surroundings, What};
use crate::core::journal::{Journal, Spot};
use crate::core::message;
use crate::core::mount_state::{self, Flags, MountState};
use crate::core::session::{FoundMount, Session};
use crate::core::status::{self, AliasCounts, Asker, MountStatus, Status, UnknownStatus};
use crate::core::text::escape;
use crate::core::verdict::{Because, DirectoryVerdict, Original, Run, Verdict};
use crate::managed::{self, Managed};
use crate::remount;
use crate::settings::Settings;
use crate::survey::{Alias, Ask, KeptDirectory, Survey, survey};
use crate::sys::files::Root;
use crate::sys::mounts::Mounted;
use crate::sys::store;
use crate::sys::{clock, processes, state, users};

/// Looks at everything.
///
/// # Errors
/// Where the settings, the session, a store or /proc cannot be read. An unusable journal is a problem in the answer.
pub fn status(root: &Root) -> Result<Status> {
    let settings = Settings::load(root)?;
    let mut problems = Vec::new();
    let (mut session, journal, Managed { mounts: mounted, notes }) = of_one_moment(root, &settings)?;
    session.forget_dead(processes::is_alive);
    let journal = journal.unwrap_or_else(|error| {
        problems.push(format!("{error:#}"));
        Default::default()
    });
    problems.extend(notes);
    if !session.in_use() {
        problems.extend(out_of_sight(&session, &mounted));
    }
    let now = clock::seconds_since_boot();
    // What is in use when a mount is opened by hand is kept until it goes back.
    let run = if session.in_use() || session.held(now).next().is_some() { Run::On } else { Run::Over };
    let survey = survey(root, &mounted.iter().collect::<Vec<_>>(), &journal, run, Ask::Holders)?;
    let unknown = unknown(&survey);
    problems.extend(unknown.as_ref().map(UnknownStatus::problem));
    let mut rows = Vec::new();
    for mount in &mounted {
        if let Some(wanted) = wanted(&settings, &session, &survey, mount) {
            let row = mount_status(mount, wanted, &survey);
            problems.extend(problem(root, mount, wanted, row.state, &session));
            problems.extend(failure(mount));
            problems.extend(foreign_entries(&survey, mount));
            rows.push(row);
        }
    }
    let held = held(&survey);
    let (groups, things) = status::holding(&held, &surroundings(root, &held, &session));
    Ok(Status {
        format: status::FORMAT,
        time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        groups,
        held: things,
        kept: holding::amount(held.iter()),
        unknown,
        mounts: rows,
        session: status::session(&session),
        problems,
    })
}

/// Session, journal and mounts as they were together. Whoever opens a mount writes the session first, and whoever closes one
/// last: what was read between two sessions that are the same belongs to it. Where they never are, the mounts change all the
/// time.
fn of_one_moment(root: &Root, settings: &Settings) -> Result<(Session, Result<Journal>, Managed)> {
    let mut tries_left = 20;
    let mut session = state::session(root)?;
    loop {
        let journal = state::journal(root);
        let nothing = Journal::default();
        let managed = managed::all(root, settings, &session, journal.as_ref().unwrap_or(&nothing))?;
        let now = state::session(root)?;
        if now == session || tries_left == 0 {
            return Ok((session, journal, managed));
        }
        (session, tries_left) = (now, tries_left - 1);
    }
}

/// What is kept because somebody uses it.
fn held(survey: &Survey) -> Vec<Held> {
    let aliases = survey.with(Verdict::Keep(Because::Held)).map(held_alias);
    let directories = directories(survey, Because::Held).map(held_directory);
    aliases.chain(directories).collect()
}

/// What is kept because somebody could not be asked.
fn unknown(survey: &Survey) -> Option<UnknownStatus> {
    // What nobody knows the names of stays anyway.
    let replaced = |alias: &&Alias| alias.original == Original::Replaced;
    let aliases = survey.left_unknown().filter(replaced).map(held_alias);
    let directories = directories(survey, Because::Unknown).filter(|kept| kept.listed.is_some()).map(held_directory);
    let kept = holding::amount(aliases.chain(directories).collect::<Vec<_>>().iter());
    let asker = if nix::unistd::geteuid().is_root() { Asker::Root } else { Asker::Other };
    status::unknown(survey.unreadable.names(), kept, asker)
}

fn directories(survey: &Survey, because: Because) -> impl Iterator<Item = &KeptDirectory> {
    let kept = DirectoryVerdict::Keep(because);
    survey.directories.iter().filter(move |directory| survey.directory_verdict(directory) == kept)
}

fn held_alias(alias: &Alias) -> Held {
    let path = match &alias.spot {
        Spot::Store(directory) | Spot::Inside(directory) => directory.join(store::NAME).join(alias.name.entry()),
        Spot::Beside(file) => file.with_file_name(alias.name.entry_beside(file.file_name().unwrap_or_default())),
    };
    Held {
        mount: alias.mount.to_path_buf(),
        what: What::File(path),
        names: alias.names.iter().map(|name| name.to_path_buf()).collect(),
        inode: alias.inode,
        bytes: alias.bytes,
        holders: alias.holders.clone(),
    }
}

fn held_directory(kept: &KeptDirectory) -> Held {
    Held {
        mount: kept.mount.clone(),
        what: What::Directory,
        names: vec![kept.path.clone()],
        inode: kept.inode,
        bytes: 0,
        holders: kept.holders.clone(),
    }
}

/// What has to be known of those who hold something.
fn surroundings(root: &Root, held: &[Held], session: &Session) -> Surroundings {
    let mut surroundings = Surroundings::default();
    let holders = held.iter().flat_map(|held| &held.holders);
    let processes: BTreeMap<i32, Option<u32>> =
        holders.filter_map(Holder::process).map(|process| (process.pid, process.user)).collect();
    for (pid, user) in processes {
        if processes::descends_from(pid, &session.frontends) {
            surroundings.at_work.insert(pid);
        }
        if let Some(user) = user.filter(|user| !surroundings.users.contains_key(user)) {
            surroundings.users.extend(users::name(root, user).map(|name| (user, name)));
        }
    }
    surroundings
}

/// How a mount should be; `None` for one that rokeep has nothing to do with.
fn wanted(settings: &Settings, session: &Session, survey: &Survey, mounted: &Mounted) -> Option<Flags> {
    use crate::core::mount_state::Access::{ReadOnly, Writable};
    let Mounted { mount, .. } = mounted;
    if let Some(found) = session.found(&mounted.id()) {
        return Some(found);
    }
    if mount.flags.refuse_writes() {
        return Some(mount.flags);
    }
    let ours = settings.names(&mount.point) || survey.aliases.iter().any(|alias| *alias.mount == *mount.point);
    ours.then_some(Flags { mount: ReadOnly, superblock: Writable })
}

fn mount_status(mounted: &Mounted, wanted: Flags, survey: &Survey) -> MountStatus {
    let point = &mounted.mount.point;
    let mut aliases = AliasCounts::default();
    for alias in survey.aliases.iter().filter(|alias| *alias.mount == **point) {
        let (count, bytes) = match survey.verdict(alias) {
            Verdict::Keep(Because::Unchanged) => (&mut aliases.unchanged, 0),
            Verdict::Keep(Because::Held) => (&mut aliases.held, alias.bytes),
            Verdict::Keep(Because::Unknown) => (&mut aliases.unknown, alias.bytes),
            Verdict::Keep(Because::Guards) => (&mut aliases.guards, 0),
            // A guard that is left over keeps nothing alive.
            Verdict::Drop if alias.original == Original::StillThere => (&mut aliases.droppable, 0),
            Verdict::Drop => (&mut aliases.droppable, alias.bytes),
        };
        *count += 1;
        aliases.bytes += bytes;
    }
    aliases.directories = survey.directories.iter().filter(|kept| kept.mount == *point).count();
    MountStatus { mount: message::path(point), state: mount_state::state(mounted.mount.flags, wanted), aliases }
}

fn problem(root: &Root, mounted: &Mounted, wanted: Flags, state: MountState, session: &Session) -> Option<String> {
    let wrong = match state {
        MountState::ReadOnly => false,
        MountState::Degraded | MountState::Writable => wanted.refuse_writes() && !session.in_use(),
    };
    let now = clock::seconds_since_boot();
    let held = session.held(now).find(|(noted, _)| noted.mount == mounted.id() && state == MountState::Writable);
    if let Some((noted, by_hand)) = held {
        return Some(by_hand.describe(&noted.mount.point, now));
    }
    let found_by_itself = session.found(&mounted.id()).is_some_and(copies::matter);
    if state == MountState::ReadOnly && !session.in_use() && found_by_itself {
        let point = message::path(&mounted.mount.point);
        return Some(format!(
            "{point} is read-only, but copies of it in other mount namespaces may still be WRITABLE, and no package run \
             needs them so: \"rokeep cleanup\" tries to close them, and says who is in the way"
        ));
    }
    wrong.then(|| {
        let sentence = remount::describe(&mounted.mount.point, state);
        let advice = match session.found(&mounted.id()) {
            Some(_) => blockers::who(root, mounted).map_or_else(
                || "\"rokeep cleanup\" tries to put it back".to_owned(),
                |who| format!("{who}. Once that has ended, \"rokeep cleanup\" puts it back"),
            ),
            None => {
                format!("somebody else made it so; \"mount -o remount,ro {}\"", message::path(&mounted.mount.point))
            }
        };
        format!("{sentence}, and no package run needs it so: {advice}")
    })
}

fn failure(mounted: &Mounted) -> Option<String> {
    let point = message::path(&mounted.mount.point);
    mounted.mount.failed.then(|| format!("{point}: {}", remount::failure(mounted)))
}

/// Mounts of the session that cannot be seen: under another one on top of them, or in another mount namespace.
fn out_of_sight(session: &Session, mounted: &[Mounted]) -> Vec<String> {
    let visible = |found: &FoundMount| mounted.iter().any(|mounted| mounted.id() == found.mount);
    let hidden = session.mounts.iter().filter(|found| !visible(found)).map(|found| message::path(&found.mount.point));
    let advice = "\"rokeep cleanup\" puts it back if it can, and says what is in the way";
    hidden.map(|point| format!("{point} is still WRITABLE where a package run left it: {advice}")).collect()
}

fn foreign_entries(survey: &Survey, mounted: &Mounted) -> Vec<String> {
    let mut by_store: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
    for entry in survey.foreign.iter().filter(|entry| entry.mount == mounted.mount.point) {
        by_store.entry(&entry.store).or_default().push(escape(&entry.name).into_owned());
    }
    let say = |(store, names): (&Path, Vec<String>)| {
        format!("{} has entries that are not rokeep's: {}", message::path(store), message::few(&names, 3))
    };
    by_store.into_iter().map(say).collect()
}
