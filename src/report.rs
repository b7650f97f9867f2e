//! `status`: the truth about each managed mount, its aliases and who holds them. Changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::core::holder::{Holder, How, Process};
use crate::core::message;
use crate::core::mount_state::{self, Flags, MountState};
use crate::core::session::{FoundMount, Session};
use crate::core::text::escape;
use crate::core::verdict::{Because, DirectoryVerdict, Original, Run, Verdict};
use crate::managed::{self, Managed};
use crate::remount;
use crate::settings::Settings;
use crate::survey::{Alias, Ask, KeptDirectory, Survey, survey};
use crate::sys::files::Root;
use crate::sys::mounts::Mounted;
use crate::sys::site::Site;
use crate::sys::store::{self, Store};
use crate::sys::{processes, state};

/// Everything there is to say, in the form of `status --json`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The version of this form.
    pub format: u32,
    /// The managed mounts.
    pub mounts: Vec<MountStatus>,
    /// What was replaced or removed and is kept because somebody holds it.
    pub held: Vec<HeldAlias>,
    /// For whom the mounts are writable now.
    pub session: Option<SessionStatus>,
    /// What needs a person.
    pub problems: Vec<String>,
}

/// A managed mount.
#[derive(Debug, Serialize)]
pub struct MountStatus {
    /// Mount point.
    pub mount: String,
    /// What it is.
    pub state: MountState,
    /// How many aliases, by what they wait for.
    pub aliases: AliasCounts,
}

/// Aliases by verdict.
#[derive(Debug, Default, Serialize)]
pub struct AliasCounts {
    /// Their file was not replaced.
    pub unchanged: usize,
    /// Replaced, and in use.
    pub held: usize,
    /// Replaced and free: the next cleanup drops them.
    pub droppable: usize,
    /// Not everything could be found out.
    pub unknown: usize,
    /// For as long as the package run is on: what was in use when it began, and was not replaced.
    pub guards: usize,
    /// Directories that are kept by a marker.
    pub directories: usize,
    /// Bytes on disk that replaced files still take.
    pub bytes: u64,
}

/// A replaced file, or a removed directory, that somebody still uses.
#[derive(Debug, Serialize)]
pub struct HeldAlias {
    /// Mount point.
    pub mount: String,
    /// The names it had.
    pub names: Vec<String>,
    /// The inode's number, which is the alias's name in the store.
    pub inode: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Who uses it.
    pub holders: Vec<HolderStatus>,
}

/// A process that uses it.
#[derive(Debug, Serialize)]
pub struct HolderStatus {
    /// Process id.
    pub pid: i32,
    /// Command name.
    pub command: String,
    /// systemd unit.
    pub unit: Option<String>,
    /// In which ways.
    pub uses: Vec<How>,
    /// What frees it.
    pub remedy: String,
}

/// The open session.
#[derive(Debug, Serialize)]
pub struct SessionStatus {
    /// The package managers at work.
    pub frontends: Vec<FrontendStatus>,
}

/// A package manager at work.
#[derive(Debug, Serialize)]
pub struct FrontendStatus {
    /// Process id.
    pub pid: i32,
    /// Command name.
    pub command: String,
}

/// Looks at everything.
///
/// # Errors
/// Where the settings, the session, a store or /proc cannot be read. An unusable journal is a problem in the answer.
pub fn status(root: &Root) -> Result<Status> {
    let settings = Settings::load(root)?;
    let mut session = state::session(root)?;
    session.forget_dead(processes::is_alive);
    let mut problems = Vec::new();
    let journal = state::journal(root).unwrap_or_else(|error| {
        problems.push(format!("{error:#}"));
        Default::default()
    });
    let Managed { mounts: mounted, notes } = managed::all(root, &settings, &session, &journal)?;
    problems.extend(notes);
    if !session.in_use() {
        problems.extend(out_of_sight(&session, &mounted));
    }
    let run = if session.in_use() { Run::On } else { Run::Over };
    let survey = survey(root, &mounted.iter().collect::<Vec<_>>(), &journal, run, Ask::Holders)?;
    if !survey.unreadable.is_empty() {
        let who = survey.unreadable.who();
        problems.push(format!(
            "what {who} may hold cannot be read: run this as root, outside a container; as root, end what hangs"
        ));
    }
    let mut rows = Vec::new();
    for mount in &mounted {
        if let Some(wanted) = wanted(&settings, &session, &survey, mount) {
            let row = mount_status(mount, wanted, &survey);
            problems.extend(problem(mount, wanted, row.state, &session));
            problems.extend(failure(mount));
            problems.extend(foreign_entries(mount)?);
            rows.push(row);
        }
    }
    let held_directories = survey
        .directories
        .iter()
        .filter(|kept| survey.directory_verdict(kept) == DirectoryVerdict::Keep(Because::Held));
    let held = survey.with(Verdict::Keep(Because::Held)).map(held_alias).chain(held_directories.map(held_directory));
    let held = held.collect();
    Ok(Status { format: 1, mounts: rows, held, session: session_status(&session), problems })
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
    let ours = settings.names(&mount.point) || survey.aliases.iter().any(|alias| alias.mount == mount.point);
    ours.then_some(Flags { mount: ReadOnly, superblock: Writable })
}

fn mount_status(mounted: &Mounted, wanted: Flags, survey: &Survey) -> MountStatus {
    let point = &mounted.mount.point;
    let mut aliases = AliasCounts::default();
    for alias in survey.aliases.iter().filter(|alias| alias.mount == *point) {
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

fn problem(mounted: &Mounted, wanted: Flags, state: MountState, session: &Session) -> Option<String> {
    let wrong = match state {
        MountState::ReadOnly => false,
        MountState::Degraded | MountState::Writable => wanted.refuse_writes() && !session.in_use(),
    };
    let sentence = remount::describe(&mounted.mount.point, state);
    let advice = match session.found(&mounted.id()) {
        Some(_) => "\"rokeep cleanup\" tries to put it back".to_owned(),
        None => format!("somebody else made it so; \"mount -o remount,ro {}\"", message::path(&mounted.mount.point)),
    };
    wrong.then(|| format!("{sentence}, and no package run needs it so: {advice}"))
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

fn foreign_entries(mounted: &Mounted) -> Result<Option<String>> {
    let Some(store) = Store::open(&Site::of(mounted)?)? else { return Ok(None) };
    let names: Vec<String> = store.foreign_entries()?.iter().map(|name| escape(name).into_owned()).collect();
    let dir = message::path(&mounted.mount.point.join(store::NAME));
    let all = message::few(&names, 3);
    Ok((!names.is_empty()).then(|| format!("{dir} has entries that are not rokeep's: {all}")))
}

fn held_alias(alias: &Alias) -> HeldAlias {
    HeldAlias {
        mount: message::path(&alias.mount),
        names: alias.names.iter().map(|name| message::path(name)).collect(),
        inode: alias.name.0,
        bytes: alias.bytes,
        holders: alias.holders.iter().filter_map(holder_status).collect(),
    }
}

fn held_directory(kept: &KeptDirectory) -> HeldAlias {
    HeldAlias {
        mount: message::path(&kept.mount),
        names: vec![message::path(&kept.path)],
        inode: kept.name.0,
        bytes: 0,
        holders: kept.holders.iter().filter_map(holder_status).collect(),
    }
}

fn holder_status(holder: &Holder) -> Option<HolderStatus> {
    let Process { pid, command, unit, uses, .. } = holder.process()?;
    Some(HolderStatus {
        pid: *pid,
        command: command.clone(),
        unit: unit.clone(),
        uses: uses.iter().copied().collect(),
        remedy: message::remedy(*pid, command, unit.as_deref()),
    })
}

fn session_status(session: &Session) -> Option<SessionStatus> {
    let frontends = session.frontends.iter().map(|f| FrontendStatus { pid: f.pid, command: f.command.clone() });
    session.in_use().then(|| SessionStatus { frontends: frontends.collect() })
}

/// The same for a person: most important last.
pub fn as_text(status: &Status) -> String {
    let mut text = String::new();
    for holder in by_holder(status) {
        let _ = writeln!(text, "{holder}");
    }
    for mount in &status.mounts {
        let _ = writeln!(text, "{}", mount_line(mount));
    }
    if status.mounts.is_empty() {
        let _ = writeln!(text, "no managed mount is read-only: nothing to do here");
    }
    if let Some(session) = &status.session {
        let at_work = session.frontends.iter().map(|f| message::process(&f.command, f.pid));
        let _ = writeln!(text, "writable for {}", message::few(&at_work.collect::<Vec<_>>(), 3));
    }
    for problem in &status.problems {
        let _ = writeln!(text, "PROBLEM: {problem}");
    }
    text
}

fn mount_line(mount: &MountStatus) -> String {
    let state = match mount.state {
        MountState::ReadOnly => "read-only",
        MountState::Degraded => "DEGRADED",
        MountState::Writable => "WRITABLE",
    };
    let AliasCounts { unchanged, held, droppable, unknown, guards, directories, bytes } = &mount.aliases;
    let counts = [
        (held, "held"),
        (droppable, "droppable"),
        (unchanged, "unchanged"),
        (unknown, "unknown"),
        (guards, "for this run"),
        (directories, "directories"),
    ];
    let shown = counts.iter().filter(|(count, _)| **count > 0).map(|(count, what)| format!("{count} {what}"));
    let shown: Vec<String> = shown.collect();
    let aliases = if shown.is_empty() { "no aliases".to_owned() } else { format!("aliases: {}", shown.join(", ")) };
    let alive = if *bytes > 0 { format!(" ({} kept alive)", message::bytes(*bytes)) } else { String::new() };
    format!("{:<12} {state:<10} {aliases}{alive}", mount.mount)
}

/// Two lines for each process that holds something.
fn by_holder(status: &Status) -> Vec<String> {
    let mut holders: BTreeMap<i32, (&HolderStatus, Vec<String>)> = BTreeMap::new();
    for alias in &status.held {
        for holder in &alias.holders {
            let (_, files) = holders.entry(holder.pid).or_insert_with(|| (holder, Vec::new()));
            files.push(alias.names.first().cloned().unwrap_or_else(|| nameless(alias)));
        }
    }
    let line = |(pid, (holder, files)): (i32, (&HolderStatus, Vec<String>))| {
        let unit = holder.unit.as_ref().map(|unit| format!(", {}", message::text(unit))).unwrap_or_default();
        let process = message::process(&holder.command, pid);
        format!("{process}{unit} holds {}\n    to free it: {}", message::few(&files, 3), holder.remedy)
    };
    holders.into_iter().map(line).collect()
}

fn nameless(alias: &HeldAlias) -> String {
    let path: PathBuf = Path::new(&alias.mount).join(store::NAME).join(alias.inode.to_string());
    path.display().to_string()
}
