//! `status` for a person: most important last, in as many columns as there are.
#![forbid(unsafe_code)]

use super::{AliasCounts, GroupStatus, HeldKind, HolderKind, MountStatus, ProcessStatus, Status, WhoStatus};
use crate::core::columns::{self, Part, shown};
use crate::core::holder::How;
use crate::core::holding::Amount;
use crate::core::message::{ago, bytes, count, few};
use crate::core::mount_state::MountState;
pub use crate::core::page::{Look, Paint};
use crate::core::page::{Page, Style};

/// The text.
pub fn text(status: &Status, look: Look) -> String {
    let mut page = Page { look, text: String::new() };
    let names = names_by_group(status);
    for (group, names) in status.groups.iter().zip(&names) {
        page.group(status.time, group, names);
    }
    page.together(status);
    page.all_at_once(&status.groups);
    if !status.groups.is_empty() {
        page.empty_line();
    }
    page.mounts(&status.mounts);
    if let Some(session) = &status.session {
        let at_work: Vec<String> = session.frontends.iter().map(process).collect();
        page.paragraph(&[("writable for", Style::Plain)], 4, &[words(few(&at_work, 3))]);
    }
    for problem in &status.problems {
        page.paragraph(&[("PROBLEM:", Style::Alarm)], 4, &[words(shown(problem))]);
    }
    page.text
}

/// What each group holds, in its order; what it runs first.
fn names_by_group(status: &Status) -> Vec<Vec<String>> {
    let mut names = vec![(Vec::new(), Vec::new()); status.groups.len()];
    for held in &status.held {
        let name = match (held.names.first(), &held.alias) {
            (Some(name), _) => shown(name),
            (None, Some(alias)) => format!("{} (its name is not known)", shown(alias)),
            (None, None) => format!("inode {} (its name is not known)", held.inode),
        };
        let name = match held.kind {
            HeldKind::File => name,
            HeldKind::Directory => format!("{name}/"),
        };
        let mut groups: Vec<(usize, bool)> = held.holders.iter().map(|one| (one.group, runs_it(&one.holder))).collect();
        groups.sort_unstable_by_key(|(group, runs)| (*group, !runs));
        groups.dedup_by_key(|(group, _)| *group);
        for (group, runs) in groups {
            let Some((run, used)) = names.get_mut(group) else { continue };
            if runs { run.push(name.clone()) } else { used.push(name.clone()) }
        }
    }
    names.into_iter().map(|(run, used)| run.into_iter().chain(used).collect()).collect()
}

fn runs_it(holder: &HolderKind) -> bool {
    match holder {
        HolderKind::Process { uses, .. } => uses.contains(&How::Executed),
        HolderKind::Mount { .. }
        | HolderKind::LoopDevice { .. }
        | HolderKind::Swap
        | HolderKind::Interpreter { .. }
        | HolderKind::Unseen => false,
    }
}

/// So many names of files, and of processes, say what it is about.
const MOST_NAMES: usize = 3;

/// A name takes so many columns at most.
const MOST_COLUMNS: usize = 60;

impl Page {
    fn group(&mut self, now: u64, group: &GroupStatus, names: &[String]) {
        let people = (!group.processes.is_empty()).then(|| match &group.who {
            WhoStatus::Mount { .. } => format!("in the mount namespace of {}", processes(&group.processes)),
            WhoStatus::PackageRun
            | WhoStatus::Unit { .. }
            | WhoStatus::UserUnit { .. }
            | WhoStatus::User { .. }
            | WhoStatus::Command { .. }
            | WhoStatus::LoopDevice { .. }
            | WhoStatus::Swap { .. }
            | WhoStatus::Interpreter { .. }
            | WhoStatus::Unseen => processes(&group.processes),
        });
        let since = group.since.map(|since| format!("started {}", ago(now, since)));
        // There is no better name for processes than their own.
        let (title, people) = match title(&group.who) {
            Some(title) => (title, people),
            None => (people.unwrap_or_default(), None),
        };
        let what: Vec<String> = people.into_iter().chain(since).collect();
        let colon = if what.is_empty() { "" } else { ":" };
        let title = columns::cut(&title, self.look.columns - 1);
        self.paragraph(&[(&title, Style::Strong), (colon, Style::Plain)], 4, &[words(what.join(", "))]);
        let share = match (group.holds.bytes, group.shared.bytes) {
            (_, 0) => String::new(),
            (all, shared) if shared == all => " (all shared)".to_owned(),
            (_, shared) => format!(" ({} shared)", bytes(shared)),
        };
        let holds = |names: &[String]| format!("holds {}{share}: {}", group.holds, few(names, MOST_NAMES));
        // Whole paths as long as they fit.
        let mut line = holds(names);
        if columns::width(&line) + 4 > self.look.columns {
            line = holds(&names.iter().map(|name| last_part(name)).collect::<Vec<_>>());
        }
        self.paragraph(&[("   ", Style::Plain)], 8, &[words(line)]);
        let (before, after) = group.remedy.words();
        let command = group.remedy.command().map(|command| Part::Whole(command.to_owned()));
        let parts: Vec<Part> =
            [Some(words(shown(&before))), command, Some(words(shown(&after)))].into_iter().flatten().collect();
        self.paragraph(&[("    to free it:", Style::Plain)], 8, &parts);
    }

    /// What is shared was counted to each that holds it.
    fn together(&mut self, status: &Status) {
        if status.groups.iter().any(|group| group.shared != Amount::default()) {
            self.empty_line();
            let all = format!("Together: {}. What is shared goes with its last holder.", status.kept);
            self.paragraph(&[], 4, &[words(all)]);
        }
    }

    /// One command for all that may simply be restarted.
    fn all_at_once(&mut self, groups: &[GroupStatus]) {
        let mut units: Vec<&str> = groups.iter().filter_map(|group| group.remedy.restarted()).collect();
        units.sort_unstable();
        if units.len() < 2 {
            return;
        }
        self.empty_line();
        let count = if units.len() == groups.len() { "All".to_owned() } else { format!("{} of", units.len()) };
        self.line(&format!("{count} {} may simply be restarted, at once:", groups.len()));
        let all = ["systemctl", "restart"].into_iter().chain(units).map(|word| Part::Whole(word.to_owned()));
        let room = |indent: usize| self.look.columns.saturating_sub(indent + " \\".len());
        let lines = columns::lines(room(4), room(8), &all.collect::<Vec<_>>());
        let joined = lines.join(" \\\n        ");
        self.line(&format!("    {joined}"));
    }

    fn mounts(&mut self, mounts: &[MountStatus]) {
        let names: Vec<String> = mounts.iter().map(|mount| columns::cut(&shown(&mount.mount), 30)).collect();
        let widest = names.iter().map(|name| columns::width(name)).max().unwrap_or(0).max(12);
        for (mount, name) in mounts.iter().zip(&names) {
            let (state, style) = match mount.state {
                MountState::ReadOnly => ("read-only", Style::Good),
                MountState::Degraded => ("DEGRADED", Style::Doubtful),
                MountState::Writable => ("WRITABLE", Style::Alarm),
            };
            let gap = " ".repeat(widest - columns::width(name) + 1);
            let head = [(format!("{name}{gap}"), Style::Plain), (format!("{state:<10}"), style)];
            let head = head.each_ref().map(|(text, style)| (text.as_str(), *style));
            self.paragraph(&head, widest + 12, &[words(aliases(&mount.aliases))]);
        }
        if mounts.is_empty() {
            self.line("no managed mount is read-only: nothing to do here");
        }
    }
}

/// The file's own name, and a directory's with the slash behind it.
fn last_part(name: &str) -> String {
    let start = name.trim_end_matches('/').rfind('/').map_or(0, |slash| slash + 1);
    columns::cut(name.get(start..).unwrap_or(name), MOST_COLUMNS)
}

fn words(text: impl Into<String>) -> Part {
    Part::Words(text.into())
}

/// What a group is called, unless its processes say it.
fn title(who: &WhoStatus) -> Option<String> {
    Some(match who {
        WhoStatus::PackageRun => "this package run".to_owned(),
        WhoStatus::Unit { name } => shown(name),
        WhoStatus::UserUnit { name, user } => format!("{} of {}", shown(name), shown(user)),
        WhoStatus::User { user } if user.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("sessions of user {user}")
        }
        WhoStatus::User { user } => format!("sessions of {}", shown(user)),
        WhoStatus::Command { .. } => return None,
        WhoStatus::Mount { at, .. } => format!("the mount {}", shown(at)),
        WhoStatus::LoopDevice { device } => format!("the loop device {}", shown(device)),
        WhoStatus::Swap { .. } => "swap space".to_owned(),
        WhoStatus::Interpreter { rule } => format!("the rule {} of binfmt_misc", shown(rule)),
        WhoStatus::Unseen => "something that no process shows".to_owned(),
    })
}

/// `nginx (70, 71 and 2 more), sh (99)`.
fn processes(processes: &[ProcessStatus]) -> String {
    let mut by_name: Vec<(&str, Vec<String>)> = Vec::new();
    for ProcessStatus { pid, command } in processes {
        match by_name.iter_mut().find(|(name, _)| name == command) {
            Some((_, pids)) => pids.push(pid.to_string()),
            None => by_name.push((command, vec![pid.to_string()])),
        }
    }
    let one = |(name, pids): &(&str, Vec<String>)| format!("{} ({})", shown(name), few(pids, MOST_NAMES));
    few(&by_name.iter().map(one).collect::<Vec<_>>(), MOST_NAMES)
}

fn process(ProcessStatus { pid, command }: &ProcessStatus) -> String {
    format!("{} ({pid})", shown(command))
}

fn aliases(aliases: &AliasCounts) -> String {
    let AliasCounts { unchanged, held, droppable, unknown, guards, directories, bytes: alive } = aliases;
    let counts = [
        (held, "held"),
        (droppable, "droppable"),
        (unchanged, "unchanged"),
        (unknown, "unknown"),
        (guards, "for this run"),
    ];
    let told = counts.iter().filter(|(count, _)| **count > 0).map(|(count, what)| format!("{count} {what}"));
    let marked = (*directories > 0).then(|| count(*directories, "directory"));
    let told: Vec<String> = told.chain(marked).collect();
    let aliases = if told.is_empty() { "no aliases".to_owned() } else { format!("aliases: {}", told.join(", ")) };
    if *alive > 0 { format!("{aliases} ({} kept alive)", bytes(*alive)) } else { aliases }
}
